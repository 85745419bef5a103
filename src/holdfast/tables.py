"""Resident ordered tables with index terms.

A ``SpaceTables`` holds one space in memory. Ordered keys are merged at the first scan after a write, so writes pay for
dictionaries only. A snapshot (``views.py``) copies nothing: while one is open, each write leaves it the record that it
replaced (an undo overlay). Thread-safe through the lock of its space. Knows no bodies and no disk.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

from holdfast.backend import StagedSpace
from holdfast.errors import CorruptionError
from holdfast.model import (
    EXPIRY_INDEX,
    BlobRef,
    Blobs,
    BlobSource,
    Cursor,
    Erasure,
    Head,
    Header,
    JournalRow,
    Page,
    Record,
    Touched,
    Written,
)
from holdfast.ordered import OrderedItems
from holdfast.primitive import EntryType, Moment


class Table:
    """The records of one kind: by key, and - from when it is first asked for - in the order of the keys or an index.

    So a store that is opened pays for no order that nobody looks at. The index of expiry is kept from the beginning,
    because every count looks at it, and few records are in it.
    """

    __slots__ = ("_indexes", "_keys", "by_key")

    def __init__(self) -> None:
        self.by_key: dict[bytes, Record] = {}
        self._keys: OrderedItems[bytes] | None = None
        self._indexes: dict[int, OrderedItems[Cursor]] = {EXPIRY_INDEX: OrderedItems()}

    def put(self, record: Record | None, key: bytes) -> None:
        """Set (None: remove) the record under a key, keeping the blobs it had if it brings none.

        What is under the key changes last, so that an interrupt is made good by doing it again.
        """
        before = self.by_key.get(key)
        indexes = self._indexes
        if before is not None:
            for index, value in before.terms:
                if index in indexes:
                    indexes[index].remove((value, key))
        if record is None:
            if self._keys is not None:
                self._keys.remove(key)
            self.by_key.pop(key, None)
            return
        if before is None:
            if self._keys is not None:
                self._keys.add(key)
        elif record.blobs is None and before.blobs:
            record = with_blobs(record, before.blobs)
        for index, value in record.terms:
            if index in indexes:
                indexes[index].add((value, key))
        self.by_key[key] = record

    def load(self, records: Sequence[Record]) -> None:
        """Add records whose keys are not there, before anything else is done."""
        by_key, expiries = self.by_key, self._indexes[EXPIRY_INDEX]
        for record in records:
            by_key[record.key] = record
            if record.expires_at is not None:
                expiries.load([(value, record.key) for index, value in record.terms if index == EXPIRY_INDEX])

    def places(
        self, index: int | None, low: bytes, high: bytes, after: Cursor | None, reverse: bool, limit: int
    ) -> list[Cursor]:
        """Return up to ``limit`` places with low <= value < high behind ``after``, in the order of the scan."""
        if index is not None:
            return between(self._order(index), low, high, after, reverse, limit)
        keys = self._key_order()
        first, last = bisect_left(keys, low), bisect_left(keys, high)
        if after is not None:
            if reverse:
                last = min(last, bisect_left(keys, after[1]))
            else:
                first = max(first, bisect_right(keys, after[1]))
        if reverse:
            return [(key, key) for key in keys[max(first, last - limit) : last][::-1]]
        return [(key, key) for key in keys[first : min(last, first + limit)]]

    def count(self, index: int, low: bytes, high: bytes) -> int:
        """Return how many values of an index are in a range."""
        places = self._order(index)
        return max(0, bisect_left(places, (high, b"")) - bisect_left(places, (low, b"")))

    def _key_order(self) -> list[bytes]:
        if self._keys is None:
            self._keys = OrderedItems()
            self._keys.load(self.by_key)
        return self._keys.settled()

    def _order(self, index: int) -> list[Cursor]:
        items = self._indexes.get(index)
        if items is None:
            items = OrderedItems()
            items.load(
                [(value, key) for key, one in self.by_key.items() for number, value in one.terms if number == index]
            )
            self._indexes[index] = items
        return items.settled()


def with_blobs(record: Record, blobs: Any) -> Record:
    """Return the record with other blobs."""
    return msgspec.structs.replace(record, blobs=blobs)


def resolved(record: Record, sources: Mapping[int, BlobSource]) -> Record:
    """Return the record with all values of its blobs, read from where they are."""
    blobs: Any = record.blobs
    return with_blobs(
        record,
        tuple([(name, sources[value.file].load(value) if type(value) is BlobRef else value) for name, value in blobs]),
    )


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


class Overlay:
    """What has been written since a snapshot was opened, as it was then: records, and lines of the change feed.

    ``journals`` are all of them as they were, once something of them has been erased; None before. ``sources`` are the
    blob files that were given up since; a record that was replaced may need them.
    """

    __slots__ = ("_ordered", "changed", "journals", "replaced", "sources")

    def __init__(self) -> None:
        self._ordered: dict[tuple[int, int | None], tuple[dict[bytes, Record | None], int, OrderedItems[Cursor]]] = {}
        self.replaced: dict[int, dict[bytes, Record | None]] = {}
        self.changed: dict[tuple[int, bytes], tuple[int, bool] | None] = {}
        self.journals: dict[bytes, list[JournalRow]] | None = None
        self.sources: dict[int, BlobSource] = {}

    def places(self, kind: int, index: int | None) -> list[Cursor]:
        """Return the places, in an index or by key, that what was replaced had, in order; asking again costs little."""
        replaced = self.replaced.get(kind, {})
        known, seen, items = self._ordered.get((kind, index), (replaced, 0, OrderedItems()))
        if known is not replaced:  # all of them were, at once
            seen, items = 0, OrderedItems()
        for record in islice(replaced.values(), seen, None):  # they are never changed, and new ones come last
            for place in places_of(record, index):
                items.add(place)
        self._ordered[kind, index] = replaced, len(replaced), items
        return items.settled()


def places_of(record: Header | None, index: int | None) -> list[Cursor]:
    """Return the places that a record has in an index, or by key."""
    if record is None:
        return []
    if index is None:
        return [(record.key, record.key)]
    return [(value, record.key) for number, value in record.terms if number == index]


class SpaceTables:
    """One space in memory. ``lock`` guards everything; open snapshots are told what each write replaces.

    ``sources`` are the files, by number, to which values of blobs may have been moved; None as long as there were none.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.head = Head()
        self.tables: dict[int, Table] = {}
        self.tombstones: dict[tuple[int, bytes], int] = {}
        self.journals: dict[bytes, list[JournalRow]] = {}
        self.overlays: list[Overlay] = []
        self.sources: Mapping[int, BlobSource] | None = None
        self._feed: OrderedItems[tuple[int, int, bytes]] | None = None

    def table(self, kind: int) -> Table:
        """Return the table of a kind, made if there is none."""
        table = self.tables.get(kind)
        if table is None:
            table = self.tables[kind] = Table()
        return table

    def check(self, staged: StagedSpace) -> None:
        """CorruptionError if what is new by its making is there already."""
        for kind, records in staged.writes.items():
            by_key, known = self.table(kind).by_key, staged.before.get(kind, {})
            for key in records:
                if key not in known and key in by_key:
                    raise CorruptionError(f"a new record was to be written over one that exists (kind {kind})")

    def apply(self, staged: StagedSpace) -> None:
        """Make a staged group visible, all at once. To do it again changes nothing: so an interrupt is made good."""
        with self.lock:
            for erasure in staged.erasures:
                self.erase(erasure, staged.sequence)
            for kind, records in staged.writes.items():
                table = self.table(kind)
                for key, record in records.items():
                    self.put(kind, table, key, record, staged.sequence)
            for run, row in staged.journal:
                rows = self.journals.setdefault(run, [])
                if not rows or row_place(rows[-1]) < row_place(row):
                    rows.append(row)
            self.head = Head(staged.sequence, staged.time, self.head.floor)

    def erase(self, erasure: Erasure, sequence: int) -> None:
        """Take away what a commit erases beside records; to do it again changes nothing."""
        for overlay in self.overlays:
            if overlay.journals is None:
                overlay.journals = {run: list(rows) for run, rows in self.journals.items()}
        if erasure.run is None:
            for kind, table in self.tables.items():
                for overlay in self.overlays:
                    overlay.replaced[kind] = {**table.by_key, **overlay.replaced.get(kind, {})}
            for overlay in self.overlays:
                self._tell_all(overlay)
            self.tables = {kind: Table() for kind in self.tables}
            self.journals = {}
            self.tombstones = {}
            self._feed = None
            self.head = Head(self.head.sequence, self.head.time, sequence)
        elif erasure.rows is None:
            self.journals.pop(erasure.run, None)
        else:
            instead = {(revision, ordinal): entry for revision, ordinal, entry in erasure.rows}
            rows = self.journals.get(erasure.run, [])
            for place, row in enumerate(rows):
                entry = instead.get(row_place(row))
                if entry is not None:
                    rows[place] = JournalRow(row.revision, row.ordinal, row.time, entry, ())

    def _tell_all(self, overlay: Overlay) -> None:
        for kind, table in self.tables.items():
            for key, record in table.by_key.items():
                overlay.changed.setdefault((kind, key), (record.revision, False))
        for place, revision in self.tombstones.items():
            overlay.changed.setdefault(place, (revision, True))

    def trim(self, floor: int) -> int:
        """Tell no more of deletions up to a sequence; return how many there were."""
        with self.lock:
            trimmed = {place: revision for place, revision in self.tombstones.items() if revision <= floor}
            for place, revision in trimmed.items():
                del self.tombstones[place]
                if self._feed is not None:
                    self._feed.remove((revision, *place))
                for overlay in self.overlays:
                    overlay.changed.setdefault(place, (revision, True))
            self.head = Head(self.head.sequence, self.head.time, max(self.head.floor, *trimmed.values(), 0))
            return len(trimmed)

    def is_empty(self) -> bool:
        """Return True if nothing was committed here behind the floor, and there is no record."""
        return self.head.sequence <= self.head.floor and not any(table.by_key for table in self.tables.values())

    def fold(self, kind: int, entry_type: EntryType, payload: Any, at: Moment) -> tuple[Touched, Written]:
        """Return what an entry touches, as it sees it - what has expired is absent - and what it makes of it."""
        by_key, now = self.table(kind).by_key, 0 if entry_type.any_kind else at.now  # nothing has expired at 0
        touched: Touched = {}
        for key in entry_type.keys(payload):
            record = by_key.get(key)
            if record is not None and record.expires_at is not None and record.expires_at <= now:
                record = None
            touched[key] = record
        written = entry_type.fold(payload, touched, at)
        for key, after in written.items():
            if after is not None and after.blobs is None and touched.get(key) is None and key in by_key:
                written[key] = with_blobs(after, ())  # made upon nothing: what stands there has expired
        return touched, written

    def publish(self, kind: int, written: Written, head: Head) -> None:
        """Make what one entry wrote visible, all at once; to do it again changes nothing."""
        with self.lock:
            table = self.table(kind)
            for key, record in written.items():
                self.put(kind, table, key, record, head.sequence)
            self.head = head

    def put(self, kind: int, table: Table, key: bytes, record: Record | None, sequence: int) -> None:
        """Set or remove (at the commit ``sequence``) one record, and tell the change feed and the snapshots.

        They are told first, of what stands there now: so an interrupt is made good by doing it again.
        """
        before, place = table.by_key.get(key), (kind, key)
        deleted_at = None
        if record is not None:
            deleted_at = self.tombstones.get(place) if self.tombstones else None
            sequence = record.revision
        elif before is None:
            return
        else:
            self.tombstones[place] = sequence
        if self.overlays:
            told = None
            if before is not None:
                told = (before.revision, False)
            elif deleted_at is not None:
                told = (deleted_at, True)
            for overlay in self.overlays:
                overlay.replaced.setdefault(kind, {}).setdefault(key, before)
                overlay.changed.setdefault(place, told)
        if self._feed is not None:
            if before is not None:
                self._feed.remove((before.revision, kind, key))
            if deleted_at is not None:
                self._feed.remove((deleted_at, kind, key))
            self._feed.add((sequence, kind, key))
        table.put(record, key)
        if deleted_at is not None:
            del self.tombstones[place]

    def untell(self, place: tuple[int, bytes], deleted_at: int | None) -> None:
        """Tell of a deletion as before the commit that made what it has now deleted: at a revision, or not at all."""
        told = self.tombstones.pop(place)
        if self._feed is not None:
            self._feed.remove((told, *place))
        if deleted_at is not None:
            self.tombstones[place] = deleted_at
            if self._feed is not None:
                self._feed.add((deleted_at, *place))

    def move_blobs(self, kind: int, key: bytes, before: Blobs | None, after: Blobs | None) -> None:
        """Put the same blobs in another form into the record that has them, if there still is one."""
        table = self.tables.get(kind)
        record = table.by_key.get(key) if table is not None else None
        if table is not None and record is not None and record.blobs is before:
            table.by_key[key] = with_blobs(record, after)

    def move_sources(self, sources: Mapping[int, BlobSource], gone: Mapping[int, BlobSource]) -> None:
        """Take other files for blobs than before; ``gone`` are those that only open snapshots may still need."""
        with self.lock:
            self.sources = sources
            for overlay in self.overlays:
                overlay.sources.update(gone)

    def feed(self) -> list[tuple[int, int, bytes]]:
        """Return (revision, kind, key) of the newest change of each key, in order; made when it is first asked for."""
        if self._feed is None:
            self._feed = OrderedItems()
            for kind, table in self.tables.items():
                for key, record in table.by_key.items():
                    self._feed.add((record.revision, kind, key))
            for (kind, key), revision in self.tombstones.items():
                self._feed.add((revision, kind, key))
        return self._feed.settled()


def row_place(row: JournalRow) -> tuple[int, int]:
    """Return where a row stands in the journal of its run."""
    return row.revision, row.ordinal
