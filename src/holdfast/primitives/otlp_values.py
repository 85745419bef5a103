"""The values of OTLP/JSON (AnyValue, KeyValue) from ours, and back. Pure.

    None, bool, float, str, list    nothing, boolValue, doubleValue, stringValue, arrayValue
    int                             intValue, as text
    bytes                           bytesValue, in base64; both alphabets are read, padded or not
    UUID, datetime, int >= 2^63     kvlistValue of one pair: $uuid, $datetime (RFC 3339 in UTC), $int, with the text
    dict                            kvlistValue; where that would be one of those, its key gets one more "$"

Promises: what is written is read as the same value of the same type. A value that somebody else wrote is read as it
stands, or InvalidInputError names its place; nothing is converted silently, so numbers must be finite.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import a2b_base64
from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final
from uuid import UUID

from holdfast.codec import INT_MAX, NESTING_MAX, Value, check_text
from holdfast.errors import InvalidInputError

_is_integer: Final = re.compile(r"-?[0-9]{1,20}").fullmatch


def to_pairs(values: dict[str, Value]) -> list[dict[str, Any]]:
    """Return a dict as a list of KeyValue."""
    return [{"key": key, "value": _any_value(value)} for key, value in values.items()]


def _any_value(value: Value) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)} if value < 2**63 else _tagged("int", str(value))
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bytes):
        return {"bytesValue": b64encode(value).decode()}
    if isinstance(value, UUID):
        return _tagged("uuid", str(value))
    if isinstance(value, datetime):
        return _tagged("datetime", value.astimezone(UTC).isoformat(timespec="microseconds"))
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(item) for item in value]}}
    if len(value) == 1:
        ((key, item),) = value.items()
        value = {f"${key}": item} if _meant(key, item) is not None else value
    return {"kvlistValue": {"values": to_pairs(value)}}


def _tagged(tag: str, text: str) -> dict[str, Any]:
    return {"kvlistValue": {"values": [{"key": f"${tag}", "value": {"stringValue": text}}]}}


def read_object(value: object, path: str) -> dict[str, Any]:
    """Return a dict."""
    if type(value) is not dict:
        raise InvalidInputError(path, f"must be a dict, not {value.__class__.__name__}")
    return value


def read_objects(items: object, path: str) -> list[tuple[dict[str, Any], str]]:
    """Return the dicts of a list, each with its path; null is the empty list."""
    if items is None:
        return []
    if type(items) is not list:
        raise InvalidInputError(path, f"must be a list, not {items.__class__.__name__}")
    return [(read_object(item, f"{path}[{place}]"), f"{path}[{place}]") for place, item in enumerate(items)]


def read_integer(value: object, path: str) -> int:
    """Return an integer, or one as decimal text; null is 0."""
    if value is None:
        return 0
    if type(value) is int or (type(value) is str and _is_integer(value)):
        return int(value)
    raise InvalidInputError(path, f"must be an integer, or one as text, not {value!r:.100}")


def read_pairs(pairs: object, path: str, depth: int = 0) -> dict[str, Value]:
    """Return the dict that a list of KeyValue is; null is the empty one."""
    read: dict[str, Value] = {}
    for pair, place in read_objects(pairs, path):
        key = check_text(pair.get("key", ""), f"{place}.key", empty_allowed=True)
        if key in read:
            raise InvalidInputError(f"{place}.key", f"{key!r:.100} is there twice")
        read[key] = _read_value(pair.get("value"), f"{place}.value", depth)
    return read


def _read_value(raw: object, path: str, depth: int) -> Value:
    if raw is None:
        return None
    if depth >= NESTING_MAX:
        raise InvalidInputError(path, f"is nested more than {NESTING_MAX} levels deep")
    given = {name: value for name, value in read_object(raw, path).items() if name in _READERS and value is not None}
    if len(given) > 1:
        raise InvalidInputError(path, f"must be one value, not {' and '.join(given)}")
    for name, value in given.items():
        return _READERS[name](value, f"{path}.{name}", depth)
    return None


def _read_text(value: Any, path: str, depth: int) -> Value:
    return check_text(value, path, empty_allowed=True)


def _read_bool(value: Any, path: str, depth: int) -> Value:
    if type(value) is not bool:
        raise InvalidInputError(path, f"must be true or false, not {value!r:.100}")
    return value


def _read_int(value: Any, path: str, depth: int) -> Value:
    return read_integer(value, path)


def _read_double(value: Any, path: str, depth: int) -> Value:
    try:
        number = float(value) if type(value) in (int, float, str) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or not isfinite(number):
        raise InvalidInputError(path, f"must be a finite number, not {value!r:.100}")
    return number


def _read_bytes(value: Any, path: str, depth: int) -> Value:
    text = check_text(value, path, empty_allowed=True).translate(_STANDARD_ALPHABET).rstrip("=")
    try:
        return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except ValueError as error:
        raise InvalidInputError(path, f"must be base64: {error}") from error


def _read_array(value: Any, path: str, depth: int) -> Value:
    items = read_objects(read_object(value, path).get("values"), f"{path}.values")
    return [_read_value(item, place, depth + 1) for item, place in items]


def _read_dict(value: Any, path: str, depth: int) -> Value:
    read = read_pairs(read_object(value, path).get("values"), f"{path}.values", depth + 1)
    if len(read) == 1:
        ((key, item),) = read.items()
        meant = _meant(key, item)
        if meant is not None:
            return {key[1:]: item} if key[:2] == "$$" else meant
    return read


def _meant(key: str, text: Value) -> Value:
    """The value that is written as this pair, with one "$" before the tag; None if there is none."""
    tag = key.lstrip("$")
    if tag == key or tag not in _TAGS or not isinstance(text, str):
        return None
    try:
        value = _TAGS[tag](text)
        return value if _any_value(value) == _tagged(tag, text) else None
    except (ValueError, OverflowError):
        return None


def _long_integer(text: str) -> int:
    found = int(text)
    if found > INT_MAX:
        raise ValueError("more than any value of ours")
    return found


_STANDARD_ALPHABET: Final = str.maketrans("-_", "+/")
_TAGS: Final[dict[str, Callable[[str], Value]]] = {
    "uuid": UUID,
    "datetime": datetime.fromisoformat,
    "int": _long_integer,
}
_READERS: Final[dict[str, Callable[[Any, str, int], Value]]] = {
    "stringValue": _read_text,
    "boolValue": _read_bool,
    "intValue": _read_int,
    "doubleValue": _read_double,
    "arrayValue": _read_array,
    "kvlistValue": _read_dict,
    "bytesValue": _read_bytes,
}
