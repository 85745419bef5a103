"""Time, identifiers and randomness: the only door to them.

Promises: times are integers of microseconds since 1970-01-01T00:00:00Z (UTC); identifiers are UUID
version 7 (RFC 9562, section 5.7) that rise within a process even when the clock does not. Knows nothing of stores.
Nothing else in Holdfast asks the system for the time or for random bytes, so a test can replace it here.
"""

from __future__ import annotations

import os
import threading
import time
from uuid import UUID

_COUNTER_BITS = 12
_id_lock = threading.Lock()
_last_tick = 0


def now() -> int:
    """Return the wall clock in microseconds since the epoch, UTC."""
    return time.time_ns() // 1000


def new_id() -> UUID:
    """Return a UUID version 7 that is greater than every one this process made before.

    The 12 bits after the milliseconds are a counter that continues into the next millisecond when it is full
    (RFC 9562, section 6.2, method 1 with the counter in ``rand_a``).
    """
    global _last_tick
    tick = (time.time_ns() // 1_000_000) << _COUNTER_BITS
    with _id_lock:
        if tick <= _last_tick:
            tick = _last_tick + 1
        _last_tick = tick
    noise = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1)
    milliseconds, counter = tick >> _COUNTER_BITS, tick & ((1 << _COUNTER_BITS) - 1)
    return UUID(int=(milliseconds << 80) | (0x7 << 76) | (counter << 64) | (0b10 << 62) | noise)


def random_token(size: int) -> bytes:
    """Return ``size`` unpredictable bytes, for names that must not meet."""
    return os.urandom(size)


def jitter(limit_seconds: float) -> float:
    """Return a random delay of 0..``limit_seconds``, so that those who collide do not collide again."""
    return int.from_bytes(os.urandom(4)) / 2**32 * limit_seconds


def _after_fork_in_child() -> None:
    global _id_lock
    _id_lock = threading.Lock()  # the parent's may have been held at the moment of the fork


os.register_at_fork(after_in_child=_after_fork_in_child)
