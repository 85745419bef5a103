"""The index of one collection: a graph, or its flat double, that follows the change feed.

Derived, never the truth: it only proposes. It is made at the first search that needs it, and caught up through the
change feed at each one after that. A graph is written beside the store, from time to time and when the store is closed.
What is read from disk is a beginning and no more: the time of the last write of each vector is compared with the header
in the store, and what differs is taken in - however far behind, or of another history, the index is. One thread at a
time, under ``lock``.
"""

from __future__ import annotations

import logging
import threading
from array import array
from collections.abc import Sequence

import msgspec

from holdfast.backend import Backend, View
from holdfast.errors import CorruptionError, SerializationError, StorageError
from holdfast.model import Record
from holdfast.search.feed import next_step
from holdfast.search.flat import Flat
from holdfast.search.graph import Graph
from holdfast.search.index_file import IndexFile

VECTOR_BLOB = "vector"
"""The name of the blob that holds the vector of a record."""
WRITTEN_AFTER = 1000
"""How many changes are worth writing the index for; more if it is large: a tenth of it."""
_REMOVED_SHARE = 0.5
"""When so much of a graph was removed or replaced, it is made anew: it has become slow and less good."""
_PAGE = 1000
_log = logging.getLogger("holdfast")


class Source(msgspec.Struct, frozen=True):
    """Where a collection lies, and what its vectors are.

    ``collection`` is its key, ``id`` tells it from others of that name; the keys of its vectors are in low..high, and
    the index range ``counting`` counts them.
    """

    kind: int
    collection: bytes
    id: bytes
    dimension: int
    metric: str
    low: bytes
    high: bytes
    counting: tuple[int, bytes, bytes]


def vector_of(record: Record, dimension: int) -> bytes:
    """Return the packed vector of a record that was read with its blobs; CorruptionError if it is not as it must be."""
    for name, data in record.blobs or ():
        if name == VECTOR_BLOB and len(data) == 4 * dimension:
            return data
    raise CorruptionError(f"the vector of record {record.key.hex()} is missing or of another dimension")


class CollectionIndex:
    """See the module."""

    def __init__(self, source: Source, make: type[Graph] | type[Flat], file: IndexFile | None = None) -> None:
        self.lock = threading.Lock()
        self.make = make
        self.source = source
        self._file = file
        self._clear()

    def _clear(self) -> None:
        self.is_ready = False
        self._graph = self.make(self.source.dimension, self.source.metric)
        self._keys: dict[int, bytes] = {}
        self._known: dict[bytes, tuple[int, int]] = {}
        """key -> (label in the graph, time of its last write)"""
        self._next_label = 0
        self._removed = 0
        self._unwritten = 0
        self._watermark = 0

    def __len__(self) -> int:
        return len(self._known)

    def nearest(self, vector: bytes, count: int) -> tuple[list[bytes], float]:
        """Return about the ``count`` keys that are nearest to a vector, and how far that is complete."""
        labels, reach = self._graph.nearest(vector, count)
        return [self._keys[label] for label in labels], reach

    # Following the store

    def follow(self, backend: Backend, space: str) -> None:
        """Be complete up to the newest commit."""
        view = backend.view(space)
        try:
            if not self.is_ready:
                self._read()
                self._compare(view)
            elif self._watermark < view.head().floor:  # it was not told of deletions
                self._compare(view)
            self._catch_up(view)
            if self._removed > max(WRITTEN_AFTER, _REMOVED_SHARE * len(self)):
                self._clear()
                self._compare(view)
                self._catch_up(view)
        except BaseException:
            self._clear()  # it may have taken in a half of something
            raise
        self.is_ready = True
        if self._unwritten >= max(WRITTEN_AFTER, len(self) // 10):
            self.write()

    def _compare(self, view: View) -> None:
        """Take in all that is in the store and not known as it is, and forget what is known and not there."""
        source, after = self.source, None
        watermark = view.head().sequence  # what is written meanwhile is taken in twice
        gone = set(self._known)
        while True:
            page = view.scan(source.kind, None, source.low, source.high, after=after, limit=_PAGE, want="headers")
            gone.difference_update(header.key for header in page.items)
            self._take_in(view, [one.key for one in page.items if not self._knows(one.key, one.updated_at)])
            after = page.cursor
            if after is None:
                break
        self._take_in(view, list(gone))
        self._watermark = watermark

    def _catch_up(self, view: View) -> None:
        source, goal = self.source, view.head().sequence
        while self._watermark < goal:
            changes, watermark = next_step(view, self._watermark, goal)
            keys = [one.key for one in changes if one.kind == source.kind and source.low <= one.key < source.high]
            for start in range(0, len(keys), _PAGE):
                self._take_in(view, keys[start : start + _PAGE])
            self._watermark = watermark

    def _knows(self, key: bytes, time: int) -> bool:
        known = self._known.get(key)
        return known is not None and known[1] == time

    def _take_in(self, view: View, keys: Sequence[bytes]) -> None:
        """Make the graph hold what the store has under these keys."""
        old: list[int] = []
        new: list[int] = []
        vectors: list[bytes] = []
        for key, record in zip(keys, view.read(self.source.kind, keys, "blobs"), strict=True):
            if record is not None and self._knows(key, record.updated_at):
                continue
            if key in self._known:
                label, _ = self._known.pop(key)
                del self._keys[label]
                old.append(label)
            if record is not None:
                vectors.append(vector_of(record, self.source.dimension))
                new.append(self._next_label)
                self._known[key] = self._next_label, record.updated_at
                self._keys[self._next_label] = key
                self._next_label += 1
        self._graph.remove(old)
        self._graph.add(new, vectors)
        self._removed += len(old)
        self._unwritten += len(old) + len(new)

    # On disk

    def write(self, least: int = 0) -> None:
        """Write the index beside the store, if ``least`` changes or more are not there yet.

        Where that fails, the log says so, and nothing else is the worse for it.
        """
        if self._file is None or not self.is_ready or self._unwritten < least:
            return
        assert isinstance(self._graph, Graph)
        labels, times = zip(*self._known.values(), strict=True) if self._known else ((), ())
        try:
            self._file.write(
                self._graph.save,
                collection=self.source.id,
                keys=list(self._known),
                labels=array("Q", labels).tobytes(),
                times=array("q", times).tobytes(),
            )
        except (StorageError, SerializationError) as error:
            _log.warning("a vector index could not be written: %s", error)
        self._unwritten = 0  # after an error, too: not again at the next search

    def _read(self) -> None:
        """Begin with what is on disk, if it is whole and of this collection."""
        found = None if self._file is None else self._file.read()
        if found is None or found[0].collection != self.source.id:
            return
        assert isinstance(self._graph, Graph)
        state, graph = found
        try:
            self._graph.load(graph)
            labels, times = _numbers("Q", state.labels), _numbers("q", state.times)
            self._known = dict(zip(state.keys, zip(labels, times, strict=True), strict=True))
        except (SerializationError, ValueError) as error:
            _log.warning("a vector index cannot be used and is made anew: %s", error)
            self._clear()
            return
        self._keys = {label: key for key, (label, _) in self._known.items()}
        self._next_label = max(self._keys, default=-1) + 1


def _numbers(form: str, data: bytes) -> list[int]:
    numbers: array[int] = array(form)
    numbers.frombytes(data)
    return numbers.tolist()
