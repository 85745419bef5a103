"""``trace``: spans - what an agent did, how long it took, what it was part of.

A span has a type, attributes and tags, a start and perhaps an end, and perhaps a parent, which is there when the span
is recorded: that is checked inside the commit, so a parent may be of the same transaction. A trace is all that stands
under one root; a span is of the trace of its parent, whose header says which that is. Recording reads nothing and never
conflicts; ``end`` and ``update`` change what is there inside the commit.

The time of creation of a record is the start of the span. Every index holds (value, start), so lists are in order of
start and a time range is a part of an index. Times are in microseconds, from 1970 on and up to what OpenTelemetry can
say. The face is in ``traces.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.codec import Value, decode, from_microseconds
from holdfast.entry_types import PRIMITIVE_IDS, TRACE_DELETE, TRACE_END, TRACE_RECORD, TRACE_UPDATE
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.keys import uuid_of
from holdfast.model import Header, Record, Term, Touched, Written
from holdfast.primitive import Delete, EntryType, Moment, Payload, Primitive, delete_entry, own_key, write
from holdfast.selection import timed, value_prefix

KIND = PRIMITIVE_IDS["trace"]
START, TYPE, TAG, PARENT, TRACE, NAME, STATUS, OPEN = range(1, 9)
TAGS_MAX = 48
"""So that tags and the other terms of a span stay under the limit of 64."""
TIME_MAX = (2**64 - 1) // 1000
"""In microseconds: OpenTelemetry counts nanoseconds since 1970 in 64 bits."""
SPAN_TYPES = ("tool_call", "decision", "query", "thought", "error", "custom")
"""The usual types; any other name may be used as well."""
SPAN_STATUSES = ("unset", "ok", "error")
KEPT = -1
"""As ``expires_at`` of an entry: the expiry stays as it is."""


class SpanBody(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of a span; its start is the time of creation of the record. Times in microseconds."""

    type: str
    name: str
    trace_id: UUID | None = None
    parent: UUID | None = None
    attributes: dict[str, Value] = {}
    tags: tuple[str, ...] = ()
    end: int | None = None
    status: str = "unset"
    error: str | None = None
    metadata: dict[str, Value] = {}


