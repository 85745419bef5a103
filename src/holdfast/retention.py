"""What goes with time: records that have expired (``sweep``), and those that a policy lets go (``retain``).

Promises: everything goes by ordinary commits of bounded size, told in the change feed; a record that was renewed or
changed after it was chosen stays, because its removal is bound to its revision; a dry run changes nothing. Knows no
primitive but through its contract.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from holdfast import clock
from holdfast.codec import from_microseconds
from holdfast.core import DropJournal, Expire
from holdfast.entry_types import PRIMITIVE_IDS
from holdfast.errors import InvalidInputError
from holdfast.keys import KEY_BYTES_MAX, encode_key
from holdfast.model import EXPIRY_INDEX, Batch, Header, Record
from holdfast.primitive import Primitive
from holdfast.scope import DirectScope, check_limit

RECORDS_PER_COMMIT = 500


class Removal(msgspec.Struct, frozen=True):
    """A record that a retention lets go (``key`` as people read it), when it was last written, and why it goes."""

    key: str
    updated_at: datetime
    why: str


class Retention(msgspec.Struct, frozen=True):
    """What a retention did: the kind, how many records (or journals) went, and which were chosen, oldest first."""

    kind: str
    removed: int
    chosen: tuple[Removal, ...]


class _Policy(msgspec.Struct, frozen=True):
    """What may go: last written before ``before`` (microseconds), and not of the newest ``keep_last`` of its group."""

    before: int | None
    keep_last: int | None

    def why(self, header: Header, newer: int) -> str | None:
        """Return why a record goes that has so many newer ones in its group, or None if it stays."""
        reasons = []
        if self.before is not None:
            if header.updated_at >= self.before:
                return None
            reasons.append(f"last written before {from_microseconds(self.before).isoformat(timespec='seconds')}")
        if self.keep_last is not None:
            if newer < self.keep_last:
                return None
            reasons.append(f"not of the newest {self.keep_last}")
        return " and ".join(reasons)


def retain(
    scope: DirectScope,
    kind: str,
    *,
    older_than: timedelta | float | None,
    keep_last: int | None,
    where: Mapping[str, Any] | None,
    journals: bool,
    dry_run: bool,
) -> Retention:
    """Let records of a kind go that a policy does not keep; see ``Space.retain``."""
    primitive = scope.registry.by_name(kind)
    if journals and primitive.id != PRIMITIVE_IDS["run"]:
        raise InvalidInputError("journals", f"only runs have journals, not {primitive.name!r}")
    if older_than is None and keep_last is None:
        raise InvalidInputError("older_than", "say what may go: older_than, keep_days or keep_last")
    if keep_last is not None and (type(keep_last) is not int or keep_last < 0):
        raise InvalidInputError("keep_last", f"must be an int of 0 or more, not {keep_last!r}")
    if where is not None and not isinstance(where, Mapping):
        raise InvalidInputError("where", f"must be a mapping of field names to values, not {type(where).__name__}")
    if where and primitive.in_order:
        raise InvalidInputError("where", f"{primitive.name}s go oldest first, so they are not chosen by what they say")
    age = 0 if older_than is None else check_age(older_than, "older_than")
    policy = _Policy(None if older_than is None else clock.now() - age, keep_last)
    chosen = _chosen(scope, primitive, policy, where or {})
    if journals:
        chosen = [(header, why) for header, why in chosen if scope.last_journaled(header.key) is not None]
    removed = 0
    for start in range(0, len(chosen), RECORDS_PER_COMMIT):
        headers = [header for header, _ in chosen[start : start + RECORDS_PER_COMMIT]]
        steps = [DropJournal(header.key) for header in headers] if journals else primitive.removals(headers)
        if not dry_run:
            outcomes = scope.backend.committer.commit(Batch(scope.space, steps, scope.durability)).outcomes
            gone = sum(record is None for written in outcomes for record in written.values())
            removed += len(headers) if journals else gone
    shown = [Removal(primitive.key_text(one.key), from_microseconds(one.updated_at), why) for one, why in chosen]
    return Retention(primitive.name, removed, tuple(shown))


def check_age(value: timedelta | float, field: str) -> int:
    """Return an age in microseconds: a timedelta or seconds, 0 or more."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if type(seconds) not in (int, float) or not 0 <= seconds < 1e10:
        raise InvalidInputError(field, f"must be a timedelta or a number of seconds of 0 or more, not {value!r}")
    return int(seconds * 1_000_000)


def _chosen(
    scope: DirectScope, primitive: Primitive, policy: _Policy, where: Mapping[str, Any]
) -> list[tuple[Header, str]]:
    """Return the headers of what goes, with the reasons; group by group, the oldest first."""
    groups: dict[bytes, list[Header]] = {}
    for _, record in scope.scan(primitive.id, None, b"", b"\xff" * (KEY_BYTES_MAX + 1)):
        if where and not _matches(primitive.values(record), where):
            continue
        if primitive.may_go(record):
            groups.setdefault(primitive.group(record), []).append(_header_of(record))
    chosen = []
    for group in groups.values():
        group.sort(key=lambda header: (header.updated_at, header.key))
        for place, header in enumerate(group):
            why = policy.why(header, len(group) - place - 1)
            if why is not None:
                chosen.append((header, why))
    return chosen


def _header_of(record: Record) -> Header:
    return Header(*(getattr(record, name) for name in Header.__struct_fields__))


def _matches(values: dict[str, Any], where: Mapping[str, Any]) -> bool:
    unknown = where.keys() - values.keys()
    if unknown:
        raise InvalidInputError("where", f"{min(unknown)!r} is no field; there are {', '.join(sorted(values))}")
    return all(values[name] == wanted for name, wanted in where.items())


def sweep(scope: DirectScope, limit: int | None = None, *, dry_run: bool = False) -> dict[str, int]:
    """Remove up to ``limit`` records that have expired (None: all); return how many of each kind went, or would go.

    The results that are kept of transactions with a key count as "core".
    """
    left = check_limit(limit, optional=True)
    counts: dict[str, int] = {}
    for kind in scope.registry.ids():
        gone = 0
        for headers in _expired(scope, kind, left):
            removed = len(headers)
            if not dry_run:
                steps = [Expire(kind, header.key, header.revision) for header in headers]
                batch = Batch(scope.space, steps, scope.durability)
                removed = sum(bool(written) for written in scope.backend.committer.commit(batch).outcomes)
            gone += removed
            left -= len(headers)
        if gone:
            counts[scope.registry.name_of(kind)] = gone
    return counts


def _expired(scope: DirectScope, kind: int, limit: int) -> Iterator[list[Header]]:
    """Iterate over the headers of what has expired by now, in groups for one commit each."""
    view, after, high = scope.backend.view(scope.space), None, encode_key(clock.now() + 1)
    while limit > 0:
        size = min(RECORDS_PER_COMMIT, limit)
        page = view.scan(kind, EXPIRY_INDEX, b"", high, after=after, limit=size, want="headers")
        if page.items:
            yield list(page.items)
        limit, after = limit - len(page.items), page.cursor
        if after is None:
            return
