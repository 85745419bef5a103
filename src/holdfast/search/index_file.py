"""Vector indexes on disk: a folder beside the store that may be removed at any time, and is then made anew.

An index is two files, because the graph may be large. The graph is written first, under a name that is new; then the
state, which names it; then what it replaces is removed. So a crash leaves the old pair or the new one. Promises: what
is read is what was written, or nothing, and the log says why. One process writes an index at a time, the others let it
be.

    NAME.state     msgpack of State | CRC-32 of that, u32 little-endian
    NAME-X.graph   what usearch wrote

NAME is the SHA-256 of space and collection in hexadecimal, cut to 32 digits; X is new each time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import msgspec

from holdfast import clock, process
from holdfast.errors import CorruptionError, LockedError, StorageError
from holdfast.log.files import Disk

_VERSION = 1
_log = logging.getLogger("holdfast")


class State(msgspec.Struct, array_like=True, frozen=True):
    """What is known of an index, and of the graph that belongs to it.

    ``collection`` is the id of the collection. In the order of ``keys`` stand the ``labels`` (u64) in the graph and the
    ``times`` of the last write in microseconds (i64), in the byte order of the machine.
    """

    version: int
    collection: bytes
    graph: str
    graph_bytes: int
    graph_crc: int
    keys: list[bytes]
    labels: bytes
    times: bytes


class IndexFile:
    """The files of one index; not ``writable``: they are only read. Safe from any thread, and from other processes."""

    def __init__(self, folder: Path, space: str, collection: bytes, *, writable: bool = True) -> None:
        self._writable = writable
        self._disk = Disk()
        self._folder = folder
        self._name = sha256(space.encode() + b"\0" + collection).hexdigest()[:32]

    @property
    def _state(self) -> Path:
        return self._folder / f"{self._name}.state"

    def read(self) -> tuple[State, bytes] | None:
        """Return the state and the graph, or None if there is none that is whole."""
        if not self._state.exists():
            return None
        try:
            data = self._disk.read(self._state)
            _require(self._state, crc32(data[:-4]) == int.from_bytes(data[-4:], "little"))
            state = msgspec.msgpack.decode(data[:-4], type=State)
            _require(self._state, state.version == _VERSION)
            graph = self._disk.read(self._folder / state.graph)
            _require(self._folder / state.graph, (len(graph), crc32(graph)) == (state.graph_bytes, state.graph_crc))
        except (StorageError, msgspec.MsgspecError) as error:  # or another process has replaced the pair meanwhile
            _log.warning("a vector index cannot be used and is made anew: %s", error)
            return None
        return state, graph

    def write(
        self,
        save: Callable[[], bytes],
        *,
        collection: bytes,
        keys: list[bytes],
        labels: bytes,
        times: bytes,
    ) -> None:
        """Write both files, the graph as ``save`` gives it; nothing if another process is doing it just now.

        Raises StorageError; what was there before is there still.
        """
        if not self._writable:
            return
        self._disk.make_directories(self._folder)
        try:
            lock = self._disk.lock(self._folder / f"{self._name}.lock", _owner())
        except LockedError:
            return
        try:
            graph = save()
            name = f"{self._name}-{clock.random_token(8).hex()}.graph"
            self._disk.write_whole(self._folder / name, graph)
            state = State(_VERSION, collection, name, len(graph), crc32(graph), keys, labels, times)
            data = msgspec.msgpack.encode(state)
            self._disk.write_whole(self._state, data + crc32(data).to_bytes(4, "little"))
            self._remove_all_but(name)
        finally:
            lock.release()

    def remove(self) -> None:
        """Remove the index, if there is one."""
        if self._writable and self._state.exists():
            self._disk.remove(self._state)
            self._remove_all_but("")

    def _remove_all_but(self, kept: str) -> None:
        for path in self._folder.glob(f"{self._name}-*"):
            if path.name != kept:
                self._disk.remove(path)


def _owner() -> str:
    owner = process.this_process()
    return f"pid {owner.pid} on {owner.host}"


def _require(path: Path, whole: bool) -> None:
    if not whole:
        raise CorruptionError(f"{path} is not what was written", path=str(path))
