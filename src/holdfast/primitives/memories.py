"""The face of ``memory``: what users call. The record, its entries and folds are in ``memory.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast import clock
from holdfast.codec import BODY_BYTES_MAX, JSON, Codec, Value, check_text, decode, from_microseconds
from holdfast.errors import InvalidInputError, NotFoundError, UnsupportedError
from holdfast.inputs import (
    check_choice,
    check_expiry,
    check_id,
    check_many,
    check_metadata,
    check_optional_text,
    check_time,
    check_version,
    check_words,
)
from holdfast.keys import key_range_prefix, uuid_of
from holdfast.model import Cursor, Guard, Header, Record, Written
from holdfast.primitive import expecting
from holdfast.primitives import memory as kind
from holdfast.primitives.embedding import Embedding, from_blobs, to_blobs
from holdfast.primitives.memory import KIND, MemoryBody, MemoryChanges, MemoryPrimitive, Store, Update
from holdfast.primitives.source import SOURCE_TYPES, MemorySource, check_source
from holdfast.scope import DirectScope, Listing, Scope, check_limit, cursor_place, cursor_text, first_record, take
from holdfast.search.text import Results, TextSearch
from holdfast.selection import Selection, value_prefix


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """A memory as it is stored. Inside a transaction ``version`` and ``revision`` of what was just stored are 0."""

    id: UUID = UUID(int=0)
    content: str
    source: MemorySource | None = None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    namespace: str | None = None
    status: str = "active"
    branch: str | None = None
    file_path: str | None = None
    group: str | None = None
    superseded_by: UUID | None = None
    derived_from: tuple[UUID, ...] = ()
    metadata: dict[str, Value] = {}
    embeddings: dict[str, Embedding] | None = None
    created_at: datetime = from_microseconds(0)
    updated_at: datetime = from_microseconds(0)
    expires_at: datetime | None = None
    deleted_at: datetime | None = None
    version: int = 0
    revision: int = 0

    @property
    def word_count(self) -> int:
        """How many words the content has, split at white space."""
        return len(self.content.split())


class NewMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What ``store_many`` takes: the same fields as the arguments of ``store``."""

    content: str
    id: UUID | None = None
    source: MemorySource | None = None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    namespace: str | None = None
    status: str = "active"
    branch: str | None = None
    file_path: str | None = None
    group: str | None = None
    superseded_by: UUID | None = None
    derived_from: tuple[UUID, ...] = ()
    metadata: dict[str, Value] = {}
    embeddings: dict[str, Any] | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None


class Session(msgspec.Struct, frozen=True):
    """A session that has memories."""

    session_id: str
    count: int
    first_at: datetime
    last_at: datetime


def to_memory(record: Record) -> Memory:
    """Return a memory from its record.

    A body has the fields of a memory, so it is decoded as one, and what the header knows is set on it: half the time of
    making it from the fields of a body.
    """
    if kind.is_tombstone(record):
        body = decode(record.body, MemoryBody)
        deleted_at = None if body.deleted_at is None else from_microseconds(body.deleted_at)
        memory = Memory(**{**msgspec.structs.asdict(body), "deleted_at": deleted_at})
    else:
        memory = decode(record.body, Memory, MemoryBody)
    created_at = updated_at = from_microseconds(record.created_at)
    if record.updated_at != record.created_at:
        updated_at = from_microseconds(record.updated_at)
    _set(memory, "id", uuid_of(record.key))
    _set(memory, "created_at", created_at)
    _set(memory, "updated_at", updated_at)
    _set(memory, "expires_at", None if record.expires_at is None else from_microseconds(record.expires_at))
    _set(memory, "embeddings", from_blobs(record.blobs))
    _set(memory, "version", record.version)
    _set(memory, "revision", record.revision)
    return memory


_set = msgspec.structs.force_setattr  # on a memory that nobody else has seen yet


