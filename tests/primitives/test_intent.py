"""Intents: what is wanted, in which status, and how it hangs together."""

from __future__ import annotations

import threading
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import ConflictError, InvalidInputError, NotFoundError
from holdfast.primitives.intent import ACYCLIC, STATUSES, TRANSITIONS, IntentPrimitive
from holdfast.primitives.intent_graph import Graph

OTHER = UUID("0190163d-8694-739b-aea5-966c26f8ad91")


def goals(found):
    return [one.goal for one in found]


@pytest.fixture
def intents(space):
    return space.intents


@pytest.fixture(params=["memory:", "sqlite", "log"])
def any_store(request, tmp_path):
    url = {"memory:": "memory:", "sqlite": str(tmp_path / "s.db"), "log": f"log:{tmp_path / 'log'}"}[request.param]
    with holdfast.open(url, durability="ephemeral") as opened:
        yield opened


def test_an_intent_is_persisted(intents):
    full = intents.persist(
        "Ship it", id=str(OTHER), name="ship", session_id="s", original_request="please ship", source="(intent ...)",
        constraints={"cost": 1}, preferences={"fast": True}, success_criteria=["green"], triggered_by="system_event",
        generation_context={"model": "m"}, status="executing", priority=7, metadata={"k": 1}, by="me", why="asked",
    )  # fmt: skip
    assert intents.get(OTHER) == intents.retrieve(str(OTHER)) == full
    assert (full.id, full.version, full.constraints, full.success_criteria) == (OTHER, 1, {"cost": 1}, ["green"])
    assert (full.status, full.priority, full.triggered_by, full.deleted_at) == ("executing", 7, "system_event", None)
    (line,) = intents.history(OTHER)
    assert (line.before, line.status, line.by, line.why, line.at) == (None, "executing", "me", "asked", full.created_at)
    with pytest.raises(ConflictError, match="must not exist"):
        intents.persist("again", id=OTHER)
    assert intents.get(OTHER) == full and len(intents.history(OTHER)) == 1
    with pytest.raises(NotFoundError, match="does not exist"):
        intents.retrieve(UUID(int=1))
    assert intents.get(UUID(int=1)) is None and intents.count() == 1


def test_an_update_sets_what_is_given(intents):
    one = intents.persist("a", name="n", session_id="s")
    after = intents.update(
        one.id, goal="b", name=None, constraints={"c": 1}, success_criteria="x", priority=3, expected=one,
        expected_version=1,
    )  # fmt: skip
    assert (after.goal, after.name, after.session_id, after.constraints) == ("b", None, "s", {"c": 1})
    assert (after.success_criteria, after.priority, after.version, after.created_at) == ("x", 3, 2, one.created_at)
    with pytest.raises(ConflictError):
        intents.update(one.id, goal="c", expected=one)
    with pytest.raises(NotFoundError):
        intents.update(OTHER, goal="c")
    assert goals(intents.list(priority_min=3, priority_max=3)) == ["b"]


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("following", STATUSES)
def test_a_status_changes_along_its_ways_alone(intents, status, following):
    one = intents.persist("a", status=status)
    if following in TRANSITIONS[status]:
        after = intents.transition(one.id, following, by="me", why="because", expected_version=1)
        line = intents.history(one.id)[1]
        assert (after.status, after.version) == (following, 2)
        assert (line.before, line.status, line.by, line.why) == (status, following, "me", "because")
        assert (line.revision, line.at) == (after.revision, after.updated_at)
    else:
        with pytest.raises(ConflictError, match="cannot become"):
            intents.transition(one.id, following)
        assert intents.get(one.id) == one and len(intents.history(one.id)) == 1


def test_of_many_that_change_a_status_one_does(any_store):
    space = any_store.space("p")
    one = space.intents.persist("a", status="completed")
    done = []

    def work(n):
        try:
            done.append(space.intents.transition(one.id, "archived", by=f"w{n}"))
        except ConflictError:
            pass

    in_threads(work, 4)
    assert len(done) == 1 and [line.status for line in space.intents.history(one.id)] == ["completed", "archived"]


