"""Resident tables: ordered sets that sort late, and snapshots by undo, against plain models."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.backend import StagedSpace
from holdfast.errors import CorruptionError
from holdfast.model import Entry, Erasure, Head, JournalRow, Record
from holdfast.ordered import INSERTED_ONE_BY_ONE, OrderedItems
from holdfast.tables import SpaceTables, between
from holdfast.views import LiveView, SnapshotView

ITEMS = st.tuples(st.binary(max_size=2), st.binary(max_size=1))


@given(st.lists(st.lists(st.tuples(st.booleans(), ITEMS), max_size=2 * INSERTED_ONE_BY_ONE), max_size=5))
def test_ordered_items_are_a_sorted_set(rounds):
    items, model = OrderedItems(), set()
    for changes in rounds:
        for add, item in changes:
            if add and item not in model:
                items.add(item)
                model.add(item)
            elif not add and item in model:
                items.remove(item)
                model.remove(item)
        assert items.settled() == sorted(model) == items.settled()


@given(st.sets(ITEMS), st.sets(ITEMS))
def test_items_that_were_loaded_are_sorted_when_they_are_first_asked_for(first, second):
    items = OrderedItems()
    items.load(first - second)
    items.load(second)
    assert items.settled() == sorted(first | second) == items.settled()


def test_records_that_were_loaded_are_as_those_that_were_written():
    written, loaded = SpaceTables(), SpaceTables()
    records = [record(bytes([key]), 1, (1, b"x"), (2, bytes([9 - key]))) for key in (3, 1, 2)]
    written.apply(staged(written, {one.key: one for one in records}, 1))
    loaded.table(1).load(records[:1])
    loaded.table(1).load(records[1:])
    loaded.head = written.head
    assert everything(LiveView(loaded)) == everything(LiveView(written))
    loaded.apply(staged(loaded, {bytes([2]): None}, 2))
    written.apply(staged(written, {bytes([2]): None}, 2))
    assert everything(LiveView(loaded)) == everything(LiveView(written))


def test_a_commit_that_is_applied_again_changes_nothing():
    """So an interrupt in the midst of it is made good by doing it once more."""
    tables = SpaceTables()
    tables.apply(staged(tables, {b"gone": record(b"gone", 1)}, 1))
    row = JournalRow(2, 0, 2, Entry(1, 1, b""), ())
    group = staged(tables, {b"k": record(b"k", 2, (1, b"x")), b"gone": None}, 2)
    group.journal.append((b"run", row))
    tables.apply(group)
    once = everything(LiveView(tables)), LiveView(tables).journal(b"run", (0, -1), 9)
    tables.apply(group)
    assert (everything(LiveView(tables)), LiveView(tables).journal(b"run", (0, -1), 9)) == once
    assert once[1] == [row]


@given(
    st.sets(ITEMS, max_size=20), st.binary(max_size=2), st.binary(max_size=2), st.none() | ITEMS, st.booleans(),
    st.integers(1, 8),
)  # fmt: skip
def test_between(items, low, high, after, reverse, limit):
    expected = sorted((item for item in items if low <= item[0] < high), reverse=reverse)
    if after is not None:
        expected = [item for item in expected if (item < after if reverse else item > after)]
    assert between(sorted(items), low, high, after, reverse, limit) == expected[:limit]


def record(key, revision, *terms):
    return Record(key, 1, revision, 1, 1, None, 1, terms, b"{}")


def staged(tables, writes, sequence):
    before = {1: {key: tables.tables[1].by_key.get(key) if 1 in tables.tables else None for key in writes}}
    return StagedSpace("s", tables.head, sequence, sequence, {1: writes}, before, [], set())


KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
WRITES = st.dictionaries(KEYS, st.none() | st.lists(st.sampled_from([b"x", b"y", b"z"]), unique=True), min_size=1)


def everything(view):
    return (
        view.head(),
        [None if one is None else one.revision for one in view.read(1, [b"a", b"b", b"c", b"d"])],
        [view.read(1, [key]) for key in (b"a", b"b")],
        [
            view.scan(1, index, low, high, after=after, reverse=reverse, limit=limit)
            for index in (None, 1)
            for low, high in ((b"", b"\xff"), (b"b", b"y"))
            for reverse in (False, True)
            for after in (None, (b"b", b"b"), (b"c", b"c") if index is None else (b"y", b"b"))
            for limit in (1, 2, 9)
        ],
        [view.count(1, index, low, high) for index in (None, 1) for low, high in ((b"", b"\xff"), (b"b", b"y"))],
        [view.changes(after, limit) for after in (0, 1, 3) for limit in (1, 2, 9)],
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), WRITES), max_size=8))
def test_a_snapshot_never_changes(history):
    tables = SpaceTables()
    opened = []
    for sequence, (snapshot, writes) in enumerate(history, 1):
        if snapshot:
            view = SnapshotView(tables)
            seen = everything(view)
            assert seen == everything(LiveView(tables))
            opened.append((view, seen))
        made = {
            key: None if terms is None else record(key, sequence, *((1, term) for term in terms))
            for key, terms in writes.items()
        }
        tables.apply(staged(tables, made, sequence))
        for view, seen in opened:
            assert everything(view) == seen
    for view, _ in opened:
        view.close()
    assert tables.overlays == []


def test_a_record_that_brings_no_blobs_keeps_those_it_had():
    tables = SpaceTables()
    first = msgspec.structs.replace(record(b"k", 1), blobs=(("b", b"1"),))
    for sequence, one in enumerate((first, record(b"k", 2)), 1):
        tables.apply(staged(tables, {b"k": one}, sequence))
    assert LiveView(tables).read(1, [b"k"])[0].blobs == (("b", b"1"),)


def test_a_new_record_is_not_written_over_another():
    tables = SpaceTables()
    tables.apply(staged(tables, {b"k": record(b"k", 1)}, 1))
    with pytest.raises(CorruptionError):
        tables.check(StagedSpace("s", Head(), 2, 2, {1: {b"k": record(b"k", 2)}}, {}, [], set()))
    assert tables.head == Head(1, 1)


def test_a_snapshot_outlives_erasures_and_trims():
    space = SpaceTables()
    entry = Entry(1, 1, b"")
    rows = [(b"r", JournalRow(1, place, 1, entry, ())) for place in range(2)]
    record = Record(b"k", 1, 1, 1, 1, None, 1, (), b"")
    space.apply(StagedSpace("s", Head(), 1, 1, {1: {b"k": record, b"d": record}}, {}, rows, set()))
    space.apply(StagedSpace("s", Head(1, 1), 2, 2, {1: {b"d": None}}, {1: {b"d": record}}, [], set()))
    seen, live = SnapshotView(space), LiveView(space)
    told = seen.changes(0, 9)
    scrub = Erasure(b"r", ((1, 0, Entry(7, 1, b"x")),))
    space.apply(StagedSpace("s", Head(2, 2), 3, 3, {}, {}, [], set(), [scrub, Erasure(b"none", ((1, 0, entry),))]))
    assert [row.entry.payload for row in live.journal(b"r", (0, -1), 9)] == [b"x", b""]
    assert space.trim(1) == 0 and live.head().floor == 0 and space.trim(9) == 1 and live.head().floor == 2
    space.apply(StagedSpace("s", Head(3, 3), 4, 4, {}, {}, [], set(), [Erasure(b"r"), Erasure(b"r")]))
    assert live.journaled_runs() == [] and [change.key for change in live.changes(0, 9)] == [b"k"]
    assert not space.is_empty()
    space.apply(StagedSpace("s", Head(4, 4), 5, 5, {}, {}, [], set(), [Erasure(None)]))
    assert space.is_empty() and live.head() == Head(5, 5, 5) and live.changes(0, 9) == [] and live.count(1) == 0
    assert [row.entry.payload for row in seen.journal(b"r", (0, -1), 9)] == [b"", b""]
    assert (seen.journaled_runs(), seen.last_journaled(b"r"), seen.in_journal(b"r", 1)) == ([b"r"], 1, True)
    assert seen.changes(0, 9) == told and seen.read(1, [b"k", b"d"]) == [record, None] and seen.count(1) == 1
    seen.close()


@pytest.mark.parametrize("looked_at", [False, True])
def test_what_is_removed_goes_from_the_order_of_keys_too(looked_at):
    tables = SpaceTables()
    tables.apply(staged(tables, {b"a": record(b"a", 1), b"b": record(b"b", 1)}, 1))
    if looked_at:
        assert len(LiveView(tables).scan(1, None, b"", b"\xff").items) == 2
    tables.apply(staged(tables, {b"a": None}, 2))
    assert [one.key for one in LiveView(tables).scan(1, None, b"", b"\xff").items] == [b"b"]
