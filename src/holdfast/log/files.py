"""The only place that syncs, renames or locks files of ours, so that faults are injected in one place.

Promises: what returned is on stable storage; errors of the operating system are mapped to our tree where ``Disk`` is
used, with the original as ``__cause__``. Knows paths and descriptors, no formats.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from holdfast.errors import DiskFullError, LockedError, PermissionDeniedError, ReadError, StorageError, WriteError

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
    missing: list[Path] = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def failure(error: OSError, doing: str, path: Path, other: type[StorageError] = WriteError) -> StorageError:
    """What to raise for an error of the operating system; ``other`` is what it is if it is nothing special."""
    what = f"{path} cannot be {doing}: {error.strerror}"
    if error.errno in _FULL:
        return DiskFullError(f"{what}; free some space, then open the store again")
    if error.errno in _DENIED:
        return PermissionDeniedError(f"{what}; check the owner and mode of the file and of its folder")
    return other(what)


class Lock:
    """The lock of a file, held until ``release`` or the end of the process, whatever ends it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def release(self) -> None:
        """Let another process have it; the file stays, because removing it would race with a taker."""
        os.close(self._descriptor)


class Disk:
    """What is done with files. Has no state, and is safe from any thread."""

    def read(self, path: Path) -> bytes:
        """All bytes of a file; ReadError (its cause is FileNotFoundError if it is not there)."""
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read()
        except OSError as error:
            raise failure(error, "read", path, ReadError) from error

    def remove(self, path: Path) -> None:
        """Remove a name; durable after ``sync_directory``."""
        try:
            os.unlink(path)
        except OSError as error:
            raise failure(error, "removed", path) from error

    def make_directories(self, path: Path) -> None:
        """Create a directory and its missing parents, each name durable before this returns."""
        try:
            make_directories(path)
        except OSError as error:
            raise failure(error, "created", path) from error

    def write_whole(self, path: Path, data: bytes) -> None:
        """Put a file in place whole and durable, or not at all: beside it, synced, renamed, the name synced.

        The file beside it ends in ``.tmp``; one that a crash left is written over here, and never read.
        """
        beside = path.with_name(path.name + ".tmp")
        try:
            with open(beside, "wb", buffering=0) as file:
                written = memoryview(data)
                while written:
                    written = written[file.write(written) :]
                os.fsync(file.fileno())
            os.replace(beside, path)
            sync_directory(path.parent)
        except OSError as error:
            raise failure(error, "written", path) from error

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
        except OSError as error:
            holder = os.pread(descriptor, 512, 0).decode(errors="replace").partition("\n")[0] or None
            os.close(descriptor)
            if not isinstance(error, BlockingIOError):
                raise failure(error, "locked", path) from error
            message = f"{path} is locked by {holder or 'another process'}"
            raise LockedError(message, owner=holder) from error
        return Lock(path, descriptor)
