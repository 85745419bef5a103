"""The asynchronous face: ``open_async``, AsyncStore, AsyncSpace, AsyncRun, AsyncTransaction.

The same names and signatures as the synchronous face (a test compares them), over the same core. The event loop is
never blocked by a disk; thousands of writers may be waiting while a handful of threads exist. One event loop a store.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from holdfast.aio_faces import (
    AsyncDocuments,
    AsyncEvents,
    AsyncIntents,
    AsyncKeyValues,
    AsyncMemories,
    AsyncRuns,
    AsyncSegments,
    AsyncStates,
    AsyncTraces,
    AsyncVectors,
)
from holdfast.async_work import Deferred, DeferringScope, Worker, call_in
from holdfast.backend import Compaction
from holdfast.errors import ClosedError
from holdfast.faces import Faces
from holdfast.feed import ChangeRecord, Watcher
from holdfast.forgetting import Forgetting
from holdfast.idempotency import KEY_TTL
from holdfast.inputs import check_callable
from holdfast.journal import Diff
from holdfast.model import Durability, Receipt
from holdfast.primitives.run import LEASE_SECONDS, RunRecord
from holdfast.registry import PrimitiveRegistry
from holdfast.retention import Retention
from holdfast.search.vector import INDEX_FROM
from holdfast.store import CHANGES_KEPT, DEFAULT_SPACE, Replay, Run, Space, Store, Transaction
from holdfast.store import open as open_store

T = TypeVar("T")


class AsyncFaces:
    """The faces of the primitives over one scope; where ``deferring`` is None, writes hop too."""

    def __init__(self, worker: Worker, faces: Faces, deferring: Faces | None) -> None:
        self._worker = worker
        self._faces = faces
        self.kv = AsyncKeyValues(worker, faces.kv, None if deferring is None else deferring.kv)
        self.json = AsyncDocuments(worker, faces.json, None if deferring is None else deferring.json)
        self.events = AsyncEvents(worker, faces.events, None if deferring is None else deferring.events)
        self.states = AsyncStates(worker, faces.states, None if deferring is None else deferring.states)
        self.traces = AsyncTraces(worker, faces.traces, None if deferring is None else deferring.traces)
        self.memories = AsyncMemories(worker, faces.memories, None if deferring is None else deferring.memories)
        self.segments = AsyncSegments(worker, faces.segments, None if deferring is None else deferring.segments)
        self.vectors = AsyncVectors(worker, faces.vectors, None if deferring is None else deferring.vectors)
        self.intents = AsyncIntents(worker, faces.intents, None if deferring is None else deferring.intents)
        self.runs = AsyncRuns(worker, faces.runs, None if deferring is None else deferring.runs)

    @property
    def name(self) -> str:
        """The name of the space."""
        return self._faces.name


class AsyncTransaction(AsyncFaces):
    """The twin of ``Transaction``; used by one task."""

    def __init__(self, worker: Worker, transaction: Transaction) -> None:
        super().__init__(worker, transaction, None)
        self._transaction = transaction

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of the commit; None before it, or if nothing was written."""
        return self._transaction.receipt


def _deferring(inner: Space | Run) -> Faces:
    scope = inner._scope
    return Faces(DeferringScope(scope.space, scope.backend, scope.registry, scope.durability, scope.run))


class _AsyncCommits(AsyncFaces):
    """What a space and a run share: transactions."""

    def __init__(self, worker: Worker, inner: Space | Run) -> None:
        super().__init__(worker, inner, _deferring(inner))
        self._inner = inner

    @asynccontextmanager
    async def transaction(self, *, durability: Durability | None = None) -> AsyncIterator[AsyncTransaction]:
        """Begin a transaction; it commits at the end of the block, and is dropped if the block raises."""
        begun = self._inner._begin(durability)
        try:
            yield AsyncTransaction(self._worker, begun)
        except BaseException:
            begun._scope.discard()
            raise
        batch = begun._scope.ended()
        if batch is not None:
            await self._worker.submit(Deferred, batch, begun._scope.committed)

    async def transact(
        self,
        function: Callable[[Transaction], T],
        *,
        durability: Durability | None = None,
        key: str | None = None,
        key_ttl: timedelta | float = KEY_TTL,
    ) -> T:
        """Run a synchronous ``function(tx)`` in a transaction, in one hop, again when it is overtaken.

        With a ``key`` it takes place once; see ``Space.transact``.
        """
        check_callable(function, "function")
        last: list[Transaction] = []

        def called(tx: Transaction) -> T:
            last[:] = [tx]
            return function(tx)

        return await self._worker.commit(
            partial(self._inner.transact, called, durability=durability, key=key, key_ttl=key_ttl),
            lambda: last[0].receipt if last else None,
        )


