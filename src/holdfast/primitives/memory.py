"""``memory``: what an agent knows - texts with source, session, tags and the rest, found again by any of them.

Records are soft-deleted: ``delete`` leaves a tombstone whose only terms are the times of deletion and of expiry,
``restore`` brings it back, ``purge`` ends it. Every index holds (value, time of creation), so lists are in order of
writing and a time range is a part of an index; the index of sessions holds the time of the commit, whatever
``created_at`` says. A batch of ids is one read; ``count`` and ``exists`` read no bodies; embeddings are blobs, read
only when asked for.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.codec import Value, decode
from holdfast.entry_types import (
    MEMORY_DELETE,
    MEMORY_PURGE,
    MEMORY_RESTORE,
    MEMORY_STORE,
    MEMORY_UPDATE,
    PRIMITIVE_IDS,
)
from holdfast.keys import encode_key
from holdfast.model import Blobs, Header, Record, Term, Touched, Written
from holdfast.primitive import Delete, EntryType, Moment, Payload, Primitive, fold_delete, own_key, write
from holdfast.primitives.source import MemorySource, source_type
from holdfast.selection import value_prefix

KIND = PRIMITIVE_IDS["memory"]
CREATED, SESSION, SOURCE, TAG, NAMESPACE, STATUS, BRANCH, FILE, GROUP, DELETED = range(1, 11)
TAGS_MAX = 48
"""So that tags and the other terms of a memory stay under the limit of 64."""
TIME_BYTES = len(encode_key(0))
STATUSES = ("active", "pending", "archived", "superseded", "consolidated")


class MemoryBody(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of a memory."""

    content: str
    source: MemorySource | None = None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    namespace: str | None = None
    status: str = "active"
    branch: str | None = None
    file_path: str | None = None
    group: str | None = None
    superseded_by: UUID | None = None
    derived_from: tuple[UUID, ...] = ()
    metadata: dict[str, Value] = {}
    deleted_at: int | None = None


