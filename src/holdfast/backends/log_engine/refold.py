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
from holdfast.model import Entry, Head, JournalRow, Touched
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
        self._registry = registry
        self._codec = codec
        self._tables_of = tables_of

    def commit(
        self, commit: Commit | None, definitions: list[Definition], entries: tuple[Entry, ...], time: int
    ) -> None:
        """Apply one transaction as the log holds it."""
        for definition in definitions:
            self.numbering.define(definition)
        if commit is None:
            return
        tables = self._tables_of(commit.space)
        with tables.lock:
            ordinal = 0
            for entry in entries:
                one = OpaqueEntry(
                    commit.space, commit.sequence, ordinal, time, commit.run, entry.type, entry.version, entry.payload
                )
                ordinal += self._fold(tables, one)
                time += 1
            self.entries += len(entries)
            tables.head = Head(commit.sequence, time - 1, tables.head.floor)

    def again(self, waiting: list[OpaqueEntry]) -> None:
        """Fold what could not be folded before; what still cannot waits on."""
        for one in waiting:
            tables = self._tables_of(one.space)
            with tables.lock:
                self._fold(tables, one)

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
                tables.erase(entry_type.erases(payload), one.sequence)
                return False
            touched, written = tables.fold(kind, entry_type, payload, Moment(one.sequence, one.time, self._codec))
        except (HoldfastError, msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
            raise CorruptionError(
                f"space {one.space!r}: entry 0x{one.type:02X} of commit {one.sequence} cannot be folded: {error!r}"
            ) from error
        if not written:
            return False
        if one.run is not None and entry_type.journaled:
            bases = self._bases(tables, one, kind, touched)
            _journal(tables, one.run, JournalRow(one.sequence, one.ordinal, one.time, entry, bases))
        table = tables.table(kind)
        for key, record in written.items():
            tables.put(kind, table, key, record, one.sequence)
        return entry_type.journaled

    def _bases(
        self, tables: SpaceTables, one: OpaqueEntry, kind: int, touched: Touched
    ) -> tuple[tuple[bytes, bytes | None], ...]:
        run, view = one.run or b"", StoredView(tables)
        return bases_of(
            touched, lambda revision: revision == one.sequence or view.in_journal(run, revision), view, kind
        )

    def _keep(self, tables: SpaceTables, one: OpaqueEntry, kind: int, entry: Entry) -> bool:
        self.opaque.append(one)
        if kind not in self.frozen:
            self.frozen[kind] = (
                f"commit {one.sequence} of space {one.space!r} holds an entry 0x{one.type:02X} version {one.version} "
                "that no registered primitive can fold"
            )
        if one.run is not None:
            _journal(tables, one.run, JournalRow(one.sequence, one.ordinal, one.time, entry, ()))
        return True


def _journal(tables: SpaceTables, run: bytes, row: JournalRow) -> None:
    """Add a row, in place of the one that stood for the same entry while nobody could fold it."""
    rows = tables.journals.setdefault(run, [])
    place = len(rows)
    while place and row_place(rows[place - 1]) >= row_place(row):
        place -= 1
    found = place < len(rows) and row_place(rows[place]) == row_place(row)
    rows[place : place + found] = [row]
