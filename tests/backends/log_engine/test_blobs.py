"""Values over 4 KiB: in memory until a snapshot, then in blob files; whole through crashes, collected when dead."""

from __future__ import annotations

import errno
import os
import random
import shutil

import pytest

import holdfast
from holdfast.backends.log_engine.offload import WholeRecords
from holdfast.backends.log_engine.recovery import State
from holdfast.backends.log_engine.repair import repair
from holdfast.errors import CorruptionError
from holdfast.log.blobs import blob_folder, blob_path, find_blob_files
from holdfast.log.files import Disk
from holdfast.log.snapshot import find_snapshots
from holdfast.model import BlobRef, refs_of
from holdfast.testing.faults import FaultyDisk, SimulatedCrash
from holdfast.testing.toys import toy_registry
from holdfast.views import LiveView

from .conftest import everything

WIDTH = 1500


def large(n):
    return {"d": [float(n)] * WIDTH}


def resident(store, name="default"):
    """The values of the blobs of all records, as they are resident."""
    tables = store._backend._spaces[name].tables
    return [value for table in tables.values() for record in table.by_key.values() for _, value in record.blobs or ()]


def embedding(store, id):
    return store.memories.get(id, embeddings=True).embeddings["d"][0]


def blob_bytes(directory):
    return b"".join(path.read_bytes() for path in sorted(blob_folder(directory).glob("*")))


def test_a_snapshot_moves_large_values_out_of_memory_and_itself(stores):
    with stores.open() as store:
        ids = [store.memories.store(f"m{n}", session_id="s", embeddings=large(n)).id for n in range(5)]
        small = store.memories.store("small", session_id="s", embeddings={"d": [1.0]}).id
        before = everything(store)
        assert not find_blob_files(stores.directory, Disk())
        path = store._backend.make_snapshot()
        assert sum(type(value) is BlobRef for value in resident(store)) == 5
        assert path.stat().st_size < 4 * WIDTH and len(blob_bytes(stores.directory)) > 5 * 4 * WIDTH
        assert everything(store) == before and store.verify() == []
        assert [embedding(store, id) for id in [*ids, small]] == [0, 1, 2, 3, 4, 1]
        assert [one.embeddings["d"][0] for one in store.memories.get_batch(ids, embeddings=True)] == [0, 1, 2, 3, 4]
        assert all(one.embeddings is None for one in store.memories.get_by_session("s"))
        page = LiveView(store._backend._spaces["default"]).scan(8, None, b"", b"\xff" * 17)
        assert [record.blobs for record in page.items].count(None) == 5
        store.kv.put("k", 1)
        size = len(blob_bytes(stores.directory))
        store._backend.make_snapshot()
        assert len(blob_bytes(stores.directory)) == size  # nothing is written twice
        store.memories.store("one more", session_id="s", embeddings=large(9))
        before = everything(store)
    for read_only in (False, True):
        with stores.open(read_only=read_only) as store:
            assert everything(store) == before and store.verify() == []
            assert sum(type(value) is BlobRef for value in resident(store)) == 5
    with stores.open() as store:
        store._backend.make_snapshot()
        assert everything(store)["default"]["records"] == before["default"]["records"]
        assert find_blob_files(stores.directory, Disk()) == [1]  # it is gone on with


def test_what_keeps_its_blobs_keeps_the_references_and_journals_hold_the_values(stores):
    with stores.open() as store:
        id = store.memories.store("text", session_id="s", embeddings=large(7)).id
        store._backend.make_snapshot()
        store.memories.update(id, content="changed")
        with store.run("run") as run:
            run.memories.update(id, content="again")
            with run.transaction() as tx:
                tx.memories.update(id, content="in a transaction")
                assert tx.memories.get(id, embeddings=True).embeddings["d"][0] == 7
                tx.memories.update(id, tags=["t"])
        assert [type(value) for value in resident(store)] == [BlobRef]
        shutil.rmtree(blob_folder(stores.directory))  # what is open can still be read
        (key,) = [row.bases for row in LiveView(store._backend._spaces["default"]).journal(run.id.bytes, (0, -1), 9)][
            :1
        ]
        assert embedding(store, id) == 7 and len(key[0][1]) > 4 * WIDTH
        assert store.memories.get(id).content == "in a transaction"
        store.memories.update(id, embeddings=large(8))
        assert embedding(store, id) == 8 and [type(value) for value in resident(store)] == [bytes]
        store.memories.update(id, embeddings={})
        assert resident(store) == []


