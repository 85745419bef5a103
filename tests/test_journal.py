"""Replay: for each key that a run wrote, exactly what its last commit made."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import clock
from holdfast.errors import CorruptionError
from holdfast.model import JournalRow
from holdfast.primitives.kv import KvPut

OTHERS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


def test_replay_is_what_the_run_made_whatever_others_did(space):
    space.kv.put("old", 0)
    memory = space.memories.store("before", tags=["a"])
    with space.run("r") as run:
        new = run.memories.store("new", session_id="s")
        changed = run.memories.update(memory.id, content="by the run")
        run.kv.put("old", 1)
        space.kv.put("old", 2)
        space.kv.put("foreign", 1)
        run.kv.put("gone", 1)
        space.kv.delete("gone")
        run.events.append("s", 1)
        space.events.append("s", 2)
        last = run.events.append("s", 3)
    space.memories.delete(memory.id)
    space.memories.purge(new.id)
    replay = space.replay(run)
    assert replay.kv.get("old") == 1 and replay.kv.get("gone") == 1 and not replay.kv.exists("foreign")
    assert replay.kv.record("old").version == 2
    assert replay.memories.get(memory.id) == changed and replay.memories.get(new.id) == new
    assert [one.data for one in replay.events.read("s")] == [1, 3] and replay.events.get("s", 2) == last
    assert (replay.commits, replay.entries, replay.unknown, replay.run_id) == (6, 6, (), run.id)
    assert space.replay(str(run.id)).values() == space.replay(run.record).values() == replay.values()


def test_replay_up_to_a_commit(space):
    with space.run("r") as run:
        first = run.kv.put("a", 1)
        second = run.kv.put("a", 2)
        run.kv.delete("a")
        run.kv.put("a", 3)
    for at, value in (
        (first.revision - 1, None),
        (first.revision, 1),
        (second.revision, 2),
        (second.revision + 1, None),
        (None, 3),
    ):
        assert space.replay(run, at=at).kv.get("a") == value
    assert space.replay(run).kv.record("a").version == 1
    assert space.replay(run, at=second.revision + 1).values() == [("kv", "a", None)]


def test_replay_folds_upon_expired_records_as_the_run_did(space, later):
    space.kv.put("a", 0, ttl=5)
    with space.run("r") as run:
        later(6)
        assert run.kv.put("a", 1, ttl=5).version == 1
        later(6)
        assert run.kv.put("a", 2, ttl=60).version == 1
    later(100)
    assert space.replay(run).kv.record("a").version == 1 and space.replay(run).kv.get("a") == 2
    assert space.kv.get("a") is None


def test_diff_compares_values_only(space):
    shared = space.memories.store("shared")
    with space.run("a") as a:
        a.kv.put_many({"same": 1, "other": 1, "only a": 1, "deleted by b": 1})
        a.memories.update(shared.id, content="a")
    with space.run("b") as b:
        b.kv.put_many({"same": 0, "other": 2, "only b": 1, "deleted by b": 0})
        b.kv.put("same", 1)
        b.kv.delete("deleted by b")
        b.memories.update(shared.id, content="b")
    found = space.diff(a, b)
    assert [(one.kind, one.key) for one in found.added] == [("kv", "only b")]
    assert [one.key for one in found.removed] == ["deleted by b", "only a"]
    assert [(one.kind, one.key) for one in found.modified] == [("kv", "other"), ("memory", str(shared.id))]
    assert (found.modified[0].before["value"], found.modified[0].after["value"]) == (1, 2)
    assert (found.added[0].before, found.removed[0].after) == (None, None)
    assert found and not space.diff(a, a)
    with pytest.raises(holdfast.NotFoundError):
        space.diff(a, clock.new_id())


def test_rows_beyond_a_page_are_all_folded(space):
    with space.run("r") as run:
        for start in range(0, 1200, 400):
            run.kv.put_many({f"{n:05}": n for n in range(start, start + 400)})
    replay = space.replay(run)
    assert (replay.kv.count(), replay.commits, replay.entries) == (1200, 3, 1200)


def test_what_cannot_be_folded_is_named_and_a_missing_base_is_an_error(space, monkeypatch):
    from holdfast import journal
    from holdfast.model import Entry

    registry = space._scope.registry
    lost = JournalRow(4, 0, 9, registry.to_entry(KvPut(b"0a\0\x01", b"{}")), ())
    unknown = JournalRow(3, 0, 8, Entry(0xF0, 2, b""), ())
    with space.run("r") as run:
        run.kv.put("a", 1)
    monkeypatch.setattr(journal, "rows_of", lambda view, run, at: iter([unknown]))
    replay = space.replay(run)
    assert replay.unknown == ("entry type 0xF0 version 2 at revision 3",) and replay.values() == []
    monkeypatch.setattr(journal, "rows_of", lambda view, run, at: iter([lost]))
    with pytest.raises(CorruptionError, match="revision 4"):
        space.replay(run)


STEP = st.tuples(
    st.sampled_from(["a", "b", "out"]), st.sampled_from("xyz"),
    st.sampled_from(["put", "delete", "many", "transaction", "append", "store", "update", "forget"]),
    st.integers(0, 9),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=OTHERS)
@given(steps=st.lists(STEP, max_size=30))
def test_any_interleaving_replays_to_what_each_run_saw(store, steps):
    space = store.space("p" + clock.new_id().hex)
    runs = {"a": space.run("a"), "b": space.run("b")}
    ids = {name: clock.new_id() for name in "xyz"}
    made = {"a": {}, "b": {}}

    def note(who, kind, key, record):
        if who != "out":
            made[who][kind, key] = record

    for who, key, act, value in steps:
        face = runs.get(who, space)
        if act == "put":
            note(who, "kv", key, face.kv.put(key, value))
        elif act == "delete":
            if face.kv.delete(key):
                note(who, "kv", key, None)
        elif act == "many":
            for one in face.kv.put_many(dict.fromkeys("xy", value)):
                note(who, "kv", one.key, one)
        elif act == "transaction":
            with face.transaction() as tx:
                tx.kv.delete(key)
                tx.kv.put(key, [value, tx.kv.get("z")])
            note(who, "kv", key, space.kv.record(key))
        elif act == "append":
            event = face.events.append(key, value)
            note(who, "event", (key, event.sequence), event)
        elif act == "store":
            note(who, "memory", key, face.memories.store(str(value), id=ids[key], tags=[key]))
        elif act == "update" and space.memories.exists(ids[key]):
            note(who, "memory", key, face.memories.update(ids[key], content=f"u{value}"))
        elif act == "forget" and face.memories.delete(ids[key]):
            note(who, "memory", key, space.memories.get(ids[key], deleted=True))
    for who, run in runs.items():
        replay = space.replay(run)
        for (kind, key), record in made[who].items():
            if kind == "kv":
                assert replay.kv.record(key) == record
            elif kind == "event":
                assert replay.events.get(*key) == record
            else:
                assert replay.memories.get(ids[key], deleted=True) == record
        live = [record for (kind, _), record in made[who].items() if kind == "kv" and record is not None]
        assert replay.kv.count() == len(live)
