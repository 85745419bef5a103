"""Reading the log: what a crash left is found out, decided and put right; a follower reads along.

``LogRecovery`` reads every frame after a sequence, in order, and then opens the log for writing. Promises: what it
yields is contiguous; with the snapshot before it, it is a prefix of the committed history and holds all that was
acknowledged as durable. Nothing is skipped silently: the first bad frame n of the last segment is

- **damage**, a CorruptionError, if a later frame of the segment says that n was durable, or if the DURABLE slots say so
  and its bytes are there, or if no crash can have left it;
- else a **torn tail**: reported, and in ``finish`` kept as ``*.torn``, cut off and synced.

A bad frame anywhere else, or a segment that is missing, is damage. Nothing is changed before ``finish``, and a crash in
``finish`` is as harmless as one before it. Knows no meaning of entries, and no snapshots.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from holdfast import clock
from holdfast.errors import CorruptionError, FormatError, ReadError
from holdfast.log.files import Disk
from holdfast.log.frame import (
    FOOTER_BYTES,
    FORMAT_VERSION,
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Fault,
    Footer,
    Frame,
    SegmentHeader,
    encode_footer,
    frame_offset,
    is_blank,
    later_frames,
    read_frames,
    read_segment_header,
)
from holdfast.log.segments import Segment, find_segments, segment_folder, slots_path
from holdfast.log.slots import read_slots
from holdfast.log.wal import RESERVE_BYTES, SEGMENT_BYTES, Tail, WriteAheadLog


class RecoveryReport(msgspec.Struct):
    """What recovery found; counts and bytes.

    ``skipped`` segments hold nothing after the sequence that was asked for and were not read. ``lost`` is how many
    transactions the log was told to hold safely and does not: not 0 means that the medium broke its word.
    """

    segments: int = 0
    skipped: int = 0
    frames: int = 0
    bytes_read: int = 0
    last: int = 0
    noted_durable: int = 0
    torn_path: str | None = None
    torn_offset: int = 0
    torn_bytes: int = 0
    torn_why: str = ""
    lost: int = 0


class _End(msgspec.Struct):
    """The end of the last segment: where it is written on, and what of it may not be on the medium yet."""

    path: Path
    buffer: bytes
    header: SegmentHeader
    sequence: int
    crc: int
    durable: int
    end: int
    is_sealed: bool
    fault: Fault | None


class LogRecovery:
    """One recovery of the log in ``directory``; for one thread, and for the holder of the store's lock."""

    def __init__(self, directory: Path, disk: Disk, after: int) -> None:
        """``after``: the last sequence that a snapshot covers; 0 if there is none."""
        self.report = RecoveryReport()
        self.store_id = b""
        self._directory = directory
        self._disk = disk
        self._after = after
        self._noted: list[tuple[bytes, int]] = []
        self._sealed: list[Segment] = []
        self._end: _End | None = None
        self._is_read = False
        self._walk = self._read()

    def frames(self) -> Iterator[Frame]:
        """The frames after ``after``, in order and contiguous; what has been taken does not come again.

        Raises:
            CorruptionError: damage, with ``path`` and ``offset``. What came before it is good.
            FormatError: a newer version wrote the log.
            ReadError: the medium cannot be read.
        """
        return self._walk

    # -- reading -------------------------------------------------------------------------------------------------------

    def _read(self) -> Iterator[Frame]:
        slots = slots_path(self._directory)
        if self._disk.exists(slots):
            self._noted = read_slots(self._disk.read(slots))
        segments = find_segments(self._directory, self._disk)
        for place, (first, path) in enumerate(segments):
            following = segments[place + 1][0] if place + 1 < len(segments) else None
            if following is not None and following <= self._after + 1:
                self._sealed.append(Segment(path, first, following - 1, self._disk.size(path)))
                self.report.skipped += 1
            else:
                yield from self._read_segment(path, first, is_last=following is None)
        self._look_back()
        self._is_read = True

    def _read_segment(self, path: Path, first: int, *, is_last: bool) -> Iterator[Frame]:
        buffer = self._disk.read(path)
        self.report.segments += 1
        self.report.bytes_read += len(buffer)
        header = self._check_header(path, first, read_segment_header(buffer))
        end = _End(path, buffer, header, first - 1, header.crc_before, 0, SEGMENT_HEADER_BYTES, False, None)
        after, last, rest = self._after, None, None
        for item in read_frames(buffer, SEGMENT_HEADER_BYTES, header.salt, first):
            if isinstance(item, Frame):
                last = item
                if item.sequence > after:
                    yield item
            else:
                rest = item
        if last is not None:
            end.sequence, end.crc, end.durable, end.end = last.sequence, last.crc, last.durable, last.end
            self.report.frames += max(last.sequence - max(after, first - 1), 0)
        if isinstance(rest, Footer):
            self._check_footer(end, rest)
        else:
            end.fault = rest
        self._end = end
        if is_last:
            if end.fault is not None:
                self._judge(end, end.fault)
        elif end.fault is not None or not end.is_sealed:
            fault = end.fault or Fault(end.end, "it has no end, and there is a segment after it")
            raise self._damage(end, fault)
        else:
            self._sealed.append(Segment(path, first, end.sequence, len(buffer)))

    def _check_header(self, path: Path, first: int, header: SegmentHeader | Fault) -> SegmentHeader:
        if isinstance(header, Fault):
            raise _corruption(path, 0, header.why)
        _check_version(path, header)
        self.store_id = self.store_id or header.store_id
        before = self._end
        expected = self._after + 1 if before is None else before.sequence + 1
        if header.first != first or header.before != first - 1:
            raise _corruption(path, 0, f"its name and its header ({header.first}) do not agree")
        if first > expected or (before is not None and first != expected):
            raise _corruption(
                path, 0, f"it begins with {first}, and the segment that begins with {expected} is missing"
            )
        if header.store_id != self.store_id:
            raise _corruption(path, 0, "it belongs to another store")
        if before is not None and header.crc_before != before.crc:
            raise _corruption(path, 0, "it does not continue the segment before it")
        return header

    def _check_footer(self, end: _End, footer: Footer) -> None:
        if (footer.last, footer.crc) != (end.sequence, end.crc):
            end.fault = Fault(footer.offset, "it was sealed after another transaction", by_crash=False)
            return
        end.is_sealed = True
        end.end = footer.end
        if not is_blank(end.buffer, footer.end):
            end.fault = Fault(footer.end, "there are bytes after its end")

    # -- deciding ------------------------------------------------------------------------------------------------------

    def _judge(self, end: _End, fault: Fault) -> None:
        """Damage or a torn tail: rule 2 of the log."""
        bad = end.sequence + 1
        later = later_frames(end.buffer, fault.offset, end.header.salt, bad)
        was_durable = any(durable >= bad for _, durable in later)
        if not fault.by_crash or was_durable or (bad <= self._noted_durable() and _is_there(end.buffer, fault)):
            raise self._damage(end, fault)
        report = self.report
        report.torn_path, report.torn_offset, report.torn_why = str(end.path), fault.offset, fault.why
        report.torn_bytes = len(end.buffer.rstrip(b"\0")) - fault.offset

    def _damage(self, end: _End, fault: Fault) -> CorruptionError:
        later = sum(1 for _ in later_frames(end.buffer, fault.offset, end.header.salt, end.sequence + 1))
        readable = f"all up to transaction {end.sequence} is readable, and {later} after it in this file may be"
        return _corruption(end.path, fault.offset, f"{fault.why}; {readable}")

    def _noted_durable(self) -> int:
        return max((sequence for store_id, sequence in self._noted if store_id == self.store_id), default=0)

    def _look_back(self) -> None:
        """Compare the end of the log with what was noted of it."""
        if not self.store_id:
            self.store_id = self._noted[0][0] if self._noted else clock.random_token(16)
        end, noted = self._end, self._noted_durable()
        last = max(self._after, 0 if end is None else end.sequence)
        if noted > last and (end is None or end.is_sealed):
            raise _corruption(
                segment_folder(self._directory), None, f"the segment that begins with {last + 1} is missing"
            )
        self.report.last = last
        self.report.noted_durable = noted
        self.report.lost = max(noted - last, 0)

    # -- putting right -------------------------------------------------------------------------------------------------

    def finish(self, *, segment_bytes: int = SEGMENT_BYTES, reserve_bytes: int = RESERVE_BYTES) -> WriteAheadLog:
        """Put the end of the log right and open it for writing; frames that were not taken are passed over.

        All that was read is on stable storage when this returns: what may be in the page cache only is written again,
        because after a sync that failed the system takes it for written.

        Raises:
            CorruptionError, FormatError, ReadError: as ``frames``; nothing was changed.
            WriteError, DiskFullError, PermissionDeniedError: the log cannot be written; what was read is still there.
        """
        for _ in self._walk:
            pass
        if not self._is_read:
            raise CorruptionError(f"{self._directory} could not be read to its end", path=str(self._directory))
        folder = segment_folder(self._directory)
        if self._end is None and not self._sealed:
            self._disk.make_directories(folder)
        for name in self._disk.list(folder):
            if name.endswith(".tmp"):
                self._disk.remove(folder / name)
        tail = self._mended(self._end) if self._end else Tail(self.store_id, self._after, 0, self._sealed)
        try:
            self._disk.sync_directory(folder)
            return WriteAheadLog(
                self._directory, self._disk, tail, segment_bytes=segment_bytes, reserve_bytes=reserve_bytes
            )
        except BaseException:
            if tail.file is not None:
                tail.file.close()
            raise

    def _mended(self, end: _End) -> Tail:
        if self.report.torn_bytes:
            self._keep(end)
        tail = Tail(self.store_id, max(end.sequence, self._after), end.crc, self._sealed)
        file = self._disk.open_append(end.path)
        try:
            file.truncate(end.end)
            place = self._unsure_from(end)
            file.write_at(place, end.buffer[place : end.end])
            if not end.is_sealed and end.sequence < self._after:  # the snapshot knows more: no gap within a segment
                file.write(encode_footer(end.header.salt, end.sequence, end.crc))
                end.is_sealed = True
            file.sync()
        except BaseException:
            file.close()
            raise
        if end.is_sealed:
            file.close()
            tail.segments.append(Segment(end.path, end.header.first, end.sequence, file.size))
        else:
            tail.file, tail.salt, tail.first = file, end.header.salt, end.header.first
        return tail

    def _unsure_from(self, end: _End) -> int:
        """Where in the segment the bytes begin that are not known to be on the medium; the end of it if all are."""
        durable = max(end.durable, self._noted_durable(), end.header.before)
        if durable < end.sequence:
            return frame_offset(end.buffer, SEGMENT_HEADER_BYTES, durable + 1)
        return end.end - FOOTER_BYTES if end.is_sealed else end.end

    def _keep(self, end: _End) -> None:
        """Put the torn bytes aside, beside the segment; never over others."""
        report = self.report
        data = end.buffer[report.torn_offset : report.torn_offset + report.torn_bytes]
        number, path = 1, end.path.with_name(f"{end.path.stem}-{report.torn_offset}.torn")
        while self._disk.exists(path) and self._disk.read(path) != data:
            number += 1
            path = end.path.with_name(f"{end.path.stem}-{report.torn_offset}-{number}.torn")
        self._disk.write_whole(path, data)


