"""The only place that opens, syncs, renames or locks files of ours, so that faults are injected in one place.

Promises: what ``sync`` returned from is on stable storage; a write is whole or raises (short writes and EINTR are
handled); errors of the operating system are mapped to our tree, with the original as ``__cause__``. A descriptor is
closed in a forked child, so only the parent writes and holds locks. Knows paths and descriptors, no formats.

``Disk`` has no state: one is as good as another, and ``holdfast.testing.faults`` puts one in its place that fails.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

from holdfast.errors import (
    ClosedError,
    DiskFullError,
    LockedError,
    PermissionDeniedError,
    ReadError,
    StorageError,
    WriteError,
)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_CREATED_MODE = 0o644


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable; OSError if that fails."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directories(path: Path) -> None:
    """Create a directory and its missing parents, each name durable before this returns; OSError if that fails."""
    for directory in _missing(path):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def _missing(path: Path) -> list[Path]:
    """The directories of ``path`` that are not there, the uppermost first."""
    missing: list[Path] = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    return missing[::-1]


def failure(error: OSError, doing: str, path: Path, other: type[StorageError] = WriteError) -> StorageError:
    """What to raise for an error of the operating system; ``other`` is what it is if it is nothing special."""
    what = f"{path} cannot be {doing}: {error.strerror}"
    if error.errno in _FULL:
        return DiskFullError(f"{what}; free some space, then open the store again")
    if error.errno in _DENIED:
        return PermissionDeniedError(f"{what}; check the owner and mode of the file and of its folder")
    return other(what)


def _data_sync() -> Callable[[int], object]:
    """The system's way to put the data of a file on stable storage."""
    full = getattr(fcntl, "F_FULLFSYNC", None)
    if full is not None:  # macOS: fsync leaves the data in the cache of the drive
        return lambda descriptor: fcntl.fcntl(descriptor, full)
    return os.fdatasync


class LogFile:
    """An open file that grows at its end; ``size`` is the end of what was written, in bytes.

    For one thread at a time. What is written is in the page cache, and durable after ``sync``. After ``close``, and in
    a forked child, every method raises ClosedError.
    """

    def __init__(self, path: Path, descriptor: int, size: int) -> None:
        self.path = path
        self.size = size
        self.is_closed = False
        self._descriptor = descriptor
        self._pwrite: Callable[[int, bytes | memoryview, int], int] = os.pwrite
        self._sync_data = _data_sync()
        _open_here.add(self)

    def write(self, data: bytes) -> None:
        """Write all of ``data`` at the end; after an error, a part of it may be there, and ``size`` counts that."""
        try:
            done = self._pwrite(self._descriptor, data, self.size)
        except OSError as error:
            raise self._failure(error, "written") from error
        self.size += done
        if done != len(data):
            self.size += self._write_rest(memoryview(data)[done:], self.size)

    def write_at(self, offset: int, data: bytes) -> None:
        """Write all of ``data`` at ``offset``; ``size`` stays what it is."""
        self._write_rest(memoryview(data), offset)

    def _write_rest(self, data: memoryview, offset: int) -> int:
        written = 0
        while written < len(data):
            try:
                done = self._pwrite(self._descriptor, data[written:], offset + written)
            except OSError as error:
                raise self._failure(error, "written") from error
            if not done:
                raise WriteError(f"{self.path} cannot be written: the system takes no bytes and gives no reason")
            written += done
        return written

    def sync(self) -> None:
        """Put what was written on stable storage. After an error nothing is known of it: never try again."""
        if self.is_closed:
            raise self._closed()
        try:
            self._sync_data(self._descriptor)
        except OSError as error:
            raise self._failure(error, "synced") from error

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes, what was reserved beyond them included."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise self._failure(error, "cut") from error
        self.size = size

    def reserve(self, size: int) -> None:
        """Allot space up to ``size`` bytes from the start, read as zeros until written; ``LogFile.size`` stays.

        A sync that need not allot space is half as long again as fast. WriteError where the system cannot.
        """
        if not hasattr(os, "posix_fallocate"):
            raise WriteError(f"{self.path} cannot be extended: this system reserves no space")
        try:
            os.posix_fallocate(self._descriptor, 0, size)
        except OSError as error:
            raise self._failure(error, "extended") from error

    def close(self) -> None:
        """Close without a sync; idempotent."""
        self.is_closed = True
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                os.close(descriptor)
            except OSError as error:
                raise failure(error, "closed", self.path) from error

    def _failure(self, error: OSError, doing: str) -> StorageError | ClosedError:
        return self._closed() if self.is_closed else failure(error, doing, self.path)

    def _closed(self) -> ClosedError:
        return ClosedError(f"{self.path} is closed here; a forked child opens the store for itself")


