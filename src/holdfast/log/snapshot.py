"""Snapshots: the state as of a sequence in one file, written beside the log and checked whenever it is read.

Promises: a snapshot is in place whole and durable, or not at all (written aside, synced, renamed); what is read equals
what was written, or CorruptionError names the file and the byte. Knows pages and sections, not what is in them.

All integers are little-endian; each crc is CRC-32 as in zlib.

    snapshot header, 52 bytes
      magic                 8 bytes   "HOLDSNAP"
      format version        u32       1
      section count         u32
      timestamp             i64       microseconds since 1970-01-01T00:00:00Z, when it was begun
      sequence covered      u64       all transactions up to it are in here, and none after it
      store id              16 bytes
      header crc            u32       of the 48 bytes before it

    section
      primitive id          u8        0: core
      length                u64       of the data, in bytes
      data                            pages: each length u32, and as many bytes
      crc                   u32       of the data, then of the 9 bytes before it

    crc                     u32       of the header crc and of all section crcs, in order, as u32; nothing follows
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from struct import Struct as Layout
from typing import Final
from zlib import crc32

import msgspec

from holdfast.errors import CorruptionError, FormatError, StorageError
from holdfast.log.files import Disk

MAGIC: Final = b"HOLDSNAP"
FORMAT_VERSION: Final = 1
PAGE_BYTES_MAX: Final = 2**31
_HEADER: Final = Layout("<8sIIqQ16s")
_SECTION: Final = Layout("<BQ")
_WORD: Final = Layout("<I")
HEADER_BYTES: Final = _HEADER.size + _WORD.size
_NAME = re.compile(r"(\d{20})\.snap", re.ASCII).fullmatch


class SnapshotHeader(msgspec.Struct, frozen=True):
    """What a snapshot says of itself."""

    sections: int
    timestamp: int
    sequence: int
    store_id: bytes


def snapshot_folder(directory: Path) -> Path:
    """Where the snapshots of a store are."""
    return directory / "snapshots"


def find_snapshots(directory: Path, disk: Disk) -> list[tuple[int, Path]]:
    """(sequence covered, file) of each snapshot, the newest first; other names are left out. ReadError."""
    folder = snapshot_folder(directory)
    if not disk.exists(folder):
        return []
    names = (_NAME(name) for name in disk.list(folder))
    return sorted(((int(name[1]), folder / name[0]) for name in names if name), reverse=True)


class SnapshotWriter:
    """Writes one snapshot: ``section`` and ``page`` in turn, then ``finish``; ``discard`` gives it up. One thread."""

    def __init__(self, directory: Path, disk: Disk, header: SnapshotHeader) -> None:
        """Begin a file beside the place of the snapshot; one that a crash left is written over."""
        folder = snapshot_folder(directory)
        disk.make_directories(folder)
        self.path = folder / f"{header.sequence:020d}.snap"
        self._beside = folder / f"{header.sequence:020d}.snap.tmp"
        self._disk = disk
        self.is_in_place = False
        """Whether the snapshot has its name, or may have it."""
        self._sections = header.sections
        self._file = disk.open_append(self._beside, create=True)
        self._file.truncate(0)
        head = _HEADER.pack(MAGIC, FORMAT_VERSION, header.sections, header.timestamp, header.sequence, header.store_id)
        crc = _WORD.pack(crc32(head))
        self._file.write(head + crc)
        self._crc = crc32(crc)
        self._id = -1
        self._begin = 0
        self._section_crc = 0

    @property
    def size(self) -> int:
        """How many bytes were written."""
        return self._file.size

    def section(self, primitive_id: int) -> None:
        """Begin the next section."""
        self._end_section()
        self._sections -= 1
        self._id, self._section_crc = primitive_id, 0
        self._file.write(_SECTION.pack(primitive_id, 0))  # the length is written when it is known
        self._begin = self._file.size

    def page(self, data: bytes) -> None:
        """Write one page of the section, with one write."""
        page = _WORD.pack(len(data)) + data
        self._section_crc = crc32(page, self._section_crc)
        self._file.write(page)

    def sync(self) -> None:
        """Bring what was written so far to the medium, so that ``finish`` has little left to wait for."""
        self._file.sync()

    def _end_section(self) -> None:
        if self._id < 0:
            return
        head = _SECTION.pack(self._id, self._file.size - self._begin)
        self._file.write_at(self._begin - _SECTION.size, head)
        crc = _WORD.pack(crc32(head, self._section_crc))
        self._file.write(crc)
        self._crc = crc32(crc, self._crc)

    def finish(self) -> Path:
        """Put the snapshot in place, durable."""
        self._end_section()
        if self._sections:
            raise AssertionError(f"{self._sections} sections of the snapshot were not written")
        self._file.write(_WORD.pack(self._crc))
        self._file.sync()
        self._file.close()
        self.is_in_place = True
        try:
            self._disk.rename(self._beside, self.path)
        except StorageError:
            self.is_in_place = False
            raise
        self._disk.sync_directory(self.path.parent)
        return self.path

    def discard(self) -> None:
        """Remove what was written; the name it was to have is not touched."""
        self._file.close()
        if self._disk.exists(self._beside):
            self._disk.remove(self._beside)


class SnapshotReader:
    """Reads a snapshot, checking everything before it is handed out. One thread."""

    def __init__(self, path: Path, disk: Disk) -> None:
        """Read the header.

        Raises:
            CorruptionError: it is no whole header. FormatError: a newer version wrote it. ReadError.
        """
        self.path = path
        self.offset = HEADER_BYTES
        self._buffer = memoryview(disk.read(path))
        if len(self._buffer) < HEADER_BYTES:
            raise self._damage(0, "it is shorter than its header")
        magic, version, sections, timestamp, sequence, store_id = _HEADER.unpack_from(self._buffer)
        (crc,) = _WORD.unpack_from(self._buffer, _HEADER.size)
        if magic != MAGIC or crc32(self._buffer[: _HEADER.size]) != crc:
            raise self._damage(0, "its header does not match its checksum")
        if version > FORMAT_VERSION:
            raise FormatError(f"{path} has version {version} of the format; this Holdfast reads {FORMAT_VERSION}")
        self.header = SnapshotHeader(sections, timestamp, sequence, store_id)
        self.size = len(self._buffer)

    def sections(self) -> Iterator[tuple[int, memoryview]]:
        """(primitive id, data) of each section, checked; CorruptionError at the first that is not sound."""
        place, crc = HEADER_BYTES, crc32(self._buffer[_HEADER.size : HEADER_BYTES])
        for number, begin, end, fault in self._walk():
            if fault is not None:
                raise fault
            self.offset = begin
            crc = crc32(self._buffer[end : end + _WORD.size], crc)
            yield number, self._buffer[begin:end]
            place = end + _WORD.size
        if place + _WORD.size != self.size or _WORD.unpack_from(self._buffer, place)[0] != crc:
            raise self._damage(place, "its end does not match its checksum")

    def sound_sections(self) -> Iterator[tuple[int, memoryview]]:
        """(primitive id, data) of each section that is sound by its own checksum, whatever is wrong beside it."""
        for number, begin, end, fault in self._walk():
            if fault is None:
                self.offset = begin
                yield number, self._buffer[begin:end]

    def _walk(self) -> Iterator[tuple[int, int, int, CorruptionError | None]]:
        """(primitive id, begin and end of the data, what is wrong) of each section, as far as its length leads."""
        place = HEADER_BYTES
        for _ in range(self.header.sections):
            begin = place + _SECTION.size
            if begin > self.size:
                yield 0, place, place, self._damage(place, "it ends before its last section")
                return
            number, length = _SECTION.unpack_from(self._buffer, place)
            end = begin + length
            if end + _WORD.size > self.size:
                why = f"the section {number} has {length} bytes, and {self.size - begin} are here"
                yield number, begin, begin, self._damage(place, why)
                return
            head = crc32(self._buffer[place:begin], crc32(self._buffer[begin:end]))
            is_sound = _WORD.unpack_from(self._buffer, end)[0] == head
            why = f"the section {number} does not match its checksum"
            yield number, begin, end, None if is_sound else self._damage(place, why)
            place = end + _WORD.size

    def pages(self, data: memoryview) -> Iterator[memoryview]:
        """The pages in the data of the section that came last; ``offset`` is the place of each in the file."""
        start, place = self.offset, 0
        while place < len(data):
            begin = place + _WORD.size
            if begin > len(data) or begin + _WORD.unpack_from(data, place)[0] > len(data):
                raise self._damage(start + place, "a section does not end with a page")
            self.offset, place = start + begin, begin + _WORD.unpack_from(data, place)[0]
            yield data[begin:place]

    def _damage(self, offset: int, why: str) -> CorruptionError:
        return CorruptionError(f"{self.path} at byte {offset} is damaged: {why}", path=str(self.path), offset=offset)
