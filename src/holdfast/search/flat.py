"""The vectors of a small collection in memory, compared by numpy: a graph's double that misses none.

Needs numpy (the extra ``vector``). Multiplies in float32, so it is wrong in the last digits - by no more than the bound
of Higham (2002), section 3.1 - and proposes whatever may be among the nearest in spite of that. Not for two threads at
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt
from typing import Any

from holdfast.search.nearest import numpy

_UNIT = 2.0**-23
"""Twice what float32 rounds by, relative to a number."""
_TINY = 2.0**-100
"""More than is lost where products are too small for float32."""
_ROOM = 64


def is_available() -> bool:
    """Return True if numpy is installed."""
    return numpy() is not None


class Flat:
    """See the module; the same methods as ``Graph``."""

    is_exact = True

    def __init__(self, dimension: int, metric: str) -> None:
        self._np = numpy()
        self._metric = metric
        self._labels: list[int] = []
        self._rows: dict[int, int] = {}
        self._matrix: Any = self._np.empty((_ROOM, dimension), dtype="<f4")
        self._lengths: Any = self._np.empty(_ROOM)
        self._error = (dimension + 16) * _UNIT

    def add(self, labels: Sequence[int], vectors: Sequence[bytes]) -> None:
        """Add vectors under labels that are new."""
        if not labels:
            return
        np, first = self._np, len(self._labels)
        end = first + len(labels)
        if end > len(self._matrix):
            room = max(end, 2 * len(self._matrix))
            self._matrix = np.resize(self._matrix, (room, self._matrix.shape[1]))
            self._lengths = np.resize(self._lengths, room)
        added = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(labels), -1).astype(np.float64)
        lengths = np.linalg.norm(added, axis=1)
        self._matrix[first:end] = added / lengths[:, None] if self._metric == "cosine" else added
        self._lengths[first:end] = lengths
        self._rows.update(zip(labels, range(first, end), strict=True))
        self._labels += labels

    def remove(self, labels: Sequence[int]) -> None:
        """Remove what is there; the last takes its place."""
        for label in labels:
            row, last = self._rows.pop(label), self._labels.pop()
            if last != label:
                self._labels[row], self._rows[last] = last, row
                self._matrix[row] = self._matrix[len(self._labels)]
                self._lengths[row] = self._lengths[len(self._labels)]

    def nearest(self, vector: bytes, count: int) -> tuple[list[int], float]:
        """Return at least the ``count`` nearest, in no order, and a distance: all that are nearer are among them."""
        np, size = self._np, len(self._labels)
        if count >= size:
            return self._labels, inf
        query = np.frombuffer(vector, dtype="<f4").astype(np.float64)
        lengths, length = self._lengths[:size], float(np.linalg.norm(query))
        if self._metric == "cosine":
            query /= length
        with np.errstate(over="ignore", invalid="ignore"):
            about = -(self._matrix[:size] @ query.astype("<f4")).astype(np.float64)
        if self._metric == "cosine":
            about, margin = 1 + about, np.full(size, self._error)
        elif self._metric == "dot":
            margin = self._error * lengths * length + _TINY
        else:  # squares of distances
            about, margin = lengths**2 + 2 * about + length**2, self._error * (lengths + length) ** 2 + _TINY
        if not np.isfinite(about).all():
            return self._labels, inf
        reach = float(np.partition(about + margin, count - 1)[count - 1])
        labels = [self._labels[row] for row in np.flatnonzero(about - margin <= reach)]
        return labels, sqrt(max(reach, 0.0)) if self._metric == "euclidean" else reach
