"""``kv``: versioned values under string keys; compare-and-set, prefix scans, many at once, expiry.

Conflicts are by key. A put reads nothing, so concurrent puts of one key all succeed, in some order; with
``expected_version=`` or ``expected=`` only the first of them does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from holdfast.codec import BODY_BYTES_MAX, Value, check_text, check_value, decode, from_microseconds
from holdfast.entry_types import KV_DELETE, KV_PUT, PRIMITIVE_IDS
from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.inputs import check_expiry, check_key, check_many, check_metadata, check_version
from holdfast.keys import decode_key, str_prefix_range
from holdfast.model import Guard, Record, Written
from holdfast.primitive import Delete, Primitive, Put, delete_entry, expecting, put_entry
from holdfast.scope import Listing, Scope, check_limit, cursor_place, cursor_text, first_record, take

KIND = PRIMITIVE_IDS["kv"]


class KeyValueBody(msgspec.Struct, omit_defaults=True):
    """The body of a kv record."""

    value: Value
    metadata: dict[str, Value] = {}


class KeyValue(msgspec.Struct, frozen=True):
    """A value with what is known of it. Inside a transaction ``version`` and ``revision`` are 0 until the commit."""

    key: str
    value: Value
    version: int
    revision: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    metadata: dict[str, Value] = {}


class KvPut(Put, frozen=True, gc=False):
    """Entry 0x10: create or replace a value."""


class KvDelete(Delete, frozen=True, gc=False):
    """Entry 0x11: remove a value."""


def _key_of(record: Record) -> str:
    key = decode_key(record.key)[0]
    assert isinstance(key, str)
    return key


def _shown(record: Any, key: str | None = None) -> KeyValue:
    """Return what users see of a record; ``key`` where it is known already."""
    body = decode(record.body, KeyValueBody)
    created_at = updated_at = from_microseconds(record.created_at)
    if record.updated_at != record.created_at:
        updated_at = from_microseconds(record.updated_at)
    return KeyValue(
        _key_of(record) if key is None else key,
        body.value,
        record.version,
        record.revision,
        created_at,
        updated_at,
        None if record.expires_at is None else from_microseconds(record.expires_at),
        body.metadata,
    )


def _first_shown(outcomes: list[Written]) -> KeyValue:
    record = first_record(outcomes)
    assert isinstance(record, Record)
    return _shown(record)


def _deleted(outcomes: list[Written]) -> bool:
    return bool(outcomes[0])


class KeyValues:
    """The face of ``kv``. As thread-safe as its scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def put(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: KeyValue | None = None,
    ) -> KeyValue:
        """Create or replace a value.

        ``ttl`` is a timedelta or seconds. Raises InvalidInputError; ConflictError if ``expected_version`` (0: must not
        exist) or ``expected`` (a record that was read) is not what is there.
        """
        entry = self._entry(key, value, metadata, check_expiry(expires_at, ttl))
        steps = [*self._guards(key, entry.key, expected_version, expected), entry]
        return self._scope.write(steps, lambda outcomes: _shown(outcomes[0][entry.key], key))

    def create(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> KeyValue:
        """Create a value; ConflictError if the key exists."""
        return self.put(key, value, metadata=metadata, expires_at=expires_at, ttl=ttl, expected_version=0)

    def update(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: KeyValue | None = None,
    ) -> KeyValue:
        """Replace a value that must exist, with its metadata and expiry; NotFoundError if it does not."""
        entry = self._entry(key, value, metadata, check_expiry(expires_at, ttl))

        def exists(record: object) -> None:
            if record is None:
                raise NotFoundError(f"kv key {key!r} does not exist; put() creates it")

        guards = self._guards(key, entry.key, expected_version, expected)
        return self._scope.write([Guard(KIND, entry.key, exists), *guards, entry], _first_shown)

    def put_many(self, values: Mapping[str, Value]) -> list[KeyValue]:
        """Create or replace many values in one commit."""
        if not isinstance(values, Mapping):
            raise InvalidInputError("values", f"must be a mapping of keys to values, not {type(values).__name__}")
        entries = [self._entry(key, value, None, None) for key, value in values.items()]
        if not entries:
            return []
        names = list(values)

        def shown(outcomes: list[Written]) -> list[KeyValue]:
            written: Any = [record for outcome in outcomes for record in outcome.values()]
            return [_shown(record, name) for record, name in zip(written, names, strict=True)]

        return self._scope.write(entries, shown)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a key, or ``default``."""
        record = self._scope.read_one(KIND, check_key(key, "key"))
        return default if record is None else decode(record.body, KeyValueBody).value

    def get_many(self, keys: Iterable[str], default: Any = None) -> list[Any]:
        """Return the values of many keys, in order, ``default`` for what is not there; one round trip."""
        encoded = [check_key(key, f"keys[{place}]") for place, key in enumerate(check_many(keys, "keys"))]
        records = self._scope.read(KIND, encoded)
        return [default if record is None else decode(record.body, KeyValueBody).value for record in records]

    def record(self, key: str) -> KeyValue | None:
        """Return the value of a key with its version, revision and times, or None."""
        record = self._scope.read_one(KIND, check_key(key, "key"))
        return None if record is None else _shown(record)

    def exists(self, key: str) -> bool:
        """Return True if the key has a value; reads no value."""
        return self._scope.read_one(KIND, check_key(key, "key"), "headers") is not None

    def delete(self, key: str, *, expected_version: int | None = None, expected: KeyValue | None = None) -> bool:
        """Remove a value; return True if there was one."""
        encoded = check_key(key, "key")
        guards = self._guards(key, encoded, expected_version, expected)
        return self._scope.write([*guards, KvDelete(encoded)], _deleted)

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove many values in one commit; return how many there were."""
        entries = [KvDelete(check_key(key, f"keys[{place}]")) for place, key in enumerate(check_many(keys, "keys"))]
        if not entries:
            return 0
        return self._scope.write(list(entries), lambda outcomes: sum(bool(outcome) for outcome in outcomes))

    def scan(
        self, prefix: str = "", *, limit: int = 100, after: str | None = None, reverse: bool = False
    ) -> Listing[KeyValue]:
        """Return a page of values in the order of their keys (by code point), those that start with ``prefix``."""
        low, high = str_prefix_range(check_text(prefix, "prefix", empty_allowed=True))
        found = self._scope.scan(KIND, None, low, high, after=cursor_place(after), reverse=reverse)
        records, place = take(found, check_limit(limit))
        return Listing([_shown(record) for record in records], cursor_text(place))

    def keys(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> Listing[str]:
        """Return a page of keys in order; reads no values."""
        low, high = str_prefix_range(check_text(prefix, "prefix", empty_allowed=True))
        found = self._scope.scan(KIND, None, low, high, after=cursor_place(after), want="headers")
        headers, place = take(found, check_limit(limit))
        return Listing([_key_of(header) for header in headers], cursor_text(place))

    def count(self) -> int:
        """Return how many keys have a value; reads no values."""
        return self._scope.count(KIND)

    def _entry(self, key: str, value: Value, metadata: object, expires_at: int | None) -> KvPut:
        encoded = check_key(key, "key")
        check_value(value, "value")
        body = self._scope.codec.encode(KeyValueBody(value, check_metadata(metadata)))
        if len(body) > BODY_BYTES_MAX:
            raise InvalidInputError("value", f"{len(body)} bytes when encoded; at most {BODY_BYTES_MAX} are allowed")
        return KvPut(encoded, body, (), expires_at)

    @staticmethod
    def _guards(key: str, encoded: bytes, version: int | None, expected: KeyValue | None) -> tuple[Guard, ...]:
        if version is None and expected is None:
            return ()
        return expecting(KIND, encoded, f"kv key {key!r}", check_version(version), expected)


class KeyValuePrimitive(Primitive):
    """What the registry keeps of ``kv``."""

    name = "kv"
    id = KIND
    attribute = "kv"
    body = KeyValueBody
    entry_types = (put_entry(KV_PUT, KvPut), delete_entry(KV_DELETE, KvDelete))
    face = KeyValues