class ReadFile:
    """A file that is open to be read, even after its name was removed; closed with the last reference to it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.size = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._close = os.close

    def read(self, offset: int, count: int) -> bytes:
        """The bytes from ``offset`` on: ``count``, or as many as there are. ReadError."""
        try:
            data = os.pread(self._descriptor, count, offset)
            while 0 < len(data) < count and (more := os.pread(self._descriptor, count - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise failure(error, "read", self.path, ReadError) from error
        return data

    def __del__(self) -> None:
        self._close(self._descriptor)


class Lock:
    """The lock of a file, held until ``release`` or the end of the process, whatever ends it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        _open_here.add(self)

    def release(self) -> None:
        """Let another process have it; idempotent. The file stays, because removing it would race with a taker."""
        self.close()

    def close(self) -> None:
        """Drop this process's hold; a lock that a parent has stays with the parent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


_open_here: WeakSet[LogFile | Lock] = WeakSet()


def _close_in_child() -> None:
    for one in list(_open_here):
        one.close()


os.register_at_fork(after_in_child=_close_in_child)


class Disk:
    """What the log does with files. Has no state, and is safe from any thread."""

    def open_append(self, path: Path, *, create: bool = False, exclusive: bool = False) -> LogFile:
        """Open a file to write at its end; ``exclusive``: it must not be there yet. Its name is not synced."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0) | (os.O_EXCL if exclusive else 0)
        try:
            descriptor = os.open(path, flags, _CREATED_MODE)
        except OSError as error:
            raise failure(error, "opened", path) from error
        return self._opened(path, descriptor, os.fstat(descriptor).st_size)

    def _opened(self, path: Path, descriptor: int, size: int) -> LogFile:
        return LogFile(path, descriptor, size)

    def read(self, path: Path, offset: int = 0, most: int = -1) -> bytes:
        """The bytes of a file from ``offset`` on, all or at most ``most``.

        ReadError; its cause is FileNotFoundError where there is no such file.

        A copy, not a map: a file that is cut, or a medium that fails, under a map kills the process.
        """
        try:
            with open(path, "rb", buffering=0) as file:
                file.seek(offset)
                return file.read(most)
        except OSError as error:
            raise failure(error, "read", path, ReadError) from error

    def open_read(self, path: Path) -> ReadFile:
        """Open a file to read parts of it again and again.

        ReadError; its cause is FileNotFoundError where there is no such file.
        """
        try:
            return ReadFile(path, os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            raise failure(error, "opened", path, ReadError) from error

    def size(self, path: Path) -> int:
        """The length of a file in bytes; ReadError."""
        try:
            return path.stat().st_size
        except OSError as error:
            raise failure(error, "read", path, ReadError) from error

    def exists(self, path: Path) -> bool:
        """Whether there is something of this name."""
        return path.exists()

    def list(self, directory: Path) -> list[str]:
        """The names in a directory, sorted; ReadError."""
        try:
            return sorted(os.listdir(directory))
        except OSError as error:
            raise failure(error, "listed", directory, ReadError) from error

    def rename(self, path: Path, target: Path) -> None:
        """Give a file another name, in place of what had it; durable after ``sync_directory``."""
        try:
            os.replace(path, target)
        except OSError as error:
            raise failure(error, "renamed", path) from error

    def remove(self, path: Path) -> None:
        """Remove a name; durable after ``sync_directory``."""
        try:
            os.unlink(path)
        except OSError as error:
            raise failure(error, "removed", path) from error

    def sync_directory(self, path: Path) -> None:
        """Make the names in a directory durable."""
        try:
            sync_directory(path)
        except OSError as error:
            raise failure(error, "synced", path) from error

    def make_directories(self, path: Path) -> None:
        """Create a directory and its missing parents; all names up to the root are durable when this returns.

        Those of directories that are there already too: a crash may have come between their creation and the sync.
        """
        for directory in _missing(path):
            self._make_directory(directory)
        for parent in path.absolute().parents:
            try:
                self.sync_directory(parent)
            except PermissionDeniedError:
                return  # what we may not even open was not made by us, nor was what is above it

    def _make_directory(self, path: Path) -> None:
        try:
            path.mkdir(exist_ok=True)
        except OSError as error:
            raise failure(error, "created", path) from error

    def write_whole(self, path: Path, data: bytes) -> None:
        """Put a file in place whole and durable, or not at all: beside it, synced, renamed, the name synced.

        The file beside it ends in ``.tmp``; one that a crash left is written over here, and never read.
        """
        beside = path.with_name(path.name + ".tmp")
        file = self.open_append(beside, create=True)
        try:
            file.truncate(0)
            file.write(data)
            file.sync()
        finally:
            file.close()
        self.rename(beside, path)
        self.sync_directory(path.parent)

    def lock(self, path: Path, owner: str) -> Lock:
        """Take the lock of a file, created if need be, and write ``owner`` into it: a line such as "pid 7 on host".

        Raises:
            LockedError: another process (or this one) has it; ``.owner`` is what that one wrote.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _CREATED_MODE)
        except OSError as error:
            raise failure(error, "opened", path) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = owner.encode() + b"\n"
            os.pwrite(descriptor, text, 0)
            os.ftruncate(descriptor, len(text))
        except BlockingIOError as error:
            holder = os.pread(descriptor, 512, 0).decode(errors="replace").partition("\n")[0] or None
            os.close(descriptor)
            raise LockedError(
                f"{path.parent} is open for writing by {holder or 'another process'}; close it there",
                owner=holder,
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise failure(error, "locked", path) from error
        return Lock(path, descriptor)

    def keep_out_writers(self, path: Path) -> Lock | None:
        """Let nobody take the lock of a file until this is released, without changing it; None if there is no file.

        Raises:
            LockedError: a process has it.
        """
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failure(error, "opened", path, ReadError) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 512, 0).decode(errors="replace").partition("\n")[0] or None
            os.close(descriptor)
            raise LockedError(
                f"{path.parent} is open for writing by {holder or 'another process'}; close it there", owner=holder
            ) from error
        return Lock(path, descriptor)
