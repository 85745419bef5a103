"""``memory:``: everything in resident tables, gone when the store is closed.

For tests and scratch work. The same order, isolation, limits and errors as the durable backends; durability is always
"ephemeral", whatever was asked for. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from holdfast.backend import Capabilities, Compaction, StagedSpace, View
from holdfast.codec import MSGPACK
from holdfast.committer import Committer
from holdfast.errors import ClosedError
from holdfast.model import Durability
from holdfast.registry import PrimitiveRegistry
from holdfast.tables import LiveView, SnapshotView, SpaceTables


class ResidentBackend:
    """The backend of ``memory:``."""

    capabilities = Capabilities(
        name="memory", durabilities=("ephemeral",), body_codec="msgpack", persistent=False, multi_process=False
    )

    def __init__(self, registry: PrimitiveRegistry) -> None:
        self._spaces: dict[str, SpaceTables] = {}
        self._write_lock = threading.Lock()
        self._closed = False
        self.committer = Committer(registry, MSGPACK, self._begin_step)

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

    def text_index(self) -> None:
        """There is none beside the records."""
        return

    def spaces(self) -> list[str]:
        """See ``backend.Backend``."""
        self._require_open()
        return sorted(name for name, tables in list(self._spaces.items()) if not tables.is_empty())

    def verify(self) -> Iterator[str]:
        """Resident tables have no bytes to check."""
        self._require_open()
        return iter(())

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

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("this store is closed; open it again")

    def _tables(self, space: str) -> SpaceTables:
        self._require_open()
        return self._spaces.get(space) or self._spaces.setdefault(space, SpaceTables())

    def _begin_step(self, durability: Durability) -> _ResidentStep:
        self._require_open()
        self._write_lock.acquire()
        return _ResidentStep(self)


class _ResidentStep:
    """One group's publication, under the write lock."""

    def __init__(self, backend: ResidentBackend) -> None:
        self._backend = backend
        self._published = self._ended = False

    def view(self, space: str) -> View:
        return self._backend.view(space)

    def publish(self, staged: Sequence[StagedSpace]) -> None:
        for one in staged:
            self._backend._tables(one.space).apply(one)
        self._published = True
        self.abandon()

    def abandon(self) -> bool:
        if not self._ended:
            self._ended = True
            self._backend._write_lock.release()
        return self._published
