"""Vector search: what is nearest to a query in one collection, filters applied before the cut.

Exact: every vector of the collection is compared, or - where a filter names values that are indexed - every vector that
has them. What is found is what is stored at that moment: records and vectors are read together. Knows no primitive: it
is told where a collection lies, and which index ranges hold what a filter asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

import msgspec

from holdfast.errors import CorruptionError
from holdfast.model import Record
from holdfast.scope import Scope
from holdfast.search.nearest import Nearest, score_of

T = TypeVar("T")

VECTOR_BLOB = "vector"
"""The name of the blob that holds the vector of a record."""
_PAGE = 500

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
    """What is asked: which vectors (all in ``members``, or those in ``matching`` that are accepted), near to what.

    ``matching`` None stands for "an index cannot tell"; ``accept`` decides, and is asked in any case.
    """

    kind: int
    metric: str
    vector: bytes
    limit: int
    members: Range
    matching: Sequence[Range] | None = None
    accept: Callable[[Record], bool] | None = None
    score_min: float | None = None


class VectorSearch:
    """Vector search over one backend. Thread-safe."""

    def search(self, scope: Scope, query: Query, to_record: Callable[[Record], T]) -> VectorResults[T]:
        """Return the nearest ``limit`` records that the query accepts."""
        nearest: Nearest[Record] = Nearest(query.metric, query.vector, query.limit)
        found = _records(scope, query)
        while page := list(islice(found, _PAGE)):
            nearest.offer([vector_of(record, query) for record in page], [(record.key, record) for record in page])
        results: VectorResults[T] = VectorResults()
        for distance, _, record in nearest.best:
            score = score_of(query.metric, distance)
            if query.score_min is None or score >= query.score_min:
                results.append(VectorHit(to_record(record), score, distance))
        return results


def vector_of(record: Record, query: Query) -> bytes:
    """Return the packed vector of a record that was read with its blobs; CorruptionError if it is not as it must be."""
    for name, data in record.blobs or ():
        if name == VECTOR_BLOB and len(data) == len(query.vector):
            return data
    raise CorruptionError(f"the vector of record {record.key.hex()} is missing or of another dimension")


def _records(scope: Scope, query: Query) -> Iterator[Record]:
    """Iterate over what the query accepts, with vectors; those of what it does not accept are not read."""
    if query.accept is None:
        yield from (record for _, record in scope.scan(query.kind, *query.members, want="blobs"))
        return
    for part in [query.members] if query.matching is None else query.matching:
        chosen = (record.key for _, record in scope.scan(query.kind, *part) if query.accept(record))
        while keys := list(islice(chosen, _PAGE)):
            for record in scope.read(query.kind, keys, "blobs"):
                if record is not None and query.accept(record):  # it may have been changed since
                    yield record
