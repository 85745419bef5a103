r"""Values to bytes and back, the canonical form and digests, and the checks of what users hand in.

Pure, and safe from any thread. Promises: what is read equals what was written, types included, in both codecs (a
datetime comes back in UTC); nothing is converted silently. It does not know what a body is for, nor where it is kept.

A **body** is a msgspec Struct. Fields annotated ``Value``, ``dict[str, Value]`` or ``list[Value]`` (also inside nested
structs, lists, tuples, dicts and unions) are **free**: they hold what a user gave, checked with ``check_value`` before.
All other fields have concrete types, and msgspec's own forms. The first byte of a body says which codec wrote it:

    first byte        codec      a free value is written as
    80..FF            msgpack    itself; bytes as bin, datetime as timestamp (ext -1), UUID as ext 1 with 16 bytes
    7B "{", 5B "["    json       itself; {"$bytes": base64}, {"$uuid": text}, {"$datetime": RFC 3339 in UTC with
                                 microseconds}; a dict key that starts with "$" gets one more "$"

The canonical form is the msgpack form of a free value with map keys sorted at every depth, each number and text in its
shortest form: equal values of equal types have one form (0.0 and -0.0, or 1 and 1.0, are different values).
"""

from __future__ import annotations

import re
import unicodedata
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable
from copy import copy
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from math import isfinite
from operator import is_
from struct import Struct as Layout
from struct import error as LayoutError
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast
from uuid import UUID

import msgspec
from msgspec import inspect

from holdfast.errors import InvalidInputError, SerializationError

if TYPE_CHECKING:
    Value: TypeAlias = "None | bool | int | float | str | bytes | datetime | UUID | list[Value] | dict[str, Value]"
else:
    # msgspec refuses a union of several str-like types, so at run time a field of this type holds anything;
    # check_value is what keeps the promise of the type.
    Value = Any

T = TypeVar("T")

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
BATCH_BYTES_MAX: Final = 64 * 1024 * 1024
NESTING_MAX: Final = 64
SPACE_NAME_BYTES_MAX: Final = 64
INT_MIN: Final = -(2**63)
INT_MAX: Final = 2**64 - 1

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME_MIN: Final = datetime.min.replace(tzinfo=UTC)
_TIME_MAX: Final = datetime.max.replace(tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


# -- time --------------------------------------------------------------------------------------------------------------

_MICROSECONDS_MIN: Final = (_TIME_MIN - _EPOCH) // _MICROSECOND
_MICROSECONDS_MAX: Final = (_TIME_MAX - _EPOCH) // _MICROSECOND
_pack_timestamp = Layout(">3sIq").pack
_timestamp = msgspec.msgpack.Decoder(datetime).decode  # twice as fast as _EPOCH + timedelta


def to_microseconds(dt: datetime, field: str) -> int:
    """Microseconds since 1970-01-01 UTC, exactly; InvalidInputError unless it is an aware datetime."""
    if type(dt) is not datetime:
        raise InvalidInputError(field, f"must be a datetime, not {_type_name(dt)}")
    try:
        microseconds = (dt - _EPOCH) // _MICROSECOND
    except TypeError:
        raise InvalidInputError(field, _NAIVE) from None
    if _MICROSECONDS_MIN <= microseconds <= _MICROSECONDS_MAX:
        return microseconds
    raise InvalidInputError(field, _NOT_IN_UTC)


def from_microseconds(us: int) -> datetime:
    """The datetime, in UTC, of microseconds since 1970-01-01; InvalidInputError outside of the years 1..9999."""
    seconds = us // 1_000_000
    try:
        return _timestamp(_pack_timestamp(b"\xc7\x0c\xff", (us - seconds * 1_000_000) * 1000, seconds))
    except (ValueError, msgspec.MsgspecError, LayoutError):
        raise InvalidInputError("microseconds", f"{us} is outside of the years 1..9999") from None


# -- checks ------------------------------------------------------------------------------------------------------------

_NAIVE: Final = "a datetime must have a time zone"
_NOT_IN_UTC: Final = "a datetime must be in the years 1..9999 of UTC"
_SURROGATE: Final = "a str must not hold lone surrogates"
_PLAIN: Final = frozenset((type(None), bool, bytes, UUID))  # always sound
_ONLY_FLOATS: Final = {float}
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII).fullmatch
_ASCII_SPACE_NAME: Final = re.compile(r"[A-Za-z0-9_.:@ -]+").fullmatch


