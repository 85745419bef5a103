"""The asynchronous faces: each method has the signature of its synchronous twin, and hands over to it.

Written by tools/async_face.py; change that or the synchronous faces, then run it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from holdfast.async_work import AsyncFace
from holdfast.codec import Value
from holdfast.primitives.event import Event, Events, Stream, Verification
from holdfast.primitives.kv import KeyValue, KeyValues
from holdfast.primitives.memories import Memories, Memory, NewMemory, Session
from holdfast.primitives.run import LEASE_SECONDS, RunRecord, Runs
from holdfast.primitives.source import MemorySource
from holdfast.scope import Listing, Pending
from holdfast.search.text import Results


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
