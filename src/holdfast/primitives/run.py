"""``run``: executions of an agent - their status, owner and lease.

    created ──► active ◄──► paused        active, paused ──► completed, failed, cancelled ──► archived
                                          created ──► cancelled

A run that is active is **orphaned** when its lease has ended - the time since its last commit is longer than
``lease_seconds`` - or when its owner ran on this host and is gone. What a run wrote is in its journal (``journal.py``);
its own record is not, so that two runs compare by what they did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast import clock, process
from holdfast.codec import Value, check_text, decode, from_microseconds
from holdfast.core import DropJournal
from holdfast.entry_types import PRIMITIVE_IDS, RUN_BEGIN, RUN_CREATE, RUN_END, RUN_UPDATE
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.inputs import check_choice, check_id, check_metadata, check_optional_text, check_words
from holdfast.model import Guard, Header, Record, Term, Touched, Written
from holdfast.primitive import EntryType, Moment, Payload, Primitive, own_key, write
from holdfast.process import Owner
from holdfast.scope import Listing, Scope, check_limit, cursor_place, cursor_text, first_record, take
from holdfast.selection import Selection, timed, value_prefix

KIND = PRIMITIVE_IDS["run"]
CREATED, STATUS, TAG, NAME, PARENT = range(1, 6)
LEASE_SECONDS = 300.0
ENDINGS = ("completed", "failed", "cancelled")
ENDED = (*ENDINGS, "archived")
STATUSES = ("created", "active", "paused", *ENDINGS, "archived")
_ALLOWED_FROM = {
    "active": ("created", "active", "paused"),
    "paused": ("active",),
    "completed": ("active", "paused"),
    "failed": ("active", "paused"),
    "cancelled": ("created", "active", "paused"),
    "archived": ENDINGS,
}


class RunBody(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The body of a run; times in microseconds."""

    name: str
    status: str = "created"
    tags: tuple[str, ...] = ()
    metadata: dict[str, Value] = {}
    parent: UUID | None = None
    error: str | None = None
    started_at: int | None = None
    ended_at: int | None = None
    owner: Owner | None = None
    lease_seconds: float = LEASE_SECONDS


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run as it is stored."""

    id: UUID
    name: str
    status: str
    tags: tuple[str, ...]
    metadata: dict[str, Value]
    parent: UUID | None
    error: str | None
    started_at: datetime | None
    ended_at: datetime | None
    owner: Owner | None
    lease_seconds: float
    created_at: datetime
    updated_at: datetime
    version: int
    revision: int


class Create(Payload, frozen=True, gc=False):
    """Entry 0x60: a run that has not begun; ``body`` is a RunBody."""

    key: bytes
    body: bytes


class Update(Payload, frozen=True, gc=False):
    """Entry 0x61: a new status, or new name, tags or metadata (``changes``: a RunChanges)."""

    key: bytes
    changes: bytes


class End(Payload, frozen=True, gc=False):
    """Entry 0x62: completed, failed (with the error) or cancelled."""

    key: bytes
    status: str
    error: str | None = None


class Begin(Payload, frozen=True, gc=False):
    """Entry 0x63: active, owned by a process."""

    key: bytes
    host: str
    pid: int
    started: str


class RunChanges(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The fields that an update sets."""

    status: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    metadata: dict[str, Value] | UnsetType = UNSET


def _terms(body: RunBody, created_at: int) -> tuple[Term, ...]:
    terms: list[Term] = [(CREATED, b""), (STATUS, value_prefix(body.status)), (NAME, value_prefix(body.name))]
    terms += [(TAG, value_prefix(tag)) for tag in body.tags]
    if body.parent is not None:
        terms.append((PARENT, value_prefix(body.parent)))
    return timed(tuple(terms), created_at)


def _after(record: Record, body: RunBody, at: Moment) -> Written:
    terms = _terms(body, record.created_at)
    return {record.key: write(record.key, record, at, at.codec.encode(body), terms=terms)}


def _existing(touched: Touched, key: bytes) -> tuple[Record, RunBody]:
    record = touched[key]
    if record is None:
        raise NotFoundError(f"run {UUID(bytes=key)} does not exist")
    return record, decode(record.body, RunBody)


def _move(body: RunBody, status: str) -> None:
    if body.status not in _ALLOWED_FROM[status]:
        allowed = ", ".join(_ALLOWED_FROM[status])
        raise ConflictError(f"a run that is {body.status} cannot become {status}; only one that is {allowed} can")
    body.status = status


