"""The numbers by which a store's files call the primitives of users: given once for each name, and kept.

Two packages may choose the same id or the same entry types for their primitives. A store gives each **name** numbers of
its own - those it asks for, if they are free - and writes them down in a ``define`` entry before the first entry that
uses them. The primitives of the frozen table are called by their own numbers.

In a process, what a store has numbers for and nobody here has registered is called by its number + 256, which is no
number of anything else. For one thread at a time (the store's write lock). Knows no file.
"""

from __future__ import annotations

import msgspec

from holdfast.entry_types import (
    ENTRY_TYPE_LAST,
    PRIMITIVE_ID_LAST,
    USER_ENTRY_TYPE_FIRST,
    USER_PRIMITIVE_ID_FIRST,
)
from holdfast.errors import UnsupportedError
from holdfast.registry import PrimitiveRegistry

UNREGISTERED = 256


class Definition(msgspec.Struct, frozen=True, array_like=True):
    """The payload of a ``define`` entry: a name, the id that the store gave it, and its entry types in order."""

    name: str
    id: int
    types: tuple[int, ...]


class Numbering:
    """From the numbers of a process to those of a store, and back."""

    def __init__(self, registry: PrimitiveRegistry) -> None:
        self.definitions: dict[str, Definition] = {}
        self._registry = registry
        self._kinds: dict[int, int] = {}
        self._types: dict[int, int] = {}
        self._own_kinds: dict[int, int] = {}
        self._own_types: dict[int, int] = {}

    def define(self, definition: Definition) -> None:
        """Take in what a store has defined; a later one for a name adds entry types to it."""
        self.definitions[definition.name] = definition
        mine = next((one for one in self._registry if one.name == definition.name), None)
        self._own_kinds[definition.id] = definition.id + UNREGISTERED if mine is None else mine.id
        self._own_types.update((number, number + UNREGISTERED) for number in definition.types)
        if mine is not None:
            self._kinds[mine.id] = definition.id
            for entry_type, number in zip(mine.entry_types, definition.types, strict=False):
                self._types[entry_type.code] = number
                self._own_types[number] = entry_type.code

    def missing(self, kind: int) -> Definition | None:
        """What must be defined before entries of a kind are written; None if nothing must.

        UnsupportedError if the store has no number left.
        """
        if kind < USER_PRIMITIVE_ID_FIRST:
            return None
        primitive = self._registry.by_id(kind)
        known = self.definitions.get(primitive.name)
        types = known.types if known else ()
        if known is not None and len(types) >= len(primitive.entry_types):
            return None
        ids = {one.id for one in self.definitions.values()}
        taken = {number for one in self.definitions.values() for number in one.types}
        id = known.id if known else _free(kind, ids, range(USER_PRIMITIVE_ID_FIRST, PRIMITIVE_ID_LAST + 1))
        for entry_type in primitive.entry_types[len(types) :]:
            number = _free(entry_type.code, taken, range(USER_ENTRY_TYPE_FIRST, ENTRY_TYPE_LAST + 1))
            taken.add(number)
            types = (*types, number)
        return Definition(primitive.name, id, types)

    def kind(self, own: int) -> int:
        """The store's number for a kind of this process."""
        return own if own < USER_PRIMITIVE_ID_FIRST else self._kinds.get(own, own % UNREGISTERED)

    def own_kind(self, stored: int) -> int:
        """This process's number for a kind of the store."""
        if stored < USER_PRIMITIVE_ID_FIRST:
            return stored
        return self._own_kinds.get(stored, stored + UNREGISTERED)

    def type(self, own: int) -> int:
        """The store's number for an entry type of this process."""
        return own if own < USER_ENTRY_TYPE_FIRST else self._types.get(own, own % UNREGISTERED)

    def own_type(self, stored: int) -> int:
        """This process's number for an entry type of the store."""
        if stored < USER_ENTRY_TYPE_FIRST:
            return stored
        return self._own_types.get(stored, stored + UNREGISTERED)

    def kind_of_type(self, stored: int) -> int:
        """The kind, by its number in this process, that an entry type of the store belongs to."""
        if stored < USER_ENTRY_TYPE_FIRST:
            return stored >> 4
        for one in self.definitions.values():
            if stored in one.types:
                return self.own_kind(one.id)
        return stored + 2 * UNREGISTERED  # never defined: it stands for itself


def _free(wanted: int, taken: set[int], allowed: range) -> int:
    if wanted not in taken:
        return wanted
    for number in allowed:
        if number not in taken:
            return number
    raise UnsupportedError(
        f"this store has given away all numbers of {allowed.start}..{allowed.stop - 1} to primitives of users",
        capability="define",
    )
