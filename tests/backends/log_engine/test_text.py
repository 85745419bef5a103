"""The text index beside a log store: kept, caught up, begun again where the store lost what it has seen, compacted."""

from __future__ import annotations

import shutil

import pytest

import holdfast
from holdfast import text_index
from holdfast.backends.log_engine.backend import TEXT_FILE


def found(store, query):
    return sorted(hit.record.content for hit in store.memories.search(query))


def test_it_is_kept_and_only_what_is_new_is_taken_in(stores):
    with stores.open() as store:
        for n in range(20):
            store.memories.store(f"parser {n}")
        assert len(store.memories.search("parser", limit=50)) == 20
    with stores.open() as store:
        store.memories.store("parser new")
        seen = []
        store.refresh_search(progress=seen.append)
        assert sum(seen) == 1 and len(store.memories.search("parser", limit=50)) == 21


def test_a_reader_has_one_of_its_own(stores):
    with stores.open() as store:
        store.memories.store("parser")
        assert found(store, "parser") == ["parser"]
        with stores.open(read_only=True) as follower:
            assert found(follower, "parser") == ["parser"]
            store.memories.store("another parser")
            follower.refresh()
            assert found(follower, "parser") == ["another parser", "parser"]


def test_it_begins_again_where_the_store_lost_what_it_has_seen(stores, tmp_path):
    """A power cut takes unsynced commits; others get their numbers, so the index would never look at them."""
    with stores.open() as store:
        store.memories.store("kept parser")
        shutil.copytree(stores.directory / "wal", tmp_path / "wal")
        shutil.copy(stores.directory / "DURABLE", tmp_path / "DURABLE")
        for n in range(3):
            store.memories.store(f"lost parser {n}")
        assert len(found(store, "parser")) == 4
    shutil.rmtree(stores.directory / "wal")
    shutil.copytree(tmp_path / "wal", stores.directory / "wal")
    shutil.copy(tmp_path / "DURABLE", stores.directory / "DURABLE")
    with stores.open() as store:
        for n in range(5):
            store.memories.store(f"other parser {n}")
        assert found(store, "parser") == ["kept parser", *(f"other parser {n}" for n in range(5))]


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_file_that_is_no_index_is_made_anew(stores, content):
    with stores.open() as store:
        store.memories.store("parser")
        assert found(store, "parser") == ["parser"]
    (stores.directory / TEXT_FILE).write_bytes(content)
    with stores.open() as store:
        assert found(store, "parser") == ["parser"]


def test_a_file_of_another_version_is_made_anew(stores, monkeypatch):
    monkeypatch.setattr(text_index, "FORMAT_VERSION", 2)
    with stores.open() as store:
        store.memories.store("parser")
        assert found(store, "parser") == ["parser"]
    monkeypatch.undo()
    with stores.open() as store:
        assert found(store, "parser") == ["parser"]


@pytest.mark.parametrize("searched", [True, False])
def test_compacting_leaves_no_word_of_what_was_removed(stores, searched):
    with stores.open() as store:
        memory = store.memories.store("xylophone")
        store.memories.store("parser")
        assert found(store, "xylophone") == ["xylophone"]
    with stores.open() as store:
        store.memories.purge(memory.id)
        if searched:
            assert found(store, "xylophone") == []
        store.refresh_search()
        store.compact(keep_changes=0)
        assert found(store, "parser") == ["parser"]
    content = b"".join(path.read_bytes() for path in stores.directory.rglob("*") if path.is_file())
    assert b"xylophon" not in content


def test_a_closed_store_has_none(stores):
    with stores.open() as store:
        store.kv.put("k", 1)
        store._backend.compact({})
        assert not (stores.directory / TEXT_FILE).exists()  # and none is made for that
    with pytest.raises(holdfast.ClosedError):
        store.memories.search("x")
