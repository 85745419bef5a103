"""The door to usearch: a graph of vectors in which the near ones are found without looking at all (HNSW: Malkov &
Yashunin, 2016).

Needs the extra ``vector``. A graph knows numbers ("labels") and float32 vectors. It may miss a near one, so whoever
asks takes more than needed and compares exactly. Not for two threads at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import inf
from typing import Any

from holdfast.errors import SerializationError

_METRICS = {"cosine": "cos", "dot": "ip", "euclidean": "l2sq"}
_NEIGHBOURS = 16
_LOOKED_AT_ADDING = 128
_LOOKED_AT_LEAST = 256
"""How many candidates a search keeps while it walks; more find more, and take longer. """


@cache
def _library() -> Any:
    """Return (numpy, usearch.index), or None if the extra is not installed; imported when a graph is first needed."""
    try:
        import numpy
        from usearch import index
    except ImportError:
        return None
    return numpy, index


def is_available() -> bool:
    """Return True if the extra ``vector`` is installed."""
    return _library() is not None


class Graph:
    """The graph of one collection."""

    is_exact = False

    def __init__(self, dimension: int, metric: str) -> None:
        self._numpy, library = _library()
        self._dimension = dimension
        self._metric = metric
        self._graph = library.Index(
            ndim=dimension,
            metric=_METRICS[metric],
            dtype="f32",
            connectivity=_NEIGHBOURS,
            expansion_add=_LOOKED_AT_ADDING,
            expansion_search=_LOOKED_AT_LEAST,
        )

    def add(self, labels: Sequence[int], vectors: Sequence[bytes]) -> None:
        """Add vectors under labels that are new; several threads help, so the graph may differ from time to time."""
        if labels:
            self._graph.add(self._numpy.array(labels, dtype="uint64"), self._matrix(vectors))

    def remove(self, labels: Sequence[int]) -> None:
        """Remove what is there; its place is used again."""
        if labels:
            self._graph.remove(self._numpy.array(labels, dtype="uint64"))

    def nearest(self, vector: bytes, count: int) -> tuple[list[int], float]:
        """Return about the ``count`` labels nearest to a vector, and infinity: see ``Flat.nearest``."""
        self._graph.expansion_search = max(_LOOKED_AT_LEAST, 2 * count)
        found = self._graph.search(self._matrix([vector])[0], count, threads=1)
        labels: list[int] = found.keys.tolist()
        return labels, inf

    def _matrix(self, vectors: Sequence[bytes]) -> Any:
        """Return vectors as rows; for cosine of length 1, as usearch computes in float32, which is soon too small."""
        np = self._numpy
        matrix = np.frombuffer(b"".join(vectors), dtype="<f4").reshape(len(vectors), self._dimension)
        if self._metric != "cosine":
            return matrix
        wide = matrix.astype(np.float64)
        return (wide / np.linalg.norm(wide, axis=1)[:, None]).astype("<f4")

    def save(self) -> bytes:
        """Return the graph as bytes, in the format of usearch; SerializationError."""
        try:
            return bytes(self._graph.save())
        except Exception as error:  # usearch has no error of its own
            raise SerializationError(f"usearch cannot write the graph: {error}") from error

    def load(self, data: bytes) -> None:
        """Become the graph that was saved; SerializationError if usearch does not take it (make a new graph then)."""
        try:
            self._graph.load(data)
        except Exception as error:  # usearch has no error of its own
            raise SerializationError(f"usearch cannot read the graph: {error}") from error
