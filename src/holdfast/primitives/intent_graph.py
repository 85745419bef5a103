"""The graph of intents: what users see of intents and edges, and how the edges are followed.

Edges whose other end is deleted or gone are not shown; the search for cycles follows them all the same, so that nothing
that is restored closes one. Reads as its scope does: inside a transaction everything that was followed is checked again
at the commit, and a snapshot shows one moment. Knows no writing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from heapq import heappop, heappush
from uuid import UUID

import msgspec

from holdfast.codec import Value, decode, from_microseconds
from holdfast.keys import encode_key, key_range_prefix, uuid_of
from holdfast.model import Record, Want
from holdfast.primitives.intent import (
    CREATED,
    IN,
    KIND,
    OUT,
    TYPE,
    EdgeBody,
    IntentBody,
    edge_ends,
    intent_key,
    is_tombstone,
)
from holdfast.scope import Scope

DIRECTIONS = ("out", "in", "both")
DONE = ("completed", "archived")
"""Where what depends on an intent may go on."""
OVER = (*DONE, "failed")
"""Where an intent blocks nothing any more."""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """An intent as it is stored. Inside a transaction ``version`` and ``revision`` of what was just written are 0."""

    id: UUID
    goal: str
    name: str | None
    session_id: str | None
    original_request: str | None
    source: str | None
    constraints: dict[str, Value]
    preferences: dict[str, Value]
    success_criteria: Value
    triggered_by: str
    generation_context: dict[str, Value]
    status: str
    priority: int
    metadata: dict[str, Value]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    version: int
    revision: int


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """An edge: ``from_id`` depends on, is a subgoal of, blocks ... ``to_id``."""

    from_id: UUID
    type: str
    to_id: UUID
    weight: float | None
    metadata: dict[str, Value]
    created_at: datetime
    updated_at: datetime
    version: int
    revision: int


class IntentTree(msgspec.Struct, frozen=True):
    """An intent and its subgoals, in order of their creation."""

    intent: Intent
    children: list[IntentTree]

    def walk(self) -> Iterator[tuple[int, Intent]]:
        """Iterate over (depth, intent), each before its children; this one has depth 0."""
        waiting = [(0, self)]
        while waiting:
            depth, tree = waiting.pop()
            yield depth, tree.intent
            waiting += [(depth + 1, child) for child in reversed(tree.children)]


def to_intent(record: Record) -> Intent:
    """Return an intent from its record."""
    values = msgspec.structs.asdict(decode(record.body, IntentBody))
    deleted_at = values.pop("deleted_at")
    return Intent(
        id=uuid_of(record.key[1:]),
        **values,
        created_at=from_microseconds(record.created_at),
        updated_at=from_microseconds(record.updated_at),
        deleted_at=None if deleted_at is None else from_microseconds(deleted_at),
        version=record.version,
        revision=record.revision,
    )


def to_edge(record: Record) -> Edge:
    """Return an edge from its record."""
    start, kind, end = edge_ends(record.key)
    body = decode(record.body, EdgeBody)
    return Edge(
        from_id=start,
        type=kind,
        to_id=end,
        weight=body.weight,
        metadata=body.metadata,
        created_at=from_microseconds(record.created_at),
        updated_at=from_microseconds(record.updated_at),
        version=record.version,
        revision=record.revision,
    )


class Graph:
    """The intents and edges of a scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def intents(self, ids: Iterable[UUID]) -> dict[UUID, Intent]:
        """Return those of the intents that are there and not deleted, in the order given; one round trip."""
        keys = [intent_key(id) for id in dict.fromkeys(ids)]
        found = [one for one in self._scope.read(KIND, keys) if one is not None and not is_tombstone(one)]
        return {intent.id: intent for intent in map(to_intent, found)}

    def every(self) -> dict[UUID, Intent]:
        """Return all intents that are not deleted, in order of creation."""
        found = (to_intent(record) for _, record in self._scope.scan(KIND, CREATED, b"", b"\xff"))
        return {intent.id: intent for intent in found}

    def records(
        self, id: UUID, type: str | None = None, direction: str = "both", want: Want = "records"
    ) -> Iterator[Record]:
        """Iterate over the records of the edges at an intent, whatever stands at their other end."""
        prefix = encode_key(id) if type is None else encode_key(id, type)
        for index, name in ((OUT, "out"), (IN, "in")):
            if direction in (name, "both"):
                yield from (one for _, one in self._scope.scan(KIND, index, *key_range_prefix(prefix), want=want))

    def edges(self, id: UUID, type: str | None = None, direction: str = "both") -> list[Edge]:
        """Return the edges at an intent both ends of which are there."""
        found = [to_edge(record) for record in self.records(id, type, direction)]
        there = self.intents([id, *(end for edge in found for end in (edge.from_id, edge.to_id))])
        return [edge for edge in found if edge.from_id in there and edge.to_id in there]

    def of_type(self, type: str) -> list[tuple[UUID, UUID]]:
        """Return (from, to) of every edge of a type; reads no bodies."""
        low, high = key_range_prefix(encode_key(type))
        ends = (edge_ends(one.key) for _, one in self._scope.scan(KIND, TYPE, low, high, want="headers"))
        return [(start, end) for start, _, end in ends]

    def whole(self) -> tuple[dict[UUID, Intent], list[Edge]]:
        """Return all intents, and the edges between them."""
        there = self.every()
        edges = [to_edge(record) for _, record in self._scope.scan(KIND, TYPE, b"", b"\xff")]
        return there, [edge for edge in edges if edge.from_id in there and edge.to_id in there]

    def around(self, id: UUID, type: str | None, direction: str) -> list[Intent]:
        """Return the intents at the other end of the edges at one, each once."""
        edges = self.edges(id, type, direction)
        return list(self.intents(edge.to_id if edge.from_id == id else edge.from_id for edge in edges).values())

    def chain(self, start: UUID, end: UUID, type: str) -> list[UUID] | None:
        """Return the ids from start to end along edges of a type, deleted intents among them; None if there is no way.

        Looks at everything that can be reached, so a transaction that goes on from the answer depends on all of it.
        """
        before: dict[UUID, UUID | None] = {start: None}
        waiting = [start]
        for here in waiting:
            if here == end:
                found: list[UUID] = []
                step: UUID | None = end
                while step is not None:
                    found.append(step)
                    step = before[step]
                return found[::-1]
            for header in self.records(here, type, "out", "headers"):
                following = edge_ends(header.key)[2]
                if following not in before:
                    before[following] = here
                    waiting.append(following)
        return None

    def ancestors(self, id: UUID) -> list[Intent]:
        """Return what an intent is a subgoal of, at any remove, the nearest first."""
        found: dict[UUID, Intent] = {}
        level = [id]
        while level:
            above = [one for here in level for one in self.around(here, "is_subgoal_of", "out")]
            level = [one.id for one in above if one.id not in found]
            found |= {one.id: one for one in above if one.id not in found}
        return list(found.values())

    def subtree(self, top: Intent) -> IntentTree:
        """Return an intent and its subgoals; one with several parents stands once, at the least depth."""
        tree = IntentTree(top, [])
        seen, level = {top.id}, [tree]
        while level:
            below: list[IntentTree] = []
            for node in level:
                children = self.around(node.intent.id, "is_subgoal_of", "in")
                for child in sorted(children, key=lambda one: (one.created_at, one.id)):
                    if child.id not in seen:
                        seen.add(child.id)
                        node.children.append(IntentTree(child, []))
                below += node.children
            level = below
        return tree

    def without(self, place: int) -> list[Intent]:
        """Return the intents that are at no living edge of is_subgoal_of: 0, as the child; 1, as the parent."""
        there = self.every()
        edges = self.of_type("is_subgoal_of")
        having = {edge[place] for edge in edges if edge[1 - place] in there}
        return [intent for id, intent in there.items() if id not in having]

    def blockers(self, id: UUID) -> list[Intent]:
        """Return what keeps an intent from being ready."""
        waited = [one for one in self.around(id, "depends_on", "out") if one.status not in DONE]
        return waited + [one for one in self.around(id, "blocks", "in") if one.status not in OVER and one not in waited]

    def ready(self, active: list[Intent]) -> list[Intent]:
        """Return those of the intents that nothing keeps back; three reads, however many there are."""
        depends = self.of_type("depends_on")
        blocks = [(end, start) for start, end in self.of_type("blocks")]
        status = {id: one.status for id, one in self.intents(end for _, end in depends + blocks).items()}
        kept = {start for start, end in depends if status.get(end, DONE[0]) not in DONE}
        kept |= {start for start, end in blocks if status.get(end, DONE[0]) not in OVER}
        return [one for one in active if one.id not in kept]

    def path(self, start: UUID, end: UUID, types: tuple[str, ...], direction: str, weighted: bool) -> list[Intent]:
        """Return the intents of the way with the least sum of weights (none: 1), or the fewest edges; [] if none."""
        far: dict[UUID, float] = {start: 0.0}
        before: dict[UUID, UUID] = {}
        waiting = [(0.0, start)]
        while waiting:
            distance, here = heappop(waiting)
            if here == end:
                break
            if distance > far[here]:
                continue  # a shorter way was found since
            for edge in self.edges(here, None, direction):
                there = edge.to_id if edge.from_id == here else edge.from_id
                reached = distance + (1.0 if edge.weight is None or not weighted else edge.weight)
                if edge.type in types and reached < far.get(there, float("inf")):
                    far[there], before[there] = reached, here
                    heappush(waiting, (reached, there))
        if end not in far:
            return []
        ids = [end]
        while ids[-1] != start:
            ids.append(before[ids[-1]])
        return list(self.intents(reversed(ids)).values())


