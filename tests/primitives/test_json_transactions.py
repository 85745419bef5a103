"""What transactions see of documents: siblings merge, overlapping paths conflict, and nobody sees two states."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import ConflictError, NotFoundError, Pending, TransactionError
from holdfast.primitives.json_paths import parse_pointer

TREE = {"a": {"b": {"c": 1}, "d": 2}, "e": [1, {"f": 2}], "g": 3}
POINTERS = ["", "/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/0", "/e/1", "/e/1/f", "/g"]


@pytest.fixture
def document(space):
    space.json.create("d", TREE)
    return space.json


def test_two_that_read_and_write_siblings_both_succeed(space, document):
    with space.transaction() as tx:
        n = tx.json.get("d", "/a/b/c")
        space.transact(lambda other: other.json.set("d", "/a/d", other.json.get("d", "/a/d") + 1))
        tx.json.set("d", "/a/b/c", n + 1)
    assert document.get("d", "/a") == {"b": {"c": 2}, "d": 3} and document.record("d").version == 3


@pytest.mark.parametrize("read", POINTERS)
@pytest.mark.parametrize("written", POINTERS)
def test_paths_conflict_just_if_they_overlap(space, document, read, written):
    first, second = parse_pointer(read), parse_pointer(written)
    overlap = first[: len(second)] == second or second[: len(first)] == first
    mine = "/g" if overlap or written != "/g" else "/a"

    def overtaken():
        with space.transaction() as tx:
            tx.json.get("d", read)
            document.set("d", written, "other")
            tx.json.set("d", mine, "mine") if written else tx.kv.put("x", 1)

    if overlap:
        with pytest.raises(ConflictError, match="json 'd'") as caught:
            overtaken()
        assert caught.value.keys == (("json", "d"),)
        assert document.get("d", written) == "other"
    else:
        overtaken()
        assert (document.get("d", written), document.get("d", mine)) in [("other", "mine"), ("mine", "mine")]


def test_of_two_that_overlap_the_later_is_told(space, document):
    with pytest.raises(ConflictError), space.transaction() as tx:
        tx.json.set("d", "/a/b", {"was": tx.json.get("d", "/a/b")})
        space.transact(lambda other: other.json.set("d", "/a/b/c", other.json.get("d", "/a/b/c") + 1))
    assert document.get("d", "/a/b") == {"c": 2}
    tries = []

    def work(tx):
        tries.append(tx.json.get("d", "/a/b/c"))
        if len(tries) < 3:
            document.set("d", "/a/b/c", len(tries) * 10)
        tx.json.set("d", "/a/b/c", tries[-1] + 1)

    space.transact(work)
    assert tries == [2, 10, 20] and document.get("d", "/a/b/c") == 21


def test_a_value_that_is_back_is_no_conflict(space, document):
    with space.transaction() as tx:
        assert tx.json.get("d", "/g") == 3
        document.set("d", "/g", 4)
        document.set("d", "/g", 3)
        tx.json.set("d", "/g", 5)
    assert document.get("d", "/g") == 5
    for other in (3.0, True, None):
        with pytest.raises(ConflictError), space.transaction() as tx:
            document.set("d", "/g", 3)
            assert tx.json.get("d", "/g") == 3
            document.set("d", "/g", other)
            tx.kv.put("x", 1)


def test_what_reads_nothing_never_conflicts(space, document):
    with space.transaction() as tx:
        tx.json.set("d", "/g", 1)
        tx.json.patch("d", [{"op": "add", "path": "/e/0", "value": 0}])
        tx.json.push("d", "/e", 9)
        tx.json.merge_patch("d", {"h": 1})
        tx.kv.delete("x")
        document.put("d", {"e": []})
    assert document.get("d") == {"e": [0, 9], "g": 1, "h": 1}


def test_nothing_that_comes_or_goes_is_missed(space, document):
    for look, change in [
        (lambda tx: tx.json.get("d", "/x"), lambda: document.set("d", "/x", None)),
        (lambda tx: tx.json.exists("d", "/x"), lambda: document.delete("d", "/x")),
        (lambda tx: tx.json.exists("new"), lambda: document.create("new", 1)),
        (lambda tx: tx.json.get("new"), lambda: document.delete("new")),
        (lambda tx: tx.json.query("d", "$.a.d"), lambda: document.set("d", "/g", 0)),
        (lambda tx: tx.json.record("d"), lambda: document.set("d", "/g", 1)),
        (lambda tx: tx.json.keys(), lambda: document.create("new", 1)),
        (lambda tx: tx.json.scan(), lambda: document.set("d", "/g", 2)),
        (lambda tx: tx.json.count(), lambda: document.delete("new")),
        (lambda tx: tx.json.delete("d", "/a/b"), lambda: document.delete("d", "/a")),
        (lambda tx: tx.json.pop("d", "/e"), lambda: document.push("d", "/e", 7)),
    ]:
        with pytest.raises(ConflictError), space.transaction() as tx:
            look(tx)
            change()
            tx.kv.put("x", 1)
    assert not space.kv.exists("x")


def test_existence_does_not_depend_on_what_is_inside(space, document):
    with space.transaction() as tx:
        assert tx.json.exists("d") and tx.json.exists("d", "/a") and tx.json.delete("d", "/e/0")
        assert tx.json.pop("d", "/e") == {"f": 2}
        document.set("d", "/a/b/c", 5)
    assert document.get("d") == {"a": {"b": {"c": 5}, "d": 2}, "e": [], "g": 3}
    with space.transaction() as tx:
        assert tx.json.delete("d")
        document.set("d", "/g", 4)
    assert not document.exists("d")


def test_a_transaction_reads_its_own_writes(space, document):
    with space.transaction() as tx:
        made = tx.json.create("new", {"l": [1]})
        assert (made.version, made.value) == (0, {"l": [1]})
        pushed = tx.json.push("new", "/l", 2)
        assert isinstance(pushed, Pending)
        with pytest.raises(TransactionError, match="after the transaction"):
            pushed.value
        assert tx.json.get("new", "/l") == [1, 2] and tx.json.pop("new", "/l", 0) == 1
        tx.json.set("d", "/g", 4)
        tx.json.merge_patch("d", {"a": None})
        assert tx.json.get("d") == {"e": [1, {"f": 2}], "g": 4} and tx.json.record("d").value["g"] == 4
        assert tx.json.delete("d", "/e") and not tx.json.delete("d", "/e") and not tx.json.delete("d", "/x")
        assert list(tx.json.keys()) == ["d", "new"] and tx.json.count() == 2
        assert [one.value for one in tx.json.scan()] == [{"g": 4}, {"l": [2]}]
        assert tx.json.query("new", "$.l[*]") == [2]
        assert document.get("d") == TREE and document.get("new") is None
        assert tx.json.delete("new") and not tx.json.exists("new") and tx.json.count() == 1
    assert document.get("d") == {"g": 4} and not document.exists("new")
    assert pushed.value == {"l": [1, 2]} and pushed.version == 2


def test_an_error_inside_a_transaction_changes_nothing(space, document):
    with pytest.raises(NotFoundError, match="nothing at '/x'"), space.transaction() as tx:
        tx.kv.put("k", 1)
        tx.json.set("d", "/x/y", 1)
    with pytest.raises(ConflictError, match="the test of '/g'"), space.transaction() as tx:
        tx.kv.put("k", 1)
        tx.json.patch("d", [{"op": "test", "path": "/g", "value": 0}])
    with pytest.raises(ConflictError, match="expected at version 7"), space.transaction() as tx:
        tx.json.set("d", "/g", 1, expected_version=7)
        tx.kv.put("k", 1)
    assert document.record("d").version == 1 and not space.kv.exists("k")
    with space.transaction() as tx:
        with pytest.raises(NotFoundError, match="no item 5"):
            tx.json.pop("d", "/e", 5)
        with pytest.raises(ConflictError, match="version 7"):
            tx.json.delete("d", "/g", expected_version=7)
        tx.json.set("d", "/g", 9)
    assert document.get("d", "/g") == 9 and document.record("d").version == 2


def test_one_state_is_seen_though_another_commit_changed_a_sibling(space, document):
    space.kv.put("k", 0)
    with space.transaction() as tx:
        assert tx.json.get("d", "/a/d") == 2
        tx.json.set("d", "/mine", 1)
        assert tx.json.get("d", "/mine") == 1
        with space.transaction() as other:
            other.kv.put("k", 1)
            other.json.set("d", "/g", 30)
        assert tx.kv.get("k") == 1
        assert tx.json.get("d", "/g") == 30 and tx.json.get("d", "/mine") == 1
        tx.json.set("d", "/g", 31)
    assert document.get("d") == {**TREE, "g": 31, "mine": 1}


def test_two_states_are_never_seen(space, document):
    space.kv.put("k", 0)
    with pytest.raises(ConflictError), space.transaction() as tx:
        assert tx.json.get("d", "/g") == 3
        with space.transaction() as other:
            other.kv.put("k", 1)
            other.json.set("d", "/g", 30)
        for _ in range(2):
            with pytest.raises(ConflictError, match="json 'd'"):
                tx.kv.get("k")
        with pytest.raises(ConflictError, match="json 'd'"):
            tx.json.get("d", "/a")


def test_what_was_set_where_the_parent_has_gone_is_told_at_the_next_read(space, document):
    with pytest.raises(NotFoundError, match="nothing at '/a'"), space.transaction() as tx:
        tx.json.set("d", "/a/x", 1)
        assert tx.json.exists("d", "/a/x")
        document.delete("d", "/a")
        tx.json.get("d", "/g")
    with pytest.raises(ConflictError), space.transaction() as tx:
        tx.json.get("d", "/e")
        tx.json.set("d", "/e/1/x", 1)
        document.delete("d", "/e")
        tx.json.get("d", "/g")


def test_of_expired_documents_nothing_is_seen(space, clock):
    space.json.create("d", {"n": 1}, ttl=10)
    with pytest.raises(ConflictError), space.transaction() as tx:
        assert tx.json.get("d", "/n") == 1
        clock.time += 11_000_000
        tx.kv.put("x", 1)
    with space.transaction() as tx:
        assert tx.json.get("d") is None and not tx.json.exists("d") and not tx.json.delete("d", "/n")
        tx.json.create("d", {"n": 2})
        assert tx.json.get("d", "/n") == 2
    assert space.json.record("d").version == 1


def test_many_threads_count_in_one_document(store):
    space = store.space("counters")
    names = [f"n{n}" for n in range(4)]
    space.json.create("d", {**dict.fromkeys(names, 0), "log": []})
    errors = []

    def count(name):
        try:
            for _ in range(15):
                with space.transaction() as tx:  # not retried: siblings never conflict
                    tx.json.set("d", f"/{name}", tx.json.get("d", f"/{name}") + 1)
                    tx.json.push("d", "/log", name)
        except holdfast.HoldfastError as error:
            errors.append(error)

    threads = [threading.Thread(target=count, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = space.json.get("d")
    assert errors == [] and [found[name] for name in names] == [15] * 4
    assert sorted(found["log"]) == sorted(names * 15) and space.json.record("d").version == 1 + 2 * 60


def test_an_array_is_a_queue_for_many_threads(store):
    space = store.space("queue")
    space.json.create("q", list(range(60)))
    taken = []

    def take():
        while True:
            try:
                taken.append(space.json.pop("q", "", 0))
            except NotFoundError:
                return

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(60)) and space.json.get("q") == []


STEPS = st.lists(
    st.tuples(
        st.booleans(),
        st.sampled_from(["get", "set", "push", "pop", "delete", "merge"]),
        st.sampled_from(["", "/a", "/a/b", "/a/c", "/l", "/l/0", "/l/1", "/x"]),
        st.integers(0, 2),
    ),
    max_size=12,
)


def act(face, what, pointer, number):
    """Do one step; what it tells, or the name of the error."""
    try:
        match what:
            case "get":
                return face.get("d", pointer, default="nothing")
            case "set":
                face.set("d", pointer, {"b": number} if number else [number])
            case "push":
                face.push("d", pointer, number)
            case "pop":
                return face.pop("d", pointer)
            case "delete":
                return face.delete("d", pointer) if pointer else None
            case "merge":
                face.merge_patch("d", {"a": {"b": number or None}})
    except NotFoundError:
        return "not found"
    return None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_a_transaction_that_commits_is_as_if_it_had_run_alone_at_the_end(steps):
    """The steps of one transaction, told apart by their first part, interleaved with commits of another."""
    with holdfast.open("memory:") as store:
        space, alone = store.space("both"), store.space("alone")
        for one in (space, alone):
            one.json.create("d", {"a": {"b": 1, "c": [1]}, "l": [1, {"b": 2}]})
        seen, mine = [], [step[1:] for step in steps if step[0]]
        try:
            with space.transaction() as tx:
                tx.kv.put("k", 1)  # so that it stands at its end, not at what it has read
                for inside, *step in steps:
                    if inside:
                        seen.append(act(tx.json, *step))
                    else:
                        act(space.json, *step)
                        act(alone.json, *step)
        except (ConflictError, NotFoundError):
            assert space.json.get("d") == alone.json.get("d")
            return
        with alone.transaction() as tx:
            assert [act(tx.json, *step) for step in mine] == seen
        assert space.json.get("d") == alone.json.get("d")
