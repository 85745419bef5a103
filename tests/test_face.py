"""The names that programs, the command line and the documents agree on, line by line, on every backend."""

from __future__ import annotations

import asyncio
from array import array

import pytest

import holdfast
from holdfast.codec import decode
from holdfast.faces import builtin
from holdfast.selection import Selection
from holdfast.testing.toys import NoteBody, NotePrimitive, Notes


@pytest.fixture(params=["memory:", "sqlite:", "log:"])
def url(request, tmp_path):
    return request.param if request.param == "memory:" else f"{request.param}{tmp_path / 'agent'}"


@pytest.fixture
def store(url):
    with holdfast.open(url) as opened:
        yield opened


@pytest.fixture
def space(store):
    return store.space("my-project")


def test_opening_and_spaces(store, space, tmp_path):
    space.kv.put("a", 1)
    store.kv.put("b", 1)
    assert store.spaces() == ["default", "my-project"] and store.space("default").kv.get("b") == 1
    for name in ("memories", "kv", "json", "events", "states", "traces", "vectors", "runs"):
        assert type(getattr(store, name)) is type(getattr(space, name))
    assert store.drop_space("my-project") is True and store.drop_space("my-project") is False
    with holdfast.open(tmp_path / "a-path.db") as other:
        assert other.status()["backend"] == "sqlite"


def test_memories(space):
    memory = space.memories.store(
        "Parser rewritten, tests pass",
        session_id="s1",
        tags=["parser"],
        source=holdfast.HookDescription("SessionStart", tool_name=None),
    )
    other = "0190163d-8694-739b-aea5-966c26f8ad91"
    assert space.memories.get(memory.id) == memory and memory.version == 1
    assert space.memories.get(other) is None
    assert space.memories.get_batch([memory.id, other]) == [memory, None]
    assert space.memories.get_by_session("s1") == [memory]
    assert space.memories.count() == 1 and space.memories.exists(memory.id)
    (hit,) = space.memories.search("parser", limit=5)
    assert 0 < hit.score <= 1 and hit.record == memory and "arser" in hit.highlight
    assert space.memories.update(memory.id, tags=["done"], expected_version=1).version == 2
    assert space.memories.delete(memory.id) is True and space.memories.get(memory.id) is None


def test_kv(space):
    space.kv.put("build/last", {"ok": True})
    assert space.kv.get("build/last", default=None) == {"ok": True} and space.kv.get("none", default=5) == 5
    record = space.kv.record("build/last")
    assert (record.value, record.version, record.revision) == ({"ok": True}, 1, 1)


def test_json(space):
    space.json.create("plan", {"steps": []})
    space.json.set("plan", "/steps/-", "lex")
    assert space.json.get("plan", "/steps/0") == "lex"


def test_events(space):
    event = space.events.append("builds", {"ok": True}, type="build.finished")
    assert (event.sequence, event.data, event.type) == (0, {"ok": True}, "build.finished") and event.hash
    with space.transaction() as tx:
        pending = tx.events.append("builds", {"ok": False})
        with pytest.raises(holdfast.TransactionError):
            pending.sequence  # noqa: B018 - reading it is what is tested
    assert pending.sequence == 1
    assert [one.sequence for one in space.events.read("builds", start=0, limit=100)] == [0, 1]
    assert space.events.verify("builds").ok


def test_states(space):
    space.states.init("phase", "idle")
    assert space.states.transition("phase", "running", allowed_from={"idle"}).value == "running"
    with pytest.raises(holdfast.ConflictError):
        space.states.transition("phase", "running", allowed_from={"idle"})
    space.states.init("n", 1)
    assert space.states.apply("n", lambda value: value + 1).value == 2


def test_traces(space):
    span = space.traces.record("tool_call", name="grep", attributes={"files": 3}, parent=None)
    assert space.traces.get(span.id) == span
    assert space.traces.record("thought", parent=span).trace_id == span.trace_id
    assert len(space.traces.tree(span.id).children) == 1


def test_vectors(space):
    numbers = array("f", [0.5] * 384)
    space.vectors.create_collection("notes", dimension=384, metric="cosine")
    space.vectors.insert("notes", "n1", numbers, metadata={"lang": "en"})
    space.vectors.insert("notes", "n2", numbers, metadata={"lang": "fr"})
    (hit,) = space.vectors.search("notes", numbers, limit=10, where={"lang": "en"})
    assert hit.record.id == "n1" and hit.score == pytest.approx(1)


