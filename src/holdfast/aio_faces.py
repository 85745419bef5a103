"""The asynchronous faces: each method has the signature of its synchronous twin, and hands over to it.

Written by tools/async_face.py; change that or the synchronous faces, then run it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from holdfast.async_work import AsyncFace
from holdfast.codec import Value
from holdfast.primitives.documents import Document, Documents
from holdfast.primitives.event import Event, Events, Stream, Verification
from holdfast.primitives.intent import EDGE_TYPES, PRIORITY_MAX
from holdfast.primitives.intent_graph import Edge, Intent, IntentTree
from holdfast.primitives.intents import Intents, StatusChange
from holdfast.primitives.kv import KeyValue, KeyValues
from holdfast.primitives.memories import Memories, Memory, NewMemory, Session
from holdfast.primitives.pruning import PrunePlan
from holdfast.primitives.run import LEASE_SECONDS, RunRecord, Runs
from holdfast.primitives.segments import Segment, Segments
from holdfast.primitives.source import MemorySource
from holdfast.primitives.span_inputs import SpanRef
from holdfast.primitives.state import State, States
from holdfast.primitives.trace import Span, SpanTree
from holdfast.primitives.traces import Traces
from holdfast.primitives.vectors import Collection, NewVector, VectorRecord, Vectors
from holdfast.scope import Listing, Pending
from holdfast.search.text import Results
from holdfast.search.vector import VectorResults


class AsyncKeyValues(AsyncFace[KeyValues]):
    """The twin of ``KeyValues``."""

    async def put(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: KeyValue | None = None,
    ) -> KeyValue:
        """Create or replace a value.

        See ``KeyValues.put``.
        """
        return await self._submit(
            self._face.put,
            key,
            value,
            metadata=metadata,
            expires_at=expires_at,
            ttl=ttl,
            expected_version=expected_version,
            expected=expected,
        )

    async def create(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> KeyValue:
        """Create a value; ConflictError if the key exists.

        See ``KeyValues.create``.
        """
        return await self._submit(self._face.create, key, value, metadata=metadata, expires_at=expires_at, ttl=ttl)

    async def update(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: KeyValue | None = None,
    ) -> KeyValue:
        """Replace a value that must exist, with its metadata and expiry; NotFoundError if it does not.

        See ``KeyValues.update``.
        """
        return await self._submit(
            self._face.update,
            key,
            value,
            metadata=metadata,
            expires_at=expires_at,
            ttl=ttl,
            expected_version=expected_version,
            expected=expected,
        )

    async def put_many(self, values: Mapping[str, Value]) -> list[KeyValue]:
        """Create or replace many values in one commit.

        See ``KeyValues.put_many``.
        """
        return await self._submit(self._face.put_many, values)

    async def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or ``default``.

        See ``KeyValues.get``.
        """
        return await self._hop(self._face.get, key, default)

    async def get_many(self, keys: Iterable[str], default: Any = None) -> list[Any]:
        """Return the values of many keys, in order, ``default`` for what is not there; one round trip.

        See ``KeyValues.get_many``.
        """
        return await self._hop(self._face.get_many, keys, default)

    async def record(self, key: str) -> KeyValue | None:
        """Return the value of a key with its version, revision and times, or None.

        See ``KeyValues.record``.
        """
        return await self._hop(self._face.record, key)

    async def exists(self, key: str) -> bool:
        """Return True if the key has a value; reads no value.

        See ``KeyValues.exists``.
        """
        return await self._hop(self._face.exists, key)

    async def delete(self, key: str, *, expected_version: int | None = None, expected: KeyValue | None = None) -> bool:
        """Remove a value; return True if there was one.

        See ``KeyValues.delete``.
        """
        return await self._submit(self._face.delete, key, expected_version=expected_version, expected=expected)

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove many values in one commit; return how many there were.

        See ``KeyValues.delete_many``.
        """
        return await self._submit(self._face.delete_many, keys)

    async def scan(
        self, prefix: str = "", *, limit: int = 100, after: str | None = None, reverse: bool = False
    ) -> Listing[KeyValue]:
        """Return a page of values in the order of their keys (by code point), those that start with ``prefix``.

        See ``KeyValues.scan``.
        """
        return await self._hop(self._face.scan, prefix, limit=limit, after=after, reverse=reverse)

    async def keys(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> Listing[str]:
        """Return a page of keys in order; reads no values.

        See ``KeyValues.keys``.
        """
        return await self._hop(self._face.keys, prefix, limit=limit, after=after)

    async def count(self) -> int:
        """Return how many keys have a value; reads no values.

        See ``KeyValues.count``.
        """
        return await self._hop(self._face.count)


class AsyncDocuments(AsyncFace[Documents]):
    """The twin of ``Documents``."""

    async def put(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document:
        """Create or replace a document: any value, most often an object.

        See ``Documents.put``.
        """
        return await self._submit(
            self._face.put,
            key,
            value,
            metadata=metadata,
            expires_at=expires_at,
            ttl=ttl,
            expected_version=expected_version,
            expected=expected,
        )

    async def create(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> Document:
        """Create a document; ConflictError if the key exists.

        See ``Documents.create``.
        """
        return await self._submit(self._face.create, key, value, metadata=metadata, expires_at=expires_at, ttl=ttl)

    async def update(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document:
        """Replace a document that must exist, with its metadata and expiry; NotFoundError if it does not.

        See ``Documents.update``.
        """
        return await self._submit(
            self._face.update,
            key,
            value,
            metadata=metadata,
            expires_at=expires_at,
            ttl=ttl,
            expected_version=expected_version,
            expected=expected,
        )

    async def get(self, key: str, pointer: str = "", default: Any = None) -> Any:
        """Return what is at a JSON Pointer (RFC 6901; "" is the whole document), or ``default``.

        See ``Documents.get``.
        """
        return await self._hop(self._face.get, key, pointer, default)

    async def query(self, key: str, path: str) -> list[Value]:
        """Return the values that a JSONPath (RFC 9535) finds in a document, in order; none if it does not exist.

        See ``Documents.query``.
        """
        return await self._hop(self._face.query, key, path)

    async def record(self, key: str) -> Document | None:
        """Return a document with its metadata, version, revision and times, or None.

        See ``Documents.record``.
        """
        return await self._hop(self._face.record, key)

    async def exists(self, key: str, pointer: str = "") -> bool:
        """Return True if there is something at a pointer; of a whole document, no value is read.

        See ``Documents.exists``.
        """
        return await self._hop(self._face.exists, key, pointer)

    async def set(
        self,
        key: str,
        pointer: str,
        value: Value,
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document | Pending[Document]:
        """Add or replace what is at a pointer of a document that exists, and keep the rest, metadata and expiry.

        See ``Documents.set``.
        """
        return await self._submit(
            self._face.set, key, pointer, value, expected_version=expected_version, expected=expected
        )

    async def delete(
        self, key: str, pointer: str = "", *, expected_version: int | None = None, expected: Document | None = None
    ) -> bool:
        """Remove what is at a pointer, or ("") the document; return True if there was something.

        See ``Documents.delete``.
        """
        return await self._submit(self._face.delete, key, pointer, expected_version=expected_version, expected=expected)

    async def push(
        self,
        key: str,
        pointer: str,
        value: Value,
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document | Pending[Document]:
        """Append to the array at a pointer; NotFoundError if there is none.

        See ``Documents.push``.
        """
        return await self._submit(
            self._face.push, key, pointer, value, expected_version=expected_version, expected=expected
        )

    async def pop(
        self,
        key: str,
        pointer: str,
        index: int = -1,
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Value:
        """Remove an item of the array at a pointer (the last, unless ``index`` says which) and return it.

        See ``Documents.pop``.
        """
        return await self._submit(
            self._face.pop, key, pointer, index, expected_version=expected_version, expected=expected
        )

    async def patch(
        self,
        key: str,
        patch: list[dict[str, Value]],
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document | Pending[Document]:
        """Apply a JSON Patch (RFC 6902): all of its operations or none.

        See ``Documents.patch``.
        """
        return await self._submit(self._face.patch, key, patch, expected_version=expected_version, expected=expected)

    async def merge_patch(
        self, key: str, patch: Value, *, expected_version: int | None = None, expected: Document | None = None
    ) -> Document | Pending[Document]:
        """Apply a JSON Merge Patch (RFC 7396): members are set, those that are None removed, objects merged.

        See ``Documents.merge_patch``.
        """
        return await self._submit(
            self._face.merge_patch, key, patch, expected_version=expected_version, expected=expected
        )

    async def scan(
        self, prefix: str = "", *, limit: int = 100, after: str | None = None, reverse: bool = False
    ) -> Listing[Document]:
        """Return a page of documents in the order of their keys (by code point), those that start with ``prefix``.

        See ``Documents.scan``.
        """
        return await self._hop(self._face.scan, prefix, limit=limit, after=after, reverse=reverse)

    async def keys(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> Listing[str]:
        """Return a page of keys in order; reads no values.

        See ``Documents.keys``.
        """
        return await self._hop(self._face.keys, prefix, limit=limit, after=after)

    async def count(self) -> int:
        """Return how many documents there are; reads no values.

        See ``Documents.count``.
        """
        return await self._hop(self._face.count)


class AsyncEvents(AsyncFace[Events]):
    """The twin of ``Events``."""

    async def append(
        self, stream: str, data: Value, *, type: str = "event", metadata: dict[str, Value] | None = None
    ) -> Event | Pending[Event]:
        """Append an event. Inside a transaction the result is a Pending: its attributes are known after the commit.

        See ``Events.append``.
        """
        return await self._submit(self._face.append, stream, data, type=type, metadata=metadata)

    async def append_many(self, stream: str, events: list[dict[str, Any]]) -> list[Event] | Pending[list[Event]]:
        """Append many events, each a dict with ``data`` and perhaps ``type`` and ``metadata``, in one commit.

        See ``Events.append_many``.
        """
        return await self._submit(self._face.append_many, stream, events)

    async def trim(self, stream: str, before: int) -> int:
        """Let the events with a sequence below ``before`` go, at most all; return how many went.

        See ``Events.trim``.
        """
        return await self._hop(self._face.trim, stream, before)

    async def read(
        self,
        stream: str,
        start: int = 0,
        *,
        end: int | None = None,
        limit: int = 100,
        type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        reverse: bool = False,
        after: str | None = None,
    ) -> Listing[Event]:
        """Return a page of events in order: start <= sequence < end, of a type, committed in [since, until).

        See ``Events.read``.
        """
        return await self._hop(
            self._face.read,
            stream,
            start,
            end=end,
            limit=limit,
            type=type,
            since=since,
            until=until,
            reverse=reverse,
            after=after,
        )

    async def get(self, stream: str, sequence: int) -> Event | None:
        """Return one event, or None.

        See ``Events.get``.
        """
        return await self._hop(self._face.get, stream, sequence)

    async def stream(self, stream: str) -> Stream:
        """Return the length of a stream and the hash of its last event; a stream without events has length 0.

        See ``Events.stream``.
        """
        return await self._hop(self._face.stream, stream)

    async def length(self, stream: str) -> int:
        """Return how many events were appended to a stream: the sequence of the next one.

        See ``Events.length``.
        """
        return await self._hop(self._face.length, stream)

    async def streams(self, *, limit: int = 100, after: str | None = None) -> Listing[Stream]:
        """Return a page of the streams that have events, in the order of their names.

        See ``Events.streams``.
        """
        return await self._hop(self._face.streams, limit=limit, after=after)

    async def count(self) -> int:
        """Return how many events there are in all streams; reads no bodies.

        See ``Events.count``.
        """
        return await self._hop(self._face.count)

    async def verify(self, stream: str) -> Verification:
        """Compute the hash chain of a stream again and compare it with what is stored.

        See ``Events.verify``.
        """
        return await self._hop(self._face.verify, stream)


class AsyncStates(AsyncFace[States]):
    """The twin of ``States``."""

    async def init(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> State:
        """Create a cell; ConflictError if it exists. ``ttl`` is a timedelta or seconds. Raises InvalidInputError.

        See ``States.init``.
        """
        return await self._submit(self._face.init, key, value, metadata=metadata, expires_at=expires_at, ttl=ttl)

    async def set(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | UnsetType = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: State | None = None,
    ) -> State | Pending[State]:
        """Set the value of a cell, which is created if need be; metadata and expiry stay unless they are given.

        See ``States.set``.
        """
        return await self._submit(
            self._face.set,
            key,
            value,
            metadata=metadata,
            expires_at=expires_at,
            ttl=ttl,
            expected_version=expected_version,
            expected=expected,
        )

    async def compare_and_set(self, key: str, expected_value: Value, value: Value) -> bool:
        """Set the value of a cell if it holds ``expected_value``; return whether it did, and has been set.

        See ``States.compare_and_set``.
        """
        return await self._submit(self._face.compare_and_set, key, expected_value, value)

    async def transition(
        self,
        key: str,
        to: Value,
        *,
        allowed_from: Iterable[Value],
        expected_version: int | None = None,
        expected: State | None = None,
    ) -> State:
        """Set a cell to ``to`` if it holds one of ``allowed_from``; compared inside the commit.

        See ``States.transition``.
        """
        return await self._submit(
            self._face.transition,
            key,
            to,
            allowed_from=allowed_from,
            expected_version=expected_version,
            expected=expected,
        )

    async def apply(
        self, key: str, function: Callable[[Any], Value], *, default: Any = UNSET
    ) -> State | Pending[State]:
        """Set a cell to what ``function`` makes of its value; again, with the new value, if it was changed meanwhile.

        See ``States.apply``.
        """
        return await self._hop(self._face.apply, key, function, default=default)

    async def read(self, key: str, default: Any = None) -> Any:
        """Return the value of a cell, or ``default``.

        See ``States.read``.
        """
        return await self._hop(self._face.read, key, default)

    async def record(self, key: str) -> State | None:
        """Return a cell with its version, revision and times, or None.

        See ``States.record``.
        """
        return await self._hop(self._face.record, key)

    async def exists(self, key: str) -> bool:
        """Return True if there is a cell under the key; reads no value.

        See ``States.exists``.
        """
        return await self._hop(self._face.exists, key)

    async def delete(self, key: str, *, expected_version: int | None = None, expected: State | None = None) -> bool:
        """Remove a cell; return True if there was one.

        See ``States.delete``.
        """
        return await self._submit(self._face.delete, key, expected_version=expected_version, expected=expected)

    async def scan(
        self, prefix: str = "", *, limit: int = 100, after: str | None = None, reverse: bool = False
    ) -> Listing[State]:
        """Return a page of cells in the order of their keys (by code point), those that start with ``prefix``.

        See ``States.scan``.
        """
        return await self._hop(self._face.scan, prefix, limit=limit, after=after, reverse=reverse)

    async def keys(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> Listing[str]:
        """Return a page of keys in order; reads no values.

        See ``States.keys``.
        """
        return await self._hop(self._face.keys, prefix, limit=limit, after=after)

    async def count(self) -> int:
        """Return how many cells there are; reads no values.

        See ``States.count``.
        """
        return await self._hop(self._face.count)


class AsyncTraces(AsyncFace[Traces]):
    """The twin of ``Traces``."""

    async def record(
        self,
        type: str,
        *,
        name: str | None = None,
        attributes: dict[str, Value] | None = None,
        parent: SpanRef | None = None,
        tags: Iterable[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        status: str | UnsetType = UNSET,
        error: str | None = None,
        trace_id: UUID | str | None = None,
        id: UUID | str | None = None,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> Span:
        """Record a span that has ended: a tool_call, decision, query, thought, error, or any other ``type``.

        See ``Traces.record``.
        """
        return await self._submit(
            self._face.record,
            type,
            name=name,
            attributes=attributes,
            parent=parent,
            tags=tags,
            start=start,
            end=end,
            status=status,
            error=error,
            trace_id=trace_id,
            id=id,
            metadata=metadata,
            expires_at=expires_at,
            ttl=ttl,
        )

    async def begin(
        self,
        type: str,
        *,
        name: str | None = None,
        attributes: dict[str, Value] | None = None,
        parent: SpanRef | None = None,
        tags: Iterable[str] = (),
        start: datetime | None = None,
        trace_id: UUID | str | None = None,
        id: UUID | str | None = None,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> Span:
        """Record a span that has not ended; ``end`` ends it. See ``record`` for the rest.

        See ``Traces.begin``.
        """
        return await self._submit(
            self._face.begin,
            type,
            name=name,
            attributes=attributes,
            parent=parent,
            tags=tags,
            start=start,
            trace_id=trace_id,
            id=id,
            metadata=metadata,
            expires_at=expires_at,
            ttl=ttl,
        )

    async def end(
        self,
        id: SpanRef,
        *,
        status: str | UnsetType = UNSET,
        error: str | None = None,
        end: datetime | None = None,
        attributes: dict[str, Value] | None = None,
        expected_version: int | None = None,
        expected: Span | None = None,
    ) -> Span:
        """End an open span, with more ``attributes`` perhaps; the status is "ok" if none was set, now or before.

        See ``Traces.end``.
        """
        return await self._submit(
            self._face.end,
            id,
            status=status,
            error=error,
            end=end,
            attributes=attributes,
            expected_version=expected_version,
            expected=expected,
        )

    async def annotate(
        self,
        id: SpanRef,
        attributes: dict[str, Value] | None = None,
        *,
        tags: Iterable[str] = (),
        expected_version: int | None = None,
        expected: Span | None = None,
    ) -> Span:
        """Add attributes (those of the same name are replaced) and tags to a span, open or not.

        See ``Traces.annotate``.
        """
        return await self._submit(
            self._face.annotate, id, attributes, tags=tags, expected_version=expected_version, expected=expected
        )

    async def update(
        self,
        id: SpanRef,
        *,
        name: str | UnsetType = UNSET,
        attributes: dict[str, Value] | UnsetType = UNSET,
        tags: Iterable[str] | UnsetType = UNSET,
        status: str | UnsetType = UNSET,
        error: str | None = None,
        metadata: dict[str, Value] | UnsetType = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        expected_version: int | None = None,
        expected: Span | None = None,
    ) -> Span:
        """Set some fields of a span; what is not given stays. NotFoundError if it does not exist.

        See ``Traces.update``.
        """
        return await self._submit(
            self._face.update,
            id,
            name=name,
            attributes=attributes,
            tags=tags,
            status=status,
            error=error,
            metadata=metadata,
            expires_at=expires_at,
            expected_version=expected_version,
            expected=expected,
        )

    def span(
        self,
        type: str,
        *,
        name: str | None = None,
        attributes: dict[str, Value] | None = None,
        parent: SpanRef | None = None,
        tags: Iterable[str] = (),
        trace_id: UUID | str | None = None,
        id: UUID | str | None = None,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> AbstractAsyncContextManager[Span]:
        """Begin a span and end it with the block: as "ok", or as "error" with the reason if the block raised.

        See ``Traces.span``.
        """
        return self._within(
            self._face.span(
                type,
                name=name,
                attributes=attributes,
                parent=parent,
                tags=tags,
                trace_id=trace_id,
                id=id,
                metadata=metadata,
                expires_at=expires_at,
                ttl=ttl,
            )
        )

    async def record_otlp(self, document: dict[str, Any], *, partial: bool = False) -> Listing[Span]:
        """Record the spans of a document of OpenTelemetry (OTLP/JSON, parsed), in one commit; return them in its order.

        See ``Traces.record_otlp``.
        """
        return await self._submit(self._face.record_otlp, document, partial=partial)

    async def delete(self, id: SpanRef, *, expected_version: int | None = None, expected: Span | None = None) -> bool:
        """Remove one span; return True if there was one. What stands under it stays, under a parent that is gone.

        See ``Traces.delete``.
        """
        return await self._submit(self._face.delete, id, expected_version=expected_version, expected=expected)

    async def delete_tree(self, id: SpanRef) -> int:
        """Remove a span and all that stands under it; return how many there were.

        See ``Traces.delete_tree``.
        """
        return await self._hop(self._face.delete_tree, id)

    async def get(self, id: SpanRef) -> Span | None:
        """Return a span, or None.

        See ``Traces.get``.
        """
        return await self._hop(self._face.get, id)

    async def exists(self, id: SpanRef) -> bool:
        """Return True if there is a span with this id; reads no body.

        See ``Traces.exists``.
        """
        return await self._hop(self._face.exists, id)

    async def tree(self, root: SpanRef) -> SpanTree:
        """Return a span with all that stands under it, each level in order of start; reads its trace.

        See ``Traces.tree``.
        """
        return await self._hop(self._face.tree, root)

    async def children(self, id: SpanRef, *, limit: int | None = 100, after: str | None = None) -> Listing[Span]:
        """Return a page of the spans right under a span, in order of start.

        See ``Traces.children``.
        """
        return await self._hop(self._face.children, id, limit=limit, after=after)

    async def roots(
        self,
        *,
        type: str | None = None,
        tags: Iterable[str] = (),
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Span]:
        """Return a page of the spans without a parent, in order of start (``reverse``: the newest first).

        See ``Traces.roots``.
        """
        return await self._hop(
            self._face.roots,
            type=type,
            tags=tags,
            status=status,
            since=since,
            until=until,
            reverse=reverse,
            limit=limit,
            after=after,
        )

    async def count(
        self,
        *,
        type: str | None = None,
        name: str | None = None,
        tags: Iterable[str] = (),
        status: str | None = None,
        open: bool | None = None,
        trace_id: UUID | str | None = None,
        parent: SpanRef | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Count spans, those of a selection if one is given; reads no bodies.

        See ``Traces.count``.
        """
        return await self._hop(
            self._face.count,
            type=type,
            name=name,
            tags=tags,
            status=status,
            open=open,
            trace_id=trace_id,
            parent=parent,
            since=since,
            until=until,
        )

    async def list(
        self,
        *,
        type: str | None = None,
        name: str | None = None,
        tags: Iterable[str] = (),
        status: str | None = None,
        open: bool | None = None,
        trace_id: UUID | str | None = None,
        parent: SpanRef | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        where: dict[str, Value] | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Span]:
        """Return a page of spans in order of start (``reverse``: the newest first) that have all that is given.

        See ``Traces.list``.
        """
        return await self._hop(
            self._face.list,
            type=type,
            name=name,
            tags=tags,
            status=status,
            open=open,
            trace_id=trace_id,
            parent=parent,
            since=since,
            until=until,
            where=where,
            reverse=reverse,
            limit=limit,
            after=after,
        )


