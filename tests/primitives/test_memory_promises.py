"""Memories: every operation, on both backends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

import holdfast
from holdfast import InvalidInputError, NewMemory, Sparse


def contents(found):
    return [memory.content for memory in found]


def test_what_is_stored_is_read_with_all_its_fields(space):
    other = uuid4()
    stored = space.memories.store(
        "text with words",
        source=holdfast.HookDescription("PostToolUse", "grep"),
        session_id="s",
        tags=["a", "b", "a"],
        namespace="n",
        status="pending",
        branch="main",
        file_path="a.py",
        group="g",
        superseded_by=other,
        derived_from=[other],
        metadata={"k": [1, b"\x00", other]},
        created_at=datetime(2020, 1, 2, tzinfo=UTC),
    )
    assert space.memories.get(stored.id) == stored
    assert space.memories.get(str(stored.id)) == stored
    assert (stored.version, stored.tags, stored.word_count) == (1, ("a", "b"), 3)
    assert stored.created_at == datetime(2020, 1, 2, tzinfo=UTC)
    assert stored.metadata == {"k": [1, b"\x00", other]}
    assert holdfast.to_dict(stored)["source"] == {
        "type": "hook_description", "hook_type": "PostToolUse", "tool_name": "grep",
    }  # fmt: skip
    with pytest.raises(InvalidInputError, match="record"):
        holdfast.to_dict("x")


def test_a_second_store_replaces_and_moves_the_indexes(space):
    first = space.memories.store("one", session_id="s1", tags=["a"])
    again = space.memories.store("two", id=first.id, session_id="s2", tags=["b"])
    assert (again.version, again.created_at) == (2, first.created_at)
    assert again.revision > first.revision
    assert contents(space.memories.get_by_session("s1")) == []
    assert contents(space.memories.get_by_session("s2")) == ["two"]
    assert contents(space.memories.list(tags=["a"])) == []
    assert space.memories.count() == 1


def test_create_only_and_expectations(space):
    first = space.memories.store("one")
    with pytest.raises(holdfast.ConflictError, match="must not exist"):
        space.memories.create("two", id=first.id)
    second = space.memories.store("two", id=first.id, expected_version=1)
    with pytest.raises(holdfast.ConflictError, match="expected at version 1"):
        space.memories.update(first.id, content="x", expected_version=1)
    with pytest.raises(holdfast.ConflictError, match="changed since it was read"):
        space.memories.delete(first.id, expected=first)
    assert space.memories.delete(first.id, expected=second)


def test_update_sets_what_is_given_and_keeps_the_rest(space, clock):
    stored = space.memories.store("one", session_id="s", tags=["a"], metadata={"k": 1}, ttl=100)
    clock.time += 1_000_000
    updated = space.memories.update(stored.id, content="two", status="archived")
    assert (updated.content, updated.tags, updated.metadata, updated.version) == ("two", ("a",), {"k": 1}, 2)
    assert updated.expires_at == stored.expires_at
    assert updated.updated_at > stored.updated_at
    assert space.memories.update(stored.id, expires_at=None, tags=()).expires_at is None
    assert contents(space.memories.list(tags=["a"])) == []
    assert contents(space.memories.list(status="archived")) == ["two"]
    assert contents(space.memories.list(status="active")) == []
    with pytest.raises(holdfast.NotFoundError, match="does not exist"):
        space.memories.update(uuid4(), content="x")
    with pytest.raises(InvalidInputError, match="content"):
        space.memories.update(stored.id, content="")
    assert space.memories.get(stored.id).version == 3


def test_delete_restore_purge(space):
    stored = space.memories.store("one", tags=["a"], session_id="s", embeddings={"e": [1.0]})
    assert space.memories.delete(stored.id)
    assert not space.memories.delete(stored.id)
    assert space.memories.get(stored.id) is None
    assert not space.memories.exists(stored.id)
    assert space.memories.count() == 0
    assert contents(space.memories.list()) == []
    assert contents(space.memories.get_by_session("s")) == []
    assert space.memories.get(stored.id, deleted=True).deleted_at is not None
    with pytest.raises(holdfast.NotFoundError, match="deleted"):
        space.memories.update(stored.id, content="x")
    assert space.memories.restore(stored.id)
    assert not space.memories.restore(stored.id)
    assert contents(space.memories.list(tags=["a"])) == ["one"]
    assert space.memories.get(stored.id, embeddings=True).embeddings == {"e": [1.0]}
    assert space.memories.purge(stored.id)
    assert not space.memories.purge(stored.id)
    assert space.memories.get(stored.id, deleted=True) is None
    assert not space.memories.restore(uuid4())
    assert not space.memories.delete(uuid4())


def test_a_batch_is_positional(space):
    one, two = space.memories.store_many([NewMemory(content="one"), NewMemory(content="two", tags=("t",))])
    found = space.memories.get_batch([two.id, uuid4(), one.id, two.id])
    assert [memory and memory.content for memory in found] == ["two", None, "one", "two"]
    assert space.memories.get_batch([]) == []
    assert space.memories.store_many([]) == []
    assert one.revision == two.revision
    with pytest.raises(InvalidInputError, match=r"memories\[1\].content"):
        space.memories.store_many([NewMemory(content="x"), NewMemory(content="")])
    with pytest.raises(InvalidInputError, match=r"memories\[0\]"):
        space.memories.store_many(["x"])
    assert space.memories.count() == 2


def test_a_session_is_in_order_of_writing_and_lists_in_order_of_creation(space):
    for day in (3, 1, 2):
        space.memories.store(f"day {day}", session_id="s", created_at=datetime(2020, 1, day, tzinfo=UTC))
    first = space.memories.get_by_session("s")[0]
    space.memories.update(first.id, content="day 3 changed")
    assert contents(space.memories.get_by_session("s")) == ["day 3 changed", "day 1", "day 2"]
    assert contents(space.memories.list(session_id="s")) == ["day 1", "day 2", "day 3 changed"]
    assert contents(space.memories.list()) == ["day 1", "day 2", "day 3 changed"]
    assert contents(space.memories.list(reverse=True)) == ["day 3 changed", "day 2", "day 1"]
    page = space.memories.get_by_session("s", limit=2)
    assert contents(space.memories.get_by_session("s", limit=2, after=page.cursor)) == ["day 2"]


@pytest.mark.parametrize("reverse", [False, True])
def test_pages_are_the_whole(space, reverse):
    space.memories.store_many([NewMemory(content=str(n), tags=("odd",) if n % 2 else ()) for n in range(25)])
    for chosen in ({}, {"tags": ["odd"]}):
        whole = contents(space.memories.list(limit=None, reverse=reverse, **chosen))
        paged, after = [], None
        while True:
            page = space.memories.list(limit=4, after=after, reverse=reverse, **chosen)
            paged += contents(page)
            after = page.cursor
            if after is None:
                break
        assert paged == whole
    ids = space.memories.list_ids(limit=7, reverse=reverse)
    assert len(ids) == 7
    assert all(type(one) is UUID for one in ids)


def test_filters_hold_together(space):
    long = "x" * 2000
    wanted = space.memories.store(
        "wanted", session_id=long, tags=["a", "b"], namespace="n", branch="br", file_path="f", group="g",
        source=holdfast.Import("here"), metadata={"k": 1}, created_at=datetime(2021, 6, 1, tzinfo=UTC),
    )  # fmt: skip
    for n in range(5):
        space.memories.store(f"other {n}", tags=["a"], namespace="n", session_id=long[:-1])
    listed = space.memories.list
    everything = {
        "session_id": long, "tags": ["b", "a"], "namespace": "n", "branch": "br", "file_path": "f", "group": "g",
        "source": "import", "where": {"k": 1}, "since": datetime(2021, 6, 1, tzinfo=UTC),
        "until": datetime(2021, 6, 2, tzinfo=UTC), "status": "active",
    }  # fmt: skip
    assert [memory.id for memory in listed(**everything)] == [wanted.id]
    for name, value in everything.items():
        assert wanted.id in [memory.id for memory in listed(**{name: value})], name
    assert listed(tags=["a"], since=datetime(2021, 6, 2, tzinfo=UTC), until=datetime(2022, 1, 1, tzinfo=UTC)) == []
    assert listed(session_id=long, until=datetime(2021, 6, 1, tzinfo=UTC)) == []
    assert listed(session_id=long, since=datetime(2021, 6, 2, tzinfo=UTC)) == []
    assert listed(where={"k": True}) == []
    assert listed(where={"k": 2}) == []
    assert len(listed(tags=["a"])) == 6
    assert space.memories.count(tags=["a"]) == 6
    assert space.memories.count(tags=["a", "b"]) == 1
    assert space.memories.count(session_id=long) == 1
    day = datetime(2021, 6, 1, tzinfo=UTC)
    assert space.memories.count(session_id=long, since=day, until=day + timedelta(days=1)) == 1
    assert space.memories.count(session_id=long, until=day) == 0
    assert space.memories.count(since=day + timedelta(days=1)) == 5
    assert contents(space.memories.get_by_source("import")) == ["wanted"]


def test_sessions(space):
    for session in ("b", "a", "b"):
        space.memories.store("x", session_id=session)
    assert [(one.session_id, one.count) for one in space.memories.sessions()] == [("a", 1), ("b", 2)]
    assert next(iter(space.memories.sessions())).first_at == space.memories.get_by_session("a")[0].created_at


def test_what_has_expired_is_absent_and_begins_anew(space, clock):
    stored = space.memories.store("short", ttl=timedelta(seconds=5), tags=["t"])
    space.memories.store("long", tags=["t"])
    assert space.memories.count() == 2
    clock.time += 5_000_001
    assert space.memories.get(stored.id) is None
    assert not space.memories.exists(stored.id)
    assert (space.memories.count(), space.memories.count(tags=["t"])) == (1, 1)
    assert contents(space.memories.list()) == ["long"]
    assert space.memories.search("short") == []
    again = space.memories.store("again", id=stored.id)
    assert (again.version, again.created_at > stored.created_at) == (1, True)
    assert space.memories.count() == 2


def test_embeddings_are_read_only_when_asked_for(space):
    vectors = {
        "dense": [0.5, -1.0],
        "many": [[1.0, 2.0], [3.0, 4.0]],
        "sparse": Sparse((1, 7), (0.5, 2.0)),
        "empty": [],
        "rows without width": [[], []],
    }
    stored = space.memories.store("x", embeddings=vectors)
    assert stored.embeddings is None
    assert space.memories.get(stored.id).embeddings is None
    read = space.memories.get(stored.id, embeddings=True).embeddings
    assert read == {**vectors, "rows without width": []}
    space.memories.update(stored.id, content="y")
    assert space.memories.get(stored.id, embeddings=True).embeddings == read
    space.memories.update(stored.id, embeddings={"dense": [2.0]})
    assert space.memories.get(stored.id, embeddings=True).embeddings == {"dense": [2.0]}
    assert space.memories.get(space.memories.store("none").id, embeddings=True).embeddings == {}

    class Array:
        def tolist(self):
            return [1.0]

    other = space.memories.store("x", embeddings={"a": Array()})
    assert space.memories.get(other.id, embeddings=True).embeddings == {"a": [1.0]}


@pytest.mark.parametrize(
    "bad",
    [
        "x", {"e": "x"}, {"e": [float("nan")]}, {"e": [1e300]}, {"e": ["a"]}, {"e": [[1.0], [1.0, 2.0]]}, {"e": 5},
        {"e": Sparse((2, 1), (1.0, 1.0))}, {"e": Sparse((1,), ())}, {"e": Sparse((-1,), (1.0,))}, {"": [1.0]},
    ],
    ids=repr,
)  # fmt: skip
def test_bad_embeddings_are_refused(space, bad):
    with pytest.raises(InvalidInputError, match="embeddings"):
        space.memories.store("x", embeddings=bad)
    assert space.memories.count() == 0


def test_a_damaged_embedding_is_told():
    from holdfast.primitives.embedding import from_blobs

    with pytest.raises(holdfast.SerializationError):
        from_blobs((("embedding/x", b"\xff"),))


BAD = [
    ("content", ""), ("content", 5), ("content", "\ud800"), ("content", "x" * 50_000_000),
    ("id", "nope"), ("id", 5), ("source", "hook"), ("source", holdfast.HookDescription(5)),
    ("source", holdfast.HookDescription("\ud800")), ("session_id", ""), ("session_id", 5), ("tags", "abc"),
    ("tags", [""]), ("tags", [5]), ("tags", 5), ("tags", [str(n) for n in range(60)]), ("namespace", ""),
    ("status", "odd"), ("metadata", []), ("metadata", {"k": object()}), ("metadata", {5: 1}),
    ("created_at", datetime(2020, 1, 1)), ("created_at", 5), ("expires_at", datetime(2020, 1, 1)), ("ttl", 0),
    ("ttl", "x"), ("ttl", True), ("superseded_by", "x"), ("derived_from", ["x"]), ("expected_version", -1),
    ("expected_version", "1"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), BAD, ids=range(len(BAD)))
def test_bad_input_is_named_and_changes_nothing(space, field, value):
    fields = {"content": "x", field: value}
    with pytest.raises(InvalidInputError) as caught:
        space.memories.store(fields.pop("content"), **fields)
    assert caught.value.field.split("[")[0].split(".")[0] == field
    assert space.memories.count() == 0
    assert list(space.changes()) == []


def test_more_bad_input(space):
    with pytest.raises(InvalidInputError, match="together with"):
        space.memories.store("x", ttl=5, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    for bad in ({"limit": 0}, {"limit": "x"}, {"after": "%%"}, {"after": "AAAA"}, {"source": "odd"}, {"where": 5}):
        with pytest.raises(InvalidInputError) as caught:
            space.memories.list(**bad)
        assert caught.value.field in bad
    with pytest.raises(TypeError):
        space.memories.store("x", sesion_id="misspelt")


def test_nul_is_kept(space):
    assert space.memories.get(space.memories.store("a\0b").id).content == "a\0b"
    assert len(space.memories.search("b")) == 1


def test_memories_inside_a_transaction(space):
    old = space.memories.store("old", session_id="s")
    with space.transaction() as tx:
        new = tx.memories.store("new", session_id="s")
        assert (new.version, new.revision) == (0, 0)
        assert tx.memories.get(new.id).content == "new"
        assert contents(tx.memories.get_by_session("s")) == ["old", "new"]
        assert tx.memories.update(old.id, content="changed").content == "changed"
        assert tx.memories.count() == 2
        assert tx.memories.delete(new.id)
        assert tx.memories.count() == 1
        with pytest.raises(holdfast.UnsupportedError, match="inside a transaction"):
            tx.memories.search("x")
    assert contents(space.memories.list()) == ["changed"]


def test_an_update_of_nothing_folds_to_nothing(space):
    from holdfast.primitives.memory import MemoryChanges, Update

    changes = space._scope.codec.encode(MemoryChanges(content="x"))
    assert space._scope.write([Update(uuid4().bytes, changes)], list) == [{}]