def test_a_journal_is_the_same_live_and_folded_again(stores):
    with stores.open() as store:
        id = store.memories.store("text", session_id="s", embeddings=large(7)).id
        store._backend.make_snapshot()
        with store.run("run") as run:
            run.memories.update(id, content="again")
        expected = everything(store)
        replayed = store.replay(run.id).memories.get(id).content
    with stores.open() as store:
        assert everything(store) == expected
        assert store.replay(run.id).memories.get(id).content == replayed == "again"


def test_a_record_that_changes_while_a_snapshot_is_written_is_right(stores, monkeypatch):
    with stores.open() as store:
        ids = [store.memories.store(f"m{n}", session_id="s", embeddings=large(n)).id for n in range(3)]
        backend = store._backend
        placed = backend._large_values.placed

        def meanwhile(*args):
            store.memories.update(ids[0], content="changed")
            store.memories.update(ids[1], embeddings=large(11))
            store.memories.purge(ids[2])
            placed(*args)

        monkeypatch.setattr(backend._large_values, "placed", meanwhile)
        backend.make_snapshot()
        assert [type(value) for value in resident(store)] == [BlobRef, bytes]
        assert [embedding(store, id) for id in ids[:2]] == [0, 11]
        monkeypatch.undo()
        expected = everything(store)
    with stores.open() as store:
        assert everything(store) == expected


def test_a_dropped_space_does_not_come_back_with_the_references(stores, monkeypatch):
    with stores.open() as store:
        store.memories.store("m", session_id="s", embeddings=large(1))
        backend = store._backend
        placed = backend._large_values.placed
        monkeypatch.setattr(backend._large_values, "placed",
                            lambda *args: (backend._spaces["default"].tables.clear(), placed(*args)))  # fmt: skip
        backend.make_snapshot()
        assert resident(store) == []


def test_files_that_are_mostly_dead_are_rewritten_and_removed_when_no_snapshot_needs_them(stores):
    with stores.open() as store:
        ids = [store.memories.store(f"m{n}", session_id="s", embeddings=large(n)).id for n in range(5)]
        store._backend.make_snapshot()
        for id in ids[:3]:
            store.memories.purge(id)
        with store._backend.snapshot("default") as view:
            store._backend.make_snapshot()
            assert find_blob_files(stores.directory, Disk()) == [1, 2]  # the older snapshot needs the first
            store.memories.update(ids[3], content="changed")
            store.kv.put("k", 1)
            store._backend.make_snapshot()
            assert find_blob_files(stores.directory, Disk()) == [2]
            store.memories.purge(ids[4])
            store.memories.update(ids[3], embeddings=large(33))
            store._backend.make_snapshot()
            store.kv.put("k", 2)
            store._backend.make_snapshot()
            assert find_blob_files(stores.directory, Disk()) == [3]
            records = view.read(8, [ids[3].bytes, ids[4].bytes], "blobs")
            assert all(record.blobs and not refs_of(record) for record in records)
            page = view.scan(8, None, b"", b"\xff" * 17, want="blobs")
            assert len(page.items) == 2 and all(len(record.blobs[0][1]) > WIDTH for record in page.items)
        assert embedding(store, ids[3]) == 33 and store.verify() == []
        expected = everything(store)
    first, second = (path for _, path in find_snapshots(stores.directory, Disk()))
    first.write_bytes(first.read_bytes()[:-1])
    with stores.open() as store:  # the older one has all that it needs
        assert everything(store) == expected and store.status()["recovery"]["snapshot"] == str(second)
        store.kv.put("k", 3)
        store._backend.make_snapshot()
        assert store.verify() == []  # the damaged one has gone with it, so nobody needs to know what it refers to
        for n in range(2):
            store.kv.put("k", n)
            store._backend.make_snapshot()
        assert store.verify() == []


def test_compaction_leaves_exactly_the_live_values(stores):
    with stores.open() as store:
        store.space("other").kv.put("k", 1)
        secret, kept = (
            store.memories.store(text, session_id="s", embeddings=large(n)).id for n, text in ((7, "a"), (8, "b"))
        )
        value = resident(store)[0]
        store._backend.make_snapshot()
        assert value in blob_bytes(stores.directory)
        store.memories.purge(secret)
        store.compact()
        assert value not in b"".join(path.read_bytes() for path in stores.directory.rglob("*") if path.is_file())
        assert (
            embedding(store, kept) == 8 and store.verify() == [] and len(find_blob_files(stores.directory, Disk())) == 1
        )
        files = find_blob_files(stores.directory, Disk())
        store.compact()
        assert find_blob_files(stores.directory, Disk()) == files  # there is nothing dead in it
        store.memories.purge(kept)
        store.compact()
        assert find_blob_files(stores.directory, Disk()) == []
    with stores.open() as store:
        assert store.verify() == [] and store.memories.count() == 0


