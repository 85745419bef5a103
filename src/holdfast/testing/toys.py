"""Three small primitives for tests: ``raw`` (any header at all), ``counter`` (folds on what is there) and ``note``.

``note`` is also the example of a primitive of one's own: one struct, two entries, one face.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.codec import decode
from holdfast.faces import builtin
from holdfast.keys import encode_key
from holdfast.model import Blobs, Term, Touched, Written
from holdfast.primitive import (
    Delete,
    EntryType,
    Moment,
    Payload,
    Primitive,
    Put,
    delete_entry,
    own_key,
    put_entry,
    write,
)
from holdfast.registry import PrimitiveRegistry
from holdfast.scope import Scope


class NoteBody(msgspec.Struct):
    """The body of a note."""

    text: str


class NotePut(Put, frozen=True, gc=False):
    """Create or replace a note."""


class NoteDelete(Delete, frozen=True, gc=False):
    """Remove a note."""


class Notes:
    """The face of ``note``."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def put(self, name: str, text: str) -> None:
        self._scope.write([NotePut(encode_key(name), self._scope.codec.encode(NoteBody(text)))], lambda outcomes: None)

    def get(self, name: str) -> str | None:
        record = self._scope.read_one(NotePrimitive.id, encode_key(name))
        return None if record is None else decode(record.body, NoteBody).text

    def delete(self, name: str) -> bool:
        return self._scope.write([NoteDelete(encode_key(name))], lambda outcomes: bool(outcomes[0]))


class NotePrimitive(Primitive):
    """What the registry keeps of ``note``."""

    name = "note"
    id = 201
    attribute = "notes"
    body = NoteBody
    entry_types = (put_entry(0xC0, NotePut), delete_entry(0xC1, NoteDelete))
    face = Notes


class CounterBody(msgspec.Struct):
    """The body of a counter."""

    value: int


class Increment(Payload, frozen=True, gc=False):
    """Add to a counter; it begins at 0."""

    key: bytes
    by: int = 1


def _fold_increment(entry: Increment, touched: Touched, at: Moment) -> Written:
    record = touched[entry.key]
    value = (0 if record is None else decode(record.body, CounterBody).value) + entry.by
    return {entry.key: write(entry.key, record, at, at.codec.encode(CounterBody(value)))}


class Counters:
    """The face of ``counter``."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def increment(self, name: str, by: int = 1) -> Any:
        def value(outcomes: list[Written]) -> int:
            record = next(iter(outcomes[0].values()))
            assert record is not None
            return decode(record.body, CounterBody).value

        return self._scope.write([Increment(encode_key(name), by)], value)

    def value(self, name: str) -> int:
        record = self._scope.read_one(CounterPrimitive.id, encode_key(name))
        return 0 if record is None else decode(record.body, CounterBody).value


class CounterPrimitive(Primitive):
    """What the registry keeps of ``counter``."""

    name = "counter"
    id = 202
    attribute = "counters"
    body = CounterBody
    entry_types = (EntryType(0xC2, Increment, _fold_increment, own_key, body=True, before_commit="pending"),)
    face = Counters


class RawBody(msgspec.Struct):
    """The body of a raw record."""

    value: Any = None


class RawPut(Payload, frozen=True, gc=False):
    """Write a record with any header."""

    key: bytes
    body: bytes
    terms: tuple[Term, ...] = ()
    expires_at: int | None = None
    blobs: Blobs | None = None
    schema: int = 1


def _fold_raw(put: RawPut, touched: Touched, at: Moment) -> Written:
    record = write(
        put.key,
        touched[put.key],
        at,
        put.body,
        terms=put.terms,
        expires_at=put.expires_at,
        blobs=put.blobs,
        schema=put.schema,
    )
    return {put.key: record}


class RawDelete(Delete, frozen=True, gc=False):
    """Remove a record."""


class RawBroken(Payload, frozen=True, gc=False):
    """An entry whose fold fails: a bug in a primitive."""

    key: bytes


def _fold_broken(entry: RawBroken, touched: Touched, at: Moment) -> Written:
    raise ZeroDivisionError("a bug in a fold")


class RawPrimitive(Primitive):
    """What the registry keeps of ``raw``."""

    name = "raw"
    id = 203
    attribute = "raws"
    body = RawBody
    indexes = {"one": 1, "two": 2}
    entry_types = (
        EntryType(0xC4, RawPut, _fold_raw, own_key),
        delete_entry(0xC5, RawDelete),
        EntryType(0xC6, RawBroken, _fold_broken, own_key),
    )
    face = Notes


RAW = RawPrimitive.id


def toy_registry() -> PrimitiveRegistry:
    """Return a new registry of the built-in primitives and the three of this module."""
    registry = builtin()
    for primitive in (NotePrimitive(), CounterPrimitive(), RawPrimitive()):
        registry.register(primitive)
    return registry
