"""Vector search: what is nearest to a query in one collection, filters applied before the cut.

With the extra ``vector`` an index proposes, and as many proposals are looked at as it takes to fill the limit. For a
small collection it is flat and misses none; for a large one (``index_from`` vectors and more) it is a graph. Where a
filter leaves few, or without the extra, all that is left is read and compared. Distances are always made of what is
stored, records and vectors read together, so an index can miss a hit but never make one up. Knows no primitive: it is
told where a collection lies, and which index ranges hold what a filter asks for. Thread-safe.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from holdfast import process
from holdfast.backend import Backend
from holdfast.model import Record
from holdfast.scope import DirectScope, Scope
from holdfast.search import flat, graph
from holdfast.search.flat import Flat
from holdfast.search.float32 import unpack
from holdfast.search.graph import Graph
from holdfast.search.index import WRITTEN_AFTER, CollectionIndex, Source, vector_of
from holdfast.search.index_file import IndexFile
from holdfast.search.nearest import Nearest, score_of

T = TypeVar("T")

INDEX_FROM = 5000
"""How many vectors a collection has when a graph begins to be worth its making."""
_PAGE = 500
_PROPOSALS_LEAST = 64
_PROPOSALS_MOST = 8192
_INDEXES_MOST = 64
"""How many indexes are held in memory: those that were searched last."""

Range = tuple[int | None, bytes, bytes]
"""(index or None for the keys, low, high): a part of a kind's records."""


class VectorHit(msgspec.Struct, Generic[T], frozen=True):
    """One result: the record, its score in 0..1, and the distance that the score comes from."""

    record: T
    score: float
    distance: float


class VectorResults(list[VectorHit[T]], Generic[T]):
    """The hits, the nearest first. ``exact`` is True if every vector was compared, so that none can be missing."""

    exact: bool = True


class Query(msgspec.Struct, frozen=True):
    """What is asked: which vectors are nearest to one, of those in ``matching`` that are accepted.

    ``matching`` None stands for "an index cannot tell"; ``accept`` decides, and is asked in any case.
    """

    vector: bytes
    limit: int
    matching: Sequence[Range] | None = None
    accept: Callable[[Record], bool] | None = None
    score_min: float | None = None
    exact: bool = False


