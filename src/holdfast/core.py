"""``core``: the entries that belong to no primitive, and the records that the store keeps for itself (kind 0).

Every registry knows them; no face shows them, and no journal or change feed tells of them. What is kept: the results of
transactions that were given a key. Knows no backend; folds are pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.codec import Value
from holdfast.entry_types import (
    CORE_DROP_JOURNAL,
    CORE_DROP_SPACE,
    CORE_EXPIRE,
    CORE_FORGOTTEN,
    CORE_KEEP,
    CORE_REMOVE,
    CORE_SCRUB,
    PRIMITIVE_IDS,
)
from holdfast.model import Entry, Erasure, LostRow, Touched, Written
from holdfast.primitive import EntryType, Moment, Payload, Primitive, Put, Remove, fold_put, own_key

CORE = PRIMITIVE_IDS["core"]


class KeptResult(msgspec.Struct):
    """The body of a core record: what a transaction returned that was given a key.

    ``marks``: of each key that it read or wrote 8 bytes of a digest, so that it is found when that is forgotten.
    """

    value: Value
    marks: bytes = b""


class Keep(Put, frozen=True, gc=False):
    """Entry 0x04: keep the result of a transaction under its key, until it expires."""


class Expire(Remove, frozen=True, gc=False):
    """Entry 0x05: remove a record of any kind that has expired, if it is still the one with this revision."""


def _fold_remove(entry: Remove, touched: Touched, at: Moment) -> Written:
    record = touched[entry.key]
    return {} if record is None or record.revision != entry.revision else {entry.key: None}


def _fold_expire(entry: Expire, touched: Touched, at: Moment) -> Written:
    record = touched[entry.key]
    if record is None or record.expires_at is None or record.expires_at > at.now:
        return {}
    return _fold_remove(entry, touched, at)


class Forgotten(Payload, frozen=True, gc=False):
    """Entry 0x07: stands in a journal where an entry was forgotten; ``lost`` are other (kind, key) that it touched."""

    lost: tuple[tuple[int, bytes], ...]


class Scrub(Payload, frozen=True, gc=False):
    """Entry 0x08: take the content out of rows of a journal."""

    run: bytes
    rows: tuple[LostRow, ...]


class DropJournal(Payload, frozen=True, gc=False):
    """Entry 0x09: remove the journal of a run."""

    run: bytes


class DropSpace(Payload, frozen=True, gc=False):
    """Entry 0x0A: remove everything of the space; its numbers go on."""


_encode = msgspec.msgpack.Encoder().encode


def _scrubbed(entry: Scrub) -> Erasure:
    rows = [(row.revision, row.ordinal, Entry(CORE_FORGOTTEN, 1, _encode(Forgotten(row.lost)))) for row in entry.rows]
    return Erasure(entry.run, tuple(rows))


def _fold_nothing(entry: Any, touched: Touched, at: Moment) -> Written:
    return {}


def _no_keys(entry: Any) -> tuple[bytes, ...]:
    return ()


def _eraser(code: int, payload: type[Payload], erases: Callable[[Any], Erasure]) -> EntryType:
    return EntryType(code, payload, _fold_nothing, _no_keys, journaled=False, erases=erases)


def _no_face(scope: Any) -> None:
    """Core records stand on no face."""


class CorePrimitive(Primitive):
    """What the registry keeps of ``core``."""

    name = "core"
    id = CORE
    attribute = "core"
    body = KeptResult
    entry_types = (
        EntryType(CORE_KEEP, Keep, fold_put, own_key, journaled=False),
        EntryType(CORE_EXPIRE, Expire, _fold_expire, own_key, journaled=False, any_kind=True),
        EntryType(CORE_REMOVE, Remove, _fold_remove, own_key, journaled=False, any_kind=True),
        EntryType(CORE_FORGOTTEN, Forgotten, _fold_nothing, _no_keys, journaled=False),
        _eraser(CORE_SCRUB, Scrub, _scrubbed),
        _eraser(CORE_DROP_JOURNAL, DropJournal, lambda entry: Erasure(entry.run)),
        _eraser(CORE_DROP_SPACE, DropSpace, lambda entry: Erasure(None)),
    )
    face = _no_face