def check_value(value: object, field: str) -> None:
    """InvalidInputError, whose field is the path of the offending node, unless this is a Value."""
    kind = type(value)
    if kind is dict or kind is list:
        if not _sound(value, NESTING_MAX - 1):
            _explain(value, field, [])
    elif why := _scalar_fault(value):
        raise InvalidInputError(field, why)


def _sound(whole: Any, room: int) -> bool:
    """Whether a dict or list is a value, with ``room`` more levels to go: the quick pass, which names nothing."""
    if type(whole) is dict:
        for key in whole:
            if type(key) is not str or not (key.isascii() or _encodable(key)):
                return False
        items = whole.values()
    else:
        items = whole
        if len(items) >= 32 and set(map(type, items)) == _ONLY_FLOATS and isfinite(sum(items)):
            return True  # embeddings; a sum that overflows is looked at item by item
    for item in items:
        kind = type(item)
        if kind is str:
            if not item.isascii() and not _encodable(item):
                return False
        elif kind in _PLAIN:
            continue
        elif kind is int:
            if not INT_MIN <= item <= INT_MAX:
                return False
        elif kind is dict or kind is list:
            if not room or not _sound(item, room - 1):
                return False
        elif kind is float:
            if not isfinite(item):
                return False
        elif kind is not datetime or _time_fault(item):
            return False
    return True


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _time_fault(moment: datetime) -> str:
    try:
        return "" if _TIME_MIN <= moment <= _TIME_MAX else _NOT_IN_UTC
    except TypeError:
        return _NAIVE


def _explain(value: object, path: str, above: list[int]) -> None:
    """Raise for the first node that is no value; ``above`` are the ids of the containers that hold this one."""
    kind = type(value)
    if kind is dict or kind is list:
        if id(value) in above:
            raise InvalidInputError(path, "contains itself")
        if len(above) == NESTING_MAX:
            raise InvalidInputError(path, f"is nested more than {NESTING_MAX} levels deep")
        above.append(id(value))
        if kind is list:
            for index, item in enumerate(cast("list[object]", value)):
                _explain(item, f"{path}[{index}]", above)
        else:
            for key, item in cast("dict[object, object]", value).items():
                if type(key) is not str:
                    raise InvalidInputError(path, f"has a key that is not a str: {_shown(key)}")
                if not _encodable(key):
                    raise InvalidInputError(path, f"has a key with a lone surrogate: {_shown(key)}")
                _explain(item, f"{path}.{key}" if _PLAIN_NAME(key) else f"{path}[{_shown(key)}]", above)
        above.pop()
    elif why := _scalar_fault(value):
        raise InvalidInputError(path, why)


def _scalar_fault(value: object) -> str:
    kind = type(value)
    if kind in _PLAIN:
        return ""
    if kind is str:
        return "" if _encodable(cast("str", value)) else _SURROGATE
    if kind is int:
        return "" if INT_MIN <= cast("int", value) <= INT_MAX else "an int must be in -2**63..2**64-1"
    if kind is float:
        return "" if isfinite(cast("float", value)) else "a float must be finite"
    if kind is datetime:
        return _time_fault(cast("datetime", value))
    return f"{_type_name(value)} is none of None, bool, int, float, str, bytes, datetime, UUID, list, dict"


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _shown(key: object) -> str:
    text = repr(key)
    return text if len(text) <= 80 else text[:77] + "..."


def check_text(
    value: object,
    field: str,
    *,
    empty_allowed: bool = False,
    most_bytes: int | None = None,
    nul_allowed: bool = True,
) -> str:
    """The value, if it is a str without lone surrogates that keeps to the limits; else InvalidInputError."""
    if type(value) is not str:
        raise InvalidInputError(field, f"must be a str, not {_type_name(value)}")
    if not value and not empty_allowed:
        raise InvalidInputError(field, "must not be empty")
    if value.isascii():
        size = len(value)
    else:
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise InvalidInputError(field, _SURROGATE) from None
    if most_bytes is not None and size > most_bytes:
        raise InvalidInputError(field, f"has {size} bytes as UTF-8; at most {most_bytes} are allowed")
    if not nul_allowed and "\0" in value:
        raise InvalidInputError(field, "must not hold NUL characters")
    return value