def test_transactions(store, space):
    space.kv.put("build/last", {"ok": True})
    with space.transaction() as tx:
        tx.kv.put("build/last", {"ok": False})
        tx.events.append("builds", {"ok": False}, type="build.finished")
        tx.json.put("plan", {"a": 1})
        tx.states.init("phase", "idle")
        tx.traces.record("tool_call", name="grep")
        tx.memories.store("in a transaction")
        assert space.kv.get("build/last") == {"ok": True}
    assert tx.receipt.durability == store.durability and tx.receipt.sequence == 2
    assert space.kv.get("build/last") == {"ok": False} and space.events.length("builds") == 1
    for n in range(2):
        assert space.transact(lambda tx: tx.kv.put("n", (tx.kv.get("n") or 0) + 1)).value == n + 1
    for _ in range(2):
        assert space.transact(lambda tx: len(tx.events.read("builds")) and tx.kv.delete("n"), key="once") is True
    with pytest.raises(holdfast.ConflictError), space.transaction() as tx:
        tx.kv.get("build/last")
        space.kv.put("build/last", 1)
        tx.kv.put("build/last", 2)


def test_runs_replay_and_diff(space):
    with space.run("nightly", tags=["ci"]) as run:
        run.kv.put("x", 1)
        run.json.put("plan", {"steps": ["lex"]})
        run.states.init("phase", "idle")
        run.traces.record("tool_call", name="grep")
    with space.run("nightly") as other:
        other.kv.put("x", 2)
        other.kv.put("y", 1)
    assert space.runs.get(run.id).status == "completed"
    replay = space.replay(run.id)
    assert (replay.kv.get("x"), replay.json.get("plan", "/steps/0"), replay.states.read("phase")) == (1, "lex", "idle")
    assert space.replay(run).traces.count() == 1
    found = space.diff(run, other.id)
    assert [one.key for one in found.added] == ["y"] and [one.key for one in found.modified] == ["x"]
    assert {one.kind for one in found.removed} == {"json", "state", "trace"}
    with pytest.raises(ValueError, match="boom"), space.run("failing") as failing:
        raise ValueError("boom")
    assert space.runs.get(failing.id).status == "failed"


def test_changes(space):
    space.kv.put("a", 1)
    space.states.init("a", 1)
    space.kv.delete("a")
    found = [(one.revision, one.kind, one.key, one.deleted) for one in space.changes(after=0)]
    assert found == [(2, "state", "a", False), (3, "kv", "a", True)]
    assert [one.revision for one in space.watch(0, timeout=0.01)] == [2, 3]


def test_looking_after_it(store, space):
    space.kv.put("a", 1)
    status = store.status()
    assert store.verify() == []
    assert status["spaces"]["my-project"]["records"] == {"kv": 1}
    assert (status["durability"], status["degraded"], status["url"]) == (store.durability, False, store.url)


class FoundNotes(Notes):
    """Notes that can be searched: the face is given the search, too."""

    def __init__(self, scope, search):
        super().__init__(scope)
        self.search_given = search

    def search(self, query):
        kind = self._scope.registry.by_id(NotePrimitive.id)
        everything = Selection(kind.id, created=0)
        return self.search_given.search(self._scope, kind, query, everything, 10, lambda record: record.key)


class FoundNotePrimitive(NotePrimitive):
    face, searchable = FoundNotes, True

    def text(self, record):
        return decode(record.body, NoteBody).text


def test_a_primitive_of_a_user_is_searched(url):
    registry = builtin()
    registry.register(FoundNotePrimitive())
    with holdfast.open(url, registry=registry) as store:
        store.notes.put("a", "the lexer drops comments")
        store.notes.put("b", "the parser is slow")
        assert [hit.highlight for hit in store.notes.search("parser")] == ["the **parser** is slow"]
        store.notes.delete("b")
        assert store.notes.search("parser") == []
        with store.run("r") as run:
            assert len(run.notes.search("lexer")) == 1
        with store.transaction() as tx:
            assert tx.notes.search_given is None and tx.notes.get("a")


def test_records_are_frozen_plain_and_equal_by_value(space):
    record = space.kv.put("a", {"n": 1})
    assert record == space.kv.record("a") and holdfast.to_dict(record)["value"] == {"n": 1}
    with pytest.raises(AttributeError):
        record.key = "b"
    with pytest.raises(AttributeError, match="no attribute 'memroies'"):
        _ = space.memroies
    with pytest.raises(TypeError):
        space.kv.put("a", 1, expire_at=None)


def test_the_same_with_asyncio(url):
    async def main():
        async with await holdfast.open_async(url) as store:
            memory = await store.space("my-project").memories.store("...")
            assert await store.space("my-project").memories.get(memory.id) == memory

    asyncio.run(main())