class VectorSearch:
    """Vector search over one backend. ``index_from``: the size of a collection that gets an index.

    ``keep`` False writes no index beside the store.
    """

    def __init__(self, backend: Backend, *, index_from: int = INDEX_FROM, keep: bool = True) -> None:
        self._backend = backend
        self._index_from = index_from
        self._keep = keep
        self._lock = threading.Lock()
        self._process = process.this_process()
        self._indexes: dict[tuple[str, bytes], CollectionIndex] = {}

    def search(
        self, scope: DirectScope, source: Source, query: Query, to_record: Callable[[Record], T]
    ) -> VectorResults[T]:
        """Return the nearest ``limit`` records that the query accepts."""
        results: VectorResults[T] = VectorResults()
        index = None if query.exact else self._index(scope, source)
        nearest = None if index is None else self._propose(index, scope, query)
        results.exact = nearest is None or index is None or index.make.is_exact
        if nearest is None:
            nearest = Nearest(source.metric, query.vector, query.limit)
            found = _all(scope, source, query)
            while page := list(islice(found, _PAGE)):
                _offer(nearest, source, page)
        for distance, _, record in nearest.best:
            score = score_of(source.metric, distance)
            if query.score_min is None or score >= query.score_min:
                results.append(VectorHit(to_record(record), score, distance))
        return results

    def refresh(self, scope: DirectScope, source: Source) -> None:
        """Make the index of a collection, or catch it up, so that the next search need not."""
        index = self._index(scope, source)
        if index is not None:
            with index.lock:
                index.follow(self._backend, scope.space)

    def _propose(self, index: CollectionIndex, scope: DirectScope, query: Query) -> Nearest[Record] | None:
        """Return the nearest of what an index proposes, or None where all that is asked for must be compared."""
        source = index.source
        if query.matching is not None:
            matching = sum(scope.raw_count(source.kind, *part) for part in query.matching)
            if matching < (_PAGE if index.make.is_exact else self._index_from):
                return None
        wanted = max(2 * query.limit, _PROPOSALS_LEAST)
        while wanted <= _PROPOSALS_MOST:
            with index.lock:
                index.follow(self._backend, scope.space)
                if wanted >= len(index):
                    break
                keys, reach = index.nearest(query.vector, wanted)
            if query.accept is not None:
                records = scope.read(source.kind, keys)
                keys = [one.key for one in records if one is not None and query.accept(one)]
            if len(keys) >= query.limit:
                nearest: Nearest[Record] = Nearest(source.metric, query.vector, query.limit)
                found = _read(scope, source, query, keys)
                _offer(nearest, source, found)
                if len(nearest.best) == query.limit and nearest.best[-1][0] <= reach:
                    last = unpack(vector_of(found[-1], source.dimension))
                    if index.make.is_exact or nearest.best[-1][0] < nearest.distance(last):
                        return nearest  # else what is equally near may go on behind what the graph proposed
            wanted *= 4
        return None

    def _index(self, scope: DirectScope, source: Source) -> CollectionIndex | None:
        """Return the index of a collection; None if there is none for it, or if another thread is making it."""
        key = scope.space, source.collection
        index = self._indexes.get(key)
        is_known = index is not None and index.is_ready and index.source.id == source.id
        count = len(index) if index and is_known else scope.raw_count(source.kind, *source.counting)
        has_graph = index is not None and is_known and index.make is Graph
        make: type[Graph] | type[Flat] = Flat
        if count >= (self._index_from // 2 if has_graph else self._index_from):
            make = Graph
        if count <= _PROPOSALS_LEAST or not (graph if make is Graph else flat).is_available():
            return None
        with self._lock:
            index = self._indexes.pop(key, None)
            if index is None or index.source.id != source.id or index.make is not make:
                index = CollectionIndex(source, make, self._file(*key) if make is Graph else None)
            self._indexes[key] = index  # as the last
            left = [self._indexes.pop(next(iter(self._indexes))) for _ in range(len(self._indexes) - _INDEXES_MOST)]
        _let_go(left)
        return None if not index.is_ready and index.lock.locked() else index

    def _file(self, space: str, collection: bytes) -> IndexFile | None:
        """Return where an index is kept: in the folder of the store, or in one beside its file; None: nowhere."""
        path = self._backend.stats().get("path")
        if path is None:
            return None
        place = Path(path)
        folder = place / "vectors" if place.is_dir() else place.with_name(place.name + ".vectors")
        return IndexFile(folder, space, collection, writable=self._keep)

    def forget(self, space: str, collection: bytes) -> None:
        """Remove the index of a collection that was dropped."""
        with self._lock:
            self._indexes.pop((space, collection), None)
        file = self._file(space, collection)
        if file is not None:
            file.remove()

    def close(self) -> None:
        """Write the indexes that have changed much, and let go of them."""
        if process.this_process() != self._process:
            return  # what a forked child has is its parent's
        with self._lock:
            indexes, self._indexes = list(self._indexes.values()), {}
        _let_go(indexes)


def _let_go(indexes: Sequence[CollectionIndex]) -> None:
    for index in indexes:
        with index.lock:
            index.write(WRITTEN_AFTER)


def _offer(nearest: Nearest[Record], source: Source, records: Sequence[Record]) -> None:
    vectors = [vector_of(record, source.dimension) for record in records]
    nearest.offer(vectors, [(record.key, record) for record in records])


def _all(scope: Scope, source: Source, query: Query) -> Iterator[Record]:
    """Iterate over all that the query accepts, with vectors; those of what it does not accept are not read."""
    whole: Range = (None, source.low, source.high)
    if query.accept is None:
        yield from (record for _, record in scope.scan(source.kind, *whole, want="blobs"))
        return
    for part in [whole] if query.matching is None else query.matching:
        chosen = (record.key for _, record in scope.scan(source.kind, *part) if query.accept(record))
        while keys := list(islice(chosen, _PAGE)):
            yield from _read(scope, source, query, keys)


def _read(scope: Scope, source: Source, query: Query, keys: Sequence[bytes]) -> list[Record]:
    """Read records that were accepted, with their vectors; they may have been changed since."""
    records = scope.read(source.kind, keys, "blobs")
    return [record for record in records if record is not None and (not query.accept or query.accept(record))]
