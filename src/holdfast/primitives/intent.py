"""``intent``: what an agent wants - goals with a status, and edges that say how they hang together.

Three kinds of record share the primitive, told by their keys:

    key of an intent          (id,)              body: what is wanted, status, priority ...
    key of a status change    (id, change id)    body: from, to, by, why      written with the change, never again
    key of an edge            (from, type, to)   body: weight, metadata

Edges are the only truth about relations. An edge stands between intents that were there when it was linked, which is
checked inside the commit; a status changes along ``TRANSITIONS`` alone, checked there too, and never without its
line in the history. Deleting leaves a tombstone, whose only term is the time of deletion. Indexes of intents hold
(value, time of creation), but that of updates, which holds their time. Folds see no more than the records that an entry
touches, so they know no cycles: the face (``intents.py``) looks for them in a transaction.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.codec import Value, decode
from holdfast.entry_types import (
    INTENT_DELETE,
    INTENT_LINK,
    INTENT_PERSIST,
    INTENT_PURGE,
    INTENT_RESTORE,
    INTENT_TRANSITION,
    INTENT_UNLINK,
    INTENT_UPDATE,
    PRIMITIVE_IDS,
)
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.keys import decode_key, encode_key, key_range_prefix, uuid_of
from holdfast.model import Header, Record, Term, Touched, Written
from holdfast.primitive import Delete, EntryType, Moment, Payload, Primitive, delete_entry, own_key, write
from holdfast.selection import timed, value_prefix

KIND = PRIMITIVE_IDS["intent"]
CREATED, STATUS, SESSION, PRIORITY, UPDATED, DELETED, OUT, IN, TYPE, HISTORY = range(1, 11)
STATUSES = ("active", "executing", "completed", "failed", "archived", "suspended")
TRANSITIONS = {
    "active": ("executing", "completed", "failed", "archived", "suspended"),
    "executing": ("completed", "failed", "suspended", "active", "archived"),
    "completed": ("archived",),
    "failed": ("active", "archived"),
    "suspended": ("active", "archived"),
    "archived": ("active",),
}
TRIGGERS = ("human_request", "plan_execution", "system_event", "intent_completion", "inference")
EDGE_TYPES = ("depends_on", "is_subgoal_of", "conflicts_with", "enables", "related_to", "triggered_by", "blocks")
ACYCLIC = ("depends_on", "is_subgoal_of")
PRIORITY_MAX = 2**32 - 1


class IntentBody(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of an intent."""

    goal: str
    name: str | None = None
    session_id: str | None = None
    original_request: str | None = None
    source: str | None = None
    constraints: dict[str, Value] = {}
    preferences: dict[str, Value] = {}
    success_criteria: Value = None
    triggered_by: str = "human_request"
    generation_context: dict[str, Value] = {}
    status: str = "active"
    priority: int = 0
    metadata: dict[str, Value] = {}
    deleted_at: int | None = None


