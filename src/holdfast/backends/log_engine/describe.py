"""What an entry of a log says, for people and for salvage: its name, its key, its fields as plain values.

Promises: never raises for an entry that is damaged, unknown or newer than this code; it says so instead. Folds nothing,
so what it tells is what was written, not what came of it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast import entry_types
from holdfast.backends.log_engine.numbering import Numbering
from holdfast.codec import JSON, MSGPACK, decode_value
from holdfast.entry_types import CORE_COMMIT, CORE_DEFINE, PRIMITIVE_IDS
from holdfast.errors import HoldfastError
from holdfast.model import Entry
from holdfast.primitive import Primitive
from holdfast.registry import PrimitiveRegistry

NAMES = {
    code: constant.lower().replace("_", " ")
    for constant, code in vars(entry_types).items()
    if isinstance(code, int) and constant.partition("_")[0].lower() in PRIMITIVE_IDS
}
"""Entry type -> "kv put", for the entries of the frozen table."""
_ENCODED = ("body", "changes")
_WHOLE = "body"
_FAILURES = (HoldfastError, msgspec.MsgspecError, LookupError, TypeError, ValueError)


class Description(msgspec.Struct, frozen=True):
    """What an entry says; ``key`` as people read it, None where there is none or it cannot be told.

    ``fields`` are the fields of its payload but for the key. ``whole``: it carries all of a record,
    not a change of one. ``problem``: why it could not be understood, or None.
    """

    name: str
    kind: str
    key: str | None
    fields: dict[str, Any]
    whole: bool
    problem: str | None


def describe(entry: Entry, registry: PrimitiveRegistry, numbering: Numbering) -> Description:
    """Describe an entry as the log holds it, with the store's numbers."""
    name = NAMES.get(entry.type, f"0x{entry.type:02X}")
    core = entry.type in (CORE_COMMIT, CORE_DEFINE)
    try:
        if core:
            return Description(name, "core", None, {"says": msgspec.msgpack.decode(entry.payload)}, False, None)
        own = Entry(numbering.own_type(entry.type), entry.version, entry.payload)
        known = registry.to_payload(own)
        if known is None:
            kind = numbering.kind_of_type(entry.type)
            why = f"no primitive here knows version {entry.version} of it"
            return Description(name, registry.name_of(kind), None, {"says": _plain(entry.payload)}, False, why)
        primitive, entry_type, payload = known
        if own.type not in NAMES:
            name = f"{primitive.name} {type(payload).__name__}"
        keys = entry_type.keys(payload)
        fields = {
            field: _decoded(field, getattr(payload, field))
            for field in payload.__struct_fields__
            if getattr(payload, field) not in keys
        }
        whole = bool(getattr(payload, _WHOLE, b""))
        return Description(name, primitive.name, _key_text(primitive, keys), fields, whole, None)
    except _FAILURES as error:
        return Description(name, "?", None, {"says": _plain(entry.payload)}, False, str(error) or repr(error))


def _key_text(primitive: Primitive, keys: tuple[bytes, ...]) -> str | None:
    if not keys:
        return None
    try:
        return primitive.key_text(keys[0])
    except _FAILURES:
        return keys[0].hex()


def _decoded(field: str, value: Any) -> Any:
    """A field of a payload; what a primitive has encoded in it is decoded."""
    if field in _ENCODED and isinstance(value, bytes) and value:
        try:
            return decode_value(value, MSGPACK if value[0] >= 0x80 else JSON)
        except HoldfastError:
            return value
    return _plain(value)


def _plain(value: Any) -> Any:
    """A value of payloads as one that the JSON codec takes."""
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    return value


def as_json(value: Any) -> str:
    """One line of JSON; what JSON lacks has the tags of the codec."""
    try:
        return JSON.encode_value(_plain(value)).decode()
    except HoldfastError:
        return JSON.encode_value(repr(value)).decode()
