"""``state``: named cells that many read and few change - phases, counters, locks; init, set, transition, apply.

Conflicts are by key. ``set`` reads nothing and never conflicts. ``compare_and_set`` and ``transition`` compare inside
the commit, with what the cell holds then, so their decision is never stale; values are compared by their canonical
form (1, 1.0 and True are three values). ``apply`` calls the user's function outside of any lock, and again when the
cell was changed meanwhile. What changes the value keeps metadata and expiry, unless they are given. Knows no history:
that is what event streams are for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from holdfast.codec import BODY_BYTES_MAX, Value, canonical, check_text, check_value, decode, from_microseconds
from holdfast.entry_types import (
    PRIMITIVE_IDS,
    STATE_DELETE,
    STATE_INIT,
    STATE_SET,
    STATE_SWAP,
    STATE_TRANSITION,
)
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.inputs import check_callable, check_expiry, check_key, check_many, check_metadata, check_version
from holdfast.keys import decode_key, str_prefix_range
from holdfast.model import Guard, Record, Touched, Written
from holdfast.primitive import Delete, EntryType, Moment, Payload, Primitive, delete_entry, expecting, own_key, write
from holdfast.retry import run_with_retry
from holdfast.scope import (
    DirectScope,
    Listing,
    Pending,
    Scope,
    check_limit,
    cursor_place,
    cursor_text,
    first_record,
    take,
)

KIND = PRIMITIVE_IDS["state"]
KEPT = -1
"""As ``expires_at`` of an entry: the expiry stays as it is."""


class StateBody(msgspec.Struct, omit_defaults=True):
    """The body of a cell."""

    value: Value
    metadata: dict[str, Value] = {}


class State(msgspec.Struct, frozen=True):
    """A cell: its value, and what is known of it."""

    key: str
    value: Value
    version: int
    revision: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    metadata: dict[str, Value] = {}


class StateChanges(msgspec.Struct, omit_defaults=True):
    """What a set brings: the value, and the metadata unless that stays."""

    value: Value
    metadata: dict[str, Value] | UnsetType = UNSET


class StateMove(msgspec.Struct):
    """What a transition or a compare-and-set brings: the value, and those of which the cell must hold one."""

    value: Value
    allowed_from: list[Value]


class Init(Payload, frozen=True, gc=False):
    """Entry 0x40: a cell that does not exist yet; ``body`` is a StateBody."""

    key: bytes
    body: bytes
    expires_at: int | None = None


class Set(Payload, frozen=True, gc=False):
    """Entry 0x41: the value of a cell, whatever it holds; ``changes`` is a StateChanges."""

    key: bytes
    changes: bytes
    expires_at: int | None = KEPT


class Transition(Payload, frozen=True, gc=False):
    """Entry 0x42: the value of a cell that holds one of some values; ``move`` is a StateMove."""

    key: bytes
    move: bytes


class StateDelete(Delete, frozen=True, gc=False):
    """Entry 0x43: remove a cell."""


class Swap(Payload, frozen=True, gc=False):
    """Entry 0x44: the same as a transition, but nothing happens where the cell holds another value, or none."""

    key: bytes
    move: bytes


def _key_text(key: bytes) -> str:
    text = decode_key(key)[0]
    assert isinstance(text, str)
    return text


def _fold_init(entry: Init, touched: Touched, at: Moment) -> Written:
    if touched[entry.key] is not None:
        raise ConflictError(f"state {_key_text(entry.key)!r} exists already; set() or transition() changes it")
    return {entry.key: write(entry.key, None, at, entry.body, expires_at=entry.expires_at)}


def _fold_set(entry: Set, touched: Touched, at: Moment) -> Written:
    before = touched[entry.key]
    changes = decode(entry.changes, StateChanges)
    metadata, expires_at = changes.metadata, entry.expires_at
    if metadata is UNSET:
        metadata = {} if before is None else decode(before.body, StateBody).metadata
    if expires_at == KEPT:
        expires_at = None if before is None else before.expires_at
    body = at.codec.encode(StateBody(changes.value, metadata))
    return {entry.key: write(entry.key, before, at, body, expires_at=expires_at)}


def _moved(move: StateMove, before: Record, body: StateBody, at: Moment) -> Written:
    after = at.codec.encode(StateBody(move.value, body.metadata))
    return {before.key: write(before.key, before, at, after, expires_at=before.expires_at)}


def _is_allowed(move: StateMove, body: StateBody) -> bool:
    value = canonical(body.value)
    return any(canonical(allowed) == value for allowed in move.allowed_from)


def _fold_transition(entry: Transition, touched: Touched, at: Moment) -> Written:
    before = touched[entry.key]
    if before is None:
        raise _missing(_key_text(entry.key))
    move, body = decode(entry.move, StateMove), decode(before.body, StateBody)
    if not _is_allowed(move, body):
        allowed = ", ".join(f"{value!r:.100}" for value in move.allowed_from)
        raise ConflictError(
            f"state {_key_text(entry.key)!r} is {body.value!r:.100} and cannot become {move.value!r:.100}; "
            f"that is allowed from {allowed}"
        )
    return _moved(move, before, body, at)


def _fold_swap(entry: Swap, touched: Touched, at: Moment) -> Written:
    before = touched[entry.key]
    if before is None:
        return {}
    move, body = decode(entry.move, StateMove), decode(before.body, StateBody)
    return _moved(move, before, body, at) if _is_allowed(move, body) else {}


def _missing(key: str) -> NotFoundError:
    return NotFoundError(f"state {key!r} does not exist; init() creates it")


def _shown(record: Record) -> State:
    body = decode(record.body, StateBody)
    return State(
        _key_text(record.key),
        body.value,
        record.version,
        record.revision,
        from_microseconds(record.created_at),
        from_microseconds(record.updated_at),
        None if record.expires_at is None else from_microseconds(record.expires_at),
        body.metadata,
    )


def _written(outcomes: list[Written]) -> State:
    record = first_record(outcomes)
    assert isinstance(record, Record)
    return _shown(record)


def _happened(outcomes: list[Written]) -> bool:
    return bool(outcomes[0])


class States:
    """The face of ``state``. As thread-safe as its scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def init(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> State:
        """Create a cell; ConflictError if it exists. ``ttl`` is a timedelta or seconds. Raises InvalidInputError.

        Inside a transaction its version and revision are 0, and a cell that exists is found at the commit.
        """
        encoded = check_key(key, "key")
        body = self._encoded("value", StateBody(_checked(value, "value"), check_metadata(metadata)))
        return self._scope.write([Init(encoded, body, check_expiry(expires_at, ttl))], _written)

    def set(
        self,
        key: str,
        value: Value,
        *,
        metadata: dict[str, Value] | UnsetType = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        ttl: timedelta | float | None = None,
        expected_version: int | None = None,
        expected: State | None = None,
    ) -> State | Pending[State]:
        """Set the value of a cell, which is created if need be; metadata and expiry stay unless they are given.

        Inside a transaction the result is a Pending: its attributes are known after the commit. Raises
        InvalidInputError; ConflictError if ``expected_version`` (0: must not exist) or ``expected`` (a cell that was
        read) is not what is there.
        """
        encoded = check_key(key, "key")
        expiry = KEPT if expires_at is UNSET and ttl is None else check_expiry(_given(expires_at), ttl)
        guards = _guards(key, encoded, expected_version, expected)
        return self._scope.write([*guards, self._set(encoded, value, metadata, expiry)], _written)

    def compare_and_set(self, key: str, expected_value: Value, value: Value) -> bool:
        """Set the value of a cell if it holds ``expected_value``; return whether it did, and has been set.

        Compared inside the commit. False, and nothing is changed, where the cell holds another value or does not exist.
        """
        encoded = check_key(key, "key")
        move = StateMove(_checked(value, "value"), [_checked(expected_value, "expected_value")])
        return self._scope.write([Swap(encoded, self._encoded("value", move))], _happened)

    def transition(
        self,
        key: str,
        to: Value,
        *,
        allowed_from: Iterable[Value],
        expected_version: int | None = None,
        expected: State | None = None,
    ) -> State:
        """Set a cell to ``to`` if it holds one of ``allowed_from``; compared inside the commit.

        Raises ConflictError that names what it holds otherwise; NotFoundError if it does not exist; InvalidInputError.
        """
        encoded = check_key(key, "key")
        allowed = [
            _checked(one, f"allowed_from[{place}]")
            for place, one in enumerate(check_many(allowed_from, "allowed_from"))
        ]
        if not allowed:
            raise InvalidInputError("allowed_from", "must hold a value; from nothing there is no way")
        allowed.sort(key=canonical)  # the same entry, whatever order a set has in this process
        move = self._encoded("to", StateMove(_checked(to, "to"), allowed))
        guards = _guards(key, encoded, expected_version, expected)
        return self._scope.write([*guards, Transition(encoded, move)], _written)

    def apply(self, key: str, function: Callable[[Any], Value], *, default: Any = UNSET) -> State | Pending[State]:
        """Set a cell to what ``function`` makes of its value; again, with the new value, if it was changed meanwhile.

        The function may be called several times, and should do nothing else; what it raises is raised, and nothing is
        changed. A cell that does not exist is taken to hold ``default``; without one that is a NotFoundError.
        ConflictError if the cell is overtaken 64 times. Inside a transaction it is a read and a ``set``.
        """
        encoded = check_key(key, "key")
        check_callable(function, "function")
        own: list[ConflictError] = []

        def attempt() -> State | Pending[State] | None:
            record = self._scope.read_one(KIND, encoded)
            if record is None and default is UNSET:
                raise _missing(key)
            before = None if record is None else _shown(record)
            try:
                value = function(default if before is None else before.value)
            except ConflictError as error:  # from inside the function: not that the cell was overtaken
                own.append(error)
                return None
            return self._scope.write([*guards(before), self._set(encoded, value, UNSET, KEPT)], _written)

        def guards(before: State | None) -> tuple[Guard, ...]:
            if not isinstance(self._scope, DirectScope):
                return ()  # a transaction remembers what it has read
            return _guards(key, encoded, 0 if before is None else None, before)

        result = run_with_retry(attempt) if isinstance(self._scope, DirectScope) else attempt()
        if result is None:
            raise own[0]
        return result

    def read(self, key: str, default: Any = None) -> Any:
        """Return the value of a cell, or ``default``."""
        record = self._scope.read_one(KIND, check_key(key, "key"))
        return default if record is None else decode(record.body, StateBody).value

    def record(self, key: str) -> State | None:
        """Return a cell with its version, revision and times, or None."""
        record = self._scope.read_one(KIND, check_key(key, "key"))
        return None if record is None else _shown(record)

    def exists(self, key: str) -> bool:
        """Return True if there is a cell under the key; reads no value."""
        return self._scope.read_one(KIND, check_key(key, "key"), "headers") is not None

    def delete(self, key: str, *, expected_version: int | None = None, expected: State | None = None) -> bool:
        """Remove a cell; return True if there was one."""
        encoded = check_key(key, "key")
        guards = _guards(key, encoded, expected_version, expected)
        return self._scope.write([*guards, StateDelete(encoded)], _happened)

    def scan(
        self, prefix: str = "", *, limit: int = 100, after: str | None = None, reverse: bool = False
    ) -> Listing[State]:
        """Return a page of cells in the order of their keys (by code point), those that start with ``prefix``."""
        low, high = str_prefix_range(check_text(prefix, "prefix", empty_allowed=True))
        found = self._scope.scan(KIND, None, low, high, after=cursor_place(after), reverse=reverse)
        records, place = take(found, check_limit(limit))
        return Listing([_shown(record) for record in records], cursor_text(place))

    def keys(self, prefix: str = "", *, limit: int = 100, after: str | None = None) -> Listing[str]:
        """Return a page of keys in order; reads no values."""
        low, high = str_prefix_range(check_text(prefix, "prefix", empty_allowed=True))
        found = self._scope.scan(KIND, None, low, high, after=cursor_place(after), want="headers")
        headers, place = take(found, check_limit(limit))
        return Listing([_key_text(header.key) for header in headers], cursor_text(place))

    def count(self) -> int:
        """Return how many cells there are; reads no values."""
        return self._scope.count(KIND)

    def _set(self, key: bytes, value: Value, metadata: object, expires_at: int | None) -> Set:
        kept = metadata if metadata is UNSET else check_metadata(metadata)
        changes = StateChanges(_checked(value, "value"), kept)
        return Set(key, self._encoded("value", changes), expires_at)

    def _encoded(self, field: str, body: msgspec.Struct) -> bytes:
        encoded: bytes = self._scope.codec.encode(body)
        if len(encoded) > BODY_BYTES_MAX:
            raise InvalidInputError(field, f"{len(encoded)} bytes when encoded; at most {BODY_BYTES_MAX} are allowed")
        return encoded


def _checked(value: Value, field: str) -> Value:
    check_value(value, field)
    return value


def _given(expires_at: datetime | UnsetType | None) -> datetime | None:
    return None if expires_at is UNSET else expires_at


def _guards(key: str, encoded: bytes, version: int | None, expected: State | None) -> tuple[Guard, ...]:
    if version is None and expected is None:
        return ()
    return expecting(KIND, encoded, f"state {key!r}", check_version(version), expected)


class StatePrimitive(Primitive):
    """What the registry keeps of ``state``."""

    name = "state"
    id = KIND
    attribute = "states"
    body = StateBody
    entry_types = (
        EntryType(STATE_INIT, Init, _fold_init, own_key),
        EntryType(STATE_SET, Set, _fold_set, own_key, body=True, before_commit="pending"),
        EntryType(STATE_TRANSITION, Transition, _fold_transition, own_key, body=True, before_commit="read"),
        delete_entry(STATE_DELETE, StateDelete),
        EntryType(STATE_SWAP, Swap, _fold_swap, own_key, body=True, before_commit="read"),
    )
    face = States
