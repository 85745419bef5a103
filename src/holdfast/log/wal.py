"""The write-ahead log: transactions appended as frames, a group with one write and one sync; segments; poison.

Promises: ``append`` with ``sync`` returns after the frames are on stable storage; without, after they are in the page
cache, so that they outlive the process; ``flush`` brings them to the medium - how often is the caller's to decide.
After the first write or sync that fails, whatever it was, every later one raises PoisonedError until the store is
opened again, because nobody can know what is on the medium then; what was read from it stays right. An append that is
interrupted (KeyboardInterrupt) is taken back; ``sequence`` tells what is in the log.

A segment is sealed - footer, sync - before the next exists, and appears whole: header and name at once, durable, before
its first frame. Opened by ``holdfast.log.recovery`` only. Knows no meaning of entries, and no snapshots.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from holdfast import clock
from holdfast.errors import ClosedError, PoisonedError, StorageError
from holdfast.log.files import Disk, LogFile
from holdfast.log.frame import (
    SegmentHeader,
    encode_entries,
    encode_footer,
    encode_joined_frame,
    encode_segment_header,
)
from holdfast.log.segments import Segment, segment_folder, segment_path, slots_path
from holdfast.log.slots import DurableSlots
from holdfast.model import Entry

SEGMENT_BYTES: Final = 16 * 1024 * 1024
"""A segment that has as many bytes is sealed before the next append."""
RESERVE_BYTES: Final = 1024 * 1024
"""How much space is allotted ahead of what is written."""
_MARK_BYTES: Final = 64 * 1024
"""How exact ``bytes_since`` is."""


class Tail(msgspec.Struct):
    """The end of a log, as recovery leaves it; ``file`` is None where no segment is open to be written on."""

    store_id: bytes
    sequence: int
    crc: int
    segments: list[Segment]
    file: LogFile | None = None
    salt: int = 0
    first: int = 0


def _first_of(mark: tuple[int, int]) -> int:
    return mark[0]


class WriteAheadLog:
    """A log that is open for writing, by the process that holds the store's lock. Safe from any thread.

    Strict appends, flushes and rotations exclude each other; a buffered append waits for none of them but a strict
    append or a rotation. In a forked child every method raises ClosedError.
    """

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        tail: Tail,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        """Go on where ``tail`` ends, all of it durable."""
        self.store_id = tail.store_id
        self._directory = directory
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._reserve_bytes = min(reserve_bytes, segment_bytes)
        self._reserved = 0
        self._syncing = threading.Lock()  # taken before _writing
        self._writing = threading.Lock()
        self._failure: BaseException | None = None
        self._sequence = self._durable = tail.sequence
        self._crc = tail.crc.to_bytes(4, "little")
        self._segments = tail.segments
        self._marks: list[tuple[int, int]] = []
        self._base = 0
        for segment in tail.segments:
            self._marks.append((segment.first - 1, self._base))
            self._base += segment.size
        self._slots = DurableSlots(disk, slots_path(directory), tail.store_id, tail.sequence)
        try:
            if tail.file is None:
                self._start_segment()
            else:
                self._enter(tail.file, tail.salt, tail.first)
        except BaseException:
            self._slots.close()
            raise

    # -- reading -------------------------------------------------------------------------------------------------------

    @property
    def sequence(self) -> int:
        """The sequence of the last transaction in the log; 0 if there is none."""
        return self._sequence

    @property
    def durable(self) -> int:
        """The highest sequence that is known to be on stable storage, with all before it."""
        return self._durable

    @property
    def failure(self) -> BaseException | None:
        """The first write or sync that failed, for which all later ones are refused; None while all is well."""
        return self._failure

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The sealed segments, and the one that is written on at the end."""
        active = Segment(self._file.path, self._first, self._sequence, self._file.size)
        return (*self._segments, active)

    @property
    def end(self) -> int:
        """Where the log ends, in bytes since it was opened and those that were found then; never falls."""
        return self._base + self._file.size

    def bytes_since(self, sequence: int) -> int:
        """How many bytes of log come after a sequence; up to 64 KiB too many (a segment, for what was recovered)."""
        if sequence >= self._sequence:
            return 0
        end, marks = self._base + self._file.size, self._marks
        place = bisect_right(marks, sequence, key=_first_of)
        return end - marks[max(place - 1, 0)][1]

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, transactions: Sequence[tuple[int, Sequence[Entry]]], *, sync: bool) -> int:
        """Write transactions, each a commit time in microseconds and entries, as one group; return the last sequence.

        Raises:
            InvalidInputError: a number does not fit into its field; nothing was written.
            DiskFullError, WriteError, PermissionDeniedError: the group failed, and the log is poisoned.
            PoisonedError: an earlier one failed.
        """
        return self.append_joined([(time, len(some), encode_entries(some)) for time, some in transactions], sync=sync)

    def append_joined(self, transactions: Sequence[tuple[int, int, bytes]], *, sync: bool) -> int:
        """As ``append``, of (commit time, count of entries, what ``frame.encode_entries`` made of them)."""
        if self._file.is_closed:
            raise self._closed()
        if sync or self._is_full:
            with self._syncing, self._writing:
                self._check()
                if self._is_full:
                    self._rotate()
                return self._append(transactions, sync)
        with self._writing:
            self._check()
            return self._append(transactions, sync)

    def _append(self, transactions: Sequence[tuple[int, int, bytes]], sync: bool) -> int:
        salt, durable, before, crc, file = self._salt, self._durable, self._sequence, self._crc, self._file
        sequence = before
        if len(transactions) == 1:
            sequence += 1
            data = encode_joined_frame(salt, sequence, durable, *transactions[0])
        else:
            frames = []
            for transaction in transactions:
                sequence += 1
                frames.append(encode_joined_frame(salt, sequence, durable, *transaction))
            data = b"".join(frames)
        size = file.size
        try:
            if data:
                file.write(data)
                self._sequence = sequence
                self._crc = data[-4:]
            if sync:
                file.sync()
                self._durable = sequence
                self._slots.write(sequence)
        except BaseException as error:
            self._sequence, self._crc = before, crc
            if sync:
                self._durable = durable
            if not self._fail(error):
                self._take_back(size, sync)
            raise
        if file.size >= self._limit:
            self._pass_limit()
        return sequence

    def _fail(self, error: BaseException) -> bool:
        """Poison the log, unless ``error`` is a mere interrupt, which hides no failure; return whether it is now."""
        if isinstance(error, StorageError) or error.__context__ is not None:
            self._failure = error
        return self._failure is not None

    def _take_back(self, size: int, sync: bool) -> None:
        """Undo what an interrupted append may have written."""
        try:
            if sync:
                self._slots.take_back(self._durable)
            self._file.truncate(size)
            self._file.sync()  # before another frame takes the place, or a power cut could mix the two
            self._reserved = 0
            self._reserve()
        except BaseException as error:
            self._failure = error
            raise

    def flush(self) -> int:
        """Bring all that was appended before to stable storage; return the sequence up to which it is."""
        if self._file.is_closed:
            raise self._closed()
        with self._syncing:
            with self._writing:
                self._check()
                file, sequence = self._file, self._sequence
            if sequence > self._durable:
                try:
                    file.sync()
                    self._durable = sequence
                    self._slots.write(sequence)
                except BaseException as error:
                    self._fail(error)
                    raise
            return sequence

    def _check(self) -> None:
        if self._failure is not None:
            raise PoisonedError(
                f"{self._directory} takes no more writes since one failed ({self._failure}); open the store again"
            ) from self._failure
        if self._file.is_closed:
            raise self._closed()

    def _closed(self) -> ClosedError:
        return ClosedError(f"{self._directory} is closed here; a forked child opens the store for itself")

    # -- segments ------------------------------------------------------------------------------------------------------

    def rotate(self) -> None:
        """Seal the segment and start the next, unless it is still empty: so that a snapshot ends with a segment."""
        if self._file.is_closed:
            raise self._closed()
        with self._syncing, self._writing:
            self._check()
            if self._sequence >= self._first:
                self._rotate()

    def _rotate(self) -> None:
        file = self._file
        try:
            file.write(encode_footer(self._salt, self._sequence, int.from_bytes(self._crc, "little")))
            file.truncate(file.size)
            file.sync()
            self._durable = self._sequence
            self._slots.write(self._sequence)
            self._segments.append(Segment(file.path, self._first, self._sequence, file.size))
            self._base += file.size
            self._start_segment()
        except BaseException as error:
            self._failure = error
            raise
        file.close()

    def _start_segment(self) -> None:
        salt = int.from_bytes(clock.random_token(4), "little") or 1
        first = self._sequence + 1
        before = SegmentHeader(salt, self.store_id, first, self._sequence, int.from_bytes(self._crc, "little"))
        path = segment_path(self._directory, first)
        self._disk.write_whole(path, encode_segment_header(before))
        self._enter(self._disk.open_append(path), salt, first)

    def _enter(self, file: LogFile, salt: int, first: int) -> None:
        self._file, self._salt, self._first = file, salt, first
        self._marks.append((first - 1, self._base))
        self._reserved = 0
        self._pass_limit()

    def _pass_limit(self) -> None:
        """What is due now and then: a mark, more space, the word that the segment is full."""
        size = self._file.size
        self._marks.append((self._sequence, self._base + size))
        self._is_full = size >= self._segment_bytes
        if not self._is_full:
            self._reserve()
        self._limit = size + _MARK_BYTES if self._is_full else min(size + _MARK_BYTES, self._segment_bytes)

    def _reserve(self) -> None:
        size = self._file.size
        if self._reserve_bytes and size + _MARK_BYTES > self._reserved:
            try:
                self._file.reserve(size + self._reserve_bytes)
            except StorageError:
                self._reserve_bytes = 0  # it is not offered here, or the medium is full, which a write will tell
            self._reserved = size + self._reserve_bytes

    def remove_before(self, sequence: int) -> int:
        """Remove the segments that hold nothing but what comes before ``sequence``; return how many that were.

        Durable when this returns. Not from two threads at once. A failure does not poison: what is left is whole.
        """
        self._check()
        removed = 0
        while self._segments and self._segments[0].last < sequence:
            self._disk.remove(self._segments[0].path)
            del self._segments[0]
            removed += 1
        if removed:
            self._disk.sync_directory(segment_folder(self._directory))
            with self._writing:
                self._marks = self._marks[max(bisect_right(self._marks, sequence, key=_first_of) - 1, 0) :]
        return removed

    def close(self) -> None:
        """Flush and close; idempotent. A log that is poisoned is closed as it is."""
        if self._file.is_closed:  # in a forked child the locks may never be free
            return
        with self._syncing, self._writing:
            try:
                if self._failure is None:
                    self._finish()
            except BaseException as error:
                self._failure = error
                raise
            finally:
                self._slots.close()
                self._file.close()

    def let_go(self) -> None:
        """Close as it is, without a sync: for a log on which nothing was written yet."""
        self._slots.close()
        self._file.close()

    def _finish(self) -> None:
        self._file.truncate(self._file.size)
        self._file.sync()
        self._durable = self._sequence
        self._slots.write(self._sequence)
        self._slots.sync()