def _is_there(buffer: bytes, fault: Fault) -> bool:
    """Whether all bytes of the bad frame are there, and not zeros to the end of the file."""
    written = len(buffer.rstrip(b"\0"))
    if fault.end is None:
        return written - fault.offset >= FRAME_HEADER_BYTES
    return fault.end <= len(buffer) and written > fault.end - 4


def _check_version(path: Path, header: SegmentHeader) -> None:
    if header.version > FORMAT_VERSION:
        raise FormatError(f"{path} has version {header.version} of the format; this Holdfast reads {FORMAT_VERSION}")


def _corruption(path: Path, offset: int | None, why: str) -> CorruptionError:
    where = str(path) if offset is None else f"{path} at byte {offset}"
    return CorruptionError(f"{where} is damaged: {why}. Restore a backup", path=str(path), offset=offset)


class LogFollower:
    """Reads along while another process writes; changes nothing, needs no lock. For one thread.

    What it yields has been written, and may not be on stable storage yet. A frame that is not whole is "not yet".
    ``is_gone`` turns True when the log cannot be followed from here: its segment was removed, or its end was taken
    back and written anew. Then load the snapshot and follow from there.
    """

    _STEP_BYTES = 256 * 1024

    def __init__(self, directory: Path, disk: Disk, after: int) -> None:
        """``after``: the last sequence that is known already."""
        self.sequence = after
        self.is_gone = False
        self._directory = directory
        self._disk = disk
        self._path: Path | None = None
        self._first = 0
        self._salt = 0
        self._is_sealed = False
        self._position = 0  # of the last frame that was read in this segment; 0: none was
        self._at = 0  # its sequence
        self._crc: int | None = None

    def poll(self) -> Iterator[Frame]:
        """The frames that are new, in order; ends where there are no more yet, or at once if ``is_gone``.

        Raises:
            CorruptionError: a segment holds bytes that are no frame, and is not the last.
            FormatError: a newer version wrote the log.
            ReadError: the medium cannot be read.
        """
        step = self._STEP_BYTES
        while True:
            segments = find_segments(self._directory, self._disk)  # first: a segment that has a successor is whole
            path = self._enter(segments)
            if path is None:
                return
            buffer = self._bytes(path, step)
            if buffer is None:
                continue
            position = self._position
            items = list(self._items(path, buffer))
            end = items.pop() if items and not isinstance(items[-1], Frame) else None
            frames = [item for item in items if isinstance(item, Frame)]
            is_cut = len(buffer) == step and isinstance(end, Fault)
            if position and not is_cut if not frames else position and frames.pop(0).crc != self._crc:
                self.is_gone = True
            for frame in () if self.is_gone else frames:
                self._position, self._at, self._crc = position + frame.offset, frame.sequence, frame.crc
                if frame.sequence > self.sequence:
                    self.sequence = frame.sequence
                    yield frame
            if isinstance(end, Footer):
                self._is_sealed = True
            elif is_cut or (len(buffer) == step and frames):
                step = self._STEP_BYTES if frames else step * 2
            elif segments[-1][0] > self._first and not self.is_gone:
                raise _corruption(path, self._position, "a frame behind this one is not whole, and a segment follows")
            else:
                return

    def _enter(self, segments: list[tuple[int, Path]]) -> Path | None:
        """The segment to read; None if there is none yet, or ``is_gone``."""
        fitting = [one for one in segments if one[0] <= self.sequence + 1]
        if self.is_gone or not fitting:
            self.is_gone = self.is_gone or bool(segments) or self._path is not None
            return None
        first, path = fitting[-1]
        if path != self._path:
            self._path, self._first, self._position, self._is_sealed = path, first, 0, False
        elif self._is_sealed:
            self.is_gone = segments[-1][0] > first  # what comes next is missing
            return None
        return path

    def _bytes(self, path: Path, most: int) -> bytes | None:
        try:
            return self._disk.read(path, self._position, most)
        except ReadError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def _items(self, path: Path, buffer: bytes) -> Iterator[Frame | Footer | Fault]:
        if self._position:
            return read_frames(buffer, 0, self._salt, self._at)
        header = read_segment_header(buffer)
        if isinstance(header, Fault):
            raise _corruption(path, 0, header.why)
        _check_version(path, header)
        self._salt = header.salt
        if self._crc is not None and self._at == header.before and self._crc != header.crc_before:
            self.is_gone = True  # what was read before it has been written anew
        return read_frames(buffer, SEGMENT_HEADER_BYTES, header.salt, header.first)
