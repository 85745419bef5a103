"""Transactions: read-your-writes, the read set and its pin, the commit, the bounded retry.

A transaction holds no lock and no database transaction while user code runs. It is pinned to the sequence of its first
read; a read that finds the space further on checks everything read so far and moves the pin, or raises ConflictError
at once, so that user code never sees two states. At the commit the read set is checked again, under the lock
(optimistic concurrency control with backward validation: Kung & Robinson, 1981; serialisable). A transaction that
reads nothing never conflicts. Not thread-safe: one transaction belongs to one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import msgspec

from holdfast import clock
from holdfast.backend import Backend, View
from holdfast.errors import ClosedError, ConflictError
from holdfast.model import (
    Batch,
    CountRead,
    Cursor,
    Durability,
    Guard,
    Header,
    Page,
    RangeRead,
    ReadSet,
    Receipt,
    Record,
    Want,
    Written,
)
from holdfast.primitive import Moment
from holdfast.registry import PrimitiveRegistry
from holdfast.scope import PAGE_SIZE, Finish, Pending, Scope
from holdfast.tables import between
from holdfast.validation import require_unchanged

T = TypeVar("T")

ATTEMPTS_MAX = 64
_BACKOFF_SECONDS = 0.001
_BACKOFF_SECONDS_MAX = 0.1


class TransactionScope(Scope):
    """What is read and written inside one transaction; ``commit`` ends it, ``discard`` drops it."""

    def __init__(
        self,
        space: str,
        backend: Backend,
        registry: PrimitiveRegistry,
        durability: Durability,
        run: bytes | None = None,
    ) -> None:
        super().__init__(space, registry, backend.committer.codec)
        self.receipt: Receipt | None = None
        self._backend = backend
        self._batch = Batch(space, [], durability, run)
        self._reads = ReadSet(pin=-1, keys={}, ranges=[], counts=[])
        self._unfolded: list[Any] = []
        self._overlay: dict[int, dict[bytes, Record | None]] = {}
        self._bases: dict[int, dict[bytes, Header | None]] = {}
        self._promised: list[tuple[int, int, Finish[Any], Pending[Any]]] = []
        self._entries = 0
        self._open = True

    # Ending

    def commit(self) -> Receipt | None:
        """Make everything visible and durable together; None if nothing was written. Raises ConflictError."""
        self._require_open()
        self._open = False
        if not self._entries:
            return None  # all that was read was true at the pin
        self._batch.reads = self._reads if self._reads else None
        ticket = self._backend.committer.commit(self._batch)
        self.receipt = ticket.receipt
        for first, count, finish, pending in self._promised:
            pending.fulfil(finish(ticket.outcomes[first : first + count]))
        return self.receipt

    def discard(self) -> None:
        """Drop everything; nothing has happened."""
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise ClosedError("this transaction has ended; begin another one")

    def touched(self) -> set[tuple[int, bytes]]:
        """Return (kind, key) of all that was read or written so far."""
        found = set(self._reads.keys)
        found |= {(scan.kind, place[1]) for scan in self._reads.ranges for place, _ in scan.items}
        for step in self._batch.steps:
            if type(step) is not Guard:
                kind, entry_type = self.registry.kind_of(step)
                found |= {(kind, key) for key in entry_type.keys(step)}
        return found

    # Writing

    def write(self, steps: list[Any], finish: Finish[T]) -> T:
        """Keep the steps for the commit; the result is what their entry types can tell before it."""
        self._require_open()
        payloads = [step for step in steps if type(step) is not Guard]
        modes = {self.registry.by_payload[type(payload)][1].before_commit for payload in payloads}
        outcomes: list[Written] = []
        if "read" in modes:
            for step in [*self._take_unfolded(None), *steps]:
                written = self._fold(step)
                if written is not None:
                    outcomes.append(written)
            outcomes = outcomes[-len(payloads) :]
        else:
            self._unfolded += steps
        first, self._entries = self._entries, self._entries + len(payloads)
        self._batch.steps += steps
        if "pending" in modes:
            pending: Pending[T] = Pending()
            self._promised.append((first, len(payloads), finish, pending))
            return cast(T, pending)
        return finish(outcomes or [self._preview(payload) for payload in payloads])

    def _preview(self, payload: Any) -> Written:
        """Fold upon nothing: what a blind write will look like, but for its version, revision and time."""
        _, entry_type = self.registry.by_payload[type(payload)]
        nothing: dict[bytes, Any] = dict.fromkeys(entry_type.keys(payload))
        return entry_type.fold(payload, nothing, Moment(0, clock.now(), self.codec))

    def _take_unfolded(self, kind: int | None) -> list[Any]:
        """Take the steps that were not folded yet: all of them, or those of one kind."""
        taken = [step for step in self._unfolded if kind is None or self._kind_of(step) == kind]
        self._unfolded = [step for step in self._unfolded if kind is not None and self._kind_of(step) != kind]
        return taken

    def _kind_of(self, step: Any) -> int:
        return step.kind if type(step) is Guard else self.registry.kind_of(step)[0]

    def _fold(self, step: Any) -> Written | None:
        """Fold a step on what this transaction sees; what it touches is then read, and can be overtaken."""
        if type(step) is Guard:
            step.check(self._seen(step.kind, [step.key], "records" if step.body else "headers")[0])
            return None
        kind, entry_type = self.registry.kind_of(step)
        keys = entry_type.keys(step)
        now = clock.now()
        touched: dict[bytes, Any] = {}
        for key, record in zip(keys, self._seen(kind, keys, "records" if entry_type.body else "headers"), strict=True):
            expired = record is not None and record.expires_at is not None and record.expires_at <= now
            touched[key] = None if expired else record
        written = entry_type.fold(step, touched, Moment(0, now, self.codec))
        for key, after in written.items():
            if after is not None and after.blobs is None:  # None stays where those of the committed record are kept
                before = touched.get(key)
                blobs = () if before is None else getattr(before, "blobs", None)
                written[key] = after if blobs is None else msgspec.structs.replace(after, blobs=blobs)
        self._overlay.setdefault(kind, {}).update(written)
        return written

    # Reading

    def _seen(self, kind: int, keys: Sequence[bytes], want: Want) -> list[Any]:
        """Read through the folded writes of this transaction."""
        overlay = self._overlay.get(kind, {})
        missing = [key for key in keys if key not in overlay]
        found: dict[bytes, Any] = {}
        if missing:
            records = self._at_pin(lambda view: view.read(kind, missing, want))
            found = dict(zip(missing, records, strict=True))
            bases = self._bases.setdefault(kind, {})
            for key, record in found.items():
                self._reads.keys[kind, key] = 0 if record is None else record.revision
                bases[key] = record
        seen = [overlay[key] if key in overlay else found[key] for key in keys]
        return self._with_kept_blobs(kind, seen) if want == "blobs" and overlay else seen

    def _with_kept_blobs(self, kind: int, seen: list[Any]) -> list[Any]:
        """Give those that were written here without blobs the ones that they keep."""
        keeping = [record.key for record in seen if record is not None and record.blobs is None]
        records = self._at_pin(lambda view: view.read(kind, keeping, "blobs")) if keeping else []
        kept = {record.key: record.blobs or () for record in records if record is not None}
        return [
            msgspec.structs.replace(record, blobs=kept.get(record.key, ()))
            if record and record.blobs is None
            else record
            for record in seen
        ]

    def _at_pin(self, read: Callable[[View], T]) -> T:
        """Read at the pin; where the space has moved on, move the pin or raise ConflictError."""
        self._require_open()
        with self._backend.snapshot(self.space) as view:
            sequence = view.head().sequence
            if sequence != self._reads.pin:
                if self._reads:
                    names = {primitive.id: primitive.name for primitive in self.registry}
                    require_unchanged(view, sequence, self._reads, {}, names)
                self._reads.pin = sequence
            return read(view)

    def _settle(self, kind: int) -> None:
        for step in self._take_unfolded(kind):
            self._fold(step)

    def raw_read(self, kind: int, keys: Sequence[bytes], want: Want) -> list[Any]:
        """See ``Scope``."""
        self._require_open()
        self._settle(kind)
        return self._seen(kind, keys, want)

    def raw_scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        *,
        after: Cursor | None = None,
        reverse: bool = False,
        limit: int = PAGE_SIZE,
        want: Want = "records",
    ) -> Page:
        """See ``Scope``: the committed places, merged with those that this transaction has written."""
        self._settle(kind)
        overlay = self._overlay.get(kind, {})
        page = self._at_pin(
            lambda view: view.scan(
                kind, index, low, high, after=after, reverse=reverse, limit=limit + len(overlay), want=want
            )
        )
        last = page.places[-1] if page.cursor is not None else None
        items = tuple((place, item.revision) for place, item in zip(page.places, page.items, strict=True))
        self._reads.ranges.append(RangeRead(kind, index, low, high, after, reverse, last, items))
        if not overlay:
            return page
        own = [place for place in _places(overlay, index) if low <= place[0] < high]
        own = between(sorted(own), low, high, after, reverse, len(own))
        if last is not None:
            own = [place for place in own if (place >= last if reverse else place <= last)]
        committed = dict(zip(page.places, page.items, strict=True))
        merged = sorted([place for place in page.places if place[1] not in overlay] + own, reverse=reverse)
        chosen = merged[:limit]
        cursor = chosen[-1] if len(merged) > limit or (chosen and last is not None) else last
        return Page(tuple(overlay.get(place[1]) or committed[place] for place in chosen), tuple(chosen), cursor)

    def raw_count(self, kind: int, index: int | None, low: bytes, high: bytes) -> int:
        """See ``Scope``."""
        self._settle(kind)
        count = self._at_pin(lambda view: view.count(kind, index, low, high))
        self._reads.counts.append(CountRead(kind, index, low, high, count))
        bases = self._bases.get(kind, {})
        for key, record in self._overlay.get(kind, {}).items():
            count += _counted(record, index, low, high) - _counted(bases.get(key), index, low, high)
        return count


def _places(records: dict[bytes, Record | None], index: int | None) -> list[Cursor]:
    places: list[Cursor] = []
    for key, record in records.items():
        if record is not None:
            values = [key] if index is None else [value for number, value in record.terms if number == index]
            places += [(value, key) for value in values]
    return places


def _counted(record: Header | None, index: int | None, low: bytes, high: bytes) -> int:
    if record is None:
        return 0
    return 1 if index is None else sum(number == index and low <= value < high for number, value in record.terms)


def run_with_retry(attempt: Callable[[], T], attempts: int = ATTEMPTS_MAX) -> T:
    """Call ``attempt`` until it is not overtaken; wait a random, growing time in between.

    Raises the last ConflictError after ``attempts`` tries.
    """
    for tried in range(attempts):
        try:
            return attempt()
        except ConflictError as error:
            if tried == attempts - 1:
                error.add_note(f"tried {attempts} times")
                raise
        time.sleep(clock.jitter(min(_BACKOFF_SECONDS_MAX, _BACKOFF_SECONDS * 2**tried)))
    raise AssertionError("attempts must be 1 or more")
