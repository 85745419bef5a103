"""The registry of primitives: by id, by entry type, by payload, by name and by attribute.

Promises: two primitives never share an id, a name, an attribute, an entry type or a payload class, and each
keeps to its range of the frozen table. A registry is filled before stores are opened with it; reading is thread-safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from holdfast.core import CorePrimitive
from holdfast.entry_types import PRIMITIVE_ID_LAST, PRIMITIVE_IDS, USER_PRIMITIVE_ID_FIRST, entry_range
from holdfast.errors import InvalidInputError, SerializationError
from holdfast.model import Entry
from holdfast.primitive import EntryType, Payload, Primitive


class PrimitiveRegistry:
    """The primitives that a store knows; those of ``core`` are in each registry, but are not iterated over."""

    def __init__(self) -> None:
        self._by_id: dict[int, Primitive] = {}
        self._by_name: dict[str, Primitive] = {}
        self._by_attribute: dict[str, Primitive] = {}
        self._by_code: dict[int, tuple[Primitive, EntryType]] = {}
        self.by_payload: dict[type[Any], tuple[int, EntryType]] = {}
        """payload class -> (primitive id, entry type): what the commit path looks up."""
        self.erasing: set[type[Any]] = set()
        """The payload classes that take something away beside records."""
        self._decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {}
        self._encode = msgspec.msgpack.Encoder().encode
        self._bind(CorePrimitive())

    def register(self, primitive: Primitive) -> None:
        """Add a primitive.

        Raises InvalidInputError, and changes nothing, if anything of it is taken or out of its range.
        """
        self._check(primitive)
        self._bind(primitive)
        self._by_name[primitive.name] = primitive
        self._by_attribute[primitive.attribute] = primitive

    def _bind(self, primitive: Primitive) -> None:
        """Let the entries of a primitive be folded, and its records be named."""
        self._by_id[primitive.id] = primitive
        for entry_type in primitive.entry_types:
            self._by_code[entry_type.code] = (primitive, entry_type)
            self.by_payload[entry_type.payload] = (primitive.id, entry_type)
            if entry_type.erases is not None:
                self.erasing.add(entry_type.payload)
            self._decoders[entry_type.code] = msgspec.msgpack.Decoder(entry_type.payload)

    def _check(self, primitive: Primitive) -> None:
        name = primitive.name
        reserved = PRIMITIVE_IDS.get(name)
        if reserved is not None and reserved != primitive.id:
            raise InvalidInputError("primitive.id", f"{name!r} has the id {reserved} in the frozen table")
        if reserved is None and not USER_PRIMITIVE_ID_FIRST <= primitive.id <= PRIMITIVE_ID_LAST:
            why = f"{primitive.id} is not in {USER_PRIMITIVE_ID_FIRST}..{PRIMITIVE_ID_LAST}, the ids of user primitives"
            raise InvalidInputError("primitive.id", why)
        for field, value, taken in (
            ("id", primitive.id, self._by_id),
            ("name", name, self._by_name),
            ("attribute", primitive.attribute, self._by_attribute),
        ):
            if value in taken:
                raise InvalidInputError(f"primitive.{field}", f"{value!r} is already registered")
        codes, payloads = set(self._by_code), set(self.by_payload)
        allowed = entry_range(primitive.id)
        for entry_type in primitive.entry_types:
            if entry_type.code not in allowed:
                why = f"0x{entry_type.code:02X} is outside 0x{allowed.start:02X}-0x{allowed.stop - 1:02X} of {name!r}"
                raise InvalidInputError("entry_type.code", why)
            if entry_type.code in codes:
                raise InvalidInputError("entry_type.code", f"0x{entry_type.code:02X} is already registered")
            if entry_type.payload in payloads:
                why = f"{entry_type.payload.__name__} already belongs to another entry type; subclass it"
                raise InvalidInputError("entry_type.payload", why)
            codes.add(entry_type.code)
            payloads.add(entry_type.payload)

    def __iter__(self) -> Iterator[Primitive]:
        """Iterate over the primitives in the order of their ids."""
        return iter(sorted(self._by_name.values(), key=lambda primitive: primitive.id))

    def ids(self) -> list[int]:
        """Return the ids of all kinds of records that are known, core's too, in order."""
        return sorted(self._by_id)

    def kind_of(self, payload: Any) -> tuple[int, EntryType]:
        """Return the kind of the records that a payload touches, and its entry type."""
        kind, entry_type = self.by_payload[type(payload)]
        return (payload.kind if entry_type.any_kind else kind), entry_type

    def by_id(self, number: int) -> Primitive:
        """Return the primitive with this id; KeyError if there is none."""
        return self._by_id[number]

    def find(self, number: int) -> Primitive | None:
        """Return the primitive with this id, or None."""
        return self._by_id.get(number)

    def by_name(self, name: str) -> Primitive:
        """Return the primitive of this name; InvalidInputError names those that exist."""
        found = self._by_name.get(name) if isinstance(name, str) else None
        if found is None:
            raise InvalidInputError("kind", f"{name!r:.100} is unknown; there are {', '.join(sorted(self._by_name))}")
        return found

    def by_attribute(self, attribute: str) -> Primitive | None:
        """Return the primitive whose face stands under this attribute of a space, or None."""
        return self._by_attribute.get(attribute)

    def name_of(self, number: int) -> str:
        """Return the name of a primitive id, or "kind 77" for one that is not registered."""
        found = self._by_id.get(number)
        return found.name if found else f"kind {number}"

    def by_code(self, code: int) -> tuple[Primitive, EntryType] | None:
        """Return who folds an entry type, or None if nobody here does."""
        return self._by_code.get(code)

    def to_entry(self, payload: Payload) -> Entry:
        """Return the stored form of a payload."""
        entry_type = self.by_payload[type(payload)][1]
        return Entry(entry_type.code, entry_type.version, self._encode(payload))

    def to_payload(self, entry: Entry) -> tuple[Primitive, EntryType, Any] | None:
        """Return the payload of a stored entry with who folds it, or None if its type or version is unknown here."""
        found = self._by_code.get(entry.type)
        if found is None or found[1].version < entry.version:
            return None
        try:
            return (*found, self._decoders[entry.type].decode(entry.payload))
        except msgspec.MsgspecError as error:
            raise SerializationError(
                f"the payload of an entry 0x{entry.type:02X} cannot be decoded: {error}"
            ) from error
