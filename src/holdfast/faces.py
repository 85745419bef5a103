"""The attributes that a space, a transaction, a run and a replay have in common: one face for each primitive."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from holdfast.primitives.documents import Documents
from holdfast.primitives.event import EventPrimitive, Events
from holdfast.primitives.intent import IntentPrimitive
from holdfast.primitives.intents import Intents
from holdfast.primitives.json import JsonPrimitive
from holdfast.primitives.kv import KeyValuePrimitive, KeyValues
from holdfast.primitives.memories import Memories
from holdfast.primitives.memory import MemoryPrimitive
from holdfast.primitives.run import RunPrimitive, Runs
from holdfast.primitives.segment import SegmentPrimitive
from holdfast.primitives.segments import Segments
from holdfast.primitives.state import StatePrimitive, States
from holdfast.primitives.trace import TracePrimitive
from holdfast.primitives.traces import Traces
from holdfast.primitives.vector import VectorPrimitive
from holdfast.primitives.vectors import Vectors
from holdfast.registry import PrimitiveRegistry
from holdfast.scope import Scope
from holdfast.search.text import TextSearch
from holdfast.search.vector import VectorSearch


def builtin() -> PrimitiveRegistry:
    """Return a new registry of the primitives that come with Holdfast."""
    registry = PrimitiveRegistry()
    for primitive in (
        KeyValuePrimitive(),
        JsonPrimitive(),
        EventPrimitive(),
        StatePrimitive(),
        TracePrimitive(),
        RunPrimitive(),
        VectorPrimitive(),
        MemoryPrimitive(),
        IntentPrimitive(),
        SegmentPrimitive(),
    ):
        registry.register(primitive)
    return registry


REGISTRY = builtin()
"""What stores are opened with unless another registry is given; ``register`` adds primitives of your own."""


class Faces:
    """``kv``, ``json``, ``events``, ``states``, ``traces``, ``vectors``, ``memories``,
    ``segments`` and what else is registered."""

    def __init__(
        self, scope: Scope, search: TextSearch | None = None, vector_search: VectorSearch | None = None
    ) -> None:
        self._scope = scope
        self._search = search
        self._vector_search = vector_search

    @property
    def name(self) -> str:
        """The name of the space."""
        return self._scope.space

    @cached_property
    def kv(self) -> KeyValues:
        """Versioned values under keys."""
        return KeyValues(self._scope)

    @cached_property
    def json(self) -> Documents:
        """Documents, read and written by path."""
        return Documents(self._scope)

    @cached_property
    def events(self) -> Events:
        """Append-only streams."""
        return Events(self._scope)

    @cached_property
    def states(self) -> States:
        """Cells with transitions."""
        return States(self._scope)

    @cached_property
    def traces(self) -> Traces:
        """Spans: what the agent did, and how long it took."""
        return Traces(self._scope)

    @cached_property
    def memories(self) -> Memories:
        """What the agent knows."""
        return Memories(self._scope, self._search)

    @cached_property
    def segments(self) -> Segments:
        """Pieces of a context window, in three tiers."""
        return Segments(self._scope, self._search)

    @cached_property
    def vectors(self) -> Vectors:
        """Named collections of vectors."""
        return Vectors(self._scope, self._vector_search)

    @cached_property
    def intents(self) -> Intents:
        """What the agent wants, and how that hangs together."""
        return Intents(self._scope)

    @cached_property
    def runs(self) -> Runs:
        """Executions of the agent."""
        return Runs(self._scope)

    def __getattr__(self, name: str) -> Any:
        """Return the face of a primitive that a user has registered."""
        primitive = None if name.startswith("_") else self._scope.registry.by_attribute(name)
        if primitive is None:
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name!r}, and no primitive of that name is known"
            )
        return primitive.face(self._scope, self._search) if primitive.searchable else primitive.face(self._scope)