def damage(path, place=-100):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def two_memories(stores):
    with stores.open() as store:
        ids = [store.memories.store(f"m{n}", session_id="s", embeddings=large(n)).id for n in range(2)]
        store._backend.make_snapshot()
        store.kv.put("k", 1)
        store._backend.make_snapshot()
    return ids


def test_a_value_that_is_damaged_is_told_by_reads_and_verify_and_does_not_stop_snapshots(stores):
    ids = two_memories(stores)
    damage(blob_path(stores.directory, 1))
    with stores.open() as store:
        assert embedding(store, ids[0]) == 0 and store.memories.get(ids[1]).content == "m1"
        with pytest.raises(CorruptionError, match="checksum"):
            embedding(store, ids[1])
        assert any("a blob of space 'default', memory" in fault for fault in store.verify())
        store.memories.purge(ids[0])
        store.compact()
        assert find_blob_files(stores.directory, Disk()) == [1]  # what cannot be moved stays
        assert len(store.verify()) == 1


def test_a_repair_keeps_the_values_and_tells_of_those_that_are_gone(stores, tmp_path):
    ids = two_memories(stores)
    whole = repair(stores.directory, tmp_path / "whole", toy_registry())
    assert whole.is_whole
    with stores.open(tmp_path / "whole") as store:
        assert [embedding(store, id) for id in ids] == [0, 1] and store.verify() == []
    damage(blob_path(stores.directory, 1))
    part = repair(stores.directory, tmp_path / "part", toy_registry())
    assert not part.is_whole and [bool(one.blob) for one in part.damages] == [True]
    assert part.damages[0].path == str(blob_path(stores.directory, 1)) and part.damages[0].offset
    with stores.open(tmp_path / "part") as store:
        assert embedding(store, ids[0]) == 0 and store.memories.get(ids[1], embeddings=True).embeddings == {}
    blob_path(stores.directory, 1).unlink()
    none = repair(stores.directory, tmp_path / "none", toy_registry())
    assert not none.is_whole and len(none.damages) == 2
    with stores.open(tmp_path / "none") as store:
        assert [store.memories.get(id).content for id in ids] == ["m0", "m1"] and store.verify() == []


def test_salvage_reads_the_values_of_a_damaged_snapshot(stores, tmp_path):
    two_memories(stores)
    for _, path in find_snapshots(stores.directory, Disk()):
        damage(path, -2)  # its last checksum; the sections are sound
    report = repair(stores.directory, tmp_path / "target", toy_registry(), salvage=True)
    assert report.salvaged
    lines = (tmp_path / "target" / "salvaged.jsonl").read_text()
    assert '"m1"' in lines and "problem" not in lines


def test_a_blob_file_that_is_gone_is_told(stores):
    two_memories(stores)
    blob_path(stores.directory, 1).unlink()
    with pytest.raises(CorruptionError, match="missing"):
        stores.open()


def test_a_follower_reads_on_when_files_are_removed(stores):
    with stores.open() as store:
        ids = [store.memories.store(f"m{n}", session_id="s", embeddings=large(n)).id for n in range(5)]
        store._backend.make_snapshot()
        with stores.open(read_only=True) as follower:
            for id in ids[:3]:
                store.memories.purge(id)
            store.compact()
            assert find_blob_files(stores.directory, Disk()) == [2]
            assert [embedding(follower, id) for id in ids] == [0, 1, 2, 3, 4]
            follower.refresh()
            assert everything(follower) == everything(store) and follower.verify() == []


def test_a_follower_begins_again_if_files_go_while_it_reads_the_snapshot(stores, monkeypatch):
    ids = two_memories(stores)
    with stores.open() as store:
        store.memories.purge(ids[0])
        load, loaded = State.load, []

        def late(state, reader, open_files):
            loaded.append(reader.path)
            if len(loaded) == 1:
                store.compact()
            load(state, reader, open_files)

        monkeypatch.setattr(State, "load", late)
        with stores.open(read_only=True) as follower:
            assert everything(follower) == everything(store) and embedding(follower, ids[1]) == 1
        assert len(loaded) == 2 and loaded[0] != loaded[1]


def test_a_snapshot_that_the_medium_cannot_read_is_told(stores, monkeypatch):
    two_memories(stores)

    def broken(*_):
        raise holdfast.ReadError("broken")

    monkeypatch.setattr(State, "load", broken)
    with pytest.raises(holdfast.ReadError):
        stores.open()


