"""A run over every primitive: its replay and its diff are exactly what its last commits made, on every backend."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

import holdfast
from holdfast.testing.toys import toy_registry

ID = UUID(int=7)


@pytest.fixture(params=["memory:", "sqlite", "log"])
def store(request, tmp_path):
    urls = {"memory:": "memory:", "sqlite": str(tmp_path / "store.db"), "log": f"log:{tmp_path / 'store'}"}
    with holdfast.open(urls[request.param], durability="ephemeral", registry=toy_registry()) as opened:
        yield opened


def before(store):
    """What the runs find there."""
    store.memories.store("text", id=ID, embeddings={"dense": [1.0, 2.0]}, tags=["a"])
    store.vectors.create_collection("c", dimension=2)
    store.vectors.put("c", "v", [1.0, 2.0], metadata={"n": 1})
    store.vectors.put("c", "w", [1.0, 2.0], metadata={"n": 1})
    store.json.put("doc", {"a": {"b": 1}, "list": [1]})
    store.states.init("cell", "x", metadata={"m": 1})
    store.traces.record("root", id=ID)
    store.kv.put("expired", 1, ttl=0.000001)


def act(run, n=0):
    """Direct commits and a transaction over all kinds, upon what others made and upon its own."""
    run.memories.update(ID, content=f"changed {n}")
    run.vectors.update("c", "v", metadata={"n": n})
    with run.transaction() as tx:
        tx.json.set("doc", "/a/b", n)
        assert tx.json.get("doc", "/a") == {"b": n}
        tx.json.push("doc", "/list", 2)
        tx.states.set("cell", "y")
        tx.states.transition("cell", "z", allowed_from=["y"])
        assert tx.states.read("cell") == "z"
        tx.traces.record("child", parent=ID, id=UUID(int=100 + n))
        tx.traces.annotate(ID, attributes={"n": n})
        tx.vectors.update("c", "w", metadata={"n": n})
        assert tx.vectors.get("c", "w").vector == [1.0, 2.0]
        tx.memories.update(ID, tags=["b"])
        tx.counters.increment("counter", n)
        tx.notes.put("note", str(n))
        tx.events.append("stream", n)
        tx.kv.put("expired", 2)
        assert tx.kv.delete("expired") and not tx.kv.delete("missing")
    assert run.states.compare_and_set("cell", "z", "end")
    run.json.merge_patch("doc", {"a": None})
    run.vectors.put("c", "own", [n + 1.0, 0.0])
    run.vectors.delete("c", "own")


def is_as_in(store, run):
    """Each record that the run wrote, its blobs too, is in the replay as it stands in the store."""
    replayed = store.replay(run.id)
    assert replayed.unknown == ()
    view = store._backend.view("default")
    kinds = set()
    for (kind, key), record in replayed._replayed.written.items():
        kinds.add(kind)
        (live,) = view.read(kind, [key], "blobs")
        if record is None:
            assert live is None
        else:
            assert with_blobs(record) == with_blobs(live)
    return len(kinds)


def with_blobs(record):
    return msgspec.structs.replace(record, blobs=record.blobs or ())


def test_a_replay_is_what_the_last_commits_of_the_run_made(store):
    before(store)
    with store.run("r") as run:
        act(run)
    assert is_as_in(store, run) == 9
    assert store.replay(run.id).vectors.get("c", "v").vector == [1.0, 2.0]


def test_a_diff_tells_what_two_runs_made_differently_and_no_more(store):
    before(store)
    with store.run("a") as a:
        act(a, 1)
    store.states.set("cell", "x")
    store.json.put("doc", {"a": {"b": 1}, "list": [1]})
    with store.run("b") as b:
        act(b, 2)
    diff = store.diff(a.id, b.id)
    assert {one.kind for one in diff.added} == {"trace", "event"} and {one.kind for one in diff.removed} == {
        "trace",
        "event",
    }
    modified = {(one.kind, one.key) for one in diff.modified}
    assert {("vector", "c/v"), ("vector", "c/w"), ("note", "note"), ("counter", "counter")} <= modified
    assert ("json", "doc") not in modified and ("state", "cell") not in modified  # the same in the end
    assert not store.diff(a.id, a.id)


def test_what_a_run_made_stays_what_it_is_when_others_write_sweep_forget_and_compact(store):
    before(store)
    with store.run("r") as run:
        act(run)
    expected = store.replay(run.id).values()
    store.memories.update(ID, content="later", embeddings={"dense": [3.0, 3.0]})
    store.vectors.put("c", "v", [9.0, 9.0])
    store.json.delete("doc")
    store.sweep()
    store.forget("kv", ["of nobody"])
    store.compact(keep_changes=0)
    assert store.replay(run.id).values() == expected
    assert store.replay(run.id).vectors.get("c", "v").vector == [1.0, 2.0]
    store.forget("vector", [("c", "v")])
    replayed = store.replay(run.id)
    assert replayed.vectors.get("c", "v") is None and replayed.unknown
    assert [value for value in expected if value[0] != "vector"] == [
        value for value in replayed.values() if value[0] != "vector"
    ]
