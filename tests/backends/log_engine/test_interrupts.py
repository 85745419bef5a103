"""What is in the log is visible, and what is not is not, wherever an interrupt or a fault strikes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import holdfast
from holdfast.testing.faults import FaultyDisk

from .conftest import everything

ONE_AND_MANY = pytest.mark.parametrize(
    "write", [lambda kv: kv.put("k", 2), lambda kv: kv.put_many({"k": 2, "l": 2})], ids=["one", "many"]
)


@pytest.fixture
def faulty(tmp_path):
    """A disk that fails, and the place of a store on it."""
    root = tmp_path / "root"
    root.mkdir()
    return FaultyDisk(root), root / "store"


@pytest.mark.parametrize("inside", [False, True], ids=["one", "transaction"])
def test_a_definition_that_is_durable_does_not_make_its_commit_so(stores, faulty, inside):
    disk, place = faulty
    with stores.open(place, disk=disk) as store:
        disk.fail("sync", 5, nth=2)  # the first is that of the definition of note
        with pytest.raises(holdfast.WriteError):
            if inside:
                with store.transaction() as tx:
                    tx.notes.put("n", "text")
            else:
                store.notes.put("n", "text")
        assert store.notes.get("n") is None and store.spaces() == []


@ONE_AND_MANY
def test_an_interrupt_just_behind_the_log_leaves_the_commit_visible(stores, monkeypatch, write):
    """Else its sequence would be given again, and the log would hold two commits with one."""

    def interrupted(durability):
        raise KeyboardInterrupt

    with stores.open(durability="buffered") as store:
        with monkeypatch.context() as patch:
            patch.setattr(store._backend, "_flush_soon", interrupted)
            with pytest.raises(KeyboardInterrupt):
                write(store.kv)
        assert store.kv.get("k") == 2
        store.kv.put("after", 1)
        expected = everything(store)
    with stores.open() as store:
        assert everything(store) == expected


@ONE_AND_MANY
def test_what_cannot_be_flushed_soon_is_not_written(stores, monkeypatch, write):
    def refused(flush):
        raise RuntimeError("can't start new thread")

    with stores.open(durability="buffered") as store:
        with monkeypatch.context() as patch:
            patch.setattr("holdfast.backends.log_engine.backend.Flusher", refused)
            with pytest.raises(Exception, match="can't start"):
                write(store.kv)
        assert store._backend._log.sequence == 0
        write(store.kv)
        assert store.kv.get("k") == 2


@ONE_AND_MANY
def test_a_snapshot_for_which_there_is_no_thread_does_not_fail_the_commit(stores, monkeypatch, write):
    def refused(self):
        raise RuntimeError("can't start new thread")

    with stores.open(snapshot_bytes=1) as store:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refused)
            write(store.kv)
        assert store.kv.get("k") == 2 and "can't start" in store.status()["snapshot_error"]
        write(store.kv)  # the next is made
        store._backend._snapshot_thread.join()
        assert store.status()["snapshot_error"] is None


def test_closing_flushes_although_its_snapshot_fails(stores, faulty):
    disk, place = faulty
    store = stores.open(place, disk=disk, durability="ephemeral")
    store.kv.put("k", 1)
    store._backend._snapshot_bytes = 0
    disk.fail("rename", 28, nth=2)  # the first is that of a new segment
    store.close()
    assert store._backend._log._file.is_closed
    for seed in range(4):
        with stores.open(disk.after_power_cut(seed) / "store") as left:
            assert left.kv.get("k") == 1


def test_closing_flushes_although_its_snapshot_is_interrupted(stores, faulty, monkeypatch):
    disk, place = faulty

    def interrupted():
        raise KeyboardInterrupt

    store = stores.open(place, disk=disk, durability="ephemeral")
    store.kv.put("k", 1)
    store._backend._snapshot_bytes = 0
    monkeypatch.setattr(store._backend, "make_snapshot", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.close()
    assert store._backend._log._file.is_closed
    with stores.open(disk.after_power_cut(1) / "store") as left:
        assert left.kv.get("k") == 1
    with stores.open(place) as store:  # its lock was released
        assert store.kv.get("k") == 1


def test_the_status_is_told_while_files_come_and_go(stores, monkeypatch):
    with stores.open() as store:
        fleeting = stores.directory / "wal" / "new.wal.tmp"
        fleeting.write_bytes(b"1")
        real = Path.is_file

        def is_file(self):
            found = real(self)
            if self == fleeting:
                fleeting.unlink(missing_ok=True)
            return found

        monkeypatch.setattr(Path, "is_file", is_file)
        assert store.status()["bytes"] > 0 and not fleeting.exists()


def test_a_size_that_cannot_be_read_is_told(stores, monkeypatch):
    def refused(path):
        raise holdfast.ReadError("the medium is gone")

    with stores.open() as store:
        monkeypatch.setattr(store._backend._disk, "size", refused)
        with pytest.raises(holdfast.ReadError):
            store.status()
