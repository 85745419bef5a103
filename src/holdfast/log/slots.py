"""The DURABLE slots: the highest sequence that is known to be on stable storage, kept beside the log.

They are written after each sync of the log, and not synced themselves but at close (and where a sync is taken back):
what they say is true whenever it gets to the medium, so they cost no sync a commit. Each frame says what was durable
before it; the slots say it of the last ones. With them, damage of a synced frame is told from a tail that a crash tore.

Promises: written alternately, so that one is whole whatever happens to the other. Knows no frames.

    slot, 28 bytes, at 0 and at 4096
      store id              16 bytes
      durable sequence      u64       little-endian, as all
      slot crc              u32       CRC-32 as in zlib, of the 24 bytes before it
"""

from __future__ import annotations

from pathlib import Path
from struct import Struct as Layout
from typing import Final
from zlib import crc32

from holdfast.log.files import Disk

_SLOT: Final = Layout("<16sQ")
_CRC: Final = Layout("<I")
_PLACES: Final = (0, 4096)


def encode_slot(store_id: bytes, sequence: int) -> bytes:
    """The 28 bytes of a slot."""
    head = _SLOT.pack(store_id, sequence)
    return head + _CRC.pack(crc32(head))


def read_slots(buffer: bytes) -> list[tuple[bytes, int]]:
    """(store id, durable sequence) of each slot that is sound."""
    found = []
    for place in _PLACES:
        slot = buffer[place : place + _SLOT.size + _CRC.size]
        if len(slot) == _SLOT.size + _CRC.size:
            store_id, sequence = _SLOT.unpack_from(slot)
            if slot == encode_slot(store_id, sequence):
                found.append((store_id, sequence))
    return found


def blank_around_slots(buffer: bytes) -> bool:
    """Whether there is nothing but zeros beside the two slots, as when they were put in place."""
    size = _SLOT.size + _CRC.size
    return len(buffer) == _PLACES[1] + size and not any(buffer[size : _PLACES[1]])


class DurableSlots:
    """The slots of a log that is written; for one thread at a time."""

    def __init__(self, disk: Disk, path: Path, store_id: bytes, sequence: int) -> None:
        """Put the file in place, durable, with ``sequence`` in both slots, whatever was there."""
        slot = encode_slot(store_id, sequence)
        disk.write_whole(path, slot.ljust(_PLACES[1], b"\0") + slot)
        self._file = disk.open_append(path)
        self._store_id = store_id
        self._turn = 0

    def write(self, sequence: int) -> None:
        """Note that all up to ``sequence`` is durable."""
        self._file.write_at(_PLACES[self._turn], encode_slot(self._store_id, sequence))
        self._turn ^= 1

    def take_back(self, sequence: int) -> None:
        """Note a lower sequence in both slots, durable: what comes after it is about to be cut from the log."""
        self.write(sequence)
        self.write(sequence)
        self.sync()

    def sync(self) -> None:
        """Put what was noted on stable storage."""
        self._file.sync()

    def close(self) -> None:
        """Close without a sync; idempotent."""
        self._file.close()