class IntentChanges(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The fields that an update sets; the others stay."""

    goal: str | UnsetType = UNSET
    name: str | UnsetType | None = UNSET
    session_id: str | UnsetType | None = UNSET
    original_request: str | UnsetType | None = UNSET
    source: str | UnsetType | None = UNSET
    constraints: dict[str, Value] | UnsetType = UNSET
    preferences: dict[str, Value] | UnsetType = UNSET
    success_criteria: Value | UnsetType = UNSET
    generation_context: dict[str, Value] | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    metadata: dict[str, Value] | UnsetType = UNSET


class EdgeBody(msgspec.Struct, omit_defaults=True):
    """The body of an edge."""

    weight: float | None = None
    metadata: dict[str, Value] = {}


class ChangeBody(msgspec.Struct, omit_defaults=True):
    """The body of a status change; ``before`` is None where the intent was persisted.

    ``session_id`` is that of the intent then, so that forgetting a session finds the change as well.
    """

    before: str | None
    status: str
    by: str | None = None
    why: str | None = None
    session_id: str | None = None


class Persist(Payload, frozen=True, gc=False):
    """Entry 0xA0: an intent, which is not there yet, and the first line of its history."""

    key: bytes
    body: bytes
    change: bytes
    by: str | None = None
    why: str | None = None


class Update(Payload, frozen=True, gc=False):
    """Entry 0xA1: set some fields; ``changes`` is an IntentChanges."""

    key: bytes
    changes: bytes


class SoftDelete(Delete, frozen=True, gc=False):
    """Entry 0xA2: leave a tombstone."""


class Restore(Delete, frozen=True, gc=False):
    """Entry 0xA3: bring a tombstone back."""


class Purge(Payload, frozen=True, gc=False):
    """Entry 0xA4: remove an intent, its history and its edges for good."""

    keys: tuple[bytes, ...]


class Transition(Payload, frozen=True, gc=False):
    """Entry 0xA5: the next status of an intent, and a line of its history."""

    key: bytes
    change: bytes
    status: str
    by: str | None = None
    why: str | None = None


class Link(Payload, frozen=True, gc=False):
    """Entry 0xA6: an edge between two intents that are there; one that is there gets this body."""

    key: bytes
    body: bytes


class Unlink(Delete, frozen=True, gc=False):
    """Entry 0xA7: remove an edge."""


def intent_key(id: UUID) -> bytes:
    """Return the key of an intent."""
    return encode_key(id)


def edge_ends(key: bytes) -> tuple[UUID, str, UUID]:
    """Return (from, type, to) of the key of an edge."""
    start, kind, end = decode_key(key)
    assert isinstance(start, UUID) and isinstance(kind, str) and isinstance(end, UUID)
    return start, kind, end


def is_tombstone(header: Header) -> bool:
    """Return True if a header is that of a deleted intent."""
    return header.terms[0][0] == DELETED


def _terms(body: IntentBody, created_at: int, updated_at: int) -> tuple[Term, ...]:
    terms: list[Term] = [(CREATED, b""), (STATUS, value_prefix(body.status)), (PRIORITY, value_prefix(body.priority))]
    if body.session_id is not None:
        terms.append((SESSION, value_prefix(body.session_id)))
    return (*timed(tuple(terms), created_at), (UPDATED, encode_key(updated_at)))


def _after(record: Record, body: IntentBody, at: Moment) -> Record:
    terms = _terms(body, record.created_at, at.now)
    return write(record.key, record, at, at.codec.encode(body), terms=terms)


def _change(key: bytes, intent: bytes, body: ChangeBody, at: Moment) -> Record:
    return write(key, None, at, at.codec.encode(body), terms=((HISTORY, intent + encode_key(at.now)),))


def _with_change(entry: Any) -> tuple[bytes, ...]:
    return (entry.key, entry.change)


def _fold_persist(entry: Persist, touched: Touched, at: Moment) -> Written:
    body = decode(entry.body, IntentBody)
    record = write(entry.key, touched[entry.key], at, entry.body, terms=_terms(body, at.now, at.now))
    line = ChangeBody(None, body.status, entry.by, entry.why, body.session_id)
    return {entry.key: record, entry.change: _change(entry.change, entry.key, line, at)}


def _live(touched: Touched, key: bytes) -> Record:
    record: Record | None = touched[key]
    if record is None or is_tombstone(record):
        any_more = "" if record is None else " any more: it is deleted"
        raise NotFoundError(f"intent {uuid_of(key[1:])} does not exist{any_more}")
    return record


def _fold_update(entry: Update, touched: Touched, at: Moment) -> Written:
    record = _live(touched, entry.key)
    body, changes = decode(record.body, IntentBody), decode(entry.changes, IntentChanges)
    for name in IntentChanges.__struct_fields__:
        value = getattr(changes, name)
        if value is not UNSET:
            setattr(body, name, value)
    return {entry.key: _after(record, body, at)}


def _fold_transition(entry: Transition, touched: Touched, at: Moment) -> Written:
    record = _live(touched, entry.key)
    body = decode(record.body, IntentBody)
    if entry.status not in TRANSITIONS[body.status]:
        ways = ", ".join(TRANSITIONS[body.status])
        raise ConflictError(
            f"intent {uuid_of(entry.key[1:])} is {body.status}, which cannot become {entry.status}; only {ways}"
        )
    line = ChangeBody(body.status, entry.status, entry.by, entry.why, body.session_id)
    body.status = entry.status
    return {entry.key: _after(record, body, at), entry.change: _change(entry.change, entry.key, line, at)}


def _fold_soft_delete(entry: SoftDelete, touched: Touched, at: Moment) -> Written:
    record = touched[entry.key]
    if record is None or is_tombstone(record):
        return {}
    body = decode(record.body, IntentBody)
    body.deleted_at = at.now
    return {entry.key: write(entry.key, record, at, at.codec.encode(body), terms=((DELETED, encode_key(at.now)),))}


def _fold_restore(entry: Restore, touched: Touched, at: Moment) -> Written:
    record = touched[entry.key]
    if record is None or not is_tombstone(record):
        return {}
    body = decode(record.body, IntentBody)
    body.deleted_at = None
    return {entry.key: _after(record, body, at)}


def _fold_purge(entry: Purge, touched: Touched, at: Moment) -> Written:
    return {key: None for key in entry.keys if touched[key] is not None}


def _purged(entry: Purge) -> tuple[bytes, ...]:
    return entry.keys


def _linked(entry: Link) -> tuple[bytes, ...]:
    start, _, end = edge_ends(entry.key)
    return entry.key, intent_key(start), intent_key(end)


def _fold_link(entry: Link, touched: Touched, at: Moment) -> Written:
    start, kind, end = edge_ends(entry.key)
    _live(touched, intent_key(start))
    _live(touched, intent_key(end))
    terms = ((OUT, encode_key(start, kind, end)), (IN, encode_key(end, kind, start)), (TYPE, encode_key(kind)))
    return {entry.key: write(entry.key, touched[entry.key], at, entry.body, terms=terms)}


class IntentPrimitive(Primitive):
    """What the registry keeps of ``intent``; its face is in ``intents.py``."""

    name = "intent"
    id = KIND
    attribute = "intents"
    body = IntentBody
    indexes = {
        "created": CREATED,
        "status": STATUS,
        "session_id": SESSION,
        "priority": PRIORITY,
        "updated": UPDATED,
        "deleted": DELETED,
        "out": OUT,
        "in": IN,
        "type": TYPE,
        "history": HISTORY,
    }
    entry_types = (
        EntryType(INTENT_PERSIST, Persist, _fold_persist, _with_change),
        EntryType(INTENT_UPDATE, Update, _fold_update, own_key, body=True, before_commit="read"),
        EntryType(INTENT_DELETE, SoftDelete, _fold_soft_delete, own_key, body=True, before_commit="read"),
        EntryType(INTENT_RESTORE, Restore, _fold_restore, own_key, body=True, before_commit="read"),
        EntryType(INTENT_PURGE, Purge, _fold_purge, _purged, before_commit="read"),
        EntryType(INTENT_TRANSITION, Transition, _fold_transition, _with_change, body=True, before_commit="read"),
        EntryType(INTENT_LINK, Link, _fold_link, _linked, before_commit="read"),
        delete_entry(INTENT_UNLINK, Unlink),
    )

    def key_range(self, key: object) -> tuple[bytes, bytes]:
        """An id names an intent with its history and the edges that begin at it."""
        try:
            return key_range_prefix(intent_key(key if isinstance(key, UUID) else UUID(str(key))))
        except ValueError as error:
            raise InvalidInputError("keys", f"{key!r:.100} is no key of {self.name}") from error

    def group(self, header: Header) -> bytes:
        """The newest intents are kept, and of tombstones the newest."""
        return b"deleted" if is_tombstone(header) else b""

    def may_go(self, record: Record) -> bool:
        """A retention removes intents, and leaves edges and history to ``purge``."""
        return len(decode_key(record.key)) == 1

    def values(self, record: Record) -> dict[str, Any]:
        """All fields but the times; of an edge its weight and metadata, of a change who did what and why."""
        parts = len(decode_key(record.key))
        if parts != 1:
            return msgspec.structs.asdict(decode(record.body, ChangeBody if parts == 2 else EdgeBody))
        values = msgspec.structs.asdict(decode(record.body, IntentBody))
        values["deleted"] = values.pop("deleted_at") is not None
        return values
