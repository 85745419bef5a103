"""The primitive contract: what a kind of record says of itself, and how its entries fold.

A primitive is one body struct, its entry types with one fold each, its index terms, and a face for users. It is handed
its scope (``scope.py``) and does not know where records live. Folds are pure: they see the payload, the records that
the entry touches, and the moment of the commit - and nothing else, so that the live commit, recovery and replay agree.

``Put`` and ``Delete`` are the payloads, with their folds, that most primitives need; ``put_entry`` and ``delete_entry``
bind them to a primitive's codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, cast
from uuid import UUID

import msgspec

from holdfast.codec import decode
from holdfast.errors import ConflictError, InvalidInputError
from holdfast.keys import decode_key, encode_key, key_range_prefix
from holdfast.model import EXPIRY_INDEX, Blobs, Erasure, Guard, Header, Record, Term, Touched, Written


class Payload(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The payload of an entry: a struct that is encoded as a msgpack array, so fields are only ever appended."""


class Moment(msgspec.Struct, frozen=True, gc=False):
    """Where in history an entry is folded.

    ``now`` rises by at least one microsecond with every entry of a space, so it also tells the order of writing.
    ``revision`` is the sequence of the commit; 0 in the preview that a transaction shows before it commits.
    """

    revision: int
    now: int
    codec: Any


class EntryType(msgspec.Struct, frozen=True):
    """One type of entry: its code, payload and fold.

    ``body``: the fold needs the bodies of what it touches, not only their headers.
    ``keys``: payload -> the keys that it touches.
    ``before_commit``: what a transaction may tell of the outcome before it commits: "preview" (the fold upon nothing;
    version and revision read 0), "pending" (known after the commit), or "read" (the truth, so the touched
    records are read and the transaction can be overtaken).
    ``journaled``: an entry inside a run is kept in its journal.
    ``any_kind``: the payload says in ``kind`` whose records it touches, and the fold sees those that have expired too.
    ``erases``: payload -> what it takes away beside records. Such an entry is alone in its step of the space.
    """

    code: int
    payload: type[Any]
    fold: Callable[[Any, Touched, Moment], Written]
    keys: Callable[[Any], tuple[bytes, ...]]
    version: int = 1
    body: bool = False
    before_commit: Literal["preview", "pending", "read"] = "preview"
    journaled: bool = True
    any_kind: bool = False
    erases: Callable[[Any], Erasure] | None = None


class Primitive:
    """What the registry keeps of a primitive; subclasses set the class attributes.

    ``attribute`` is the name on a space; ``face`` builds the object that stands there from a scope. ``indexes``
    maps names to index ids (1-255; 0 is the expiry index). Frozen once registered; stateless, so thread-safe.
    """

    name: ClassVar[str]
    id: ClassVar[int]
    attribute: ClassVar[str]
    body: ClassVar[type[msgspec.Struct]]
    schema: ClassVar[int] = 1
    indexes: ClassVar[Mapping[str, int]] = {}
    entry_types: ClassVar[tuple[EntryType, ...]]
    face: ClassVar[Callable[..., Any]]

    keyed_by_id: ClassVar[bool] = False
    """True if a key is nothing but the 16 bytes of a UUID."""

    def key_text(self, key: bytes) -> str:
        """Return a key as people read it."""
        if self.keyed_by_id:
            return str(UUID(bytes=key))
        return "/".join(str(part) for part in decode_key(key))

    def key_range(self, key: object) -> tuple[bytes, bytes]:
        """Return (low, high) of the keys of all that a person names by one key: an id, a str, or a tuple of parts.

        InvalidInputError names the field "keys".
        """
        try:
            if self.keyed_by_id:
                id = key if isinstance(key, UUID) else UUID(cast(str, key))
                return id.bytes, id.bytes + b"\0"
            low = encode_key(*(key if type(key) is tuple and key else (key,)))
            if type(key) is not str or self.key_text(low) == key:
                return key_range_prefix(low)
        except (ValueError, TypeError, AttributeError, msgspec.MsgspecError):
            pass  # said below, in our words
        raise InvalidInputError("keys", f"{key!r:.100} is no key of {self.name}")

    def together(self, key: bytes) -> tuple[bytes, bytes] | None:
        """Return (low, high) of the keys that can only be forgotten together with this one, or None."""
        return None

    searchable: ClassVar[bool] = False
    """True if its records have a ``text``; its face is then built from a scope and a search (None in a transaction)."""

    def text(self, record: Record) -> str | None:
        """Return what a text search sees of a record, or None if it is not searched."""
        return None

    in_order: ClassVar[bool] = False
    """True if the records of a group can only go oldest first, so that none is chosen by what it says."""

    def group(self, header: Header) -> bytes:
        """Return what a record counts among when a retention keeps the newest so many; everything by default."""
        return b""

    def may_go(self, record: Record) -> bool:
        """Return False for a record that a retention leaves alone, whatever its age."""
        return True

    def removals(self, headers: Sequence[Header]) -> list[Any]:
        """Return the entries by which a retention removes these records, oldest first within each group."""
        return [Remove(self.id, header.key, header.revision) for header in headers]

    def values(self, record: Record) -> dict[str, Any]:
        """Return the values of a record for comparing two runs: no clock, version or run in it."""
        return msgspec.structs.asdict(decode(record.body, self.body))


