"""Moving large values out of resident records, as a snapshot is written.

A value over 4 KiB that is in no blob file yet is appended to one, and the snapshot holds a reference in its place; so
does the resident record once the snapshot is in place. So memory holds the values that came since the last snapshot,
and a snapshot writes no value twice - but those of files that are mostly dead, which are moved so that the rest of such
a file can go. Knows records and files, no pages of snapshots.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

from holdfast.backends.log_engine.image import Image, SpaceImage
from holdfast.errors import CorruptionError, ReadError
from holdfast.log.blobs import (
    BLOB_BYTES,
    HEADER_BYTES,
    BlobFile,
    BlobWriter,
    LostFile,
    blob_path,
    find_blob_files,
    open_blob_files_that_are_left,
    place_of,
)
from holdfast.log.files import Disk
from holdfast.log.snapshot import snapshot_folder
from holdfast.model import BlobRef, Record, refs_of
from holdfast.tables import SpaceTables, resolved, with_blobs

Lost: TypeAlias = Callable[[str, int, Record, str, CorruptionError | ReadError], None]
"""Told of a value that cannot be read: space, kind, record, name of the blob, what is wrong."""
Move: TypeAlias = tuple[SpaceTables, int, bytes, Any, Any]
"""(space, kind, key, blobs before, blobs after)"""
_MOVED_AT_ONCE = 500
_logger = logging.getLogger("holdfast")


class Offload:
    """The large values of one snapshot. For one thread.

    ``used`` are the files to which the snapshot refers, ``moves`` what is to be done to the resident records.
    """

    def __init__(self, writer: BlobWriter, moving: Container[int] | None, lost: Lost | None = None) -> None:
        """``moving`` are the files that are to be given up (None: all). ``lost`` is told of a value in them that cannot
        be read, and the record goes on without it; without ``lost`` it stays where it is."""
        self.used: set[int] = set()
        self.moves: list[Move] = []
        self._writer = writer
        self._moving = moving
        self._lost = lost

    def settle(self, space: SpaceImage, kind: int, records: list[Record]) -> list[Record]:
        """The records as a snapshot holds them."""
        return [self._settled(space, kind, record) if record.blobs else record for record in records]

    def _settled(self, space: SpaceImage, kind: int, record: Record) -> Record:
        before: Any = record.blobs
        blobs = []
        is_same = True
        for name, value in before:
            kept = value
            if type(value) is BlobRef:
                if self._moving is None or value.file in self._moving:
                    kept = self._moved(space, kind, record, name, value)
            elif len(value) > BLOB_BYTES:
                kept = self._writer.append(value)
            if type(kept) is BlobRef:
                self.used.add(kept.file)
            if kept is not None:
                blobs.append((name, kept))
            is_same = is_same and kept is value
        if is_same:
            return record
        after: Any = tuple(blobs)
        self.moves.append((space.tables, kind, record.key, before, after))
        return with_blobs(record, after)

    def _moved(self, space: SpaceImage, kind: int, record: Record, name: str, ref: BlobRef) -> BlobRef | None:
        try:
            value = space.view.sources()[ref.file].load(ref)
        except (CorruptionError, ReadError) as error:
            if self._lost is None:
                _logger.error("a blob %r cannot be moved, and stays where it is: %s", name, error)
                return ref
            self._lost(space.name, kind, record, name, error)
            return None
        return self._writer.append(value)

    def seal(self) -> None:
        """Put what was appended on stable storage."""
        self._writer.sync()

    def end(self) -> None:
        """The snapshot is in place, or may be."""
        self._writer.end()

    def give_back(self) -> None:
        """The snapshot will never be in place."""
        self._writer.give_back()


class LargeValues:
    """The blob files of a store that is open for writing, and which of them each of its snapshots needs.

    ``spaces`` are those of the store. For whoever is writing a snapshot; ``write_lock`` keeps commits away.
    """

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        writer: BlobWriter,
        spaces: Mapping[str, SpaceTables],
        write_lock: AbstractContextManager[Any],
    ) -> None:
        self._directory = directory
        self._disk = disk
        self._writer = writer
        self._spaces = spaces
        self._write_lock = write_lock
        self._used: dict[int, frozenset[int]] = {}

    def close(self) -> None:
        """Let go of the files; what is still read in them can be read to the end."""
        self._writer.files = {}

    def uses(self, sequence: int, files: Iterable[int]) -> None:
        """Note to which files the snapshot of a sequence refers."""
        self._used[sequence] = frozenset(files)

    def begin(self, image: Image, sequence: int, *, exact: bool) -> Offload:
        """What is to be done for the snapshot of an image: mostly dead files are given up (``exact``: those with
        anything dead in them). ReadError, and the image is closed."""
        self._used.pop(sequence, None)
        try:
            moving = self._worn(image, 1 if exact else 2)
        except BaseException:
            image.close()
            raise
        self._writer.leave(moving)
        return Offload(self._writer, moving)

    def _worn(self, image: Image, times: int) -> frozenset[int]:
        """The files whose live bytes, so many times, are fewer than their bytes."""
        files = self._writer.files
        if not files:
            return frozenset()
        live: Counter[int] = Counter()
        for record in image.records():
            for ref in refs_of(record):
                _, begin, end = place_of(ref)
                live[ref.file] += end - begin
        sizes = {number: self._disk.size(blob_path(self._directory, number)) - HEADER_BYTES for number in files}
        return frozenset(number for number, size in sizes.items() if times * live[number] < size)

    def placed(self, sequence: int, offload: Offload) -> None:
        """The snapshot is in place: let the resident records refer to what it refers to, unless they changed since."""
        self.uses(sequence, offload.used)
        moves = offload.moves
        for tables in {id(tables): tables for tables, *_ in moves}.values():
            tables.move_sources(self._writer.files, {})
        for start in range(0, len(moves), _MOVED_AT_ONCE):
            with self._write_lock:  # no commit is on its way that has seen the references of before
                for tables, kind, key, before, after in moves[start : start + _MOVED_AT_ONCE]:
                    with tables.lock:
                        tables.move_blobs(kind, key, before, after)

    def remove_dead(self, kept: Sequence[int]) -> None:
        """Remove the files to which none of the snapshots refers that are kept, given by their sequences."""
        if not all(sequence in self._used for sequence in kept):  # pragma: no cover - only if others write snapshots
            return  # one was made before this store was opened; there will be newer ones
        self._used = {sequence: self._used[sequence] for sequence in kept}
        needed = frozenset[int]().union(*self._used.values())
        if needed.issuperset(find_blob_files(self._directory, self._disk)):
            return
        self._disk.sync_directory(snapshot_folder(self._directory))  # the snapshots that are gone stay gone
        gone = self._writer.remove(needed)
        for tables in list(self._spaces.values()):
            if tables.sources is not None:
                tables.move_sources(self._writer.files, gone)


class WholeRecords:
    """Gives records of a snapshot their large values back, each compared with its checksum."""

    def __init__(self, directory: Path, disk: Disk, store_id: bytes) -> None:
        self._directory = directory
        self._disk = disk
        self._store_id = store_id
        self._files: dict[int, BlobFile | LostFile] = {}

    def of(self, record: Record) -> Record:
        """The record with all its values; CorruptionError, ReadError, FormatError."""
        refs = refs_of(record)
        missing = {ref.file: 0 for ref in refs if ref.file not in self._files}
        if missing:
            self._files |= open_blob_files_that_are_left(self._directory, self._disk, self._store_id, missing)
        return resolved(record, self._files) if refs else record
