"""The face of ``vector``: what users call. The record, its entries and folds are in ``vector.py``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from holdfast import clock
from holdfast.codec import BODY_BYTES_MAX, Value, check_text, decode, from_microseconds
from holdfast.errors import ConflictError, CorruptionError, InvalidInputError, NotFoundError, UnsupportedError
from holdfast.inputs import (
    check_choice,
    check_expiry,
    check_key,
    check_many,
    check_metadata,
    check_time,
    check_version,
)
from holdfast.keys import KEY_BYTES_MAX, decode_key, encode_key
from holdfast.model import Guard, Header, Record, Want, Written
from holdfast.primitive import expecting
from holdfast.primitives import vector as kind
from holdfast.primitives.vector import KIND, CollectionBody, Insert, Update, VectorBody, VectorChanges
from holdfast.scope import (
    DirectScope,
    Listing,
    Scope,
    check_limit,
    cursor_place,
    cursor_text,
    first_record,
    take,
)
from holdfast.search.float32 import DIMENSION_MAX, pack, unpack
from holdfast.search.index import VECTOR_BLOB
from holdfast.search.nearest import METRICS
from holdfast.search.vector import Query, Range, VectorResults, VectorSearch
from holdfast.search.where import Where

COLLECTION_BYTES_MAX = 128
_REMOVED_AT_ONCE = 1000


class Collection(msgspec.Struct, frozen=True):
    """A collection: the dimension of its vectors, and how they are compared ("cosine", "dot" or "euclidean")."""

    name: str
    dimension: int
    metric: str
    metadata: dict[str, Value]
    created_at: datetime
    version: int
    revision: int


class VectorRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A vector with what is known of it; ``vector`` (float32 numbers) is None where it was not asked for.

    Inside a transaction ``version`` and ``revision`` of what was just written are 0.
    """

    collection: str
    id: str
    vector: list[float] | None
    metadata: dict[str, Value]
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    version: int
    revision: int


class NewVector(msgspec.Struct, frozen=True):
    """What ``insert_many`` and ``put_many`` take."""

    id: str
    vector: Any
    metadata: dict[str, Value] = {}


def _to_collection(record: Record) -> Collection:
    body = decode(record.body, CollectionBody)
    return Collection(
        str(decode_key(record.key)[0]), body.dimension, body.metric, body.metadata,
        from_microseconds(record.created_at), record.version, record.revision,
    )  # fmt: skip


def _to_vector(record: Record) -> VectorRecord:
    """Return a record with its vector, if that was read; CorruptionError if it is not what was written."""
    collection, id = decode_key(record.key)
    body = decode(record.body, VectorBody)
    packed = dict(record.blobs or ()).get(VECTOR_BLOB)
    if packed is not None and kind.digest_of(packed) != body.digest:
        raise CorruptionError(f"vector {id!r} of collection {collection!r} is not what was written")
    return VectorRecord(
        collection=str(collection),
        id=str(id),
        vector=None if packed is None else unpack(packed).tolist(),
        metadata=body.metadata,
        created_at=from_microseconds(record.created_at),
        updated_at=from_microseconds(record.updated_at),
        expires_at=None if record.expires_at is None else from_microseconds(record.expires_at),
        version=record.version,
        revision=record.revision,
    )


def _plain(record: Record) -> VectorRecord:
    """A record without its vector, on every backend."""
    return _to_vector(record if record.blobs is None else msgspec.structs.replace(record, blobs=None))


def _written(outcomes: list[Written]) -> VectorRecord:
    record = first_record(outcomes)
    assert isinstance(record, Record)
    return _plain(record)


def _all_written(outcomes: list[Written]) -> list[VectorRecord]:
    return [_written([outcome]) for outcome in outcomes]


def _happened(outcomes: list[Written]) -> bool:
    return bool(outcomes[0])


