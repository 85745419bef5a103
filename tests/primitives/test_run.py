"""run: every move of the status, owners, leases, orphans."""

from __future__ import annotations

import subprocess
import sys
from uuid import uuid4

import pytest

import holdfast
from holdfast import process
from holdfast.primitives.run import STATUSES

MOVES = {
    "begin": "active", "pause": "paused", "end": "completed", "fail": "failed", "cancel": "cancelled",
    "archive": "archived",
}  # fmt: skip
ALLOWED = {
    "created": {"begin", "cancel"},
    "active": {"begin", "pause", "end", "fail", "cancel"},
    "paused": {"begin", "end", "fail", "cancel"},
    "completed": {"archive"},
    "failed": {"archive"},
    "cancelled": {"archive"},
    "archived": set(),
}
WAYS = {
    "created": [], "active": ["begin"], "paused": ["begin", "pause"], "completed": ["begin", "end"],
    "failed": ["begin", "fail"], "cancelled": ["cancel"], "archived": ["cancel", "archive"],
}  # fmt: skip


def move(runs, id, name):
    return runs.fail(id, "why") if name == "fail" else getattr(runs, name)(id)


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("status", STATUSES)
def test_every_move_from_every_status(space, status, name):
    id = space.runs.create("r").id
    for step in WAYS[status]:
        move(space.runs, id, step)
    before = space.runs.get(id)
    assert before.status == status
    if name in ALLOWED[status]:
        after = move(space.runs, id, name)
        assert after.status == MOVES[name] and after.version == before.version + 1 == space.runs.get(id).version
    else:
        with pytest.raises(holdfast.ConflictError, match=status):
            move(space.runs, id, name)
        assert space.runs.get(id) == before


def test_the_fields_of_a_run(space):
    parent = space.runs.create("parent")
    run = space.runs.create("r", tags=["a"], metadata={"k": 1}, parent=parent.id, lease_seconds=5)
    assert (run.status, run.tags, run.metadata, run.parent, run.lease_seconds) == (
        "created",
        ("a",),
        {"k": 1},
        parent.id,
        5.0,
    )
    assert run.started_at is run.ended_at is run.owner is run.error is None and run.version == 1
    begun = space.runs.begin(run.id)
    assert begun.owner == process.this_process() and begun.started_at == begun.updated_at
    assert space.runs.begin(run.id).started_at == begun.started_at
    changed = space.runs.update(run.id, name="n", tags=["b"], metadata={})
    assert (changed.name, changed.tags, changed.metadata, changed.status) == ("n", ("b",), {}, "active")
    failed = space.runs.fail(run.id, "broken")
    assert failed.error == "broken" and failed.ended_at == failed.updated_at and space.runs.get(run.id) == failed
    assert space.runs.exists(str(run.id)) and not space.runs.exists(uuid4()) and space.runs.get(uuid4()) is None


def test_what_does_not_exist_cannot_be_changed(space):
    for name in MOVES:
        with pytest.raises(holdfast.NotFoundError):
            move(space.runs, uuid4(), name)
    with pytest.raises(holdfast.NotFoundError, match="parent"):
        space.runs.create("r", parent=uuid4())
    with pytest.raises(holdfast.NotFoundError):
        space.runs.update(uuid4(), name="n")
    assert space.runs.count() == 0


def test_lists_by_each_field(space):
    a = space.runs.create("a", tags=["x", "y"])
    b = space.runs.begin(space.runs.create("b", tags=["x"], parent=a.id).id)
    c = space.runs.create("a")
    assert space.runs.list() == [a, b, c] and space.runs.list(reverse=True) == [c, b, a] and space.runs.count() == 3
    assert space.runs.list(status="active") == [b] and space.runs.list(status="created") == [a, c]
    assert (
        space.runs.list(tag="x") == [a, b]
        and space.runs.list(name="a") == [a, c]
        and space.runs.list(parent=a.id) == [b]
    )
    assert space.runs.list(tag="x", name="a") == [a] and space.runs.list(tag="y", status="active") == []
    page = space.runs.list(limit=2)
    assert page == [a, b] and space.runs.list(after=page.cursor) == [c]


def test_a_block_ends_or_fails_its_run(space):
    with space.run("r") as run:
        assert space.runs.get(run.id).status == "active"
    assert space.runs.get(run.id).status == "completed" == run.record.status
    with pytest.raises(RuntimeError), space.run("r") as run:
        raise RuntimeError("no \ud800 good")
    failed = space.runs.get(run.id)
    assert failed.status == "failed" and failed.error.startswith("RuntimeError: no")
    with space.run("r") as run:
        run.fail("itself")
    assert space.runs.get(run.id).error == "itself"
    with pytest.raises(ZeroDivisionError), space.run("r") as run:
        space.runs.pause(run.id)
        1 / 0
    assert space.runs.get(run.id).status == "failed"


def test_a_run_that_cannot_be_marked_keeps_the_first_error(space, monkeypatch):
    run = space.run("r")

    def fail(self, error):
        raise holdfast.WriteError("disk")

    monkeypatch.setattr(holdfast.Run, "fail", fail)
    with pytest.raises(ZeroDivisionError) as caught, run:
        1 / 0
    assert "disk" in caught.value.__notes__[0]


def test_resume_writes_to_the_same_journal(space):
    with space.run("r") as run:
        run.kv.put("a", 1)
        space.runs.pause(run.id)
        again = space.runs.resume(run.id)
        again.kv.put("b", 2)
        again.end()
    replay = space.replay(run.id)
    assert list(replay.kv.keys()) == ["a", "b"] and replay.runs.count() == 0
    with pytest.raises(holdfast.ConflictError):
        space.runs.resume(run.id)


def test_a_lease_is_renewed_by_commits(space, later):
    run = space.run("r", lease_seconds=10)
    assert not space.runs.orphans()
    later(8)
    run.kv.put("a", 1)
    later(8)
    assert not space.runs.orphans()
    later(3)
    assert [one.id for one in space.runs.orphans()] == [run.id]
    space.runs.resume(run.id).kv.put("a", 2)
    assert not space.runs.orphans()
    later(11)
    space.runs.pause(run.id)
    assert not space.runs.orphans()


def test_a_dead_owner_makes_an_orphan(space, monkeypatch):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = process._start_time(child.pid)
    here = process.this_process()
    monkeypatch.setattr(process, "this_process", lambda: process.Owner(here.host, child.pid, started))
    run = space.run("r")
    assert not space.runs.orphans()
    child.communicate(b"\n")
    assert [one.id for one in space.runs.orphans()] == [run.id]
    monkeypatch.setattr(process, "this_process", lambda: process.Owner("elsewhere", child.pid, started))
    space.runs.begin(run.id)
    assert not space.runs.orphans()


def test_views_know_no_leases_and_no_writes(space):
    run = space.run("r")
    with space.snapshot() as view, pytest.raises(holdfast.UnsupportedError):
        view.runs.orphans()
    run.kv.put("a", 1)
    with space.snapshot() as view:
        with pytest.raises(holdfast.ReadOnlyError):
            view.kv.put("a", 2)
        assert view.kv.get("a") == 1