class AsyncRun(_AsyncCommits):
    """The twin of ``Run``: an asynchronous context manager that ends or fails the run."""

    def __init__(self, worker: Worker, run: Run) -> None:
        super().__init__(worker, run)
        self._run = run
        self.id = run.id

    @property
    def record(self) -> RunRecord:
        """The record of the run, as last seen here."""
        return self._run.record

    async def end(self) -> RunRecord:
        """Complete the run."""
        return await self._worker.commit(self._run.end)

    async def fail(self, error: str) -> RunRecord:
        """End the run as failed."""
        return await self._worker.commit(partial(self._run.fail, error))

    async def __aenter__(self) -> AsyncRun:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._worker.commit(partial(self._run.__exit__, kind, error, trace))


class AsyncSpace(_AsyncCommits):
    """The twin of ``Space``."""

    def __init__(self, worker: Worker, space: Space) -> None:
        super().__init__(worker, space)
        self._space = space

    async def run(
        self,
        name: str,
        *,
        tags: tuple[str, ...] | list[str] = (),
        metadata: dict[str, Any] | None = None,
        parent: UUID | str | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> AsyncRun:
        """Create and begin a run: ``async with await space.run("nightly") as run``."""

        def begin() -> AsyncRun:
            begun = self._space.run(name, tags=tags, metadata=metadata, parent=parent, lease_seconds=lease_seconds)
            return AsyncRun(self._worker, begun)

        return await self._worker.commit(begin)

    async def resume(self, id: UUID | str) -> AsyncRun:
        """Make a run active again and enter it; the twin of ``space.runs.resume``."""
        return await self._worker.commit(lambda: AsyncRun(self._worker, self._space.runs.resume(id)))

    async def replay(self, run: UUID | str | Run | RunRecord, *, at: int | None = None) -> Replay:
        """Return what a run made; it is in memory, so it is read without ``await``."""
        return await self._worker.hop(self._space.replay, run, at=at)

    async def diff(self, a: UUID | str | Run | RunRecord, b: UUID | str | Run | RunRecord) -> Diff:
        """Compare what two runs made."""
        return await self._worker.hop(self._space.diff, a, b)

    async def changes(self, after: int = 0) -> list[ChangeRecord]:
        """Return the newest change of each key behind a revision, oldest first."""
        return await self._worker.hop(lambda: list(self._space.changes(after)))

    async def sweep(self, *, limit: int | None = None, dry_run: bool = False) -> dict[str, int]:
        """Remove records that have expired; return how many of each kind."""
        return await self._worker.commit(partial(self._space.sweep, limit=limit, dry_run=dry_run))

    async def retain(
        self,
        kind: str,
        *,
        older_than: timedelta | float | None = None,
        keep_days: float | None = None,
        keep_last: int | None = None,
        where: Mapping[str, Any] | None = None,
        journals: bool = False,
        dry_run: bool = False,
    ) -> Retention:
        """Keep what a policy keeps of a kind, and let the rest go for good."""
        return await self._worker.commit(
            partial(
                self._space.retain,
                kind,
                older_than=older_than,
                keep_days=keep_days,
                keep_last=keep_last,
                where=where,
                journals=journals,
                dry_run=dry_run,
            )
        )

    async def forget(
        self,
        kind: str | None = None,
        keys: Iterable[str | UUID | tuple[Any, ...]] = (),
        *,
        session_id: str | None = None,
        run: UUID | str | Run | RunRecord | None = None,
        dry_run: bool = False,
    ) -> Forgetting:
        """Forget for good, with every trace; see ``Space.forget``."""
        return await self._worker.commit(
            partial(self._space.forget, kind, keys, session_id=session_id, run=run, dry_run=dry_run)
        )

    def watch(
        self, after: int | None = None, *, timeout: float | None = None, kinds: Iterable[str] | None = None
    ) -> AsyncIterator[ChangeRecord]:
        """Iterate over changes as they come: ``async for change in space.watch(): ...``; see ``Space.watch``.

        While nothing comes, neither the event loop nor a thread is held. Closing the store ends the iteration.
        """
        return self._watch(Watcher(self._space._scope, after, timeout, kinds))

    async def _watch(self, watcher: Watcher) -> AsyncIterator[ChangeRecord]:
        woken = asyncio.Event()
        wake = partial(call_in, asyncio.get_running_loop(), woken.set)
        watcher.published.add(wake, watcher)
        try:
            while True:
                woken.clear()
                found = await self._worker.hop(watcher.fetch)
                for change in found:
                    yield change
                if not found:
                    patience = watcher.patience()
                    if patience == 0:
                        return
                    with suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), patience)
        except ClosedError:
            return  # the feed has ended
        finally:
            watcher.published.remove(wake)


