"""What a repair did not take, put aside as JSON Lines: one line an entry of the log, or a record of a snapshot.

    {"file", "offset", "transaction", "time", "space", "commit", "run", "entry", "key", "whole", "fields"}
    {"file", "offset", "space", "kind", "key", "version", "updated_at", "values"}

``whole`` is true where the entry carries all of a record, as it was written - which need not be what it was folded to.
Entries come in the order of the log. Bytes, times and UUIDs have the tags of the JSON codec. Promises: never raises for
what it cannot understand; such a line has ``problem``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from holdfast.backends.log_engine import transcript
from holdfast.backends.log_engine.describe import as_json, describe
from holdfast.backends.log_engine.image import CORE, DefinitionPage, RecordPage, SpacePage, decode_core, decode_records
from holdfast.backends.log_engine.numbering import Definition, Numbering
from holdfast.backends.log_engine.offload import WholeRecords
from holdfast.backends.log_engine.recovery import State
from holdfast.backends.log_engine.transcript import Commit
from holdfast.codec import from_microseconds
from holdfast.errors import CorruptionError, HoldfastError
from holdfast.log.files import Disk
from holdfast.log.frame import Frame
from holdfast.log.snapshot import SnapshotReader
from holdfast.model import Record
from holdfast.registry import PrimitiveRegistry

SALVAGED = "salvaged.jsonl"
_BYTES_PER_WRITE = 1024 * 1024


def commit_of(frame: Frame, path: Path) -> Commit | None:
    """The commit of a frame; None if it has none, or none that can be understood."""
    try:
        return transcript.read(frame, str(path))[0]
    except CorruptionError:
        return None


def write_salvage(
    path: Path,
    disk: Disk,
    state: State,
    registry: PrimitiveRegistry,
    snapshots: Sequence[SnapshotReader],
    frames: Sequence[tuple[Path, Frame]],
) -> int:
    """Write the file, durable; return how many lines it has. The numbers that the frames define are taken in."""
    file = disk.open_append(path, create=True, exclusive=True)
    count, waiting = 0, bytearray()
    try:
        for one in _lines(disk, state, registry, snapshots, frames):
            waiting += as_json(one).encode() + b"\n"
            count += 1
            if len(waiting) >= _BYTES_PER_WRITE:
                file.write(bytes(waiting))
                waiting.clear()
        file.write(bytes(waiting))
        file.sync()
    finally:
        file.close()
    disk.sync_directory(path.parent)
    return count


def _lines(
    disk: Disk,
    state: State,
    registry: PrimitiveRegistry,
    snapshots: Sequence[SnapshotReader],
    frames: Sequence[tuple[Path, Frame]],
) -> Iterator[dict[str, Any]]:
    for reader in snapshots:
        if reader.header.sequence > state.sequence:
            yield from _of_snapshot(reader, registry, disk)
    for path, frame in frames:
        yield from _of_frame(path, frame, registry, state.numbering)


def _of_frame(path: Path, frame: Frame, registry: PrimitiveRegistry, numbering: Numbering) -> Iterator[dict[str, Any]]:
    try:
        commit, definitions, entries = transcript.read(frame, str(path))
    except CorruptionError as error:
        commit, definitions, entries = None, [], ()
        yield {"file": path.name, "offset": frame.offset, "transaction": frame.sequence, "problem": str(error)}
    for definition in definitions:
        numbering.define(definition)
    where = {"file": path.name, "offset": frame.offset, "transaction": frame.sequence, "time": shown_time(frame.time)}
    if commit is not None:
        run = None if commit.run is None else commit.run.hex()
        where |= {"space": commit.space, "commit": commit.sequence, "run": run}
    for entry in entries:
        said = describe(entry, registry, numbering)
        problem = {} if said.problem is None else {"problem": said.problem}
        yield {**where, "entry": said.name, "key": said.key, "whole": said.whole, "fields": said.fields, **problem}


def _of_snapshot(reader: SnapshotReader, registry: PrimitiveRegistry, disk: Disk) -> Iterator[dict[str, Any]]:
    """The records of the sections that are sound."""
    numbering, spaces = Numbering(registry), dict[int, str]()
    whole = WholeRecords(reader.path.parent.parent, disk, reader.header.store_id)
    for number, data in reader.sound_sections():
        where: dict[str, Any] = {"file": reader.path.name}
        try:
            for page in reader.pages(data):
                where["offset"] = reader.offset
                if number != CORE:
                    yield from _of_page(
                        where, decode_records(page), numbering.own_kind(number), spaces, registry, whole
                    )
                    continue
                match decode_core(page):
                    case DefinitionPage(name, id, types):
                        numbering.define(Definition(name, id, types))
                    case SpacePage(place, name):
                        spaces[place] = name
                    case _:
                        pass
        except (CorruptionError, msgspec.MsgspecError) as error:
            yield {**where, "problem": f"section {number}: {error}"}


def _of_page(
    where: dict[str, Any],
    page: RecordPage,
    kind: int,
    spaces: dict[int, str],
    registry: PrimitiveRegistry,
    whole: WholeRecords,
) -> Iterator[dict[str, Any]]:
    space = spaces.get(page.space, f"number {page.space}")
    for record in page.records:
        yield {**where, "space": space, "kind": registry.name_of(kind), **_of_record(record, kind, registry, whole)}


def _of_record(record: Record, kind: int, registry: PrimitiveRegistry, whole: WholeRecords) -> dict[str, Any]:
    known: dict[str, Any] = {
        "key": record.key.hex(),
        "version": record.version,
        "updated_at": shown_time(record.updated_at),
    }
    primitive = next((one for one in registry if one.id == kind), None)
    if primitive is None:
        return {**known, "body": record.body, "problem": "no primitive here knows this kind"}
    try:
        return {**known, "key": primitive.key_text(record.key), "values": primitive.values(whole.of(record))}
    except (HoldfastError, msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
        return {**known, "body": record.body, "problem": str(error) or repr(error)}


def shown_time(microseconds: int) -> str:
    """A time as people read it; a number that is none stays one."""
    try:
        return from_microseconds(microseconds).isoformat(timespec="microseconds").replace("+00:00", "Z")
    except HoldfastError:
        return f"{microseconds} microseconds"
