"""memory: what is stored is found again by any of its fields; deleting, restoring, expiry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import combinations
from uuid import uuid4

import pytest

import holdfast

OLD = datetime(2020, 1, 1, tzinfo=UTC)


def test_store_and_get_every_field(space):
    other = space.memories.store("other")
    fields = {
        "source": holdfast.DocumentChunk("a.md", 0, 2, heading="Intro"),
        "session_id": "s1",
        "tags": ["b", "a", "b"],
        "namespace": "n",
        "status": "superseded",
        "branch": "main",
        "file_path": "a.md",
        "group": "g",
        "superseded_by": other.id,
        "derived_from": [other.id],
        "metadata": {"k": [1, None]},
        "created_at": OLD,
        "expires_at": datetime(2999, 1, 1, tzinfo=UTC),
    }
    memory = space.memories.store("one two\nthree", **fields)
    assert memory.tags == ("b", "a") and memory.derived_from == (other.id,) and memory.version == 1
    for name in fields.keys() - {"tags", "derived_from"}:
        assert getattr(memory, name) == fields[name], name
    assert space.memories.get(memory.id) == memory == space.memories.get(str(memory.id))
    assert memory.word_count == 3 and memory.embeddings is None and memory.deleted_at is None
    assert space.memories.get(uuid4()) is None


def test_an_id_replaces_and_conditions_hold(space):
    first = space.memories.create("one", id=uuid4(), tags=["x"], created_at=OLD)
    with pytest.raises(holdfast.ConflictError):
        space.memories.create("two", id=first.id)
    second = space.memories.store("two", id=first.id, session_id="s")
    assert (second.version, second.created_at, second.tags) == (2, OLD, ())
    assert space.memories.count() == 1 and not space.memories.list(tags=["x"])
    for condition in ({"expected_version": 1}, {"expected": first}):
        with pytest.raises(holdfast.ConflictError):
            space.memories.store("three", id=first.id, **condition)
        with pytest.raises(holdfast.ConflictError):
            space.memories.update(first.id, content="three", **condition)
        with pytest.raises(holdfast.ConflictError):
            space.memories.delete(first.id, **condition)
    assert space.memories.get(first.id) == second
    assert space.memories.update(first.id, content="3", expected=second).version == 3


def test_update_sets_what_is_given_and_keeps_the_rest(space):
    memory = space.memories.store("one", tags=["a"], session_id="s", metadata={"k": 1}, ttl=1000, embeddings={"d": [1]})
    assert space.memories.update(memory.id, source=holdfast.Import("x")).source == holdfast.Import("x")
    assert space.memories.update(memory.id, source=None).source is None
    assert not space.memories.list(source="import")
    after = space.memories.update(memory.id, tags=["b"], status="archived")
    assert (after.content, after.tags, after.session_id, after.metadata) == ("one", ("b",), "s", {"k": 1})
    assert after.expires_at == memory.expires_at and after.version == 4
    assert space.memories.get(memory.id, embeddings=True).embeddings == {"d": [1.0]}
    assert space.memories.list(tags=["b"]) == [after] and not space.memories.list(tags=["a"])
    cleared = space.memories.update(memory.id, session_id=None, expires_at=None, embeddings={})
    assert cleared.session_id is None and cleared.expires_at is None
    assert space.memories.get(memory.id, embeddings=True).embeddings == {}
    assert not space.memories.get_by_session("s")
    moved = space.memories.update(memory.id, session_id="t", expires_at=datetime(2999, 1, 1, tzinfo=UTC))
    assert space.memories.get_by_session("t") == [moved]
    with pytest.raises(holdfast.NotFoundError):
        space.memories.update(uuid4(), content="x")


def test_delete_restore_purge_and_the_counts_after_each(space):
    memory = space.memories.store("one", tags=["a"], session_id="s")
    space.memories.store("two", tags=["a"])
    assert space.memories.count() == space.memories.count(tags=["a"]) == 2
    assert space.memories.delete(memory.id) and not space.memories.delete(memory.id)
    assert space.memories.count() == space.memories.count(tags=["a"]) == 1
    assert not space.memories.exists(memory.id) and space.memories.get(memory.id) is None
    assert space.memories.get(memory.id, deleted=True).deleted_at is not None
    assert len(space.memories.list()) == len(space.memories.list_ids()) == 1 and not list(space.memories.sessions())
    with pytest.raises(holdfast.NotFoundError, match="deleted"):
        space.memories.update(memory.id, content="x")
    assert space.memories.restore(memory.id) and not space.memories.restore(memory.id)
    assert not space.memories.restore(uuid4())
    back = space.memories.get(memory.id)
    assert (back.content, back.tags, back.created_at) == (memory.content, memory.tags, memory.created_at)
    assert space.memories.count(tags=["a"]) == 2 and space.memories.get_by_session("s") == [back]
    assert space.memories.purge(memory.id) and not space.memories.purge(memory.id)
    assert not space.memories.restore(memory.id) and space.memories.count() == 1
    assert space.memories.create("again", id=memory.id).version == 1
    space.memories.delete(memory.id)
    assert space.memories.purge(memory.id) and space.memories.get(memory.id, deleted=True) is None


def test_get_batch_is_positional(space):
    a, b = space.memories.store("a"), space.memories.store("b")
    assert space.memories.get_batch([b.id, uuid4(), str(a.id), b.id]) == [b, None, a, b]
    assert space.memories.get_batch([]) == []


def test_a_session_is_in_order_of_writing_whatever_created_at_says(space):
    written = [
        space.memories.store(str(n), session_id="s", created_at=None if n % 2 else OLD - timedelta(days=n))
        for n in range(6)
    ]
    space.memories.store("x", session_id="s2")
    assert space.memories.get_by_session("s") == written
    space.memories.update(written[0].id, content="zero")
    space.memories.store("two", id=written[2].id, session_id="s")
    assert [one.id for one in space.memories.get_by_session("s")] == [one.id for one in written]
    page = space.memories.get_by_session("s", limit=4)
    assert [one.content for one in page] == ["zero", "1", "two", "3"]
    assert [one.content for one in space.memories.get_by_session("s", after=page.cursor)] == ["4", "5"]


def test_a_list_with_a_session_selects_and_orders_by_created_at(space):
    new = space.memories.store("new", session_id="s")
    old = space.memories.store("old", session_id="s", created_at=OLD)
    assert space.memories.list(session_id="s") == [old, new]
    assert space.memories.list(session_id="s", reverse=True) == [new, old]
    assert space.memories.list(session_id="s", until=OLD + timedelta(days=1)) == [old]
    assert space.memories.list(session_id="s", since=OLD + timedelta(days=1)) == [new]


def test_long_session_ids_are_told_apart(space):
    long = "s" * 600
    a = space.memories.store("a", session_id=long + "a")
    b = space.memories.store("b", session_id=long + "b")
    assert space.memories.get_by_session(long + "a") == [a] and space.memories.get_by_session(long + "b") == [b]
    assert {one.session_id for one in space.memories.sessions()} == {long + "a", long + "b"}
    assert space.memories.count(session_id=long + "a") == 1


def test_sessions_tell_count_and_times(space, later):
    a = space.memories.store("1", session_id="a")
    space.memories.store("2", session_id="a")
    last = space.memories.store("3", session_id="a")
    b = space.memories.store("4", session_id="b", ttl=5)
    assert list(space.memories.sessions()) == [
        holdfast.Session("a", 3, a.created_at, last.created_at),
        holdfast.Session("b", 1, b.created_at, b.created_at),
    ]
    later(10)
    assert [one.session_id for one in space.memories.sessions()] == ["a"]


def test_by_source(space):
    sources = {
        "hook_description": holdfast.HookDescription("PostToolUse", tool_name="grep"),
        "agent_response": holdfast.AgentResponse("StopResponse"),
        "document_chunk": holdfast.DocumentChunk("a", 0, 1),
        "import": holdfast.Import("git", "abc"),
        "custom": holdfast.Custom("mine", {"x": 1}),
    }
    stored = {name: space.memories.store(name, source=source) for name, source in sources.items()}
    space.memories.store("none")
    for name, memory in stored.items():
        assert space.memories.get_by_source(name) == [memory] and memory.source == sources[name]
        assert space.memories.get(memory.id).source == sources[name] and space.memories.count(source=name) == 1


FILTERS = {
    "session_id": "s1", "source": "import", "tags": ["t1", "t2"], "namespace": "n1", "branch": "main",
    "file_path": "f1", "group": "g1", "status": "archived",
}  # fmt: skip


def fill(space):
    """Memories each of which has a part of the fields; the last third is of long ago."""
    stored = []
    for number in range(40):
        stored.append(
            space.memories.store(
                f"m{number}",
                session_id="s1" if number % 2 else None,
                source=holdfast.Import("x") if number % 3 else None,
                tags=["t1", "t2"] if number % 5 > 1 else ["t1"],
                namespace="n1" if number % 7 > 2 else "n2",
                branch="main" if number % 4 else None,
                file_path="f1" if number % 3 != 1 else "f2",
                group="g1" if number % 6 else None,
                status="archived" if number % 2 else "active",
                metadata={"n": number % 3},
                created_at=OLD + timedelta(days=40 - number) if number > 26 else None,
            )
        )
    return sorted(stored, key=lambda one: one.created_at)


def has(memory, name, wanted):
    if name == "source":
        return memory.source is not None
    if name == "tags":
        return set(wanted) <= set(memory.tags)
    return getattr(memory, name) == wanted


def test_every_filter_and_pair_of_filters_equals_a_plain_loop(space):
    memories = fill(space)
    for names in [*combinations(FILTERS, 1), *combinations(FILTERS, 2), *combinations(FILTERS, 3)]:
        chosen = {name: FILTERS[name] for name in names}
        expected = [one for one in memories if all(has(one, *item) for item in chosen.items())]
        assert space.memories.list(**chosen) == expected, chosen
        if chosen.keys() <= {"session_id", "source", "tags", "namespace"}:
            assert space.memories.count(**chosen) == len(expected)
    middle = memories[20].created_at
    assert space.memories.list(since=middle) == memories[20:] and space.memories.list(until=middle) == memories[:20]
    assert space.memories.list(status="active", tags=["t2"], since=middle) == [
        one for one in memories[20:] if one.status == "active" and "t2" in one.tags
    ]
    assert space.memories.list(where={"n": 1}) == [one for one in memories if one.metadata["n"] == 1]
    assert space.memories.list(where={"n": 1.0}) == [] == space.memories.list(where={"n": True})
    assert space.memories.list(reverse=True) == memories[::-1]
    assert list(space.memories.list_ids(reverse=True)) == [one.id for one in memories[::-1]]


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"tags": ["t1"]},
        {"session_id": "s1"},
        {"namespace": "n1", "tags": ["t2"]},
        {"where": {"n": 2}},
        {"status": "active"},
    ],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_pages_to_the_end_are_the_whole_list(space, chosen, reverse):
    fill(space)
    whole = list(space.memories.list(limit=None, reverse=reverse, **chosen))
    for limit in (1, 3, 100):
        found, cursor = [], None
        while True:
            page = space.memories.list(limit=limit, after=cursor, reverse=reverse, **chosen)
            assert len(page) <= limit
            found += page
            cursor = page.cursor
            if cursor is None:
                break
        assert found == whole


def test_an_expired_memory_is_gone_and_frees_its_id(space, later):
    memory = space.memories.store("one", ttl=5, session_id="s", tags=["a"])
    space.memories.store("two", tags=["a"])
    assert space.memories.count() == 2
    later(6)
    assert space.memories.get(memory.id) is None and not space.memories.exists(memory.id)
    assert space.memories.count() == space.memories.count(tags=["a"]) == len(space.memories.list()) == 1
    assert space.memories.count(session_id="s") == 0 and not space.memories.get_by_session("s")
    assert not space.memories.delete(memory.id) and not space.memories.purge(memory.id)
    with pytest.raises(holdfast.NotFoundError):
        space.memories.update(memory.id, content="x")
    assert space.memories.create("again", id=memory.id).version == 1


def test_a_deleted_and_restored_memory_still_expires(space, later):
    memory = space.memories.store("one", ttl=5)
    space.memories.delete(memory.id)
    assert space.memories.restore(memory.id)
    assert space.memories.get(memory.id).expires_at == memory.expires_at
    space.memories.delete(memory.id)
    later(6)
    assert space.memories.get(memory.id, deleted=True) is None and not space.memories.restore(memory.id)
    assert space.memories.count() == 0


def test_store_many_is_one_commit_in_order(space):
    new = [holdfast.NewMemory(content=str(n), tags=("a",), embeddings={"v": [n]}) for n in range(3)]
    stored = space.memories.store_many(new)
    assert [one.content for one in stored] == ["0", "1", "2"] and len({one.revision for one in stored}) == 1
    assert space.memories.list() == stored and space.memories.store_many([]) == []


def test_a_transaction_sees_its_own_memories(space):
    kept = space.memories.store("kept", tags=["a"])
    gone = space.memories.store("gone", tags=["a"])
    with space.transaction() as tx:
        assert tx.memories.count() == 2
        new = tx.memories.store("new", tags=["a"], id=uuid4())
        assert (new.version, new.revision) == (0, 0) and tx.memories.delete(gone.id)
        assert [one.content for one in tx.memories.list(tags=["a"])] == ["kept", "new"]
        assert tx.memories.count() == tx.memories.count(tags=["a"]) == 2
        assert [one.content for one in tx.memories.list(limit=1, reverse=True)] == ["new"]
        with pytest.raises(holdfast.UnsupportedError):
            tx.memories.search("new")
    assert space.memories.get(new.id).version == 1 and space.memories.count() == 2 and kept in space.memories.list()