def test_lists(intents, clock):
    parent = intents.persist("Parent", priority=9, session_id="s")
    made = []
    for n in range(5):
        clock.time += 1_000_000
        made.append(intents.persist(f"goal {n}", name=f"N{n}", priority=n % 3, parent=parent.id, metadata={"n": n}))
    clock.time += 1_000_000
    intents.transition(made[1].id, "completed")
    names = ["Parent", *(f"goal {n}" for n in range(5))]
    assert goals(intents.list()) == names and goals(intents.list(reverse=True)) == names[::-1]
    assert goals(intents.list(status="completed")) == goals(intents.list(status=["completed", "failed"])) == ["goal 1"]
    assert goals(intents.list(text="n3")) == ["goal 3"] and goals(intents.list(text="PARENT")) == ["Parent"]
    assert goals(intents.list(where={"n": 2})) == ["goal 2"] and not intents.list(where={"n": 2.0})
    assert goals(intents.list(session_id="s")) == ["Parent"]
    assert goals(intents.list(priority_min=1, priority_max=2)) == ["goal 1", "goal 2", "goal 4"]
    assert goals(intents.list(order="priority", reverse=True))[:3] == ["Parent", "goal 2", "goal 4"]
    assert goals(intents.list(order="updated"))[-1] == "goal 1"
    assert goals(intents.list(updated_since=made[4].created_at + timedelta(seconds=1))) == ["goal 1"]
    assert goals(intents.list(updated_until=made[0].created_at)) == ["Parent"]
    assert goals(intents.list(since=made[1].created_at, until=made[3].created_at)) == ["goal 1", "goal 2"]
    assert goals(intents.list(parent=parent.id, order="priority")) == ["goal 0", "goal 3", "goal 1", "goal 4", "goal 2"]
    for asked in ({}, {"parent": parent.id}, {"parent": parent.id, "reverse": True}, {"order": "priority"}):
        paged, after = [], None
        while True:
            page = intents.list(limit=2, after=after, **asked)
            paged, after = paged + page.items, page.cursor
            if after is None:
                break
        assert paged == intents.list(limit=None, **asked).items
    intents.delete(made[0].id)
    assert intents.count() == 5 == len(intents.list()) and len(intents.list(parent=parent.id)) == 4
    assert intents.count(status="completed") == 1 == intents.count(session_id="s")


def test_deleting_says_what_becomes_of_the_edges(intents):
    a, b, c = (intents.persist(name) for name in "abc")
    intents.link(a.id, b.id, "depends_on")
    intents.link(c.id, a.id, "blocks")
    with pytest.raises(InvalidInputError, match="has 2 of them") as caught:
        intents.delete(a.id, edges="refuse")
    assert caught.value.field == "edges" and intents.get(a.id) == a
    assert intents.delete(a.id, expected=a) and not intents.delete(a.id) and not intents.delete(OTHER)
    gone = intents.get(a.id, deleted=True)
    assert intents.get(a.id) is None and gone.deleted_at == gone.updated_at and intents.edges(b.id) == []
    for refused in (lambda: intents.update(a.id, goal="x"), lambda: intents.link(b.id, a.id, "enables")):
        with pytest.raises(NotFoundError, match="it is deleted"):
            refused()
    assert intents.restore(a.id) and not intents.restore(a.id) and not intents.restore(OTHER)
    assert len(intents.edges(a.id)) == 2 and goals(intents.list()) == ["a", "b", "c"]
    assert intents.delete(a.id, edges="remove") and not intents.delete(a.id, edges="remove")
    assert intents.restore(a.id) and intents.edges(a.id) == [] and len(intents.history(a.id)) == 1
    assert intents.delete(a.id, edges="refuse") and not intents.delete(a.id, edges="refuse")


def test_purging_leaves_nothing(store, space):
    intents = space.intents
    a, b = intents.persist("a"), intents.persist("b")
    intents.link(a.id, b.id, "enables")
    intents.link(b.id, a.id, "enables")
    assert intents.purge(a.id) and not intents.purge(a.id)
    assert intents.history(a.id) == [] == intents.edges(b.id) and intents.get(a.id, deleted=True) is None
    assert intents.purge(b.id) and store.status()["spaces"]["project"]["records"].get("intents", 0) == 0


