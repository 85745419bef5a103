"""What the backend does beside commits and recovery: closing, flushing, forks, what it says."""

from __future__ import annotations

import gc
import logging
import threading

import pytest

import holdfast
from holdfast.backends.log_engine import backend as backend_module
from holdfast.backends.log_engine.recovery import is_store
from holdfast.errors import ReadError
from holdfast.log.files import Disk
from holdfast.testing.faults import FaultyDisk

from .conftest import everything


def test_flush_makes_buffered_commits_durable(stores):
    with stores.open(durability="ephemeral") as store:
        store.kv.put("k", 1)
        log = store._backend._log
        assert log.durable < log.sequence
        store.flush()
        assert log.durable == log.sequence


def test_buffered_commits_are_flushed_soon_by_themselves(stores):
    with stores.open(durability="buffered") as store:
        store.kv.put("k", 1)
        log, waited = store._backend._log, threading.Event()
        for _ in range(100):
            if log.durable == log.sequence:
                break
            waited.wait(0.05)
        assert log.durable == log.sequence


def test_a_commit_may_be_strict_in_a_buffered_store(stores):
    with stores.open(durability="ephemeral") as store:
        store.kv.put("a", 1)
        with store.transaction(durability="strict") as tx:
            tx.kv.put("b", 2)
        assert tx.receipt.durability == "strict"
        assert store._backend._log.durable == store._backend._log.sequence


def test_in_another_process_it_is_closed(stores):
    store = stores.open()
    store.kv.put("k", 1)
    backend_module._after_fork_in_child()
    with pytest.raises(holdfast.ClosedError, match="forked child"):
        store.kv.get("k")
    store.close()  # touches nothing
    store._backend._is_forked = store._backend._closed = False
    store.kv.put("k", 2)
    store.close()
    store.close()
    with pytest.raises(holdfast.ClosedError, match="is closed"):
        store.kv.get("k")


def test_what_a_medium_lost_is_told_loudly(stores, caplog):
    with stores.open() as store:
        store.kv.put("k", 1)
        whole = store._backend._log._file.size
        store.kv.put("k", 2)
    (segment,) = (stores.directory / "wal").glob("*.wal")
    segment.write_bytes(segment.read_bytes()[: whole + 3])
    with caplog.at_level(logging.WARNING, logger="holdfast"), stores.open() as store:
        assert store.kv.get("k") == 1 and store.status()["recovery"]["lost"] == 1
    assert "lost 1 transactions that were on stable storage" in caplog.text and "kept beside it" in caplog.text


def test_compacting_leaves_one_snapshot_and_nothing_before_it(stores):
    with stores.open() as store:
        for n in range(3):
            store.kv.put("k", f"secret {n}")
            store._backend.make_snapshot()
        store.kv.put("k", "secret 3")
        store.kv.put("k", "kept")
        whole = store._backend._log._file.size
        store.kv.put("torn", 1)
    segment = max((stores.directory / "wal").glob("*.wal"))
    segment.write_bytes(segment.read_bytes()[: whole + 9])
    with stores.open() as store:
        assert list((stores.directory / "wal").glob("*.torn"))
        done = store.compact(keep_changes=0)
        assert done.bytes_after < done.bytes_before
        expected = everything(store)
        assert len(list((stores.directory / "snapshots").iterdir())) == 1
        assert len(list((stores.directory / "wal").iterdir())) == 1
        content = b"".join(path.read_bytes() for path in stores.directory.rglob("*") if path.is_file())
        assert b"secret" not in content and b"kept" in content
        store.compact()  # again, with nothing new
        with stores.open(read_only=True) as follower, pytest.raises(holdfast.ReadOnlyError):
            follower.compact()
    with stores.open() as store:
        assert everything(store) == expected and store.kv.get("k") == "kept"


def test_a_directory_that_cannot_be_read_is_said_to_be_so(tmp_path):
    disk = FaultyDisk(tmp_path)
    disk.fail("list", 5)
    with pytest.raises(ReadError):
        is_store(tmp_path, disk)
    assert not is_store(tmp_path, Disk()) and not is_store(tmp_path / "missing", Disk())


def test_an_unsound_snapshot_is_named_when_the_log_is_damaged_too(stores):
    with stores.open() as store:
        store.kv.put("k", 1)
        path = store._backend.make_snapshot()
        store.kv.put("k", 2)
        store._backend._log.rotate()
    path.write_bytes(path.read_bytes()[:-1])
    first = min((stores.directory / "wal").glob("*.wal"))
    first.unlink()
    with pytest.raises(holdfast.CorruptionError, match="passed over"):
        stores.open()


def test_an_entry_that_wrote_nothing_writes_nothing_again(stores):
    with stores.open() as store:
        with store.transaction() as tx:
            assert tx.kv.delete("missing") is False
            tx.kv.put("k", 1)
        expected = everything(store)
    with stores.open() as store:
        assert everything(store) == expected


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_collection_is_as_it_was(stores, enabled):
    stores.open().close()
    (gc.enable if enabled else gc.disable)()
    try:
        stores.open().close()
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


@pytest.mark.parametrize(("name", "write"), [
    ("publish", lambda kv: kv.put("k", 2)), ("apply", lambda kv: kv.put_many({"k": 2, "l": 2})),
], ids=["one", "many"])  # fmt: skip
def test_an_interrupt_between_the_log_and_the_tables_is_made_good(stores, monkeypatch, name, write):
    """Durable means visible, although a KeyboardInterrupt struck while it was being made visible."""
    with stores.open() as store:
        store.kv.put("k", 1)
        tables = store._backend._spaces["default"]
        original, calls = getattr(tables, name), []

        def interrupted(*what):
            calls.append(what)
            if len(calls) == 1:
                raise KeyboardInterrupt
            original(*what)

        monkeypatch.setattr(tables, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(store.kv)
        assert store.kv.get("k") == 2 and len(calls) == 2
        expected = everything(store)
        store.kv.put("after", 1)
    with stores.open() as store:
        assert store.kv.get("after") == 1
        store.kv.delete("after")
        assert everything(store)["default"]["records"] == expected["default"]["records"]


def test_an_interrupt_before_the_log_leaves_nothing(stores, monkeypatch):
    with stores.open() as store:
        store.kv.put("k", 1)
        expected = everything(store)

        def interrupted(*what, **how):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(store._backend._log, "append_joined", interrupted)
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    store.kv.put("k", 2)
        assert everything(store) == expected
        store.kv.put("k", 3)
        assert store.kv.get("k") == 3
