"""Large values in append-only files of their own, so that neither memory nor each snapshot has to hold them.

A value gets here when a snapshot is written, and a snapshot tells where it is. Promises: a value is durable before the
snapshot that tells of it is in place; what ``load`` returns is what was appended, or CorruptionError names the file and
the byte; nothing that a snapshot can tell of is ever written over. Knows values, not whose they are.

All integers are little-endian; each crc is CRC-32 as in zlib.

    blob file header, 40 bytes
      magic                 8 bytes   "HOLDBLOB"
      format version        u32       1
      number                u64       from 1; the file's name
      store id              16 bytes
      header crc            u32       of the 36 bytes before it

    value, length + 8 bytes
      length                u32       of the data, in bytes
      data
      crc                   u32       of the data

Bytes that no snapshot refers to mean nothing: values that are dead, and what a crash left.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from pathlib import Path
from struct import Struct as Layout
from typing import Final
from zlib import crc32

from holdfast.errors import CorruptionError, FormatError, ReadError
from holdfast.log.files import Disk, LogFile
from holdfast.model import BlobRef, BlobSource

MAGIC: Final = b"HOLDBLOB"
FORMAT_VERSION: Final = 1
BLOB_FILE_BYTES: Final = 256 * 1024 * 1024
"""A file that is as long takes no more values."""
BLOB_BYTES: Final = 4096
"""Values that are longer go into files."""
_HEADER: Final = Layout("<8sIQ16s")
_WORD: Final = Layout("<I")
HEADER_BYTES: Final = _HEADER.size + _WORD.size
_NAME = re.compile(r"(\d{20})\.blobs", re.ASCII).fullmatch


def blob_folder(directory: Path) -> Path:
    """Where the blob files of a store are."""
    return directory / "blobs"


def blob_path(directory: Path, number: int) -> Path:
    """The blob file of a number."""
    return blob_folder(directory) / f"{number:020d}.blobs"


def find_blob_files(directory: Path, disk: Disk) -> list[int]:
    """The number of each blob file in order; other names are left out. ReadError."""
    folder = blob_folder(directory)
    if not disk.exists(folder):
        return []
    return [int(name[1]) for name in map(_NAME, disk.list(folder)) if name]


class BlobFile:
    """A blob file that is open to be read, even after its name was removed. Thread-safe."""

    def __init__(self, directory: Path, disk: Disk, number: int, store_id: bytes) -> None:
        """Read the header.

        Raises:
            CorruptionError: it is no whole header, or that of another file. FormatError: a newer version wrote it.
            ReadError: its cause is FileNotFoundError where there is no such file.
        """
        self.path = blob_path(directory, number)
        self._file = disk.open_read(self.path)
        head = self._file.read(0, HEADER_BYTES)
        if len(head) < HEADER_BYTES or head[:8] != MAGIC or crc32(head[: _HEADER.size]) != _word(head, _HEADER.size):
            raise self._damage(0, "its header does not match its checksum")
        _, version, name, owner = _HEADER.unpack_from(head)
        if version > FORMAT_VERSION:
            raise FormatError(f"{self.path} has version {version} of the format; this Holdfast reads {FORMAT_VERSION}")
        if name != number or owner != store_id:
            raise self._damage(0, "its header is that of another file or store")

    @property
    def size(self) -> int:
        """How many bytes it had when it was opened."""
        return self._file.size

    def load(self, ref: BlobRef) -> bytes:
        """Return a value, checked; CorruptionError, ReadError."""
        data = self._file.read(ref.offset - _WORD.size, ref.length + 2 * _WORD.size)
        if len(data) < ref.length + 2 * _WORD.size:
            raise self._damage(ref.offset, f"it ends before the end of a value of {ref.length} bytes")
        value = data[_WORD.size : -_WORD.size]
        if _word(data, 0) != ref.length or not crc32(value) == ref.crc == _word(data, _WORD.size + ref.length):
            raise self._damage(ref.offset, f"a value of {ref.length} bytes does not match its checksum")
        return value

    def _damage(self, offset: int, why: str) -> CorruptionError:
        return CorruptionError(f"{self.path} at byte {offset} is damaged: {why}", path=str(self.path), offset=offset)


def _word(data: bytes, offset: int) -> int:
    (word,) = _WORD.unpack_from(data, offset)
    return int(word)


class LostFile:
    """In the place of a blob file that cannot be read: nothing of it can be loaded."""

    def __init__(self, error: CorruptionError | ReadError) -> None:
        self.error = error

    def load(self, ref: BlobRef) -> bytes:
        """Raise what is wrong with the file."""
        raise self.error


def open_blob_files(directory: Path, disk: Disk, store_id: bytes, ends: Mapping[int, int]) -> dict[int, BlobFile]:
    """Open the files that a snapshot refers to; ``ends`` tells of each number how long it must be.

    CorruptionError if one is missing, too short or another's. FormatError. ReadError.
    """
    files = {}
    for number, end in ends.items():
        try:
            file = files[number] = BlobFile(directory, disk, number, store_id)
        except ReadError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            path = str(blob_path(directory, number))
            raise CorruptionError(f"{path} is missing, and a snapshot refers to it", path=path) from error
        if file.size < end:
            path = str(file.path)
            raise CorruptionError(
                f"{path} at byte {file.size} ends; {end} bytes are told of", path=path, offset=file.size
            )
    return files


def open_blob_files_that_are_left(
    directory: Path, disk: Disk, store_id: bytes, ends: Mapping[int, int]
) -> dict[int, BlobFile | LostFile]:
    """As ``open_blob_files``, with a ``LostFile`` for each that cannot be used. FormatError."""
    files: dict[int, BlobFile | LostFile] = {}
    for number in ends:
        try:
            files[number] = BlobFile(directory, disk, number, store_id)
        except (CorruptionError, ReadError) as error:
            files[number] = LostFile(error)
    return files


def place_of(ref: BlobRef) -> tuple[int, int, int]:
    """(number of the file, first byte, byte behind the last) of a value with what stands around it."""
    return ref.file, ref.offset - _WORD.size, ref.offset + ref.length + _WORD.size


class BlobWriter:
    """Appends values to the newest file of a store, or to a new one. For one thread at a time.

    ``files`` are those that can be read, by number; the mapping is replaced, never changed. What was appended is
    durable after ``sync``, and ``end`` leaves it there; ``give_back`` takes it away, which is all to do after an error.
    """

    def __init__(
        self,
        directory: Path,
        disk: Disk,
        store_id: bytes,
        files: Mapping[int, BlobSource],
        file_bytes: int = BLOB_FILE_BYTES,
    ) -> None:
        self.files = files
        self._directory = directory
        self._disk = disk
        self._store_id = store_id
        self._file_bytes = file_bytes
        self._next = max([*find_blob_files(directory, disk), *files], default=0) + 1
        self._number = max(files, default=0)
        self._file: LogFile | None = None
        self._begun: list[tuple[int, LogFile, int]] = []

    def append(self, data: bytes) -> BlobRef:
        """Write a value; return where it is.

        Raises WriteError, DiskFullError or PermissionDeniedError.
        """
        file = self._file
        if file is None or file.size >= self._file_bytes:
            file = self._file = self._begin()
        crc = crc32(data)
        ref = BlobRef(self._number, file.size + _WORD.size, len(data), crc)
        file.write(b"".join((_WORD.pack(len(data)), data, _WORD.pack(crc))))
        return ref

    def _begin(self) -> LogFile:
        """Open the newest file if there is room in it and nothing was written to it yet; else the next."""
        if self._file is None and self._number in self.files:
            path = blob_path(self._directory, self._number)
            if self._disk.size(path) < self._file_bytes:
                file = self._disk.open_append(path)
                self._begun.append((0, file, file.size))
                return file
        number, self._next = self._next, self._next + 1
        self._disk.make_directories(blob_folder(self._directory))
        file = self._disk.open_append(blob_path(self._directory, number), create=True, exclusive=True)
        self._begun.append((number, file, 0))
        head = _HEADER.pack(MAGIC, FORMAT_VERSION, number, self._store_id)
        file.write(head + _WORD.pack(crc32(head)))
        self.files = {**self.files, number: BlobFile(self._directory, self._disk, number, self._store_id)}
        self._number = number
        return file

    def leave(self, numbers: Container[int]) -> None:
        """Append to none of these files."""
        if self._number in numbers:
            self._number = 0

    def sync(self) -> None:
        """Put what was appended on stable storage, with the names of the files."""
        for _, file, _ in self._begun:
            file.sync()
        if any(number for number, _, _ in self._begun):
            self._disk.sync_directory(blob_folder(self._directory))

    def end(self) -> None:
        """Nothing is appended for now, and what was stays."""
        for _, file, _ in self._begun:
            file.close()
        self._begun, self._file = [], None

    def give_back(self) -> None:
        """Take away what was appended since the last ``end``; the next value goes to a new file."""
        begun = self._begun
        self.end()
        self._number = 0
        for number, file, size in begun:
            if number:
                self._disk.remove(file.path)
                self.files = {other: one for other, one in self.files.items() if other != number}
            else:
                again = self._disk.open_append(file.path)
                try:
                    again.truncate(size)
                finally:
                    again.close()

    def remove(self, needed: Container[int]) -> dict[int, BlobSource]:
        """Remove the files that are not needed; return those of them that were open, which can still be read."""
        for number in find_blob_files(self._directory, self._disk):
            if number not in needed:
                self._disk.remove(blob_path(self._directory, number))
        gone = {number: file for number, file in self.files.items() if number not in needed}
        if gone:
            self.files = {number: file for number, file in self.files.items() if number in needed}
        return gone