def test_links(intents):
    a, b = intents.persist("a"), intents.persist("b")
    edge = intents.link(a.id, str(b.id), "conflicts_with", weight=2, metadata={"m": 1})
    assert (edge.from_id, edge.to_id, edge.type, edge.weight, edge.metadata, edge.version) == (
        a.id, b.id, "conflicts_with", 2.0, {"m": 1}, 1,
    )  # fmt: skip
    assert intents.edges(a.id) == intents.edges(b.id, type="conflicts_with", direction="in") == [edge]
    assert intents.edges(a.id, direction="in") == [] == intents.edges(a.id, weight_min=3)
    again = intents.link(a.id, b.id, "conflicts_with")
    assert (again.version, again.weight, again.created_at) == (2, None, edge.created_at)
    assert intents.edges(a.id, weight_min=1) == [again]
    assert goals(intents.conflicts(a.id)) == ["b"] and goals(intents.conflicts(b.id)) == ["a"]
    assert goals(intents.neighbours(a.id, direction="out")) == ["b"] and not intents.neighbours(a.id, direction="in")
    assert intents.unlink(a.id, b.id, "conflicts_with") and not intents.unlink(a.id, b.id, "conflicts_with")
    for start, end in ((a.id, OTHER), (OTHER, a.id)):
        for type in ("enables", "depends_on"):
            with pytest.raises(NotFoundError, match=f"intent {OTHER} does not exist"):
                intents.link(start, end, type)
    with pytest.raises(NotFoundError):
        intents.persist("c", parent=OTHER)
    assert intents.count() == 2


@pytest.mark.parametrize("type", ACYCLIC)
def test_a_circle_is_refused(intents, type):
    a, b, c = (intents.persist(name) for name in "abc")
    intents.link(a.id, b.id, type)
    intents.link(b.id, c.id, type)
    with pytest.raises(InvalidInputError, match=f"{c.id} -> {a.id} -> {b.id} -> {c.id}") as caught:
        intents.link(c.id, a.id, type)
    assert caught.value.field == "to_id" and len(intents.edges(c.id)) == 1
    intents.link(a.id, c.id, type)
    above = intents.persist("above")
    intents.link(above.id, a.id, type)  # two ways from a to c
    with pytest.raises(InvalidInputError):
        intents.link(c.id, above.id, type)
    outside = intents.persist("outside")
    intents.link(outside.id, above.id, type)
    intents.delete(b.id)
    intents.unlink(a.id, c.id, type)
    with pytest.raises(InvalidInputError):
        intents.link(c.id, a.id, type)  # restoring b would close it
    intents.link(c.id, a.id, "enables")
    intents.link(a.id, c.id, "enables")


def in_threads(work, count):
    barrier = threading.Barrier(count)
    failures = []

    def run(n):
        barrier.wait()
        try:
            work(n)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failures == []


@pytest.mark.parametrize("type", ACYCLIC)
def test_of_those_that_race_to_close_a_circle_one_is_refused(any_store, type):
    intents = any_store.space("p").intents
    for _ in range(8):
        ids = [intents.persist("x").id for _ in range(3)]
        refused = []

        def work(n, ids=ids, refused=refused):
            try:
                intents.link(ids[n], ids[(n + 1) % 3], type)
            except InvalidInputError:
                refused.append(n)

        in_threads(work, 3)
        assert len(refused) == 1
        assert sum(len(intents.edges(id, direction="out")) for id in ids) == 2


def test_transactions_that_would_close_a_circle_together_conflict(any_store):
    space = any_store.space("p")
    a, b = space.intents.persist("a"), space.intents.persist("b")
    with pytest.raises(ConflictError), space.transaction() as tx:
        tx.intents.link(a.id, b.id, "depends_on")
        space.intents.link(b.id, a.id, "depends_on")
    assert [(one.from_id, one.to_id) for one in space.intents.edges(a.id)] == [(b.id, a.id)]
    barrier = threading.Barrier(2)
    c, d = space.intents.persist("c"), space.intents.persist("d")
    refused = []

    def work(n):
        barrier.wait()
        try:
            space.transact(lambda tx: tx.intents.link(*((c.id, d.id) if n else (d.id, c.id)), "is_subgoal_of"))
        except InvalidInputError:
            refused.append(n)

    in_threads(work, 2)
    assert len(refused) == 1 and len(space.intents.edges(c.id)) == 1