def write(
    key: bytes,
    before: Header | None,
    at: Moment,
    body: bytes,
    *,
    terms: tuple[Term, ...] = (),
    expires_at: int | None = None,
    schema: int = 1,
    blobs: Blobs | None = None,
    created_at: int | None = None,
) -> Record:
    """Return the record that follows ``before`` (None: it is created) at this moment."""
    if before is not None:
        created_at = before.created_at
    elif created_at is None:
        created_at = at.now
    version = (0 if before is None else before.version) + 1 if at.revision else 0
    if expires_at is not None:
        terms = (*terms, (EXPIRY_INDEX, encode_key(expires_at)))
    return Record(key, version, at.revision, created_at, at.now, expires_at, schema, terms, body, blobs)


class Remove(Payload, frozen=True, gc=False):
    """Entry 0x06, of core: remove a record of any kind, if it is still the one with this revision."""

    kind: int
    key: bytes
    revision: int


class Put(Payload, frozen=True, gc=False):
    """Create or replace the record under a key."""

    key: bytes
    body: bytes
    terms: tuple[Term, ...] = ()
    expires_at: int | None = None
    schema: int = 1


class Delete(Payload, frozen=True, gc=False):
    """Remove the record under a key, if there is one."""

    key: bytes


def fold_put(put: Put, touched: Touched, at: Moment) -> Written:
    """The record after a put: the next version, with the body that the entry brought."""
    key = put.key
    return {key: write(key, touched[key], at, put.body, terms=put.terms, expires_at=put.expires_at, schema=put.schema)}


def fold_delete(entry: Delete, touched: Touched, at: Moment) -> Written:
    """Nothing under the key; an entry that finds nothing writes nothing."""
    return {} if touched[entry.key] is None else {entry.key: None}


def own_key(payload: Any) -> tuple[bytes, ...]:
    """The touched keys of a payload that has one, named ``key``."""
    return (payload.key,)


def put_entry(code: int, payload: type[Put] = Put) -> EntryType:
    """Bind a put payload to an entry-type code; each code needs a payload class of its own."""
    return EntryType(code, payload, fold_put, own_key)


def delete_entry(code: int, payload: type[Delete] = Delete) -> EntryType:
    """Bind a delete payload to an entry-type code; each code needs a payload class of its own."""
    return EntryType(code, payload, fold_delete, own_key, before_commit="read")


def expecting(kind: int, key: bytes, name: str, version: int | None, expected: Any) -> tuple[Guard, ...]:
    """Return the guards for ``expected_version=`` (0: must not exist) and ``expected=record``.

    ``name`` says what is meant, as "kv key 'x'". A record of ``expected`` is told by its revision, so
    one that was deleted and created again in between is a conflict although its version is 1 both times.
    """
    guards: tuple[Guard, ...] = ()
    if version is not None:

        def version_is(record: Header | None) -> None:
            found = 0 if record is None else record.version
            if found != version:
                wanted = "must not exist" if version == 0 else f"was expected at version {version}"
                raise ConflictError(f"{name} {wanted}, but is at version {found}; read it again and decide anew")

        guards += (Guard(kind, key, version_is),)
    if expected is not None:
        if type(getattr(expected, "revision", None)) is not int:
            raise InvalidInputError("expected", f"must be a record that was read, not {type(expected).__name__}")

        def revision_is(record: Header | None) -> None:
            found = 0 if record is None else record.revision
            if found != expected.revision:
                raise ConflictError(f"{name} was changed since it was read (revision {expected.revision}, now {found})")

        guards += (Guard(kind, key, revision_is),)
    return guards
