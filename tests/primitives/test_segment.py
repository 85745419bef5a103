"""segment: three tiers that are all durable, found by any field; pruning is planned, looked at, and then applied."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holdfast
from holdfast.primitives.pruning import HOUR, Candidate, plan
from holdfast.primitives.segment import TYPES

OLD = datetime(2020, 1, 1, tzinfo=UTC)
NEW = datetime(2021, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["memory:", "sqlite", "log"])
def url(request, tmp_path):
    return {"memory:": "memory:", "sqlite": str(tmp_path / "store.db"), "log": f"log:{tmp_path / 'store'}"}[
        request.param
    ]


def ids(found):
    return [one.id for one in found]


def test_store_and_get_every_field(space):
    fields = {
        "type": "code", "task_id": "t", "tier": "archive", "pinned": True, "generation": "old", "refcount": 3,
        "file_path": "a.py", "line_range": (1, 9), "tags": ("b", "a"), "topic_id": "x", "tokens": 7, "created_at": OLD,
    }  # fmt: skip
    one = space.segments.store("text", **fields)
    assert {name: getattr(one, name) for name in fields} == fields
    assert one.last_touched_at == OLD and one.version == 1 and one.gc_survival_count == 0
    assert space.segments.get(one.id) == one == space.segments.get(str(one.id))
    assert space.segments.get(uuid4()) is None
    assert space.segments.get_batch([one.id, uuid4()]) == [one, None]
    again = space.segments.store("other", type="note", id=one.id)
    assert (again.version, again.created_at, again.tier) == (2, OLD, "working") and again.last_touched_at > OLD
    for condition in ({"expected_version": 1}, {"expected": one}):
        with pytest.raises(holdfast.ConflictError):
            space.segments.store("x", type="note", id=one.id, **condition)
        with pytest.raises(holdfast.ConflictError):
            space.segments.update(one.id, text="x", **condition)
        with pytest.raises(holdfast.ConflictError):
            space.segments.delete(one.id, **condition)
    assert space.segments.get(one.id) == again


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("text", ""), ("type", "song"), ("tier", "lost"), ("pinned", 1), ("generation", "new"), ("refcount", -1),
        ("line_range", 3), ("line_range", (5, 2)), ("tokens", "7"), ("tags", "a"), ("task_id", ""), ("id", "x"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_is_stored(space, field, value):
    with pytest.raises(holdfast.InvalidInputError) as caught:
        space.segments.store(**{"text": "x", "type": "note", field: value})
    assert caught.value.field == field
    assert space.segments.count() == 0


def test_indexes_follow_every_change(space):
    one = space.segments.store(
        "x", type="note", task_id="t", file_path="a", tags=["p"], topic_id="o", line_range=(1, 2)
    )
    space.segments.update(one.id, line_range=[1, 2])
    after = space.segments.update(one.id, task_id="u", file_path="b", tags=["q"], topic_id=None, line_range=None)
    assert after.line_range is None and after.text == "x"
    for old in ({"task_id": "t"}, {"file_path": "a"}, {"tags": ["p"]}, {"topic_id": "o"}):
        assert not space.segments.list(**old)
    for new in ({"task_id": "u"}, {"file_path": "b"}, {"tags": ["q"]}, {"type": "note"}):
        assert ids(space.segments.list(**new)) == [one.id]
    assert (space.segments.count(), space.segments.count(tier="stashed")) == (1, 0)
    assert not space.segments.list(created_before=OLD) and space.segments.list(created_after=OLD)


def test_tokens_are_given_or_counted_and_those_of_the_text(space):
    one = space.segments.store("a b c", type="note", tokenizer=lambda text: len(text.split()))
    assert one.tokens == 3
    space.segments.store("x", type="note", tokens=5, tier="stashed", tokenizer=lambda text: 99)
    assert space.segments.token_count() == {"working": 3, "stashed": 5, "archive": 0}
    assert space.segments.update(one.id, tags=["x"]).tokens == 3
    assert space.segments.update(one.id, text="new").tokens is None
    assert space.segments.token_count()["working"] == 0


def test_tiers_move_together_or_not_at_all(space):
    one, two = (space.segments.store(text, type="note", task_id=text) for text in ("one", "two"))
    assert [moved.tier for moved in space.segments.stash([one.id, two.id, one.id])] == ["stashed", "stashed"]
    assert not space.segments.load()
    unstashed = space.segments.unstash(one.id)[0]
    assert unstashed.last_touched_at > one.last_touched_at
    assert ids(space.segments.load()) == [one.id] == ids(space.segments.load(task_id="one"))
    with pytest.raises(holdfast.NotFoundError):
        space.segments.stash([one.id, uuid4()])
    assert ids(space.segments.load()) == [one.id]
    assert space.segments.archive(str(two.id))[0].tier == "archive" and space.segments.stash([]) == []
    assert space.segments.touch(one.id).last_touched_at > unstashed.last_touched_at
    assert space.segments.pin(one.id).pinned and not space.segments.unpin(one.id).pinned


def test_deletion_is_soft(space):
    one = space.segments.store("kiwi", type="note", task_id="t")
    assert not space.segments.restore(one.id)
    assert space.segments.delete(one.id) and not space.segments.delete(one.id) and not space.segments.delete(uuid4())
    assert space.segments.get(one.id) is None and space.segments.get(one.id, deleted=True).deleted_at is not None
    assert space.segments.count() == 0 and not space.segments.list(task_id="t")
    with pytest.raises(holdfast.NotFoundError, match="deleted"):
        space.segments.touch(one.id)
    assert space.segments.restore(one.id) and ids(space.segments.list(task_id="t")) == [one.id]
    assert space.segments.purge(one.id) and not space.segments.purge(one.id) and not space.segments.restore(one.id)


def test_stashed_segments_are_found_by_words_and_fields(space, store):
    space.segments.store("kiwi here", type="note")
    old = space.segments.store("kiwi one", type="note", tier="stashed", task_id="t", tags=["a", "b"], created_at=OLD)
    new = space.segments.store("pear", type="log", tier="stashed", file_path="f", tags=["kiwi"], created_at=NEW)
    assert {hit.record.id for hit in space.segments.search_stashed("kiwi")} == {old.id, new.id}
    for filters, found in (
        ({"task_id": "t"}, [old.id]), ({"type": "log"}, [new.id]), ({"file_path": "f"}, [new.id]),
        ({"tags": ["a", "b"]}, [old.id]), ({"created_after": NEW}, [new.id]), ({"created_before": NEW}, [old.id]),
        ({"tier": "archive"}, []), ({"limit": 1, "task_id": "t"}, [old.id]),
    ):  # fmt: skip
        for query in ("", "kiwi"):
            assert [hit.record.id for hit in space.segments.search_stashed(query, **filters)] == found
    assert [hit.record.id for hit in space.segments.search_stashed()] == [new.id, old.id]
    assert not store.space("other").segments.search_stashed("kiwi") and store.space("other").segments.count() == 0
    space.segments.delete(old.id)
    assert [hit.record.id for hit in space.segments.search_stashed("kiwi")] == [new.id]
    with space.transaction() as tx:
        assert len(tx.segments.search_stashed()) == 1
        with pytest.raises(holdfast.UnsupportedError):
            tx.segments.search_stashed("kiwi")


def test_a_plan_is_only_a_plan_until_it_is_applied(space):
    log = space.segments.store("log", type="log", tokens=50, created_at=OLD)
    used = space.segments.store("used", type="log", tokens=40, refcount=1, created_at=OLD)
    pinned = space.segments.store("pin", type="log", tokens=30, pinned=True, created_at=OLD)
    fresh = space.segments.store("new", type="decision", tokens=20)
    space.segments.store("uncounted", type="log", created_at=OLD)
    proposed = space.segments.plan_prune(0)
    assert [(step.id, step.action) for step in proposed.steps] == [(log.id, "delete"), (used.id, "stash")]
    assert (proposed.tokens_before, proposed.tokens_after, proposed.tokens_freed) == (140, 50, 90)
    assert proposed.uncounted == 1 and "log" in proposed.steps[0].reason and len(space.segments.load()) == 5
    assert [one.tier for one in space.segments.apply(proposed)] == ["working", "stashed"]
    assert space.segments.get(log.id) is None and space.segments.token_count()["working"] == 50
    assert space.segments.get(fresh.id).gc_survival_count == 1
    space.segments.apply(space.segments.plan_prune(50))
    assert space.segments.get(pinned.id).generation == "old"


def test_a_plan_that_was_overtaken_is_refused(space):
    one, two = (space.segments.store("x", type="log", tokens=9, created_at=OLD) for _ in range(2))
    proposed = space.segments.plan_prune(0)
    space.segments.touch(two.id)
    with pytest.raises(holdfast.ConflictError):
        space.segments.apply(proposed)
    assert space.segments.get(one.id) == one
    with pytest.raises(holdfast.InvalidInputError, match="plan"):
        space.segments.apply(None)
    with pytest.raises(holdfast.InvalidInputError, match="target_tokens"):
        space.segments.plan_prune(-1)


def test_what_was_kept_and_is_gone_since_is_no_conflict(space):
    kept = space.segments.store("x", type="note", tokens=1)
    proposed = space.segments.plan_prune(5)
    assert proposed.steps == () and proposed.kept == (kept.id,)
    space.segments.delete(kept.id)
    assert space.segments.apply(proposed) == []
    assert space.segments.get(kept.id, deleted=True).gc_survival_count == 0


def test_the_command_line_shows_segments(tmp_path):
    path = str(tmp_path / "cli.db")
    with holdfast.open(path) as store:
        one = store.space("default").segments.store("kiwi", type="note")
    for arguments in (["list", "segments"], ["get", "segments", str(one.id)]):
        told = subprocess.run(
            [sys.executable, "-m", "holdfast", "--store", path, *arguments], capture_output=True, text=True, check=False
        )
        assert told.returncode == 0 and "kiwi" in told.stdout, told.stderr


def test_an_empty_plan_changes_nothing(space):
    assert space.segments.apply(space.segments.plan_prune(0)) == []


def test_a_run_is_replayed_and_compared(space):
    runs = []
    for text in ("one", "two"):
        with space.run("r") as run:
            one = run.segments.store(text, type="note", id=UUID(int=7))
            run.segments.stash(one.id)
            run.segments.delete(one.id)
            run.segments.restore(one.id)
        runs.append(run.id)
    assert space.replay(runs[0]).segments.get(UUID(int=7)).tier == "stashed"
    assert len(space.diff(*runs).modified) == 1


def test_a_transaction_reads_its_own_writes(space):
    with space.transaction() as tx:
        one = tx.segments.store("x", type="note")
        tx.segments.stash(one.id)
        assert tx.segments.get(one.id).tier == "stashed" and not tx.segments.load()
        assert not space.segments.get(one.id)
    assert space.segments.get(one.id).tier == "stashed"


def test_all_tiers_outlive_the_store(url):
    if url == "memory:":
        pytest.skip("nothing is kept")
    with holdfast.open(url) as store:
        kept = [store.space("p").segments.store("x", type="note", tier=tier) for tier in ("working", "stashed")]
    with holdfast.open(url) as store:
        assert list(store.space("p").segments.list()) == kept


def test_retention_leaves_what_is_pinned(space, later):
    pinned = space.segments.store("a", type="note", pinned=True)
    gone = space.segments.store("b", type="note")
    primitive = space.segments._scope.registry.by_id(9)
    records = space.segments._scope.read(9, [pinned.id.bytes, gone.id.bytes])
    assert [primitive.may_go(record) for record in records] == [False, True]
    assert primitive.group(records[0]) == b""
    space.segments.delete(pinned.id)
    tombstone = space.segments._scope.read_one(9, pinned.id.bytes)
    assert primitive.may_go(tombstone) and primitive.group(tombstone) == b"deleted"
    assert primitive.text(tombstone) is None


candidates = st.lists(
    st.builds(
        Candidate,
        st.uuids(), st.just(1), st.sampled_from(TYPES), st.none() | st.integers(0, 99),
        st.integers(0, 99 * HOUR), st.booleans(), st.integers(0, 3), st.sampled_from(["young", "old"]),
    ),
    unique_by=lambda one: one.id,
)  # fmt: skip


@given(candidates, st.integers(0, 500))
def test_a_plan_takes_no_more_than_it_must_and_nothing_that_is_pinned(found, target):
    made = plan(found, target, 99 * HOUR)
    by_id = {one.id: one for one in found}
    assert made.tokens_freed == sum(step.tokens for step in made.steps)
    assert not any(by_id[step.id].pinned for step in made.steps)
    assert all(step.action == "stash" for step in made.steps if by_id[step.id].refcount)
    assert {step.id for step in made.steps} | set(made.kept) == set(by_id)
    if made.steps:
        assert made.tokens_after + made.steps[-1].tokens > target
