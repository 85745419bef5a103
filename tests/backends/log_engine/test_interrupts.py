"""What is in the log is visible, and what is not is not, wherever an interrupt or a fault strikes."""

from __future__ import annotations

import linecache
import os
import random
import sys
import threading
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import pytest

import holdfast
from holdfast import tables
from holdfast.log.files import Disk
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


def found_at(store):
    """What of a store does not depend on who asks: the heads, the feeds, the order of all indexes."""
    return {name: (one["head"], one["feed"], one["places"]) for name, one in everything(store).items()}


def many_kinds(store):
    with store.transaction() as tx:
        tx.memories.update(UUID(int=1), tags=["b"], session_id="z")
        tx.kv.delete("a")
        tx.kv.put("c", 2)
        tx.kv.put("b", 3, ttl=2000)
        tx.kv.put("n", 1, ttl=100)
        tx.events.append("s", 2)


@pytest.mark.parametrize("write", [
    many_kinds,
    lambda store: store.kv.put("b", 9, ttl=5000),
    lambda store: store.states.init("x", 1, ttl=1000),
    lambda store: store.kv.delete("b"),
    lambda store: store.drop_space("default"),
], ids=["transaction", "change", "create", "delete", "drop"])  # fmt: skip
def test_an_interrupt_at_any_line_of_the_tables_is_made_good(stores, tmp_path, write):
    """Every fifth line from a random one on: feed, indexes and an open snapshot are as if there had been none."""
    seed = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"HOLDFAST_SEED={seed}")
    line, struck = 1 + seed % 5, True
    while struck:
        with stores.open(tmp_path / str(line), durability="ephemeral") as store:
            store.memories.store("m", session_id="s", tags=["a"], id=UUID(int=1))
            store.kv.put_many({"a": 1, "b": 2, "c": 1})
            store.kv.put("b", 2, ttl=1000)
            store.kv.delete("c")
            assert len(list(store.changes())) == 4 and store.memories.count(session_id="s") == 1
            with store.snapshot() as snapshot:
                before = snapshot.kv.scan(), snapshot.memories.get_by_session("s")
                struck = interrupted_at(line, lambda store=store: write(store))
                assert (snapshot.kv.scan(), snapshot.memories.get_by_session("s")) == before, line
            store.space("other").kv.put("after", 1)
            live = found_at(store)
        with stores.open(tmp_path / str(line)) as store:
            assert found_at(store) == live, line
        line += 5


def interrupted_at(number, work):
    """Do the work, with a KeyboardInterrupt at one line of the tables; return whether it came to that."""
    count, usual = 0, sys.gettrace()

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename != tables.__file__:
            return None
        if event == "line" and not linecache.getline(tables.__file__, frame.f_lineno).lstrip().startswith("with "):
            count += 1
            if count == number:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(usual)
    return count >= number


class Interrupting(Disk):
    """A disk on which a KeyboardInterrupt strikes at the n-th thing that is done, before or after it is."""

    def __init__(self, number, after):
        self.left, self.after = number, after

    def __getattribute__(self, name):
        found = super().__getattribute__(name)
        if name.startswith("_") or name in ("left", "after"):
            return found

        def strike(*what, **how):
            self.left -= 1
            if self.left == 0 and not self.after:
                raise KeyboardInterrupt
            done = found(*what, **how)
            if self.left == 0 and self.after and not hasattr(done, "close"):  # what is open is the caller's to close
                raise KeyboardInterrupt
            return done

        return strike


@pytest.mark.parametrize("after", [False, True])
def test_an_interrupt_while_opening_leaves_nothing_behind(stores, after):
    """Neither the lock nor a file: it can be opened again at once, and is what it was."""
    with stores.open() as store:
        store.kv.put("a", 1)
        store._backend.make_snapshot()
        store.notes.put("b", "text")
        expected = everything(store)
    number, reached = 0, True
    while reached:
        number += 1
        before = set(os.listdir("/proc/self/fd"))
        disk = Interrupting(number, after)
        with suppress(KeyboardInterrupt):
            stores.open(disk=disk).close()
        reached = disk.left <= 0
        assert set(os.listdir("/proc/self/fd")) == before, number
        with stores.open() as store:
            assert everything(store) == expected, number
    assert number > 15


@pytest.mark.parametrize("where", ["Transcript", "_logger", "Committer"])
def test_an_interrupt_behind_recovery_leaves_nothing_behind(stores, monkeypatch, where):
    def interrupted(*what, **how):
        raise KeyboardInterrupt

    with stores.open() as store:
        store.kv.put("a", 1)
        whole = store._backend._log._file.size
        store.kv.put("b", 1)
    (segment,) = (stores.directory / "wal").glob("*.wal")
    segment.write_bytes(segment.read_bytes()[: whole + 3])  # something to be logged
    before = set(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        module = "holdfast.backends.resident" if where == "Committer" else "holdfast.backends.log_engine.backend"
        patch.setattr(f"{module}.{where}" + (".log" if where == "_logger" else ""), interrupted)
        with pytest.raises(KeyboardInterrupt):
            stores.open()
    assert set(os.listdir("/proc/self/fd")) == before
    with stores.open() as store:
        assert store.kv.get("a") == 1
