"""What is in the log is visible, and what is not is not, wherever an interrupt or a fault strikes."""

from __future__ import annotations

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
