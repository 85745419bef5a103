"""``memory:``: everything in resident tables, gone when the store is closed.

For tests and scratch work. The same order, isolation, limits and errors as the durable backends; durability is always
"ephemeral", whatever was asked for. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast import clock
from holdfast.backend import Capabilities, Compaction, StagedSpace, TextIndex, View
from holdfast.codec import BATCH_BYTES_MAX, MSGPACK
from holdfast.committer import Committer
from holdfast.errors import ClosedError, InvalidInputError
from holdfast.model import Durability, Head, Written
from holdfast.primitive import Moment, Payload
from holdfast.registry import PrimitiveRegistry
from holdfast.staging import checked_size, refusal
from holdfast.tables import SpaceTables
from holdfast.views import LiveView, SnapshotView, StoredView


class ResidentBackend:
    """The backend of ``memory:``."""

    capabilities = Capabilities(
        name="memory", durabilities=("ephemeral",), body_codec="msgpack", persistent=False, multi_process=False
    )

    def __init__(self, registry: PrimitiveRegistry) -> None:
        self._spaces: dict[str, SpaceTables] = {}
        self._write_lock = threading.Lock()
        self._closed = False
        self._registry = registry
        self.committer = Committer(registry, MSGPACK, self._begin_step, self._refused(), self._commit_one)

    def view(self, space: str) -> View:
        """See ``backend.Backend``."""
        return LiveView(self._tables(space))

    @contextmanager
    def snapshot(self, space: str) -> Iterator[View]:
        """See ``backend.Backend``."""
        view = SnapshotView(self._tables(space))
        try:
            yield view
        finally:
            view.close()

    def text_index(self) -> TextIndex | None:
        """There is none beside the records."""
        return None

    def spaces(self) -> list[str]:
        """See ``backend.Backend``."""
        self._require_open()
        return sorted(name for name, tables in list(self._spaces.items()) if not tables.is_empty())

    def verify(self) -> Iterator[str]:
        """Resident tables have no bytes to check."""
        self._require_open()
        return iter(())

    def refresh(self) -> int:
        """See ``backend.Backend``; there is nobody to follow."""
        self._require_open()
        return 0

    def flush(self) -> None:
        """Nothing is promised, so there is nothing to do."""
        self._require_open()

    def compact(self, floors: Mapping[str, int]) -> Compaction:
        """See ``backend.Backend``; there are no bytes to give back but those of the change feeds."""
        self._require_open()
        with self._write_lock:
            trimmed = sum(self._tables(space).trim(floor) for space, floor in floors.items())
        return Compaction(None, None, trimmed, ("memory: holds no file, so there is no room to give back",))

    def stats(self) -> dict[str, Any]:
        """See ``backend.Backend``."""
        self._require_open()
        return {"path": None, "bytes": None}

    def close(self) -> None:
        """Forget everything; idempotent."""
        self._closed = True
        self._spaces.clear()

    def _refused(self) -> Mapping[int, str]:
        """Kinds that take no writes, with the reason."""
        return {}

    def _commit_one(self, space: str, payload: Payload, durability: Durability) -> Written:
        """Commit one payload without staging: what it touches is what is published, so there is nothing to overlay."""
        with self._write_lock:
            tables = self._tables(space)
            self._require_writable()
            kind, entry_type = self._registry.kind_of(payload)
            refused = self._refused()
            if kind in refused:
                raise refusal(self._registry.name_of(kind), refused[kind])
            head = tables.head
            sequence, now = head.sequence + 1, max(clock.now(), head.time + 1)
            _, written = tables.fold(kind, entry_type, payload, Moment(sequence, now, MSGPACK))
            if not written:
                return written
            size = 0
            for key, record in written.items():
                size += checked_size(key, record)
            if size > BATCH_BYTES_MAX:
                raise InvalidInputError("batch", f"{size} bytes in one commit; at most {BATCH_BYTES_MAX} are allowed")
            self._prepare([kind], now, durability)
            before = self._log_position()
            try:
                self._log_one(space, kind, payload, sequence, now, durability)
                tables.publish(kind, written, Head(sequence, now, head.floor))
            except BaseException:
                if self._log_position() != before:  # durable, so visible: an interrupt does not change that
                    tables.publish(kind, written, Head(sequence, now, head.floor))
                raise
        self._after_commit()
        return written

    def _require_writable(self) -> None:
        """ReadOnlyError if commits are refused."""

    def _log_position(self) -> int:
        """The sequence of the last transaction that is kept."""
        return 0

    def _prepare(self, kinds: Iterable[int], time: int, durability: Durability) -> None:
        """What must be there before a commit of these kinds, and is no part of it; may raise."""

    def _log_one(
        self, space: str, kind: int, payload: Payload, sequence: int, time: int, durability: Durability
    ) -> None:
        """Put a commit of one payload on the medium; if it raises, ``_log_position`` tells whether it is there."""

    def _apply(self, staged: StagedSpace) -> None:
        """Make what is durable visible; to do it again changes nothing."""
        self._tables(staged.space).apply(staged)

    def _after_commit(self) -> None:
        """What is due after a commit."""

    def _make_durable(self, staged: Sequence[StagedSpace], durability: Durability) -> None:
        """Put commits on the medium, all or none; if it raises, ``_log_position`` tells whether they are there."""

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("this store is closed; open it again")

    def _tables(self, space: str) -> SpaceTables:
        self._require_open()
        return self._spaces.get(space) or self._spaces.setdefault(space, SpaceTables())

    def _begin_step(self, durability: Durability) -> ResidentStep:
        self._require_open()
        self._write_lock.acquire()
        return ResidentStep(self, durability)


class ResidentStep:
    """One group's publication, under the write lock: on the medium first, then in the tables."""

    def __init__(self, backend: ResidentBackend, durability: Durability) -> None:
        self._backend = backend
        self._durability = durability
        self._durable: Sequence[StagedSpace] | None = None
        self._ended = False

    def view(self, space: str) -> View:
        """See ``backend.Step``."""
        return StoredView(self._backend._tables(space))

    def publish(self, staged: Sequence[StagedSpace]) -> None:
        """See ``backend.Step``."""
        for one in staged:
            self._backend._tables(one.space).check(one)
        kind_of = self._backend._registry.kind_of  # of every entry, also of one that wrote nothing
        entries = (payload for space in staged for one in space.transactions for payload in one.payloads)
        kinds = {kind_of(payload)[0]: None for payload in entries}
        self._backend._prepare(kinds, staged[0].transactions[0].time, self._durability)
        before = self._backend._log_position()
        try:
            self._backend._make_durable(staged, self._durability)
            self._durable = staged
        except BaseException:
            if self._backend._log_position() != before:  # an interrupt does not change that it is
                self._durable = staged
            raise
        self.abandon()

    def abandon(self) -> bool:
        """See ``backend.Step``. Applies what is durable once more if an interrupt struck while it was being applied."""
        if not self._ended:
            for one in self._durable or ():
                self._backend._apply(one)
            self._ended = True
            self._backend._write_lock.release()
        return self._durable is not None