def _written(outcomes: list[Written]) -> Memory:
    record = first_record(outcomes)
    assert isinstance(record, Record)
    return _plain(record)


def _happened(outcomes: list[Written]) -> bool:
    return bool(outcomes[0])


def check_content(value: object, field: str = "content") -> str:
    """Return a non-empty text that fits into a record."""
    return check_text(value, field, most_bytes=BODY_BYTES_MAX)


_CHECKS: dict[str, Any] = {
    "content": check_content,
    "source": lambda value, _: check_source(value),
    "session_id": check_optional_text,
    "tags": lambda value, field: check_words(value, field, most=kind.TAGS_MAX),
    "namespace": check_optional_text,
    "status": lambda value, field: check_choice(value, field, kind.STATUSES),
    "branch": check_optional_text,
    "file_path": check_optional_text,
    "group": check_optional_text,
    "superseded_by": lambda value, field: None if value is None else check_id(value, field),
    "derived_from": lambda value, field: tuple(
        check_id(one, f"{field}[{n}]") for n, one in enumerate(check_many(value, field))
    ),
    "metadata": check_metadata,
}
_DEFAULTS: dict[str, Any] = {  # what needs no check, as it is what nobody gave
    name: msgspec.structs.asdict(NewMemory(content=""))[name] for name in _CHECKS if name != "content"
}


def check_new(new: NewMemory, path: str = "") -> None:
    """InvalidInputError names the first field that is wrong, times included."""
    _entry(new, path, check_time(new.expires_at, f"{path}expires_at"), JSON)


def _entry(new: NewMemory, path: str, expires_at: int | None, codec: Codec) -> Store:
    fields: dict[str, Any] = {"content": check_content(new.content, f"{path}content")}
    for name, default in _DEFAULTS.items():
        value = getattr(new, name)
        if value is not default:
            fields[name] = _CHECKS[name](value, path + name)
    body = MemoryBody(**fields)
    return Store(
        (clock.new_id() if new.id is None else check_id(new.id, f"{path}id")).bytes,
        codec.encode(body),
        kind.untimed_terms(body),
        None if new.created_at is None else check_time(new.created_at, f"{path}created_at"),
        expires_at,
        None if new.embeddings is None else to_blobs(new.embeddings),
    )


