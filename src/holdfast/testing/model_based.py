"""A store against plain dictionaries: Hypothesis makes up the history, and shortens it where the two differ.

Operations go directly or through one transaction; persistent stores are closed and opened again in between.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from holdfast.errors import NotFoundError
from holdfast.store import Store

KEYS = st.sampled_from([" ", "a", "a\x00", "ab", "b", "é", "\U0001f600", "z" * 40])
VALUES = st.one_of(st.none(), st.integers(-5, 2**63), st.text(max_size=5), st.lists(st.booleans(), max_size=3))
IDS = st.integers(1, 5).map(lambda n: UUID(int=n))
SESSIONS = st.sampled_from([None, "s", "t"])
STREAMS = st.sampled_from(["x", "y"])


class StoreMachine(RuleBasedStateMachine):
    """The machine; ``machine_for`` binds it to a backend."""

    opener: ClassVar[Callable[[int], Store]]
    persistent: ClassVar[bool]
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).made += 1
        self.number = type(self).made
        self.store = type(self).opener(self.number)
        self.kv: dict[str, tuple[Any, int]] = {}
        self.memories: dict[UUID, tuple[str, str | None, int, bool]] = {}
        self.events: dict[str, list[Any]] = {}
        self.trimmed: dict[str, int] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.states: dict[str, tuple[Any, int]] = {}
        self.spans: dict[UUID, tuple[str | None, dict[str, Any]]] = {}
        self.expired: set[str] = set()
        self.followed: set[str] = set()
        self.position = 0

    @initialize()
    def begin(self) -> None:
        assert self.store.spaces() == []

    def scope(self, inside: bool) -> AbstractContextManager[Any]:
        return self.store.transaction() if inside else nullcontext(self.store)

    @rule(key=KEYS, value=VALUES, inside=st.booleans())
    def put(self, key: str, value: Any, inside: bool) -> None:
        with self.scope(inside) as scope:
            scope.kv.put(key, value)
            assert scope.kv.get(key, "nothing") == value
        self.kv[key] = value, self.kv.get(key, (None, 0))[1] + 1
        self.expired.discard(key)

    @rule(values=st.dictionaries(KEYS, VALUES, max_size=4))
    def put_many(self, values: dict[str, Any]) -> None:
        self.store.kv.put_many(values)
        for key, value in values.items():
            self.kv[key] = value, self.kv.get(key, (None, 0))[1] + 1
            self.expired.discard(key)

    @rule(key=KEYS, inside=st.booleans())
    def delete(self, key: str, inside: bool) -> None:
        with self.scope(inside) as scope:
            assert scope.kv.delete(key) == (key in self.kv)
            assert scope.kv.record(key) is None
        self.kv.pop(key, None)

    @rule(deleted=st.lists(KEYS, max_size=3), put=st.dictionaries(KEYS, VALUES, max_size=3), drop=st.booleans())
    def several(self, deleted: list[str], put: dict[str, Any], drop: bool) -> None:
        """A transaction of several writes that sees them all, and is kept or dropped."""
        after = dict(self.kv)
        try:
            with self.store.transaction() as tx:
                for key in deleted:
                    assert tx.kv.delete(key) == (after.pop(key, None) is not None)
                for key, value in put.items():
                    tx.kv.put(key, value)
                    after[key] = value, after.get(key, (None, 0))[1] + 1
                assert [(one.key, one.value) for one in tx.kv.scan()] == [(key, after[key][0]) for key in sorted(after)]
                assert tx.kv.count() == len(after)
                if drop:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            return
        self.kv = after
        self.expired -= put.keys()

    @rule(id=IDS, content=st.sampled_from(["one", "two"]), session=SESSIONS, inside=st.booleans())
    def remember(self, id: UUID, content: str, session: str | None, inside: bool) -> None:
        before = self.memories.get(id, ("", None, 0, False))
        with self.scope(inside) as scope:
            scope.memories.store(content, id=id, session_id=session)
        self.memories[id] = content, session, before[2] + 1, False

    @rule(id=IDS, content=st.sampled_from(["three", "four"]), session=SESSIONS)
    def change(self, id: UUID, content: str, session: str | None) -> None:
        before = self.memories.get(id)
        try:
            self.store.memories.update(id, content=content, session_id=session)
        except NotFoundError:
            assert before is None or before[3]
        else:
            assert before is not None and not before[3]
            self.memories[id] = content, session, before[2] + 1, False

    @rule(id=IDS, inside=st.booleans())
    def forget(self, id: UUID, inside: bool) -> None:
        before = self.memories.get(id)
        lives = before is not None and not before[3]
        with self.scope(inside) as scope:
            assert scope.memories.delete(id) == lives
        if before is not None and lives:
            self.memories[id] = before[0], before[1], before[2] + 1, True

    @rule(id=IDS, inside=st.booleans())
    def restore(self, id: UUID, inside: bool) -> None:
        before = self.memories.get(id)
        with self.scope(inside) as scope:
            assert scope.memories.restore(id) == (before is not None and before[3])
        if before is not None and before[3]:
            self.memories[id] = before[0], before[1], before[2] + 1, False

    @rule(id=IDS, inside=st.booleans())
    def purge(self, id: UUID, inside: bool) -> None:
        with self.scope(inside) as scope:
            assert scope.memories.purge(id) == (id in self.memories)
        self.memories.pop(id, None)

    @rule(stream=STREAMS, data=VALUES, inside=st.booleans())
    def append(self, stream: str, data: Any, inside: bool) -> None:
        with self.scope(inside) as scope:
            event = scope.events.append(stream, data)
        assert event.sequence == len(self.events.get(stream, ()))
        self.events.setdefault(stream, []).append(data)

    @rule(stream=STREAMS, before=st.integers(0, 4))
    def trim(self, stream: str, before: int) -> None:
        first, behind = self.trimmed.get(stream, 0), min(before, len(self.events.get(stream, ())))
        assert self.store.events.trim(stream, before) == max(0, behind - first)
        self.trimmed[stream] = max(first, behind)

    @rule(key=KEYS, field=st.sampled_from("ab"), value=VALUES, inside=st.booleans())
    def set_field(self, key: str, field: str, value: Any, inside: bool) -> None:
        with self.scope(inside) as scope:
            if key not in self.documents:
                scope.json.put(key, {})
            scope.json.set(key, f"/{field}", value)
            assert scope.json.get(key, f"/{field}", "nothing") == value
        self.documents.setdefault(key, {})[field] = value

    @rule(key=KEYS, inside=st.booleans())
    def delete_document(self, key: str, inside: bool) -> None:
        with self.scope(inside) as scope:
            assert scope.json.delete(key) == (key in self.documents)
        self.documents.pop(key, None)

    @rule(key=KEYS, value=VALUES, inside=st.booleans())
    def set_state(self, key: str, value: Any, inside: bool) -> None:
        with self.scope(inside) as scope:
            scope.states.set(key, value)
            assert scope.states.read(key, "nothing") == value
        self.states[key] = value, self.states.get(key, (None, 0))[1] + 1

    @rule(key=KEYS, expected=VALUES, value=VALUES, inside=st.booleans())
    def swap_state(self, key: str, expected: Any, value: Any, inside: bool) -> None:
        before = self.states.get(key)
        happens = before is not None and before[0] == expected and type(before[0]) is type(expected)
        with self.scope(inside) as scope:
            assert scope.states.compare_and_set(key, expected, value) == happens
        if before is not None and happens:
            self.states[key] = value, before[1] + 1

    @rule(id=IDS, tag=SESSIONS, inside=st.booleans())
    def begin_span(self, id: UUID, tag: str | None, inside: bool) -> None:
        if id not in self.spans:
            with self.scope(inside) as scope:
                scope.traces.record("step", id=id, tags=[tag] if tag else [])
            self.spans[id] = tag, {}

    @rule(id=IDS, name=st.sampled_from("xy"), value=VALUES, inside=st.booleans())
    def annotate_span(self, id: UUID, name: str, value: Any, inside: bool) -> None:
        if id in self.spans:
            with self.scope(inside) as scope:
                scope.traces.annotate(id, attributes={name: value})
            self.spans[id][1][name] = value

    @rule(key=KEYS)
    def put_what_expires(self, key: str) -> None:
        self.store.kv.put(key, 0, ttl=0.000_001)
        self.kv.pop(key, None)
        self.expired.add(key)

    @rule()
    def sweep(self) -> None:
        swept = self.store.sweep().get("default", {})
        assert swept.get("kv", 0) == len(self.expired)
        self.expired = set()

    @rule(key=KEYS)
    def forget_for_good(self, key: str) -> None:
        assert self.store.forget("kv", [key]).left == ()
        self.kv.pop(key, None)
        self.expired.discard(key)

    @rule()
    def drop(self) -> None:
        there = "default" in self.store.spaces()
        assert self.store.drop_space("default") == there and (there or not self.kv)
        self.kv, self.memories, self.events, self.trimmed, self.expired = {}, {}, {}, {}, set()
        self.documents, self.states, self.spans = {}, {}, {}
        assert self.store.spaces() == []

    @rule(keep=st.integers(0, 3))
    def compact(self, keep: int) -> None:
        self.store.compact(keep_changes=keep)

    @rule()
    def follow(self) -> None:
        """Who follows the feed of changes knows what there is, or is told to begin again."""
        try:
            changes = list(self.store.changes(after=self.position))
        except NotFoundError:
            self.followed, changes = set(), list(self.store.changes())
        for change in changes:
            if change.kind == "kv":
                (self.followed.discard if change.deleted else self.followed.add)(change.key)
        self.position = self.store._backend.view("default").head().sequence
        assert self.followed - self.expired == self.kv.keys() - self.expired
        assert self.kv.keys() <= self.followed

    @precondition(lambda self: self.persistent)
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = type(self).opener(self.number)

    @invariant()
    def kv_agrees(self) -> None:
        found = self.store.kv.scan()
        assert [(one.key, one.value, one.version) for one in found] == [(key, *self.kv[key]) for key in sorted(self.kv)]
        assert self.store.kv.count() == len(self.kv)

    @invariant()
    def memories_agree(self) -> None:
        lives = {id: memory for id, memory in self.memories.items() if not memory[3]}
        memories = self.store.memories
        found = memories.get_batch(sorted(self.memories), deleted=True)
        assert [(one.content, one.session_id, one.version) for one in found] == [
            self.memories[id][:3] for id in sorted(self.memories)
        ]
        assert memories.count() == len(lives)
        for session in ("s", "t"):
            assert {one.id for one in memories.get_by_session(session)} == {
                id for id, memory in lives.items() if memory[1] == session
            }
            assert memories.count(session_id=session) == sum(memory[1] == session for memory in lives.values())

    @invariant()
    def the_others_agree(self) -> None:
        store = self.store
        assert [(one.key, one.value) for one in store.json.scan()] == sorted(self.documents.items())
        found = [(one.key, one.value, one.version) for one in store.states.scan()]
        assert found == [(key, *self.states[key]) for key in sorted(self.states)]
        spans = {span.id: (next(iter(span.tags), None), span.attributes) for span in store.traces.list(limit=None)}
        assert spans == self.spans
        assert store.traces.count(tags=["s"]) == sum(tag == "s" for tag, _ in self.spans.values())

    @invariant()
    def events_agree(self) -> None:
        for stream, data in self.events.items():
            assert [event.data for event in self.store.events.read(stream)] == data[self.trimmed.get(stream, 0) :]
            assert self.store.events.verify(stream).ok
        assert self.store.events.count() == sum(map(len, self.events.values())) - sum(self.trimmed.values())

    def teardown(self) -> None:
        assert self.store.verify() == []
        self.store.close()


def machine_for(opener: Callable[[int], Store], persistent: bool) -> type[StoreMachine]:
    """Return a machine whose n-th run opens ``opener(n)``."""
    return type("Machine", (StoreMachine,), {"opener": staticmethod(opener), "persistent": persistent})