def _fold_create(entry: Create, touched: Touched, at: Moment) -> Written:
    if touched[entry.key] is not None:
        raise ConflictError(f"run {UUID(bytes=entry.key)} exists already")
    body = decode(entry.body, RunBody)
    return {entry.key: write(entry.key, None, at, entry.body, terms=_terms(body, at.now))}


def _fold_begin(entry: Begin, touched: Touched, at: Moment) -> Written:
    record, body = _existing(touched, entry.key)
    _move(body, "active")
    body.owner = Owner(entry.host, entry.pid, entry.started)
    body.started_at = at.now if body.started_at is None else body.started_at
    return _after(record, body, at)


def _fold_update(entry: Update, touched: Touched, at: Moment) -> Written:
    record, body = _existing(touched, entry.key)
    changes = decode(entry.changes, RunChanges)
    if changes.status is not UNSET:
        _move(body, changes.status)
    for name in ("name", "tags", "metadata"):
        value = getattr(changes, name)
        if value is not UNSET:
            setattr(body, name, value)
    return _after(record, body, at)


def _fold_end(entry: End, touched: Touched, at: Moment) -> Written:
    record, body = _existing(touched, entry.key)
    _move(body, entry.status)
    body.error, body.ended_at = entry.error, at.now
    return _after(record, body, at)


def to_run(record: Record) -> RunRecord:
    """Return a run from its record."""
    body = decode(record.body, RunBody)
    return RunRecord(
        id=UUID(bytes=record.key),
        name=body.name,
        status=body.status,
        tags=body.tags,
        metadata=body.metadata,
        parent=body.parent,
        error=body.error,
        started_at=None if body.started_at is None else from_microseconds(body.started_at),
        ended_at=None if body.ended_at is None else from_microseconds(body.ended_at),
        owner=body.owner,
        lease_seconds=body.lease_seconds,
        created_at=from_microseconds(record.created_at),
        updated_at=from_microseconds(record.updated_at),
        version=record.version,
        revision=record.revision,
    )


def _written(outcomes: list[Written]) -> RunRecord:
    record = first_record(outcomes)
    assert isinstance(record, Record)
    return to_run(record)


