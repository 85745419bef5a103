"""Files that are written whole, and the errors of the operating system."""

from __future__ import annotations

import errno
import os

import pytest

from holdfast.errors import DiskFullError, LockedError, PermissionDeniedError, ReadError, WriteError
from holdfast.log import files
from holdfast.log.files import Disk


def failing(code):
    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_is_replaced_whole_and_synced(tmp_path, monkeypatch):
    disk, path, synced = Disk(), tmp_path / "file", []
    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda descriptor, real=real: synced.append(descriptor) or real(descriptor))
    disk.write_whole(path, b"one")
    disk.write_whole(path, b"")
    disk.write_whole(path, b"two" * 100_000)
    assert disk.read(path) == b"two" * 100_000 and os.listdir(tmp_path) == ["file"]
    assert len(synced) >= 6
    disk.remove(path)
    with pytest.raises(ReadError) as caught:
        disk.read(path)
    assert isinstance(caught.value.__cause__, FileNotFoundError)
    with pytest.raises(WriteError):
        disk.remove(path)


@pytest.mark.parametrize(
    ("code", "error"),
    [(errno.ENOSPC, DiskFullError), (errno.EROFS, PermissionDeniedError), (errno.EIO, WriteError)],
)
def test_an_error_leaves_what_was_there(tmp_path, monkeypatch, code, error):
    disk, path = Disk(), tmp_path / "file"
    disk.write_whole(path, b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(code))
        patch.setattr(os, "fdatasync", failing(code))
        with pytest.raises(error, match="cannot be"):
            disk.write_whole(path, b"after")
        if error is not PermissionDeniedError:  # what we may not sync was not made by us
            with pytest.raises(error, match="cannot be"):
                disk.make_directories(tmp_path / "a" / "b")
    assert disk.read(path) == b"before"


def test_a_lock_is_held_by_one(tmp_path, monkeypatch):
    disk, path = Disk(), tmp_path / "lock"
    lock = disk.lock(path, "pid 7 on here")
    with pytest.raises(LockedError) as caught:
        disk.lock(path, "another")
    assert caught.value.owner == "pid 7 on here"
    lock.release()
    disk.lock(path, "another").release()
    with pytest.raises(WriteError, match="opened"):
        disk.lock(tmp_path / "none" / "lock", "me")
    monkeypatch.setattr(files.fcntl, "flock", failing(errno.ENOLCK))
    with pytest.raises(WriteError, match="locked"):
        disk.lock(path, "me")
