"""The disk that fails on purpose: it fails when told, counts, and loses what was not synced and nothing else."""

from __future__ import annotations

import errno

import pytest

from holdfast.errors import DiskFullError, PermissionDeniedError, ReadError, WriteError
from holdfast.testing.faults import PAGE_BYTES, FaultyDisk, SimulatedCrash


@pytest.fixture
def disk(tmp_path):
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "there").write_bytes(b"before")
    return FaultyDisk(root)


def states(disk, count=60):
    """What may be left, as {name: bytes}, each once."""
    found = []
    for seed in range(count):
        root = disk.after_power_cut(seed)
        state = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        if state not in found:
            found.append(state)
    return found


def made(disk, name, data=b""):
    file = disk.open_append(disk.root / name, create=True)
    file.write(data)
    return file


@pytest.mark.parametrize(
    ("operation", "act", "error"),
    [
        ("open", lambda disk: disk.open_append(disk.root / "there"), WriteError),
        ("read", lambda disk: disk.read(disk.root / "there"), ReadError),
        ("list", lambda disk: disk.list(disk.root), ReadError),
        ("rename", lambda disk: disk.rename(disk.root / "there", disk.root / "x"), WriteError),
        ("remove", lambda disk: disk.remove(disk.root / "there"), WriteError),
        ("sync_directory", lambda disk: disk.sync_directory(disk.root), WriteError),
        ("make_directory", lambda disk: disk.make_directories(disk.root / "new"), WriteError),
        ("lock", lambda disk: disk.lock(disk.root / "LOCK", "me"), WriteError),
        ("write", lambda disk: disk.open_append(disk.root / "there").write(b"x"), WriteError),
        ("sync", lambda disk: disk.open_append(disk.root / "there").sync(), WriteError),
        ("truncate", lambda disk: disk.open_append(disk.root / "there").truncate(0), WriteError),
        ("reserve", lambda disk: disk.open_append(disk.root / "there").reserve(9), WriteError),
    ],
)
def test_each_operation_fails_when_told(disk, operation, act, error):
    disk.fail(operation, errno.EIO)
    with pytest.raises(error) as found:
        act(disk)
    assert found.value.__cause__.errno == errno.EIO
    act(disk)
    disk.fail(operation, errno.EACCES, nth=2, times=2)
    if operation not in ("remove", "rename", "make_directory", "lock"):
        act(disk)
        for _ in range(2):
            with pytest.raises(PermissionDeniedError):
                act(disk)
        act(disk)
    assert {path.name for path in disk.root.iterdir()} >= {"folder"}


def test_a_failed_write_after_a_short_one_leaves_a_part(disk):
    file = made(disk, "file")
    disk.shorten(3)
    disk.fail("write", errno.ENOSPC, nth=2)
    with pytest.raises(DiskFullError):
        file.write(b"0123456789")
    assert disk.read(file.path) == b"012"


@pytest.mark.parametrize("torn", [0, 2, 99])
def test_a_crash_stops_everything(disk, torn):
    file = made(disk, "file", b"first")
    disk.crash_at(disk.steps + 1, torn=torn)
    lock = disk.lock(disk.root / "LOCK", "me")
    with pytest.raises(SimulatedCrash):
        file.write(b"second")
    assert disk.has_crashed and file.is_closed
    assert (disk.root / "file").read_bytes() == b"first" + b"second"[:torn]
    for act in (lambda: disk.read(disk.root / "there"), lambda: disk.list(disk.root), lambda: file.sync()):
        with pytest.raises(SimulatedCrash):
            act()
    FaultyDisk(disk.root).lock(disk.root / "LOCK", "the next").release()
    lock.release()


def test_after_a_restart_the_medium_is_what_it_was(disk):
    file = made(disk, "file", b"first")
    disk.sync_directory(disk.root)
    disk.crash_at(disk.steps + 1)
    with pytest.raises(SimulatedCrash):
        file.sync()
    disk.restart()
    assert disk.read(file.path) == b"first"
    assert {one["file"] for one in states(disk)} >= {b"", b"first"}
    made(disk, "file").sync()
    assert {one["file"] for one in states(disk)} == {b"first"}


def test_a_crash_comes_before_what_is_no_write(disk):
    disk.crash_at(1, torn=5)
    with pytest.raises(SimulatedCrash):
        disk.remove(disk.root / "there")
    assert (disk.root / "there").exists()


def test_what_was_synced_is_sure(disk):
    file = made(disk, "file", b"data")
    file.sync()
    disk.sync_directory(disk.root)
    disk.make_directories(disk.root / "a" / "b")
    inner = made(disk, "a/b/inner", b"x")
    inner.sync()
    disk.sync_directory(disk.root / "a" / "b")
    disk.write_whole(disk.root / "whole", b"w" * 10_000)
    assert states(disk) == [{"there": b"before", "file": b"data", "a/b/inner": b"x", "whole": b"w" * 10_000}]


def test_a_name_that_was_not_synced_may_be_gone(disk):
    made(disk, "file", b"data").sync()
    assert sorted(map(len, states(disk))) == [1, 2]
    disk.remove(disk.root / "there")
    found = states(disk)
    assert {frozenset(one) for one in found} == {
        frozenset(names) for names in ((), ("there",), ("file",), ("there", "file"))
    }


def test_a_rename_that_was_not_synced_may_be_undone(disk):
    made(disk, "file", b"new").sync()
    disk.sync_directory(disk.root)
    disk.rename(disk.root / "file", disk.root / "there")
    assert sorted(states(disk), key=len) == [{"there": b"new"}, {"there": b"before", "file": b"new"}]


def test_a_rename_before_the_data_may_leave_an_empty_file(disk):
    made(disk, "file", b"new")
    disk.rename(disk.root / "file", disk.root / "there")
    disk.sync_directory(disk.root)
    found = [one["there"] for one in states(disk)]
    assert {b"", b"n", b"ne", b"new", b"\0\0\0"} <= set(found)
    assert any(one not in (b"", b"n", b"ne", b"new", b"\0\0\0") for one in found)  # stale bytes of the medium


def test_writes_that_were_not_synced_may_be_lost_by_pages(disk):
    file = made(disk, "file", b"a" * 3 * PAGE_BYTES)
    file.sync()
    disk.sync_directory(disk.root)
    file.write_at(0, b"b" * 3 * PAGE_BYTES)
    found = {tuple(one["file"][place * PAGE_BYTES] for place in range(3)) for one in states(disk, 200)}
    assert len(found) == 8
    file.truncate(PAGE_BYTES)
    file.reserve(2 * PAGE_BYTES)
    sizes = {len(one["file"]) for one in states(disk, 200)}
    assert {3 * PAGE_BYTES, 2 * PAGE_BYTES, PAGE_BYTES} <= sizes


def test_one_seed_gives_one_state(disk):
    file = made(disk, "file", b"x" * 20_000)
    file.sync()
    file.write(b"y" * 20_000)
    for seed in range(10):
        first, second = disk.after_power_cut(seed), disk.after_power_cut(seed)
        assert first != second
        names = sorted(path.name for path in first.iterdir())
        assert names == sorted(path.name for path in second.iterdir())
        assert all(
            (first / name).is_dir() or (first / name).read_bytes() == (second / name).read_bytes() for name in names
        )
