"""Checking every byte of a log store: which file, where, and what is wrong. Reads only, and needs no lock.

Promises: each file is read whole and compared with its checksums; records of snapshots and entries of the log are
decoded by the primitives that are registered. Goes on behind a fault, so that all are told at once. What a writer is
just writing is no fault.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from holdfast.backends.log_engine import transcript
from holdfast.backends.log_engine.image import CORE, DefinitionPage, SpacePage, decode_core, decode_records
from holdfast.backends.log_engine.numbering import Definition, Numbering
from holdfast.backends.log_engine.offload import WholeRecords
from holdfast.backends.log_engine.salvage import SALVAGED
from holdfast.errors import CorruptionError, FormatError, HoldfastError, ReadError
from holdfast.log.blobs import blob_folder
from holdfast.log.files import Disk
from holdfast.log.frame import Frame
from holdfast.log.recovery import LogRecovery, RecoveryReport
from holdfast.log.segments import Segment, find_segments, segment_folder, slots_path
from holdfast.log.slots import blank_around_slots, read_slots
from holdfast.log.snapshot import SnapshotReader, find_snapshots, snapshot_folder
from holdfast.log.survey import Gap, survey
from holdfast.primitive import Primitive
from holdfast.registry import PrimitiveRegistry

_STORE_FILES = frozenset(("LOCK", "DURABLE", "wal", "snapshots", "blobs"))
_ENDINGS = {
    ".tmp": "a crash left it half written; it is never read, and written over",
    ".torn": "the end of a log that a crash tore, kept when it was cut off",
}


def faults(directory: Path, disk: Disk, registry: PrimitiveRegistry) -> Iterator[str]:
    """One line for each fault. Every snapshot is checked, and all of the log, also what a snapshot covers."""
    check = _Check(directory, disk, registry)
    yield from check.snapshots()
    yield from check.log()
    yield from check.slots()


def stored_bytes(directory: Path, disk: Disk, segments: Iterable[Segment]) -> int:
    """What the files of a store hold; of ``segments``, those of its log, without the space reserved ahead of them."""
    written = {one.path: one.size for one in segments}
    files = [path for path in directory.rglob("*") if path.is_file()]
    return sum(written.get(path) or _size(path, disk) for path in files)


def _size(path: Path, disk: Disk) -> int:
    """The length of a file; 0 if it has been removed, or given its name, since it was listed."""
    try:
        return disk.size(path)
    except ReadError as error:
        if _is_gone(error):
            return 0
        raise


def leftovers(directory: Path, disk: Disk) -> list[str]:
    """One line for each file that is no part of the store's state, with what it is: no faults."""
    notes = []
    for folder in (directory, segment_folder(directory), snapshot_folder(directory), blob_folder(directory)):
        for name in disk.list(folder) if disk.exists(folder) else ():
            path = folder / name
            if path.suffix in _ENDINGS:
                notes.append(f"{path}: {_ENDINGS[path.suffix]}")
            elif name == SALVAGED:
                notes.append(f"{path}: what a repair could read and did not take")
            elif folder == directory and name not in _STORE_FILES:
                notes.append(f"{path}: no file of a log store")
    return notes


