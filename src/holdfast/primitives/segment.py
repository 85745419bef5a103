"""``segment``: pieces of a context window - what is in it (working), set aside (stashed) and kept away (archive).

All tiers are records like any other, so a crash loses no working segment, and moving between tiers is one entry that
changes one field. Deletion is soft, as that of a memory. Every index holds (value, time of creation) and follows every
change, as terms are made anew by each fold. Knows no tokenizer: tokens are a number that the face was given.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.codec import decode
from holdfast.entry_types import (
    PRIMITIVE_IDS,
    SEGMENT_DELETE,
    SEGMENT_PURGE,
    SEGMENT_RESTORE,
    SEGMENT_STORE,
    SEGMENT_UPDATE,
)
from holdfast.keys import encode_key
from holdfast.model import Header, Record, Term, Touched, Written
from holdfast.primitive import Delete, EntryType, Moment, Payload, Primitive, fold_delete, own_key, write
from holdfast.selection import timed, value_prefix

KIND = PRIMITIVE_IDS["segment"]
CREATED, TASK, FILE, TAG, TYPE, TIER, TOPIC, DELETED = range(1, 9)
TAGS_MAX = 48
"""So that tags and the other terms of a segment stay under the limit of 64."""
TYPES = ("message", "code", "log", "note", "decision", "summary")
TIERS = ("working", "stashed", "archive")
GENERATIONS = ("young", "old")
OLD_AFTER = 2
"""How many prunings a segment survives before its generation is old."""


class SegmentBody(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of a segment. ``last_touched_at`` None: not since it was created; ``tokens`` None: nobody counted."""

    text: str
    type: str
    task_id: str | None = None
    tier: str = "working"
    pinned: bool = False
    generation: str = "young"
    gc_survival_count: int = 0
    refcount: int = 0
    file_path: str | None = None
    line_range: tuple[int, int] | None = None
    tags: tuple[str, ...] = ()
    topic_id: str | None = None
    tokens: int | None = None
    last_touched_at: int | None = None
    deleted_at: int | None = None