class Vectors:
    """The face of ``vector``. As thread-safe as its scope."""

    def __init__(self, scope: Scope, search: VectorSearch | None = None) -> None:
        self._scope = scope
        self._search = search

    # Collections

    def create_collection(
        self,
        name: str,
        *,
        dimension: int,
        metric: str = "cosine",
        metadata: dict[str, Value] | None = None,
        exist_ok: bool = False,
    ) -> Collection:
        """Create a collection: vectors of one dimension, compared by "cosine", "dot" or "euclidean".

        It never changes. Raises ConflictError if the name is taken, unless ``exist_ok`` and its settings are the same.
        """
        key = check_collection(name, "name")
        if type(dimension) is not int or not 1 <= dimension <= DIMENSION_MAX:
            raise InvalidInputError("dimension", f"must be an int of 1..{DIMENSION_MAX}, not {dimension!r}")
        body = CollectionBody(
            clock.new_id(), dimension, check_choice(metric, "metric", METRICS), check_metadata(metadata)
        )

        def is_free(record: Record | None) -> None:
            if record is None:
                return
            if kind.is_dropped(record):
                raise ConflictError(f"collection {name!r} was dropped and is still being removed; try again")
            found = decode(record.body, CollectionBody)
            same = (found.dimension, found.metric, found.metadata) == (dimension, metric, body.metadata)
            if not exist_ok or not same:
                settings = f"dimension {found.dimension}, metric {found.metric!r}, metadata {found.metadata!r}"
                raise ConflictError(f"collection {name!r} exists already, with {settings}")

        self._remove_dropped(key)
        entry = kind.CreateCollection(key, self._scope.codec.encode(body))
        steps = [Guard(KIND, key, is_free, body=True), entry]
        made = self._scope.write(steps, lambda outcomes: outcomes[0].get(key))
        found = self.collection(name) if made is None else _to_collection(made)
        if found is None:
            raise ConflictError(f"collection {name!r} was dropped meanwhile; create it again")
        return found

    def collection(self, name: str) -> Collection | None:
        """Return a collection, or None."""
        record = self._scope.read_one(KIND, check_collection(name, "name"))
        return None if record is None or kind.is_dropped(record) else _to_collection(record)

    def collections(self, *, limit: int = 100, after: str | None = None) -> Listing[Collection]:
        """Return a page of collections in the order of their names."""
        found = self._scope.scan(KIND, kind.COLLECTIONS, b"", b"\xff", after=cursor_place(after))
        records, place = take(found, check_limit(limit))
        return Listing([_to_collection(record) for record in records], cursor_text(place))

    def drop_collection(self, name: str) -> bool:
        """Drop a collection with all its vectors; return True if there was one.

        For readers and writers it is gone at once, by one commit. The vectors are removed after that, in commits of a
        thousand; where that is interrupted, dropping or creating a collection of this name goes on with it. Inside a
        transaction all of it is one commit.
        """
        key = check_collection(name, "name")
        dropped = self._scope.write([kind.DropCollection(key)], _happened)
        self._remove_dropped(key)
        if self._search is not None:
            self._search.forget(self._scope.space, key)
        return dropped

    def _remove_dropped(self, key: bytes) -> None:
        """Remove what is left of a dropped collection, and the collection at last."""
        collection = self._scope.read_one(KIND, key, "headers")
        if not kind.is_dropped(collection):
            return
        terms = collection.terms

        def is_same(record: Header | None) -> None:
            if record is None or record.terms != terms:
                raise ConflictError("the collection was removed by somebody else")

        guard = Guard(KIND, key, is_same)
        while True:
            found = self._scope.scan(KIND, *kind.members(key), want="headers", page_size=_REMOVED_AT_ONCE)
            headers, place = take(found, _REMOVED_AT_ONCE)
            last = [] if place else [kind.Remove(key)]
            try:
                self._scope.write([guard, *(kind.Remove(header.key) for header in headers), *last], _happened)
            except ConflictError:
                return  # whoever was faster does the rest
            if last:
                return

    # Writing

    def insert(
        self,
        collection: str,
        id: str,
        vector: Any,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> VectorRecord:
        """Add a vector under an id that must be free; ConflictError if it is not. Otherwise as ``put``."""
        return self.put(collection, id, vector, metadata=metadata, expires_at=expires_at, ttl=ttl, expected_version=0)

    def put(
        self,
        collection: str,
        id: str,
        vector: Any,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: VectorRecord | None = None,
    ) -> VectorRecord:
        """Create or replace a vector, with its metadata and expiry.

        ``vector`` is a list of numbers or an array (array.array, numpy, anything with the buffer protocol); it is kept
        as float32. Raises NotFoundError if there is no such collection; InvalidInputError for what is not finite, of
        another dimension, or zero where the metric is cosine; ConflictError if ``expected_version`` (0: must not exist)
        or ``expected`` is not what is there.
        """
        key = check_collection(collection)
        entry, packed = self._entry(key, "", id, vector, metadata, check_expiry(expires_at, ttl))
        guards = [_fitting(collection, key, [("vector", packed)])]
        guards += _guards(collection, id, entry.key, expected_version, expected)
        return self._scope.write([*guards, entry], _written)

    def insert_many(self, collection: str, vectors: Iterable[NewVector]) -> list[VectorRecord]:
        """Add many vectors in one commit, all or none; ConflictError if one of the ids is not free."""
        return self._write_many(collection, vectors, 0)

    def put_many(self, collection: str, vectors: Iterable[NewVector]) -> list[VectorRecord]:
        """Create or replace many vectors in one commit, in order."""
        return self._write_many(collection, vectors, None)

    def _write_many(self, collection: str, vectors: Any, expected_version: int | None) -> list[VectorRecord]:
        key = check_collection(collection)
        steps: list[Any] = []
        packed: list[tuple[str, bytes]] = []
        for place, new in enumerate(check_many(vectors, "vectors")):
            path = f"vectors[{place}]"
            if not isinstance(new, NewVector):
                raise InvalidInputError(path, f"must be a NewVector, not {type(new).__name__}")
            entry, numbers = self._entry(key, f"{path}.", new.id, new.vector, new.metadata, None)
            steps += [*_guards(collection, new.id, entry.key, expected_version, None), entry]
            packed.append((f"{path}.vector", numbers))
        if not steps:
            return []
        return self._scope.write([_fitting(collection, key, packed), *steps], _all_written)

    def update(
        self,
        collection: str,
        id: str,
        *,
        vector: Any = UNSET,
        metadata: dict[str, Value] | UnsetType = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        expected_version: int | None = None,
        expected: VectorRecord | None = None,
    ) -> VectorRecord:
        """Set the vector, the metadata or the expiry of what must exist; what is not given stays.

        Raises NotFoundError if it does not exist; otherwise as ``put``.
        """
        collection_key = check_collection(collection)
        key = _check_vector_id(collection_key, id)
        packed = None if vector is UNSET else pack(vector, "vector")
        changes = VectorChanges(metadata=metadata if metadata is UNSET else check_metadata(metadata))
        if packed is not None:
            changes.dimension, changes.digest = len(packed) // 4, kind.digest_of(packed)
        encoded = _check_size(self._scope.codec.encode(changes), "")
        until = -1 if expires_at is UNSET else check_time(expires_at, "expires_at")
        entry = Update(key, encoded, until, None if packed is None else kind.blobs_of(packed))

        def exists(record: Header | None) -> None:
            if record is None:
                raise NotFoundError(f"{_name(collection, id)} does not exist; put() creates it")

        guards = [_fitting(collection, collection_key, [] if packed is None else [("vector", packed)])]
        guards += [Guard(KIND, key, exists), *_guards(collection, id, key, expected_version, expected)]
        return self._scope.write([*guards, entry], _written)

    def delete(
        self,
        collection: str,
        id: str,
        *,
        expected_version: int | None = None,
        expected: VectorRecord | None = None,
    ) -> bool:
        """Remove a vector for good; return True if there was one."""
        key = _check_vector_id(check_collection(collection), id)
        guards = _guards(collection, id, key, expected_version, expected)
        return self._scope.write([*guards, kind.Remove(key)], _happened)

    def _entry(
        self, collection: bytes, path: str, id: object, vector: Any, metadata: object, expires_at: int | None
    ) -> tuple[Insert, bytes]:
        key = _check_vector_id(collection, id, f"{path}id")
        packed = pack(vector, f"{path}vector")
        checked = check_metadata(metadata, f"{path}metadata")
        body = VectorBody(len(packed) // 4, kind.digest_of(packed), checked)
        encoded = _check_size(self._scope.codec.encode(body), path)
        return Insert(key, encoded, kind.terms_of(collection, checked), expires_at, kind.blobs_of(packed)), packed

    # Reading

    def get(self, collection: str, id: str, *, vectors: bool = True) -> VectorRecord | None:
        """Return a vector, or None; without its numbers if not ``vectors``."""
        return self.get_batch(collection, [id], vectors=vectors)[0]

    def get_batch(self, collection: str, ids: Iterable[str], *, vectors: bool = True) -> list[VectorRecord | None]:
        """Return vectors in the order of their ids, None for what is not there; one round trip."""
        key = check_collection(collection)
        keys = [_check_vector_id(key, id, f"ids[{place}]") for place, id in enumerate(check_many(ids, "ids"))]
        above, *found = self._scope.read(KIND, [key, *keys], "blobs" if vectors else "records")
        if kind.is_dropped(above):
            return [None] * len(keys)
        shown = _to_vector if vectors else _plain
        return [None if record is None else shown(record) for record in found]

    def exists(self, collection: str, id: str) -> bool:
        """Return True if there is a vector with this id; reads no body."""
        key = check_collection(collection)
        above, found = self._scope.read(KIND, [key, _check_vector_id(key, id)], "headers")
        return found is not None and not kind.is_dropped(above)

    def count(self, collection: str) -> int:
        """Return how many vectors a collection has; reads no bodies."""
        key = check_collection(collection)
        if kind.is_dropped(self._scope.read_one(KIND, key, "headers")):
            return 0
        return self._scope.count(KIND, *kind.every(key))

    def list(
        self,
        collection: str,
        *,
        where: dict[str, Value] | None = None,
        limit: int = 100,
        after: str | None = None,
        reverse: bool = False,
        vectors: bool = False,
    ) -> Listing[VectorRecord]:
        """Return a page of vectors in the order of their ids (by code point); ``where`` as for ``search``.

        Reads the numbers only if ``vectors``.
        """
        key = check_collection(collection)
        accept = None if where is None else kind.accepting(Where(where))
        most, place = check_limit(limit), cursor_place(after)
        if kind.is_dropped(self._scope.read_one(KIND, key, "headers")):
            return Listing([], None)
        want: Want = "blobs" if vectors else "records"
        shown = _to_vector if vectors else _plain
        found = self._scope.scan(KIND, *kind.members(key), after=place, reverse=reverse, want=want)
        records, place = take((one for one in found if accept is None or accept(one[1])), most)
        return Listing([shown(record) for record in records], cursor_text(place))

    def search(
        self,
        collection: str,
        vector: Any,
        *,
        limit: int = 10,
        where: dict[str, Value] | None = None,
        min_score: float | None = None,
        vectors: bool = False,
        exact: bool = False,
    ) -> VectorResults[VectorRecord]:
        """Return the ``limit`` vectors that are nearest to ``vector``, those that are equally near by id.

        ``where`` is metadata that must be equal, or within what operators say (see ``holdfast.search.where``); it never
        costs a result. ``min_score`` is in 0..1. The score is 1 - distance / 2 for cosine (distance = 1 - cos),
        1 / (1 + distance) for euclidean, (1 + s / (1 + abs(s))) / 2 for a dot product s (distance = -s).

        A large collection is searched through an index (with the extra ``vector``), which may miss one of the nearest;
        ``exact`` compares every vector instead. ``.exact`` of the results tells which it was.

        Raises NotFoundError if there is no such collection; InvalidInputError; UnsupportedError inside a transaction,
        which reads one state while indexes follow another.
        """
        search, scope = self._searching()
        key = check_collection(collection)
        packed = pack(vector, "vector")
        wanted = None if where is None else Where(where)
        if min_score is not None and (type(min_score) not in (int, float) or not 0 <= min_score <= 1):
            raise InvalidInputError("min_score", f"must be a number of 0..1, not {min_score!r}")
        most = check_limit(limit)
        record = scope.read_one(KIND, key)
        _fitting(collection, key, [("vector", packed)]).check(record)
        query = Query(
            vector=packed,
            limit=most,
            matching=None if wanted is None else _matching(scope, key, wanted),
            accept=None if wanted is None else kind.accepting(wanted),
            score_min=min_score,
            exact=exact,
        )
        return search.search(scope, kind.source_of(record), query, _to_vector if vectors else _plain)

    def refresh_search(self, collection: str) -> None:
        """Make the index of a collection, or catch it up, so that the next search need not; errors as for ``search``.

        Worth it after many writes: a graph takes about a millisecond a vector.
        """
        search, scope = self._searching()
        key = check_collection(collection)
        record = scope.read_one(KIND, key)
        _fitting(collection, key, []).check(record)
        search.refresh(scope, kind.source_of(record))

    def _searching(self) -> tuple[VectorSearch, DirectScope]:
        if self._search is None or not isinstance(self._scope, DirectScope):
            message = "search is not possible inside a transaction or a view; search the space before it begins"
            raise UnsupportedError(message, capability="search in a transaction")
        return self._search, self._scope


def _matching(scope: Scope, collection: bytes, where: Where) -> list[Range] | None:
    """Return the index ranges of the condition that the fewest vectors can fulfil, if an index can tell."""
    choices = [kind.ranges_of(collection, condition) for condition in where.conditions]
    known = [ranges for ranges in choices if ranges is not None]
    if len(known) < 2:
        return known[0] if known else None
    return min(known, key=lambda ranges: sum(scope.raw_count(KIND, *one) for one in ranges))


def check_collection(name: object, field: str = "collection") -> bytes:
    """Return the key of a collection: a non-empty text of up to 128 bytes."""
    return encode_key(check_text(name, field, most_bytes=COLLECTION_BYTES_MAX))


def _check_vector_id(collection: bytes, id: object, field: str = "id") -> bytes:
    key = collection + check_key(id, field)
    if len(key) > KEY_BYTES_MAX:
        raise InvalidInputError(field, f"{len(key)} bytes when encoded with its collection; at most {KEY_BYTES_MAX}")
    return key


def _check_size(encoded: bytes, path: str) -> bytes:
    if len(encoded) > BODY_BYTES_MAX:
        raise InvalidInputError(
            f"{path}metadata", f"{len(encoded)} bytes when encoded; at most {BODY_BYTES_MAX} are allowed"
        )
    return encoded


def _name(collection: str, id: object) -> str:
    return f"vector {id!r} of collection {collection!r}"


def _fitting(name: str, key: bytes, vectors: list[tuple[str, bytes]]) -> Guard:
    """Return the guard that a collection exists and takes these vectors, each with its field."""
    sizes = [(field, len(packed) // 4, not any(unpack(packed))) for field, packed in vectors]

    def fits(record: Record | None) -> None:
        if record is None or kind.is_dropped(record):
            raise NotFoundError(f"collection {name!r} does not exist; create_collection() makes it")
        body = decode(record.body, CollectionBody)
        for field, dimension, is_zero in sizes:
            if dimension != body.dimension:
                raise InvalidInputError(
                    field, f"has {dimension} dimensions; collection {name!r} takes {body.dimension}"
                )
            if is_zero and body.metric == "cosine":
                raise InvalidInputError(field, "is zero, which has no direction to compare by cosine")

    return Guard(KIND, key, fits, body=True)


def _guards(
    collection: str, id: object, key: bytes, version: int | None, expected: VectorRecord | None
) -> tuple[Guard, ...]:
    if version is None and expected is None:
        return ()
    return expecting(KIND, key, _name(collection, id), check_version(version), expected)
