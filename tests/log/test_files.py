"""Files: what is durable when it returns, whole writes, and how errors of the system are told."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from weakref import WeakSet

import pytest

from holdfast.errors import (
    ClosedError,
    DiskFullError,
    LockedError,
    PermissionDeniedError,
    ReadError,
    WriteError,
)
from holdfast.log import files
from holdfast.log.files import Disk, LogFile


@pytest.fixture
def disk():
    return Disk()


def test_every_new_name_is_synced_in_its_parent(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    files.make_directories(tmp_path / "a" / "b" / "c")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    assert synced == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    files.make_directories(tmp_path / "a")
    assert len(synced) == 3


def test_names_are_durable_up_to_the_root_even_if_a_crash_left_them(tmp_path, disk, monkeypatch):
    synced = []
    monkeypatch.setattr(files, "sync_directory", synced.append)
    (tmp_path / "a").mkdir()
    disk.make_directories(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert synced == [tmp_path / "a", tmp_path, *tmp_path.parents]

    def denied_above(path):
        if path == tmp_path.parent:
            raise PermissionError(errno.EACCES, "Permission denied")
        synced.append(path)

    del synced[:]
    monkeypatch.setattr(files, "sync_directory", denied_above)
    disk.make_directories(tmp_path / "a" / "b")
    assert synced == [tmp_path / "a", tmp_path]


def test_a_file_grows_at_its_end(tmp_path, disk):
    path = tmp_path / "file"
    file = disk.open_append(path, create=True, exclusive=True)
    file.write(b"one")
    file.write(b"")
    file.write(b"two")
    file.write_at(1, b"NE")
    assert file.size == 6
    file.sync()
    file.close()
    file.close()
    file = disk.open_append(path)
    assert file.size == 6
    file.truncate(4)
    file.write(b"!")
    assert disk.read(path) == b"oNEt!"
    assert disk.read(path, 1, 2) == b"NE"
    assert disk.read(path, 9) == b""
    assert disk.size(path) == 5
    file.close()


def test_space_is_reserved_as_zeros_beyond_the_end(tmp_path, disk):
    file = disk.open_append(tmp_path / "file", create=True)
    file.write(b"ab")
    file.reserve(100)
    assert (file.size, disk.size(file.path)) == (2, 100)
    file.write(b"c")
    assert disk.read(file.path) == b"abc".ljust(100, b"\0")
    file.truncate(file.size)
    assert disk.read(file.path) == b"abc"
    file.close()


def test_a_system_that_cannot_reserve_says_so(tmp_path, disk, monkeypatch):
    monkeypatch.delattr("os.posix_fallocate")
    file = disk.open_append(tmp_path / "file", create=True)
    with pytest.raises(WriteError, match="reserves no space"):
        file.reserve(100)
    file.close()


@pytest.mark.parametrize("most", [1, 3])
def test_short_writes_are_completed(tmp_path, disk, most):
    file = disk.open_append(tmp_path / "file", create=True)
    real = file._pwrite
    file._pwrite = lambda descriptor, data, offset: real(descriptor, data[:most], offset)
    file.write(b"0123456789")
    file.write_at(2, b"xyzw")
    assert (file.size, disk.read(file.path)) == (10, b"01xyzw6789")
    file._pwrite = lambda *_: 0
    with pytest.raises(WriteError, match="takes no bytes"):
        file.write(b"more")
    file.close()


def test_a_write_that_fails_half_way_counts_what_is_there(tmp_path, disk):
    file = disk.open_append(tmp_path / "file", create=True)
    real, calls = file._pwrite, []

    def fails_then(descriptor, data, offset):
        calls.append(offset)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left")
        return real(descriptor, data[:3], offset)

    file._pwrite = fails_then
    with pytest.raises(DiskFullError):
        file.write(b"0123456789")
    assert disk.read(file.path) == b"012"
    file.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EACCES, PermissionDeniedError),
        (errno.EPERM, PermissionDeniedError),
        (errno.EROFS, PermissionDeniedError),
        (errno.EIO, None),
        (errno.EMFILE, None),
    ],
)
def test_errors_of_the_system_are_mapped_with_their_cause(tmp_path, disk, monkeypatch, code, kind):
    path = tmp_path / "file"
    file = disk.open_append(path, create=True)
    cause = OSError(code, os.strerror(code))

    def fails(*_, **__):
        raise cause

    for name in ("replace", "unlink", "ftruncate", "posix_fallocate", "listdir"):
        monkeypatch.setattr(f"holdfast.log.files.os.{name}", fails)
    monkeypatch.setattr("holdfast.log.files.sync_directory", fails)
    monkeypatch.setattr("pathlib.Path.mkdir", fails)
    monkeypatch.setattr("fcntl.flock", fails)
    file._pwrite = file._sync_data = fails
    acts = [
        (lambda: disk.rename(path, path), WriteError),
        (lambda: disk.remove(path), WriteError),
        (lambda: disk.list(tmp_path), ReadError),
        (lambda: disk.sync_directory(tmp_path), WriteError),
        (lambda: disk._make_directory(tmp_path / "new"), WriteError),
        (lambda: disk.lock(tmp_path / "LOCK", "me"), WriteError),
        (lambda: file.write(b"x"), WriteError),
        (lambda: file.write_at(0, b"x"), WriteError),
        (lambda: file.truncate(0), WriteError),
        (lambda: file.reserve(9), WriteError),
        (file.sync, WriteError),
    ]
    before = count_descriptors()
    for act, other in acts:
        with pytest.raises(kind or other, match=os.strerror(code)) as error:
            act()
        assert error.value.__cause__ is cause
        assert type(error.value) is (kind or other)
    assert count_descriptors() == before
    monkeypatch.setattr("holdfast.log.files.os.open", fails)
    for act, other in (
        (lambda: disk.open_append(path), WriteError),
        (lambda: disk.lock(tmp_path / "LOCK", "me"), WriteError),
    ):
        with pytest.raises(kind or other):
            act()


def count_descriptors():
    return sum(1 for _ in os.scandir("/proc/self/fd"))


def test_reading_what_is_not_there(tmp_path, disk):
    for act in (disk.read, disk.size, disk.list):
        with pytest.raises(ReadError) as error:
            act(tmp_path / "nothing")
        assert isinstance(error.value.__cause__, FileNotFoundError)
    with pytest.raises(WriteError):
        disk.open_append(tmp_path / "nothing")
    (tmp_path / "there").touch()
    with pytest.raises(WriteError) as error:
        disk.open_append(tmp_path / "there", create=True, exclusive=True)
    assert isinstance(error.value.__cause__, FileExistsError)


def test_a_close_that_fails(tmp_path, disk):
    file = disk.open_append(tmp_path / "file", create=True)
    os.close(file._descriptor)
    with pytest.raises(WriteError):
        file.close()
    file.close()


def test_a_closed_file_says_so(tmp_path, disk):
    file = disk.open_append(tmp_path / "file", create=True)
    file.close()
    for act in (lambda: file.write(b"x"), lambda: file.write_at(0, b"x"), file.sync, lambda: file.truncate(0)):
        with pytest.raises(ClosedError):
            act()


def test_a_whole_file_replaces_the_one_before(tmp_path, disk):
    path = tmp_path / "file"
    (tmp_path / "file.tmp").write_bytes(b"left by a crash, and longer than what comes")
    for data in (b"one", b"", b"three"):
        disk.write_whole(path, data)
        assert disk.read(path) == data
    assert disk.list(tmp_path) == ["file"]
    disk.rename(path, tmp_path / "other")
    assert disk.exists(tmp_path / "other")
    disk.remove(tmp_path / "other")
    assert not disk.exists(tmp_path / "other")


def test_a_lock_is_held_by_one_and_names_its_holder(tmp_path, disk):
    path = tmp_path / "LOCK"
    path.write_text("what somebody with a much longer name has left here long ago")
    lock = disk.lock(path, "pid 7 on alpha")
    with pytest.raises(LockedError, match="pid 7 on alpha") as error:
        disk.lock(path, "pid 8 on alpha")
    assert error.value.owner == "pid 7 on alpha"
    other = (
        "import sys; from pathlib import Path; from holdfast.log.files import Disk; Disk().lock(Path(sys.argv[1]), 'x')"
    )
    done = subprocess.run([sys.executable, "-c", other, str(path)], capture_output=True, text=True, check=False)
    assert "LockedError" in done.stderr and "pid 7 on alpha" in done.stderr
    lock.release()
    lock.release()
    lock = disk.lock(path, "")
    with pytest.raises(LockedError, match="another process") as error:
        disk.lock(path, "x")
    assert error.value.owner is None
    lock.release()


def test_a_lock_ends_with_its_process_and_is_not_inherited(tmp_path, disk):
    path = tmp_path / "LOCK"
    lock = disk.lock(path, "parent")
    ready, wait = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.close(wait[1])
        os.write(ready[1], b"x")
        os.read(wait[0], 1)  # lives on after the parent has let go
        os._exit(0)
    os.read(ready[0], 1)
    lock.release()
    disk.lock(path, "again").release()
    for descriptor in (*ready, *wait):
        os.close(descriptor)
    assert os.waitpid(child, 0)[1] == 0


def test_a_file_is_closed_in_a_forked_child(tmp_path, disk):
    file = disk.open_append(tmp_path / "file", create=True)
    child = os.fork()
    if not child:
        try:
            file.write(b"child")
        except ClosedError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    file.write(b"parent")
    assert disk.read(file.path) == b"parent"
    file.close()


def test_macos_is_asked_to_empty_the_cache_of_the_drive(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda *arguments: calls.append(arguments))
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    file = LogFile(tmp_path / "file", descriptor, 0)
    file.sync()
    assert calls == [(descriptor, 51)]
    file.close()


def test_a_fork_closes_all_that_is_open_in_the_child(tmp_path, disk, monkeypatch):
    monkeypatch.setattr(files, "_open_here", WeakSet())
    file, lock = disk.open_append(tmp_path / "file", create=True), disk.lock(tmp_path / "LOCK", "me")
    files._close_in_child()
    assert file.is_closed
    disk.lock(tmp_path / "LOCK", "another").release()
    lock.release()
