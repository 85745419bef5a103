"""Transactions: read-your-writes, the read set and its pin, the commit.

A transaction holds no lock and no database transaction while user code runs. It is pinned to the sequence of its first
read; a read that finds the space further on checks everything read so far and moves the pin, or raises ConflictError
at once, so that user code never sees two states. At the commit the read set is checked again, under the lock
(optimistic concurrency control with backward validation: Kung & Robinson, 1981; serialisable). A transaction that
reads nothing never conflicts. Not thread-safe: one transaction belongs to one thread.

Its own writes are folded when something is read that they may have changed. What they are folded upon is **loose**
until it has been shown: whoever reads whole records depends on it, whoever reads a part of one (``read_part``) leaves a
guard among the steps, which is checked at its place - by the commit, and when the pin moves, by folding again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import msgspec

from holdfast import clock
from holdfast.backend import Backend, View
from holdfast.codec import Value, digest
from holdfast.committer import CommitTicket
from holdfast.errors import ClosedError, ConflictError, HoldfastError
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
)  # fmt: skip
from holdfast.primitive import Moment
from holdfast.registry import PrimitiveRegistry
from holdfast.scope import PAGE_SIZE, Finish, Open, Part, Pending, Scope, unless_expired
from holdfast.tables import between
from holdfast.validation import require_unchanged

T = TypeVar("T")
V = TypeVar("V", bound=Value)


class _Folded(msgspec.Struct):
    """What a transaction has made of one kind.

    ``overlay``: what it wrote. ``bases``: the committed records behind that. ``loose``: the revisions (0: absent) of
    those that were read and are not in the read set. ``owed``: those of them that its own entries were folded upon,
    and on which whoever sees the overlay depends.
    """

    overlay: dict[bytes, Record | None] = {}
    bases: dict[bytes, Header | None] = {}
    loose: dict[bytes, int] = {}
    owed: set[bytes] = set()


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
        self._kinds: dict[int, _Folded] = {}
        self._promised: list[tuple[int, int, Finish[Any], Pending[Any]]] = []
        self._entries = 0
        self._open = True
        self._refused: HoldfastError | None = None
        self._opened: tuple[Any, Open | None, Any] = (None, None, None)

    # Ending

    def commit(self) -> Receipt | None:
        """Make everything visible and durable together; None if nothing was written. Raises ConflictError."""
        batch = self.ended()
        return None if batch is None else self.committed(self._backend.committer.commit(batch))

    def ended(self) -> Batch | None:
        """End the transaction; return what is to be committed, for ``committed``, or None if nothing was written."""
        self._require_open()
        self._open = False
        if self._refused is not None:
            raise self._refused
        if not self._entries:
            return None  # all that was read was true at the pin
        self._batch.reads = self._reads if self._reads else None
        return self._batch

    def committed(self, ticket: CommitTicket) -> Receipt | None:
        """Tell what was known only after the commit; return its receipt."""
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
            outcomes = self._at_pin(lambda view: self._fold_and_depend(view, steps))
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

    def _kind_of(self, step: Any) -> int:
        return step.kind if type(step) is Guard else self.registry.kind_of(step)[0]

    def _folded(self, kind: int) -> _Folded:
        return self._kinds.setdefault(kind, _Folded())

    def _settle(self, view: View, kind: int) -> None:
        """Fold the steps of a kind that were not folded yet."""
        taken = [step for step in self._unfolded if self._kind_of(step) == kind]
        self._unfolded = [step for step in self._unfolded if self._kind_of(step) != kind]
        self._fold_all(view, taken, self._folded(kind))

    def _fold_all(self, view: View, steps: list[Any], upon: _Folded) -> None:
        """Fold steps of the batch; what refuses one of them ends the transaction, since it has been shown."""
        try:
            for step in steps:
                self._fold(view, step, upon)
        except HoldfastError as error:
            self._refused = error
            raise

    def _fold_new(self, view: View, steps: list[Any]) -> list[Written]:
        """Fold steps that are not in the batch yet, behind those that are; return the outcome of each entry.

        If one is refused the transaction may go on without them, so it then depends on what refused it.
        """
        kinds = {self._kind_of(step): None for step in steps}
        for kind in kinds:
            self._settle(view, kind)
        try:
            folded = [self._fold(view, step, self._folded(self._kind_of(step))) for step in steps]
        except HoldfastError:
            for kind in kinds:
                self._depend(kind, list(self._folded(kind).loose))
            raise
        return [written for written in folded if written is not None]

    def _fold_and_depend(self, view: View, steps: list[Any]) -> list[Written]:
        outcomes = self._fold_new(view, steps)
        for step in steps:
            self._depend(self._kind_of(step))
        return outcomes

    def _fold(self, view: View, step: Any, upon: _Folded) -> Written | None:
        """Fold a step on what this transaction has made so far; None for a guard, which is checked."""
        now = clock.now()
        if type(step) is Guard:
            want: Want = "records" if step.body else "headers"
            step.check(unless_expired(self._seen(view, step.kind, [step.key], want, upon)[0], now))
            return None
        kind, entry_type = self.registry.kind_of(step)
        keys = entry_type.keys(step)
        seen = self._seen(view, kind, keys, "records" if entry_type.body else "headers", upon)
        upon.owed.update(keys)
        touched: dict[bytes, Any] = {key: unless_expired(record, now) for key, record in zip(keys, seen, strict=True)}
        written = entry_type.fold(step, touched, Moment(0, now, self.codec))
        for key, after in written.items():
            if after is not None and after.blobs is None:  # None stays where those of the committed record are kept
                before = touched.get(key)
                blobs = () if before is None else getattr(before, "blobs", None)
                written[key] = after if blobs is None else msgspec.structs.replace(after, blobs=blobs)
        upon.overlay.update(written)
        return written

    def _fold_again(self, view: View) -> None:
        """Fold a kind anew if what its steps were folded upon has changed; a guard that fails is a ConflictError."""
        for kind, folded in list(self._kinds.items()):
            if folded.loose:
                headers = view.read(kind, list(folded.loose), "headers")
                if [_revision(header) for header in headers] != list(folded.loose.values()):
                    anew = _Folded()
                    self._fold_all(view, [step for step in self._batch.steps if self._kind_of(step) == kind], anew)
                    self._kinds[kind] = anew
                    self._unfolded = [step for step in self._unfolded if self._kind_of(step) != kind]

    # Reading

    def _seen(self, view: View, kind: int, keys: Sequence[bytes], want: Want, through: _Folded) -> list[Any]:
        """Read through the folded writes of this transaction; what is read of a view is loose.

        What is a base need not be read again: had it changed, moving the pin would have raised, or dropped it.
        """
        overlay, bases = through.overlay, through.bases
        missing = [key for key in keys if key not in overlay and not (key in bases and _tells(bases[key], want))]
        if missing:
            for key, record in zip(missing, view.read(kind, missing, want), strict=True):
                bases[key] = record
                if (kind, key) not in self._reads.keys:
                    through.loose[key] = _revision(record)
        seen = [overlay[key] if key in overlay else bases[key] for key in keys]
        return self._with_kept_blobs(view, kind, seen) if want == "blobs" and overlay else seen

    def _with_kept_blobs(self, view: View, kind: int, seen: list[Any]) -> list[Any]:
        """Give those that were written here without blobs the ones that they keep."""
        keeping = [record.key for record in seen if record is not None and record.blobs is None]
        records = view.read(kind, keeping, "blobs") if keeping else []
        kept = {record.key: record.blobs or () for record in records if record is not None}
        return [
            msgspec.structs.replace(record, blobs=kept.get(record.key, ()))
            if record and record.blobs is None
            else record
            for record in seen
        ]

    def _depend(self, kind: int, shown: Iterable[bytes] = ()) -> None:
        """Take the keys that are shown, and what the overlay was folded upon, into the read set."""
        folded = self._folded(kind)
        for key in (*shown, *folded.owed):
            revision = folded.loose.pop(key, None)
            if revision is not None:
                self._reads.keys[kind, key] = revision
        folded.owed.clear()

    def _at_pin(self, read: Callable[[View], T]) -> T:
        """Read at the pin; where the space has moved on, move the pin or raise ConflictError."""
        self._require_open()
        if self._refused is not None:
            raise self._refused
        with self._backend.snapshot(self.space) as view:
            sequence = view.head().sequence
            if sequence != self._reads.pin:
                if self._reads:
                    names = {primitive.id: primitive.name for primitive in self.registry}
                    require_unchanged(view, sequence, self._reads, {}, names)
                self._fold_again(view)
                self._reads.pin = sequence
            return read(view)

    def raw_read(self, kind: int, keys: Sequence[bytes], want: Want) -> list[Any]:
        """See ``Scope``."""

        def read(view: View) -> list[Any]:
            self._settle(view, kind)
            seen = self._seen(view, kind, keys, want, self._folded(kind))
            self._depend(kind, keys)
            return seen

        return self._at_pin(read)

    def read_part(self, kind: int, key: bytes, opener: Open, part: Part[V], want: Want = "records") -> V:
        """See ``Scope``: a guard among the steps takes the place of the record in the read set."""

        def read(view: View) -> Any:
            self._settle(view, kind)
            return self._seen(view, kind, [key], want, self._folded(kind))[0]

        value = part(opener(unless_expired(self._at_pin(read), self.now())))
        check = self._unchanged(kind, key, opener, part, digest(value))
        self._batch.steps.append(Guard(kind, key, check, want != "headers"))
        return value

    def _unchanged(self, kind: int, key: bytes, opener: Open, part: Part[Any], wanted: bytes) -> Callable[[Any], None]:
        def check(record: Any) -> None:
            if self._opened[0] is not record or self._opened[1] is not opener:
                self._opened = record, opener, opener(record)  # once for all parts that were read one after the other
            if digest(part(self._opened[2])) != wanted:
                primitive = self.registry.by_id(kind)
                name = primitive.key_text(key)
                message = f"another commit changed what was read of {primitive.name} {name!r}"
                raise ConflictError(
                    f"{message}; run the transaction again, or use transact()", keys=[(primitive.name, name)]
                )

        return check

    def read_and_write(
        self, kind: int, key: bytes, opener: Open, part: Part[V], steps: list[Any], finish: Callable[[V], T]
    ) -> T:
        """See ``Scope``. The steps are folded at once, so that what refuses them is known here."""
        value = self.read_part(kind, key, opener, part)
        outcomes = self._at_pin(lambda view: self._fold_new(view, steps))
        self._entries += len(outcomes)
        self._batch.steps += steps
        return finish(value)

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

        def read(view: View) -> Page:
            self._settle(view, kind)
            self._depend(kind)
            most = limit + len(self._folded(kind).overlay)
            return view.scan(kind, index, low, high, after=after, reverse=reverse, limit=most, want=want)

        page = self._at_pin(read)
        overlay = self._folded(kind).overlay
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

        def read(view: View) -> int:
            self._settle(view, kind)
            self._depend(kind)
            return view.count(kind, index, low, high)

        count = self._at_pin(read)
        self._reads.counts.append(CountRead(kind, index, low, high, count))
        folded = self._folded(kind)
        for key, record in folded.overlay.items():
            count += _counted(record, index, low, high) - _counted(folded.bases.get(key), index, low, high)
        return count


def _revision(record: Header | None) -> int:
    return 0 if record is None else record.revision


def _tells(record: Header | None, want: Want) -> bool:
    """Whether a record that was read holds what is wanted of it now."""
    return record is None or want == "headers" or (want == "records" and type(record) is Record and not record.blobs)


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
