"""Entries that nobody here can fold, and the numbers of primitives of users."""

from __future__ import annotations

import msgspec
import pytest

import holdfast
from holdfast.backends.log_engine.numbering import Definition, Numbering
from holdfast.backends.log_engine.refold import _no_row
from holdfast.core import Scrub
from holdfast.errors import CorruptionError, ReadOnlyError, UnsupportedError
from holdfast.faces import builtin
from holdfast.journal import rows_of
from holdfast.model import Entry, JournalRow, LostRow
from holdfast.primitive import Put, delete_entry, put_entry
from holdfast.registry import PrimitiveRegistry
from holdfast.tables import SpaceTables
from holdfast.testing.toys import CounterPrimitive, NoteDelete, NotePrimitive, NotePut, RawPrimitive, toy_registry

from .conftest import everything, work


def without(*names: str) -> PrimitiveRegistry:
    registry = PrimitiveRegistry()
    for primitive in toy_registry():
        if primitive.name not in names:
            registry.register(primitive)
    return registry


@pytest.mark.parametrize("snapshots", ["none", "before", "between", "both"])
def test_entries_of_an_unregistered_primitive_wait_and_work_again(stores, snapshots):
    """Byte for byte and in order, through recovery and snapshots; meanwhile its kind takes no writes."""
    with stores.open() as store:
        store.notes.put("first", "1")
        if snapshots in ("before", "both"):
            store._backend.make_snapshot()
        work(store, 2)
        expected = everything(store)
    for _ in range(2):
        with stores.open(registry=without("note", "counter")) as store:
            state = store._backend._state
            waiting = [(one.space, one.sequence, one.type, one.payload) for one in state.refold.opaque]
            assert len(waiting) >= 8 and len(state.refold.frozen) == 2
            assert store.status()["waiting_entries"] == len(waiting)
            assert store.kv.get("k1") == {"n": 1}  # what is known is whole
            if snapshots in ("between", "both"):
                store._backend.make_snapshot()
    with stores.open() as store:
        assert everything(store) == expected
        store.notes.put("first", "2")
        assert store.counters.increment("c") == 2
    with stores.open() as store:
        assert store.notes.get("first") == "2" and store.verify() == []


def test_a_run_with_unknown_entries_is_replayed_but_for_those_which_are_named(stores):
    with stores.open() as store, store.run("r") as run:
        run.kv.put("a", 1)
        run.notes.put("n", "text")
        run.kv.put("b", 2)
    with stores.open(registry=without("note")) as store:
        replayed = store.replay(run.id)
        assert replayed.kv.get("b") == 2 and len(replayed.unknown) == 1 and "entry type" in replayed.unknown[0]
    with stores.open() as store:
        replayed = store.replay(run.id)
        assert replayed.notes.get("n") == "text" and not replayed.unknown


class NewerNotePut(NotePut, frozen=True, gc=False):
    """A note of a later version of its package."""


class NewerNotes(NotePrimitive):
    entry_types = (msgspec.structs.replace(put_entry(0xC0, NewerNotePut), version=2), delete_entry(0xC1, NoteDelete))


def test_a_newer_version_of_an_entry_freezes_its_kind_and_everything_after_it(stores):
    newer = without("note")
    newer.register(NewerNotes())
    with stores.open() as store:
        store.notes.put("a", "old")
        store.notes.put("gone", "old")
    with stores.open(registry=newer) as store:
        backend = store._backend
        backend.committer.commit(
            holdfast.model.Batch("default", [NewerNotePut(b"0b\0\1", b"\x81\xa4text\xa1x")], "strict")
        )
        assert store.notes.delete("gone")  # known to both, but after what one of them does not know
    with stores.open() as store:
        assert store.notes.get("a") == "old" and store.notes.get("b") is None
        assert store.notes.get("gone") == "old"  # the state before what cannot be folded
        with pytest.raises(ReadOnlyError, match="note takes no writes"):
            store.notes.put("c", "lost")
        with pytest.raises(ReadOnlyError, match="note takes no writes"), store.transaction() as tx:
            tx.kv.put("k", 0)
            tx.notes.put("c", "lost")
        assert store.kv.get("k") is None
        with store.transaction() as tx:
            tx.kv.put("k", 1)
        assert store.kv.get("k") == 1
        store._backend.make_snapshot()
    with stores.open(registry=newer) as store:
        assert store.notes.get("b") == "x" and store.notes.get("a") == "old" and store.notes.get("gone") is None


class OtherPut(Put, frozen=True, gc=False):
    """An entry of a primitive that wants the numbers of ``note``."""


class Other(NotePrimitive):
    name, attribute = "other", "others"
    entry_types = (put_entry(0xC0, OtherPut),)


