"""What becomes of a write whose caller was cancelled: CommitHandle.

A commit that has been queued takes place, whether or not anybody waits for it. The CancelledError of the call that
waited carries a handle. Knows nothing of threads and queues: it is given a future.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from holdfast.errors import DeadlineError
from holdfast.model import Receipt

T = TypeVar("T")

_ATTRIBUTE = "holdfast_commit"


class CommitHandle(Generic[T]):
    """The rest of a cancelled write: ``await`` it, or ask it. Thread-safe; of use also when the event loop has ended.

    Awaiting gives what the call would have returned, or raises what it would have raised; that may be cancelled, and
    done again. ``CommitHandle.of(error)`` finds it; ``.done``, ``.receipt`` (sequence, time, durability) and ``.error``
    tell without waiting; ``result(timeout=)`` waits in a thread. There
    is no handle where the call was cancelled before it was under way, or inside a transaction, which is dropped then:
    nothing was committed, and nothing will be.
    """

    def __init__(self, future: concurrent.futures.Future[T], receipt: Callable[[], Receipt | None]) -> None:
        self._future = future
        self._receipt = receipt

    @staticmethod
    def of(error: BaseException) -> CommitHandle[Any] | None:
        """Return the handle that an error carries: a CancelledError, or the TimeoutError that was made of it.

        None if it carries none: nothing was committed, and nothing will be.
        """
        seen: set[int] = set()
        current: BaseException | None = error
        while current is not None and id(current) not in seen:
            seen.add(id(current))
            found = getattr(current, _ATTRIBUTE, None)
            if isinstance(found, CommitHandle):
                return found
            current = current.__cause__ or current.__context__
        return None

    def attach(self, error: BaseException) -> None:
        """Let an error carry this handle, and say so."""
        setattr(error, _ATTRIBUTE, self)
        error.add_note(
            "it was under way already, so it takes place; holdfast.CommitHandle.of(error) tells how it ended"
        )

    @property
    def done(self) -> bool:
        """True once the commit has taken place, or failed."""
        return self._future.done()

    @property
    def receipt(self) -> Receipt | None:
        """The sequence, time and durability of the commit; None before it, if it failed, or if it wrote nothing.

        None also for a call that is not one commit, as ``runs`` and ``sweep``; awaiting tells of those.
        """
        return self._receipt() if self.done and self._future.exception() is None else None

    @property
    def error(self) -> BaseException | None:
        """What stopped the commit, as a ConflictError; None before it is done, or if it took place."""
        return self._future.exception() if self.done else None

    def result(self, timeout: float | None = None) -> T:
        """Wait in this thread, up to ``timeout`` seconds, and return what the call would have returned.

        Not for the thread of an event loop, which it blocks. Raises what the call would have raised; DeadlineError.
        """
        if not concurrent.futures.wait([self._future], timeout).done:
            raise DeadlineError(f"the commit was not done within {timeout} s; it still goes on")
        return self._future.result()

    def __await__(self) -> Generator[Any, None, T]:
        return asyncio.shield(asyncio.wrap_future(self._future)).__await__()

    def __repr__(self) -> str:
        state = "done" if self.done else "under way"
        return f"<holdfast.CommitHandle {state if self.error is None else repr(self.error)}>"