class SegmentChanges(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The fields that an update sets; the others stay."""

    text: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    task_id: str | UnsetType | None = UNSET
    tier: str | UnsetType = UNSET
    pinned: bool | UnsetType = UNSET
    generation: str | UnsetType = UNSET
    refcount: int | UnsetType = UNSET
    file_path: str | UnsetType | None = UNSET
    line_range: tuple[int, int] | UnsetType | None = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    topic_id: str | UnsetType | None = UNSET
    tokens: int | UnsetType | None = UNSET


class Store(Payload, frozen=True, gc=False):
    """Entry 0x90: create or replace a segment; ``body`` is a SegmentBody."""

    key: bytes
    body: bytes
    created_at: int | None = None


class Update(Payload, frozen=True, gc=False):
    """Entry 0x91: set some fields; ``changes`` is a SegmentChanges.

    ``touched``: it was used at the moment of the commit. ``survived``: a pruning looked at it and left it.
    """

    key: bytes
    changes: bytes
    touched: bool = False
    survived: bool = False


class SoftDelete(Delete, frozen=True, gc=False):
    """Entry 0x92: leave a tombstone."""


class Restore(Delete, frozen=True, gc=False):
    """Entry 0x93: bring a tombstone back."""


class Purge(Delete, frozen=True, gc=False):
    """Entry 0x94: remove a segment or its tombstone for good."""


def _terms(body: SegmentBody, created_at: int) -> tuple[Term, ...]:
    values = ((TASK, body.task_id), (FILE, body.file_path), (TOPIC, body.topic_id))
    terms: list[Term] = [(CREATED, b""), (TYPE, value_prefix(body.type)), (TIER, value_prefix(body.tier))]
    terms += [(index, value_prefix(value)) for index, value in values if value is not None]
    terms += [(TAG, value_prefix(tag)) for tag in body.tags]
    return timed(tuple(terms), created_at)


def is_tombstone(header: Header) -> bool:
    """Return True if a header is that of a deleted segment."""
    return header.terms[0][0] == DELETED  # a tombstone's only term, and nobody else's first


def _after(before: Record, body: SegmentBody, at: Moment) -> Written:
    if body.deleted_at is None:
        terms = _terms(body, before.created_at)
    else:
        terms = ((DELETED, encode_key(body.deleted_at)),)
    return {before.key: write(before.key, before, at, at.codec.encode(body), terms=terms)}


def _fold_store(entry: Store, touched: Touched, at: Moment) -> Written:
    before, body = touched[entry.key], decode(entry.body, SegmentBody)
    if before is not None:
        body.last_touched_at = at.now
        encoded, created_at = at.codec.encode(body), before.created_at
    else:
        encoded, created_at = entry.body, at.now if entry.created_at is None else entry.created_at
    terms = _terms(body, created_at)
    return {entry.key: write(entry.key, before, at, encoded, terms=terms, created_at=created_at)}


def _fold_update(entry: Update, touched: Touched, at: Moment) -> Written:
    before = touched[entry.key]
    if before is None or is_tombstone(before):
        return {}
    body, changes = decode(before.body, SegmentBody), decode(entry.changes, SegmentChanges)
    for name in SegmentChanges.__struct_fields__:
        value = getattr(changes, name)
        if value is not UNSET:
            setattr(body, name, value)
    if entry.touched:
        body.last_touched_at = at.now
    if entry.survived:
        body.gc_survival_count += 1
        if body.gc_survival_count >= OLD_AFTER:
            body.generation = "old"
    return _after(before, body, at)


def _fold_soft_delete(entry: SoftDelete, touched: Touched, at: Moment) -> Written:
    before = touched[entry.key]
    if before is None or is_tombstone(before):
        return {}
    body = decode(before.body, SegmentBody)
    body.deleted_at = at.now
    return _after(before, body, at)


def _fold_restore(entry: Restore, touched: Touched, at: Moment) -> Written:
    before = touched[entry.key]
    if before is None or not is_tombstone(before):
        return {}
    body = decode(before.body, SegmentBody)
    body.deleted_at = None
    return _after(before, body, at)


class SegmentPrimitive(Primitive):
    """What the registry keeps of ``segment``; its face is in ``segments.py``."""

    name = "segment"
    id = KIND
    attribute = "segments"
    searchable = True
    keyed_by_id = True
    body = SegmentBody
    indexes = {
        "created": CREATED,
        "task_id": TASK,
        "file_path": FILE,
        "tag": TAG,
        "type": TYPE,
        "tier": TIER,
        "topic_id": TOPIC,
        "deleted": DELETED,
    }
    entry_types = (
        EntryType(SEGMENT_STORE, Store, _fold_store, own_key),
        EntryType(SEGMENT_UPDATE, Update, _fold_update, own_key, body=True, before_commit="read"),
        EntryType(SEGMENT_DELETE, SoftDelete, _fold_soft_delete, own_key, body=True, before_commit="read"),
        EntryType(SEGMENT_RESTORE, Restore, _fold_restore, own_key, body=True, before_commit="read"),
        EntryType(SEGMENT_PURGE, Purge, fold_delete, own_key, before_commit="read"),
    )

    def group(self, header: Header) -> bytes:
        """The newest segments are kept, and of tombstones the newest."""
        return b"deleted" if is_tombstone(header) else b""

    def may_go(self, record: Record) -> bool:
        """A pinned segment is left alone."""
        return is_tombstone(record) or not decode(record.body, SegmentBody).pinned

    def text(self, record: Record) -> str | None:
        """The text and the tags; nothing of a tombstone."""
        if is_tombstone(record):
            return None
        body = decode(record.body, SegmentBody)
        return "\n".join(part for part in (body.text, " ".join(body.tags)) if part)

    def values(self, record: Record) -> dict[str, Any]:
        """All fields of a segment but its times."""
        values = msgspec.structs.asdict(decode(record.body, SegmentBody))
        del values["last_touched_at"]
        values["deleted"] = values.pop("deleted_at") is not None
        return values
