"""Folding logged commits into resident tables: what recovery, followers and upgrades do.

The folds of the live commit, on the same records, at the same moment, so the result is the same to the byte. Promises:
the same log gives the same tables; an entry that nobody here can fold - its type is not registered, or its version is
newer - is kept byte for byte, in order, and its kind takes no writes and no further entries until somebody can. Since
an entry touches records of its own kind only, the other kinds are whole.

For one thread at a time. Knows no file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from holdfast.backends.log_engine.numbering import Definition, Numbering
from holdfast.backends.log_engine.transcript import Commit
from holdfast.errors import CorruptionError, HoldfastError
from holdfast.model import Entry, Erasure, Head, JournalRow, Touched, Written
from holdfast.primitive import Moment
from holdfast.registry import PrimitiveRegistry
from holdfast.staging import bases_of
from holdfast.tables import SpaceTables, row_place
from holdfast.views import StoredView


class OpaqueEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entry that waits for somebody who can fold it; ``type`` is the store's number."""

    space: str
    sequence: int
    ordinal: int
    time: int
    run: bytes | None
    type: int
    version: int
    payload: bytes


class Refold:
    """Applies commits, in order, to the tables that ``tables_of`` gives for a space."""

    def __init__(
        self, registry: PrimitiveRegistry, numbering: Numbering, codec: Any, tables_of: Callable[[str], SpaceTables]
    ) -> None:
        self.numbering = numbering
        self.opaque: list[OpaqueEntry] = []
        self.frozen: dict[int, str] = {}
        """Kinds that take no writes, with the reason."""
        self.entries = 0
        self._plain: dict[int, tuple[int, Any, Any, int]] = {}
        self._made: dict[tuple[int, bytes], int | None] = {}
        """What the commit at hand has created: (kind, key) -> the revision at which it had been deleted before."""
        self._commit = ("", 0)
        self._registry = registry
        self._codec = codec
        self._tables_of = tables_of

    def commit(
        self, commit: Commit | None, definitions: list[Definition], entries: tuple[Entry, ...], time: int
    ) -> None:
        """Apply one transaction as the log holds it."""
        for definition in definitions:
            self.numbering.define(definition)
            self._plain.clear()
        if commit is None:
            return
        tables = self._tables_of(commit.space)
        with tables.lock:
            for ordinal, entry in enumerate(entries):
                if commit.run is None and self._fold_plain(tables, commit, entry, time):
                    time += 1
                    continue
                one = OpaqueEntry(
                    commit.space, commit.sequence, ordinal, time, commit.run, entry.type, entry.version, entry.payload
                )
                self._fold(tables, one)
                time += 1
            self.entries += len(entries)
            tables.head = Head(commit.sequence, time - 1, tables.head.floor)

    def again(self, waiting: list[OpaqueEntry]) -> None:
        """Fold what could not be folded before; what still cannot waits on."""
        for one in waiting:
            tables = self._tables_of(one.space)
            with tables.lock:
                has_row = self._fold(tables, one)
                if one.run is not None and not has_row:
                    _no_row(tables, one.run, (one.sequence, one.ordinal))

    def erased(self, space: str, erasure: Erasure) -> None:
        """Let go of what waits in a space, as far as a commit has erased it; to do it again changes nothing."""
        rows = None if erasure.rows is None else {(revision, ordinal) for revision, ordinal, _ in erasure.rows}
        kept = []
        for one in self.opaque:
            if one.space == space and erasure.run in (None, one.run):
                if erasure.run is None or (rows is not None and (one.sequence, one.ordinal) in rows):
                    continue
                if rows is None:  # it is to be folded, but there is no journal to tell of it
                    one = msgspec.structs.replace(one, run=None)
            kept.append(one)
        self.opaque[:] = kept

    def _fold_plain(self, tables: SpaceTables, commit: Commit, entry: Entry, time: int) -> bool:
        """Fold one entry of no run, if it is of the plain kind that most are; return whether it is."""
        plain = self._plain.get(entry.type)
        if plain is None:
            plain = self._plain[entry.type] = self._plain_type(entry)
        kind, entry_type, decode, version = plain
        if entry.version > version:
            return False
        try:
            payload = decode(entry.payload)
            _, written = tables.fold(kind, entry_type, payload, Moment(commit.sequence, time, self._codec))
        except _FAULTS as error:
            raise _unfoldable(commit.space, entry.type, commit.sequence, error) from error
        if written:
            self._write(tables, kind, written, commit.space, commit.sequence)
        return True

    def _plain_type(self, entry: Entry) -> tuple[int, Any, Any, int]:
        """(kind, entry type, decoder of payloads, newest version), version -1 if it is not to be folded plainly."""
        found = self._registry.by_code(self.numbering.own_type(entry.type))
        if found is None or found[1].any_kind or found[1].erases is not None or found[0].id in self.frozen:
            return 0, None, None, -1
        return found[0].id, found[1], msgspec.msgpack.Decoder(found[1].payload).decode, found[1].version

    def _fold(self, tables: SpaceTables, one: OpaqueEntry) -> bool:
        """Fold one entry; return whether its run's journal has a row for it."""
        entry = Entry(self.numbering.own_type(one.type), one.version, one.payload)
        try:
            known = self._registry.to_payload(entry)
            if known is None:
                return self._keep(tables, one, self.numbering.kind_of_type(one.type), entry)
            _, entry_type, payload = known
            if entry_type.any_kind:
                payload = msgspec.structs.replace(payload, kind=self.numbering.own_kind(payload.kind))
            kind, _ = self._registry.kind_of(payload)
            if kind in self.frozen:
                return self._keep(tables, one, kind, entry)
            if entry_type.erases is not None:
                erasure = entry_type.erases(payload)
                tables.erase(erasure, one.sequence)
                self.erased(one.space, erasure)
                return False
            touched, written = tables.fold(kind, entry_type, payload, Moment(one.sequence, one.time, self._codec))
        except _FAULTS as error:
            raise _unfoldable(one.space, one.type, one.sequence, error) from error
        if not written:
            return False
        if one.run is not None and entry_type.journaled:
            bases = self._bases(tables, one, kind, touched)
            _journal(tables, one.run, JournalRow(one.sequence, one.ordinal, one.time, entry, bases))
        self._write(tables, kind, written, one.space, one.sequence)
        return entry_type.journaled

    def _write(self, tables: SpaceTables, kind: int, written: Written, space: str, sequence: int) -> None:
        """Publish what one entry wrote; what a commit creates and removes again was never there for any feed."""
        if self._commit != (space, sequence):
            self._commit, self._made = (space, sequence), {}
        table, made = tables.table(kind), self._made
        for key, record in written.items():
            place = kind, key
            if record is not None and key not in table.by_key:
                made[place] = tables.tombstones.get(place)
            tables.put(kind, table, key, record, sequence)
            if record is None and place in made:
                tables.untell(place, made.pop(place))

    def _bases(
        self, tables: SpaceTables, one: OpaqueEntry, kind: int, touched: Touched
    ) -> tuple[tuple[bytes, bytes | None], ...]:
        run, view = one.run or b"", StoredView(tables)
        return bases_of(
            touched, lambda revision: revision == one.sequence or view.in_journal(run, revision), view, kind
        )

    def _keep(self, tables: SpaceTables, one: OpaqueEntry, kind: int, entry: Entry) -> bool:
        self.opaque.append(one)
        self._plain.clear()
        if kind not in self.frozen:
            self.frozen[kind] = (
                f"commit {one.sequence} of space {one.space!r} holds an entry 0x{one.type:02X} version {one.version} "
                "that no registered primitive can fold"
            )
        if one.run is not None:
            _journal(tables, one.run, JournalRow(one.sequence, one.ordinal, one.time, entry, ()))
        return True


_FAULTS = (HoldfastError, msgspec.MsgspecError, LookupError, ArithmeticError, TypeError, ValueError)


def _unfoldable(space: str, code: int, sequence: int, error: Exception) -> CorruptionError:
    return CorruptionError(f"space {space!r}: entry 0x{code:02X} of commit {sequence} cannot be folded: {error!r}")


def _journal(tables: SpaceTables, run: bytes, row: JournalRow) -> None:
    """Add a row, in place of the one that stood for the same entry while nobody could fold it."""
    rows = tables.journals.setdefault(run, [])
    place = len(rows)
    while place and row_place(rows[place - 1]) >= row_place(row):
        place -= 1
    found = place < len(rows) and row_place(rows[place]) == row_place(row)
    rows[place : place + found] = [row]


def _no_row(tables: SpaceTables, run: bytes, place: tuple[int, int]) -> None:
    """Take away the row that stood for an entry which, as is known now, has none."""
    rows = [row for row in tables.journals.get(run, ()) if row_place(row) != place]
    if rows:
        tables.journals[run] = rows
    else:
        tables.journals.pop(run, None)