class _Check:
    """One check of a store; ``snapshots`` comes before ``log``, and that before ``slots``."""

    def __init__(self, directory: Path, disk: Disk, registry: PrimitiveRegistry) -> None:
        self._directory = directory
        self._disk = disk
        self._registry = registry
        self._numbering = Numbering(registry)
        self._oldest = 0
        self._ids: dict[bytes, str] = {}

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def snapshots(self) -> Iterator[str]:
        """The faults of all snapshots."""
        for sequence, path in find_snapshots(self._directory, self._disk):
            try:
                reader = SnapshotReader(path, self._disk)
                if reader.header.sequence != sequence:
                    yield f"{path} at byte 0: its name and its header ({reader.header.sequence}) do not agree"
                yield from self._snapshot(reader)
                self._oldest = sequence
                self._ids.setdefault(reader.header.store_id, str(path))
            except (CorruptionError, FormatError) as error:
                yield str(error)
            except ReadError as error:
                if not _is_gone(error):
                    yield str(error)

    def _snapshot(self, reader: SnapshotReader) -> Iterator[str]:
        spaces: dict[int, str] = {}
        whole = WholeRecords(self._directory, self._disk, reader.header.store_id)
        for number, data in reader.sections():
            kind = self._numbering.own_kind(number)
            primitive = next((one for one in self._registry if one.id == kind), None)
            for page in reader.pages(data):
                where = f"{reader.path} at byte {reader.offset}"
                try:
                    if number == CORE:
                        self._core(decode_core(page), spaces)
                        continue
                    if primitive is None:
                        continue
                    records = decode_records(page)
                except msgspec.MsgspecError as error:
                    yield f"{where}: section {number} holds a page that is none of ours: {error}"
                    continue
                space = spaces.get(records.space)
                if space is None:
                    yield f"{where}: section {number} holds records of a space {records.space} that is not there"
                for record in records.records:
                    try:
                        record = whole.of(record)
                    except (CorruptionError, ReadError) as error:
                        if self._disk.exists(reader.path):  # else a writer has removed both meanwhile
                            key = _key_text(primitive, record.key)
                            yield f"{error} (a blob of space {space!r}, {primitive.name} {key})"
                        continue
                    try:
                        primitive.values(record)
                    except (HoldfastError, LookupError, ValueError) as error:
                        key = _key_text(primitive, record.key)
                        yield f"{where}: space {space!r}, {primitive.name} {key} cannot be decoded: {error}"

    def _core(self, page: object, spaces: dict[int, str]) -> None:
        if isinstance(page, DefinitionPage):
            self._numbering.define(Definition(page.name, page.id, page.types))
        elif isinstance(page, SpacePage):
            spaces[page.number] = page.name

    # -- the log -------------------------------------------------------------------------------------------------------

    def log(self) -> Iterator[str]:
        """The faults of the log, which has to begin before the end of the oldest sound snapshot."""
        segments = find_segments(self._directory, self._disk)
        after = min([self._oldest, *(first - 1 for first, _ in segments[:1])])
        recovery = LogRecovery(self._directory, self._disk, after)
        try:
            for frame in recovery.frames():
                yield from self._frame(frame, segments)
        except (CorruptionError, FormatError) as error:
            yield str(error)
            yield from self._further(error)
        except ReadError as error:
            if not _is_gone(error):
                yield str(error)
        if recovery.report.torn_bytes and not self._is_being_written(recovery):
            yield _torn(recovery.report)
        if recovery.store_id:
            self._ids.setdefault(recovery.store_id, str(segment_folder(self._directory)))
        if len(self._ids) > 1:
            yield f"{' and '.join(sorted(self._ids.values()))} belong to different stores"

    def _frame(self, frame: Frame, segments: list[tuple[int, Path]]) -> Iterator[str]:
        path = segments[max(bisect_right(segments, frame.sequence, key=lambda one: one[0]) - 1, 0)][1]
        where = f"{path} at byte {frame.offset}"
        try:
            commit, definitions, entries = transcript.read(frame, str(path))
        except CorruptionError as error:
            yield str(error)
            return
        for definition in definitions:
            self._numbering.define(definition)
        for place, entry in enumerate(entries):
            own = msgspec.structs.replace(entry, type=self._numbering.own_type(entry.type))
            try:
                self._registry.to_payload(own)
            except HoldfastError as error:
                space = commit.space if commit else ""
                yield f"{where}: transaction {frame.sequence} of space {space!r}, entry {place}: {error}"

    def _further(self, first: CorruptionError | FormatError) -> Iterator[str]:
        """The faults that come after the one at which recovery stops."""
        told = (first.path, first.offset) if isinstance(first, CorruptionError) else None
        for sequence, path in find_segments(self._directory, self._disk):
            try:
                findings = survey(self._disk.read(path), sequence)
                gaps = [item for item in findings if isinstance(item, Gap)]
            except ReadError as error:
                yield str(error)
                continue
            for gap in gaps:
                if (str(path), gap.offset) != told:
                    yield f"{path} at byte {gap.offset}: {gap.end - gap.offset} bytes are no transaction: {gap.why}"

    def _is_being_written(self, recovery: LogRecovery) -> bool:
        """Whether the end of the log has moved on since it was read."""
        again = LogRecovery(self._directory, self._disk, recovery.report.last)
        try:
            for _ in again.frames():
                return True
        except (CorruptionError, ReadError):
            return False
        return again.report.torn_bytes != recovery.report.torn_bytes

    # -- slots ---------------------------------------------------------------------------------------------------------

    def slots(self) -> Iterator[str]:
        """The faults of the DURABLE file."""
        path = slots_path(self._directory)
        if not self._disk.exists(path):
            yield f"{path} is missing; it is made anew when the store is opened for writing"
            return
        try:
            data = self._disk.read(path)
            found = read_slots(data)
            if len(found) < 2:
                found = read_slots(self._disk.read(path))  # the writer may have been at one of them
        except ReadError as error:
            yield str(error)
            return
        if len(found) < 2 or not blank_around_slots(data):
            why = f"{len(found)} of its 2 slots are sound" if len(found) < 2 else "there are bytes beside its slots"
            yield f"{path}: {why}; it is made anew when the store is opened for writing"
        for store_id, _ in found:
            if self._ids and store_id not in self._ids:
                yield f"{path} belongs to another store than {next(iter(self._ids.values()))}"
                return


def _torn(report: RecoveryReport) -> str:
    lost = f"; {report.lost} transactions that were on stable storage are gone" if report.lost else ""
    return (
        f"{report.torn_path} at byte {report.torn_offset}: {report.torn_bytes} bytes are no whole transaction "
        f"({report.torn_why}){lost}"
    )


def _key_text(primitive: Primitive, key: bytes) -> str:
    try:
        return primitive.key_text(key)
    except (HoldfastError, LookupError, ValueError):
        return key.hex()


def _is_gone(error: ReadError) -> bool:
    """Whether a file was removed meanwhile, as a writer does with those that it needs no more."""
    return isinstance(error.__cause__, FileNotFoundError)
