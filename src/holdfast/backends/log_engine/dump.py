"""A log as people read it: frames and entries in order, with faults where they are.

Needs no lock, changes nothing, folds nothing. Promises: never raises for damaged bytes, for what a writer is writing,
or for files that it removes meanwhile; the end of a log that is not whole is told as such.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from holdfast.backends.log_engine import transcript
from holdfast.backends.log_engine.describe import as_json, describe
from holdfast.backends.log_engine.image import CORE, DefinitionPage, decode_core
from holdfast.backends.log_engine.numbering import Definition, Numbering
from holdfast.backends.log_engine.salvage import shown_time
from holdfast.errors import CorruptionError, FormatError, InitError, ReadError
from holdfast.log.files import Disk
from holdfast.log.frame import Footer, Frame, SegmentHeader
from holdfast.log.segments import find_segments
from holdfast.log.snapshot import SnapshotReader, find_snapshots
from holdfast.log.survey import Finding, survey
from holdfast.registry import PrimitiveRegistry

_SHORT = 72


class DumpedEntry(msgspec.Struct, frozen=True):
    """One entry: "kv put", the key as people read it, its fields as JSON cut short, the bytes of its payload."""

    entry: str
    key: str | None
    payload: str
    bytes: int
    problem: str | None = None


class DumpedFrame(msgspec.Struct, frozen=True, tag="frame"):
    """One transaction; ``durable`` is the last one that was known to be on stable storage when it was written."""

    file: str
    offset: int
    bytes: int
    sequence: int
    time: str
    durable: int
    space: str | None
    commit: int | None
    run: str | None
    entries: list[DumpedEntry]


class DumpedNote(msgspec.Struct, frozen=True, tag="note"):
    """Something else that stands in the log: ``what`` is "segment", "seal", "fault" or "tail"."""

    file: str
    what: str
    offset: int
    bytes: int
    text: str


Dumped: TypeAlias = DumpedFrame | DumpedNote


def dump(
    directory: Path,
    registry: PrimitiveRegistry,
    *,
    start: int = 1,
    limit: int | None = None,
    space: str | None = None,
    disk: Disk | None = None,
) -> Iterator[Dumped]:
    """What the log of a store holds, in order.

    Args:
        directory: of the store.
        registry: the primitives that can tell what entries mean.
        start: the first transaction that is told.
        limit: at most so many transactions.
        space: only those of this space; notes are told all the same.
        disk: what reads the files.

    Raises InitError if there is no log, ReadError if the medium cannot list it.
    """
    disk = disk or Disk()
    segments = find_segments(directory, disk)
    if not segments:
        raise InitError(f"{directory} holds no log; give the directory of a log store")
    one = _Dump(directory, registry, disk)
    if segments[0][0] > 1 or start > 1:
        one.take_definitions()
    left = limit
    for place, (first, path) in enumerate(segments):
        following = segments[place + 1][0] if place + 1 < len(segments) else None
        if following is not None and following <= start:
            continue
        for found in one.segment(path, first, is_last=following is None):
            if isinstance(found, DumpedFrame):
                if found.sequence < start or (space is not None and found.space != space):
                    continue
                if left is not None:
                    if not left:
                        return
                    left -= 1
            yield found


class _Dump:
    def __init__(self, directory: Path, registry: PrimitiveRegistry, disk: Disk) -> None:
        self._directory = directory
        self._registry = registry
        self._disk = disk
        self._numbering = Numbering(registry)

    def take_definitions(self) -> None:
        """Learn from the newest snapshot that can be read what the numbers of users' primitives mean."""
        for _, path in find_snapshots(self._directory, self._disk):
            try:
                reader = SnapshotReader(path, self._disk)
                for number, data in reader.sound_sections():
                    for page in reader.pages(data) if number == CORE else ():
                        one = decode_core(page)
                        if isinstance(one, DefinitionPage):
                            self._numbering.define(Definition(one.name, one.id, one.types))
                return
            except (CorruptionError, FormatError, ReadError, msgspec.MsgspecError):
                continue  # an older one may be sound; without any, the entries are told by their numbers

    def segment(self, path: Path, first: int, *, is_last: bool) -> Iterator[Dumped]:
        """What one segment holds."""
        try:
            buffer = self._disk.read(path)
        except ReadError as error:
            yield DumpedNote(path.name, "fault", 0, 0, str(error))
            return
        findings = list(survey(buffer, first))
        for item in findings:
            is_end = is_last and item is findings[-1]
            yield self._frame(path, item) if isinstance(item, Frame) else _note(path.name, item, is_end)

    def _frame(self, path: Path, frame: Frame) -> DumpedFrame:
        commit, entries = None, frame.entries
        try:
            commit, definitions, after = transcript.read(frame, str(path))
            entries = after if commit is not None else entries
            for definition in definitions:
                self._numbering.define(definition)
        except CorruptionError:
            pass  # the entries below tell what they can
        told = []
        for entry in entries:
            said = describe(entry, self._registry, self._numbering)
            told.append(DumpedEntry(said.name, said.key, _short(said.fields), len(entry.payload), said.problem))
        return DumpedFrame(
            path.name, frame.offset, frame.end - frame.offset, frame.sequence, shown_time(frame.time), frame.durable,
            None if commit is None else commit.space, None if commit is None else commit.sequence,
            None if commit is None or commit.run is None else commit.run.hex(), told,
        )  # fmt: skip


def _note(file: str, item: Finding, is_end: bool) -> DumpedNote:
    if isinstance(item, SegmentHeader):
        text = f"begins with transaction {item.first}, version {item.version}, store {item.store_id.hex()}"
        return DumpedNote(file, "segment", 0, 0, text)
    if isinstance(item, Footer):
        return DumpedNote(file, "seal", item.offset, item.end - item.offset, f"sealed after transaction {item.last}")
    assert not isinstance(item, Frame)
    what = "tail" if is_end and item.by_crash else "fault"
    text = f"not whole, or not yet: {item.why}" if what == "tail" else item.why
    return DumpedNote(file, what, item.offset, item.end - item.offset, text)


def _short(fields: dict[str, Any]) -> str:
    """The fields that say something, as JSON, cut to a line."""
    text = as_json({name: value for name, value in fields.items() if value not in (None, [], {}, b"")})
    return text if len(text) <= _SHORT else text[: _SHORT - 3] + "..."
