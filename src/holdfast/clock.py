"""Time, identifiers and randomness: the only door to them.

Promises: times are integers of microseconds since 1970-01-01T00:00:00Z (UTC); identifiers are UUID
version 7 (RFC 9562, section 5.7) that rise within a process even when the clock does not. Knows nothing of stores.
Nothing else in Holdfast asks the system for the time or for random bytes, so a test can replace it here.
"""

from __future__ import annotations

import os
import threading
import time
from struct import Struct
from uuid import UUID

import msgspec

_COUNTER_BITS = 12
_COUNTER_MASK = (1 << _COUNTER_BITS) - 1
_VARIANT = 0b10 << 62
_NOISE_MASK = (1 << 62) - 1
_NOISE_BYTES = 512  # random bytes are fetched for 64 ids at a time: a system call takes longer than all the rest
_unpack_noise = Struct(">64Q").unpack
_pack_id = Struct(">QQ").pack
_uuid = msgspec.msgpack.Decoder(UUID).decode  # six times as fast as UUID(int=...)
_id_lock = threading.Lock()
_noise: list[int] = []
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
        if not _noise:
            _noise.extend(_unpack_noise(os.urandom(_NOISE_BYTES)))
        noise = _noise.pop()
    milliseconds, counter = tick >> _COUNTER_BITS, tick & _COUNTER_MASK
    return _uuid(b"\xc4\x10" + _pack_id((milliseconds << 16) | 0x7000 | counter, _VARIANT | (noise & _NOISE_MASK)))


def random_token(size: int) -> bytes:
    """Return ``size`` unpredictable bytes, for names that must not meet."""
    return os.urandom(size)


def jitter(limit_seconds: float) -> float:
    """Return a random delay of 0..``limit_seconds``, so that those who collide do not collide again."""
    return int.from_bytes(os.urandom(4)) / 2**32 * limit_seconds


def _after_fork_in_child() -> None:
    global _id_lock
    _id_lock = threading.Lock()  # the parent's may have been held at the moment of the fork
    _noise.clear()  # the parent will use it


os.register_at_fork(after_in_child=_after_fork_in_child)