class Memories:
    """The face of ``memory``. As thread-safe as its scope."""

    def __init__(self, scope: Scope, search: TextSearch | None = None) -> None:
        self._scope = scope
        self._search = search

    # Writing

    def store(
        self,
        content: str,
        *,
        id: UUID | str | None = None,
        source: MemorySource | None = None,
        session_id: str | None = None,
        tags: Iterable[str] = (),
        namespace: str | None = None,
        status: str = "active",
        branch: str | None = None,
        file_path: str | None = None,
        group: str | None = None,
        superseded_by: UUID | None = None,
        derived_from: Iterable[UUID] = (),
        metadata: dict[str, Value] | None = None,
        embeddings: dict[str, Any] | None = None,
        created_at: datetime | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: Memory | None = None,
    ) -> Memory:
        """Create a memory, or replace the one with this ``id``.

        ``created_at`` says when it happened, if that is not now (for imports). ``embeddings`` are vectors by name; on
        replacing, None keeps those that are there. Raises InvalidInputError; ConflictError if ``expected_version`` (0:
        must not exist) or ``expected`` is not what is there.
        """
        new = NewMemory(
            content=content,
            id=id,  # type: ignore[arg-type]  # the text of a UUID is checked with it
            source=source,
            session_id=session_id,
            tags=tags,  # type: ignore[arg-type]  # any iterable is checked with it
            namespace=namespace,
            status=status,
            branch=branch,
            file_path=file_path,
            group=group,
            superseded_by=superseded_by,
            derived_from=derived_from,  # type: ignore[arg-type]
            metadata=metadata,  # type: ignore[arg-type]  # None is the empty one
            embeddings=embeddings,
            created_at=created_at,
        )
        entry = _entry(new, "", check_expiry(expires_at, ttl), self._scope.codec)
        return self._scope.write([*_guards(entry.key, expected_version, expected), entry], _written)

    def create(self, content: str, *, id: UUID | str, **fields: Any) -> Memory:
        """Create a memory under an id that must be free; ConflictError if it is not. Fields as for ``store``."""
        return self.store(content, id=id, expected_version=0, **fields)

    def store_many(self, memories: Iterable[NewMemory]) -> list[Memory]:
        """Create or replace many memories in one commit, in order."""
        entries: list[Any] = []
        for place, new in enumerate(check_many(memories, "memories")):
            path = f"memories[{place}]."
            if not isinstance(new, NewMemory):
                raise InvalidInputError(path[:-1], f"must be a NewMemory, not {type(new).__name__}")
            expires_at = None if new.expires_at is None else check_time(new.expires_at, f"{path}expires_at")
            entries.append(_entry(new, path, expires_at, self._scope.codec))
        if not entries:
            return []
        return self._scope.write(entries, lambda outcomes: [_written([outcome]) for outcome in outcomes])

    def update(
        self,
        id: UUID | str,
        *,
        content: str | UnsetType = UNSET,
        source: MemorySource | UnsetType | None = UNSET,
        session_id: str | UnsetType | None = UNSET,
        tags: Iterable[str] | UnsetType = UNSET,
        namespace: str | UnsetType | None = UNSET,
        status: str | UnsetType = UNSET,
        branch: str | UnsetType | None = UNSET,
        file_path: str | UnsetType | None = UNSET,
        group: str | UnsetType | None = UNSET,
        superseded_by: UUID | UnsetType | None = UNSET,
        derived_from: Iterable[UUID] | UnsetType = UNSET,
        metadata: dict[str, Value] | UnsetType = UNSET,
        embeddings: dict[str, Any] | UnsetType = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        expected_version: int | None = None,
        expected: Memory | None = None,
    ) -> Memory:
        """Set some fields of a memory; what is not given stays. Returns it as it is then.

        Raises NotFoundError if it does not exist or is deleted; InvalidInputError; ConflictError as for ``store``.
        """
        key = check_id(id).bytes
        given = {
            "content": content, "source": source, "session_id": session_id, "tags": tags, "namespace": namespace,
            "status": status, "branch": branch, "file_path": file_path, "group": group,
            "superseded_by": superseded_by, "derived_from": derived_from, "metadata": metadata,
        }  # fmt: skip
        changes = MemoryChanges(
            **{name: _CHECKS[name](value, name) for name, value in given.items() if value is not UNSET}
        )
        entry = Update(
            key,
            self._scope.codec.encode(changes),
            -1 if expires_at is UNSET else check_time(expires_at, "expires_at"),
            None if embeddings is UNSET else to_blobs(embeddings),
        )
        guards = [Guard(KIND, key, _must_live(id)), *_guards(key, expected_version, expected)]
        return self._scope.write([*guards, entry], _written)

    def delete(self, id: UUID | str, *, expected_version: int | None = None, expected: Memory | None = None) -> bool:
        """Delete a memory, leaving a tombstone that ``restore`` brings back; return True if there was one."""
        key = check_id(id).bytes
        return self._scope.write([*_guards(key, expected_version, expected), kind.SoftDelete(key)], _happened)

    def restore(self, id: UUID | str) -> bool:
        """Bring a deleted memory back; return True if there was a tombstone."""
        return self._scope.write([kind.Restore(check_id(id).bytes)], _happened)

    def purge(self, id: UUID | str) -> bool:
        """Remove a memory, or its tombstone, for good; return True if there was one."""
        return self._scope.write([kind.Purge(check_id(id).bytes)], _happened)

    # Reading

    def get(self, id: UUID | str, *, embeddings: bool = False, deleted: bool = False) -> Memory | None:
        """Return a memory, or None; a tombstone only if ``deleted``."""
        record = self._scope.read_one(KIND, check_id(id).bytes, "blobs" if embeddings else "records")
        if record is None or (not deleted and kind.is_tombstone(record)):
            return None
        return to_memory(record if embeddings else _without_blobs(record))

    def get_batch(
        self, ids: Iterable[UUID | str], *, embeddings: bool = False, deleted: bool = False
    ) -> list[Memory | None]:
        """Return memories in the order of their ids, None for what is not there; one round trip."""
        keys = [
            id.bytes if type(id) is UUID else check_id(id, f"ids[{place}]").bytes
            for place, id in enumerate(check_many(ids, "ids"))
        ]
        return [
            None
            if record is None or (not deleted and kind.is_tombstone(record))
            else to_memory(record if embeddings or record.blobs is None else _without_blobs(record))
            for record in self._scope.read(KIND, keys, "blobs" if embeddings else "records")
        ]

    def exists(self, id: UUID | str) -> bool:
        """Return True if there is a memory with this id; reads no body."""
        header = self._scope.read_one(KIND, check_id(id).bytes, "headers")
        return header is not None and not kind.is_tombstone(header)

    def count(
        self,
        *,
        session_id: str | None = None,
        source: str | None = None,
        tags: Iterable[str] = (),
        namespace: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Count memories, those of a selection if one is given; reads no bodies."""
        selection = self._selection(
            session_id=session_id, source=source, tags=tags, namespace=namespace, since=since, until=until
        )
        if selection.equal or since is not None or until is not None:
            return selection.count(self._scope)
        return self._scope.count(KIND) - self._scope.count(KIND, kind.DELETED, b"", b"\xff")

    def list(
        self,
        *,
        session_id: str | None = None,
        source: str | None = None,
        tags: Iterable[str] = (),
        namespace: str | None = None,
        status: str | None = None,
        branch: str | None = None,
        file_path: str | None = None,
        group: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        where: dict[str, Value] | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Memory]:
        """Return a page of memories in order of creation (``reverse``: the newest first) that have all that is given.

        ``source`` is a type of source, as "document_chunk"; ``tags`` must all be there; ``where`` is metadata that must
        be equal; since <= created_at < until. ``limit`` None takes all.
        """
        selection = self._selection(
            session_id=session_id, source=source, tags=tags, namespace=namespace, status=status, branch=branch,
            file_path=file_path, group=group, since=since, until=until, reverse=reverse,
        )  # fmt: skip
        found = selection.iterate(self._scope, cursor_place(after), accept=_accepting(where))
        return self._listing(found, limit)

    def list_ids(self, *, limit: int | None = 100, after: str | None = None, reverse: bool = False) -> Listing[UUID]:
        """Return a page of ids in order of creation; reads no bodies."""
        selection = self._selection(reverse=reverse)
        headers, place = take(
            selection.iterate(self._scope, cursor_place(after), "headers"), check_limit(limit, optional=True)
        )
        return Listing([uuid_of(header.key) for header in headers], cursor_text(place))

    def get_by_session(self, session_id: str, *, limit: int | None = None, after: str | None = None) -> Listing[Memory]:
        """Return the memories of a session in order of writing; reads only those."""
        prefix = value_prefix(check_text(session_id, "session_id"))
        found = self._scope.scan(KIND, kind.SESSION, *key_range_prefix(prefix), after=cursor_place(after))
        return self._listing(found, limit)

    def get_by_source(self, source: str, *, limit: int | None = 100, after: str | None = None) -> Listing[Memory]:
        """Return a page of the memories with a type of source, in order of creation."""
        return self.list(source=source, limit=limit, after=after)

    def sessions(self) -> Iterator[Session]:
        """Iterate over the sessions that have memories, by id; one seek a session, and one memory's body."""
        low = b""
        while True:
            found = next(self._scope.scan(KIND, kind.SESSION, low, b"\xff", page_size=1), None)
            if found is None:
                return
            (value, _), first = found
            bounds = key_range_prefix(value[: -kind.TIME_BYTES])
            behind = self._scope.scan(KIND, kind.SESSION, *bounds, reverse=True, want="headers", page_size=1)
            _, last = next(behind, found)
            session_id = decode(first.body, MemoryBody).session_id
            assert session_id is not None
            yield Session(
                session_id,
                self._scope.count(KIND, kind.SESSION, *bounds),
                from_microseconds(first.created_at),
                from_microseconds(last.created_at),
            )
            low = bounds[1]

    def search(
        self,
        query: str,
        *,
        limit: int = 10,
        session_id: str | None = None,
        source: str | None = None,
        tags: Iterable[str] = (),
        namespace: str | None = None,
        status: str | None = None,
        file_path: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        where: dict[str, Value] | None = None,
    ) -> Results[Memory]:
        """Return the memories that fit a query best; filters as for ``list``, words as in ``search/query.py``.

        Raises UnsupportedError inside a transaction, which reads one state while indexes follow another.
        """
        if self._search is None or not isinstance(self._scope, DirectScope):
            message = "search is not possible inside a transaction or a view; search the space before it begins"
            raise UnsupportedError(message, capability="search in a transaction")
        selection = self._selection(
            session_id=session_id, source=source, tags=tags, namespace=namespace, status=status,
            file_path=file_path, since=since, until=until,
        )  # fmt: skip
        accept = _accepting(where)
        primitive = self._scope.registry.by_id(KIND)
        return self._search.search(self._scope, primitive, query, selection, check_limit(limit), _plain, accept)

    def _listing(self, found: Iterator[tuple[Cursor, Record]], limit: int | None) -> Listing[Memory]:
        records, place = take(found, check_limit(limit, optional=True))
        return Listing([_plain(record) for record in records], cursor_text(place))

    @staticmethod
    def _selection(
        *,
        tags: Iterable[str] = (),
        source: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        reverse: bool = False,
        **texts: str | None,
    ) -> Selection:
        equal = [(kind.TAG, value_prefix(tag)) for tag in check_words(tags, "tags")]
        if source is not None:
            equal.append((kind.SOURCE, value_prefix(check_choice(source, "source", SOURCE_TYPES))))
        if texts.get("status") is not None:
            check_choice(texts["status"], "status", kind.STATUSES)
        for name, value in texts.items():
            if value is not None and not (name == "status" and value == "active"):
                equal.append((MemoryPrimitive.indexes[name], value_prefix(check_text(value, name))))
        first, behind = check_time(since, "since"), check_time(until, "until")
        absent = (kind.STATUS,) if texts.get("status") == "active" else ()
        return Selection(KIND, kind.CREATED, equal, first, behind, reverse, absent, apart=(kind.SESSION,))


def _without_blobs(record: Record) -> Record:
    """Drop the blobs that a resident backend hands over unasked."""
    return record if record.blobs is None else msgspec.structs.replace(record, blobs=None)


def _plain(record: Record) -> Memory:
    """A memory without its embeddings, on every backend."""
    return to_memory(_without_blobs(record))


def _accepting(where: dict[str, Value] | None) -> Any:
    if where is None:
        return None
    wanted = check_metadata(where, "where")
    return lambda record: kind.metadata_matches(wanted, decode(record.body, MemoryBody))


def _must_live(id: object) -> Any:
    def lives(record: Header | None) -> None:
        if record is None or kind.is_tombstone(record):
            raise NotFoundError(f"memory {id} does not exist" + ("" if record is None else " any more: it is deleted"))

    return lives


def _guards(key: bytes, version: int | None, expected: Memory | None) -> tuple[Guard, ...]:
    if version is None and expected is None:
        return ()
    return expecting(KIND, key, f"memory {UUID(bytes=key)}", check_version(version), expected)
