"""Resident ordered tables with index terms, and views of them as of a moment.

A ``SpaceTables`` holds one space in memory. Ordered keys are merged at the first scan after a write, so writes pay for
dictionaries only. A snapshot copies nothing: while one is open, each write leaves it the record that it replaced (an
undo overlay). Promises: a view shows one committed state; writers never wait for readers longer than one page.
Thread-safe through the lock of its space. Knows no bodies and no disk.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from holdfast.backend import StagedSpace
from holdfast.errors import CorruptionError
from holdfast.model import Change, Cursor, Erasure, Head, Header, JournalRow, Page, Record, Want

T = TypeVar("T", bound=tuple[Any, ...])

INSERTED_ONE_BY_ONE = 16
"""Up to this many waiting changes are inserted singly; more are merged by one sort (nearly linear: two runs)."""


class OrderedItems(Generic[T]):
    """A sorted set of tuples that takes changes at once and sorts them when it is next read."""

    __slots__ = ("_items", "_waiting")

    def __init__(self) -> None:
        self._items: list[T] = []
        self._waiting: dict[T, bool] = {}

    def add(self, item: T) -> None:
        """Add an item that is not there."""
        self._waiting[item] = True

    def remove(self, item: T) -> None:
        """Remove an item that is there."""
        self._waiting[item] = False

    def settled(self) -> list[T]:
        """Return the items in order; the list is the set's own and is not to be changed."""
        waiting, items = self._waiting, self._items
        if not waiting:
            return items
        if len(waiting) <= INSERTED_ONE_BY_ONE:
            for item, added in waiting.items():
                place = bisect_left(items, item)
                there = place < len(items) and items[place] == item
                if added and not there:
                    insort(items, item, lo=place)
                elif there and not added:
                    del items[place]
        else:
            items = [item for item in items if item not in waiting]
            items.extend(item for item, added in waiting.items() if added)
            items.sort()
            self._items = items
        self._waiting = {}
        return items


class Table:
    """The records of one kind: by key, and in the order of the keys and of each index."""

    __slots__ = ("by_key", "indexes", "keys")

    def __init__(self) -> None:
        self.by_key: dict[bytes, Record] = {}
        self.keys: OrderedItems[tuple[bytes, bytes]] = OrderedItems()
        self.indexes: dict[int, OrderedItems[tuple[bytes, bytes]]] = {}

    def put(self, record: Record | None, key: bytes) -> Record | None:
        """Set (None: remove) the record under a key, keeping the blobs it had if it brings none; return the one
        before."""
        before = self.by_key.get(key)
        if before is not None:
            for index, value in before.terms:
                self.indexes[index].remove((value, key))
        if record is None:
            if before is not None:
                del self.by_key[key]
                self.keys.remove((key, key))
            return before
        if before is None:
            self.keys.add((key, key))
        elif record.blobs is None and before.blobs:
            record = with_blobs(record, before.blobs)
        self.by_key[key] = record
        for index, value in record.terms:
            items = self.indexes.get(index)
            if items is None:
                items = self.indexes[index] = OrderedItems()
            items.add((value, key))
        return before

    def places(self, index: int | None) -> list[tuple[bytes, bytes]]:
        """Return all (value, key) of an index, or of the keys, in order."""
        items = self.keys if index is None else self.indexes.get(index)
        return [] if items is None else items.settled()


def with_blobs(record: Record, blobs: Any) -> Record:
    """Return the record with other blobs."""
    return msgspec.structs.replace(record, blobs=blobs)


def between(
    places: list[Cursor], low: bytes, high: bytes, after: Cursor | None, reverse: bool, limit: int
) -> list[Cursor]:
    """Return up to ``limit`` places with low <= value < high behind ``after``, in the order of the scan."""
    first, last = bisect_left(places, (low, b"")), bisect_left(places, (high, b""))
    if after is not None:
        if reverse:
            last = min(last, bisect_left(places, after))
        else:
            first = max(first, bisect_right(places, after))
    if reverse:
        return places[max(first, last - limit) : last][::-1]
    return places[first : min(last, first + limit)]


def page_of(places: list[Cursor], items: Sequence[Any], limit: int) -> Page:
    """Return a page; its cursor is None if fewer than asked for were found."""
    return Page(tuple(items), tuple(places), places[-1] if places and len(places) >= limit else None)


