"""``log:DIR``: the fastest backend - resident tables, a write-ahead log, snapshots. One writer process, many followers.

    DIR/LOCK          held by the writer; says who it is
    DIR/wal/          the log: what is acknowledged is in here, or in a snapshot
    DIR/snapshots/    the newest two
    DIR/blobs/        values over 4 KiB of the records in them
    DIR/text.db       the text index: derived, may be removed while the store is closed
    DIR/DURABLE       the highest sequence known to be on stable storage

Promises: a commit is visible only after its frame is in the log (``strict``: on stable storage; ``buffered``: out of
the process, on stable storage within ``FLUSH_SECONDS``; ``ephemeral``: as buffered, but flushed only by the next strict
commit or ``flush``). After a failed write or sync all further commits are refused until the store is opened again;
reads go on. A snapshot is written while commits go on. Thread-safe. A store is not carried over a fork.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import msgspec

from holdfast.backend import Capabilities, Compaction, StagedSpace
from holdfast.backends.log_engine.check import faults, leftovers, stored_bytes
from holdfast.backends.log_engine.image import Image
from holdfast.backends.log_engine.offload import LargeValues
from holdfast.backends.log_engine.recovery import State, is_store, load_newest, recover
from holdfast.backends.log_engine.saving import save_image
from holdfast.backends.log_engine.transcript import Transcript
from holdfast.backends.resident import ResidentBackend, ResidentStep
from holdfast.codec import MSGPACK
from holdfast.entry_types import USER_PRIMITIVE_ID_FIRST
from holdfast.errors import ClosedError, HoldfastError, InitError, ReadOnlyError, StorageError
from holdfast.flusher import Flusher
from holdfast.log.blobs import BlobWriter
from holdfast.log.files import Disk, Lock
from holdfast.log.recovery import LogFollower
from holdfast.log.segments import segment_folder
from holdfast.log.snapshot import SnapshotReader, find_snapshots
from holdfast.log.wal import WriteAheadLog
from holdfast.model import Durability
from holdfast.primitive import Payload
from holdfast.process import this_process
from holdfast.registry import PrimitiveRegistry

if TYPE_CHECKING:
    from holdfast.text_index import OwnIndex

SNAPSHOT_BYTES = 64 * 1024 * 1024
"""The log grows by this, or by half of the last snapshot if that is more, before a snapshot is made by itself."""
SNAPSHOTS_KEPT = 2
TEXT_FILE = "text.db"
_NAMES = frozenset(("LOCK", "DURABLE", "DURABLE.tmp", "wal", "snapshots", "blobs"))
"""What a crash may leave of a store that was just begun."""
_logger = logging.getLogger("holdfast")


class LogBackend(ResidentBackend):
    """The backend of ``log:DIR``."""

    capabilities = Capabilities(
        name="log",
        durabilities=("ephemeral", "buffered", "strict"),
        body_codec="msgpack",
        persistent=True,
        multi_process=False,
    )

    def __init__(
        self,
        registry: PrimitiveRegistry,
        directory: Path,
        *,
        create: bool = True,
        read_only: bool = False,
        disk: Disk | None = None,
        snapshot_bytes: int = SNAPSHOT_BYTES,
    ) -> None:
        """Open the store in a directory, recovering what is there; see ``holdfast.open`` for the errors."""
        self.directory = directory
        self._registry = registry
        self._disk = disk or Disk()
        self._read_only = read_only
        self._is_forked = False
        _open_here.add(self)
        self._snapshot_bytes = snapshot_bytes
        self._state = State(registry, MSGPACK)
        self._lock: Lock | None = None
        self._log: WriteAheadLog | None = None
        self._follower: LogFollower | None = None
        self._following = threading.Lock()
        self._flusher: Flusher | None = None
        self._text: OwnIndex | None = None
        self._heads: dict[str, int] = {}
        self._indexing = threading.Lock()
        self._snapshots = threading.Lock()
        self._snapshot_thread: threading.Thread | None = None
        self._snapshot_error: HoldfastError | None = None
        self._snapshot_sequence = self._snapshot_size = self._snapshot_end = 0
        self._store_id = b""
        self._require_directory(create)
        try:
            if read_only:
                self._follow_anew()
            else:
                self._open()
            super().__init__(registry)
            self._spaces = self._state.spaces
            writer = BlobWriter(directory, self._disk, self._store_id, self._state.blob_files)
            self._large_values = LargeValues(directory, self._disk, writer, self._spaces, self._write_lock)
            self._large_values.uses(self._snapshot_sequence, self._state.blob_files)
        except BaseException:
            self._let_go()
            raise

    # -- opening -------------------------------------------------------------------------------------------------------

    def _require_directory(self, create: bool) -> None:
        path = self.directory
        if path.exists() and not path.is_dir():
            raise InitError(f"{path} is a file; a log store is a directory, for example log:{path.with_suffix('.log')}")
        if is_store(path, self._disk):
            return
        if self._read_only or not create:
            raise InitError(
                f"{path} is no log store; create one with 'holdfast init log:{path}' or open it with create=True"
            )
        if path.exists() and not set(self._disk.list(path)) <= _NAMES:
            raise InitError(f"{path} holds other files than a log store's; give it a directory of its own")

    def _open(self) -> None:
        self._disk.make_directories(self.directory)
        owner = this_process()
        self._lock = self._disk.lock(self.directory / "LOCK", f"process {owner.pid} on {owner.host}")
        self._state, recovery = recover(self.directory, self._disk, self._registry, MSGPACK)
        self._log = recovery.finish()
        self._transcript = Transcript(self._registry, self._state.numbering)
        self._heads = {name: tables.head.sequence for name, tables in self._state.spaces.items()}
        self._store_id = self._log.store_id
        report = self._state.report
        if report.snapshot is not None:
            self._snapshot_sequence = report.snapshot_sequence
            self._snapshot_size = self._disk.size(Path(report.snapshot))
        self._snapshot_end = self._log.end - self._log.bytes_since(self._snapshot_sequence)
        for unsound in report.unsound:
            _logger.warning("a snapshot was passed over: %s", unsound)
        if report.torn_bytes:
            level = logging.ERROR if report.lost else logging.WARNING
            _logger.log(level, "%s ended with %s bytes of no whole transaction; they are kept beside it",
                        report.torn_path, report.torn_bytes)  # fmt: skip
        if report.lost:
            _logger.error("%s lost %s transactions that were on stable storage", self.directory, report.lost)
        for reason in self._state.refold.frozen.values():
            _logger.warning("%s: %s; what it belongs to takes no writes", self.directory, reason)

    def _let_go(self) -> None:
        """Close what was opened of a store that is not to be used."""
        if self._log is not None:
            self._log.let_go()
        if self._lock is not None:
            self._lock.release()

    def _refused(self) -> Mapping[int, str]:
        return self._state.refold.frozen

    # -- committing ----------------------------------------------------------------------------------------------------

    def _begin_step(self, durability: Durability) -> ResidentStep:
        self._require_open()
        self._require_writable()
        self._write_lock.acquire()
        return LogStep(self, durability)

    def _make_durable(self, staged: Sequence[StagedSpace], durability: Durability) -> None:
        log = self._log
        assert log is not None  # a step was begun
        log.append_joined(self._transcript.commits(staged), sync=durability == "strict")
        self._flush_soon(durability)

    def _require_writable(self) -> None:
        if self._log is None:
            raise ReadOnlyError(f"{self.directory} is open for reading only; open it without read_only=True")

    def _log_position(self) -> int:
        return 0 if self._log is None else self._log.sequence

    def _log_one(
        self, space: str, kind: int, payload: Payload, sequence: int, time: int, durability: Durability
    ) -> None:
        log, transcript = self._log, self._transcript
        assert log is not None  # it is writable
        log.append_joined([transcript.one(space, payload, sequence, time)], sync=durability == "strict")
        self._flush_soon(durability)

    def _apply(self, staged: StagedSpace) -> None:
        super()._apply(staged)
        for erasure in staged.erasures:
            self._state.refold.erased(staged.space, erasure)

    def _after_commit(self) -> None:
        log = self._log
        if log is not None and log.end - self._snapshot_end > self._snapshot_bytes:
            self.snapshot_if_due()

    def _prepare(self, kinds: Iterable[int], time: int, durability: Durability) -> None:
        """Define what the log does not know of the kinds, and begin to flush, before there is something to flush."""
        missing = self._transcript.missing(kinds) if max(kinds, default=0) >= USER_PRIMITIVE_ID_FIRST else ()
        if missing:
            assert self._log is not None  # it is writable
            self._log.append_joined([self._transcript.definitions(time, missing)], sync=True)
            for definition in missing:
                self._state.numbering.define(definition)
        if durability == "buffered" and self._flusher is None:
            self._flusher = Flusher(self.flush)

    def _flush_soon(self, durability: Durability) -> None:
        if durability == "buffered" and self._flusher is not None:
            self._flusher.wake()

    def flush(self) -> None:
        """See ``backend.Backend``."""
        self._require_open()
        if self._log is not None:
            self._log.flush()

    # -- snapshots -----------------------------------------------------------------------------------------------------

    def snapshot_if_due(self) -> bool:
        """Begin a snapshot in the background if the log has grown by enough since the last; return whether it did."""
        if not self._is_snapshot_due() or not self._snapshots.acquire(blocking=False):
            return False
        thread = threading.Thread(target=self._snapshot_behind, name="holdfast-snapshot", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the system has no thread for it: the commit that called for it stands
            self._snapshots.release()
            self._snapshot_failed(StorageError(f"no thread could be started: {error}"))
            return False
        self._snapshot_thread = thread
        return True

    def _is_snapshot_due(self) -> bool:
        log = self._log
        if log is None or log.failure is not None:
            return False
        return log.end - self._snapshot_end > max(self._snapshot_bytes, self._snapshot_size // 2)

    def _snapshot_behind(self) -> None:
        try:
            self._write_snapshot()
            self._snapshot_error = None
        except HoldfastError as error:  # the log still holds everything; the next one may succeed
            self._snapshot_failed(error)
        finally:
            self._snapshots.release()

    def _snapshot_failed(self, error: HoldfastError) -> None:
        self._snapshot_error = error
        _logger.warning("%s: a snapshot could not be written: %s", self.directory, error)

    def make_snapshot(self) -> Path | None:
        """Write a snapshot now, while commits go on; return its file, or None if nothing has changed since the last."""
        self._require_open()
        if self._log is None:
            raise ReadOnlyError(f"{self.directory} is open for reading only; its writer makes the snapshots")
        with self._snapshots:
            return self._write_snapshot()

    def compact(self, floors: Mapping[str, int]) -> Compaction:
        """See ``backend.Backend``: one snapshot of what is there now, and nothing before it."""
        self._require_open()
        self._require_writable()
        log, before = self._log, self._bytes()
        assert log is not None  # it is writable
        with self._snapshots:
            with self._write_lock:
                trimmed = sum(self._tables(space).trim(floor) for space, floor in floors.items())
            path = self._write_snapshot(always=True)
            assert path is not None  # always
            for _ in SnapshotReader(path, self._disk).sections():
                pass  # it is about to be all that there is: read it before the rest goes
            for _, other in find_snapshots(self.directory, self._disk):
                if other != path:
                    self._disk.remove(other)
            self._disk.sync_directory(path.parent)
            self._remove_dead_blobs()
            log.remove_before(self._snapshot_sequence + 1)
            is_indexed = self._text is not None or self._disk.exists(self.directory / TEXT_FILE)
            index = self.text_index() if is_indexed else None
            if index is not None:
                index.compact()
            folder = segment_folder(self.directory)
            for torn in sorted(folder.glob("*.torn")):
                self._disk.remove(torn)
            self._disk.sync_directory(folder)
        return Compaction(before, self._bytes(), trimmed)

    def _bytes(self) -> int:
        return stored_bytes(self.directory, self._disk, () if self._log is None else self._log.segments)

    def _write_snapshot(self, *, always: bool = False) -> Path | None:
        log, state = self._log, self._state
        assert log is not None
        with self._write_lock:
            self._require_open()
            if log.sequence == self._snapshot_sequence and not always:
                return None
            log.rotate()
            covered, end = log.sequence, log.end
            image = Image(self._spaces, state.numbering, state.refold.opaque, state.foreign)
        offload = self._large_values.begin(image, covered, exact=always)
        path, size = save_image(image, self.directory, self._disk, covered, log.store_id, offload, self._log_position)
        self._snapshot_sequence, self._snapshot_size, self._snapshot_end = covered, size, end
        self._large_values.placed(covered, offload)
        self._remove_old(log, path)
        return path

    def _remove_old(self, log: WriteAheadLog, written: Path) -> None:
        """Keep the newest sound snapshots, and the log since the oldest of them, so that either is enough."""
        unsound, self._state.passed_over = self._state.passed_over, []
        for path in unsound:
            if path != written and self._disk.exists(path):
                self._disk.remove(path)
        found = find_snapshots(self.directory, self._disk)
        for _, path in found[SNAPSHOTS_KEPT:]:
            self._disk.remove(path)
        self._remove_dead_blobs()
        if len(found) >= SNAPSHOTS_KEPT:
            log.remove_before(found[SNAPSHOTS_KEPT - 1][0] + 1)

    def _remove_dead_blobs(self) -> None:
        self._large_values.remove_dead([sequence for sequence, _ in find_snapshots(self.directory, self._disk)])

    # -- following -----------------------------------------------------------------------------------------------------

    def refresh(self) -> int:
        """For a store that is open for reading only: take in what its writer has committed since; return how much."""
        self._require_open()
        with self._following:
            before = self._state.sequence
            if self._follower is None:
                return 0
            try:
                for frame in self._follower.poll():
                    self._state.apply(frame, str(self.directory))
            except BaseException:
                self._follower.is_gone = True  # it has read on, and nobody knows what was applied
                raise
            if self._follower.is_gone:
                self._follow_anew()
                self._spaces = self._state.spaces
            new = self._state.sequence - before
        if new:
            self.committer.published.tell()
        return new

    def _follow_anew(self) -> None:
        began = time.perf_counter()
        for _ in range(3):  # the writer may remove what is about to be read: then there is a newer snapshot
            state, _ = load_newest(self.directory, self._disk, self._registry, MSGPACK)
            follower = LogFollower(self.directory, self._disk, state.sequence)
            for frame in follower.poll():
                state.apply(frame, str(self.directory))
            if not follower.is_gone:
                report = state.report
                report.entries, report.transactions = state.refold.entries, follower.sequence - report.snapshot_sequence
                report.waiting, report.seconds = len(state.refold.opaque), time.perf_counter() - began
                self._state, self._follower = state, follower
                return
        raise InitError(f"{self.directory} changes faster than it can be read; try again")

    # -- derived -------------------------------------------------------------------------------------------------------

    def text_index(self) -> OwnIndex | None:
        """See ``backend.Backend``: a file beside the log, for its writer; None for a reader, who has one in memory."""
        self._require_open()
        if self._log is None:
            return None
        with self._indexing:
            if self._text is None:
                from holdfast.text_index import beside  # late: most stores are never searched

                path = self.directory / TEXT_FILE
                self._text = beside(path, self._heads)
                if self._text is None:  # damaged, or of another version: it is made anew
                    for one in sorted(self.directory.glob(TEXT_FILE + "*")):
                        self._disk.remove(one)
                    self._text = beside(path, self._heads)
            return self._text

    # -- the rest ------------------------------------------------------------------------------------------------------

    def verify(self) -> Iterator[str]:
        """See ``backend.Backend``: every byte of every file is read and compared with its checksum."""
        self._require_open()
        if self._log is not None:
            with self._write_lock:
                yield from faults(self.directory, self._disk, self._registry)
        else:
            yield from faults(self.directory, self._disk, self._registry)

    def stats(self) -> dict[str, Any]:
        """See ``backend.Backend``."""
        self._require_open()
        waiting = len(self._state.refold.opaque)
        return {
            "path": str(self.directory),
            "bytes": self._bytes(),
            "recovery": msgspec.to_builtins(self._state.report),
            "snapshot_sequence": self._snapshot_sequence,
            "snapshot_error": None if self._snapshot_error is None else str(self._snapshot_error),
            "waiting_entries": waiting,
            "leftovers": leftovers(self.directory, self._disk),
        }

    def close(self) -> None:
        """Flush, make a snapshot if one is due, and let another process write; idempotent."""
        if self._closed:
            return
        if self._is_forked:
            self._closed = True  # the files belong to the parent
            return
        try:
            if self._flusher is not None:
                self._flusher.stop()
            if self._is_snapshot_due():
                try:
                    self.make_snapshot()
                except HoldfastError as error:  # the log still holds everything
                    self._snapshot_failed(error)
        finally:
            try:
                with self._snapshots, self._write_lock:  # a snapshot that is being written is finished
                    if self._log is not None:
                        self._log.close()
            finally:
                if self._text is not None:
                    self._text.close()
                super().close()
                self._large_values.close()
                if self._lock is not None:
                    self._lock.release()

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self.directory} is closed; open it again")
        if self._is_forked:
            raise ClosedError(f"{self.directory} was opened by another process; a forked child opens it for itself")


_open_here: WeakSet[LogBackend] = WeakSet()


def _after_fork_in_child() -> None:
    for backend in list(_open_here):
        backend._is_forked = True


os.register_at_fork(after_in_child=_after_fork_in_child)


class LogStep(ResidentStep):
    """A step whose end may begin a snapshot."""

    _backend: LogBackend

    def abandon(self) -> bool:
        """See ``backend.Step``."""
        was_committed = super().abandon()
        if was_committed:
            self._backend._after_commit()
        return was_committed