def check_space_name(name: object) -> str:
    """The name, if it is one that every backend can keep, as part of a path too; else InvalidInputError("space", why).

    Letters, digits and marks of any script (in Unicode's NFC form, so that one name is not two), ``- _ . : @``, and
    spaces inside; 1..64 bytes of UTF-8; no ``..``, and not ``.``.
    """
    text = check_text(name, "space", most_bytes=SPACE_NAME_BYTES_MAX)
    if text[0] == " " or text[-1] == " ":
        raise InvalidInputError("space", "must not begin or end with a space")
    if text == "." or ".." in text:
        raise InvalidInputError("space", "must not be '.' or contain '..'")
    if not _ASCII_SPACE_NAME(text):
        for place, char in enumerate(text):
            if not (char.isalnum() or char in "-_.:@ " or (place and unicodedata.category(char)[0] == "M")):
                raise InvalidInputError(
                    "space", f"must not contain {char!r}: letters, digits, - _ . : @ and spaces only"
                )
        if not unicodedata.is_normalized("NFC", text):
            raise InvalidInputError("space", "must be in Unicode's NFC form")
    return text


# -- free values -------------------------------------------------------------------------------------------------------

_Change: TypeAlias = Callable[[Any], Any]
_UUID_EXT: Final = 1
# What the format itself can say; and UNSET, which leaves a field of a struct out (check_value refuses it from users).
_JSON_PLAIN: Final = frozenset((type(None), bool, int, float, str, msgspec.UnsetType))
_MSGPACK_PLAIN: Final = _JSON_PLAIN | {bytes, datetime}
_uuid = msgspec.msgpack.Decoder(UUID).decode  # six times as fast as UUID(bytes=...)


# msgspec writes a UUID in a free value as 16 bytes of bin, which would be read as bytes: it has to be made an Ext. But
# encoding takes a tenth of the time of looking at each node in Python. So a struct whose own fields hold no UUID is
# encoded as it is, and looked at only if its bytes hold the trace that a UUID in a free value would have left there.
_UUID_TRACE: Final = b"\xc4\x10"
_BIN: Final = 0xC4  # to look for one int in bytes is memchr; to look for bytes in bytes takes five times as long


def _to_msgpack(value: Any) -> Any:
    """The value with each UUID as an Ext; the very same object if it holds none."""
    kind = type(value)
    if kind is dict:
        return _changed(value, value.items(), _MSGPACK_PLAIN, _to_msgpack) if value else value
    if kind in _MSGPACK_PLAIN:
        return value
    if kind is list:
        return _changed(value, enumerate(value), _MSGPACK_PLAIN, _to_msgpack)
    if kind is UUID:
        return msgspec.msgpack.Ext(_UUID_EXT, value.bytes)
    raise TypeError(f"{_type_name(value)} is not a type of value")


def _changed(whole: Any, items: Iterable[tuple[Any, Any]], plain: frozenset[type], change: _Change) -> Any:
    """A list or dict with what ``change`` makes of its items; the very same object if it changes none."""
    copied = whole
    for place, item in items:
        if type(item) not in plain and (new := change(item)) is not item:
            if copied is whole:
                copied = whole.copy()
            copied[place] = new
    return copied


def _from_ext(code: int, data: memoryview) -> UUID:
    if code != _UUID_EXT or len(data) != 16:
        raise ValueError(f"no such extension: code {code}, {len(data)} bytes")
    return _uuid(b"\xc4\x10" + data)