class AsyncStore:
    """The twin of ``Store``; an asynchronous context manager."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._worker = Worker(store._backend.committer, inline=not store._backend.capabilities.persistent)
        self._spaces: dict[str, AsyncSpace] = {}

    @property
    def url(self) -> str:
        """The URL that the store was opened with."""
        return self._store.url

    @property
    def durability(self) -> Durability:
        """What a write is promised, unless its transaction asks for another."""
        return self._store.durability

    def space(self, name: str) -> AsyncSpace:
        """Return a space; it comes into being with its first write."""
        found = self._spaces.get(name)
        if found is None:
            found = self._spaces[name] = AsyncSpace(self._worker, self._store.space(name))
        return found

    def __getattr__(self, name: str) -> Any:
        """``store.kv``, ``store.memories`` ... are those of the space "default"."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.space(DEFAULT_SPACE), name)

    async def spaces(self) -> list[str]:
        """Return the names of the spaces that hold or held something, ordered."""
        return await self._worker.hop(self._store.spaces)

    async def status(self) -> dict[str, Any]:
        """Return what a person asks of a store."""
        return await self._worker.hop(self._store.status)

    async def sweep(self, *, limit: int | None = None, dry_run: bool = False) -> dict[str, dict[str, int]]:
        """Remove what has expired in all spaces; return how many by space and kind."""
        return await self._worker.commit(partial(self._store.sweep, limit=limit, dry_run=dry_run))

    async def verify(self) -> list[str]:
        """Check everything; one line for each fault."""
        return await self._worker.hop(self._store.verify)

    async def refresh_search(self, space: str = DEFAULT_SPACE, progress: Callable[[int], None] | None = None) -> None:
        """Catch the indexes of a space up now; ``progress`` is called in a thread."""
        await self._worker.hop(self._store.refresh_search, space, progress)

    async def drop_space(self, name: str) -> bool:
        """Remove everything of a space in one commit; True if there was something."""
        return await self._worker.commit(partial(self._store.drop_space, name))

    async def compact(self, *, keep_changes: int = CHANGES_KEPT) -> Compaction:
        """Give the room of what was deleted back; returns the sizes."""
        return await self._worker.commit(partial(self._store.compact, keep_changes=keep_changes))

    async def refresh(self) -> int:
        """Take in what another process has committed, where this store is a reader beside a writer (``log:``)."""
        return await self._worker.hop(self._store.refresh)

    async def flush(self) -> None:
        """Make every commit so far durable, whatever its mode."""
        await self._worker.hop(self._store.flush)

    async def close(self) -> None:
        """Wait for what is under way, flush and release everything; idempotent."""
        await self._worker.close(self._store.close)

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


async def open_async(
    url: str | os.PathLike[str] | None = None,
    *,
    durability: Durability = "strict",
    create: bool = True,
    read_only: bool = False,
    busy_seconds: float | None = None,
    registry: PrimitiveRegistry | None = None,
    vector_index_from: int = INDEX_FROM,
) -> AsyncStore:
    """Open a store for use with asyncio; arguments and errors as for ``holdfast.open``."""
    store = await asyncio.to_thread(
        open_store,
        url,
        durability=durability,
        create=create,
        read_only=read_only,
        busy_seconds=busy_seconds,
        registry=registry,
        vector_index_from=vector_index_from,
    )
    return AsyncStore(store)
