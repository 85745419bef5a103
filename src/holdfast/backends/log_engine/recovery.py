"""Bringing a store back: the newest sound snapshot, then every commit of the log after it.

Promises: the same files give the same state; nothing is changed by reading; a snapshot that is not sound is passed over
for the one before it, or for the whole log, and the report says so. What the log itself promises is said in
``holdfast.log.recovery``.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from holdfast.backends.log_engine import transcript
from holdfast.backends.log_engine.image import ImageReader
from holdfast.backends.log_engine.numbering import Numbering
from holdfast.backends.log_engine.refold import Refold
from holdfast.errors import CorruptionError, ReadError
from holdfast.log.blobs import open_blob_files
from holdfast.log.files import Disk
from holdfast.log.frame import Frame
from holdfast.log.recovery import LogRecovery
from holdfast.log.segments import find_segments
from holdfast.log.snapshot import SnapshotReader, find_snapshots
from holdfast.model import BlobSource
from holdfast.registry import PrimitiveRegistry
from holdfast.tables import SpaceTables

OpenFiles: TypeAlias = Callable[[bytes, Mapping[int, int]], Mapping[int, BlobSource]]
"""Opens blob files of a store id: those of these numbers, each at least so long."""


class RecoveryReport(msgspec.Struct):
    """What it took to open a store; ``seconds`` from the first byte read to the last commit folded.

    ``unsound`` snapshots were passed over; ``torn_bytes`` were no whole transaction at the end of the log, are kept
    beside it, and were never acknowledged unless ``lost`` is not 0: then the medium did not keep what it had
    promised. ``waiting`` entries cannot be folded by what is registered here, and are kept.
    """

    snapshot: str | None = None
    snapshot_sequence: int = 0
    snapshot_records: int = 0
    unsound: list[str] = []
    segments: int = 0
    transactions: int = 0
    entries: int = 0
    bytes_read: int = 0
    torn_path: str | None = None
    torn_bytes: int = 0
    lost: int = 0
    waiting: int = 0
    seconds: float = 0.0


class State:
    """What is resident of a store: its spaces, its numbers, and what could not be folded."""

    def __init__(self, registry: PrimitiveRegistry, codec: Any) -> None:
        self.spaces: dict[str, SpaceTables] = {}
        self.numbering = Numbering(registry)
        self.refold = Refold(registry, self.numbering, codec, self.tables)
        self.foreign: dict[int, list[bytes]] = {}
        self.blob_files: Mapping[int, BlobSource] = {}
        """The files to which the snapshot refers that was loaded."""
        self.sequence = 0
        self.passed_over: list[Path] = []
        """The snapshots that are not sound."""
        self.report = RecoveryReport()
        self._registry = registry

    def tables(self, space: str) -> SpaceTables:
        """The tables of a space, made if there are none."""
        return self.spaces.get(space) or self.spaces.setdefault(space, SpaceTables())

    def apply(self, frame: Frame, path: str) -> None:
        """Fold one transaction of the log; CorruptionError if it cannot be."""
        commit, definitions, entries = transcript.read(frame, path)
        self.refold.commit(commit, definitions, entries, frame.time)
        self.sequence = frame.sequence

    def load(self, reader: SnapshotReader, open_files: OpenFiles) -> None:
        """Fill the empty state from a snapshot; CorruptionError, and the state is to be thrown away."""
        images = ImageReader(self._registry, self.numbering, self.tables)
        number = -1
        try:
            for number, data in reader.sections():
                images.section(number, list(reader.pages(data)))
        except (msgspec.MsgspecError, LookupError) as error:
            raise CorruptionError(
                f"{reader.path} is damaged: its section {number} holds no pages of ours: {error!r}",
                path=str(reader.path),
            ) from error
        for section in images.foreign:
            kind = self.numbering.own_kind(section)
            self.refold.frozen[kind] = f"the snapshot {reader.path.name} holds records of it in a form unknown here"
        self.blob_files = open_files(reader.header.store_id, images.blob_ends)
        if self.blob_files:
            for tables in self.spaces.values():
                tables.sources = self.blob_files
        self.foreign = images.foreign
        self.sequence = reader.header.sequence
        self.report.snapshot = str(reader.path)
        self.report.snapshot_sequence = self.sequence
        self.report.snapshot_records = images.records
        self.refold.again(images.opaque)


def load_newest(directory: Path, disk: Disk, registry: PrimitiveRegistry, codec: Any) -> tuple[State, bytes | None]:
    """The state of the newest sound snapshot, or an empty one; and the id of the store, if a snapshot tells it."""
    unsound: list[str] = []
    passed_over: list[Path] = []
    for _, path in find_snapshots(directory, disk):
        state = State(registry, codec)
        try:
            reader = SnapshotReader(path, disk)
            with _no_collections():
                state.load(reader, partial(open_blob_files, directory, disk))
        except CorruptionError as error:
            unsound.append(str(error))
            passed_over.append(path)
        except ReadError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            unsound.append(str(error))  # its writer has removed it meanwhile, because there is a newer one
        else:
            state.report.unsound, state.passed_over = unsound, passed_over
            return state, reader.header.store_id
    state = State(registry, codec)
    state.report.unsound, state.passed_over = unsound, passed_over
    return state, None


def recover(directory: Path, disk: Disk, registry: PrimitiveRegistry, codec: Any) -> tuple[State, LogRecovery]:
    """The newest committed state, and the recovery whose ``finish`` opens the log; changes nothing.

    Raises:
        CorruptionError: what was committed cannot be read; it names the file and the byte. FormatError. ReadError.
    """
    began = time.perf_counter()
    state, store_id = load_newest(directory, disk, registry, codec)
    recovery = LogRecovery(directory, disk, state.sequence)
    report = state.report
    try:
        with _no_collections():
            for frame in recovery.frames():
                state.apply(frame, str(directory))
                report.transactions += 1
    except CorruptionError as error:
        if report.unsound:
            raise CorruptionError(
                f"{error} (and a snapshot was passed over: {report.unsound[0]})", path=error.path, offset=error.offset
            ) from error
        raise
    if store_id is not None and not recovery.report.noted_durable and not find_segments(directory, disk):
        raise CorruptionError(f"{directory} has snapshots, but the log is missing", path=str(directory))
    if store_id is not None and recovery.store_id != store_id:
        raise CorruptionError(f"{report.snapshot} belongs to another store than the log", path=report.snapshot)
    log = recovery.report
    report.segments, report.bytes_read = log.segments, log.bytes_read
    report.torn_path, report.torn_bytes, report.lost = log.torn_path, log.torn_bytes, log.lost
    report.entries, report.waiting = state.refold.entries, len(state.refold.opaque)
    report.seconds = time.perf_counter() - began
    return state, recovery


def is_store(directory: Path, disk: Disk) -> bool:
    """Whether there is a store in a directory."""
    try:
        return "wal" in disk.list(directory)
    except ReadError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return False
        raise


@contextmanager
def _no_collections() -> Iterator[None]:
    """No garbage collections meanwhile: nothing here is a cycle, and each one looks at all that was loaded."""
    restore = gc.enable if gc.isenabled() else gc.disable
    gc.disable()
    try:
        yield
    finally:
        restore()