def _to_json(value: Any) -> Any:
    """The value with tags for what JSON lacks; the very same object if it needs none."""
    kind = type(value)
    if kind in _JSON_PLAIN:
        return value
    if kind is dict:
        for key in value:
            if key[:1] == "$":
                return {"$" + key if key[:1] == "$" else key: _to_json(item) for key, item in value.items()}
        return _changed(value, value.items(), _JSON_PLAIN, _to_json)
    if kind is list:
        return _changed(value, enumerate(value), _JSON_PLAIN, _to_json)
    if kind is datetime:
        return {"$datetime": value.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"}
    if kind is bytes:
        return {"$bytes": b2a_base64(value, newline=False).decode()}
    if kind is UUID:
        return {"$uuid": str(value)}
    raise TypeError(f"{_type_name(value)} is not a type of value")


def _from_json(value: Any) -> Any:
    """What ``_to_json`` made this of; ValueError for a tag that it does not know."""
    if type(value) is list:
        return [_from_json(item) for item in value]
    if type(value) is not dict:
        return value
    if len(value) == 1:
        ((key, item),) = value.items()
        read = _TAGS.get(key)
        if read is not None:
            return read(item)
    new = {}
    for key, item in value.items():
        if key[:1] == "$":
            if key[:2] != "$$":
                raise ValueError(f"no such tag: {_shown(key)}")
            key = key[1:]
        new[key] = _from_json(item)
    return new


def _read_bytes(text: str) -> bytes:
    return a2b_base64(text, strict_mode=True)


def _read_datetime(text: str) -> datetime:
    return _in_utc(msgspec.convert(text, datetime))


def _read_uuid(text: str) -> UUID:
    return msgspec.convert(text, UUID)


def _in_utc(moment: datetime) -> datetime:
    if moment.tzinfo is UTC:
        return moment
    if fault := _time_fault(moment):
        raise ValueError(fault)
    return moment.astimezone(UTC)


_TAGS: Final[dict[str, Callable[[str], Any]]] = {
    "$bytes": _read_bytes,
    "$datetime": _read_datetime,
    "$uuid": _read_uuid,
}


# -- bodies ------------------------------------------------------------------------------------------------------------

_Plan: TypeAlias = tuple[tuple[str, _Change], ...]


class _Walk:
    """Changes the free values of bodies, and the fields of the types in ``leaves``; the rest is not even looked at.

    A change hands back the very same object when there is nothing to do, so a body that needs nothing is not copied;
    a body that does is copied, never altered. What to look at is worked out once for each struct type.
    """

    __slots__ = ("_free", "_leaves", "_plans")

    def __init__(self, free: _Change | None, leaves: dict[type[inspect.Type], _Change]) -> None:
        self._free = free
        self._leaves = leaves
        self._plans: dict[type, _Plan] = {}

    def __call__(self, body: Any) -> Any:
        changed = body
        for name, change in self.plan(type(body)):
            value = getattr(body, name)
            new = change(value)
            if new is not value:
                if changed is body:
                    changed = copy(body)  # structs.replace would run __post_init__
                msgspec.structs.force_setattr(changed, name, new)
        return changed

    def plan(self, kind: type) -> _Plan:
        """The fields of this type that must be looked at, with what to do with each."""
        plan = self._plans.get(kind)
        if plan is not None:
            return plan
        info = inspect.type_info(kind)
        if not isinstance(info, inspect.StructType):
            raise TypeError(f"a body must be a struct, not {kind.__name__}")
        changes = ((field.name, self._change(field.type, frozenset())) for field in info.fields)
        plan = self._plans[kind] = tuple((name, change) for name, change in changes if change)
        return plan

    def _change(self, info: inspect.Type, within: frozenset[type]) -> _Change | None:
        """What to do with a field of this type; None is nothing. ``within`` are the structs that are being asked."""
        if _is_free(info):
            return self._free
        if type(info) in self._leaves:
            return self._leaves[type(info)]
        if isinstance(info, inspect.StructType):
            if info.cls in within:
                return None
            within |= {info.cls}
            return self if any(self._change(field.type, within) for field in info.fields) else None
        if isinstance(info, inspect.UnionType):
            changes = {_runtime_type(one): change for one in info.types if (change := self._change(one, within))}
            return partial(_change_union, changes) if changes else None
        if isinstance(info, inspect.DictType):
            if inner := self._change(info.value_type, within):
                return partial(_change_dict, inner)
        elif isinstance(info, inspect.ListType):
            if inner := self._change(info.item_type, within):
                return partial(_change_list, inner)
        elif isinstance(info, inspect.VarTupleType):
            if inner := self._change(info.item_type, within):
                return partial(_change_tuple, inner)
        elif isinstance(info, inspect.TupleType):
            each = [self._change(one, within) for one in info.item_types]
            if any(each):
                return partial(_change_fixed_tuple, [change or _same for change in each])
        return None


_NOTHING: Final[frozenset[type]] = frozenset()


def _same(value: Any) -> Any:
    return value


def _change_dict(change: _Change, value: dict[Any, Any]) -> dict[Any, Any]:
    return cast("dict[Any, Any]", _changed(value, value.items(), _NOTHING, change))


def _change_list(change: _Change, value: list[Any]) -> list[Any]:
    return cast("list[Any]", _changed(value, enumerate(value), _NOTHING, change))


def _change_tuple(change: _Change, value: tuple[Any, ...]) -> tuple[Any, ...]:
    new = tuple([change(item) for item in value])
    return value if all(map(is_, new, value)) else new


def _change_fixed_tuple(changes: list[_Change], value: tuple[Any, ...]) -> tuple[Any, ...]:
    new = tuple([change(item) for change, item in zip(changes, value, strict=True)])
    return value if all(map(is_, new, value)) else new


def _change_union(changes: dict[type, _Change], value: Any) -> Any:
    change = changes.get(type(value))
    return value if change is None else change(value)


def _is_free(info: inspect.Type) -> bool:
    if isinstance(info, inspect.UnionType):  # Value | None, dict[str, Value] | None
        return any(isinstance(one, inspect.AnyType) for one in info.types) or all(
            isinstance(one, inspect.NoneType) or _is_free(one) for one in info.types
        )
    if isinstance(info, inspect.DictType):
        return isinstance(info.key_type, inspect.StrType | inspect.AnyType) and isinstance(
            info.value_type, inspect.AnyType
        )
    if isinstance(info, inspect.ListType):
        return isinstance(info.item_type, inspect.AnyType)
    return isinstance(info, inspect.AnyType)


def _runtime_type(info: inspect.Type) -> type:
    """The type of the objects of this type, for those types that have a change."""
    return info.cls if isinstance(info, inspect.StructType) else _RUNTIME_TYPES[type(info)]


_RUNTIME_TYPES: Final[dict[type[inspect.Type], type]] = {
    inspect.DictType: dict,
    inspect.ListType: list,
    inspect.VarTupleType: tuple,
    inspect.TupleType: tuple,
    inspect.DateTimeType: datetime,
    inspect.UUIDType: UUID,
}


class Codec:
    """One way to write bodies: ``JSON`` or ``MSGPACK``. Safe from any thread."""

    __slots__ = ("_change", "_decode", "_encode", "_look_first", "_traced", "_walk", "name")

    def __init__(
        self, name: str, encode: Callable[[Any], bytes], decode: _Change, change: _Change, walk: _Walk, traced: bool
    ) -> None:
        self.name = name
        self._encode = encode
        self._decode = decode
        self._change = change
        self._walk = walk
        self._traced = traced  # the bytes tell that a free value had to be changed
        self._look_first: dict[type, bool] = {}

    def __repr__(self) -> str:
        return self.name.upper()

    def encode(self, body: msgspec.Struct) -> bytes:
        """The bytes of a body whose free values have been checked; SerializationError if it has none."""
        try:
            look_first = self._look_first.get(type(body))
            if look_first is None:
                plan = (_OWN_UUIDS if self._traced else self._walk).plan(type(body))
                look_first = self._look_first[type(body)] = bool(plan)
            if look_first:
                return self._encode(self._walk(body))
            encoded = self._encode(body)
            if _BIN in encoded and self._traced and _UUID_TRACE in encoded:
                return self._encode(self._walk(body))
            return encoded
        except _ENCODE_ERRORS as error:
            raise SerializationError(f"{type(body).__name__} cannot be encoded: {error}") from error

    def encode_value(self, value: Value) -> bytes:
        """The bytes of a bare value that has been checked; ``decode_value`` has to be told the codec."""
        try:
            return self._encode(self._change(value))
        except _ENCODE_ERRORS as error:
            raise SerializationError(f"the value cannot be encoded: {error}") from error


_ENCODE_ERRORS: Final = (TypeError, ValueError, OverflowError, RecursionError)
_DECODE_ERRORS: Final = (msgspec.MsgspecError, *_ENCODE_ERRORS)
_OWN_UUIDS: Final = _Walk(None, {inspect.UUIDType: _same})  # only asked for its plans
_UTC_TIMES: Final[dict[type[inspect.Type], _Change]] = {inspect.DateTimeType: _in_utc}

JSON: Final = Codec(
    name="json",
    encode=msgspec.json.Encoder().encode,
    decode=msgspec.json.Decoder().decode,
    change=_to_json,
    walk=_Walk(_to_json, _UTC_TIMES),
    traced=False,
)
MSGPACK: Final = Codec(
    name="msgpack",
    encode=msgspec.msgpack.Encoder(uuid_format="bytes").encode,
    decode=msgspec.msgpack.Decoder(ext_hook=_from_ext).decode,
    change=_to_msgpack,
    walk=_Walk(_to_msgpack, {}),  # msgspec writes any datetime in UTC here
    traced=True,
)
_canonical_encode = msgspec.msgpack.Encoder(order="deterministic", uuid_format="bytes").encode
_UNTAG: Final = _Walk(_from_json, _UTC_TIMES)
_ZONES: Final = _Walk(None, _UTC_TIMES)  # for JSON that somebody has edited

_Reader: TypeAlias = tuple[Callable[[bytes], Any], Callable[[bytes], Any], bool]
_readers: dict[Any, _Reader] = {}


def _reader(kind: Any, like: type[msgspec.Struct] | None) -> _Reader:
    """How to read a type: from msgpack, from JSON, and whether JSON without tags has to be looked at as well."""
    looked_at = bool(_ZONES.plan(like or kind))
    reader = _readers[kind] = (
        msgspec.msgpack.Decoder(kind, ext_hook=_from_ext).decode,
        msgspec.json.Decoder(kind).decode,
        looked_at,
    )
    return reader


def decode(body: bytes, type: type[T], like: type[msgspec.Struct] | None = None) -> T:
    """The body, whichever codec wrote it; SerializationError if the bytes are no such struct.

    ``like`` is the struct that was written, if it is another: ``type`` has its fields, and more that no body holds.
    """
    try:
        reader = _readers.get(type) or _reader(type, like)
        first = body[0]
        if first == 0x7B or first == 0x5B:
            read: T = reader[1](body)
            if _may_hold_tags(body):
                return cast(T, _UNTAG(read))
            return cast(T, _ZONES(read)) if reader[2] else read
        if first < 0x80:
            raise ValueError(f"a body does not begin with {body[:1]!r}")
        return cast(T, reader[0](body))
    except (*_DECODE_ERRORS, IndexError) as error:
        name = getattr(type, "__name__", str(type))
        raise SerializationError(f"these {len(body)} bytes are no {name}: {error}") from error


def _may_hold_tags(body: bytes) -> bool:
    return 0x24 in body or (0x5C in body and b"\\u0024" in body)  # "$", plain or - by another hand - escaped


def decode_value(data: bytes, codec: Codec) -> Value:
    """The bare value that ``codec.encode_value`` wrote, or SerializationError."""
    try:
        value = codec._decode(data)
        return cast(Value, _from_json(value) if codec is JSON and _may_hold_tags(data) else value)
    except _DECODE_ERRORS as error:
        raise SerializationError(f"these {len(data)} bytes are no value in {codec.name}: {error}") from error


def transcode(body: bytes, type: type[Any], codec: Codec) -> bytes:
    """The same body as this codec writes it; the very same bytes if it wrote them."""
    if body and (body[0] >= 0x80) is (codec is MSGPACK):
        return body
    return codec.encode(decode(body, type))


# -- canonical form ----------------------------------------------------------------------------------------------------


def canonical(value: Value) -> bytes:
    """The one form of a checked value, whatever the order of its keys; see the top of this module."""
    try:
        encoded = _canonical_encode(value)
        if _BIN in encoded and _UUID_TRACE in encoded:
            return _canonical_encode(_to_msgpack(value))
        return encoded
    except _ENCODE_ERRORS as error:
        raise SerializationError(f"the value has no canonical form: {error}") from error


def digest(value: Value) -> bytes:
    """SHA-256 of the canonical form."""
    return sha256(canonical(value)).digest()
