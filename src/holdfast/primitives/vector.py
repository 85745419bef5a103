"""``vector``: named collections of vectors with metadata, found by nearness.

A collection says which dimension its vectors have and how they are compared, and never changes. A vector is checked
against its collection inside the commit, so both can be made in one transaction. The numbers are a blob, so that lists
and filters read none; the body holds their SHA-256. Metadata at the top is indexed, value by value. A collection that
is dropped disappears with its vectors at once, by its header; they are removed after that.

    key of a collection   (name,)       body: id, dimension, metric, metadata
    key of a vector       (name, id)    body: dimension, digest, metadata     blob "vector": float32, little-endian
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.codec import Value, decode
from holdfast.entry_types import (
    PRIMITIVE_IDS,
    VECTOR_CREATE_COLLECTION,
    VECTOR_DELETE,
    VECTOR_DROP_COLLECTION,
    VECTOR_INSERT,
    VECTOR_UPDATE,
)
from holdfast.keys import TERM_BYTES_MAX, TERMS_MAX, Part, decode_key, encode_key, key_range_prefix, term_value
from holdfast.model import Blobs, Header, Record, Term, Touched, Written
from holdfast.primitive import Delete, EntryType, Moment, Payload, Primitive, delete_entry, own_key, write
from holdfast.search.index import VECTOR_BLOB, Source
from holdfast.search.vector import Range
from holdfast.search.where import Condition, Where

KIND = PRIMITIVE_IDS["vector"]
COLLECTIONS, DROPPED, MEMBERS, FIELDS, UNINDEXED = range(1, 6)
FIELDS_MAX = TERMS_MAX - 2
"""How many fields of one vector are indexed; one with more is looked at whenever a filter is given."""
_ORDERED_BYTES = TERM_BYTES_MAX - 32
"""How much of a term keeps its order, however long the value is: what follows may be a digest."""
_PREFIX_BYTES_MAX = TERM_BYTES_MAX // 2
"""A field with a longer name is not indexed, so that there is room for its values."""
_ID = encode_key("")[:1]
"""What the key of a vector has behind that of its collection: the tag of a text."""


class CollectionBody(msgspec.Struct, omit_defaults=True):
    """The body of a collection; ``id`` tells it from one of the same name before or after it."""

    id: UUID
    dimension: int
    metric: str
    metadata: dict[str, Value] = {}


class VectorBody(msgspec.Struct, omit_defaults=True):
    """The body of a vector; its numbers are not in it."""

    dimension: int
    digest: bytes
    metadata: dict[str, Value] = {}


class VectorChanges(msgspec.Struct, omit_defaults=True):
    """The fields of a body that an update sets; the others stay."""

    dimension: int | UnsetType = UNSET
    digest: bytes | UnsetType = UNSET
    metadata: dict[str, Value] | UnsetType = UNSET


class Insert(Payload, frozen=True, gc=False):
    """Entry 0x70: create or replace a vector."""

    key: bytes
    body: bytes
    terms: tuple[Term, ...]
    expires_at: int | None
    blobs: Blobs


class Remove(Delete, frozen=True, gc=False):
    """Entry 0x71: remove a vector, or what is left of a collection."""


class Update(Payload, frozen=True, gc=False):
    """Entry 0x72: set some fields; ``changes`` is a VectorChanges. ``expires_at`` -1 keeps the expiry."""

    key: bytes
    changes: bytes
    expires_at: int | None = -1
    blobs: Blobs | None = None


class CreateCollection(Payload, frozen=True, gc=False):
    """Entry 0x73: create a collection, where there is none."""

    key: bytes
    body: bytes


class DropCollection(Delete, frozen=True, gc=False):
    """Entry 0x74: hide a collection and its vectors, which are removed after it."""


def digest_of(packed: bytes) -> bytes:
    """Return what the body keeps of a packed vector: its SHA-256."""
    return sha256(packed).digest()


def blobs_of(packed: bytes) -> Blobs:
    """Return a packed vector as the blobs of its record."""
    return ((VECTOR_BLOB, packed),)


def is_dropped(header: Header | None) -> bool:
    """Return True if a header is that of a collection that was dropped and not yet removed."""
    return header is not None and header.terms[0][0] == DROPPED


def members(collection: bytes) -> Range:
    """Return where the vectors of a collection lie."""
    return None, collection + _ID, key_range_prefix(collection)[1]


def every(collection: bytes) -> tuple[int, bytes, bytes]:
    """Return the index range that counts the vectors of a collection."""
    return MEMBERS, *key_range_prefix(collection)


def source_of(record: Record) -> Source:
    """Return what a search is told of a collection."""
    body = decode(record.body, CollectionBody)
    _, low, high = members(record.key)
    return Source(KIND, record.key, body.id.bytes, body.dimension, body.metric, low, high, every(record.key))


def terms_of(collection: bytes, metadata: dict[str, Any]) -> tuple[Term, ...]:
    """Return the index terms of a vector: its collection, and each value of its metadata that an index can hold."""
    fields = [(name, value) for name, value in metadata.items() if type(value) not in (list, dict)]
    prefixes = [_field_prefix(collection, name) for name, _ in fields]
    if len(fields) > FIELDS_MAX or any(len(prefix) > _PREFIX_BYTES_MAX for prefix in prefixes):
        return ((MEMBERS, collection), (UNINDEXED, collection))
    values = [term_value(prefix + encode_key(value)) for prefix, (_, value) in zip(prefixes, fields, strict=True)]
    return ((MEMBERS, collection), *((FIELDS, value) for value in values))


def _field_prefix(collection: bytes, name: str) -> bytes:
    return collection + encode_key(name)


def ranges_of(collection: bytes, condition: Condition) -> list[Range] | None:
    """Return the index ranges that hold all that can fulfil a condition, or None if no index can tell."""
    values = condition.values
    if values is not None and any(type(value) in (list, dict) for value in values):
        return None
    prefix = _field_prefix(collection, condition.field)
    ranges: list[Range] = [(UNINDEXED, *key_range_prefix(collection))]
    if len(prefix) > _PREFIX_BYTES_MAX:
        return ranges
    if values is None:
        return [*ranges, *(_span(prefix, least, greatest) for least, greatest in condition.spans())]
    ends = [key_range_prefix(term_value(prefix + encode_key(value))) for value in values]
    return [*ranges, *dict.fromkeys((FIELDS, low, high) for low, high in ends)]


def _span(prefix: bytes, least: Part, greatest: Part) -> Range:
    """Return the range of a field's values of one type; ``greatest`` None: to the end of the type."""
    low, type_end = prefix + encode_key(least), key_range_prefix(prefix + encode_key(least)[:1])[1]
    high = type_end if greatest is None else key_range_prefix(prefix + encode_key(greatest))[1]
    if len(low) > _ORDERED_BYTES:
        low = low[:_ORDERED_BYTES]
    return FIELDS, low, high if len(high) <= _ORDERED_BYTES else type_end


