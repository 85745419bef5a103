"""Runs: the status machine, owners and leases, journals, replay and diff, on both backends."""

from __future__ import annotations

import subprocess
import sys
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import ConflictError, InvalidInputError, NotFoundError, process
from holdfast.primitives.run import STATUSES

MOVES = {
    "begin": {"created", "active", "paused"},
    "pause": {"active"},
    "end": {"active", "paused"},
    "fail": {"active", "paused"},
    "cancel": {"created", "active", "paused"},
    "archive": {"completed", "failed", "cancelled"},
}
WAY = {
    "created": [], "active": ["begin"], "paused": ["begin", "pause"], "completed": ["begin", "end"],
    "failed": ["begin", "fail"], "cancelled": ["cancel"], "archived": ["cancel", "archive"],
}  # fmt: skip


def move(runs, id, name):
    return runs.fail(id, "reason") if name == "fail" else getattr(runs, name)(id)


@pytest.mark.parametrize("status", STATUSES)
def test_the_status_machine(space, status):
    for name, allowed in MOVES.items():
        id = space.runs.create("r").id
        for step in WAY[status]:
            move(space.runs, id, step)
        assert space.runs.get(id).status == status
        if status in allowed:
            assert move(space.runs, id, name).status != "created"
        else:
            with pytest.raises(ConflictError, match="cannot become"):
                move(space.runs, id, name)
            assert space.runs.get(id).status == status


def test_fields_and_lists(space):
    parent = space.runs.create("parent")
    run = space.runs.create("child", tags=["t"], metadata={"k": 1}, parent=parent.id, lease_seconds=5)
    assert (run.parent, run.tags, run.metadata, run.lease_seconds) == (parent.id, ("t",), {"k": 1}, 5.0)
    begun = space.runs.begin(run.id)
    assert begun.owner == process.this_process()
    assert begun.started_at is not None
    failed = space.runs.fail(run.id, "because")
    assert (failed.error, failed.ended_at is not None) == ("because", True)
    updated = space.runs.update(run.id, name="new", tags=["u"], metadata={})
    assert (updated.name, updated.tags, updated.metadata) == ("new", ("u",), {})
    names = lambda **chosen: [one.name for one in space.runs.list(**chosen)]  # noqa: E731
    assert names() == ["parent", "new"]
    assert names(status="failed") == names(tag="u") == names(name="new") == names(parent=parent.id) == ["new"]
    assert names(tag="t") == names(name="child") == []
    assert names(reverse=True, limit=1) == ["new"]
    assert space.runs.count() == 2
    assert space.runs.exists(run.id)
    assert space.runs.get(uuid4()) is None
    for call in (space.runs.begin, space.runs.end, space.runs.pause):
        with pytest.raises(NotFoundError):
            call(uuid4())
    with pytest.raises(NotFoundError, match="parent"):
        space.runs.create("x", parent=uuid4())
    for bad in ({"name": ""}, {"lease_seconds": 0}, {"lease_seconds": "x"}, {"tags": "x"}, {"parent": "x"}):
        with pytest.raises(InvalidInputError, match=next(iter(bad))):
            space.runs.create(**{"name": "r", **bad})
    with pytest.raises(InvalidInputError):
        space.runs.list(status="odd")


def test_a_run_of_the_same_id_is_refused(space):
    from holdfast.primitives.run import Create, RunBody, RunPrimitive

    id = space.runs.create("r").id
    with pytest.raises(ConflictError, match="exists already"):
        space._scope.write([Create(id.bytes, space._scope.codec.encode(RunBody(name="x")))], list)
    assert RunPrimitive().key_text(id.bytes) == str(id)


def test_a_lease_is_renewed_by_commits(space, clock):
    with space.run("r", lease_seconds=10) as run:
        clock.time += 9_000_000
        run.kv.put("a", 1)
        clock.time += 9_000_000
        assert space.runs.orphans() == []
        clock.time += 2_000_000
        assert [one.id for one in space.runs.orphans()] == [run.id]
        run.kv.put("a", 2)
        assert space.runs.orphans() == []


