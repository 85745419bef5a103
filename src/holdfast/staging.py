"""Folding batches on a staging overlay, inside the commit: guards, folds, limits, journal rows.

One ``Stage`` is one space in one durable step. Promises: a batch that is refused leaves the stage as it was; each batch
gets a sequence of its own; each entry gets a time greater than every one before it in its space. Used by one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from holdfast import clock
from holdfast.backend import StagedSpace, Transaction, View
from holdfast.codec import BATCH_BYTES_MAX, BODY_BYTES_MAX
from holdfast.errors import InvalidInputError, ReadOnlyError
from holdfast.keys import KEY_BYTES_MAX, TERM_BYTES_MAX, TERMS_MAX
from holdfast.model import (
    Batch,
    Durability,
    Erasure,
    Guard,
    Header,
    JournalRow,
    Receipt,
    Record,
    Touched,
    Written,
    refs_of,
)
from holdfast.primitive import Moment
from holdfast.registry import PrimitiveRegistry
from holdfast.validation import require_unchanged

encode_base = msgspec.msgpack.Encoder().encode
decode_base = msgspec.msgpack.Decoder(Record).decode


class Stage:
    """What a group of commits makes of one space, on top of what is committed."""

    def __init__(
        self, space: str, view: View, registry: PrimitiveRegistry, codec: Any, refused: Mapping[int, str]
    ) -> None:
        head = view.head()
        self.staged = StagedSpace(space, head, head.sequence, head.time, {}, {}, [], set())
        self._view = view
        self._registry = registry
        self._codec = codec
        self._refused = refused

    @property
    def changed(self) -> bool:
        """True once a batch has written something."""
        return self.staged.sequence != self.staged.head.sequence

    def must_wait(self, batch: Batch) -> bool:
        """Return True if a batch cannot be folded upon what is staged, so that this is to be committed first.

        Ranges and counts are compared with what is committed, and an erasure is alone in its step.
        """
        if not self.changed:
            return False
        if self.staged.erasures or (batch.reads and (batch.reads.ranges or batch.reads.counts)):
            return True
        return not self._registry.erasing.isdisjoint(map(type, batch.steps))

    def fetch(self, batches: Sequence[Batch]) -> None:
        """Read everything that the batches touch and expect: one read a kind, two where bodies are needed."""
        needed: dict[tuple[int, bool], dict[bytes, None]] = {}
        for batch in batches:
            try:
                for step in batch.steps:
                    self._need(step, needed)
            except Exception:  # apply() meets it again and refuses this batch alone
                continue
        for (kind, body), wanted in sorted(needed.items()):  # headers first, so that records replace them
            keys_list = list(wanted)
            found = self._view.read(kind, keys_list, "records" if body else "headers")
            self.staged.before.setdefault(kind, {}).update(zip(keys_list, found, strict=True))

    def _need(self, step: Any, needed: dict[tuple[int, bool], dict[bytes, None]]) -> None:
        if type(step) is Guard:
            needed.setdefault((step.kind, step.body), {})[step.key] = None
            return
        kind, entry_type = self._registry.kind_of(step)
        keys = needed.setdefault((kind, entry_type.body), {})
        for key in entry_type.keys(step):
            keys[key] = None

    def apply(self, batch: Batch, durability: Durability) -> tuple[list[Written], Receipt]:
        """Fold a batch; return the outcome of each entry and the receipt, or raise and leave the stage as it was."""
        staged = self.staged
        if batch.reads:
            names = {primitive.id: primitive.name for primitive in self._registry}
            require_unchanged(self._view, staged.sequence, batch.reads, staged.writes, names)
        sequence = staged.sequence + 1
        began = now = max(clock.now(), staged.time + 1)
        local: dict[int, dict[bytes, Record | None]] = {}
        outcomes: list[Written] = []
        journal: list[tuple[bytes, JournalRow]] = []
        erasures: list[Erasure] = []
        size = 0
        for step in batch.steps:
            if type(step) is Guard:
                step.check(self._find(step.kind, step.key, local.get(step.kind), now))
                continue
            kind, entry_type = self._registry.kind_of(step)
            if kind in self._refused:
                raise refusal(self._registry.name_of(kind), self._refused[kind])
            seen_at = 0 if entry_type.any_kind else now  # nothing has expired at 0
            mine = local.get(kind)
            touched: Touched = {key: self._find(kind, key, mine, seen_at) for key in entry_type.keys(step)}
            written = entry_type.fold(step, touched, Moment(sequence, now, self._codec))
            if written:
                size += self._accept(kind, written, touched)
                if batch.run is not None and entry_type.journaled:
                    bases = self._bases(batch.run, kind, touched, written, sequence)
                    row = JournalRow(sequence, len(outcomes), now, self._registry.to_entry(step), bases)
                    journal.append((batch.run, row))
                if mine is None:
                    local[kind] = dict(written)
                else:
                    mine.update(written)
            outcomes.append(written)
            if entry_type.erases is not None:
                erasures.append(entry_type.erases(step))
            now += 1
        if size > BATCH_BYTES_MAX:
            raise InvalidInputError("batch", f"{size} bytes in one transaction; at most {BATCH_BYTES_MAX} are allowed")
        if local and any(erasure.run is None for erasure in erasures):
            raise InvalidInputError("batch", "a space is dropped by a commit that does nothing else")
        if not local and not erasures:
            return outcomes, Receipt(staged.sequence, staged.time, durability)
        for kind, records in local.items():
            staged.writes.setdefault(kind, {}).update(records)
        staged.sequence, staged.time = sequence, now - 1
        staged.erasures += erasures
        payloads = tuple([step for step in batch.steps if type(step) is not Guard])
        staged.transactions.append(Transaction(sequence, began, batch.run, payloads))
        if journal:
            staged.journal.extend(journal)
            staged.runs.add((journal[0][0], sequence))
        return outcomes, Receipt(sequence, now - 1, durability)

    def _find(self, kind: int, key: bytes, local: dict[bytes, Record | None] | None, now: int) -> Any:
        """The record as the entry at hand sees it: after the entries before it, absent if it has expired."""
        for layer in (local, self.staged.writes.get(kind), self.staged.before.get(kind)):
            if layer is not None and key in layer:
                record = layer[key]
                if record is not None and record.expires_at is not None and record.expires_at <= now:
                    return None
                return record
        raise AssertionError("an entry touches a key that was not fetched")

    def _accept(self, kind: int, written: Written, touched: Touched) -> int:
        """Check the limits of what a fold wrote, and settle its blobs; return its size in bytes.

        To settle is to say which blobs a record has where the medium, which sees a group's last state only, could not
        tell. A record that brings none keeps those written before it in this group; one that was made upon nothing has
        none, although the medium may still hold those of a record that was removed in this group, or has expired.
        """
        size = 0
        for key, record in written.items():
            size += checked_size(key, record)
            if record is not None and record.blobs is None:
                previous = touched.get(key)
                if previous is None:
                    committed = self.staged.before.get(kind)
                    if committed is not None and committed.get(key) is not None:
                        written[key] = msgspec.structs.replace(record, blobs=())
                elif type(previous) is Record and previous.blobs is not None:
                    written[key] = msgspec.structs.replace(record, blobs=previous.blobs)
        return size

    def _bases(
        self, run: bytes, kind: int, touched: Touched, written: Written, sequence: int
    ) -> tuple[tuple[bytes, bytes | None], ...]:
        """What the journal keeps of the records that were touched, with the blobs that what was written has kept."""
        foreign = {
            key: record
            for key, record in touched.items()
            if record is None or not self._written_by(run, record.revision, sequence)
        }
        keeping = [
            key
            for key, record in foreign.items()
            if record is not None and (after := written.get(key)) is not None and after.blobs is None
        ]
        for key, whole in zip(keeping, self._view.read(kind, keeping, "blobs") if keeping else (), strict=True):
            if whole is not None and whole.blobs:
                foreign[key] = msgspec.structs.replace(as_base(foreign[key]), blobs=whole.blobs)
        return bases_of(foreign, lambda revision: False, self._view, kind)

    def _written_by(self, run: bytes, revision: int, sequence: int) -> bool:
        if revision == sequence or (run, revision) in self.staged.runs:
            return True
        return revision <= self.staged.head.sequence and self._view.in_journal(run, revision)


def refusal(kind: str, why: str) -> ReadOnlyError:
    """Return the error for a write to a kind that takes none."""
    return ReadOnlyError(f"{kind} takes no writes in this store: {why}")


def bases_of(
    touched: Touched, is_own: Callable[[int], bool], view: View, kind: int
) -> tuple[tuple[bytes, bytes | None], ...]:
    """Return what a journal keeps of the records that an entry was folded upon: those that its run did not write.

    ``is_own`` tells of a revision whether the run made it. Values of blobs that are elsewhere are read through
    ``view``, which sees the state before the entry: a record has references only if it has kept the committed ones.
    """
    bases: list[tuple[bytes, bytes | None]] = []
    for key, record in touched.items():
        if record is None:
            bases.append((key, None))
        elif not is_own(record.revision):
            base = as_base(record)
            if refs_of(base):
                base = msgspec.structs.replace(base, blobs=view.read(kind, [key], "blobs")[0].blobs)
            bases.append((key, encode_base(base)))
    return tuple(bases)


def as_base(record: Header) -> Record:
    """Return what a journal keeps of a record that an entry was folded upon: a header gets an empty body."""
    if isinstance(record, Record):
        return record
    fields = {name: getattr(record, name) for name in Header.__struct_fields__}
    return Record(**fields, body=b"")


def checked_size(key: bytes, record: Record | None) -> int:
    """Return the bytes of a body and its blobs; InvalidInputError if the key, a body or terms are over a limit."""
    if len(key) > KEY_BYTES_MAX:
        raise InvalidInputError("key", f"{len(key)} bytes when encoded; at most {KEY_BYTES_MAX} are allowed")
    if record is None:
        return 0
    size, terms = len(record.body), record.terms
    if size > BODY_BYTES_MAX:
        raise InvalidInputError("body", f"{size} bytes when encoded; at most {BODY_BYTES_MAX} are allowed")
    if len(terms) > 1:
        if len(terms) > TERMS_MAX:
            raise InvalidInputError("terms", f"{len(terms)} index terms; at most {TERMS_MAX} are allowed")
        if len(set(terms)) != len(terms):
            raise InvalidInputError("terms", "the same index term is given twice")
    for _, value in terms:
        if len(value) > TERM_BYTES_MAX:
            raise InvalidInputError("terms", f"{len(value)} bytes in one; at most {TERM_BYTES_MAX} are allowed")
    if record.blobs:
        size += sum(len(blob) for _, blob in record.blobs)
    return size