def accepting(where: Where) -> Any:
    """Return a function that tells whether a record fulfils a filter."""
    return lambda record: where.matches(decode(record.body, VectorBody).metadata)


def _fold_insert(entry: Insert, touched: Touched, at: Moment) -> Written:
    record = write(
        entry.key,
        touched[entry.key],
        at,
        entry.body,
        terms=entry.terms,
        expires_at=entry.expires_at,
        blobs=entry.blobs,
    )
    return {entry.key: record}


def _fold_update(entry: Update, touched: Touched, at: Moment) -> Written:
    record = touched[entry.key]
    if record is None:
        return {}
    body = decode(record.body, VectorBody)
    changes = decode(entry.changes, VectorChanges)
    for name in VectorChanges.__struct_fields__:
        value = getattr(changes, name)
        if value is not UNSET:
            setattr(body, name, value)
    collection = encode_key(decode_key(entry.key)[0])
    expires_at = record.expires_at if entry.expires_at == -1 else entry.expires_at
    terms = terms_of(collection, body.metadata)
    after = write(entry.key, record, at, at.codec.encode(body), terms=terms, expires_at=expires_at, blobs=entry.blobs)
    return {entry.key: after}


def _fold_create_collection(entry: CreateCollection, touched: Touched, at: Moment) -> Written:
    if touched[entry.key] is not None:
        return {}
    return {entry.key: write(entry.key, None, at, entry.body, terms=((COLLECTIONS, entry.key),))}


def _fold_drop_collection(entry: DropCollection, touched: Touched, at: Moment) -> Written:
    record = touched[entry.key]
    if record is None or is_dropped(record):
        return {}
    terms = ((DROPPED, decode(record.body, CollectionBody).id.bytes),)
    return {entry.key: write(entry.key, record, at, record.body, terms=terms)}


class VectorPrimitive(Primitive):
    """What the registry keeps of ``vector``; its face is in ``vectors.py``."""

    name = "vector"
    id = KIND
    attribute = "vectors"
    body = VectorBody
    indexes = {
        "collection": COLLECTIONS,
        "dropped": DROPPED,
        "member": MEMBERS,
        "field": FIELDS,
        "unindexed": UNINDEXED,
    }
    entry_types = (
        EntryType(VECTOR_INSERT, Insert, _fold_insert, own_key),
        delete_entry(VECTOR_DELETE, Remove),
        EntryType(VECTOR_UPDATE, Update, _fold_update, own_key, body=True, before_commit="read"),
        EntryType(VECTOR_CREATE_COLLECTION, CreateCollection, _fold_create_collection, own_key, before_commit="read"),
        EntryType(
            VECTOR_DROP_COLLECTION, DropCollection, _fold_drop_collection, own_key, body=True, before_commit="read"
        ),
    )

    def may_go(self, record: Record) -> bool:
        """A retention removes vectors, and leaves their collections."""
        return len(decode_key(record.key)) > 1

    def values(self, record: Record) -> dict[str, Any]:
        """Dimension, metadata and the digest of the numbers; of a collection, its settings without its id."""
        if len(decode_key(record.key)) > 1:
            return msgspec.structs.asdict(decode(record.body, VectorBody))
        values = msgspec.structs.asdict(decode(record.body, CollectionBody))
        del values["id"]
        return values
