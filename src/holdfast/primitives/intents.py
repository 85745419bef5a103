"""The face of ``intent``: what users call. The record, its entries and folds are in ``intent.py``.

What depends on more than the records that it writes - a link that must close no cycle, a deletion that takes the edges
along - is planned in a transaction, which depends on all that it looked at: of two that race, one is overtaken, plans
again, and then sees what the other did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast import clock
from holdfast.codec import BODY_BYTES_MAX, Value, check_text, check_value, decode, from_microseconds
from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.inputs import (
    check_choice,
    check_id,
    check_many,
    check_metadata,
    check_optional_text,
    check_time,
    check_version,
)
from holdfast.keys import encode_key, key_range_prefix
from holdfast.model import Cursor, Guard, Record, Term, Written
from holdfast.primitive import expecting
from holdfast.primitives import intent as kind
from holdfast.primitives.intent import (
    EDGE_TYPES,
    KIND,
    PRIORITY_MAX,
    ChangeBody,
    EdgeBody,
    IntentBody,
    IntentChanges,
    Link,
    Persist,
    Purge,
    Restore,
    SoftDelete,
    Transition,
    Unlink,
    Update,
    edge_ends,
    intent_key,
)
from holdfast.primitives.intent_graph import (
    DIRECTIONS,
    Edge,
    Graph,
    Intent,
    IntentTree,
    to_dot,
    to_edge,
    to_intent,
    to_mermaid,
)
from holdfast.primitives.intent_inputs import accepting, check_followed, check_priority, check_weight, check_who
from holdfast.retry import run_with_retry
from holdfast.scope import DirectScope, Listing, Scope, check_limit, cursor_place, cursor_text, first_record, take
from holdfast.selection import Selection, value_prefix
from holdfast.transaction import TransactionScope

ORDERS = {"created": kind.CREATED, "updated": kind.UPDATED, "priority": kind.PRIORITY}
DELETING = ("keep", "remove", "refuse")


class StatusChange(msgspec.Struct, frozen=True):
    """A line of the history of an intent; ``before`` is None where it was persisted."""

    before: str | None
    status: str
    by: str | None
    why: str | None
    at: datetime
    revision: int


def _written(outcomes: list[Written]) -> Intent:
    record = first_record(outcomes)
    assert isinstance(record, Record)
    return to_intent(record)


def _happened(outcomes: list[Written]) -> bool:
    return bool(outcomes[0])


class Intents:
    """The face of ``intent``. As thread-safe as its scope.

    Queries that follow edges read step by step; ask a snapshot where all of it must be of one moment.
    """

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._graph = Graph(scope)

    # Writing

    def persist(
        self,
        goal: str,
        *,
        id: UUID | str | None = None,
        name: str | None = None,
        session_id: str | None = None,
        original_request: str | None = None,
        source: str | None = None,
        constraints: dict[str, Value] | None = None,
        preferences: dict[str, Value] | None = None,
        success_criteria: Value = None,
        triggered_by: str = "human_request",
        generation_context: dict[str, Value] | None = None,
        status: str = "active",
        priority: int = 0,
        metadata: dict[str, Value] | None = None,
        parent: UUID | str | None = None,
        by: str | None = None,
        why: str | None = None,
    ) -> Intent:
        """Create an intent, as a subgoal of ``parent`` if one is given; ``by`` and ``why`` begin its history.

        ``source`` is the intent as it was written, ``priority`` 0 to 2**32 - 1. Raises InvalidInputError; ConflictError
        if ``id`` is taken, by a deleted intent too; NotFoundError if the parent does not exist.
        """
        key = clock.new_id() if id is None else check_id(id)
        check_value(success_criteria, "success_criteria")
        body = IntentBody(
            goal=check_text(goal, "goal"),
            name=check_optional_text(name, "name"),
            session_id=check_optional_text(session_id, "session_id"),
            original_request=check_optional_text(original_request, "original_request"),
            source=check_optional_text(source, "source"),
            constraints=check_metadata(constraints, "constraints"),
            preferences=check_metadata(preferences, "preferences"),
            success_criteria=success_criteria,
            triggered_by=check_choice(triggered_by, "triggered_by", kind.TRIGGERS),
            generation_context=check_metadata(generation_context, "generation_context"),
            status=check_choice(status, "status", kind.STATUSES),
            priority=check_priority(priority, "priority"),
            metadata=check_metadata(metadata),
        )
        entry = Persist(intent_key(key), self._encoded(body, "goal"), _change_key(key), *check_who(by, why))
        guards = () if id is None else expecting(KIND, entry.key, f"intent {key}", 0, None)
        if parent is None:
            return self._scope.write([*guards, entry], _written)
        above = check_id(parent, "parent")

        def plan(scope: Scope) -> list[Any]:
            return [
                *guards,
                entry,
                *self._linking(scope, key, "is_subgoal_of", above, self._encoded(EdgeBody(), "metadata")),
            ]

        return to_intent(self._planned(plan, entry.key))

    def update(
        self,
        id: UUID | str,
        *,
        goal: str | UnsetType = UNSET,
        name: str | UnsetType | None = UNSET,
        session_id: str | UnsetType | None = UNSET,
        original_request: str | UnsetType | None = UNSET,
        source: str | UnsetType | None = UNSET,
        constraints: dict[str, Value] | UnsetType = UNSET,
        preferences: dict[str, Value] | UnsetType = UNSET,
        success_criteria: Value | UnsetType = UNSET,
        generation_context: dict[str, Value] | UnsetType = UNSET,
        priority: int | UnsetType = UNSET,
        metadata: dict[str, Value] | UnsetType = UNSET,
        expected_version: int | None = None,
        expected: Intent | None = None,
    ) -> Intent:
        """Set some fields of an intent; what is not given stays. ``transition`` changes the status.

        Raises NotFoundError if it does not exist; ConflictError if it is not what was expected.
        """
        texts = {"name": name, "session_id": session_id, "original_request": original_request, "source": source}
        maps: dict[str, Any] = {
            "constraints": constraints,
            "preferences": preferences,
            "generation_context": generation_context,
            "metadata": metadata,
        }
        given: dict[str, Any] = {
            **{field: check_optional_text(text, field) for field, text in texts.items() if text is not UNSET},
            **{field: check_metadata(value, field) for field, value in maps.items() if value is not UNSET},
        }
        if goal is not UNSET:
            given["goal"] = check_text(goal, "goal")
        if priority is not UNSET:
            given["priority"] = check_priority(priority, "priority")
        if success_criteria is not UNSET:
            check_value(success_criteria, "success_criteria")
            given["success_criteria"] = success_criteria
        key = check_id(id)
        entry = Update(intent_key(key), self._encoded(IntentChanges(**given), "goal"))
        return self._scope.write([*_guards(key, expected_version, expected), entry], _written)

    def transition(
        self,
        id: UUID | str,
        status: str,
        *,
        by: str | None = None,
        why: str | None = None,
        expected_version: int | None = None,
        expected: Intent | None = None,
    ) -> Intent:
        """Change the status of an intent; who did it and why goes into its history in the same commit.

        From active to any other; from executing to any other; from completed to archived; from failed and suspended to
        active or archived; from archived to active. ConflictError for any other way; NotFoundError.
        """
        key = check_id(id)
        wanted = check_choice(status, "status", kind.STATUSES)
        entry = Transition(intent_key(key), _change_key(key), wanted, *check_who(by, why))
        return self._scope.write([*_guards(key, expected_version, expected), entry], _written)

    def delete(
        self,
        id: UUID | str,
        *,
        edges: str = "keep",
        expected_version: int | None = None,
        expected: Intent | None = None,
    ) -> bool:
        """Leave a tombstone that ``restore`` brings back; return True if there was an intent.

        ``edges``: "keep" leaves its edges, which nobody is shown until it is restored; "remove" removes them for good,
        in the same commit; "refuse" raises InvalidInputError if it has any whose other end is there.
        """
        key = check_id(id)
        how = check_choice(edges, "edges", DELETING)
        steps = [*_guards(key, expected_version, expected), SoftDelete(intent_key(key))]
        if how == "keep":
            return self._scope.write(steps, _happened)
        there: list[bool] = []

        def plan(scope: Scope) -> list[Any]:
            graph = Graph(scope)
            there[:] = [bool(graph.intents([key]))]
            if how == "remove":
                return [*steps, *(Unlink(one) for one in {one.key for one in graph.records(key, want="headers")})]
            found = len(graph.edges(key))
            if found:
                raise InvalidInputError(
                    "edges", f"intent {key} has {found} of them; unlink them, or keep or remove them"
                )
            return steps

        self._planned(plan, intent_key(key))
        return there[0]

    def restore(self, id: UUID | str) -> bool:
        """Bring a deleted intent back, with its history and the edges that were kept; False if none is deleted."""
        return self._scope.write([Restore(intent_key(check_id(id)))], _happened)

    def purge(self, id: UUID | str) -> bool:
        """Remove an intent or its tombstone for good, with its history and its edges; return True if anything was left.

        Also removes the edges and the history that a retention has left of it.
        """
        key = check_id(id)
        found: list[bytes] = []

        def plan(scope: Scope) -> list[Any]:
            own = scope.scan(KIND, None, *key_range_prefix(intent_key(key)), want="headers")
            into = Graph(scope).records(key, None, "in", "headers")
            found[:] = dict.fromkeys([*(one.key for _, one in own), *(one.key for one in into)])
            return [Purge(tuple(found))]

        self._planned(plan, intent_key(key))
        return bool(found)

    def link(
        self,
        from_id: UUID | str,
        to_id: UUID | str,
        type: str,
        *,
        weight: float | None = None,
        metadata: dict[str, Value] | None = None,
    ) -> Edge:
        """Link two intents, or set weight and metadata of the edge that is there.

        ``type``: depends_on, is_subgoal_of (from the child to the parent), conflicts_with, enables, related_to,
        triggered_by or blocks; ``weight``: a finite number of 0 or more. Raises NotFoundError if an intent
        does not exist; InvalidInputError, also if depends_on or is_subgoal_of would lead back to where it began. Both
        are known inside the commit, whoever else links at the same time.
        """
        start, end = check_id(from_id, "from_id"), check_id(to_id, "to_id")
        check_choice(type, "type", EDGE_TYPES)
        if start == end:
            raise InvalidInputError("to_id", "must be another intent than from_id")
        body = self._encoded(EdgeBody(check_weight(weight), check_metadata(metadata)), "metadata")

        def plan(scope: Scope) -> list[Any]:
            return self._linking(scope, start, type, end, body)

        return to_edge(self._planned(plan, encode_key(start, type, end)))

    def unlink(self, from_id: UUID | str, to_id: UUID | str, type: str) -> bool:
        """Remove an edge; return True if there was one."""
        start, end = check_id(from_id, "from_id"), check_id(to_id, "to_id")
        check_choice(type, "type", EDGE_TYPES)
        return self._scope.write([Unlink(encode_key(start, type, end))], _happened)

    # Reading

    def get(self, id: UUID | str, *, deleted: bool = False) -> Intent | None:
        """Return an intent, or None; ``deleted``: also one that is deleted."""
        record = self._scope.read_one(KIND, intent_key(check_id(id)))
        return None if record is None or (not deleted and kind.is_tombstone(record)) else to_intent(record)

    def retrieve(self, id: UUID | str) -> Intent:
        """Return an intent; NotFoundError if it does not exist."""
        found = self.get(id)
        if found is None:
            raise NotFoundError(f"intent {id} does not exist")
        return found

    def history(self, id: UUID | str) -> list[StatusChange]:
        """Return the status changes of an intent, the oldest first, that of a deleted one too."""
        low, high = key_range_prefix(intent_key(check_id(id)))
        return [_line(record) for _, record in self._scope.scan(KIND, kind.HISTORY, low, high)]

    def count(
        self,
        *,
        status: str | None = None,
        session_id: str | None = None,
    ) -> int:
        """Count intents, those with a status or of a session if one is given; reads no bodies."""
        if status is not None:
            check_choice(status, "status", kind.STATUSES)
        if session_id is not None:
            check_text(session_id, "session_id")
        equal = _equal(status, session_id)
        return Selection(KIND, kind.CREATED, equal).count(self._scope)

    def edges(
        self, id: UUID | str, *, type: str | None = None, direction: str = "both", weight_min: float = 0
    ) -> list[Edge]:
        """Return the edges that begin ("out") or end ("in") at an intent, both ends of which are there."""
        at_least = check_weight(weight_min, "weight_min") or 0
        found = self._graph.edges(check_id(id), *check_followed(type, direction))
        return [edge for edge in found if at_least <= (1 if edge.weight is None else edge.weight)]

    def neighbours(self, id: UUID | str, *, type: str | None = None, direction: str = "both") -> list[Intent]:
        """Return the intents at the other ends of the edges of an intent, each once."""
        return self._graph.around(check_id(id), *check_followed(type, direction))

    def conflicts(self, id: UUID | str) -> list[Intent]:
        """Return the intents that an intent is in conflict with, from whichever side it was said."""
        return self._graph.around(check_id(id), "conflicts_with", "both")

    def ancestors(self, id: UUID | str) -> list[Intent]:
        """Return what an intent is a subgoal of, at any remove, the nearest first."""
        return self._graph.ancestors(check_id(id))

    def subtree(self, id: UUID | str) -> IntentTree:
        """Return an intent with its subgoals, at any remove; one with several parents stands once, as high as it can.

        NotFoundError if the intent does not exist.
        """
        return self._graph.subtree(self.retrieve(id))

    def roots(self) -> list[Intent]:
        """Return the intents that are a subgoal of nothing, in order of creation; reads all intents."""
        return self._graph.without(0)

    def leaves(self) -> list[Intent]:
        """Return the intents that have no subgoals, in order of creation; reads all intents."""
        return self._graph.without(1)

    def ready(self) -> list[Intent]:
        """Return the active intents that nothing keeps back, those of the highest priority first.

        Kept back is what depends on an intent that is neither completed nor archived, and what is blocked by one
        that is neither of these nor failed. A deleted intent keeps nothing back.
        """
        active = self.list(status="active", order="created", limit=None)
        return sorted(self._graph.ready(active.items), key=lambda one: -one.priority)

    def blocked_by(self, id: UUID | str) -> list[Intent]:
        """Return the intents that keep one back; see ``ready``."""
        return self._graph.blockers(check_id(id))

    def path(
        self,
        from_id: UUID | str,
        to_id: UUID | str,
        *,
        types: Iterable[str] = EDGE_TYPES,
        direction: str = "out",
        weighted: bool = False,
    ) -> list[Intent]:
        """Return the intents on the shortest way between two, both included; an empty list if there is none.

        ``direction``: "out" along the edges, "in" against them, "both". ``weighted``: the least sum of weights, where
        an edge without one counts 1; else the fewest edges.
        """
        among = tuple(check_choice(type, "types", EDGE_TYPES) for type in check_many(types, "types"))
        check_choice(direction, "direction", DIRECTIONS)
        start, end = check_id(from_id, "from_id"), check_id(to_id, "to_id")
        return self._graph.path(start, end, among, direction, weighted)

    def dot(self) -> str:
        """Return all intents and edges as text for Graphviz."""
        intents, edges = self._graph.whole()
        return to_dot(intents.values(), edges)

    def mermaid(self) -> str:
        """Return all intents and edges as text for Mermaid."""
        intents, edges = self._graph.whole()
        return to_mermaid(intents.values(), edges)

    def _linking(self, scope: Scope, start: UUID, type: str, end: UUID, body: bytes) -> list[Any]:
        circle = Graph(scope).chain(end, start, type) if type in kind.ACYCLIC else None
        if circle is not None:
            way = " -> ".join(str(id) for id in (start, *circle))
            raise InvalidInputError("to_id", f"{type} would lead back to where it began: {way}")
        return [Link(encode_key(start, type, end), body)]

    def _planned(self, plan: Callable[[Scope], list[Any]], shown: bytes) -> Any:
        """Commit what ``plan`` makes of what it reads, and only if that is still so; return the record as it is then.

        A guard behind the entries sees that record inside the commit, with its version and revision.
        """
        seen: list[Any] = []
        look = Guard(KIND, shown, lambda record: seen.__setitem__(slice(None), [record]), body=True)

        def write(scope: Scope) -> None:
            scope.write([*plan(scope), look], lambda _: None)

        def attempt() -> None:
            assert isinstance(direct, DirectScope)
            inner = TransactionScope(direct.space, direct.backend, direct.registry, direct.durability, direct.run)
            write(inner)
            inner.commit()

        direct = self._scope
        if isinstance(direct, DirectScope):
            run_with_retry(attempt)
        else:
            write(direct)
        return seen[0]

    def _children(
        self, parent: UUID, index: int, reverse: bool, after: Cursor | None
    ) -> Iterator[tuple[Cursor, Record]]:
        headers = self._graph.records(parent, "is_subgoal_of", "in", "headers")
        keys = [intent_key(edge_ends(header.key)[0]) for header in headers]
        records = [one for one in self._scope.read(KIND, keys) if one is not None and not kind.is_tombstone(one)]
        placed = [((value, one.key), one) for one in records for number, value in one.terms if number == index]
        for place, record in sorted(placed, key=lambda one: one[0], reverse=reverse):
            if after is None or (place < after if reverse else place > after):
                yield place, record

    def _encoded(self, body: msgspec.Struct, field: str) -> bytes:
        encoded: bytes = self._scope.codec.encode(body)
        if len(encoded) > BODY_BYTES_MAX:
            why = f"{len(encoded)} bytes with what belongs to it; at most {BODY_BYTES_MAX} are allowed"
            raise InvalidInputError(field, why)
        return encoded

    def list(
        self,
        *,
        status: str | Iterable[str] | None = None,
        session_id: str | None = None,
        priority_min: int = 0,
        priority_max: int = PRIORITY_MAX,
        parent: UUID | str | None = None,
        text: str | None = None,
        where: dict[str, Value] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        updated_since: datetime | None = None,
        updated_until: datetime | None = None,
        order: str = "created",
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Intent]:
        """Return a page of the intents that have all that is given, in order ("created", "updated", "priority").

        ``status``: one, or several of which it has one; priorities are inclusive; ``text`` stands in name, goal or
        request, whatever its case; ``where`` is metadata that must be equal; since <= created_at < until, and the same
        of the last update. ``limit`` None takes all.
        """
        index = ORDERS[check_choice(order, "order", ORDERS)]
        created = check_time(since, "since"), check_time(until, "until")
        accept = accepting(
            status, session_id, priority_min, priority_max, text, where,
            created,
            (check_time(updated_since, "updated_since"), check_time(updated_until, "updated_until")),
        )  # fmt: skip
        most, place = check_limit(limit, optional=True), cursor_place(after)
        if parent is not None:
            found = self._children(check_id(parent, "parent"), index, reverse, place)
        elif index == kind.CREATED:
            asked = Selection(KIND, index, _equal(status, session_id), *created, reverse)
            found = asked.iterate(self._scope, place)
        else:
            found = self._scope.scan(KIND, index, b"", b"\xff", after=place, reverse=reverse)
        records, last = take(((at, record) for at, record in found if accept(record)), most)
        return Listing([to_intent(record) for record in records], cursor_text(last))


def _change_key(id: UUID) -> bytes:
    return encode_key(id, clock.new_id())


def _guards(id: UUID, version: int | None, expected: Intent | None) -> tuple[Guard, ...]:
    if version is None and expected is None:
        return ()
    return expecting(KIND, intent_key(id), f"intent {id}", check_version(version), expected)


def _equal(status: str | Iterable[str] | None, session_id: str | None) -> list[Term]:
    """Return the index terms of what is asked for, of which the rarest leads."""
    equal = [(kind.STATUS, value_prefix(status))] if isinstance(status, str) else []
    return equal if session_id is None else [*equal, (kind.SESSION, value_prefix(session_id))]


def _line(record: Record) -> StatusChange:
    body = decode(record.body, ChangeBody)
    at = from_microseconds(record.created_at)
    return StatusChange(body.before, body.status, body.by, body.why, at, record.revision)
