"""Text search: catch the index up, rank, filter, mark.

A search first catches the index up to the commit that was acknowledged when it began, through the change feed; where
that is not possible (a store open for reading only), it says how many commits it is behind. Filters are applied before
the cut to ``limit``. The score of a hit is its BM25 (Robertson & Zaragoza, 2009) relative to the best one, so it is in
0..1.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from holdfast.backend import Backend, TextIndex
from holdfast.errors import ReadOnlyError
from holdfast.model import Record
from holdfast.primitive import Primitive
from holdfast.scope import DirectScope
from holdfast.search.feed import next_step
from holdfast.search.query import to_expression
from holdfast.selection import Selection

T = TypeVar("T")

_EXCERPT_WORDS = 32
_MATCHES_PER_PAGE = 200
MARK_OPENING, MARK_CLOSING = "**", "**"


class Hit(msgspec.Struct, Generic[T], frozen=True):
    """One result: the record, its score in 0..1, an excerpt with the matches between ``**``, and how the score came."""

    record: T
    score: float
    highlight: str
    scores: dict[str, float]


class Results(list[Hit[T]], Generic[T]):
    """The hits, best first. ``stale_by`` is how many commits the index is behind (0: none)."""

    stale_by: int = 0


class TextSearch:
    """Text search over one backend. Thread-safe."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = threading.Lock()
        self._own: TextIndex | None = None

    def _index(self) -> TextIndex:
        beside = self._backend.text_index()
        if beside is not None:
            return beside
        with self._lock:
            if self._own is None:
                from holdfast.text_index import in_memory  # late: SQLite is not needed to import Holdfast

                self._own = in_memory()
            return self._own

    def watermarks(self, space: str) -> list[int]:
        """Return how far the indexes of a space have followed its change feed, for those that have begun."""
        index, registry = self._index(), self._backend.committer.registry
        found = [index.watermark(space, primitive.id) for primitive in registry if primitive.searchable]
        return [watermark for watermark in found if watermark]

    def holding(self, space: str, primitive: Primitive, keys: Sequence[bytes]) -> list[bytes]:
        """Return those of the keys of which the index of a primitive holds a document."""
        return self._index().holding(space, primitive.id, keys)

    def catch_up(self, space: str, primitive: Primitive, progress: Callable[[int], None] | None = None) -> int:
        """Take in what was committed since the last time; return how many commits are still not in the index."""
        index, view = self._index(), self._backend.view(space)
        head = view.head()
        goal = head.sequence
        if 0 < index.watermark(space, primitive.id) < head.floor:  # it was not told of deletions
            try:
                index.clear(space, primitive.id)
            except ReadOnlyError:
                return goal
        while (after := index.watermark(space, primitive.id)) < goal:
            changes, watermark = next_step(view, after, goal)
            keys = [change.key for change in changes if change.kind == primitive.id]
            texts = [None if one is None else primitive.text(one) for one in view.read(primitive.id, keys, "records")]
            try:
                index.index(space, primitive.id, list(zip(keys, texts, strict=True)), after, watermark)
            except ReadOnlyError:
                return goal - after
            if progress is not None:
                progress(len(keys))
        return 0

    def search(
        self,
        scope: DirectScope,
        primitive: Primitive,
        query: str,
        selection: Selection,
        limit: int,
        to_record: Callable[[Record], T],
        accept: Callable[[Any], bool] | None = None,
    ) -> Results[T]:
        """Return the best ``limit`` records of a selection for a query."""
        expression = to_expression(query)
        results: Results[T] = Results()
        results.stale_by = self.catch_up(scope.space, primitive)
        found = self._best(scope, primitive, expression, selection, limit, accept)
        if not found:
            return results
        from holdfast.text_index import marked

        best = max(score for _, score in found)
        excerpts = marked(
            [primitive.text(record) or "" for record, _ in found],
            expression,
            MARK_OPENING,
            MARK_CLOSING,
            _EXCERPT_WORDS,
        )
        for (record, score), excerpt in zip(found, excerpts, strict=True):
            relative = score / best if best > 0 else 1.0
            results.append(Hit(to_record(record), relative, excerpt, {"bm25": score}))
        return results

    def _best(
        self,
        scope: DirectScope,
        primitive: Primitive,
        expression: str,
        selection: Selection,
        limit: int,
        accept: Callable[[Any], bool] | None,
    ) -> list[tuple[Record, float]]:
        """Go through the matches, best first, until enough of them pass the filters."""
        index = self._index()
        found: list[tuple[Record, float]] = []
        offset, size = 0, min(max(limit, 10), _MATCHES_PER_PAGE)
        while True:
            matches = index.match(scope.space, primitive.id, expression, size, offset)
            for record, (_, score) in zip(scope.read(primitive.id, [key for key, _ in matches]), matches, strict=True):
                if record is None or primitive.text(record) is None:
                    continue  # deleted or expired since it was indexed
                if selection.matches(record) and (accept is None or accept(record)):
                    found.append((record, score))
                    if len(found) == limit:
                        return found
            if len(matches) < size:
                return found
            offset, size = offset + size, min(size * 4, 10_000)
