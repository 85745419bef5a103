"""Records as plain values: what ``json.dumps`` takes."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from holdfast.errors import InvalidInputError


def to_dict(record: Any) -> dict[str, Any]:
    """Return a record (Memory, KeyValue, Event, RunRecord ...) as a dict of JSON values.

    Times are RFC 3339 text in UTC, UUIDs text, bytes ``{"$bytes": base64}``. InvalidInputError if it is no record.
    """
    if not isinstance(record, msgspec.Struct):
        raise InvalidInputError("record", f"must be a record of Holdfast, not {type(record).__name__}")
    values: dict[str, Any] = plain(record)
    return values


def plain(value: Any) -> Any:
    """Return any value of Holdfast as JSON values."""
    if isinstance(value, msgspec.Struct):
        fields = {name: plain(getattr(value, name)) for name in value.__struct_fields__}
        config = value.__struct_config__
        if config.tag is not None and config.tag_field is not None:
            return {config.tag_field: config.tag, **fields}
        return fields
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    return msgspec.to_builtins(value)
