"""The thread behind buffered commits: it brings them to stable storage, late but surely.

Promises: what was committed before ``wake`` is flushed at the latest ``FLUSH_SECONDS`` afterwards; an error ends the
thread and is kept in ``error``, for the next caller to meet. Knows nothing of what a flush does. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

FLUSH_SECONDS = 0.5
"""The longest that a buffered commit may be lost to a power cut."""


class Flusher:
    """A thread that flushes at the latest ``FLUSH_SECONDS`` after the first commit since the last time."""

    def __init__(self, flush: Callable[[], object]) -> None:
        self.error: Exception | None = None
        self._flush = flush
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="holdfast-flush", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to flush."""
        if not self._wanted.is_set():
            self._wanted.set()

    def stop(self) -> None:
        """End the thread; what it has not flushed is the caller's."""
        self._stopped.set()
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while self._wanted.wait() and not self._stopped.wait(FLUSH_SECONDS / 2):
            self._wanted.clear()
            if self._stopped.is_set():  # stop came since the wait ended, and its call has just been cleared
                return
            try:
                self._flush()
            except Exception as error:
                self.error = error
                return
