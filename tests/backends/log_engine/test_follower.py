"""Readers beside a live writer: committed state only, caught up on demand, across rotation and snapshots."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading

import pytest

import holdfast
from holdfast.errors import InitError, ReadOnlyError
from holdfast.feed import Watcher

from .conftest import everything, work


def test_a_follower_sees_what_is_committed_when_it_asks(stores):
    with stores.open() as store:
        store.kv.put("k", 1)
        with stores.open(read_only=True) as follower:
            assert follower.kv.get("k") == 1
            store.kv.put("k", 2)
            assert follower.kv.get("k") == 1
            assert follower.refresh() == 1 and follower.refresh() == 0
            assert follower.kv.get("k") == 2
            work(store, 1)
            follower.refresh()
            assert everything(follower) == everything(store)
            assert follower.verify() == [] and follower._backend.flush() is None
            with pytest.raises(ReadOnlyError):
                follower.kv.put("k", 3)
            with pytest.raises(ReadOnlyError):
                follower._backend.make_snapshot()
        assert store.refresh() == 0  # a writer has seen it all


def test_a_follower_goes_on_behind_rotation_and_snapshots_and_what_they_remove(stores):
    with stores.open() as store:
        store.kv.put("k", 0)
        with stores.open(read_only=True) as follower:
            for n in range(4):
                work(store, 1)
                store._backend.make_snapshot()
                if n != 1:
                    follower.refresh()
                    assert everything(follower) == everything(store)
            work(store, 1)
            for _ in range(3):
                store._backend.make_snapshot()
                store.kv.put("k", 5)
            follower.refresh()
            assert everything(follower) == everything(store)


def test_a_follower_changes_nothing_and_needs_no_writer(stores, tmp_path):
    with stores.open() as store:
        work(store, 1)
        expected = everything(store)
    before = sorted((path, path.stat().st_mtime_ns) for path in stores.directory.rglob("*"))
    with stores.open(read_only=True) as follower:
        assert everything(follower) == expected
    assert sorted((path, path.stat().st_mtime_ns) for path in stores.directory.rglob("*")) == before


WRITER = """
import sys, holdfast
with holdfast.open("log:" + sys.argv[1]) as store:
    for n in range(10**9):
        with store.transaction() as tx:
            tx.kv.put("a", n)
            tx.kv.put("b", n)
        if n % 200 == 0:
            store._backend.make_snapshot()
"""


def test_a_follower_of_another_process_never_sees_half_a_commit(stores):
    with stores.open() as store:
        store.kv.put_many({"a": 0, "b": 0})
    with subprocess.Popen([sys.executable, "-c", WRITER, str(stores.directory)]) as writer:
        try:
            with holdfast.open(f"log:{stores.directory}", read_only=True) as follower:
                last, seen = -1, set()
                while len(seen) < 60:
                    assert writer.poll() is None
                    follower.refresh()
                    a, b = follower.kv.get_many(["a", "b"])
                    assert a == b and a >= last
                    last = a
                    seen.add(a)
        finally:
            writer.kill()


def test_a_log_whose_snapshot_is_always_gone_is_given_up(stores, monkeypatch):
    with stores.open() as store:
        for n in range(4):
            store.kv.put("k", n)
            store._backend.make_snapshot()
    shutil.rmtree(stores.directory / "snapshots")
    with pytest.raises(InitError, match="try again"):
        stores.open(read_only=True)


def test_what_a_commit_makes_and_removes_again_is_told_by_none(stores):
    """Neither by who committed it, nor by who reads the log: the same feed for all."""
    with stores.open() as store:
        store.kv.put("known", 1)
        store.kv.delete("known")
        with stores.open(read_only=True) as follower:
            assert len(list(follower.changes())) == 1
            for _ in range(2):
                with store.transaction() as tx:
                    tx.kv.put("new", 1)
                    tx.kv.put("known", 2)
                    assert tx.kv.delete("new") and tx.kv.delete("known")
                    tx.kv.put("other", 3)
                follower.refresh()
                assert everything(follower) == everything(store)
            assert [(one.key, one.revision) for one in follower.changes()] == [("known", 2), ("other", 4)]
        expected = everything(store)
    with stores.open() as store:
        assert everything(store) == expected


def test_a_follower_that_was_interrupted_misses_nothing(stores, monkeypatch):
    def interrupted(frame, path):
        raise KeyboardInterrupt

    with stores.open() as store:
        store.counters.increment("c")
        with stores.open(read_only=True) as follower:
            store.counters.increment("c")
            store.kv.put("k", 1)
            with monkeypatch.context() as patch:
                patch.setattr(follower._backend._state, "apply", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    follower.refresh()
            follower.refresh()
            assert everything(follower) == everything(store)
            store.counters.increment("c")
            assert follower.refresh() == 1 and follower.counters.value("c") == 3


def test_who_watches_a_follower_is_told_when_it_is_refreshed(stores):
    with stores.open() as store:
        store.kv.put("k", 0)
        with stores.open(read_only=True) as follower:
            seen, begun = [], threading.Event()

            def watch():
                changes = follower.watch(timeout=20)
                begun.set()
                seen.append(next(changes).key)

            thread = threading.Thread(target=watch)
            thread.start()
            assert begun.wait(10)
            while not follower._backend.committer.published._waiting:
                pass
            store.kv.put("new", 1)
            follower.refresh()
            thread.join(10)
            assert seen == ["new"]


def test_a_watcher_goes_on_when_its_follower_has_begun_anew(stores):
    with stores.open() as store:
        store.kv.put("k", 0)
        with stores.open(read_only=True) as follower:
            watcher = Watcher(follower.space("default")._scope, None, None, None)
            for n in range(4):
                store.kv.put("k", n)
                store._backend.make_snapshot()  # what the follower would have read is gone
            follower.refresh()
            assert [(one.key, one.revision) for one in watcher.fetch()] == [("k", 5)]
