"""The face of ``json``: what users call. The record, its entries and folds are in ``json.py``.

A transaction that reads a path depends on what is at that path, so two that read and write siblings both succeed, and
of two whose paths overlap (one is above the other, or they are the same) the later gets a ConflictError. What ``set``,
``push``, ``patch`` and ``merge_patch`` return in a transaction, and what refuses them, is known at the commit.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from holdfast.codec import BODY_BYTES_MAX, Value, check_text, check_value, decode, from_microseconds
from holdfast.errors import InvalidInputError, NotFoundError
from holdfast.inputs import check_expiry, check_key, check_metadata, check_version
from holdfast.keys import str_prefix_range
from holdfast.model import Guard, Header, Record, Written
from holdfast.primitive import expecting
from holdfast.primitives.json import (
    KIND,
    Change,
    DocumentBody,
    JsonCreate,
    JsonDelete,
    JsonPatch,
    JsonSet,
    SetBody,
    name_of,
)
from holdfast.primitives.json_patch import Operation, check_patch
from holdfast.primitives.json_paths import Tokens, check_depth, find, parse_pointer
from holdfast.primitives.json_query import compile_query
from holdfast.scope import Listing, Pending, Scope, check_limit, cursor_place, cursor_text, first_record, take


class Document(msgspec.Struct, frozen=True):
    """A document with what is known of it. What a transaction creates has ``version`` and ``revision`` 0 until then."""

    key: str
    value: Value
    version: int
    revision: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    metadata: dict[str, Value] = {}


def _shown(record: Record) -> Document:
    body = decode(record.body, DocumentBody)
    return Document(
        name_of(record.key),
        body.value,
        record.version,
        record.revision,
        from_microseconds(record.created_at),
        from_microseconds(record.updated_at),
        None if record.expires_at is None else from_microseconds(record.expires_at),
        body.metadata,
    )


def _first_shown(outcomes: list[Written]) -> Document:
    record = first_record(outcomes)
    assert isinstance(record, Record)
    return _shown(record)


class Documents:
    """The face of ``json``. As thread-safe as its scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    # Whole documents

    def put(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document:
        """Create or replace a document: any value, most often an object.

        ``ttl`` is a timedelta or seconds. Raises InvalidInputError; ConflictError if ``expected_version`` (0: must not
        exist) or ``expected`` (a record that was read) is not what is there.
        """
        entry = self._create(key, value, metadata, check_expiry(expires_at, ttl))
        return self._scope.write([*_guards(key, entry.key, expected_version, expected), entry], _first_shown)

    def create(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> Document:
        """Create a document; ConflictError if the key exists."""
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
        expected: Document | None = None,
    ) -> Document:
        """Replace a document that must exist, with its metadata and expiry; NotFoundError if it does not."""
        entry = self._create(key, value, metadata, check_expiry(expires_at, ttl))

        def exists(record: object) -> None:
            if record is None:
                raise NotFoundError(f"json document {key!r} does not exist; put() creates it")

        guards = _guards(key, entry.key, expected_version, expected)
        return self._scope.write([Guard(KIND, entry.key, exists), *guards, entry], _first_shown)

    def get(self, key: str, pointer: str = "", default: Any = None) -> Any:
        """Return what is at a JSON Pointer (RFC 6901; "" is the whole document), or ``default``."""
        found = self._find(key, pointer)
        return found[0] if found else default

    def query(self, key: str, path: str) -> list[Value]:
        """Return the values that a JSONPath (RFC 9535) finds in a document, in order; none if it does not exist.

        Needs the extra ``json``. A transaction depends on the whole document then. Raises InvalidInputError;
        UnsupportedError without the extra.
        """
        select = compile_query(path)
        found = self._find(key, "")
        return select(found[0]) if found else []

    def record(self, key: str) -> Document | None:
        """Return a document with its metadata, version, revision and times, or None."""
        record = self._scope.read_one(KIND, check_key(key, "key"))
        return None if record is None else _shown(record)

    def exists(self, key: str, pointer: str = "") -> bool:
        """Return True if there is something at a pointer; of a whole document, no value is read."""
        tokens, encoded = parse_pointer(pointer), check_key(key, "key")
        if tokens:
            return self._scope.read_part(KIND, encoded, _value_of, _is_at(tokens))
        return self._scope.read_part(KIND, encoded, _is_there, bool, "headers")

    # Parts of documents

    def set(
        self,
        key: str,
        pointer: str,
        value: Value,
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document | Pending[Document]:
        """Add or replace what is at a pointer of a document that exists, and keep the rest, metadata and expiry.

        In an array, "-" or its length appends, and another index replaces. Raises NotFoundError if the document, or
        what is to hold the value, does not exist; ConflictError as ``put``; InvalidInputError.
        """
        tokens = parse_pointer(pointer)
        check_value(value, "value")
        check_depth(value, tokens, "value")
        encoded = check_key(key, "key")
        entry = JsonSet(encoded, pointer, self._encode(SetBody(value), "value"))
        return self._scope.write([*_guards(key, encoded, expected_version, expected), entry], _first_shown)

    def delete(
        self,
        key: str,
        pointer: str = "",
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> bool:
        """Remove what is at a pointer, or ("") the document; return True if there was something."""
        part = _is_at(parse_pointer(pointer))
        encoded = check_key(key, "key")
        steps = [*_guards(key, encoded, expected_version, expected), JsonDelete(encoded, pointer)]
        return self._scope.read_and_write(KIND, encoded, _value_of, part, steps, bool)

    def push(
        self,
        key: str,
        pointer: str,
        value: Value,
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document | Pending[Document]:
        """Append to the array at a pointer; NotFoundError if there is none."""
        check_value(value, "value")
        check_depth(value, (*parse_pointer(pointer), ""), "value")
        operation: Operation = {"op": "push", "path": pointer, "value": value}
        return self._change(key, [operation], "value", expected_version, expected)

    def pop(
        self,
        key: str,
        pointer: str,
        index: int = -1,
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Value:
        """Remove an item of the array at a pointer (the last, unless ``index`` says which) and return it.

        Raises NotFoundError if there is no such array or item. A transaction depends on that item.
        """
        tokens = parse_pointer(pointer)
        if type(index) is not int or not -(2**63) <= index < 2**63:
            raise InvalidInputError("index", f"must be an int (negative: from the end), not {index!r:.100}")

        def item(document: list[Value]) -> list[Value]:
            array = _at(tokens)(document)
            if not array or type(array[0]) is not list or not -len(array[0]) <= index < len(array[0]):
                return []
            return [array[0][index]]

        encoded = check_key(key, "key")
        change = Change([{"op": "pop", "path": pointer, "index": index}])
        entry = JsonPatch(encoded, self._encode(change, "index"))
        steps = [*_guards(key, encoded, expected_version, expected), entry]
        return self._scope.read_and_write(KIND, encoded, _value_of, item, steps, lambda found: found[0])

    def patch(
        self,
        key: str,
        patch: list[dict[str, Value]],
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document | Pending[Document]:
        """Apply a JSON Patch (RFC 6902): all of its operations or none.

        Raises NotFoundError if a path leads nowhere; ConflictError if a ``test`` fails; InvalidInputError names the
        operation that is malformed.
        """
        return self._change(key, check_patch(patch), "patch", expected_version, expected)

    def merge_patch(
        self,
        key: str,
        patch: Value,
        *,
        expected_version: int | None = None,
        expected: Document | None = None,
    ) -> Document | Pending[Document]:
        """Apply a JSON Merge Patch (RFC 7396): members are set, those that are None removed, objects merged."""
        check_value(patch, "patch")
        operation: Operation = {"op": "merge", "path": "", "value": patch}
        return self._change(key, [operation], "patch", expected_version, expected)

    # Many documents

    def scan(
        self, prefix: str = "", *, limit: int = 100, after: str | None = None, reverse: bool = False
    ) -> Listing[Document]:
        """Return a page of documents in the order of their keys (by code point), those that start with ``prefix``."""
        low, high = str_prefix_range(check_text(prefix, "prefix", empty_allowed=True))
        found = self._scope.scan(KIND, None, low, high, after=cursor_place(after), reverse=reverse)
        records, place = take(found, check_limit(limit))
        return Listing([_shown(record) for record in records], cursor_text(place))

    def keys(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> Listing[str]:
        """Return a page of keys in order; reads no values."""
        low, high = str_prefix_range(check_text(prefix, "prefix", empty_allowed=True))
        found = self._scope.scan(KIND, None, low, high, after=cursor_place(after), want="headers")
        headers, place = take(found, check_limit(limit))
        return Listing([name_of(header.key) for header in headers], cursor_text(place))

    def count(self) -> int:
        """Return how many documents there are; reads no values."""
        return self._scope.count(KIND)

    def _find(self, key: str, pointer: str) -> list[Value]:
        tokens = parse_pointer(pointer)
        return self._scope.read_part(KIND, check_key(key, "key"), _value_of, _at(tokens))

    def _create(self, key: str, value: Value, metadata: object, expires_at: int | None) -> JsonCreate:
        encoded = check_key(key, "key")
        check_value(value, "value")
        body = self._encode(DocumentBody(value, check_metadata(metadata)), "value")
        return JsonCreate(encoded, body, (), expires_at)

    def _change(
        self, key: str, operations: list[Operation], field: str, version: int | None, expected: Document | None
    ) -> Document | Pending[Document]:
        encoded = check_key(key, "key")
        entry = JsonPatch(encoded, self._encode(Change([*operations]), field))
        return self._scope.write([*_guards(key, encoded, version, expected), entry], _first_shown)

    def _encode(self, body: msgspec.Struct, field: str) -> bytes:
        encoded: bytes = self._scope.codec.encode(body)
        if len(encoded) > BODY_BYTES_MAX:
            raise InvalidInputError(field, f"{len(encoded)} bytes when encoded; at most {BODY_BYTES_MAX} are allowed")
        return encoded


def _value_of(record: Record | None) -> list[Value]:
    """The value of a document: a list of one, or of none, so that None is told from nothing."""
    return [] if record is None else [decode(record.body, DocumentBody).value]


def _at(tokens: Tokens) -> Callable[[list[Value]], list[Value]]:
    """What is at a place in a document: a list of one, or of none."""
    return lambda document: find(document[0], tokens) if document else []


def _is_at(tokens: Tokens) -> Callable[[list[Value]], bool]:
    return lambda document: bool(_at(tokens)(document))


def _is_there(header: Header | None) -> bool:
    return header is not None


def _guards(key: str, encoded: bytes, version: int | None, expected: Document | None) -> tuple[Guard, ...]:
    if version is None and expected is None:
        return ()
    return expecting(KIND, encoded, f"json document {key!r}", check_version(version), expected)