class SpanChanges(msgspec.Struct, omit_defaults=True, kw_only=True):
    """What an end or an update sets, or adds to what is there."""

    name: str | UnsetType = UNSET
    attributes: dict[str, Value] | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    status: str | UnsetType = UNSET
    error: str | UnsetType = UNSET
    metadata: dict[str, Value] | UnsetType = UNSET
    more_attributes: dict[str, Value] | UnsetType = UNSET
    more_tags: tuple[str, ...] = ()


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A span as it is stored; its time of creation is ``start``, and it is open while ``end`` is None.

    Inside a transaction ``version`` and ``revision`` of what was just recorded are 0, and ``trace_id`` is None if the
    parent was given by its id.
    """

    id: UUID
    trace_id: UUID | None
    parent: UUID | None
    type: str
    name: str
    attributes: dict[str, Value]
    tags: tuple[str, ...]
    start: datetime
    end: datetime | None
    status: str
    error: str | None
    metadata: dict[str, Value]
    updated_at: datetime
    expires_at: datetime | None
    version: int
    revision: int

    @property
    def duration(self) -> timedelta | None:
        """How long it took; None while it is open."""
        return None if self.end is None else self.end - self.start


class SpanTree(msgspec.Struct, frozen=True):
    """A span and what stands under it, in order of start."""

    span: Span
    children: list[SpanTree]

    def walk(self) -> Iterator[tuple[int, Span]]:
        """Iterate over (depth, span), each span before its children; this one has depth 0."""
        waiting = [(0, self)]
        while waiting:
            depth, tree = waiting.pop()
            yield depth, tree.span
            waiting += [(depth + 1, child) for child in reversed(tree.children)]


class RecordSpan(Payload, frozen=True, gc=False):
    """Entry 0x50: a span; ``body`` is a SpanBody. Where the parent is there, the trace is that of the parent."""

    key: bytes
    body: bytes
    start: int
    parent: bytes | None = None
    expires_at: int | None = None


class EndSpan(Payload, frozen=True, gc=False):
    """Entry 0x51: the end of an open span; ``changes`` is a SpanChanges, ``end`` None is the time of the commit.

    ``at_most``: nothing happens if it has ended already, or does not exist.
    """

    key: bytes
    changes: bytes
    end: int | None = None
    at_most: bool = False


class UpdateSpan(Payload, frozen=True, gc=False):
    """Entry 0x52: new fields, more attributes or more tags; ``changes`` is a SpanChanges."""

    key: bytes
    changes: bytes
    expires_at: int | None = KEPT


class DeleteSpan(Delete, frozen=True, gc=False):
    """Entry 0x53: remove a span."""


def place_terms(body: SpanBody, start: int) -> tuple[Term, ...]:
    """Return the terms that say where a span stands, which never change: start, parent (None: a root) and trace."""
    terms: list[Term] = [(START, b""), (PARENT, value_prefix(body.parent))]
    if body.trace_id is not None:
        terms.append((TRACE, value_prefix(body.trace_id)))
    return timed(tuple(terms), start)


def _terms(body: SpanBody, start: int) -> tuple[Term, ...]:
    terms: list[Term] = [(TYPE, value_prefix(body.type)), (NAME, value_prefix(body.name))]
    terms += [(TAG, value_prefix(tag)) for tag in body.tags]
    if body.status != "unset":
        terms.append((STATUS, value_prefix(body.status)))
    if body.end is None:
        terms.append((OPEN, b""))
    return (*place_terms(body, start), *timed(tuple(terms), start))


def trace_of(header: Header) -> UUID:
    """Return the trace of a span, from its header."""
    return next(uuid_of(value[1:17]) for index, value in header.terms if index == TRACE)


def _touched_by(entry: RecordSpan) -> tuple[bytes, ...]:
    return (entry.key,) if entry.parent is None else (entry.key, entry.parent)


def _fold_record(entry: RecordSpan, touched: Touched, at: Moment) -> Written:
    body = decode(entry.body, SpanBody)
    parent = None if entry.parent is None else touched[entry.parent]
    if parent is not None:
        body.trace_id = trace_of(parent)
    record = write(
        entry.key,
        touched[entry.key],
        at,
        at.codec.encode(body),
        terms=_terms(body, entry.start),
        expires_at=entry.expires_at,
        created_at=entry.start,
    )
    return {entry.key: record}


def _changed(body: SpanBody, changes: SpanChanges) -> None:
    for name in ("name", "attributes", "tags", "status", "error", "metadata"):
        value = getattr(changes, name)
        if value is not UNSET:
            setattr(body, name, value)
    if changes.more_attributes is not UNSET:
        body.attributes = {**body.attributes, **changes.more_attributes}
    body.tags = tuple(dict.fromkeys((*body.tags, *changes.more_tags)))
    if len(body.tags) > TAGS_MAX:
        raise InvalidInputError("tags", f"{len(body.tags)} in all; at most {TAGS_MAX} are allowed")
    if body.status != "error":
        body.error = None


def _after(record: Record, body: SpanBody, at: Moment, expires_at: int | None) -> Written:
    terms = _terms(body, record.created_at)
    return {record.key: write(record.key, record, at, at.codec.encode(body), terms=terms, expires_at=expires_at)}


def _existing(touched: Touched, key: bytes) -> tuple[Record, SpanBody]:
    record = touched[key]
    if record is None:
        raise NotFoundError(f"span {uuid_of(key)} does not exist")
    return record, decode(record.body, SpanBody)


def _fold_end(entry: EndSpan, touched: Touched, at: Moment) -> Written:
    if entry.at_most and touched[entry.key] is None:
        return {}
    record, body = _existing(touched, entry.key)
    if body.end is not None:
        if entry.at_most:
            return {}
        raise ConflictError(f"span {uuid_of(entry.key)} has ended already, at {from_microseconds(body.end)}")
    body.end = max(at.now, record.created_at) if entry.end is None else entry.end
    if body.end < record.created_at:
        raise InvalidInputError("end", f"is before the start of the span, {from_microseconds(record.created_at)}")
    changes = decode(entry.changes, SpanChanges)
    if changes.status is UNSET and body.status == "unset":
        body.status = "ok"
    _changed(body, changes)
    return _after(record, body, at, record.expires_at)


def _fold_update(entry: UpdateSpan, touched: Touched, at: Moment) -> Written:
    record, body = _existing(touched, entry.key)
    _changed(body, decode(entry.changes, SpanChanges))
    return _after(record, body, at, record.expires_at if entry.expires_at == KEPT else entry.expires_at)


def to_span(record: Record) -> Span:
    """Return a span from its record."""
    body = decode(record.body, SpanBody)
    return Span(
        id=uuid_of(record.key),
        trace_id=body.trace_id,
        parent=body.parent,
        type=body.type,
        name=body.name,
        attributes=body.attributes,
        tags=body.tags,
        start=from_microseconds(record.created_at),
        end=None if body.end is None else from_microseconds(body.end),
        status=body.status,
        error=body.error,
        metadata=body.metadata,
        updated_at=from_microseconds(record.updated_at),
        expires_at=None if record.expires_at is None else from_microseconds(record.expires_at),
        version=record.version,
        revision=record.revision,
    )


class TracePrimitive(Primitive):
    """What the registry keeps of ``trace``; its face is in ``traces.py``."""

    name = "trace"
    id = KIND
    attribute = "traces"
    keyed_by_id = True
    body = SpanBody
    indexes = {
        "start": START,
        "type": TYPE,
        "tag": TAG,
        "parent": PARENT,
        "trace_id": TRACE,
        "name": NAME,
        "status": STATUS,
        "open": OPEN,
    }
    entry_types = (
        EntryType(TRACE_RECORD, RecordSpan, _fold_record, _touched_by),
        EntryType(TRACE_END, EndSpan, _fold_end, own_key, body=True, before_commit="read"),
        EntryType(TRACE_UPDATE, UpdateSpan, _fold_update, own_key, body=True, before_commit="read"),
        delete_entry(TRACE_DELETE, DeleteSpan),
    )

    def values(self, record: Record) -> dict[str, Any]:
        """All fields of a span but its times; whether it is open."""
        values = msgspec.structs.asdict(decode(record.body, SpanBody))
        values["open"] = values.pop("end") is None
        return values
