"""Cells: created once, set, compared inside the commit, moved by name, applied to until they are not overtaken."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import ConflictError, InvalidInputError, NotFoundError, Pending


def test_a_cell_is_created_once(space):
    first = space.states.init("phase", "idle", metadata={"m": 1})
    assert (first.key, first.value, first.version, first.metadata) == ("phase", "idle", 1, {"m": 1})
    assert space.states.record("phase") == first and first.created_at == first.updated_at
    with pytest.raises(ConflictError, match="'phase' exists already"):
        space.states.init("phase", "other")
    assert space.states.read("phase") == "idle" and space.states.read("none") is None
    assert space.states.read("none", 7) == 7 and space.states.record("none") is None
    assert space.states.exists("phase") and not space.states.exists("none") and space.states.count() == 1
    assert space.states.delete("phase") and not space.states.delete("phase") and space.states.count() == 0
    assert space.states.init("phase", None).version == 1 and space.states.read("phase", 7) is None


def test_set_creates_and_keeps_what_it_is_not_given(space):
    made = space.states.set("a", 1)
    assert (made.version, made.metadata, made.expires_at) == (1, {}, None)
    moment = datetime(2100, 1, 1, tzinfo=UTC)
    space.states.set("a", 2, metadata={"m": 1}, expires_at=moment)
    third = space.states.set("a", 3)
    assert (third.value, third.version, third.metadata, third.expires_at) == (3, 3, {"m": 1}, moment)
    assert third.created_at == made.created_at and third.updated_at > made.updated_at
    for write in (
        lambda: space.states.transition("a", 4, allowed_from=[3]),
        lambda: space.states.compare_and_set("a", 4, 5),
        lambda: space.states.apply("a", lambda n: n + 1),
    ):
        write()
        kept = space.states.record("a")
        assert (kept.metadata, kept.expires_at) == ({"m": 1}, moment)
    assert kept.value == 6 and kept.version == 6
    bare = space.states.set("a", 7, metadata={}, expires_at=None)
    assert (bare.metadata, bare.expires_at) == ({}, None)
    assert space.states.set("a", 7, metadata={"n": 1}).metadata == {"n": 1}
    assert space.states.set("a", 7, metadata=None, ttl=60).metadata == {}
    assert space.states.record("a").expires_at is not None


def test_conditions(space):
    first = space.states.init("a", 1)
    space.states.set("a", 2, expected_version=1)
    for condition in ({"expected_version": 1}, {"expected": first}, {"expected_version": 0}):
        for write in (
            lambda condition=condition: space.states.set("a", 3, **condition),
            lambda condition=condition: space.states.transition("a", 3, allowed_from=[2], **condition),
            lambda condition=condition: space.states.delete("a", **condition),
        ):
            with pytest.raises(ConflictError, match="state 'a'"):
                write()
    assert space.states.read("a") == 2
    now = space.states.record("a")
    assert space.states.transition("a", 3, allowed_from=[2], expected=now, expected_version=2).version == 3
    assert space.states.set("b", 1, expected_version=0).version == 1
    assert space.states.delete("a", expected_version=3)
    space.states.init("a", 1)
    with pytest.raises(ConflictError, match="changed since"):  # version 1 again, and yet another cell
        space.states.set("a", 2, expected=first)


def test_compare_and_set_compares_values_and_their_types(space):
    space.states.init("a", 1)
    revision = space.states.record("a").revision
    for other in (2, 1.0, True, "1", None, [1], {"v": 1}):
        assert space.states.compare_and_set("a", other, 9) is False
    assert not space.states.compare_and_set("none", None, 9)
    assert space.states.record("a").revision == revision == next(reversed(list(space.changes()))).revision
    assert space.states.compare_and_set("a", 1, {"b": 1, "a": [1.0, None, b"x"]}) is True
    assert space.states.compare_and_set("a", {"a": [1.0, None, b"x"], "b": 1}, 3)  # the order of keys is no value
    assert space.states.read("a") == 3 and space.states.record("a").version == 3


def test_transitions_name_what_the_cell_holds(space):
    with pytest.raises(NotFoundError, match=r"'phase' does not exist; init\(\)"):
        space.states.transition("phase", "running", allowed_from={"idle"})
    space.states.init("phase", "idle")
    moved = space.states.transition("phase", "running", allowed_from={"idle", "paused"})
    assert (moved.value, moved.version) == ("running", 2)
    with pytest.raises(ConflictError) as caught:
        space.states.transition("phase", "running", allowed_from={"idle", "paused"})
    assert "is 'running' and cannot become 'running'; that is allowed from 'idle', 'paused'" in str(caught.value)
    assert space.states.record("phase") == moved
    space.states.transition("phase", {"done": 1}, allowed_from=["running"])
    assert space.states.transition("phase", "idle", allowed_from=[1, {"done": 1}]).value == "idle"


def test_of_many_that_transition_at_once_one_wins(space):
    space.states.init("lock", "free")
    won, lost, others = [], [], []

    def take(name):
        try:
            won.append(space.states.transition("lock", name, allowed_from=["free"]).value)
        except ConflictError as error:
            lost.append(str(error))
        if space.states.compare_and_set("lock", "never", name):
            others.append(name)

    threads = [threading.Thread(target=take, args=(f"t{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and len(lost) == 7 and others == []
    assert space.states.read("lock") == won[0] and all(f"is '{won[0]}'" in text for text in lost)


def test_apply_loses_no_update(space):
    space.states.init("n", 0)

    def count():
        for _ in range(25):
            space.states.apply("n", lambda n: n + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert space.states.read("n") == 100 and space.states.record("n").version == 101


def test_apply_is_called_again_with_what_overtook_it(space):
    space.states.init("n", 1)
    seen = []

    def slow(value):
        seen.append(value)
        if len(seen) == 1:
            space.states.set("n", 10)
        if len(seen) == 2:  # deleted and created again: version 1 once more, and yet it was overtaken
            space.states.delete("n")
            space.states.init("n", 20)
        return value + 1

    assert space.states.apply("n", slow).value == 21 and seen == [1, 10, 20]


def test_apply_to_a_cell_that_does_not_exist(space):
    with pytest.raises(NotFoundError, match="'n' does not exist"):
        space.states.apply("n", lambda n: n + 1)
    assert space.states.apply("n", lambda n: n + 1, default=0).value == 1
    assert space.states.apply("n", lambda n: n + 1, default=0).value == 2
    calls = []

    def late(value):
        calls.append(value)
        if len(calls) == 1:
            space.states.init("m", 5)
        return [value]

    assert space.states.apply("m", late, default=None).value == [5] and calls == [None, 5]


def test_what_the_function_raises_is_raised_and_nothing_is_changed(space):
    space.states.init("n", {"list": []})
    before = space.states.record("n")
    calls = []

    def fail(error):
        def function(value):
            calls.append(value)
            value["list"].append(1)  # what it is given is its own
            raise error

        return function

    for error in (ValueError("no"), ConflictError("its own"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught:
            space.states.apply("n", fail(error))
        assert caught.value is error
    assert len(calls) == 3 and space.states.record("n") == before
    with pytest.raises(InvalidInputError, match="value"):
        space.states.apply("n", lambda value: object())
    assert space.states.record("n") == before


def test_apply_gives_up_in_the_end(space, monkeypatch):
    monkeypatch.setattr("holdfast.retry.time.sleep", lambda seconds: None)
    space.states.init("n", 0)
    calls = []

    def hopeless(value):
        calls.append(value)
        space.states.set("n", value + 1)
        return -1

    with pytest.raises(ConflictError, match="changed since"):
        space.states.apply("n", hopeless)
    assert len(calls) == 64 and space.states.read("n") == 64


def test_an_expired_cell_is_gone(space, clock):
    space.states.init("a", 1, ttl=10)
    space.states.init("b", 1, expires_at=datetime(2100, 1, 1, tzinfo=UTC), metadata={"m": 1})
    clock.time += 11_000_000
    assert space.states.read("a") is None and not space.states.exists("a") and space.states.count() == 1
    assert not space.states.compare_and_set("a", 1, 2)
    with pytest.raises(NotFoundError):
        space.states.transition("a", 2, allowed_from=[1])
    with pytest.raises(NotFoundError):
        space.states.apply("a", lambda n: n)
    assert list(space.states.keys()) == ["b"]
    again = space.states.init("a", 3)
    assert (again.version, again.expires_at) == (1, None)
    space.states.set("c", 1, ttl=10, metadata={"m": 1})
    clock.time += 11_000_000
    fresh = space.states.set("c", 2)
    assert (fresh.version, fresh.expires_at, fresh.metadata) == (1, None, {})


def test_scans_go_by_prefix_page_and_direction(space):
    names = ["a", "a/1", "a/2", "a\0", "b", "ä"]
    for name in names:
        space.states.init(name, name)
    assert list(space.states.keys()) == sorted(names) == [one.value for one in space.states.scan()]
    assert list(space.states.keys("a/")) == ["a/1", "a/2"]
    assert [one.key for one in space.states.scan("a", reverse=True)] == ["a/2", "a/1", "a\0", "a"]
    page = space.states.scan(limit=4)
    assert [one.key for one in [*page, *space.states.scan(after=page.cursor)]] == sorted(names)
    page = space.states.keys(limit=5)
    assert list(space.states.keys(after=page.cursor)) == ["ä"]


BAD = [
    *[
        (name, (key, *more), {}, "key")
        for key in ("", 5, None, "\ud800", "x" * 600)
        for name, more in (
            ("init", (1,)),
            ("set", (1,)),
            ("read", ()),
            ("record", ()),
            ("exists", ()),
            ("delete", ()),
            ("compare_and_set", (1, 2)),
            ("apply", (lambda n: n,)),
        )
    ],
    ("init", ("k", object()), {}, "value"),
    ("set", ("k", {1: 2}), {}, "value"),
    ("init", ("k", "x" * 17_000_000), {}, "value"),
    ("set", ("k", "x" * 17_000_000), {}, "value"),
    ("compare_and_set", ("k", object(), 1), {}, "expected_value"),
    ("compare_and_set", ("k", 1, float("nan")), {}, "value"),
    ("transition", ("k", 1), {"allowed_from": "idle"}, "allowed_from"),
    ("transition", ("k", 1), {"allowed_from": 5}, "allowed_from"),
    ("transition", ("k", 1), {"allowed_from": []}, "allowed_from"),
    ("transition", ("k", 1), {"allowed_from": [1, (2,)]}, "allowed_from[1]"),
    ("transition", ("k", {2}), {"allowed_from": [1]}, "to"),
    ("init", ("k", 1), {"metadata": 5}, "metadata"),
    ("set", ("k", 1), {"metadata": {"a": {1}}}, "metadata.a"),
    ("init", ("k", 1), {"ttl": 0}, "ttl"),
    ("set", ("k", 1), {"ttl": -1}, "ttl"),
    ("set", ("k", 1), {"ttl": 1, "expires_at": datetime(2100, 1, 1, tzinfo=UTC)}, "ttl"),
    ("init", ("k", 1), {"expires_at": datetime(2100, 1, 1)}, "expires_at"),
    ("set", ("k", 1), {"expires_at": 5}, "expires_at"),
    ("set", ("k", 1), {"expected_version": -1}, "expected_version"),
    ("delete", ("k",), {"expected": 5}, "expected"),
    ("transition", ("k", 1), {"allowed_from": [1], "expected_version": "1"}, "expected_version"),
    ("scan", (5,), {}, "prefix"),
    ("keys", (), {"limit": 0}, "limit"),
    ("scan", (), {"after": "x"}, "after"),
]


@pytest.mark.parametrize(("name", "arguments", "keywords", "field"), BAD, ids=range(len(BAD)))
def test_bad_input_names_its_field_and_changes_nothing(space, name, arguments, keywords, field):
    space.states.init("kept", 1)
    with pytest.raises(InvalidInputError) as caught:
        getattr(space.states, name)(*arguments, **keywords)
    assert caught.value.field == field
    assert list(space.states.keys()) == ["kept"]


def test_inside_a_transaction(space):
    space.states.init("phase", "idle", metadata={"m": 1})
    space.states.init("n", 1)
    with space.transaction() as tx:
        made = tx.states.init("new", [1])
        assert (made.value, made.version) == ([1], 0)
        pending = tx.states.set("phase", "busy")
        assert isinstance(pending, Pending)
        with pytest.raises(holdfast.TransactionError):
            assert pending.version
        assert tx.states.read("phase") == "busy"
        assert tx.states.transition("phase", "done", allowed_from=["busy"]).value == "done"
        with pytest.raises(ConflictError, match="is 'done'"):
            tx.states.transition("phase", "busy", allowed_from=["idle"])
        assert not tx.states.compare_and_set("n", 2, 3) and tx.states.compare_and_set("n", 1, 3)
        tx.states.apply("n", lambda n: n * 2)
        tx.states.apply("n", lambda n: n + 1)
        with pytest.raises(NotFoundError):
            tx.states.apply("none", lambda n: n)
        own = ConflictError("its own")

        def fail(value):
            raise own

        with pytest.raises(ConflictError) as caught:
            tx.states.apply("n", fail)
        assert caught.value is own
        assert tx.states.delete("new") and tx.states.count() == 2 and list(tx.states.keys()) == ["n", "phase"]
        assert space.states.read("phase") == "idle"
    assert (pending.value, pending.version, pending.metadata) == ("busy", 2, {"m": 1})
    assert (space.states.read("phase"), space.states.read("n")) == ("done", 7)
    assert space.states.record("phase").metadata == {"m": 1} and not space.states.exists("new")


def test_a_blind_write_in_a_transaction_is_not_overtaken_and_a_decision_is(space):
    space.states.init("a", 1)
    with space.transaction() as tx:
        tx.states.set("a", 2)
        space.states.set("a", 5)
    assert space.states.read("a") == 2
    for write in (
        lambda tx: tx.states.transition("a", 3, allowed_from=[2]),
        lambda tx: tx.states.compare_and_set("a", 2, 3),
        lambda tx: tx.states.apply("a", lambda n: 3),
    ):
        space.states.set("a", 2)
        with pytest.raises(ConflictError), space.transaction() as tx:
            write(tx)
            space.states.set("a", 2)  # the same value, and yet a change
        assert space.states.read("a") == 2
    with pytest.raises(ConflictError, match="exists already"), space.transaction() as tx:
        tx.states.init("a", 9)
    space.states.delete("a")
    assert space.transact(lambda tx: tx.states.apply("a", lambda n: n + 1, default=0)).version == 1


def test_a_run_is_replayed_and_compared(space):
    space.states.init("shared", "idle", metadata={"m": 1})
    runs = []
    for target in ("red", "blue"):
        with space.run(target) as run:
            run.states.set("shared", "idle")
            run.states.transition("shared", target, allowed_from={"idle"})
            run.states.init("own", 1)
            run.states.compare_and_set("own", 2, 5)
            run.states.apply("own", lambda n: n + 1)
            run.states.compare_and_set("own", 2, 3)
            run.states.init(target, 1)
            run.states.set("gone", 1)
            run.states.delete("gone")
        last = {key: space.states.record(key) for key in ("shared", "own", target)}
        replay = space.replay(run.id)
        assert {one.key: one for one in replay.states.scan()} == last and replay.unknown == ()
        assert replay.states.read("own") == 3 and replay.states.record("shared").metadata == {"m": 1}
        with pytest.raises(holdfast.ReadOnlyError):
            replay.states.apply("own", lambda n: n + 1)
        runs.append(run)
        space.states.delete("own")
    difference = space.diff(*runs)
    assert [(one.kind, one.key) for one in difference.added] == [("state", "blue")]
    assert [(one.kind, one.key) for one in difference.removed] == [("state", "red")]
    assert [(one.key, one.before["value"], one.after["value"]) for one in difference.modified] == [
        ("shared", "red", "blue")
    ]
    assert space.replay(runs[0].id).values() == space.replay(runs[0].id).values()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from([0.0, -0.0, 1.0, "", "a", b"a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("init"), VALUES),
        st.tuples(st.just("set"), VALUES),
        st.tuples(st.just("compare_and_set"), VALUES, VALUES),
        st.tuples(st.just("transition"), VALUES, st.lists(VALUES, min_size=1, max_size=3)),
        st.tuples(st.just("apply"), VALUES),
        st.tuples(st.just("delete")),
    ),
    max_size=12,
)


def typed(value):
    """A value that equals another only if the types do as well."""
    if isinstance(value, dict):
        return "dict", frozenset((key, typed(one)) for key, one in value.items())
    if isinstance(value, list):
        return "list", tuple(typed(one) for one in value)
    return type(value).__name__, repr(value)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.booleans())
def test_a_cell_does_what_a_variable_does(steps, in_transactions):
    """Any sequence of operations, each in a commit of its own or all in one transaction, against a plain model."""
    with holdfast.open("memory:") as store:
        space = store.space("p")
        absent, version, held = object(), 0, object()
        held = absent
        with space.transaction() as tx:
            cells = tx.states if in_transactions else space.states
            for name, *arguments in steps:
                if name == "init":
                    if held is not absent:
                        continue
                    cells.init("k", arguments[0])
                    held, version = arguments[0], 1
                elif name == "set":
                    cells.set("k", arguments[0])
                    held, version = arguments[0], version + 1
                elif name == "compare_and_set":
                    equal = held is not absent and typed(held) == typed(arguments[0])
                    assert cells.compare_and_set("k", *arguments) is equal
                    held, version = (arguments[1], version + 1) if equal else (held, version)
                elif name == "transition":
                    allowed = {typed(one) for one in arguments[1]}
                    if held is not absent and typed(held) in allowed:
                        cells.transition("k", arguments[0], allowed_from=arguments[1])
                        held, version = arguments[0], version + 1
                    else:
                        with pytest.raises(NotFoundError if held is absent else ConflictError):
                            cells.transition("k", arguments[0], allowed_from=arguments[1])
                elif name == "apply":
                    if held is absent:
                        continue
                    cells.apply("k", lambda value, more=arguments[0]: [value, more])
                    held, version = [held, arguments[0]], version + 1
                else:
                    assert cells.delete("k") is (held is not absent)
                    held, version = absent, 0
                assert typed(cells.read("k", "absent")) == typed("absent" if held is absent else held)
        found = space.states.record("k")
        assert (found is None) == (held is absent)
        if found is not None:
            assert typed(found.value) == typed(held) and found.version == version
