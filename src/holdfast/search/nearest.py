"""The nearest of the vectors that it is shown, exactly: distances, scores, and the order of ties.

    metric      distance                    score, in 0..1
    cosine      1 - cos(a, b): 0..2         1 - distance / 2
    dot         -(a . b)                    (1 + s / (1 + |s|)) / 2 with s = a . b
    euclidean   |a - b|                     1 / (1 + distance)

Promises: less distance is a higher score; what is equally near is ordered by key; the result is the same bit for bit
with numpy (the extra ``vector``) and without. Therefore a distance is made of correctly rounded sums (``math.fsum``) of
float64 products: numpy only finds those which can be among the nearest, with a margin for what it rounds. Knows no
store.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import cache
from math import fsum, sqrt
from operator import mul, sub
from typing import Any, Generic, TypeVar

from holdfast.search.float32 import unpack

T = TypeVar("T")

METRICS = ("cosine", "dot", "euclidean")
_MARGIN = 1e-9
"""More than numpy can be wrong, relative to the lengths: 65,536 dimensions times 2^-53, and some."""


@cache
def numpy() -> Any:
    """Return numpy, or None if it is not installed; it is imported when vectors are first compared."""
    try:
        import numpy as found
    except ImportError:
        return None
    return found


def score_of(metric: str, distance: float) -> float:
    """Return the score in 0..1 of a distance."""
    if metric == "cosine":
        return 1 - distance / 2
    if metric == "euclidean":
        return 1 / (1 + distance)
    return (1 - distance / (1 + abs(distance))) / 2


class Nearest(Generic[T]):
    """Keeps the ``limit`` nearest to a query. For one thread."""

    def __init__(self, metric: str, query: bytes, limit: int) -> None:
        self._metric = metric
        self._query = unpack(query).tolist()
        self._packed = query
        self._square = fsum(map(mul, self._query, self._query))
        self._limit = limit
        self.best: list[tuple[float, bytes, T]] = []
        """(distance, key, item), the nearest first."""

    def offer(self, vectors: Sequence[bytes], items: Sequence[tuple[bytes, T]]) -> None:
        """Take in vectors, each with its key and item."""
        if not vectors:
            return
        found = [(self.distance(unpack(vectors[place])), *items[place]) for place in self._promising(vectors)]
        self.best = sorted(self.best + found, key=lambda one: one[:2])[: self._limit]

    def distance(self, vector: array[float]) -> float:
        """Return the distance of a vector from the query."""
        numbers = vector.tolist()
        if self._metric == "euclidean":
            apart = list(map(sub, numbers, self._query))
            return sqrt(fsum(map(mul, apart, apart)))
        product = fsum(map(mul, numbers, self._query))
        if self._metric == "dot":
            return -product
        lengths = sqrt(fsum(map(mul, numbers, numbers)) * self._square)  # exactly the product, for equal vectors
        return min(max(1 - product / lengths, 0.0), 2.0)

    def _promising(self, vectors: Sequence[bytes]) -> Sequence[int]:
        """Return the places of those that may be among the nearest: all, unless numpy can tell."""
        np = numpy()
        if np is None:
            return range(len(vectors))
        matrix = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), -1).astype(np.float64)
        query = np.frombuffer(self._packed, dtype="<f4").astype(np.float64)
        if self._metric == "euclidean":
            matrix -= query
            about = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
            margin = about * _MARGIN
        else:
            about = -(matrix @ query)
            lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix) * self._square)
            margin = lengths * _MARGIN
            if self._metric == "cosine":
                about, margin = 1 + about / lengths, np.full(len(vectors), _MARGIN)
        limit = self._limit
        bounds = [self.best[-1][0]] if len(self.best) == limit else []
        if len(vectors) > limit:
            bounds.append(np.partition(about + margin, limit - 1)[limit - 1])
        return [int(place) for place in np.flatnonzero(about - margin <= min(bounds, default=np.inf))]