def test_a_link_and_a_purge_that_race_leave_no_edge_to_nothing(any_store):
    space = any_store.space("p")
    for _ in range(8):
        a, b = space.intents.persist("a"), space.intents.persist("b")

        def work(n, a=a, b=b):
            if n:
                space.intents.purge(b.id)
            else:
                try:
                    space.intents.link(a.id, b.id, "depends_on")
                except NotFoundError:
                    pass

        in_threads(work, 2)
        assert list(space.intents._graph.records(a.id)) == []


def test_a_transaction_sees_what_it_wrote(space):
    with space.transaction() as tx:
        a = tx.intents.persist("a")
        b = tx.intents.persist("b", parent=a.id)
        edge = tx.intents.link(a.id, b.id, "depends_on")
        assert (a.version, b.version, edge.version) == (0, 0, 0) and goals(tx.intents.ancestors(b.id)) == ["a"]
        assert goals(tx.intents.roots()) == ["a"] and goals(tx.intents.ready()) == ["b"]
        with pytest.raises(InvalidInputError, match="would lead back"):
            tx.intents.link(b.id, a.id, "depends_on")
        tx.intents.transition(b.id, "completed")
        assert tx.intents.delete(b.id, edges="remove") and tx.intents.edges(a.id) == []
    assert goals(space.intents.list()) == ["a"] and len(space.intents.history(b.id)) == 2


def test_the_tree(intents):
    top, left, right = intents.persist("top"), intents.persist("left"), intents.persist("right")
    low = intents.persist("low", parent=left.id)
    for child in (left, right):
        intents.link(child.id, top.id, "is_subgoal_of")
    intents.link(low.id, right.id, "is_subgoal_of")
    tree = intents.subtree(top.id)
    assert [(depth, one.goal) for depth, one in tree.walk()] == [(0, "top"), (1, "left"), (2, "low"), (1, "right")]
    assert goals(intents.ancestors(low.id)) == ["left", "right", "top"] and intents.ancestors(top.id) == []
    assert goals(intents.roots()) == ["top"] and goals(intents.leaves()) == ["low"]
    intents.delete(top.id)
    assert goals(intents.roots()) == ["left", "right"]
    with pytest.raises(NotFoundError):
        intents.subtree(top.id)


def test_what_is_ready(intents):
    a, b, c, d = (intents.persist(name, priority=n) for n, name in enumerate("abcd"))
    intents.link(a.id, b.id, "depends_on")
    intents.link(c.id, a.id, "blocks")
    intents.link(b.id, a.id, "blocks")
    assert goals(intents.ready()) == ["d", "c", "b"] and goals(intents.blocked_by(a.id)) == ["b", "c"]
    intents.transition(c.id, "failed")
    intents.transition(b.id, "failed")
    assert goals(intents.ready()) == ["d"] and goals(intents.blocked_by(a.id)) == ["b"]
    intents.transition(b.id, "archived")
    assert goals(intents.ready()) == ["d", "a"] and intents.blocked_by(a.id) == []
    e = intents.persist("e")
    intents.link(a.id, e.id, "depends_on")
    intents.link(e.id, a.id, "blocks")
    assert goals(intents.ready()) == ["d", "e"]
    intents.delete(e.id)
    assert goals(intents.ready()) == ["d", "a"] and intents.blocked_by(d.id) == []


