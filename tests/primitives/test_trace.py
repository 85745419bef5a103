"""Spans: under parents that are there, ended once, found by what they are and when they began."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import ConflictError, InvalidInputError, NotFoundError
from holdfast.primitives.trace import TAGS_MAX

MOMENT = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = UUID("0190163d-8694-739b-aea5-966c26f8ad91")


def at(seconds: float) -> datetime:
    return MOMENT + timedelta(seconds=seconds)


def test_a_span_is_recorded(space, clock):
    span = space.traces.record("tool_call", name="grep", attributes={"files": 3, "at": MOMENT}, tags=["a", "b", "a"])
    assert (span.type, span.name, span.attributes, span.tags) == (
        "tool_call", "grep", {"files": 3, "at": MOMENT}, ("a", "b"),
    )  # fmt: skip
    assert (span.parent, span.trace_id, span.version, span.status, span.error) == (None, span.id, 1, "unset", None)
    assert span.start == span.end == datetime.fromtimestamp(clock.time / 1e6, UTC) and span.duration == timedelta(0)
    assert space.traces.get(span.id) == space.traces.get(str(span.id)) == space.traces.get(span) == span
    assert space.traces.exists(span) and not space.traces.exists(OTHER) and space.traces.get(OTHER) is None
    full = space.traces.record(
        "my type", start=at(0), end=at(2), status="ok", trace_id=OTHER, metadata={"m": 1}, id=str(OTHER)
    )
    assert (full.id, full.trace_id, full.name, full.status, full.metadata) == (OTHER, OTHER, "my type", "ok", {"m": 1})
    assert (full.start, full.end, full.duration) == (at(0), at(2), timedelta(seconds=2))
    assert space.traces.record("error", error="no such file").status == "error"
    assert space.traces.record("error", status="error").error is None
    past = space.traces.record("query", end=at(-(10**9)))
    assert past.start == past.end == at(-(10**9))
    future = space.traces.record("query", start=at(10**9))
    assert future.start == future.end == at(10**9)
    assert space.traces.count() == 6
    with pytest.raises(ConflictError, match=f"span {OTHER} must not exist"):
        space.traces.record("query", id=OTHER)


def test_an_open_span_is_ended_once(space, clock):
    begun = space.traces.begin("query", attributes={"a": 1}, tags=["t"])
    assert begun.end is None and begun.duration is None and begun.status == "unset"
    clock.time += 3_000_000
    ended = space.traces.end(begun, attributes={"b": 2})
    assert (ended.status, ended.attributes, ended.tags, ended.version) == ("ok", {"a": 1, "b": 2}, ("t",), 2)
    assert ended.duration == timedelta(seconds=3)
    with pytest.raises(ConflictError, match="has ended already"):
        space.traces.end(begun.id)
    assert space.traces.get(begun) == ended
    with pytest.raises(NotFoundError, match=f"span {OTHER} does not exist"):
        space.traces.end(OTHER)
    later = space.traces.begin("query", start=at(10))
    with pytest.raises(InvalidInputError, match="before the start"):
        space.traces.end(later, end=at(9))
    assert space.traces.end(later, end=at(10), status="unset").status == "unset"
    failed = space.traces.end(space.traces.begin("query"), error="timeout")
    assert (failed.status, failed.error) == ("error", "timeout")
    judged = space.traces.begin("query")
    space.traces.update(judged, error="half way")
    assert space.traces.end(judged).error == "half way"
    ahead = space.traces.begin("query", start=at(10**9))
    assert space.traces.end(ahead).end == ahead.start  # a clock that is behind makes no negative durations


def test_a_parent_must_be_there(space):
    with pytest.raises(NotFoundError, match=f"the parent span {OTHER} does not exist"):
        space.traces.record("thought", parent=OTHER)
    with pytest.raises(NotFoundError), space.transaction() as tx:
        tx.traces.begin("thought", parent=OTHER)
    root = space.traces.record("decision", trace_id=OTHER)
    child = space.traces.begin("thought", parent=root.id)
    below = space.traces.record("thought", parent=child)
    assert [one.trace_id for one in (root, child, below)] == [OTHER] * 3
    assert (child.parent, below.parent) == (root.id, child.id)
    assert space.traces.delete(child) and not space.traces.delete(child)
    for parent in (child, child.id):
        with pytest.raises(NotFoundError):
            space.traces.record("thought", parent=parent)
    itself = UUID(int=5)
    with pytest.raises(NotFoundError):
        space.traces.record("thought", id=itself, parent=itself)
    assert space.traces.count() == 2


def test_a_parent_may_be_of_the_same_transaction(space):
    with space.transaction() as tx:
        root = tx.traces.record("decision")
        by_span = tx.traces.record("thought", parent=root)
        by_id = tx.traces.record("thought", parent=by_span.id)
        assert (by_span.trace_id, by_id.trace_id, by_id.version) == (root.id, None, 0)
        below = tx.traces.record("thought", parent=by_id)
    assert {span.trace_id for span in space.traces.list()} == {root.id}
    assert [span.id for _, span in space.traces.tree(root).walk()] == [root.id, by_span.id, by_id.id, below.id]
    with pytest.raises(NotFoundError), space.transaction() as tx:
        tx.traces.record("thought", parent=OTHER)
        tx.traces.record("thought", id=OTHER)  # too late
    with pytest.raises(NotFoundError), space.transaction() as tx:
        tx.traces.record("thought", parent=below)
        space.traces.delete(below)
    assert space.traces.count() == 3


def test_a_block_is_a_span(space, clock):
    with space.traces.span("decision", name="choose", tags=["t"], attributes={"a": 1}) as outer:
        assert space.traces.get(outer) == outer and outer.end is None
        with space.traces.span("tool_call", parent=outer) as inner:
            clock.time += 1_000_000
    found = space.traces.get(outer)
    assert (found.status, found.name, found.tags) == ("ok", "choose", ("t",))
    assert timedelta(seconds=1) <= found.duration < timedelta(seconds=1.1)
    assert space.traces.get(inner).parent == outer.id
    for error, text in ((ValueError("no\ud800"), "ValueError: no?"), (KeyboardInterrupt(), "KeyboardInterrupt: ")):
        with pytest.raises(type(error)) as caught, space.traces.span("tool_call") as span:
            raise error
        assert caught.value is error and not hasattr(error, "__notes__")
        found = space.traces.get(span)
        assert (found.status, found.error) == ("error", text) and found.end is not None
    with space.traces.span("query") as span:
        space.traces.end(span, status="unset")
    assert space.traces.get(span).status == "unset" and space.traces.get(span).version == 2
    with space.traces.span("query") as span:
        space.traces.delete(span)
    assert not space.traces.exists(span)
    with pytest.raises(NotFoundError), space.traces.span("query", parent=OTHER):
        raise AssertionError("the block must not be entered")
    assert space.traces.count(open=True) == 0


def test_a_block_whose_span_cannot_be_ended_says_so(url):
    store = holdfast.open(url)
    error = ValueError("the first")
    with pytest.raises(ValueError, match="the first"), store.space("p").traces.span("query"):
        store.close()
        raise error
    assert "could not be ended" in error.__notes__[0]


def test_annotating_loses_nothing(space):
    span = space.traces.begin("query", attributes={"a": 1, "b": 1})

    def annotate(name):
        for n in range(10):
            space.traces.annotate(span, {f"{name}{n}": n, "b": 2}, tags=[f"{name}{n % 2}"])

    threads = [threading.Thread(target=annotate, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = space.traces.get(span)
    assert len(found.attributes) == 32 and (found.attributes["a"], found.attributes["b"]) == (1, 2)
    assert sorted(found.tags) == ["x0", "x1", "y0", "y1", "z0", "z1"] and found.version == 31
    assert [one.id for one in space.traces.list(tags=["y1", "x0"])] == [span.id]
    assert space.traces.annotate(span, tags=["more"]).attributes == found.attributes
    with pytest.raises(InvalidInputError, match="tags"):
        space.traces.annotate(span, tags=[f"t{n}" for n in range(TAGS_MAX - 3)])
    with pytest.raises(NotFoundError):
        space.traces.annotate(OTHER, {"a": 1})
    space.traces.end(span)
    assert space.traces.annotate(span, {"late": True}).attributes["late"] is True


def test_update_sets_what_is_given(space):
    span = space.traces.record("query", name="n", attributes={"a": 1}, tags=["t"], metadata={"m": 1}, ttl=60)
    assert space.traces.update(span).version == 2
    same = space.traces.get(span)
    assert (same.name, same.attributes, same.tags, same.metadata) == ("n", {"a": 1}, ("t",), {"m": 1})
    assert same.expires_at is not None
    wrong = space.traces.update(span, error="no")
    assert (wrong.status, wrong.error) == ("error", "no")
    after = space.traces.update(
        span, name="o", attributes={"b": 1}, tags=["u"], status="ok", metadata={}, expires_at=None, expected_version=3
    )
    assert (after.name, after.attributes, after.tags, after.metadata) == ("o", {"b": 1}, ("u",), {})
    assert (after.status, after.error, after.expires_at) == ("ok", None, None)
    assert space.traces.list(tags=["t"]) == [] and space.traces.list(name="o", tags=["u"], status="ok") == [after]
    for condition in ({"expected_version": 3}, {"expected": same}):
        for write in (
            lambda condition=condition: space.traces.update(span, name="p", **condition),
            lambda condition=condition: space.traces.annotate(span, {"c": 1}, **condition),
            lambda condition=condition: space.traces.end(span, **condition),
            lambda condition=condition: space.traces.delete(span, **condition),
        ):
            with pytest.raises(ConflictError, match=f"span {span.id}"):
                write()
    assert space.traces.get(span) == after
    with pytest.raises(NotFoundError):
        space.traces.update(OTHER, name="o")
    assert space.traces.delete(span, expected=after)


def test_trees_are_nested_and_in_order_of_start(space):
    root = space.traces.record("decision", name="root", start=at(0), end=at(9))
    late = space.traces.record("tool_call", name="late", parent=root, start=at(5), end=at(6))
    early = space.traces.record("tool_call", name="early", parent=root, start=at(1), end=at(2))
    below = space.traces.record("thought", name="below", parent=late, start=at(3), end=at(3))  # before its parent
    alone = space.traces.record("query", name="alone", start=at(-1), end=at(0))
    tree = space.traces.tree(root)
    assert [(depth, span.name) for depth, span in tree.walk()] == [(0, "root"), (1, "early"), (1, "late"), (2, "below")]
    assert tree.span == root and [one.span for one in tree.children] == [early, late]
    assert space.traces.tree(late.id).children[0] == holdfast.SpanTree(below, [])
    assert space.traces.tree(alone) == holdfast.SpanTree(alone, [])
    assert holdfast.to_dict(tree)["children"][1]["children"][0]["span"]["name"] == "below"
    assert space.traces.children(root) == [early, late] and space.traces.children(below) == []
    page = space.traces.children(root, limit=1)
    assert page == [early] and space.traces.children(root, after=page.cursor) == [late]
    assert space.traces.roots() == [alone, root] and space.traces.roots(reverse=True) == [root, alone]
    assert space.traces.roots(type="query") == [alone] and space.traces.roots(since=at(0), limit=1) == [root]
    assert space.traces.roots(tags=["t"]) == space.traces.roots(status="ok") == space.traces.roots(until=at(-1)) == []
    with pytest.raises(NotFoundError):
        space.traces.tree(OTHER)
    space.traces.delete(late)
    assert [span.name for _, span in space.traces.tree(root).walk()] == ["root", "early"]
    assert space.traces.children(late) == [below]


def test_lists_filter_and_page(space):
    made = [
        space.traces.record(
            "tool_call" if n % 2 else "query",
            name=f"n{n % 3}",
            tags=["all", f"t{n % 4}"],
            start=at(n),
            end=at(n + 1),
            attributes={"n": n, "even": n % 2 == 0},
            **({"error": "no"} if n == 7 else {"status": "ok"} if n == 8 else {}),
        )
        for n in range(12)
    ]
    running = space.traces.begin("query", start=at(20), tags=["all"])
    numbers = lambda **chosen: [one.attributes.get("n") for one in space.traces.list(**chosen)]  # noqa: E731
    assert numbers() == [*range(12), None] and numbers(reverse=True, limit=2) == [None, 11]
    assert numbers(type="tool_call") == [1, 3, 5, 7, 9, 11]
    assert numbers(type="tool_call", tags=["all", "t1"], since=at(2), until=at(9)) == [5]
    assert numbers(since=at(10)) == [10, 11, None] and numbers(until=at(2)) == [0, 1]
    assert numbers(name="n1") == [1, 4, 7, 10] and numbers(name="n1", type="query") == [4, 10]
    assert numbers(status="error") == [7] and numbers(status="ok") == [8]
    assert numbers(status="unset", since=at(6), open=False) == [6, 9, 10, 11]
    assert space.traces.list(open=True) == [running] and len(space.traces.list(open=False)) == 12
    assert numbers(where={"n": 3}) == [3] and numbers(where={"n": 3.0}) == [] and numbers(where={"x": 1}) == []
    assert numbers(where={"even": True}, limit=3) == [0, 2, 4]
    assert numbers(trace_id=made[4].id) == [4] and numbers(trace_id=str(OTHER)) == [] == numbers(parent=made[4])
    for chosen in ({}, {"type": "query"}, {"tags": ["t2"]}, {"open": False}, {"where": {"even": False}}):
        for reverse in (False, True):
            found, after = [], None
            while True:
                page = space.traces.list(limit=2, after=after, reverse=reverse, **chosen)
                found += page
                after = page.cursor
                if after is None:
                    break
            assert found == space.traces.list(limit=None, reverse=reverse, **chosen)
    assert space.traces.count() == 13 and space.traces.count(type="tool_call") == 6
    assert space.traces.count(open=False) == 12 and space.traces.count(since=at(3), until=at(5)) == 2
    assert space.traces.count(tags=["all", "t3"], name="n0") == 1 and space.traces.count(status="error") == 1
    assert space.traces.count(parent=made[0]) == 0 and space.traces.count(trace_id=made[0].id) == 1


def test_a_tree_is_deleted_whole(space, monkeypatch):
    root = space.traces.record("decision")
    middle = space.traces.record("thought", parent=root)
    for _ in range(3):
        space.traces.record("thought", parent=space.traces.record("thought", parent=middle))
    other = space.traces.record("decision")
    assert space.traces.delete_tree(OTHER) == 0
    before = space.changes
    assert space.traces.delete_tree(middle) == 7 and space.traces.list() == [root, other]
    assert len({change.revision for change in before() if change.deleted}) == 1
    child = space.traces.record("thought", parent=root)
    write, added = space._scope.write, []

    def overtaken(steps, finish):
        if not added:
            added.append(None)
            added[0] = space.traces.record("thought", parent=child)
        return write(steps, finish)

    monkeypatch.setattr(space._scope, "write", overtaken)
    assert space.traces.delete_tree(root) == 3  # the one that came in between as well
    monkeypatch.undo()
    assert space.traces.list() == [other]
    space.traces.delete(other)
    child = space.traces.record("thought", parent=space.traces.record("thought", id=other.id))
    with space.transaction() as tx:
        assert tx.traces.delete_tree(other) == 2 and tx.traces.count() == 0
    assert space.traces.count() == 0


def test_an_expired_span_is_gone(space, clock):
    root = space.traces.record("decision", ttl=10)
    kept = space.traces.begin("thought", parent=root, expires_at=MOMENT + timedelta(days=36500))
    clock.time += 11_000_000
    assert not space.traces.exists(root) and space.traces.list() == [kept] and space.traces.count() == 1
    with pytest.raises(NotFoundError):
        space.traces.record("thought", parent=root)
    with pytest.raises(NotFoundError):
        space.traces.tree(root)
    assert space.traces.end(kept).expires_at == kept.expires_at
    assert space.traces.record("decision", id=root.id).version == 1


BAD = [
    *[("record", (bad,), {}, "type") for bad in ("", 5, None, "\ud800", "x" * 129)],
    *[(name, ("query",), {field: bad}, at)
      for name in ("record", "begin")
      for field, bad, at in (
          ("name", "", "name"), ("name", 5, "name"), ("attributes", 5, "attributes"),
          ("attributes", {"a": {1}}, "attributes.a"), ("attributes", {"a": "x" * 17_000_000}, "attributes"),
          ("tags", "x", "tags"), ("tags", [""], "tags[0]"), ("tags", [f"{n}" for n in range(49)], "tags"),
          ("parent", "x", "parent"), ("parent", 5, "parent"), ("id", "x", "id"), ("trace_id", 5, "trace_id"),
          ("trace_id", UUID(int=0), "trace_id"), ("metadata", [], "metadata"), ("start", 5, "start"),
          ("start", datetime(2026, 1, 1), "start"), ("start", datetime(1970, 1, 1, tzinfo=UTC), "start"),
          ("start", datetime(2554, 12, 31, tzinfo=UTC), "start"), ("ttl", 0, "ttl"), ("expires_at", 5, "expires_at"))],
    ("record", ("query",), {"trace_id": OTHER, "parent": OTHER}, "trace_id"),
    ("record", ("query",), {"status": "fine"}, "status"), ("record", ("query",), {"status": None}, "status"),
    ("record", ("query",), {"error": ""}, "error"), ("record", ("query",), {"error": "x", "status": "ok"}, "error"),
    ("record", ("query",), {"start": at(2), "end": at(1)}, "end"), ("record", ("query",), {"end": 5}, "end"),
    ("end", ("x",), {}, "id"), ("end", (OTHER,), {"end": 5}, "end"), ("end", (OTHER,), {"attributes": 5}, "attributes"),
    ("end", (OTHER,), {"expected_version": -1}, "expected_version"), ("annotate", (5,), {}, "id"),
    ("annotate", (OTHER, 5), {}, "attributes"), ("annotate", (OTHER,), {"tags": "x"}, "tags"),
    ("update", (OTHER,), {"name": ""}, "name"), ("update", (OTHER,), {"tags": [5]}, "tags[0]"),
    ("update", (OTHER,), {"attributes": []}, "attributes"), ("update", (OTHER,), {"metadata": 5}, "metadata"),
    ("update", (OTHER,), {"expires_at": 5}, "expires_at"), ("delete", (5,), {}, "id"),
    ("delete_tree", ("x",), {}, "id"),
    ("delete", (OTHER,), {"expected": 5}, "expected"), ("get", (None,), {}, "id"), ("exists", ("x",), {}, "id"),
    ("tree", (5,), {}, "root"), ("children", ("x",), {}, "id"),
    *[(name, (), {field: bad}, at)
      for name in ("list", "roots")
      for field, bad, at in (
          ("type", "", "type"), ("tags", "x", "tags"), ("status", "x", "status"), ("since", 5, "since"),
          ("until", datetime(2026, 1, 1), "until"), ("limit", 0, "limit"), ("after", "x", "after"))],
    ("list", (), {"name": 5}, "name"), ("list", (), {"open": 1}, "open"), ("list", (), {"trace_id": "x"}, "trace_id"),
    ("list", (), {"parent": "x"}, "parent"), ("list", (), {"where": 5}, "where"), ("count", (), {"open": "x"}, "open"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "keywords", "field"), BAD, ids=range(len(BAD)))
def test_bad_input_names_its_field_and_changes_nothing(space, name, arguments, keywords, field):
    with pytest.raises(InvalidInputError) as caught:
        getattr(space.traces, name)(*arguments, **keywords)
    assert caught.value.field == field
    assert list(space.changes()) == []


def test_inside_a_transaction(space):
    outside = space.traces.begin("decision", start=at(0))
    with space.transaction() as tx:
        first = tx.traces.record("query", parent=outside, start=at(1), end=at(1), tags=["t"])
        assert (first.version, first.revision, first.trace_id) == (0, 0, outside.id)
        with tx.traces.span("tool_call", parent=first) as block:
            assert tx.traces.list(open=True, type="tool_call")[0].id == block.id
        assert tx.traces.get(block).status == "ok"
        assert tx.traces.annotate(first, {"a": 1}, tags=["u"]).tags == ("t", "u")
        assert tx.traces.update(first, name="renamed").attributes == {"a": 1}
        assert [depth for depth, _ in tx.traces.tree(outside).walk()] == [0, 1, 2]
        assert tx.traces.count() == 3 == len(tx.traces.list()) and tx.traces.roots() == [outside]
        assert tx.traces.delete(block) and tx.traces.count(type="tool_call") == 0
        with pytest.raises(ConflictError, match="ended already"):
            tx.traces.end(first)
        assert space.traces.count() == 1
    assert space.traces.get(first).name == "renamed" and space.traces.count() == 2
    assert space.traces.get(first).version == 3


def test_recording_reads_nothing_and_ending_can_be_overtaken(space):
    root = space.traces.begin("decision")
    with space.transaction() as tx:
        tx.events.append("log", 1)
        for parent in (root, root.id):
            tx.traces.record("thought", parent=parent)
        space.traces.annotate(root, {"a": 1})
        space.events.append("log", 0)
    assert space.traces.count() == 3
    with pytest.raises(ConflictError), space.transaction() as tx:
        tx.traces.end(root)
        space.traces.annotate(root, {"a": 2})
    assert space.traces.get(root).end is None
    with pytest.raises(ConflictError), space.transaction() as tx:
        assert len(tx.traces.tree(root).children) == 2
        tx.kv.put("children", 2)
        space.traces.record("thought", parent=root)
    with pytest.raises(ConflictError, match="must not exist"), space.transaction() as tx:
        tx.traces.record("thought", id=root.id)
    assert space.traces.count() == 4 and not space.kv.exists("children")


def test_a_run_is_replayed_and_compared(space):
    outside = space.traces.record("decision")
    runs = []
    for answer in (1, 2):
        with space.run("r") as run:
            run.traces.begin("decision", id=UUID(int=1), trace_id=OTHER, tags=["t"])
            with run.traces.span("tool_call", parent=UUID(int=1), id=UUID(int=2)) as inner:
                run.traces.annotate(inner, {"answer": answer})
            with pytest.raises(ConflictError):
                run.traces.end(inner)
            run.traces.record("thought", parent=outside, id=UUID(int=3))
            run.traces.delete(run.traces.record("thought", parent=inner, id=UUID(int=4)))
            run.traces.end(UUID(int=1))
            if answer == 2:
                run.traces.record("thought", parent=inner, id=UUID(int=5))
        spans = [span for span in space.traces.list() if span.id != outside.id]
        replay = space.replay(run.id)
        assert replay.traces.list() == spans and replay.unknown == ()
        assert replay.traces.tree(UUID(int=1)) == space.traces.tree(UUID(int=1))
        assert replay.traces.get(UUID(int=3)).trace_id == outside.id
        assert ("trace", str(UUID(int=4)), None) in replay.values()
        with pytest.raises(holdfast.ReadOnlyError):
            replay.traces.record("thought")
        runs.append(run)
        space.traces.delete_tree(UUID(int=1))
        space.traces.delete(UUID(int=3))
    found = space.diff(*runs)
    assert [(one.kind, one.key) for one in found.added] == [("trace", str(UUID(int=5)))] and found.removed == ()
    assert [(one.before["attributes"], one.after["attributes"]) for one in found.modified] == [
        ({"answer": 1}, {"answer": 2})
    ]
    assert found.modified[0].after["open"] is False


SPANS = st.lists(
    st.tuples(st.integers(0, 5), st.none() | st.integers(0, 11), st.sampled_from("ab"), st.sets(st.sampled_from("xy"))),
    max_size=12,
)


@settings(max_examples=50, deadline=None)
@given(SPANS, st.booleans())
def test_a_forest_is_what_was_planted(planted, in_one_transaction):
    """Spans under any earlier ones, with starts in any order, against lists of Python."""
    with holdfast.open("memory:") as store:
        space, made = store.space("p"), []
        with space.transaction() as tx:
            traces = tx.traces if in_one_transaction else space.traces
            for start, above, type, tags in planted:
                parent = made[above] if above is not None and above < len(made) else None
                made.append(traces.record(type, parent=parent, start=at(start), end=at(9), tags=sorted(tags)))
        order = sorted(made, key=lambda span: (span.start, span.id.bytes))
        ids = lambda spans: [span.id for span in spans]  # noqa: E731
        assert ids(space.traces.list()) == ids(order)
        assert ids(space.traces.roots()) == ids(span for span in order if span.parent is None)
        for span in made:
            assert ids(space.traces.children(span)) == ids(one for one in order if one.parent == span.id)

            def below(top, depth):
                yield depth, top.id
                for one in order:
                    if one.parent == top.id:
                        yield from below(one, depth + 1)

            found = space.traces.tree(span)
            assert [(depth, one.id) for depth, one in found.walk()] == list(below(span, 0))
            assert {one.trace_id for _, one in found.walk()} == {space.traces.get(span).trace_id}
        for type in "ab":
            for tags in ([], ["x"], ["x", "y"]):
                expected = [one for one in order if one.type == type and set(tags) <= set(one.tags)]
                assert ids(space.traces.list(type=type, tags=tags)) == ids(expected)
                assert space.traces.count(type=type, tags=tags) == len(expected)