def to_dot(intents: Iterable[Intent], edges: Iterable[Edge]) -> str:
    """Return a graph in the language of Graphviz."""
    lines = ["digraph intents {"]
    lines += [f"  {_dot(str(one.id))} [label={_dot(_label(one))}];" for one in intents]
    lines += [f"  {_dot(str(one.from_id))} -> {_dot(str(one.to_id))} [label={_dot(_name(one))}];" for one in edges]
    return "\n".join([*lines, "}"])


def to_mermaid(intents: Iterable[Intent], edges: Iterable[Edge]) -> str:
    """Return a graph in the language of Mermaid."""
    lines = ["graph TD"]
    lines += [f'  n{one.id.hex}["{_mermaid(_label(one))}"]' for one in intents]
    lines += [f"  n{one.from_id.hex} -->|{_mermaid(_name(one))}| n{one.to_id.hex}" for one in edges]
    return "\n".join(lines)


def _label(intent: Intent) -> str:
    return f"{intent.name or intent.goal} ({intent.status})"


def _name(edge: Edge) -> str:
    return edge.type if edge.weight is None else f"{edge.type} {edge.weight:g}"


def _dot(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _mermaid(text: str) -> str:
    return "".join(one if one.isalnum() or one in " .,:()_-/" else f"#{ord(one)};" for one in text)
