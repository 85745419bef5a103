"""``json``: documents under string keys - the record, its entries and their folds. The face is in ``documents.py``.

An entry carries what is to be done, not what came of it, and is folded inside the commit, upon the document that is
there then: so concurrent writes of one document all take place, in some order, and those of different paths merge.
A place that is not there is a NotFoundError, the failed test of a patch a ConflictError; nothing is changed then.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.codec import Value, decode
from holdfast.entry_types import JSON_CREATE, JSON_DELETE, JSON_PATCH, JSON_SET, PRIMITIVE_IDS
from holdfast.errors import NotFoundError
from holdfast.keys import decode_key
from holdfast.model import Record, Touched, Written
from holdfast.primitive import EntryType, Moment, Payload, Primitive, Put, own_key, put_entry, write
from holdfast.primitives.json_patch import apply
from holdfast.primitives.json_paths import Tree, find, parse_pointer

KIND = PRIMITIVE_IDS["json"]


class DocumentBody(msgspec.Struct, omit_defaults=True):
    """The body of a document."""

    value: Value
    metadata: dict[str, Value] = {}


class Change(msgspec.Struct):
    """What the payloads 0x21 and 0x23 carry: operations of ``json_patch``, in order."""

    operations: list[Value]


class JsonCreate(Put, frozen=True, gc=False):
    """Entry 0x20: create or replace a document."""


class JsonSet(Payload, frozen=True, gc=False):
    """Entry 0x21: a value at a pointer; ``value`` is a SetBody."""

    key: bytes
    pointer: str
    value: bytes


class JsonDelete(Payload, frozen=True, gc=False):
    """Entry 0x22: remove what is at a pointer, or ("") the document; an entry that finds nothing writes nothing."""

    key: bytes
    pointer: str = ""


class JsonPatch(Payload, frozen=True, gc=False):
    """Entry 0x23: operations of ``json_patch``; ``change`` is a Change."""

    key: bytes
    change: bytes


class SetBody(msgspec.Struct):
    """The value of a payload 0x21."""

    value: Value


def name_of(key: bytes) -> str:
    """Return the key of a document as users gave it."""
    name = decode_key(key)[0]
    assert isinstance(name, str)
    return name


def _opened(touched: Touched, key: bytes) -> tuple[Record, DocumentBody, Tree]:
    record, name = touched[key], name_of(key)
    if record is None:
        raise NotFoundError(f"json document {name!r} does not exist; create() or put() makes one")
    body = decode(record.body, DocumentBody)
    return record, body, Tree(body.value, f"json document {name!r}")


def _after(record: Record, body: DocumentBody, tree: Tree, at: Moment) -> Written:
    body.value = tree.root
    return {record.key: write(record.key, record, at, at.codec.encode(body), expires_at=record.expires_at)}


def fold_set(entry: JsonSet, touched: Touched, at: Moment) -> Written:
    """The document with a value at a place."""
    record, body, tree = _opened(touched, entry.key)
    tree.set(parse_pointer(entry.pointer), decode(entry.value, SetBody).value)
    return _after(record, body, tree, at)


def fold_delete(entry: JsonDelete, touched: Touched, at: Moment) -> Written:
    """The document without what was at a place; nothing, if nothing was there."""
    if touched[entry.key] is None:
        return {}
    tokens = parse_pointer(entry.pointer)
    if not tokens:
        return {entry.key: None}
    record, body, tree = _opened(touched, entry.key)
    if not find(tree.root, tokens):
        return {}
    tree.remove(tokens)
    return _after(record, body, tree, at)


def fold_patch(entry: JsonPatch, touched: Touched, at: Moment) -> Written:
    """The document after all operations."""
    record, body, tree = _opened(touched, entry.key)
    operations: list[Any] = decode(entry.change, Change).operations
    apply(tree, operations)
    return _after(record, body, tree, at)


class JsonPrimitive(Primitive):
    """What the registry keeps of ``json``; its face is in ``documents.py``."""

    name = "json"
    id = KIND
    attribute = "json"
    body = DocumentBody
    entry_types = (
        put_entry(JSON_CREATE, JsonCreate),
        EntryType(JSON_SET, JsonSet, fold_set, own_key, body=True, before_commit="pending"),
        EntryType(JSON_DELETE, JsonDelete, fold_delete, own_key, body=True, before_commit="pending"),
        EntryType(JSON_PATCH, JsonPatch, fold_patch, own_key, body=True, before_commit="pending"),
    )