def test_two_packages_that_chose_the_same_numbers_do_not_collide_in_a_store(stores):
    with stores.open() as store:
        store.notes.put("a", "note")
    other = without("note")
    other.register(Other())
    with stores.open(registry=other) as store:
        put = OtherPut(b"0a\0\1", b"\x81\xa4text\xa5other")
        with store.run("r") as run:
            store._backend.committer.commit(holdfast.model.Batch("default", [put], "strict", run=run.id.bytes))
        assert store._backend._state.numbering.definitions["other"] == Definition("other", 64, (0xC2,))
        store._backend.make_snapshot()
        expected = everything(store)
    with stores.open(registry=other) as store:
        assert everything(store) == expected
        rows = store._backend.view("default").journal(run.id.bytes, (0, -1), 9)
        assert [row.entry.type for row in rows] == [0xC0]
    with stores.open() as store:
        assert store.notes.get("a") == "note"
        assert {change.kind for change in store.changes()} >= {"note"}


def test_what_names_a_kind_in_an_entry_names_it_by_the_number_of_the_store(stores):
    """Two packages of one number, and a record of the second that is swept: not one of the first."""
    with stores.open() as store:
        store.notes.put("a", "note")
    other = without("note")
    other.register(Other())
    with stores.open(registry=other) as store:
        put = OtherPut(b"0a\0\1", b"\x81\xa4text\xa5other", (), 1)
        store._backend.committer.commit(holdfast.model.Batch("default", [put], "strict"))
        assert store.space("default").sweep() == {"other": 1}
        expected = everything(store)
    with stores.open(registry=other) as store:
        assert everything(store) == expected
    with stores.open() as store:
        assert store.notes.get("a") == "note"


def test_numbers_are_given_once_and_run_out_with_a_clear_error():
    registry = toy_registry()
    numbering = Numbering(registry)
    note = numbering.missing(NotePrimitive.id)
    assert note == Definition("note", 201, (0xC0, 0xC1)) and numbering.missing(1) is None
    numbering.define(note)
    assert numbering.missing(NotePrimitive.id) is None
    assert (numbering.kind(201), numbering.own_kind(201), numbering.type(0xC1), numbering.own_type(0xC1)) == (
        201, 201, 0xC1, 0xC1)  # fmt: skip
    numbering.define(Definition("elsewhere", CounterPrimitive.id, tuple(range(0xC2, 0x100))))
    assert numbering.own_kind(CounterPrimitive.id) == CounterPrimitive.id + 256
    assert numbering.kind(CounterPrimitive.id + 256) == CounterPrimitive.id
    assert numbering.kind_of_type(0xC3) == CounterPrimitive.id + 256
    assert numbering.kind_of_type(0x12) == 1
    with pytest.raises(UnsupportedError, match="given away"):
        numbering.missing(RawPrimitive.id)
    fresh = Numbering(registry)
    assert fresh.own_kind(77) == 77 + 256 and fresh.own_type(0xD0) == 0xD0 + 256
    assert fresh.kind_of_type(0xD0) == 0xD0 + 512


def test_a_primitive_that_grows_is_defined_again(stores):
    class FirstPut(Put, frozen=True, gc=False):
        pass

    class SecondPut(Put, frozen=True, gc=False):
        pass

    class Small(NotePrimitive):
        entry_types = (put_entry(0xC0, FirstPut),)

    class Grown(NotePrimitive):
        entry_types = (put_entry(0xC0, FirstPut), put_entry(0xC9, SecondPut))

    small, grown = without("note"), without("note")
    small.register(Small())
    grown.register(Grown())
    for registry, payload in ((small, FirstPut), (grown, SecondPut)):
        with stores.open(registry=registry) as store:
            put = payload(payload.__name__.encode(), b"\x81\xa4text\xa1x")
            store._backend.committer.commit(holdfast.model.Batch("default", [put], "strict"))
    with stores.open(registry=grown) as store:
        assert store._backend._state.numbering.definitions["note"].types == (0xC0, 0xC9)
        assert store._backend.view("default").count(201) == 2


def test_what_is_no_transaction_of_ours_is_damage(stores):
    with stores.open() as store:
        store.kv.put("k", 1)
        store._backend._log.append([(1, (Entry(0x10, 1, b"no commit entry"),))], sync=True)
    with stores.open() as store:  # a frame of core entries that are not known here says nothing of records
        assert store.kv.get("k") == 1
        store._backend._log.append([(1, (Entry(0x03, 1, b"\xc1"),))], sync=True)
    with pytest.raises(CorruptionError, match="cannot be understood"):
        stores.open()


@pytest.mark.parametrize("run", [None, b"r" * 16])
def test_a_payload_that_cannot_be_folded_is_damage(stores, run):
    with stores.open() as store:
        store.kv.put("k", 1)
        commit = Entry(0x03, 1, msgspec.msgpack.encode(("default", 2, run)))
        store._backend._log.append([(1, (commit, Entry(0x10, 1, b"\xc1")))], sync=True)
    with pytest.raises(CorruptionError, match="entry 0x10 of commit 2 cannot be folded"):
        stores.open()


def test_a_section_of_a_form_that_is_not_known_is_kept_as_it_is(stores):
    with stores.open() as store:
        store.kv.put("k", 1)
        store._backend._state.foreign[99] = [b"\xc1 pages of", b"\xc1 the future"]
        store._backend.make_snapshot()
    for n in range(2):
        with stores.open() as store:
            assert store._backend._state.foreign == {99: [b"\xc1 pages of", b"\xc1 the future"]}
            assert 99 + 256 in store._backend._state.refold.frozen
            store.kv.put("k", n)
            store._backend.make_snapshot()


