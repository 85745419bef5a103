"""Views of resident tables: the newest state, and the state of a moment while writers go on.

Promises: each call of a ``LiveView`` sees one committed state; all calls of a ``SnapshotView`` see the same one;
writers never wait for readers longer than one page. Thread-safe through the lock of the space.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from holdfast.model import BlobSource, Change, Cursor, Head, JournalRow, Page, Record, Want, refs_of
from holdfast.tables import (
    Overlay,
    SpaceTables,
    between,
    page_of,
    places_of,
    resolved,
    row_place,
    with_blobs,
)


class LiveView:
    """The newest committed state; each call sees one state of its own. Thread-safe."""

    def __init__(self, space: SpaceTables) -> None:
        self._space = space

    def head(self) -> Head:
        """See ``backend.View``."""
        return self._space.head

    def read(self, kind: int, keys: Sequence[bytes], want: Want = "records") -> list[Any]:
        """See ``backend.View``; records are shared, as they cannot be changed."""
        found = self.read_stored(kind, keys)
        if self._space.sources is None:
            return found
        if want != "blobs":
            return [_without_refs(record) for record in found]
        with self._space.lock:
            found, sources = self.read_stored(kind, keys), self.sources()
        return [_resolved(record, sources) for record in found]

    def sources(self) -> Mapping[int, BlobSource]:
        """The files with blobs of the records that are read under the same lock."""
        return self._space.sources or {}

    def read_stored(self, kind: int, keys: Sequence[bytes]) -> list[Any]:
        """As ``read``, with references where values of blobs are elsewhere."""
        table = self._space.tables.get(kind)
        if table is None:
            return [None] * len(keys)
        if len(keys) == 1:
            return [table.by_key.get(keys[0])]
        with self._space.lock:
            return [table.by_key.get(key) for key in keys]

    def scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        *,
        after: Cursor | None = None,
        reverse: bool = False,
        limit: int = 100,
        want: Want = "records",
    ) -> Page:
        """See ``backend.View``."""
        with self._space.lock:
            page, sources = self._scan(kind, index, low, high, after, reverse, limit), self.sources()
        if self._space.sources is None:
            return page
        if want != "blobs":
            return msgspec.structs.replace(page, items=tuple([_without_refs(record) for record in page.items]))
        return msgspec.structs.replace(page, items=tuple([_resolved(record, sources) for record in page.items]))

    def _scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        after: Cursor | None,
        reverse: bool,
        limit: int,
    ) -> Page:
        table = self._space.tables.get(kind)
        if table is None:
            return page_of([], [], limit)
        places = table.places(index, low, high, after, reverse, limit)
        return page_of(places, [table.by_key[key] for _, key in places], limit)

    def count(self, kind: int, index: int | None = None, low: bytes = b"", high: bytes = b"") -> int:
        """See ``backend.View``."""
        table = self._space.tables.get(kind)
        if table is None:
            return 0
        with self._space.lock:
            if index is None:
                return len(table.by_key)
            return table.count(index, low, high)

    def changes(self, after: int, limit: int) -> list[Change]:
        """See ``backend.View``."""
        with self._space.lock:
            feed, tombstones = self._space.feed(), self._space.tombstones
            first = bisect_left(feed, (after + 1,))
            return [
                Change(revision, kind, key, (kind, key) in tombstones)
                for revision, kind, key in feed[first : first + limit]
            ]

    def journal(self, run: bytes, after: tuple[int, int], limit: int) -> list[JournalRow]:
        """See ``backend.View``."""
        with self._space.lock:
            rows = self._journals().get(run, [])
            first = bisect_right(rows, after, key=row_place)
            return rows[first : first + limit]

    def journaled_runs(self) -> list[bytes]:
        """See ``backend.View``."""
        with self._space.lock:
            return sorted(self._journals())

    def _journals(self) -> dict[bytes, list[JournalRow]]:
        return self._space.journals

    def last_journaled(self, run: bytes) -> int | None:
        """See ``backend.View``."""
        rows = self._journals().get(run)
        return rows[-1].time if rows else None

    def in_journal(self, run: bytes, revision: int) -> bool:
        """See ``backend.View``."""
        rows = self._journals().get(run, [])
        place = bisect_left(rows, revision, key=_row_revision)
        return place < len(rows) and rows[place].revision == revision


class StoredView(LiveView):
    """What commits are folded upon: as a ``LiveView``, but values of blobs come as they are unless they are asked for.

    So a record that brings no blobs keeps references, and nothing is read for it.
    """

    def read(self, kind: int, keys: Sequence[bytes], want: Want = "records") -> list[Any]:
        """See ``backend.View``."""
        return super().read(kind, keys, want) if want == "blobs" else self.read_stored(kind, keys)


def _without_refs(record: Record) -> Record:
    return with_blobs(record, None) if refs_of(record) else record


def _resolved(record: Record, sources: Mapping[int, BlobSource]) -> Record:
    return resolved(record, sources) if refs_of(record) else record


def _row_revision(row: JournalRow) -> int:
    return row.revision


class SnapshotView(LiveView):
    """The state at the moment it was opened, until ``close``; what writers replace meanwhile is kept for it."""

    def __init__(self, space: SpaceTables) -> None:
        super().__init__(space)
        self._overlay = Overlay()
        with space.lock:
            self._head = space.head
            space.overlays.append(self._overlay)

    def close(self) -> None:
        """Let go of the state."""
        with self._space.lock:
            self._space.overlays.remove(self._overlay)

    def head(self) -> Head:
        """See ``backend.View``."""
        return self._head

    def sources(self) -> Mapping[int, BlobSource]:
        """See ``LiveView``; those too that were given up since."""
        gone = self._overlay.sources
        return {**super().sources(), **gone} if gone else super().sources()

    def read_stored(self, kind: int, keys: Sequence[bytes]) -> list[Any]:
        """See ``LiveView``."""
        with self._space.lock:
            replaced = self._overlay.replaced.get(kind)
            live = super().read_stored(kind, keys)
            if not replaced:
                return live
            return [replaced.get(key, record) for key, record in zip(keys, live, strict=True)]

    def _scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        after: Cursor | None,
        reverse: bool,
        limit: int,
    ) -> Page:
        """The live places that were not replaced, merged with the replaced ones."""
        replaced = self._overlay.replaced.get(kind)
        if not replaced:
            return super()._scan(kind, index, low, high, after, reverse, limit)
        table = self._space.tables[kind]
        old = between(self._overlay.places(kind, index), low, high, after, reverse, limit)
        last = old[-1] if len(old) == limit else None  # nothing behind it is on this page
        live: list[Cursor] = []
        place = after
        while len(live) < limit:
            some = table.places(index, low, high, place, reverse, limit)
            live += [one for one in some if one[1] not in replaced]
            if len(some) < limit or (last is not None and (some[-1] <= last if reverse else some[-1] >= last)):
                break
            place = some[-1]
        merged = sorted(live + old, reverse=reverse)[:limit]
        items = [replaced[key] if key in replaced else table.by_key[key] for _, key in merged]
        return page_of(merged, items, limit)

    def count(self, kind: int, index: int | None = None, low: bytes = b"", high: bytes = b"") -> int:
        """See ``backend.View``."""
        with self._space.lock:
            count = super().count(kind, index, low, high)
            table = self._space.tables.get(kind)
            for key, before in self._overlay.replaced.get(kind, {}).items():
                now = table.by_key.get(key) if table else None
                for record, sign in ((before, 1), (now, -1)):
                    if index is None:
                        count += sign * (record is not None)
                    else:
                        count += sign * sum(low <= value < high for value, _ in places_of(record, index))
            return count

    def changes(self, after: int, limit: int) -> list[Change]:
        """See ``backend.View``; keys that were written since the snapshot are told as they were then."""
        with self._space.lock:
            found = super().changes(after, limit)
            found = [change for change in found if change.revision <= self._head.sequence]
            for (kind, key), before in self._overlay.changed.items():
                if before is not None and before[0] > after:
                    found.append(Change(before[0], kind, key, before[1]))
            return sorted(found, key=lambda change: (change.revision, change.kind, change.key))[:limit]

    def journal(self, run: bytes, after: tuple[int, int], limit: int) -> list[JournalRow]:
        """See ``backend.View``."""
        rows = super().journal(run, after, limit)
        return [row for row in rows if row.revision <= self._head.sequence]

    def journaled_runs(self) -> list[bytes]:
        """See ``backend.View``."""
        with self._space.lock:
            return sorted(run for run, rows in self._journals().items() if rows[0].revision <= self._head.sequence)

    def _journals(self) -> dict[bytes, list[JournalRow]]:
        kept = self._overlay.journals
        return self._space.journals if kept is None else kept

    def last_journaled(self, run: bytes) -> int | None:
        """See ``backend.View``."""
        with self._space.lock:
            rows = self._journals().get(run, [])
            behind = bisect_right(rows, self._head.sequence, key=_row_revision)
            return rows[behind - 1].time if behind else None

    def in_journal(self, run: bytes, revision: int) -> bool:
        """See ``backend.View``."""
        return revision <= self._head.sequence and super().in_journal(run, revision)