class SpaceTables:
    """One space in memory. ``lock`` guards everything; open snapshots are told what each write replaces."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.head = Head()
        self.tables: dict[int, Table] = {}
        self.latest: dict[tuple[int, bytes], tuple[int, bool]] = {}
        self.feed: OrderedItems[tuple[int, int, bytes]] = OrderedItems()
        self.journals: dict[bytes, list[JournalRow]] = {}
        self.snapshots: list[SnapshotView] = []

    def apply(self, staged: StagedSpace) -> None:
        """Make a staged group visible, all at once."""
        with self.lock:
            for erasure in staged.erasures:
                self._erase(erasure, staged.sequence)
            for kind, records in staged.writes.items():
                table = self.tables.setdefault(kind, Table())
                known = staged.before.get(kind, {})
                for key in records:
                    if key not in known and key in table.by_key:
                        raise CorruptionError(f"a new record was to be written over one that exists (kind {kind})")
            for kind, records in staged.writes.items():
                table = self.tables[kind]
                for key, record in records.items():
                    before = table.put(record, key)
                    if before is None and record is None:
                        continue
                    for snapshot in self.snapshots:
                        snapshot.replaced.setdefault(kind, {}).setdefault(key, before)
                    self._feed(kind, key, staged.sequence if record is None else record.revision, record is None)
            for run, row in staged.journal:
                self.journals.setdefault(run, []).append(row)
            self.head = Head(staged.sequence, staged.time, self.head.floor)

    def _erase(self, erasure: Erasure, sequence: int) -> None:
        for snapshot in self.snapshots:
            snapshot.keep_journals()
        if erasure.run is None:
            for kind, table in self.tables.items():
                for snapshot in self.snapshots:
                    snapshot.replaced[kind] = {**table.by_key, **snapshot.replaced.get(kind, {})}
            self._untell(list(self.latest))
            self.tables = {kind: Table() for kind in self.tables}
            self.journals = {}
            self.head = Head(self.head.sequence, self.head.time, sequence)
        elif erasure.rows is None:
            self.journals.pop(erasure.run, None)
        else:
            instead = {(revision, ordinal): entry for revision, ordinal, entry in erasure.rows}
            rows = self.journals.get(erasure.run, [])
            for place, row in enumerate(rows):
                entry = instead.get((row.revision, row.ordinal))
                if entry is not None:
                    rows[place] = JournalRow(row.revision, row.ordinal, row.time, entry, ())

    def trim(self, floor: int) -> int:
        """Tell no more of deletions up to a sequence; return how many there were."""
        with self.lock:
            told = {place: revision for place, (revision, deleted) in self.latest.items() if deleted}
            trimmed = {place: revision for place, revision in told.items() if revision <= floor}
            self._untell(list(trimmed))
            self.head = Head(self.head.sequence, self.head.time, max(self.head.floor, *trimmed.values(), 0))
            return len(trimmed)

    def is_empty(self) -> bool:
        """Return True if nothing was committed here behind the floor, and there is no record."""
        return self.head.sequence <= self.head.floor and not any(table.by_key for table in self.tables.values())

    def _untell(self, places: Iterable[tuple[int, bytes]]) -> None:
        for kind, key in places:
            before = self.latest.pop((kind, key))
            self.feed.remove((before[0], kind, key))
            for snapshot in self.snapshots:
                snapshot.changed.setdefault((kind, key), before)

    def _feed(self, kind: int, key: bytes, revision: int, deleted: bool) -> None:
        before = self.latest.get((kind, key))
        for snapshot in self.snapshots:
            snapshot.changed.setdefault((kind, key), before)
        if before is not None:
            self.feed.remove((before[0], kind, key))
        self.latest[kind, key] = (revision, deleted)
        self.feed.add((revision, kind, key))


class LiveView:
    """The newest committed state; each call sees one state of its own. Thread-safe."""

    def __init__(self, space: SpaceTables) -> None:
        self._space = space

    def head(self) -> Head:
        """See ``backend.View``."""
        return self._space.head

    def read(self, kind: int, keys: Sequence[bytes], want: Want = "records") -> list[Any]:
        """See ``backend.View``; records are shared, as they cannot be changed."""
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
        table = self._space.tables.get(kind)
        if table is None:
            return page_of([], [], limit)
        with self._space.lock:
            places = between(table.places(index), low, high, after, reverse, limit)
            return page_of(places, [table.by_key[key] for _, key in places], limit)

    def count(self, kind: int, index: int | None = None, low: bytes = b"", high: bytes = b"") -> int:
        """See ``backend.View``."""
        table = self._space.tables.get(kind)
        if table is None:
            return 0
        with self._space.lock:
            if index is None:
                return len(table.by_key)
            places = table.places(index)
            return max(0, bisect_left(places, (high, b"")) - bisect_left(places, (low, b"")))

    def changes(self, after: int, limit: int) -> list[Change]:
        """See ``backend.View``."""
        with self._space.lock:
            feed = self._space.feed.settled()
            first = bisect_left(feed, (after + 1,))
            return [
                Change(revision, kind, key, self._space.latest[kind, key][1])
                for revision, kind, key in feed[first : first + limit]
            ]

    def journal(self, run: bytes, after: tuple[int, int], limit: int) -> list[JournalRow]:
        """See ``backend.View``."""
        with self._space.lock:
            rows = self._journals().get(run, [])
            first = bisect_right(rows, after, key=_row_place)
            return rows[first : first + limit]

    def journaled_runs(self) -> list[bytes]:
        """See ``backend.View``."""
        with self._space.lock:
            return sorted(self._journals())

    def last_journaled(self, run: bytes) -> int | None:
        """See ``backend.View``."""
        rows = self._journals().get(run)
        return rows[-1].time if rows else None

    def in_journal(self, run: bytes, revision: int) -> bool:
        """See ``backend.View``."""
        rows = self._journals().get(run, [])
        place = bisect_left(rows, revision, key=_row_revision)
        return place < len(rows) and rows[place].revision == revision

    def _journals(self) -> dict[bytes, list[JournalRow]]:
        return self._space.journals


def _row_place(row: JournalRow) -> tuple[int, int]:
    return row.revision, row.ordinal


def _row_revision(row: JournalRow) -> int:
    return row.revision


class SnapshotView(LiveView):
    """The state at the moment it was opened, until ``close``; what writers replace meanwhile is kept for it."""

    def __init__(self, space: SpaceTables) -> None:
        super().__init__(space)
        self.replaced: dict[int, dict[bytes, Record | None]] = {}
        self.changed: dict[tuple[int, bytes], tuple[int, bool] | None] = {}
        self._kept: dict[bytes, list[JournalRow]] | None = None
        with space.lock:
            self._head = space.head
            space.snapshots.append(self)

    def keep_journals(self) -> None:
        """Keep the journals as they are, before something of them is erased. Called under the lock."""
        if self._kept is None:
            self._kept = {run: list(rows) for run, rows in self._space.journals.items()}

    def _journals(self) -> dict[bytes, list[JournalRow]]:
        return self._space.journals if self._kept is None else self._kept

    def close(self) -> None:
        """Let go of the state."""
        with self._space.lock:
            self._space.snapshots.remove(self)

    def head(self) -> Head:
        """See ``backend.View``."""
        return self._head

    def read(self, kind: int, keys: Sequence[bytes], want: Want = "records") -> list[Any]:
        """See ``backend.View``."""
        with self._space.lock:
            replaced = self.replaced.get(kind)
            live = super().read(kind, keys, want)
            if not replaced:
                return live
            return [replaced.get(key, record) for key, record in zip(keys, live, strict=True)]

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
        """See ``backend.View``: the live places that were not replaced, merged with the replaced ones."""
        with self._space.lock:
            replaced = self.replaced.get(kind)
            if not replaced:
                return super().scan(kind, index, low, high, after=after, reverse=reverse, limit=limit, want=want)
            table = self._space.tables[kind]
            hidden = len(_places_of([table.by_key.get(key) for key in replaced], index))
            live = between(table.places(index), low, high, after, reverse, limit + hidden)
            old = between(sorted(_places_of(replaced.values(), index)), low, high, after, reverse, limit)
            merged = sorted([place for place in live if place[1] not in replaced] + old, reverse=reverse)[:limit]
            items = [replaced[key] if key in replaced else table.by_key[key] for _, key in merged]
            return page_of(merged, items, limit)

    def count(self, kind: int, index: int | None = None, low: bytes = b"", high: bytes = b"") -> int:
        """See ``backend.View``."""
        with self._space.lock:
            count = super().count(kind, index, low, high)
            table = self._space.tables.get(kind)
            for key, before in self.replaced.get(kind, {}).items():
                now = table.by_key.get(key) if table else None
                for record, sign in ((before, 1), (now, -1)):
                    if index is None:
                        count += sign * (record is not None)
                    else:
                        count += sign * sum(low <= value < high for value, _ in _places_of([record], index))
            return count

    def changes(self, after: int, limit: int) -> list[Change]:
        """See ``backend.View``; keys that were written since the snapshot are told as they were then."""
        with self._space.lock:
            found = super().changes(after, limit)
            found = [change for change in found if change.revision <= self._head.sequence]
            for (kind, key), before in self.changed.items():
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

    def last_journaled(self, run: bytes) -> int | None:
        """See ``backend.View``."""
        with self._space.lock:
            rows = self._journals().get(run, [])
            behind = bisect_right(rows, self._head.sequence, key=_row_revision)
            return rows[behind - 1].time if behind else None

    def in_journal(self, run: bytes, revision: int) -> bool:
        """See ``backend.View``."""
        return revision <= self._head.sequence and super().in_journal(run, revision)


def _places_of(records: Iterable[Header | None], index: int | None) -> list[Cursor]:
    places: list[Cursor] = []
    for record in records:
        if record is None:
            continue
        if index is None:
            places.append((record.key, record.key))
        else:
            places += [(value, record.key) for number, value in record.terms if number == index]
    return places