def test_a_section_of_a_registered_kind_in_another_form_is_damage(stores):
    with stores.open() as store:
        store.kv.put("k", 1)
        store._backend._state.foreign[8] = [b"\xc1"]
        path = store._backend.make_snapshot()
    with stores.open() as store:
        assert str(path) in store.status()["recovery"]["unsound"][0] and store.kv.get("k") == 1


def test_builtin_knows_no_toys():
    assert "note" not in [primitive.name for primitive in builtin()]


def test_a_space_that_was_dropped_does_not_come_back_with_the_primitive(stores):
    with stores.open() as store:
        store.space("dropped").notes.put("n", "secret")
        store.space("kept").notes.put("n", "text")
    with stores.open(registry=without("note")) as store:
        assert store.drop_space("dropped")
        assert [one.space for one in store._backend._state.refold.opaque] == ["kept"]
        for n in range(2):
            store.kv.put("k", n)
            store._backend.make_snapshot()  # the log before them is gone
    with stores.open() as store:
        assert store.space("dropped").notes.get("n") is None and store.spaces() == ["default", "kept"]
        assert store.space("kept").notes.get("n") == "text"


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_journal_that_was_dropped_does_not_come_back_with_the_primitive(stores, snapshot):
    with stores.open() as store:
        with store.run("r") as run:
            run.kv.put("k", 1)
            run.notes.put("n", "text")
        with store.run("other") as other:
            other.notes.put("other", "text")
    with stores.open(registry=without("note")) as store:
        store.retain("run", where={"name": "r"}, older_than=0, journals=True)
        assert store._backend.view("default").journaled_runs() == [other.id.bytes]
        if snapshot:
            store._backend.make_snapshot()
    with stores.open() as store:
        assert store._backend.view("default").journaled_runs() == [other.id.bytes]
        assert store.notes.get("n") == "text" and store.replay(other.id).notes.get("other") == "text"


def test_a_row_that_waits_and_is_scrubbed_is_not_folded_any_more(stores):
    with stores.open() as store, store.run("r") as run:
        run.notes.put("n", "secret")
        run.notes.put("other", "text")
    with stores.open(registry=without("note")) as store:
        revision = next(rows_of(store._backend.view("default"), run.id.bytes)).revision
        scrub = Scrub(run.id.bytes, (LostRow(revision, 0),))
        store._backend.committer.commit(holdfast.model.Batch("default", [scrub], "strict"))
        store._backend.make_snapshot()
    with stores.open() as store:
        assert store.notes.get("n") is None and store.notes.get("other") == "text"
        replayed = store.replay(run.id)
        assert replayed.notes.get("n") is None and "was forgotten" in replayed.unknown[0]


def test_an_entry_that_wrote_nothing_is_defined_like_any_other(stores):
    with stores.open() as store, store.transaction() as tx:
        assert not tx.notes.delete("missing")
        tx.kv.put("k", 1)
    with stores.open() as store:
        assert store.status()["waiting_entries"] == 0
        store.notes.put("n", "text")


@pytest.mark.parametrize("snapshot", [False, True])
def test_an_entry_that_waits_and_wrote_nothing_is_no_row_in_the_end(stores, snapshot):
    with stores.open() as store:
        with store.run("r") as run, run.transaction() as tx:
            assert not tx.notes.delete("missing")
            tx.kv.put("k", 1)
        with store.run("empty") as empty, empty.transaction() as tx:
            tx.notes.put("n", "text")
            assert tx.notes.delete("n") and not tx.notes.delete("n")
        expected = everything(store)
    with stores.open(registry=without("note")) as store:
        assert len(store.replay(run.id).unknown) == 1
        if snapshot:
            store._backend.make_snapshot()
    with stores.open() as store:
        assert everything(store) == expected
        assert store.replay(run.id).kv.get("k") == 1 and not store.replay(run.id).unknown


@pytest.mark.parametrize("snapshot", [False, True])
def test_what_is_forgotten_where_others_wait_is_forgotten_for_all(stores, snapshot):
    """The rows of a journal have the same places whoever reads them, so that a scrub meets the right ones."""
    with stores.open() as store, store.run("r") as run, run.transaction() as tx:
        assert not tx.notes.delete("missing")
        tx.kv.put("k", "secret")
    with stores.open(registry=without("note")) as store:
        assert "unknown" in store.forget("kv", ["k"]).left[0]
        if snapshot:
            store._backend.make_snapshot()
    with stores.open() as store:
        rows = list(rows_of(store._backend.view("default"), run.id.bytes))
        assert len(rows) == 1 and b"secret" not in rows[0].entry.payload


def test_a_journal_that_loses_its_only_row_is_none():
    tables = SpaceTables()
    tables.journals[b"r"] = [JournalRow(1, 0, 1, Entry(1, 1, b""), ())]
    _no_row(tables, b"r", (1, 0))
    assert tables.journals == {}