class MemoryChanges(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The fields that an update sets; the others stay."""

    content: str | UnsetType = UNSET
    source: MemorySource | UnsetType | None = UNSET
    session_id: str | UnsetType | None = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    namespace: str | UnsetType | None = UNSET
    status: str | UnsetType = UNSET
    branch: str | UnsetType | None = UNSET
    file_path: str | UnsetType | None = UNSET
    group: str | UnsetType | None = UNSET
    superseded_by: UUID | UnsetType | None = UNSET
    derived_from: tuple[UUID, ...] | UnsetType = UNSET
    metadata: dict[str, Value] | UnsetType = UNSET


class Store(Payload, frozen=True, gc=False):
    """Entry 0x80: create or replace a memory. Terms come without their time, which the commit knows."""

    key: bytes
    body: bytes
    terms: tuple[Term, ...]
    created_at: int | None = None
    expires_at: int | None = None
    blobs: Blobs | None = None


class Update(Payload, frozen=True, gc=False):
    """Entry 0x81: set some fields; ``changes`` is a MemoryChanges. ``expires_at`` -1 keeps the expiry."""

    key: bytes
    changes: bytes
    expires_at: int | None = -1
    blobs: Blobs | None = None


class SoftDelete(Delete, frozen=True, gc=False):
    """Entry 0x82: leave a tombstone."""


class Restore(Delete, frozen=True, gc=False):
    """Entry 0x83: bring a tombstone back."""


class Purge(Delete, frozen=True, gc=False):
    """Entry 0x84: remove a memory or its tombstone for good."""


def untimed_terms(body: MemoryBody) -> tuple[Term, ...]:
    """Return the index terms of a body, each without its time."""
    terms: list[Term] = [(CREATED, b"")]
    if body.session_id is not None:
        terms.append((SESSION, value_prefix(body.session_id)))
    if body.source is not None:
        terms.append((SOURCE, value_prefix(source_type(body.source))))
    if body.tags:
        terms += [(TAG, value_prefix(tag)) for tag in body.tags]
    if body.status != "active":
        terms.append((STATUS, value_prefix(body.status)))
    if body.namespace is not None:
        terms.append((NAMESPACE, value_prefix(body.namespace)))
    if body.branch is not None:
        terms.append((BRANCH, value_prefix(body.branch)))
    if body.file_path is not None:
        terms.append((FILE, value_prefix(body.file_path)))
    if body.group is not None:
        terms.append((GROUP, value_prefix(body.group)))
    return tuple(terms)


def is_tombstone(header: Header) -> bool:
    """Return True if a header is that of a deleted memory."""
    return bool(header.terms) and header.terms[0][0] == DELETED  # a tombstone's first term, and nobody else's


def _timed(terms: tuple[Term, ...], created_at: int, before: Header | None, at: Moment) -> tuple[Term, ...]:
    """Put the time of creation behind each value, and the time of writing behind the session."""
    suffix = encode_key(created_at)
    return tuple(
        [(index, prefix + suffix) if index != SESSION else _in_session(prefix, before, at) for index, prefix in terms]
    )


def _in_session(prefix: bytes, before: Header | None, at: Moment) -> Term:
    written = (SESSION, prefix + encode_key(at.now))
    for term in () if before is None else before.terms:
        if term[0] == SESSION and len(term[1]) == len(written[1]) and term[1].startswith(prefix):
            return term  # it keeps its place in the session
    return written


def _fold_store(entry: Store, touched: Touched, at: Moment) -> Written:
    before = touched[entry.key]
    created_at = before.created_at if before else at.now if entry.created_at is None else entry.created_at
    terms = _timed(entry.terms, created_at, before, at)
    record = write(
        entry.key,
        before,
        at,
        entry.body,
        terms=terms,
        expires_at=entry.expires_at,
        blobs=entry.blobs if before else entry.blobs or (),
        created_at=created_at,
    )
    return {entry.key: record}


def _live(touched: Touched, key: bytes) -> tuple[Record | None, MemoryBody | None]:
    record = touched[key]
    body = None if record is None else decode(record.body, MemoryBody)
    return record, None if body is None or body.deleted_at is not None else body


def _fold_update(entry: Update, touched: Touched, at: Moment) -> Written:
    record, body = _live(touched, entry.key)
    if record is None or body is None:
        return {}
    changes = decode(entry.changes, MemoryChanges)
    for name in MemoryChanges.__struct_fields__:
        value = getattr(changes, name)
        if value is not UNSET:
            setattr(body, name, value)
    expires_at = record.expires_at if entry.expires_at == -1 else entry.expires_at
    terms = _timed(untimed_terms(body), record.created_at, record, at)
    after = write(entry.key, record, at, at.codec.encode(body), terms=terms, expires_at=expires_at, blobs=entry.blobs)
    return {entry.key: after}


def _fold_soft_delete(entry: SoftDelete, touched: Touched, at: Moment) -> Written:
    record, body = _live(touched, entry.key)
    if record is None or body is None:
        return {}
    body.deleted_at = at.now
    terms = ((DELETED, encode_key(at.now)),)
    after = write(entry.key, record, at, at.codec.encode(body), terms=terms, expires_at=record.expires_at)
    return {entry.key: after}


def _fold_restore(entry: Restore, touched: Touched, at: Moment) -> Written:
    record, live = _live(touched, entry.key)
    if record is None or live is not None:
        return {}
    body = decode(record.body, MemoryBody)
    body.deleted_at = None
    terms = _timed(untimed_terms(body), record.created_at, None, at)
    after = write(entry.key, record, at, at.codec.encode(body), terms=terms, expires_at=record.expires_at)
    return {entry.key: after}


class MemoryPrimitive(Primitive):
    """What the registry keeps of ``memory``; its face is in ``memories.py``."""

    name = "memory"
    id = KIND
    attribute = "memories"
    searchable = True
    keyed_by_id = True
    body = MemoryBody
    indexes = {
        "created": CREATED,
        "session_id": SESSION,
        "source": SOURCE,
        "tag": TAG,
        "namespace": NAMESPACE,
        "status": STATUS,
        "branch": BRANCH,
        "file_path": FILE,
        "group": GROUP,
        "deleted": DELETED,
    }
    entry_types = (
        EntryType(MEMORY_STORE, Store, _fold_store, own_key),
        EntryType(MEMORY_UPDATE, Update, _fold_update, own_key, body=True, before_commit="read"),
        EntryType(MEMORY_DELETE, SoftDelete, _fold_soft_delete, own_key, body=True, before_commit="read"),
        EntryType(MEMORY_RESTORE, Restore, _fold_restore, own_key, body=True, before_commit="read"),
        EntryType(MEMORY_PURGE, Purge, fold_delete, own_key, before_commit="read"),
    )

    def group(self, header: Header) -> bytes:
        """The newest memories are kept, and of tombstones the newest."""
        return b"deleted" if is_tombstone(header) else b""

    def text(self, record: Record) -> str | None:
        """The content, its heading, and its tags; nothing of a tombstone."""
        body = decode(record.body, MemoryBody)
        if body.deleted_at is not None:
            return None
        heading = getattr(body.source, "heading", None)
        return "\n".join(part for part in (body.content, heading, " ".join(body.tags)) if part)

    def values(self, record: Record) -> dict[str, Any]:
        """All fields of a memory but its times."""
        body = decode(record.body, MemoryBody)
        values = msgspec.structs.asdict(body)
        values["deleted"] = values.pop("deleted_at") is not None
        values["source"] = None if body.source is None else msgspec.to_builtins(body.source)
        return values


def metadata_matches(where: dict[str, Any], body: MemoryBody) -> bool:
    """Return True if the metadata holds every value of ``where``, of the same type."""
    return all(
        key in body.metadata and type(body.metadata[key]) is type(value) and body.metadata[key] == value
        for key, value in where.items()
    )
