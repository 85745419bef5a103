"""Forgetting for good: the records that are named, and every trace of what they said.

What goes: the records with their blobs and index terms, soft-deleted and expired ones too; the rows of journals that
touched them, or were folded upon them (a row without content stays, so that a replay knows that something is missing);
kept results of transactions that read or wrote them; their documents in the text index. What stays: their keys, in the
change feed, so that followers learn of it - until ``compact`` trims them. Promises: everything is looked through again
after the last commit, and what was found then is in the report; nothing found is the proof. A file still holds the
bytes of what was deleted until ``compact``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from operator import itemgetter
from typing import Any

import msgspec

from holdfast.backend import View
from holdfast.codec import decode
from holdfast.core import CORE, DropJournal, Forgotten, KeptResult, Scrub
from holdfast.entry_types import PRIMITIVE_IDS
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.feed import page_behind
from holdfast.idempotency import key_mark, marks
from holdfast.inputs import check_many
from holdfast.journal import rows_of
from holdfast.keys import KEY_BYTES_MAX
from holdfast.model import Batch, Header, JournalRow, LostRow
from holdfast.primitive import Primitive, Remove
from holdfast.scope import DirectScope
from holdfast.search.text import TextSearch
from holdfast.staging import decode_base

PASSES_MAX = 8
STEPS_PER_COMMIT = 500
_PAGE = 500
_LAST = b"\xff" * (KEY_BYTES_MAX + 1)
_RUN = PRIMITIVE_IDS["run"]

Place = tuple[int, bytes]


class Forgetting(msgspec.Struct, frozen=True):
    """What was forgotten, or would be (``dry_run``): (kind, key) of all that was named, and how much of it there was.

    ``left`` says what a last look through everything still found; it is empty when nothing is left.
    """

    keys: tuple[tuple[str, str], ...]
    records: int
    journal_rows: int
    results: int
    documents: int
    left: tuple[str, ...] = ()
    dry_run: bool = False


class _Session(msgspec.Struct):
    """What is read of any body to see whether it belongs to a session."""

    session_id: Any = None


class _Target(msgspec.Struct):
    """What is to be forgotten: ranges of keys, single keys, what certain commits wrote, the journal of a run."""

    ranges: list[tuple[int, bytes, bytes]] = []
    """Sorted, and apart from each other."""
    keys: set[Place] = set()
    revisions: set[int] = set()
    run: bytes | None = None

    def covers(self, kind: int, key: bytes) -> bool:
        """Return True if a key is to be forgotten."""
        if (kind, key) in self.keys:
            return True
        place = bisect_right(self.ranges, (kind, key), key=itemgetter(0, 1)) - 1
        return place >= 0 and self.ranges[place][0] == kind and key < self.ranges[place][2]


class _Traces(msgspec.Struct):
    """What one look through everything has found."""

    records: dict[Place, Header] = {}
    rows: dict[bytes, list[LostRow]] = {}
    journal: int = 0
    results: list[Header] = []
    documents: list[Place] = []
    unknown: list[str] = []


def forget(
    scope: DirectScope,
    search: TextSearch,
    kind: str | None,
    keys: Iterable[Any],
    *,
    session_id: str | None,
    run: bytes | None,
    dry_run: bool,
) -> Forgetting:
    """See ``Space.forget``."""
    given = [kind is not None, session_id is not None, run is not None]
    if sum(given) != 1:
        raise InvalidInputError("kind", "say one thing that is to be forgotten: kind and keys, session_id, or run")
    view = scope.backend.view(scope.space)
    if kind == scope.registry.name_of(_RUN):
        raise InvalidInputError("kind", "a run is forgotten with its journal and what it wrote: give run=")
    if kind is not None:
        target = _by_keys(scope.registry.by_name(kind), check_many(keys, "keys"))
    elif session_id is not None:
        target = _by_session(scope, view, session_id)
    else:
        assert run is not None
        target = _by_run(scope, view, run)
    _require_whole(scope, view, target)
    first = found = _look(scope, view, search, target)
    named = {*target.keys, *found.records}
    for _ in range(PASSES_MAX):
        if dry_run or not _commit(scope, target, found):
            break
        found = _look(scope, view, search, target)
        named.update(found.records)
    if not dry_run:
        for primitive in scope.registry:
            if primitive.searchable:
                search.catch_up(scope.space, primitive)
        found = _look(scope, view, search, target)
    shown = [_shown(scope, place) for place in sorted(named) if place[0] != CORE]
    return Forgetting(
        keys=tuple(shown),
        records=len(first.records),
        journal_rows=first.journal + sum(map(len, first.rows.values())),
        results=len(first.results),
        documents=len(first.documents),
        left=() if dry_run else tuple(_left(scope, found)),
        dry_run=dry_run,
    )


def _by_keys(primitive: Primitive, keys: Iterable[Any]) -> _Target:
    target = _Target()
    for low, high in sorted(map(primitive.key_range, keys)):
        if not target.covers(primitive.id, low):  # a stream and one of its events may both be named
            target.ranges.append((primitive.id, low, high))
    if not target.ranges:
        raise InvalidInputError("keys", "must name at least one key")
    return target


def _by_session(scope: DirectScope, view: View, session_id: str) -> _Target:
    """All records whose body has this session, and those of which only a journal still tells."""
    target = _Target()
    if type(session_id) is not str or not session_id:
        raise InvalidInputError("session_id", f"must be a non-empty str, not {session_id!r}")

    def is_of_it(body: object) -> bool:
        return type(body) is bytes and bool(body) and decode(body, _Session).session_id == session_id

    for primitive in scope.registry:
        if "session_id" not in primitive.body.__struct_fields__:
            continue
        for records in _pages(view, primitive.id, b"", _LAST, "records"):
            target.keys |= {(primitive.id, record.key) for record in records if is_of_it(record.body)}
        for _, row in _rows(view):
            found = scope.registry.to_payload(row.entry)
            if found is None or found[0].id != primitive.id:
                continue
            bodies = [getattr(found[2], "body", None), getattr(found[2], "changes", None)]
            if any(map(is_of_it, bodies)):
                target.keys |= {(primitive.id, key) for key in found[1].keys(found[2])}
            bases = [(key, decode_base(base)) for key, base in row.bases if base is not None]
            target.keys |= {(primitive.id, key) for key, base in bases if is_of_it(base.body)}
    return target


def _by_run(scope: DirectScope, view: View, run: bytes) -> _Target:
    """A run that has ended: its record, its journal, and every record that it was the last to write."""
    record = view.read(_RUN, [run])[0]
    revisions = {row.revision for row in rows_of(view, run)}
    name = scope.registry.by_id(_RUN).key_text(run)
    if record is None and not revisions:
        raise NotFoundError(f"run {name} does not exist in space {scope.space!r}")
    if record is not None and not scope.registry.by_id(_RUN).may_go(record):
        raise ConflictError(f"run {name} has not ended; end, fail or cancel it first")
    target = _Target(keys={(_RUN, run)}, revisions=revisions, run=run)
    position, goal = 0, view.head().sequence
    while position < goal:
        changes, position = page_behind(view, position, goal)
        target.keys |= {(one.kind, one.key) for one in changes if one.revision in revisions and not one.deleted}
    return target


def _require_whole(scope: DirectScope, view: View, target: _Target) -> None:
    """Raise ConflictError if only a part of what belongs together would go, as some events of a stream."""
    bound = {
        (kind, *together)
        for kind, key in [*target.keys, *((kind, low) for kind, low, _ in target.ranges)]
        if (together := scope.registry.by_id(kind).together(key)) is not None
    }
    for kind, low, high in sorted(bound):
        for headers in _pages(view, kind, low, high, "headers"):
            other = next((one for one in headers if not target.covers(kind, one.key)), None)
            if other is not None:
                primitive = scope.registry.by_id(kind)
                raise ConflictError(
                    f"{primitive.name} {primitive.key_text(low)!r} also holds what is not to be forgotten "
                    f"({primitive.key_text(other.key)}), and can only be forgotten whole"
                )


def _look(scope: DirectScope, view: View, search: TextSearch, target: _Target) -> _Traces:
    """Look through everything that could hold a trace of the target."""
    found = _Traces()
    for kind, low, high in target.ranges:
        for headers in _pages(view, kind, low, high, "headers"):
            found.records.update({(kind, header.key): header for header in headers})
    for kind in {kind for kind, _ in target.keys}:
        keys = sorted(key for one, key in target.keys if one == kind)
        for start in range(0, len(keys), _PAGE):
            single = view.read(kind, keys[start : start + _PAGE], "headers")
            found.records.update({(kind, header.key): header for header in single if header is not None})
    touched = {*target.keys, *found.records, *((kind, low) for kind, low, _ in target.ranges)}
    for run, row in _rows(view):
        if run == target.run:
            found.journal += 1
        else:
            _look_at(scope, target, found, touched, run, row)
    marked = {key_mark(kind, key) for kind, key in touched}
    for records in _pages(view, CORE, b"", _LAST, "records"):
        found.results += [one for one in records if marks(decode(one.body, KeptResult)) & marked]
    for primitive in scope.registry:
        if primitive.searchable:
            keys = sorted(key for kind, key in touched if kind == primitive.id)
            found.documents += [(primitive.id, key) for key in search.holding(scope.space, primitive, keys)]
    return found


def _look_at(
    scope: DirectScope, target: _Target, found: _Traces, touched: set[Place], run: bytes, row: JournalRow
) -> None:
    """Look at one row of a journal."""
    known = scope.registry.to_payload(row.entry)
    if known is None:
        found.unknown.append(f"a journal entry of type 0x{row.entry.type:02X} is unknown here and was not looked into")
        return
    payload = known[2]
    if type(payload) is Forgotten:
        return
    kind, keys = known[0].id, known[1].keys(payload)
    hit = [key for key in keys if target.covers(kind, key)]
    based = target.revisions and any(
        base is not None and decode_base(base).revision in target.revisions for _, base in row.bases
    )
    if hit or based:
        touched.update((kind, key) for key in hit)
        lost = tuple((kind, key) for key in keys if key not in hit)
        found.rows.setdefault(run, []).append(LostRow(row.revision, row.ordinal, lost))


def _commit(scope: DirectScope, target: _Target, found: _Traces) -> bool:
    """Remove what was found, in commits of bounded size; return False if there was nothing."""
    gone = {**found.records, **{(CORE, header.key): header for header in found.results}}
    steps: list[Any] = [Remove(kind, key, header.revision) for (kind, key), header in gone.items()]
    for run, rows in found.rows.items():
        steps += [Scrub(run, tuple(rows[start : start + _PAGE])) for start in range(0, len(rows), _PAGE)]
    if found.journal and target.run is not None:
        steps.append(DropJournal(target.run))
    for start in range(0, len(steps), STEPS_PER_COMMIT):
        batch = Batch(scope.space, steps[start : start + STEPS_PER_COMMIT], scope.durability)
        scope.backend.committer.commit(batch)
    return bool(steps)


def _left(scope: DirectScope, found: _Traces) -> Iterator[str]:
    for place in sorted(found.records):
        yield " ".join(("record", *_shown(scope, place)))
    for run, rows in found.rows.items():
        yield f"{len(rows)} journal rows of run {run.hex()}"
    if found.journal:
        yield f"{found.journal} rows of its own journal"
    if found.results:
        yield f"{len(found.results)} kept results"
    for place in found.documents:
        yield " ".join(("text of", *_shown(scope, place)))
    yield from sorted(set(found.unknown))


def _shown(scope: DirectScope, place: Place) -> tuple[str, str]:
    primitive = scope.registry.by_id(place[0])
    return primitive.name, primitive.key_text(place[1])


def _rows(view: View) -> Iterator[tuple[bytes, JournalRow]]:
    for run in view.journaled_runs():
        for row in rows_of(view, run):
            yield run, row


def _pages(view: View, kind: int, low: bytes, high: bytes, want: Any) -> Iterator[tuple[Any, ...]]:
    after = None
    while True:
        page = view.scan(kind, None, low, high, after=after, limit=_PAGE, want=want)
        yield page.items
        after = page.cursor
        if after is None:
            return