def test_a_run_whose_process_is_gone_is_orphaned_and_can_be_resumed(tmp_path):
    path = tmp_path / "store.db"
    script = (
        "import holdfast, os, sys\n"
        f"run = holdfast.open({str(path)!r}).space('p').run('dead')\n"
        "run.kv.put('a', 1)\nprint(run.id, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == -9
    with holdfast.open(path) as store:
        space = store.space("p")
        assert [str(one.id) for one in space.runs.orphans()] == [done.stdout.strip()]
        with space.runs.resume(done.stdout.strip()) as run:
            assert space.runs.orphans() == []
            run.kv.put("b", 2)
        assert run.record.status == "completed"
        assert [one.key for one in space.replay(run.id).kv.scan()] == ["a", "b"]


def test_a_block_that_raises_fails_its_run(store, space):
    with pytest.raises(ZeroDivisionError), space.run("r") as run:
        run.kv.put("a", 1)
        1 / 0
    assert "ZeroDivisionError" in space.runs.get(run.id).error
    with space.run("r") as ended:
        ended.fail("by itself")
    assert space.runs.get(ended.id).error == "by itself"
    with pytest.raises(ValueError, match="first") as caught, space.run("r"):
        store._backend.committer._direct = None
        store._backend.committer._begin_step = lambda durability: (_ for _ in ()).throw(holdfast.WriteError("no"))
        raise ValueError("first")
    assert "could not be marked" in caught.value.__notes__[0]


def test_replay_shows_what_the_run_made_and_nothing_else(space):
    space.kv.put_many({"before": 1, "changed": 1, "gone": 1})
    memory = space.memories.store("old", tags=["x"])
    with space.run("r") as run:
        run.kv.put("changed", 2)
        space.kv.put("changed", 99)
        space.kv.put("outside", 1)
        at = run.kv.put("own", 1).revision
        run.kv.put("own", 2)
        run.kv.delete("gone")
        run.kv.delete("never there")
        run.memories.update(memory.id, content="new")
        space.memories.update(memory.id, tags=["outside"])
        with run.transaction() as tx:
            tx.events.append("log", {"n": 1})
            tx.kv.put("in tx", True)
    replay = space.replay(run)
    assert {one.key: one.value for one in replay.kv.scan()} == {"changed": 2, "own": 2, "in tx": True}
    assert (replay.memories.get(memory.id).content, replay.memories.get(memory.id).tags) == ("new", ("x",))
    assert replay.events.verify("log").ok
    assert ("kv", "gone", None) in replay.values()
    assert [key for kind, key, _ in replay.values() if kind == "kv"] == ["changed", "gone", "in tx", "own"]
    assert (replay.commits, replay.entries, replay.unknown) == (6, 7, ())
    assert space.replay(run.record, at=at).kv.get("own") == 1
    assert space.replay(str(run.id)).values() == replay.values()
    with pytest.raises(holdfast.ReadOnlyError):
        replay.kv.put("a", 1)
    with pytest.raises(holdfast.UnsupportedError):
        replay.runs.orphans() if replay.runs.list() else replay._scope.last_journaled(b"")
    with pytest.raises(NotFoundError):
        space.replay(uuid4())
    assert space.replay(space.runs.create("empty").id).values() == []


def test_diff_compares_values(space):
    runs = []
    for value in (1, 2):
        with space.run("r") as run:
            run.kv.put("same", 0)
            run.kv.put("differs", value)
            run.kv.put("first" if value == 1 else "second", 0)
            run.events.append(f"log {value}", {"n": 1})
        runs.append(run)
    diff = space.diff(*runs)
    assert [one.key for one in diff.modified] == ["differs"]
    assert (diff.modified[0].before["value"], diff.modified[0].after["value"]) == (1, 2)
    assert [one.key for one in diff.removed] == ["first", "log 1", "log 1/0"]
    assert [one.key for one in diff.added] == ["second", "log 2", "log 2/0"]
    assert diff
    assert not space.diff(runs[0], runs[0])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "outside"]),
        st.sampled_from(["put", "delete", "append", "store", "update", "remove", "restore"]),
        st.integers(0, 2),
    ),
    max_size=30,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_replay_is_what_the_runs_last_commits_made(tmp_path_factory, steps):
    results = []
    for url in ("memory:", str(tmp_path_factory.mktemp("replay") / "store.db")):
        with holdfast.open(url, durability="ephemeral") as store:
            space = store.space("p")
            ids = [str(uuid4()) for _ in range(3)] if not results else results[0][2]
            writers = {"a": space.run("a"), "b": space.run("b"), "outside": space}
            model = {"a": {}, "b": {}, "outside": {}}
            for writer, step, n in steps:
                faces, id = writers[writer], ids[n]
                if step == "put":
                    faces.kv.put(f"k{n}", [writer, n])
                    model[writer]["kv", f"k{n}"] = space.kv.get(f"k{n}")
                elif step == "delete":
                    if faces.kv.delete(f"k{n}"):
                        model[writer]["kv", f"k{n}"] = None
                elif step == "append":
                    event = faces.events.append("s", n)
                    model[writer]["event", f"s/{event.sequence}"] = event
                elif step == "update":
                    if space.memories.exists(id):
                        faces.memories.update(id, tags=[writer])
                        model[writer]["memory", id] = space.memories.get(id, deleted=True)
                else:
                    if step == "store":
                        done = bool(faces.memories.store(f"m{n}", id=id))
                    else:
                        done = faces.memories.delete(id) if step == "remove" else faces.memories.restore(id)
                    if done:
                        model[writer]["memory", id] = space.memories.get(id, deleted=True)
            for name in ("a", "b"):
                replay = space.replay(writers[name].id)
                found = {}
                for kind, key, values in replay.values():
                    if kind == "kv":
                        found[kind, key] = None if values is None else replay.kv.get(key)
                    elif kind == "memory":
                        found[kind, key] = replay.memories.get(key, deleted=True)
                    elif "/" in key:
                        found[kind, key] = replay.events.get("s", int(key.split("/")[1]))
                assert found == model[name]
            values = [space.replay(writers[name].id).values() for name in ("a", "b")]
            diff = space.diff(writers["a"], writers["b"])
            results.append((values, [[d.key for d in part] for part in (diff.added, diff.removed, diff.modified)], ids))
    assert results[0][:2] == results[1][:2]
