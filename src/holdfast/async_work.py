"""How the asynchronous face does the work of the synchronous one.

A **write** is made ready on the event loop (checked, encoded: microseconds, no I/O), put into the commit queue, and
awaited: no thread is held while it waits, and all that wait share one durable step. Anything else **hops** once to a
pool of threads that is no larger than the connections; who finds no free thread waits on the event loop.
Cancelling before a write is queued commits nothing; after that the commit takes place, and the CancelledError carries a
CommitHandle that tells how it ended.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar, cast

from holdfast.commit_handle import CommitHandle
from holdfast.committer import CommitTicket
from holdfast.errors import ClosedError
from holdfast.model import Batch, Receipt
from holdfast.scope import DirectScope, Finish

P = ParamSpec("P")
T = TypeVar("T")
F = TypeVar("F")

THREADS = 8


class Deferred(Generic[T]):
    """A write that is ready to be queued; ``finish`` makes its result of the ticket of its commit."""

    def __init__(self, batch: Batch, finish: Callable[[CommitTicket], T]) -> None:
        self.batch = batch
        self.finish = finish


class DeferringScope(DirectScope):
    """A direct scope whose writes are not made: ``write`` returns a Deferred in place of the result."""

    def write(self, steps: list[Any], finish: Finish[T]) -> T:
        """See ``Scope``; what is returned goes to ``Worker.submit``, which returns the result in the end."""
        batch = Batch(self.space, steps, self.durability, self.run)
        return cast(T, Deferred(batch, lambda ticket: finish(ticket.outcomes)))


class Worker:
    """The threads of one asynchronous store. ``inline``: the backend never blocks, so nothing hops.

    One thread more than may be hopped to: it leads the commits, for which all the others may be waiting.
    """

    def __init__(self, committer: Any, *, inline: bool) -> None:
        self._committer = committer
        self._inline = inline
        self._threads = ThreadPoolExecutor(THREADS + 1, thread_name_prefix="holdfast")
        self._free = asyncio.Semaphore(THREADS)
        self._closed = False

    async def hop(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread; one that was begun runs to its end even if this is cancelled."""
        self._require_open()
        if self._inline:
            return function(*args, **kwargs)
        return await self.leave(function, *args, **kwargs)

    async def leave(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in a thread whatever the backend, because it computes for long; otherwise as ``hop``."""
        return await asyncio.wrap_future(await self._begin(function, *args, **kwargs))

    async def commit(self, function: Callable[[], T], receipt: Callable[[], Receipt | None] = lambda: None) -> T:
        """As ``hop``, for what may commit; ``receipt`` tells it afterwards, where that is known.

        When it is cancelled while it runs, the CancelledError carries a handle.
        """
        self._require_open()
        if self._inline:
            return function()
        future = await self._begin(function)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError as error:
            if not future.cancel():  # it runs, or has run
                CommitHandle(future, receipt).attach(error)
            raise

    async def _begin(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self._require_open()
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        try:
            future = self._threads.submit(function, *args, **kwargs)
        except BaseException:
            self._free.release()
            raise
        future.add_done_callback(lambda _: call_in(loop, self._free.release))
        return future

    async def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a write ready with a function over a DeferringScope, queue it, and await its commit."""
        self._require_open()
        ready: Any = function(*args, **kwargs)
        if not isinstance(ready, Deferred):
            return cast(T, ready)  # there was nothing to write
        loop = asyncio.get_running_loop()
        committed: asyncio.Future[CommitTicket] = loop.create_future()
        abandoned: list[_Abandoned] = []
        done: list[CommitTicket] = []

        def on_done(ticket: CommitTicket) -> None:
            done.append(ticket)
            for one in abandoned:
                one.end(ticket)
            call_in(loop, _resolve, committed, ticket)

        if self._committer.submit(ready.batch, on_done):
            if self._inline:
                self._committer.lead()
            else:
                self._threads.submit(self._committer.lead)
        try:
            ticket = await committed
        except asyncio.CancelledError as error:
            rest = _Abandoned(ready.finish)
            abandoned.append(rest)
            for ticket in done:  # it was faster, here or while this was appended
                rest.end(ticket)
            rest.handle.attach(error)
            raise
        if ticket.error is not None:
            raise ticket.error
        return cast(T, ready.finish(ticket))

    async def close(self, close: Callable[[], None]) -> None:
        """Wait for what is under way, and run ``close``."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._threads.shutdown)
        await loop.run_in_executor(None, close)

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("this store is closed; open it again")


def call_in(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *args: Any) -> None:
    """Call a function on an event loop; nobody waits any more if that has ended."""
    try:
        loop.call_soon_threadsafe(function, *args)
    except RuntimeError:
        if not loop.is_closed():  # asked afterwards, since it may end at any time
            raise


def _resolve(future: asyncio.Future[CommitTicket], ticket: CommitTicket) -> None:
    if not future.done():
        future.set_result(ticket)


class _Abandoned:
    """What is left to be done of a queued write whose caller was cancelled: to tell its handle how it ended."""

    def __init__(self, finish: Callable[[CommitTicket], Any]) -> None:
        self._finish = finish
        self._future: Future[Any] = Future()
        self._future.set_running_or_notify_cancel()  # nobody can stop it
        self._ended: list[CommitTicket] = []
        self._mutex = threading.Lock()
        self.handle: CommitHandle[Any] = CommitHandle(self._future, lambda: self._ended[0].receipt)

    def end(self, ticket: CommitTicket) -> None:
        """Settle the handle; a second call does nothing."""
        with self._mutex:
            if self._ended:
                return
            self._ended.append(ticket)
        if ticket.error is not None:
            self._future.set_exception(ticket.error)
            return
        try:
            self._future.set_result(self._finish(ticket))
        except Exception as error:  # told by the handle
            self._future.set_exception(error)


class AsyncFace(Generic[F]):
    """The base of the asynchronous faces: ``face`` reads, ``deferring`` makes writes ready (None: they hop as well)."""

    def __init__(self, worker: Worker, face: F, deferring: F | None) -> None:
        self._worker = worker
        self._writing = deferring
        self._face = face

    async def _hop(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._writing is None:  # inside a transaction, which is dropped when this is cancelled
            return await self._worker.hop(method, *args, **kwargs)
        return await self._worker.commit(partial(method, *args, **kwargs))

    async def _leave(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._worker.leave(method, *args, **kwargs)

    def _submit(self, method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Awaitable[T]:
        if self._writing is None:
            return self._worker.hop(method, *args, **kwargs)
        deferring: Callable[P, T] = getattr(self._writing, method.__name__)
        return self._worker.submit(deferring, *args, **kwargs)

    @asynccontextmanager
    async def _within(self, block: AbstractContextManager[T]) -> AsyncIterator[T]:
        """Put a synchronous block around an asynchronous one: entering is a hop, and leaving."""
        entered = await self._hop(block.__enter__)
        try:
            yield entered
        except BaseException as error:
            if not await self._hop(block.__exit__, type(error), error, error.__traceback__):
                raise
        else:
            await self._hop(block.__exit__, None, None, None)

    @staticmethod
    def _as_list(method: Callable[P, Iterator[T]]) -> Callable[P, list[T]]:
        def collect(*args: P.args, **kwargs: P.kwargs) -> list[T]:
            return list(method(*args, **kwargs))

        return collect
