"""Trying again what was overtaken, a bounded number of times. Knows nothing of what is tried."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from holdfast import clock
from holdfast.errors import ConflictError

T = TypeVar("T")

ATTEMPTS_MAX = 64
_BACKOFF_SECONDS = 0.001
_BACKOFF_SECONDS_MAX = 0.1


def run_with_retry(attempt: Callable[[], T], attempts: int = ATTEMPTS_MAX) -> T:
    """Call ``attempt`` until it is not overtaken; wait a random, growing time in between.

    Raises the last ConflictError after ``attempts`` tries.
    """
    for tried in range(attempts):
        try:
            return attempt()
        except ConflictError as error:
            if tried == attempts - 1:
                error.add_note(f"tried {attempts} times")
                raise
        time.sleep(clock.jitter(min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS * 2**tried)))
    raise AssertionError("attempts must be 1 or more")