def test_what_a_writer_removes_while_it_is_verified_is_no_fault(stores, monkeypatch):
    two_memories(stores)
    with stores.open(read_only=True) as follower:

        def gone(*_):
            for _, path in find_snapshots(stores.directory, Disk()):
                path.unlink()
            raise CorruptionError("its blobs are gone, too")

        monkeypatch.setattr(WholeRecords, "of", gone)
        assert not [fault for fault in follower.verify() if "blobs are gone" in fault]


@pytest.mark.parametrize(("operation", "fails"), [("write", 8), ("sync", 2), ("rename", 1)])
def test_a_snapshot_that_fails_leaves_no_values(stores, tmp_path, operation, fails):
    root = tmp_path / "root"
    root.mkdir()
    disk = FaultyDisk(root)
    with stores.open(root / "store", disk=disk) as store:
        id = store.memories.store("m", session_id="s", embeddings=large(1)).id
        store._backend._log.rotate()
        for nth in range(1, 20):
            disk.fail(operation, errno.ENOSPC, nth=nth)
            try:
                store._backend.make_snapshot()
            except holdfast.StorageError:
                assert not find_snapshots(root / "store", disk) and not find_blob_files(root / "store", disk)
                disk._plans.clear()
                assert embedding(store, id) == 1 and store.verify() == []
            else:
                assert nth > fails
                break
        disk._plans.clear()
        assert embedding(store, id) == 1 and store.verify() == []
        assert len(find_blob_files(root / "store", disk)) == 1


def test_a_snapshot_whose_name_may_not_be_durable_keeps_its_values(stores, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    disk = FaultyDisk(root)
    with stores.open(root / "store", disk=disk) as store:
        id = store.memories.store("m", session_id="s", embeddings=large(1)).id
        store._backend.make_snapshot()
        store.memories.update(id, embeddings=large(2))
        real = disk.sync_directory

        def fail(path):
            if path.name == "snapshots":
                raise holdfast.WriteError("broken")
            real(path)

        disk.sync_directory = fail
        with pytest.raises(holdfast.WriteError):
            store._backend.make_snapshot()
        disk.sync_directory = real
        assert embedding(store, id) == 2 and store.verify() == []
        before = everything(store)
        shutil.copytree(root / "store", tmp_path / "copy")
    with stores.open(tmp_path / "copy") as store:
        assert everything(store) == before
        assert len(find_snapshots(tmp_path / "copy", disk)) == 2


def test_a_snapshot_that_cannot_see_its_files_lets_go_of_the_state(stores, monkeypatch):
    two_memories(stores)
    with stores.open() as store:
        store.kv.put("k", 2)
        size = Disk.size

        def fail(disk, path):
            if path.suffix == ".blobs":
                raise holdfast.ReadError("broken")
            return size(disk, path)

        monkeypatch.setattr(Disk, "size", fail)
        with pytest.raises(holdfast.ReadError):
            store._backend.make_snapshot()
        monkeypatch.undo()
        assert store._backend._spaces["default"].overlays == []


def strict_steps(store, told):
    for n in range(5):
        with store.transaction() as tx:
            tx.memories.store(f"m{n}", session_id="s", embeddings=large(n))
            if n > 1:
                tx.memories.purge(told[n - 2])
        told.append(store.memories.get_by_session("s")[-1].id)
        if n == 4:
            store.compact()
        elif n:
            store._backend.make_snapshot()


def test_a_power_cut_at_every_step_loses_no_value(stores, tmp_path):
    seed = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"HOLDFAST_SEED={seed}")
    step = 0
    while True:
        step += 1
        root = tmp_path / f"root{step}"
        root.mkdir()
        disk, told = FaultyDisk(root), []
        disk.crash_at(step)
        try:
            store = stores.open(root / "store", disk=disk)
            strict_steps(store, told)
            store.close()
        except SimulatedCrash:
            ended = False
        else:
            ended = True
        left = disk.after_power_cut(seed + step)
        with stores.open(left / "store") as store:
            found = store.memories.get_by_session("s")
            last = int(found[-1].content[1:]) if found else -1
            assert len(told) - 1 <= last <= len(told)
            assert [one.content for one in found] == [f"m{n}" for n in range(max(last - 1, 0), last + 1)]
            assert [embedding(store, one.id) for one in found] == [float(one.content[1:]) for one in found]
            assert [fault for fault in store.verify() if "and the segment that begins" not in fault] == []
            store.kv.put("k", 1)
            store._backend.make_snapshot()
            before = everything(store)
        with stores.open(left / "store") as store:
            assert everything(store) == before
        shutil.rmtree(root)
        shutil.rmtree(left)
        if ended:
            assert step > 100
            return