class AsyncMemories(AsyncFace[Memories]):
    """The twin of ``Memories``."""

    async def store(
        self,
        content: str,
        *,
        id: UUID | str | None = None,
        source: MemorySource | None = None,
        session_id: str | None = None,
        tags: Iterable[str] = (),
        namespace: str | None = None,
        status: str = "active",
        branch: str | None = None,
        file_path: str | None = None,
        group: str | None = None,
        superseded_by: UUID | None = None,
        derived_from: Iterable[UUID] = (),
        metadata: dict[str, Value] | None = None,
        embeddings: dict[str, Any] | None = None,
        created_at: datetime | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: Memory | None = None,
    ) -> Memory:
        """Create a memory, or replace the one with this ``id``.

        See ``Memories.store``.
        """
        return await self._submit(
            self._face.store,
            content,
            id=id,
            source=source,
            session_id=session_id,
            tags=tags,
            namespace=namespace,
            status=status,
            branch=branch,
            file_path=file_path,
            group=group,
            superseded_by=superseded_by,
            derived_from=derived_from,
            metadata=metadata,
            embeddings=embeddings,
            created_at=created_at,
            expires_at=expires_at,
            ttl=ttl,
            expected_version=expected_version,
            expected=expected,
        )

    async def create(self, content: str, *, id: UUID | str, **fields: Any) -> Memory:
        """Create a memory under an id that must be free; ConflictError if it is not. Fields as for ``store``.

        See ``Memories.create``.
        """
        return await self._submit(self._face.create, content, id=id, **fields)

    async def store_many(self, memories: Iterable[NewMemory]) -> list[Memory]:
        """Create or replace many memories in one commit, in order.

        See ``Memories.store_many``.
        """
        return await self._submit(self._face.store_many, memories)

    async def update(
        self,
        id: UUID | str,
        *,
        content: str | UnsetType = UNSET,
        source: MemorySource | UnsetType | None = UNSET,
        session_id: str | UnsetType | None = UNSET,
        tags: Iterable[str] | UnsetType = UNSET,
        namespace: str | UnsetType | None = UNSET,
        status: str | UnsetType = UNSET,
        branch: str | UnsetType | None = UNSET,
        file_path: str | UnsetType | None = UNSET,
        group: str | UnsetType | None = UNSET,
        superseded_by: UUID | UnsetType | None = UNSET,
        derived_from: Iterable[UUID] | UnsetType = UNSET,
        metadata: dict[str, Value] | UnsetType = UNSET,
        embeddings: dict[str, Any] | UnsetType = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        expected_version: int | None = None,
        expected: Memory | None = None,
    ) -> Memory:
        """Set some fields of a memory; what is not given stays. Returns it as it is then.

        See ``Memories.update``.
        """
        return await self._submit(
            self._face.update,
            id,
            content=content,
            source=source,
            session_id=session_id,
            tags=tags,
            namespace=namespace,
            status=status,
            branch=branch,
            file_path=file_path,
            group=group,
            superseded_by=superseded_by,
            derived_from=derived_from,
            metadata=metadata,
            embeddings=embeddings,
            expires_at=expires_at,
            expected_version=expected_version,
            expected=expected,
        )

    async def delete(
        self, id: UUID | str, *, expected_version: int | None = None, expected: Memory | None = None
    ) -> bool:
        """Delete a memory, leaving a tombstone that ``restore`` brings back; return True if there was one.

        See ``Memories.delete``.
        """
        return await self._submit(self._face.delete, id, expected_version=expected_version, expected=expected)

    async def restore(self, id: UUID | str) -> bool:
        """Bring a deleted memory back; return True if there was a tombstone.

        See ``Memories.restore``.
        """
        return await self._submit(self._face.restore, id)

    async def purge(self, id: UUID | str) -> bool:
        """Remove a memory, or its tombstone, for good; return True if there was one.

        See ``Memories.purge``.
        """
        return await self._submit(self._face.purge, id)

    async def get(self, id: UUID | str, *, embeddings: bool = False, deleted: bool = False) -> Memory | None:
        """Return a memory, or None; a tombstone only if ``deleted``.

        See ``Memories.get``.
        """
        return await self._hop(self._face.get, id, embeddings=embeddings, deleted=deleted)

    async def get_batch(
        self, ids: Iterable[UUID | str], *, embeddings: bool = False, deleted: bool = False
    ) -> list[Memory | None]:
        """Return memories in the order of their ids, None for what is not there; one round trip.

        See ``Memories.get_batch``.
        """
        return await self._hop(self._face.get_batch, ids, embeddings=embeddings, deleted=deleted)

    async def exists(self, id: UUID | str) -> bool:
        """Return True if there is a memory with this id; reads no body.

        See ``Memories.exists``.
        """
        return await self._hop(self._face.exists, id)

    async def count(
        self,
        *,
        session_id: str | None = None,
        source: str | None = None,
        tags: Iterable[str] = (),
        namespace: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Count memories, those of a selection if one is given; reads no bodies.

        See ``Memories.count``.
        """
        return await self._hop(
            self._face.count,
            session_id=session_id,
            source=source,
            tags=tags,
            namespace=namespace,
            since=since,
            until=until,
        )

    async def list_ids(
        self, *, limit: int | None = 100, after: str | None = None, reverse: bool = False
    ) -> Listing[UUID]:
        """Return a page of ids in order of creation; reads no bodies.

        See ``Memories.list_ids``.
        """
        return await self._hop(self._face.list_ids, limit=limit, after=after, reverse=reverse)

    async def get_by_session(
        self, session_id: str, *, limit: int | None = None, after: str | None = None
    ) -> Listing[Memory]:
        """Return the memories of a session in order of writing; reads only those.

        See ``Memories.get_by_session``.
        """
        return await self._hop(self._face.get_by_session, session_id, limit=limit, after=after)

    async def get_by_source(self, source: str, *, limit: int | None = 100, after: str | None = None) -> Listing[Memory]:
        """Return a page of the memories with a type of source, in order of creation.

        See ``Memories.get_by_source``.
        """
        return await self._hop(self._face.get_by_source, source, limit=limit, after=after)

    async def sessions(self) -> list[Session]:
        """Iterate over the sessions that have memories, by id; one seek a session, and one memory's body.

        See ``Memories.sessions``.
        """
        return await self._hop(self._as_list(self._face.sessions))

    async def search(
        self,
        query: str,
        *,
        limit: int = 10,
        session_id: str | None = None,
        source: str | None = None,
        tags: Iterable[str] = (),
        namespace: str | None = None,
        status: str | None = None,
        file_path: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        where: dict[str, Value] | None = None,
    ) -> Results[Memory]:
        """Return the memories that fit a query best; filters as for ``list``, words as in ``search/query.py``.

        See ``Memories.search``.
        """
        return await self._hop(
            self._face.search,
            query,
            limit=limit,
            session_id=session_id,
            source=source,
            tags=tags,
            namespace=namespace,
            status=status,
            file_path=file_path,
            since=since,
            until=until,
            where=where,
        )

    async def list(
        self,
        *,
        session_id: str | None = None,
        source: str | None = None,
        tags: Iterable[str] = (),
        namespace: str | None = None,
        status: str | None = None,
        branch: str | None = None,
        file_path: str | None = None,
        group: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        where: dict[str, Value] | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Memory]:
        """Return a page of memories in order of creation (``reverse``: the newest first) that have all that is given.

        See ``Memories.list``.
        """
        return await self._hop(
            self._face.list,
            session_id=session_id,
            source=source,
            tags=tags,
            namespace=namespace,
            status=status,
            branch=branch,
            file_path=file_path,
            group=group,
            since=since,
            until=until,
            where=where,
            reverse=reverse,
            limit=limit,
            after=after,
        )


class AsyncSegments(AsyncFace[Segments]):
    """The twin of ``Segments``."""

    async def store(
        self,
        text: str,
        *,
        type: str,
        id: UUID | str | None = None,
        task_id: str | None = None,
        tier: str = "working",
        pinned: bool = False,
        generation: str = "young",
        refcount: int = 0,
        file_path: str | None = None,
        line_range: tuple[int, int] | None = None,
        tags: Iterable[str] = (),
        topic_id: str | None = None,
        tokens: int | None = None,
        tokenizer: Callable[[str], int] | None = None,
        created_at: datetime | None = None,
        expected_version: int | None = None,
        expected: Segment | None = None,
    ) -> Segment:
        """Create a segment, or replace the one with this ``id``.

        See ``Segments.store``.
        """
        return await self._submit(
            self._face.store,
            text,
            type=type,
            id=id,
            task_id=task_id,
            tier=tier,
            pinned=pinned,
            generation=generation,
            refcount=refcount,
            file_path=file_path,
            line_range=line_range,
            tags=tags,
            topic_id=topic_id,
            tokens=tokens,
            tokenizer=tokenizer,
            created_at=created_at,
            expected_version=expected_version,
            expected=expected,
        )

    async def update(
        self,
        id: UUID | str,
        *,
        text: str | UnsetType = UNSET,
        type: str | UnsetType = UNSET,
        task_id: str | UnsetType | None = UNSET,
        generation: str | UnsetType = UNSET,
        refcount: int | UnsetType = UNSET,
        file_path: str | UnsetType | None = UNSET,
        line_range: tuple[int, int] | UnsetType | None = UNSET,
        tags: Iterable[str] | UnsetType = UNSET,
        topic_id: str | UnsetType | None = UNSET,
        tokens: int | UnsetType | None = UNSET,
        tokenizer: Callable[[str], int] | None = None,
        expected_version: int | None = None,
        expected: Segment | None = None,
    ) -> Segment:
        """Set some fields of a segment and touch it; what is not given stays, but tokens are those of the text.

        See ``Segments.update``.
        """
        return await self._submit(
            self._face.update,
            id,
            text=text,
            type=type,
            task_id=task_id,
            generation=generation,
            refcount=refcount,
            file_path=file_path,
            line_range=line_range,
            tags=tags,
            topic_id=topic_id,
            tokens=tokens,
            tokenizer=tokenizer,
            expected_version=expected_version,
            expected=expected,
        )

    async def stash(self, ids: UUID | str | Iterable[UUID | str]) -> list[Segment]:
        """Set segments aside, all in one commit; NotFoundError, and nothing is changed, if one does not exist.

        See ``Segments.stash``.
        """
        return await self._hop(self._face.stash, ids)

    async def unstash(self, ids: UUID | str | Iterable[UUID | str]) -> list[Segment]:
        """Bring segments back into the working tier and touch them; else as ``stash``.

        See ``Segments.unstash``.
        """
        return await self._hop(self._face.unstash, ids)

    async def archive(self, ids: UUID | str | Iterable[UUID | str]) -> list[Segment]:
        """Put segments into the archive; else as ``stash``.

        See ``Segments.archive``.
        """
        return await self._hop(self._face.archive, ids)

    async def touch(self, id: UUID | str) -> Segment:
        """Say that a segment was used now. Raises NotFoundError.

        See ``Segments.touch``.
        """
        return await self._submit(self._face.touch, id)

    async def pin(self, id: UUID | str) -> Segment:
        """Have a segment left alone by pruning and retention. Raises NotFoundError.

        See ``Segments.pin``.
        """
        return await self._submit(self._face.pin, id)

    async def unpin(self, id: UUID | str) -> Segment:
        """Undo ``pin``. Raises NotFoundError.

        See ``Segments.unpin``.
        """
        return await self._submit(self._face.unpin, id)

    async def delete(
        self, id: UUID | str, *, expected_version: int | None = None, expected: Segment | None = None
    ) -> bool:
        """Delete a segment, leaving a tombstone that ``restore`` brings back; return True if there was one.

        See ``Segments.delete``.
        """
        return await self._submit(self._face.delete, id, expected_version=expected_version, expected=expected)

    async def restore(self, id: UUID | str) -> bool:
        """Bring a deleted segment back; return True if there was a tombstone.

        See ``Segments.restore``.
        """
        return await self._submit(self._face.restore, id)

    async def purge(self, id: UUID | str) -> bool:
        """Remove a segment, or its tombstone, for good; return True if there was one.

        See ``Segments.purge``.
        """
        return await self._submit(self._face.purge, id)

    async def plan_prune(self, target_tokens: int) -> PrunePlan:
        """Propose what to stash or delete so that the working tier has at most ``target_tokens``; changes nothing.

        See ``Segments.plan_prune``.
        """
        return await self._hop(self._face.plan_prune, target_tokens)

    async def apply(self, plan: PrunePlan) -> list[Segment]:
        """Do what a plan says in one commit; return what it took, as it is then.

        See ``Segments.apply``.
        """
        return await self._hop(self._face.apply, plan)

    async def get(self, id: UUID | str, *, deleted: bool = False) -> Segment | None:
        """Return a segment, or None; a tombstone only if ``deleted``.

        See ``Segments.get``.
        """
        return await self._hop(self._face.get, id, deleted=deleted)

    async def get_batch(self, ids: Iterable[UUID | str], *, deleted: bool = False) -> list[Segment | None]:
        """Return segments in the order of their ids, None for what is not there; one round trip.

        See ``Segments.get_batch``.
        """
        return await self._hop(self._face.get_batch, ids, deleted=deleted)

    async def load(self, *, task_id: str | None = None) -> Listing[Segment]:
        """Return the whole working tier in order of creation, or that of a task.

        See ``Segments.load``.
        """
        return await self._hop(self._face.load, task_id=task_id)

    async def count(self, *, tier: str | None = None, type: str | None = None, task_id: str | None = None) -> int:
        """Count segments, those of a selection if one is given; reads no bodies.

        See ``Segments.count``.
        """
        return await self._hop(self._face.count, tier=tier, type=type, task_id=task_id)

    async def token_count(self) -> dict[str, int]:
        """Return the sum of the tokens of each tier; what nobody counted is 0.

        See ``Segments.token_count``.
        """
        return await self._hop(self._face.token_count)

    async def search_stashed(
        self,
        query: str = "",
        *,
        tier: str = "stashed",
        type: str | None = None,
        task_id: str | None = None,
        file_path: str | None = None,
        tags: Iterable[str] = (),
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int = 10,
    ) -> Results[Segment]:
        """Return the stashed segments (or those of another ``tier``) that fit a query best; filters as for ``list``.

        See ``Segments.search_stashed``.
        """
        return await self._hop(
            self._face.search_stashed,
            query,
            tier=tier,
            type=type,
            task_id=task_id,
            file_path=file_path,
            tags=tags,
            created_after=created_after,
            created_before=created_before,
            limit=limit,
        )

    async def list(
        self,
        *,
        tier: str | None = None,
        type: str | None = None,
        task_id: str | None = None,
        file_path: str | None = None,
        topic_id: str | None = None,
        tags: Iterable[str] = (),
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Segment]:
        """Return a page of segments in order of creation (``reverse``: the newest first) that have all that is given.

        See ``Segments.list``.
        """
        return await self._hop(
            self._face.list,
            tier=tier,
            type=type,
            task_id=task_id,
            file_path=file_path,
            topic_id=topic_id,
            tags=tags,
            created_after=created_after,
            created_before=created_before,
            reverse=reverse,
            limit=limit,
            after=after,
        )


class AsyncVectors(AsyncFace[Vectors]):
    """The twin of ``Vectors``."""

    async def create_collection(
        self,
        name: str,
        *,
        dimension: int,
        metric: str = "cosine",
        metadata: dict[str, Value] | None = None,
        exist_ok: bool = False,
    ) -> Collection:
        """Create a collection: vectors of one dimension, compared by "cosine", "dot" or "euclidean".

        See ``Vectors.create_collection``.
        """
        return await self._hop(
            self._face.create_collection, name, dimension=dimension, metric=metric, metadata=metadata, exist_ok=exist_ok
        )

    async def collection(self, name: str) -> Collection | None:
        """Return a collection, or None.

        See ``Vectors.collection``.
        """
        return await self._hop(self._face.collection, name)

    async def collections(self, *, limit: int = 100, after: str | None = None) -> Listing[Collection]:
        """Return a page of collections in the order of their names.

        See ``Vectors.collections``.
        """
        return await self._hop(self._face.collections, limit=limit, after=after)

    async def drop_collection(self, name: str) -> bool:
        """Drop a collection with all its vectors; return True if there was one.

        See ``Vectors.drop_collection``.
        """
        return await self._hop(self._face.drop_collection, name)

    async def insert(
        self,
        collection: str,
        id: str,
        vector: Any,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> VectorRecord:
        """Add a vector under an id that must be free; ConflictError if it is not. Otherwise as ``put``.

        See ``Vectors.insert``.
        """
        return await self._submit(
            self._face.insert, collection, id, vector, metadata=metadata, expires_at=expires_at, ttl=ttl
        )

    async def put(
        self,
        collection: str,
        id: str,
        vector: Any,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: VectorRecord | None = None,
    ) -> VectorRecord:
        """Create or replace a vector, with its metadata and expiry.

        See ``Vectors.put``.
        """
        return await self._submit(
            self._face.put,
            collection,
            id,
            vector,
            metadata=metadata,
            expires_at=expires_at,
            ttl=ttl,
            expected_version=expected_version,
            expected=expected,
        )

    async def insert_many(self, collection: str, vectors: Iterable[NewVector]) -> list[VectorRecord]:
        """Add many vectors in one commit, all or none; ConflictError if one of the ids is not free.

        See ``Vectors.insert_many``.
        """
        return await self._hop(self._face.insert_many, collection, vectors)

    async def put_many(self, collection: str, vectors: Iterable[NewVector]) -> list[VectorRecord]:
        """Create or replace many vectors in one commit, in order.

        See ``Vectors.put_many``.
        """
        return await self._hop(self._face.put_many, collection, vectors)

    async def update(
        self,
        collection: str,
        id: str,
        *,
        vector: Any = UNSET,
        metadata: dict[str, Value] | UnsetType = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        expected_version: int | None = None,
        expected: VectorRecord | None = None,
    ) -> VectorRecord:
        """Set the vector, the metadata or the expiry of what must exist; what is not given stays.

        See ``Vectors.update``.
        """
        return await self._submit(
            self._face.update,
            collection,
            id,
            vector=vector,
            metadata=metadata,
            expires_at=expires_at,
            expected_version=expected_version,
            expected=expected,
        )

    async def delete(
        self, collection: str, id: str, *, expected_version: int | None = None, expected: VectorRecord | None = None
    ) -> bool:
        """Remove a vector for good; return True if there was one.

        See ``Vectors.delete``.
        """
        return await self._submit(
            self._face.delete, collection, id, expected_version=expected_version, expected=expected
        )

    async def get(self, collection: str, id: str, *, vectors: bool = True) -> VectorRecord | None:
        """Return a vector, or None; without its numbers if not ``vectors``.

        See ``Vectors.get``.
        """
        return await self._hop(self._face.get, collection, id, vectors=vectors)

    async def get_batch(
        self, collection: str, ids: Iterable[str], *, vectors: bool = True
    ) -> list[VectorRecord | None]:
        """Return vectors in the order of their ids, None for what is not there; one round trip.

        See ``Vectors.get_batch``.
        """
        return await self._hop(self._face.get_batch, collection, ids, vectors=vectors)

    async def exists(self, collection: str, id: str) -> bool:
        """Return True if there is a vector with this id; reads no body.

        See ``Vectors.exists``.
        """
        return await self._hop(self._face.exists, collection, id)

    async def count(self, collection: str) -> int:
        """Return how many vectors a collection has; reads no bodies.

        See ``Vectors.count``.
        """
        return await self._hop(self._face.count, collection)

    async def search(
        self,
        collection: str,
        vector: Any,
        *,
        limit: int = 10,
        where: dict[str, Value] | None = None,
        min_score: float | None = None,
        vectors: bool = False,
        exact: bool = False,
    ) -> VectorResults[VectorRecord]:
        """Return the ``limit`` vectors that are nearest to ``vector``, those that are equally near by id.

        See ``Vectors.search``.
        """
        return await self._leave(
            self._face.search,
            collection,
            vector,
            limit=limit,
            where=where,
            min_score=min_score,
            vectors=vectors,
            exact=exact,
        )

    async def refresh_search(self, collection: str) -> None:
        """Make the index of a collection, or catch it up, so that the next search need not; errors as for ``search``.

        See ``Vectors.refresh_search``.
        """
        return await self._leave(self._face.refresh_search, collection)

    async def list(
        self,
        collection: str,
        *,
        where: dict[str, Value] | None = None,
        limit: int = 100,
        after: str | None = None,
        reverse: bool = False,
        vectors: bool = False,
    ) -> Listing[VectorRecord]:
        """Return a page of vectors in the order of their ids (by code point); ``where`` as for ``search``.

        See ``Vectors.list``.
        """
        return await self._hop(
            self._face.list, collection, where=where, limit=limit, after=after, reverse=reverse, vectors=vectors
        )


class AsyncIntents(AsyncFace[Intents]):
    """The twin of ``Intents``."""

    async def persist(
        self,
        goal: str,
        *,
        id: UUID | str | None = None,
        name: str | None = None,
        session_id: str | None = None,
        original_request: str | None = None,
        source: str | None = None,
        constraints: dict[str, Value] | None = None,
        preferences: dict[str, Value] | None = None,
        success_criteria: Value = None,
        triggered_by: str = "human_request",
        generation_context: dict[str, Value] | None = None,
        status: str = "active",
        priority: int = 0,
        metadata: dict[str, Value] | None = None,
        parent: UUID | str | None = None,
        by: str | None = None,
        why: str | None = None,
    ) -> Intent:
        """Create an intent, as a subgoal of ``parent`` if one is given; ``by`` and ``why`` begin its history.

        See ``Intents.persist``.
        """
        return await self._hop(
            self._face.persist,
            goal,
            id=id,
            name=name,
            session_id=session_id,
            original_request=original_request,
            source=source,
            constraints=constraints,
            preferences=preferences,
            success_criteria=success_criteria,
            triggered_by=triggered_by,
            generation_context=generation_context,
            status=status,
            priority=priority,
            metadata=metadata,
            parent=parent,
            by=by,
            why=why,
        )

    async def update(
        self,
        id: UUID | str,
        *,
        goal: str | UnsetType = UNSET,
        name: str | UnsetType | None = UNSET,
        session_id: str | UnsetType | None = UNSET,
        original_request: str | UnsetType | None = UNSET,
        source: str | UnsetType | None = UNSET,
        constraints: dict[str, Value] | UnsetType = UNSET,
        preferences: dict[str, Value] | UnsetType = UNSET,
        success_criteria: Value | UnsetType = UNSET,
        generation_context: dict[str, Value] | UnsetType = UNSET,
        priority: int | UnsetType = UNSET,
        metadata: dict[str, Value] | UnsetType = UNSET,
        expected_version: int | None = None,
        expected: Intent | None = None,
    ) -> Intent:
        """Set some fields of an intent; what is not given stays. ``transition`` changes the status.

        See ``Intents.update``.
        """
        return await self._submit(
            self._face.update,
            id,
            goal=goal,
            name=name,
            session_id=session_id,
            original_request=original_request,
            source=source,
            constraints=constraints,
            preferences=preferences,
            success_criteria=success_criteria,
            generation_context=generation_context,
            priority=priority,
            metadata=metadata,
            expected_version=expected_version,
            expected=expected,
        )

    async def transition(
        self,
        id: UUID | str,
        status: str,
        *,
        by: str | None = None,
        why: str | None = None,
        expected_version: int | None = None,
        expected: Intent | None = None,
    ) -> Intent:
        """Change the status of an intent; who did it and why goes into its history in the same commit.

        See ``Intents.transition``.
        """
        return await self._submit(
            self._face.transition, id, status, by=by, why=why, expected_version=expected_version, expected=expected
        )

    async def delete(
        self,
        id: UUID | str,
        *,
        edges: str = "keep",
        expected_version: int | None = None,
        expected: Intent | None = None,
    ) -> bool:
        """Leave a tombstone that ``restore`` brings back; return True if there was an intent.

        See ``Intents.delete``.
        """
        return await self._hop(self._face.delete, id, edges=edges, expected_version=expected_version, expected=expected)

    async def restore(self, id: UUID | str) -> bool:
        """Bring a deleted intent back, with its history and the edges that were kept; False if none is deleted.

        See ``Intents.restore``.
        """
        return await self._submit(self._face.restore, id)

    async def purge(self, id: UUID | str) -> bool:
        """Remove an intent or its tombstone for good, with its history and its edges; return True if anything was left.

        See ``Intents.purge``.
        """
        return await self._hop(self._face.purge, id)

    async def link(
        self,
        from_id: UUID | str,
        to_id: UUID | str,
        type: str,
        *,
        weight: float | None = None,
        metadata: dict[str, Value] | None = None,
    ) -> Edge:
        """Link two intents, or set weight and metadata of the edge that is there.

        See ``Intents.link``.
        """
        return await self._hop(self._face.link, from_id, to_id, type, weight=weight, metadata=metadata)

    async def unlink(self, from_id: UUID | str, to_id: UUID | str, type: str) -> bool:
        """Remove an edge; return True if there was one.

        See ``Intents.unlink``.
        """
        return await self._submit(self._face.unlink, from_id, to_id, type)

    async def get(self, id: UUID | str, *, deleted: bool = False) -> Intent | None:
        """Return an intent, or None; ``deleted``: also one that is deleted.

        See ``Intents.get``.
        """
        return await self._hop(self._face.get, id, deleted=deleted)

    async def retrieve(self, id: UUID | str) -> Intent:
        """Return an intent; NotFoundError if it does not exist.

        See ``Intents.retrieve``.
        """
        return await self._hop(self._face.retrieve, id)

    async def history(self, id: UUID | str) -> list[StatusChange]:
        """Return the status changes of an intent, the oldest first, that of a deleted one too.

        See ``Intents.history``.
        """
        return await self._hop(self._face.history, id)

    async def count(self, *, status: str | None = None, session_id: str | None = None) -> int:
        """Count intents, those with a status or of a session if one is given; reads no bodies.

        See ``Intents.count``.
        """
        return await self._hop(self._face.count, status=status, session_id=session_id)

    async def edges(
        self, id: UUID | str, *, type: str | None = None, direction: str = "both", weight_min: float = 0
    ) -> list[Edge]:
        """Return the edges that begin ("out") or end ("in") at an intent, both ends of which are there.

        See ``Intents.edges``.
        """
        return await self._hop(self._face.edges, id, type=type, direction=direction, weight_min=weight_min)

    async def neighbours(self, id: UUID | str, *, type: str | None = None, direction: str = "both") -> list[Intent]:
        """Return the intents at the other ends of the edges of an intent, each once.

        See ``Intents.neighbours``.
        """
        return await self._hop(self._face.neighbours, id, type=type, direction=direction)

    async def conflicts(self, id: UUID | str) -> list[Intent]:
        """Return the intents that an intent is in conflict with, from whichever side it was said.

        See ``Intents.conflicts``.
        """
        return await self._hop(self._face.conflicts, id)

    async def ancestors(self, id: UUID | str) -> list[Intent]:
        """Return what an intent is a subgoal of, at any remove, the nearest first.

        See ``Intents.ancestors``.
        """
        return await self._hop(self._face.ancestors, id)

    async def subtree(self, id: UUID | str) -> IntentTree:
        """Return an intent with its subgoals, at any remove; one with several parents stands once, as high as it can.

        See ``Intents.subtree``.
        """
        return await self._hop(self._face.subtree, id)

    async def roots(self) -> list[Intent]:
        """Return the intents that are a subgoal of nothing, in order of creation; reads all intents.

        See ``Intents.roots``.
        """
        return await self._hop(self._face.roots)

    async def leaves(self) -> list[Intent]:
        """Return the intents that have no subgoals, in order of creation; reads all intents.

        See ``Intents.leaves``.
        """
        return await self._hop(self._face.leaves)

    async def ready(self) -> list[Intent]:
        """Return the active intents that nothing keeps back, those of the highest priority first.

        See ``Intents.ready``.
        """
        return await self._hop(self._face.ready)

    async def blocked_by(self, id: UUID | str) -> list[Intent]:
        """Return the intents that keep one back; see ``ready``.

        See ``Intents.blocked_by``.
        """
        return await self._hop(self._face.blocked_by, id)

    async def path(
        self,
        from_id: UUID | str,
        to_id: UUID | str,
        *,
        types: Iterable[str] = EDGE_TYPES,
        direction: str = "out",
        weighted: bool = False,
    ) -> list[Intent]:
        """Return the intents on the shortest way between two, both included; an empty list if there is none.

        See ``Intents.path``.
        """
        return await self._hop(self._face.path, from_id, to_id, types=types, direction=direction, weighted=weighted)

    async def dot(self) -> str:
        """Return all intents and edges as text for Graphviz.

        See ``Intents.dot``.
        """
        return await self._hop(self._face.dot)

    async def mermaid(self) -> str:
        """Return all intents and edges as text for Mermaid.

        See ``Intents.mermaid``.
        """
        return await self._hop(self._face.mermaid)

    async def list(
        self,
        *,
        status: str | Iterable[str] | None = None,
        session_id: str | None = None,
        priority_min: int = 0,
        priority_max: int = PRIORITY_MAX,
        parent: UUID | str | None = None,
        text: str | None = None,
        where: dict[str, Value] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        updated_since: datetime | None = None,
        updated_until: datetime | None = None,
        order: str = "created",
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Intent]:
        """Return a page of the intents that have all that is given, in order ("created", "updated", "priority").

        See ``Intents.list``.
        """
        return await self._hop(
            self._face.list,
            status=status,
            session_id=session_id,
            priority_min=priority_min,
            priority_max=priority_max,
            parent=parent,
            text=text,
            where=where,
            since=since,
            until=until,
            updated_since=updated_since,
            updated_until=updated_until,
            order=order,
            reverse=reverse,
            limit=limit,
            after=after,
        )


class AsyncRuns(AsyncFace[Runs]):
    """The twin of ``Runs``."""

    async def create(
        self,
        name: str,
        *,
        tags: Iterable[str] = (),
        metadata: dict[str, Value] | None = None,
        parent: UUID | str | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> RunRecord:
        """Create a run that has not begun. Raises InvalidInputError; NotFoundError if the parent does not exist.

        See ``Runs.create``.
        """
        return await self._submit(
            self._face.create, name, tags=tags, metadata=metadata, parent=parent, lease_seconds=lease_seconds
        )

    async def begin(self, id: UUID | str) -> RunRecord:
        """Make a run active, owned by this process; also one that was paused or orphaned.

        See ``Runs.begin``.
        """
        return await self._submit(self._face.begin, id)

    async def update(
        self,
        id: UUID | str,
        *,
        name: str | UnsetType = UNSET,
        tags: Iterable[str] | UnsetType = UNSET,
        metadata: dict[str, Value] | UnsetType = UNSET,
    ) -> RunRecord:
        """Set some fields of a run; NotFoundError if it does not exist.

        See ``Runs.update``.
        """
        return await self._submit(self._face.update, id, name=name, tags=tags, metadata=metadata)

    async def pause(self, id: UUID | str) -> RunRecord:
        """Pause an active run; ``begin`` makes it active again.

        See ``Runs.pause``.
        """
        return await self._submit(self._face.pause, id)

    async def end(self, id: UUID | str) -> RunRecord:
        """Complete a run.

        See ``Runs.end``.
        """
        return await self._submit(self._face.end, id)

    async def fail(self, id: UUID | str, error: str) -> RunRecord:
        """End a run that failed, with the reason.

        See ``Runs.fail``.
        """
        return await self._submit(self._face.fail, id, error)

    async def cancel(self, id: UUID | str) -> RunRecord:
        """End a run that is not to go on.

        See ``Runs.cancel``.
        """
        return await self._submit(self._face.cancel, id)

    async def archive(self, id: UUID | str) -> RunRecord:
        """Put a run that has ended away.

        See ``Runs.archive``.
        """
        return await self._submit(self._face.archive, id)

    async def drop_journal(self, id: UUID | str) -> None:
        """Remove the journal of a run that has ended; its record stays, but it can no more be replayed or compared.

        See ``Runs.drop_journal``.
        """
        return await self._submit(self._face.drop_journal, id)

    async def get(self, id: UUID | str) -> RunRecord | None:
        """Return a run, or None.

        See ``Runs.get``.
        """
        return await self._hop(self._face.get, id)

    async def exists(self, id: UUID | str) -> bool:
        """Return True if there is a run with this id.

        See ``Runs.exists``.
        """
        return await self._hop(self._face.exists, id)

    async def count(self) -> int:
        """Return how many runs there are.

        See ``Runs.count``.
        """
        return await self._hop(self._face.count)

    async def orphans(self) -> Listing[RunRecord]:
        """Return the active runs whose lease has ended, or whose owner ran on this host and is gone.

        See ``Runs.orphans``.
        """
        return await self._hop(self._face.orphans)

    async def list(
        self,
        *,
        status: str | None = None,
        tag: str | None = None,
        name: str | None = None,
        parent: UUID | str | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[RunRecord]:
        """Return a page of runs in order of creation (``reverse``: the newest first) that have all that is given.

        See ``Runs.list``.
        """
        return await self._hop(
            self._face.list, status=status, tag=tag, name=name, parent=parent, reverse=reverse, limit=limit, after=after
        )