def test_paths(intents):
    a, b, c, d = (intents.persist(name) for name in "abcd")
    intents.link(a.id, d.id, "related_to", weight=5)
    intents.link(a.id, b.id, "related_to", weight=1)
    intents.link(b.id, c.id, "enables")
    intents.link(c.id, d.id, "enables", weight=0.5)
    intents.link(a.id, c.id, "enables", weight=4)
    assert goals(intents.path(a.id, d.id)) == ["a", "d"]
    assert goals(intents.path(a.id, d.id, weighted=True)) == ["a", "b", "c", "d"]
    assert goals(intents.path(a.id, d.id, types=["enables"])) == ["a", "c", "d"]
    assert intents.path(d.id, a.id) == [] == intents.path(OTHER, OTHER)
    assert goals(intents.path(d.id, a.id, direction="in")) == ["d", "a"]
    assert goals(intents.path(d.id, b.id, direction="both")) == ["d", "a", "b"]
    assert goals(intents.path(a.id, a.id)) == ["a"]
    assert goals(intents.path(a.id, d.id, weighted=True, direction="both")) == ["a", "b", "c", "d"]
    intents.link(c.id, d.id, "enables", weight=10)
    intents.link(a.id, d.id, "related_to", weight=50)
    assert goals(intents.path(a.id, d.id, weighted=True)) == ["a", "b", "c", "d"]


def test_drawings(intents):
    a = intents.persist('say "hi"\n\\', name=None)
    b = intents.persist("b", name="#1;", parent=a.id)
    intents.link(a.id, b.id, "depends_on", weight=0.5)
    dot, mermaid = intents.dot(), intents.mermaid()
    assert f'"{a.id}" [label="say \\"hi\\"\\n\\\\ (active)"];' in dot
    assert f'"{a.id}" -> "{b.id}" [label="depends_on 0.5"];' in dot and dot.startswith("digraph intents {")
    assert f'n{b.id.hex}["#35;1#59; (active)"]' in mermaid and mermaid.startswith("graph TD\n")
    assert f"n{b.id.hex} -->|is_subgoal_of| n{a.id.hex}" in mermaid and "#34;hi#34;#10;#92;" in mermaid
    intents.delete(a.id)
    assert "->" not in intents.dot()


@pytest.mark.parametrize(
    ("call", "arguments", "keywords", "field"),
    [
        ("persist", ("",), {}, "goal"), ("persist", ("x" * 20_000_000,), {}, "goal"),
        ("persist", ("a",), {"id": 5}, "id"),
        *[("persist", ("a",), {name: value}, name) for name, value in (
            ("name", ""), ("session_id", 5), ("constraints", []), ("status", "nope"), ("triggered_by", "x"),
            ("priority", -1), ("priority", 2**32), ("priority", True), ("metadata", 5), ("parent", "x"), ("by", ""),
            ("why", 5), ("success_criteria", object()), ("generation_context", 1), ("preferences", 1))],
        ("update", ("x",), {}, "id"), ("update", (OTHER,), {"goal": ""}, "goal"),
        ("update", (OTHER,), {"priority": 1.0}, "priority"),
        ("update", (OTHER,), {"expected_version": -1}, "expected_version"),
        ("update", (OTHER,), {"metadata": 1}, "metadata"),
        ("transition", (OTHER, "x"), {}, "status"), ("delete", (OTHER,), {"edges": "x"}, "edges"),
        ("link", (OTHER, OTHER, "enables"), {}, "to_id"), ("link", (OTHER, UUID(int=1), "x"), {}, "type"),
        *[("link", (OTHER, UUID(int=1), "enables"), {"weight": bad}, "weight")
          for bad in (-1, float("nan"), float("inf"), "1", True, 10**400)],
        ("unlink", (OTHER, 5, "enables"), {}, "to_id"), ("edges", (OTHER,), {"type": "x"}, "type"),
        ("edges", (OTHER,), {"direction": "x"}, "direction"),
        ("edges", (OTHER,), {"weight_min": -1}, "weight_min"),
        ("path", (OTHER, OTHER), {"types": "enables"}, "types"),
        ("path", (OTHER, OTHER), {"direction": 1}, "direction"),
        ("list", (), {"status": "x"}, "status"), ("list", (), {"status": 5}, "status"),
        ("list", (), {"order": "x"}, "order"),
        ("list", (), {"priority_min": "x"}, "priority_min"), ("list", (), {"since": 5}, "since"),
        ("list", (), {"text": ""}, "text"),
        ("count", (), {"status": "x"}, "status"), ("list", (), {"limit": 0}, "limit"),
        ("list", (), {"after": "x"}, "after"),
    ],
)  # fmt: skip
def test_bad_input_is_named_and_changes_nothing(intents, call, arguments, keywords, field):
    with pytest.raises(InvalidInputError) as caught:
        getattr(intents, call)(*arguments, **keywords)
    assert caught.value.field.split(".")[0] == field and intents.count() == 0