class Runs:
    """The face of ``run``. As thread-safe as its scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def create(
        self,
        name: str,
        *,
        tags: Iterable[str] = (),
        metadata: dict[str, Value] | None = None,
        parent: UUID | str | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> RunRecord:
        """Create a run that has not begun. Raises InvalidInputError; NotFoundError if the parent does not exist."""
        if type(lease_seconds) not in (int, float) or not 0 < lease_seconds < 1e9:
            raise InvalidInputError("lease_seconds", f"must be a number of seconds above 0, not {lease_seconds!r}")
        body = RunBody(
            name=check_text(name, "name", most_bytes=256),
            tags=check_words(tags, "tags", most=48),
            metadata=check_metadata(metadata),
            parent=None if parent is None else check_id(parent, "parent"),
            lease_seconds=float(lease_seconds),
        )
        steps: list[Any] = []
        if body.parent is not None:
            steps.append(Guard(KIND, body.parent.bytes, _must_exist(body.parent)))
        steps.append(Create(clock.new_id().bytes, self._scope.codec.encode(body)))
        return self._scope.write(steps, _written)

    def begin(self, id: UUID | str) -> RunRecord:
        """Make a run active, owned by this process; also one that was paused or orphaned."""
        owner = process.this_process()
        return self._scope.write([Begin(check_id(id).bytes, owner.host, owner.pid, owner.started)], _written)

    def update(
        self,
        id: UUID | str,
        *,
        name: str | UnsetType = UNSET,
        tags: Iterable[str] | UnsetType = UNSET,
        metadata: dict[str, Value] | UnsetType = UNSET,
    ) -> RunRecord:
        """Set some fields of a run; NotFoundError if it does not exist."""
        changes = RunChanges(
            name=UNSET if name is UNSET else check_text(name, "name", most_bytes=256),
            tags=UNSET if tags is UNSET else check_words(tags, "tags", most=48),
            metadata=UNSET if metadata is UNSET else check_metadata(metadata),
        )
        return self._change(id, changes)

    def pause(self, id: UUID | str) -> RunRecord:
        """Pause an active run; ``begin`` makes it active again."""
        return self._change(id, RunChanges(status="paused"))

    def end(self, id: UUID | str) -> RunRecord:
        """Complete a run."""
        return self._end(id, "completed", None)

    def fail(self, id: UUID | str, error: str) -> RunRecord:
        """End a run that failed, with the reason."""
        return self._end(id, "failed", check_text(error, "error", most_bytes=64 * 1024))

    def cancel(self, id: UUID | str) -> RunRecord:
        """End a run that is not to go on."""
        return self._end(id, "cancelled", None)

    def archive(self, id: UUID | str) -> RunRecord:
        """Put a run that has ended away."""
        return self._change(id, RunChanges(status="archived"))

    def drop_journal(self, id: UUID | str) -> None:
        """Remove the journal of a run that has ended; its record stays, but it can no more be replayed or compared.

        Raises NotFoundError if there is no such run, ConflictError if it has not ended.
        """
        key = check_id(id).bytes
        return self._scope.write(
            [Guard(KIND, key, _must_have_ended(UUID(bytes=key)), body=True), DropJournal(key)], _nothing
        )

    def get(self, id: UUID | str) -> RunRecord | None:
        """Return a run, or None."""
        record = self._scope.read_one(KIND, check_id(id).bytes)
        return None if record is None else to_run(record)

    def exists(self, id: UUID | str) -> bool:
        """Return True if there is a run with this id."""
        return self._scope.read_one(KIND, check_id(id).bytes, "headers") is not None

    def count(self) -> int:
        """Return how many runs there are."""
        return self._scope.count(KIND)

    def list(
        self,
        *,
        status: str | None = None,
        tag: str | None = None,
        name: str | None = None,
        parent: UUID | str | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[RunRecord]:
        """Return a page of runs in order of creation (``reverse``: the newest first) that have all that is given."""
        equal: list[Term] = []
        if status is not None:
            equal.append((STATUS, value_prefix(check_choice(status, "status", STATUSES))))
        for index, field, value in ((TAG, "tag", tag), (NAME, "name", name)):
            if value is not None:
                equal.append((index, value_prefix(check_optional_text(value, field))))
        if parent is not None:
            equal.append((PARENT, value_prefix(check_id(parent, "parent"))))
        selection = Selection(KIND, CREATED, equal, reverse=reverse)
        records, place = take(selection.iterate(self._scope, cursor_place(after)), check_limit(limit, optional=True))
        return Listing([to_run(record) for record in records], cursor_text(place))

    def orphans(self) -> Listing[RunRecord]:
        """Return the active runs whose lease has ended, or whose owner ran on this host and is gone."""
        now = from_microseconds(self._scope.now())
        orphaned = []
        for run in self.list(status="active", limit=None):
            last = self._scope.last_journaled(run.id.bytes)
            renewed_at = max(run.updated_at, run.updated_at if last is None else from_microseconds(last))
            ended = (now - renewed_at).total_seconds() > run.lease_seconds
            if ended or (run.owner is not None and process.is_gone(run.owner)):
                orphaned.append(run)
        return Listing(orphaned, None)

    def _change(self, id: UUID | str, changes: RunChanges) -> RunRecord:
        return self._scope.write([Update(check_id(id).bytes, self._scope.codec.encode(changes))], _written)

    def _end(self, id: UUID | str, status: str, error: str | None) -> RunRecord:
        return self._scope.write([End(check_id(id).bytes, status, error)], _written)


def _must_exist(id: UUID) -> Any:
    def exists(record: Header | None) -> None:
        if record is None:
            raise NotFoundError(f"the parent run {id} does not exist")

    return exists


def _must_have_ended(id: UUID) -> Any:
    def ended(record: Record | None) -> None:
        if record is None:
            raise NotFoundError(f"run {id} does not exist")
        status = decode(record.body, RunBody).status
        if status not in ENDED:
            raise ConflictError(f"run {id} is {status}; its journal can be dropped when it has ended")

    return ended


def _nothing(outcomes: list[Written]) -> None:
    """The journal of a run is no record, so nothing is to be shown."""


class RunPrimitive(Primitive):
    """What the registry keeps of ``run``."""

    name = "run"
    id = KIND
    attribute = "runs"
    body = RunBody
    indexes = {
        "created": CREATED,
        "status": STATUS,
        "tag": TAG,
        "name": NAME,
        "parent": PARENT,
    }
    entry_types = (
        EntryType(RUN_CREATE, Create, _fold_create, own_key),
        EntryType(RUN_UPDATE, Update, _fold_update, own_key, body=True, before_commit="read"),
        EntryType(RUN_END, End, _fold_end, own_key, body=True, before_commit="read"),
        EntryType(RUN_BEGIN, Begin, _fold_begin, own_key, body=True, before_commit="read"),
    )
    face = Runs
    keyed_by_id = True

    def may_go(self, record: Record) -> bool:
        """Only a run that has ended."""
        return decode(record.body, RunBody).status in ENDED

    def removals(self, headers: Sequence[Header]) -> list[Any]:
        """The journal goes with its run."""
        return [*super().removals(headers), *(DropJournal(header.key) for header in headers)]
