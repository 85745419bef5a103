"""What a snapshot holds: the records of every space, and what else recovery needs of the time before it.

Each page is one msgpack array. Section 0 (core) has pages that begin with their tag:

    ["definition", name, id, [entry types]]              numbers given to a primitive of a user
    ["space", number, name, sequence, time, floor]       before anything that belongs to it
    ["deleted", space number, [[kind, key, revision]]]   lines of the change feed
    ["journal", space number, run, [rows]]               a part of the journal of a run, in order
    ["kept", space number, [records]]                    records of core: results of transactions that had a key
    ["opaque", [entries]]                                what nobody could fold, in order

Every other section is one kind, its id the store's number; its pages are ``[space number, [records]]``. Records carry
headers and terms, so nothing decodes a body; indexes are not in it. A section of a kind that nobody here has
registered, and that does not look like this, is kept as it is.

A blob is ``[name, value]``; in the place of a value over 4 KiB stands where it is: ``[file, offset, length, crc]`` of
its bytes in a blob file.

Knows pages, not the files that they and the large values stand in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, TypeAlias

import msgspec

from holdfast.backends.log_engine.numbering import Definition, Numbering
from holdfast.backends.log_engine.refold import OpaqueEntry
from holdfast.log.blobs import place_of
from holdfast.model import Entry, Head, JournalRow, Record, refs_of
from holdfast.registry import PrimitiveRegistry
from holdfast.tables import SpaceTables
from holdfast.views import SnapshotView

RECORDS_PER_PAGE = 100
CORE = 0

Page: TypeAlias = tuple[int, bytes]
"""(section, bytes)"""


class DefinitionPage(msgspec.Struct, frozen=True, array_like=True, tag="definition"):
    """The numbers that were given to a primitive of a user."""

    name: str
    id: int
    types: tuple[int, ...]


class SpacePage(msgspec.Struct, frozen=True, array_like=True, tag="space"):
    """A space, before anything that belongs to it."""

    number: int
    name: str
    sequence: int
    time: int
    floor: int = 0


class DeletedPage(msgspec.Struct, frozen=True, array_like=True, tag="deleted"):
    """Keys that were deleted, for the change feed: (kind, key, revision)."""

    space: int
    keys: list[tuple[int, bytes, int]]


class JournalPage(msgspec.Struct, frozen=True, array_like=True, tag="journal"):
    """A part of the journal of a run."""

    space: int
    run: bytes
    rows: list[JournalRow]


class OpaquePage(msgspec.Struct, frozen=True, array_like=True, tag="opaque"):
    """Entries that nobody could fold, in order."""

    entries: list[OpaqueEntry]


class KeptPage(msgspec.Struct, frozen=True, array_like=True, tag="kept"):
    """Records of core, which have no section of their own."""

    space: int
    records: list[Record]


class RecordPage(msgspec.Struct, frozen=True, array_like=True):
    """Records of one kind and space."""

    space: int
    records: list[Record]


_CorePage: TypeAlias = DefinitionPage | SpacePage | DeletedPage | JournalPage | KeptPage | OpaquePage
_encode = msgspec.msgpack.Encoder().encode
decode_core = msgspec.msgpack.Decoder(_CorePage).decode
decode_records = msgspec.msgpack.Decoder(RecordPage).decode


class SpaceImage:
    """One space as of the moment when this is made, while writers go on. Call ``close`` when it is written."""

    def __init__(self, name: str, tables: SpaceTables) -> None:
        self.name = name
        self.tables = tables
        with tables.lock:
            self.view = SnapshotView(tables)
            self.head = self.view.head()
            self.keys = {kind: list(table.by_key) for kind, table in tables.tables.items() if table.by_key}
            self.deleted = [(kind, key, revision) for (kind, key), revision in tables.tombstones.items()]
            self.journals = [(run, rows, len(rows)) for run, rows in tables.journals.items()]

    def close(self) -> None:
        """Let go of the state."""
        self.view.close()


Settle: TypeAlias = Callable[[SpaceImage, int, list[Record]], list[Record]]


class Image:
    """The whole state as of one moment; ``pages`` gives it as bytes, section by section."""

    def __init__(
        self,
        spaces: dict[str, SpaceTables],
        numbering: Numbering,
        opaque: list[OpaqueEntry],
        foreign: dict[int, list[bytes]],
    ) -> None:
        """Made under the write lock, so that all spaces are of one moment."""
        self._spaces = [SpaceImage(name, tables) for name, tables in sorted(spaces.items()) if tables.head.sequence]
        self._numbering = numbering
        self._definitions = list(numbering.definitions.values())
        self._opaque = list(opaque)
        self._foreign = {number: list(pages) for number, pages in foreign.items()}
        self._kinds = sorted({kind for space in self._spaces for kind in space.keys} - {CORE})
        self.sections = 1 + len(self._kinds) + len(self._foreign)

    def close(self) -> None:
        """Let go of the state."""
        for space in self._spaces:
            space.close()

    def records(self) -> Iterator[Record]:
        """All records, with references where values of blobs are elsewhere; before ``pages``."""
        for space in self._spaces:
            for kind, keys in space.keys.items():
                for start in range(0, len(keys), RECORDS_PER_PAGE):
                    yield from space.view.read_stored(kind, keys[start : start + RECORDS_PER_PAGE])

    def pages(self, settle: Settle) -> Iterator[Page]:
        """(section, page) in order; each section begins with an empty page, and writers go on between two pages.

        ``settle`` gives records as they are to be written, with their large values elsewhere.
        """
        yield CORE, b""
        for page in self._core(settle):
            yield CORE, _encode(page)
        for kind in self._kinds:
            number = self._numbering.kind(kind)
            yield number, b""
            for place, space in enumerate(self._spaces):
                keys = iter(space.keys.pop(kind, ()))
                while some := list(islice(keys, RECORDS_PER_PAGE)):
                    records = settle(space, kind, space.view.read_stored(kind, some))
                    yield number, _encode(RecordPage(place, records))
        for number, pages in self._foreign.items():
            yield number, b""
            for data in pages:
                yield number, data

    def _core(self, settle: Settle) -> Iterator[_CorePage]:
        for one in self._definitions:
            yield DefinitionPage(one.name, one.id, one.types)
        for place, space in enumerate(self._spaces):
            yield SpacePage(place, space.name, space.head.sequence, space.head.time, space.head.floor)
            deleted = iter([(self._numbering.kind(kind), key, at) for kind, key, at in space.deleted])
            while some := list(islice(deleted, RECORDS_PER_PAGE)):
                yield DeletedPage(place, some)
            kept = iter(space.keys.pop(CORE, ()))
            while keys := list(islice(kept, RECORDS_PER_PAGE)):
                yield KeptPage(place, settle(space, CORE, space.view.read_stored(CORE, keys)))
            for run, rows, count in space.journals:
                for start in range(0, count, RECORDS_PER_PAGE):
                    part = rows[start : min(start + RECORDS_PER_PAGE, count)]
                    yield JournalPage(place, run, [renumbered(row, self._numbering.type) for row in part])
        opaque = iter(self._opaque)
        while entries := list(islice(opaque, RECORDS_PER_PAGE)):
            yield OpaquePage(entries)


def renumbered(row: JournalRow, number: Callable[[int], int]) -> JournalRow:
    """The row with its entry type as the other side calls it."""
    entry = row.entry
    other = number(entry.type)
    if other == entry.type:
        return row
    return msgspec.structs.replace(row, entry=Entry(other, entry.version, entry.payload))


class ImageReader:
    """Fills empty tables from pages. One thread."""

    def __init__(
        self, registry: PrimitiveRegistry, numbering: Numbering, tables_of: Callable[[str], SpaceTables]
    ) -> None:
        self.opaque: list[OpaqueEntry] = []
        self.foreign: dict[int, list[bytes]] = {}
        self.records = 0
        self.blob_ends: dict[int, int] = {}
        """How long each blob file must be to which a record refers, by number."""
        self._registry = registry
        self._numbering = numbering
        self._tables_of = tables_of
        self._spaces: dict[int, SpaceTables] = {}

    def section(self, number: int, pages: list[Any]) -> None:
        """Take in one section; msgspec's errors for what is no page of ours."""
        if number == CORE:
            for page in pages:
                self._core(decode_core(page))
            return
        kind = self._numbering.own_kind(number)
        registered = any(one.id == kind for one in self._registry)
        try:
            decoded = [decode_records(page) for page in pages]
        except msgspec.MsgspecError:
            if registered:
                raise
            self.foreign[number] = [bytes(page) for page in pages]
            return
        for page in decoded:
            self.records += len(page.records)
            self._spaces[page.space].table(kind).load(page.records)
            for record in page.records:
                if record.blobs:
                    self._note_refs(record)

    def _note_refs(self, record: Record) -> None:
        for ref in refs_of(record):
            number, _, end = place_of(ref)
            self.blob_ends[number] = max(self.blob_ends.get(number, 0), end)

    def _core(self, page: _CorePage) -> None:
        match page:
            case DefinitionPage(name, id, types):
                self._numbering.define(Definition(name, id, types))
            case SpacePage(number, name, sequence, time, floor):
                tables = self._spaces[number] = self._tables_of(name)
                tables.head = Head(sequence, time, floor)
            case DeletedPage(space, keys):
                self._spaces[space].tombstones.update(
                    {(self._numbering.own_kind(kind), key): revision for kind, key, revision in keys}
                )
            case JournalPage(space, run, rows):
                self._spaces[space].journals.setdefault(run, []).extend(
                    [renumbered(row, self._numbering.own_type) for row in rows]
                )
            case KeptPage(space, records):
                self._spaces[space].table(CORE).load(records)
            case _:
                self.opaque.extend(page.entries)