def test_a_run_is_replayed_and_compared(space):
    before = space.intents.persist("before")
    with space.run("a") as run:
        made = run.intents.persist("made", parent=before.id, by="run")
        run.intents.transition(made.id, "completed")
        run.intents.update(before.id, priority=2)
        edge = run.intents.link(before.id, made.id, "depends_on", weight=1)
        state = run.intents.get(made.id)
    space.intents.delete(made.id)
    space.intents.purge(before.id)
    replay = space.replay(run.id)
    assert replay.intents.get(made.id) == state and replay.intents.get(before.id).priority == 2
    assert edge in replay.intents.edges(made.id) and len(replay.intents.history(made.id)) == 2
    with space.run("b") as other:
        other.intents.restore(made.id)
        other.intents.purge(made.id)
    assert {one.kind for one in space.diff(run.id, other.id).removed} == {"intent"}


def test_forgetting_and_retention(space, later):
    a = space.intents.persist("secret", session_id="s", by="secret")
    b = space.intents.persist("b", session_id="t", parent=a.id)
    space.forget(session_id="s")
    assert space.intents.get(a.id) is None and space.intents.history(a.id) == [] == space.intents.edges(b.id)
    space.forget("intent", [str(b.id)])
    assert list(space.intents._graph.records(b.id)) == [] == space.intents.history(b.id)
    old, parent = space.intents.persist("old"), space.intents.persist("parent")
    space.intents.link(old.id, parent.id, "is_subgoal_of")
    gone = space.intents.persist("gone")
    space.intents.delete(gone.id)
    later(100 * 86400)
    new = space.intents.persist("new")
    space.retain("intent", keep_days=1)
    assert space.intents.list() == [new] and space.intents.get(gone.id, deleted=True) is None
    assert len(space.intents.history(old.id)) == 1 and space.intents.purge(old.id)
    assert space.intents.history(old.id) == [] == list(space.intents._graph.records(parent.id))


def test_keys_that_people_name():
    primitive = IntentPrimitive()
    assert primitive.key_range(OTHER) == primitive.key_range(str(OTHER))
    for bad in ("x", 5):
        with pytest.raises(InvalidInputError, match="is no key of intent"):
            primitive.key_range(bad)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=30))
def test_no_order_of_links_closes_a_circle(steps):
    with holdfast.open("memory:") as store:
        intents = store.intents
        ids = [intents.persist(str(n)).id for n in range(6)]
        edges = set()

        def reaches(start, end):
            return start == end or any(reaches(b, end) for a, b in edges if a == start)

        for a, b, adds in steps:
            if not adds:
                assert intents.unlink(ids[a], ids[b], "depends_on") == ((a, b) in edges)
                edges.discard((a, b))
            elif reaches(b, a):
                with pytest.raises(InvalidInputError):
                    intents.link(ids[a], ids[b], "depends_on")
            else:
                intents.link(ids[a], ids[b], "depends_on")
                edges.add((a, b))
        stored = {(one.from_id, one.to_id) for id in ids for one in intents.edges(id)}
        assert stored == {(ids[a], ids[b]) for a, b in edges}


@pytest.mark.parametrize("type", ACYCLIC)
def test_a_link_that_comes_between_the_look_and_the_commit_is_seen(any_store, monkeypatch, type):
    intents = any_store.space("p").intents
    a, b = intents.persist("a"), intents.persist("b")
    look, looks = Graph.chain, []

    def look_and_be_overtaken(self, *arguments):
        found = look(self, *arguments)
        looks.append(found)
        if len(looks) == 1:
            intents.link(b.id, a.id, type)
        return found

    monkeypatch.setattr(Graph, "chain", look_and_be_overtaken)
    with pytest.raises(InvalidInputError, match="would lead back"):
        intents.link(a.id, b.id, type)
    assert looks == [None, None, [b.id, a.id]] and len(intents.edges(a.id)) == 1
