"""Repair: a new log store with everything of a damaged one that can still be read and believed.

Promises: the source is not changed, and no writer has it open meanwhile; the target is taken for a store when it is
whole, or not at all. It holds a prefix of the committed history of the source - the newest sound snapshot and every
commit after it, up to the first that is gone - so a state that the source once had, but for large values that cannot be
read: their records go on without them, and the report names each. What can still be read behind that
point is told, never mixed in; with ``salvage``, what its entries say is put into ``salvaged.jsonl``, and so are the
records of damaged snapshots that are newer than what could be restored. Nothing is lost silently: the report names the
file, the bytes, the transactions and the commits.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec

from holdfast import clock
from holdfast.backends.log_engine.image import Image
from holdfast.backends.log_engine.offload import Offload
from holdfast.backends.log_engine.recovery import State
from holdfast.backends.log_engine.salvage import SALVAGED, commit_of, write_salvage
from holdfast.backends.log_engine.saving import save_image
from holdfast.codec import MSGPACK
from holdfast.errors import CorruptionError, FormatError, InitError, ReadError
from holdfast.log.blobs import BlobWriter, open_blob_files_that_are_left
from holdfast.log.files import Disk
from holdfast.log.frame import FORMAT_VERSION, SEGMENT_HEADER_BYTES, Footer, Frame, SegmentHeader, later_frames
from holdfast.log.segments import find_segments, segment_folder, segment_path, slots_path
from holdfast.log.slots import DurableSlots, read_slots
from holdfast.log.snapshot import SnapshotReader, find_snapshots
from holdfast.log.survey import Gap, survey
from holdfast.log.wal import Tail, WriteAheadLog
from holdfast.model import Record
from holdfast.process import this_process
from holdfast.registry import PrimitiveRegistry


class Damage(msgspec.Struct):
    """One place that is not as it was written; ``end`` is the byte behind it, None where that is not known.

    ``first`` to ``last`` are the transactions that cannot be read for it: none if ``first`` is None, and nobody knows
    how many if only ``last`` is. ``torn``: a crash in the midst of a write leaves this at the end of the log, and
    nothing of it was acknowledged as durable. ``blob``: a large value of a record is gone, and the record is kept
    without it.
    """

    path: str
    offset: int | None
    end: int | None
    why: str
    first: int | None = None
    last: int | None = None
    torn: bool = False
    blob: str | None = None


class Left(msgspec.Struct):
    """Transactions that can be read, and were not taken because something before them is gone."""

    path: str
    offset: int
    end: int
    first: int
    last: int


class SpaceLoss(msgspec.Struct):
    """Commits of a space that are not in the target: ``first`` to ``last``, of which ``readable`` can be read."""

    space: str
    first: int
    last: int
    readable: int


class RepairReport(msgspec.Struct):
    """What was saved, and exactly what was not.

    ``sequence`` is the last transaction of the source that is in the target; ``spaces`` tells the last commit of each.
    ``unattributed`` transactions are gone without a sign of whose they were; None if nobody knows how many.
    """

    source: str
    target: str
    snapshot: str | None = None
    snapshot_sequence: int = 0
    sequence: int = 0
    transactions: int = 0
    entries: int = 0
    spaces: dict[str, int] = {}
    damages: list[Damage] = []
    left: list[Left] = []
    lost: list[SpaceLoss] = []
    unattributed: int | None = 0
    salvaged: int = 0

    @property
    def is_whole(self) -> bool:
        """True if nothing that was acknowledged as durable is missing in the target."""
        return not self.left and all(one.first is None and one.blob is None for one in self.damages)


class _Unfoldable(Exception):
    """A frame is whole, and nothing can be made of it: the history ends before it."""

    def __init__(self, sequence: int, why: str) -> None:
        super().__init__(why)
        self.sequence = sequence


class _Reading:
    """One reading of the source: what is believed is folded into ``state``, the rest is in ``left``.

    Something that tells which transaction comes next - a frame, a seal, the name of a segment, a slot - also tells
    which were in the damage before it. After the first that is gone, the history is broken, and nothing more is folded.
    """

    def __init__(self, source: Path, disk: Disk, registry: PrimitiveRegistry, stop: _Unfoldable | None) -> None:
        self.state = State(registry, MSGPACK)
        self.damages: list[Damage] = []
        self.left: list[tuple[Path, Frame]] = []
        self.unsound: list[SnapshotReader] = []
        self.transactions = 0
        self._source = source
        self._disk = disk
        self._registry = registry
        self._stop = stop
        self._store_id = b""
        self._noted: list[tuple[bytes, int]] = []
        self._newest = 0
        self._reached = 0
        self._crc: int | None = None
        self._open: Damage | None = None
        self._is_broken = False

    def read(self) -> None:
        """Read everything; FormatError if a newer version wrote it."""
        slots = slots_path(self._source)
        if self._disk.exists(slots):
            self._noted = read_slots(self._disk.read(slots))
        self._load()
        covered = self._reached = self.state.sequence
        segments = find_segments(self._source, self._disk)
        for place, (first, path) in enumerate(segments):
            following = segments[place + 1][0] if place + 1 < len(segments) else None
            if following is None or following > covered + 1:
                self._segment(path, first, is_last=following is None)
        last_damage = self._open
        self._next(self._told() + 1, segment_path(self._source, self._reached + 1))
        if last_damage is not None and last_damage.first is None:
            last_damage.first = self._reached + 1

    def _load(self) -> None:
        for sequence, path in find_snapshots(self._source, self._disk):
            state, reader = State(self._registry, MSGPACK), None
            try:
                reader = SnapshotReader(path, self._disk)
                state.load(reader, partial(open_blob_files_that_are_left, self._source, self._disk))
            except (CorruptionError, ReadError) as error:
                offset = error.offset if isinstance(error, CorruptionError) else None
                self.damages.append(Damage(str(path), offset, None, str(error)))
                self._newest = max(self._newest, sequence)
                if reader is not None:
                    self.unsound.append(reader)
            else:
                self.state, self._store_id = state, reader.header.store_id
                return

    def _segment(self, path: Path, first: int, *, is_last: bool) -> None:
        try:
            buffer = self._disk.read(path)
        except ReadError as error:
            self._next(first, path)
            self._open = self._damage(path, None, None, str(error))
            return
        findings = list(survey(buffer, first))
        header = findings[0] if isinstance(findings[0], SegmentHeader) else None
        if header is not None and not self._belongs(path, first, header):
            return
        self._next(first, segment_path(self._source, self._reached + 1))
        if header is not None and self._is_known and (header.before, header.crc_before) != (self._reached, self._crc):
            self._breaks(path, 0, None, "it does not continue the segment before it")
        is_sealed = False
        for item in findings:
            if isinstance(item, Frame):
                self._frame(path, item)
            elif isinstance(item, Footer):
                is_sealed = True
                self._next(item.last + 1, path)
                if self._is_known and (item.last, item.crc) != (self._reached, self._crc):
                    self._breaks(path, item.offset, item.end, "it was sealed after another transaction")
            elif isinstance(item, Gap):
                damage = self._damage(path, item.offset, item.end, item.why)
                if is_last and item.by_crash and header is not None and self._is_torn(buffer, item, header):
                    damage.end, damage.torn = max(len(buffer.rstrip(b"\0")), item.offset), True
                    return
                if not is_sealed and item.end > SEGMENT_HEADER_BYTES:
                    self._open = damage
        if not is_sealed and not is_last and self._open is None:
            self._open = self._damage(path, len(buffer), None, "it has no end, and there is a segment after it")

    def _is_torn(self, buffer: bytes, gap: Gap, header: SegmentHeader) -> bool:
        """Whether nothing from the gap on was ever acknowledged as durable."""
        bad = self._reached + 1
        later = later_frames(buffer, gap.offset, header.salt, bad)
        return bad > max([self._told(), *(durable for _, durable in later)])

    def _told(self) -> int:
        """The last transaction that something tells to be on stable storage."""
        return max([self._newest, *(last for store_id, last in self._noted if store_id == self._store_id)])

    @property
    def _is_known(self) -> bool:
        """Whether the last transaction that was reached has been read."""
        return self._crc is not None

    def _belongs(self, path: Path, first: int, header: SegmentHeader) -> bool:
        """Whether a segment is a part of this log; if not, nothing of it is read."""
        if header.version > FORMAT_VERSION:
            raise FormatError(
                f"{path} has version {header.version} of the format; this Holdfast reads {FORMAT_VERSION}"
            )
        self._store_id = self._store_id or header.store_id
        if header.store_id != self._store_id:
            self._breaks(path, 0, None, "it belongs to another store, and nothing of it was read")
        elif header.first != first:
            self._breaks(path, 0, None, f"its name and its header ({header.first}) do not agree; it was not read")
        elif first <= self._reached and self._reached > self.state.report.snapshot_sequence:
            self._breaks(path, 0, None, f"another segment holds its transaction {first} as well; it was not read")
        else:
            return True
        return False

    def _frame(self, path: Path, frame: Frame) -> None:
        if frame.sequence > self._reached:
            self._next(frame.sequence, path)
            self._reached = frame.sequence
            if self._stop is not None and frame.sequence == self._stop.sequence:
                self._breaks(path, frame.offset, frame.end, f"the frame is whole, but: {self._stop}")
            if self._is_broken:
                self.left.append((path, frame))
            else:
                self._fold(path, frame)
        self._crc = frame.crc if frame.sequence == self._reached else None

    def _fold(self, path: Path, frame: Frame) -> None:
        try:
            self.state.apply(frame, str(path))
        except CorruptionError as error:  # half of it may be folded: all is read again, up to here
            raise _Unfoldable(frame.sequence, str(error)) from error
        self.transactions += 1

    def _next(self, sequence: int, path: Path) -> None:
        """Take note that ``sequence`` comes next: what is missing before it was in the damage, or is not there."""
        if sequence > self._reached + 1:
            why = f"it is not there, and transaction {self._reached + 1} with it"
            damage = self._open or self._damage(path, None, None, why)
            damage.first, damage.last = self._reached + 1, sequence - 1
            self._reached, self._crc, self._is_broken = sequence - 1, None, True
        self._open = None

    def _damage(self, path: Path, offset: int | None, end: int | None, why: str) -> Damage:
        self.damages.append(Damage(str(path), offset, end, why))
        return self.damages[-1]

    def _breaks(self, path: Path, offset: int | None, end: int | None, why: str) -> None:
        self._damage(path, offset, end, why)
        self._is_broken = True


def repair(
    source: Path, target: Path, registry: PrimitiveRegistry, *, salvage: bool = False, disk: Disk | None = None
) -> RepairReport:
    """Write a new store with what can be read of a damaged one.

    Args:
        source: the directory of a log store; it is not changed, and kept from writers meanwhile.
        target: where the new store is to be; nothing, or an empty directory.
        registry: the primitives that fold; entries of others are kept as they are.
        salvage: put aside, in ``salvaged.jsonl`` of the target, what can be read and was not taken.
        disk: what reads and writes the files.

    Raises:
        InitError: the source is no log store, or the target is not free.
        LockedError: a process has the source open for writing.
        FormatError: a newer version wrote the source.
        WriteError, DiskFullError, PermissionDeniedError: the target cannot be written.
    """
    disk = disk or Disk()
    _check_places(source, target, disk)
    hold = disk.keep_out_writers(source / "LOCK")
    try:
        reading = _read(source, disk, registry)
        report = _report(source, target, reading)
        _write(target, disk, reading.state, registry, report.damages)
        if salvage:
            path = target / SALVAGED
            report.salvaged = write_salvage(path, disk, reading.state, registry, reading.unsound, reading.left)
    finally:
        if hold is not None:
            hold.release()
    return report


def _check_places(source: Path, target: Path, disk: Disk) -> None:
    if not source.is_dir() or not {"wal", "snapshots"} & set(disk.list(source)):
        raise InitError(f"{source} is no log store; give the directory that holds wal/ and snapshots/")
    if target.resolve().is_relative_to(source.resolve()):
        raise InitError(f"{target} is inside of {source}, which is not to be changed; give another place")
    if target.exists() and (not target.is_dir() or disk.list(target)):
        raise InitError(f"{target} is there already; give a name that is free")


def _read(source: Path, disk: Disk, registry: PrimitiveRegistry) -> _Reading:
    stop: _Unfoldable | None = None
    while True:
        reading = _Reading(source, disk, registry, stop)
        try:
            reading.read()
        except _Unfoldable as found:
            stop = found
        else:
            return reading


def _write(target: Path, disk: Disk, state: State, registry: PrimitiveRegistry, damages: list[Damage]) -> None:
    """The new store: its snapshot, its slots, its log, in this order, so that half of it is not taken for a store.

    Large values are copied into blob files of its own; those that cannot be read are told in ``damages``.
    """

    def lost(space: str, kind: int, record: Record, name: str, error: CorruptionError | ReadError) -> None:
        whose = f"space {space!r}, {registry.name_of(kind)} {record.key.hex()}, blob {name!r}"
        offset = error.offset if isinstance(error, CorruptionError) else None
        path = error.path if isinstance(error, CorruptionError) else None
        damages.append(Damage(path or "", offset, None, str(error), blob=whose))

    disk.make_directories(target)
    owner = this_process()
    lock = disk.lock(target / "LOCK", f"process {owner.pid} on {owner.host}")
    try:
        store_id = clock.random_token(16)
        if state.sequence:
            image = Image(state.spaces, state.numbering, state.refold.opaque, state.foreign)
            offload = Offload(BlobWriter(target, disk, store_id, {}), None, lost)
            save_image(image, target, disk, state.sequence, store_id, offload, lambda: 0)
        DurableSlots(disk, slots_path(target), store_id, state.sequence).close()
        disk.make_directories(segment_folder(target))
        WriteAheadLog(target, disk, Tail(store_id, state.sequence, 0, [])).close()
    finally:
        lock.release()


def _report(source: Path, target: Path, reading: _Reading) -> RepairReport:
    state = reading.state
    report = RepairReport(
        str(source), str(target), state.report.snapshot, state.report.snapshot_sequence, state.sequence,
        reading.transactions, state.refold.entries, damages=reading.damages,
    )  # fmt: skip
    report.spaces = {name: tables.head.sequence for name, tables in state.spaces.items() if tables.head.sequence}
    newest: dict[str, int] = {}
    readable: dict[str, int] = {}
    for path, frame in reading.left:
        _add(report.left, path, frame)
        commit = commit_of(frame, path)
        if commit is not None:
            newest[commit.space] = max(newest.get(commit.space, 0), commit.sequence)
            readable[commit.space] = readable.get(commit.space, 0) + 1
    for space, last in sorted(newest.items()):
        report.lost.append(SpaceLoss(space, report.spaces.get(space, 0) + 1, last, readable[space]))
    gone = [one for one in reading.damages if one.first is not None]
    if any(one.last is None for one in gone):
        report.unattributed = None
    else:
        known = sum(one.last - one.first + 1 - one.readable for one in report.lost)
        report.unattributed = max(sum((one.last or 0) - (one.first or 0) + 1 for one in gone) - known, 0)
    return report


def _add(left: list[Left], path: Path, frame: Frame) -> None:
    """Add a frame to the stretch before it, or begin another."""
    if left and (left[-1].path, left[-1].end, left[-1].last + 1) == (str(path), frame.offset, frame.sequence):
        left[-1].end, left[-1].last = frame.end, frame.sequence
    else:
        left.append(Left(str(path), frame.offset, frame.end, frame.sequence, frame.sequence))
