"""What is there after a crash: the same state to the byte, from the log, from a snapshot, from what is left of them."""

from __future__ import annotations

import os
import random
import shutil

import pytest

import holdfast
from holdfast.backends.log_engine import LogBackend
from holdfast.backends.log_engine.recovery import load_newest
from holdfast.codec import MSGPACK
from holdfast.errors import CorruptionError, FormatError, HoldfastError
from holdfast.log.files import Disk
from holdfast.log.snapshot import SnapshotWriter, find_snapshots
from holdfast.testing.faults import FaultyDisk, SimulatedCrash
from holdfast.testing.toys import toy_registry

from .conftest import all_of, digest, everything, work


def test_the_log_gives_the_same_state_again_and_again(stores):
    with stores.open() as store:
        work(store)
        expected, sequence = everything(store), store._backend._log.sequence
    for _ in range(2):
        with stores.open() as store:
            assert everything(store) == expected
            assert store.verify() == []
            report = store.status()["recovery"]
            assert report["snapshot"] is None and report["transactions"] == sequence and report["seconds"] > 0


def test_a_snapshot_gives_the_same_state_and_so_does_the_one_before_it(stores):
    with stores.open() as store:
        work(store, 1)
        first = store._backend.make_snapshot()
        work(store, 2)
        second = store._backend.make_snapshot()
        assert store._backend.make_snapshot() is None  # nothing has changed
        work(store, 1)
        expected = everything(store)
    with stores.open() as store:
        assert everything(store) == expected
        assert store.status()["recovery"]["snapshot"] == str(second) and store.verify() == []
    damaged = bytearray(second.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    second.write_bytes(damaged)
    with stores.open() as store:
        assert everything(store) == expected
        report = store.status()["recovery"]
        assert report["snapshot"] == str(first) and str(second) in report["unsound"][0]
        assert any(str(second) in fault for fault in store.verify())
    first.unlink()
    second.unlink()
    with pytest.raises(CorruptionError, match="missing"):  # the log before the older of two is gone
        stores.open()


def test_one_snapshot_that_is_damaged_falls_back_to_the_whole_log(stores):
    with stores.open() as store:
        work(store, 1)
        path = store._backend.make_snapshot()
        expected = everything(store)
    path.write_bytes(path.read_bytes()[:-1])
    with stores.open() as store:
        assert everything(store) == expected
        assert store.status()["recovery"]["snapshot"] is None


def test_old_snapshots_and_the_log_before_them_go(stores):
    with stores.open() as store:
        for n in range(4):
            store.kv.put("k", n)
            store._backend.make_snapshot()
        kept = find_snapshots(stores.directory, Disk())
        assert len(kept) == 2
        first = min(int(path.stem) for path in (stores.directory / "wal").glob("*.wal"))
        assert first == kept[1][0] + 1
    with stores.open() as store:
        assert store.kv.get("k") == 3


def test_an_unsound_snapshot_does_not_count_among_those_that_are_kept(stores):
    """Else a second that is damaged would be one too many."""
    with stores.open() as store:
        store.kv.put("k", 1)
        sound = store._backend.make_snapshot()
        store.kv.put("k", 2)
        unsound = store._backend.make_snapshot()
        store.kv.put("k", 3)
    unsound.write_bytes(unsound.read_bytes()[:-1])
    with stores.open() as store:
        newest = store._backend.make_snapshot()
        assert [path for _, path in find_snapshots(stores.directory, Disk())] == [newest, sound]
        store.kv.put("k", 4)
    newest.write_bytes(newest.read_bytes()[:-1])
    with stores.open() as store:
        assert store.kv.get("k") == 4
        store.kv.delete("k")
    with stores.open() as store:  # one that is damaged is written anew under its name
        newest = store._backend.make_snapshot()
        newest.write_bytes(newest.read_bytes()[:-1])
    with stores.open() as store:
        assert store._backend.make_snapshot() == newest
    with stores.open() as store:
        assert store.status()["recovery"]["snapshot"] == str(newest)


def test_a_snapshot_is_made_when_the_log_has_grown(stores):
    with stores.open(snapshot_bytes=200_000) as store:
        for n in range(12):
            store.kv.put(f"k{n}", "x" * 40_000)
        thread = store._backend._snapshot_thread
        assert thread is not None
        thread.join()
        assert find_snapshots(stores.directory, Disk()) and store.status()["snapshot_sequence"]
        expected = everything(store)
    with stores.open() as store:
        assert everything(store) == expected


def test_a_large_snapshot_is_synced_a_little_at_a_time(stores, monkeypatch):
    synced = []
    with stores.open() as store:
        for n in range(9):
            store.kv.put(f"k{n}", "x" * 400_000)
        original = SnapshotWriter.sync
        monkeypatch.setattr(SnapshotWriter, "sync", lambda self: (synced.append(self.size), original(self)))
        store._backend.make_snapshot()
        expected = everything(store)
    assert synced
    with stores.open() as store:
        assert everything(store) == expected and store.status()["recovery"]["snapshot_records"] == 9


def test_closing_makes_a_snapshot_by_the_same_rule(stores):
    with stores.open(snapshot_bytes=10**9) as store:
        work(store, 1)
        store._backend._snapshot_bytes = 100
    assert len(find_snapshots(stores.directory, Disk())) == 1


def cut_anywhere(stores, tmp_path, ends):
    """The last segment cut at each place, and what is found then."""
    (segment,) = (stores.directory / "wal").glob("*.wal")
    whole = segment.read_bytes()[: ends[-1]]
    for place in range(ends[0], ends[-1] + 1):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(stores.directory, copy)
        (copy / "wal" / segment.name).write_bytes(whole[:place])
        yield place, copy


def test_the_log_cut_at_every_byte_of_its_last_three_transactions_gives_a_prefix(stores, tmp_path):
    states, ends = [], []
    with stores.open(durability="buffered") as store:
        store.kv.put("a", 0)
        for n in range(4):
            states.append(everything(store))
            ends.append(store._backend._log._file.size)
            with store.transaction() as tx:
                tx.kv.put("a", n)
                tx.events.append("s", {"n": n}, type="t")
        shutil.copytree(stores.directory, tmp_path / "open")
    stores.directory = tmp_path / "open"  # as it was before it was closed: nothing is known to be durable
    for place, copy in cut_anywhere(stores, tmp_path, ends):
        with stores.open(copy) as store:
            whole = sum(end <= place for end in ends) - 1
            assert everything(store) == states[whole], place
            torn = (stores.directory / "wal" / "00000000000000000001.wal").read_bytes()[ends[whole] : place]
            assert store.status()["recovery"]["torn_bytes"] == len(torn.rstrip(b"\0"))


def test_a_bit_flipped_in_any_byte_of_a_closed_store_is_found_or_harmless(stores, tmp_path):
    """Detected by an error that names the file, or the state is the very same: never a wrong value."""
    with stores.open() as store:
        store.kv.put("before", 1)
        store._backend.make_snapshot()
        store.memories.store("text", session_id="s", embeddings={"d": [1.0]})
        store._backend.make_snapshot()
        store.kv.put("after", 2)
        expected = digest(store)
    harmless = detected = 0
    chance = random.Random(1)
    for path in sorted(stores.directory.rglob("*")):
        if not path.is_file() or path.name == "LOCK":
            continue
        content = path.read_bytes()
        for place in range(len(content.rstrip(b"\0")) + 2):
            if path.name == "DURABLE" and 30 < place < 4090:
                continue  # zeros between the slots, of which no byte is read
            copy = tmp_path / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(stores.directory, copy)
            damaged = bytearray(content.ljust(place + 1, b"\0"))
            damaged[place] ^= 1 << chance.randrange(8)
            (copy / path.relative_to(stores.directory)).write_bytes(damaged)
            fault = None
            try:
                with stores.open(copy) as store:
                    assert digest(store) == expected, (path, place)
                    harmless += 1
            except HoldfastError as error:
                fault = error
            if fault is not None:
                assert str(copy) in str(fault) and isinstance(fault, CorruptionError | FormatError), (path, place)
                detected += 1
    assert detected > 100 and harmless > 100, (detected, harmless)


def strict_steps(store, told):
    """Transactions over several kinds; ``told`` is what was acknowledged."""
    for n in range(4):
        with store.transaction() as tx:
            tx.kv.put(f"k{n}", n)
            tx.events.append("s", {"n": n}, type="t")
            tx.memories.store(f"m{n}", session_id="s")
            tx.counters.increment("c")
        told.append(n)
        if n == 1:
            store._backend.make_snapshot()


def check_steps(store, told):
    """All that was acknowledged is there; the one after it whole or absent; nothing else."""
    found = [event.data["n"] for event in store.events.read("s")]
    assert found == list(range(len(found))) and len(told) <= len(found) <= len(told) + 1
    assert store.kv.keys("k").items == [f"k{n}" for n in found]
    assert [memory.content for memory in store.memories.get_by_session("s")] == [f"m{n}" for n in found]
    assert store.counters.value("c") == len(found)
    assert store.verify() == []


def test_a_power_cut_at_every_step_loses_nothing_that_was_acknowledged(stores, tmp_path):
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
        for cut in range(2):
            left = disk.after_power_cut(seed + step * 10 + cut)
            with stores.open(left / "store") as store:
                check_steps(store, told)
                strict_before = everything(store)
            with stores.open(left / "store") as store:
                assert everything(store) == strict_before
        shutil.rmtree(root)
        if ended:
            assert step > 60
            return


@pytest.mark.parametrize(("operation", "error"), [("write", 28), ("write", 5), ("sync", 5), ("sync", 28)])
def test_after_a_failed_write_or_sync_nothing_is_promised_until_the_store_is_opened_again(
    stores, tmp_path, operation, error
):
    root = tmp_path / "root"
    root.mkdir()
    disk = FaultyDisk(root)
    store = stores.open(root / "store", disk=disk)
    store.kv.put("before", 1)
    disk.fail(operation, error)
    with pytest.raises(holdfast.StorageError):
        store.kv.put("lost", 2)
    assert store.kv.get("lost") is None and store.kv.get("before") == 1  # reads go on
    for _ in range(2):
        with pytest.raises(holdfast.PoisonedError):
            store.kv.put("later", 3)
    assert store._backend.snapshot_if_due() is False
    store.close()
    with stores.open(root / "store") as store:
        assert store.kv.get("before") == 1 and store.kv.get("later") is None
        store.kv.put("later", 3)


def test_a_short_write_is_completed(stores, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    disk = FaultyDisk(root)
    with stores.open(root / "store", disk=disk) as store:
        disk.shorten(7, times=5)
        store.kv.put("k", "x" * 1000)
        expected = everything(store)
    with stores.open(root / "store") as store:
        assert everything(store) == expected


def test_a_snapshot_that_fails_is_given_up_and_told(stores, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    disk = FaultyDisk(root)
    store = stores.open(root / "store", disk=disk)
    store.kv.put("k", 1)
    disk.fail("rename", 28, nth=2)  # the first is that of a new segment
    with pytest.raises(holdfast.DiskFullError):
        store._backend.make_snapshot()
    assert not find_snapshots(root / "store", disk)
    assert list((root / "store" / "snapshots").iterdir()) == []
    store.kv.put("k", 2)  # the log is whole
    store._backend._snapshot_bytes = 0
    disk.fail("rename", 5, nth=2)
    store.kv.put("k", 3)
    store._backend._snapshot_thread.join()
    assert "rename" in store.status()["snapshot_error"]
    store.kv.put("k", 4)
    store._backend._snapshot_thread.join()
    assert store.status()["snapshot_error"] is None
    store.close()
    with stores.open(root / "store") as store:
        assert store.kv.get("k") == 4


def test_a_snapshot_shows_one_moment_while_commits_go_on(stores):
    with stores.open() as store:
        work(store, 1)
        backend = store._backend
        expected = everything(store)
        disk, pages = Disk(), 0

        class Busy(Disk):
            def open_append(self, path, **options):
                nonlocal pages
                file = disk.open_append(path, **options)
                if path.suffix == ".tmp" and "snap" in path.name:
                    original = file.write

                    def write(data):
                        nonlocal pages
                        pages += 1
                        work(store, 1)
                        store.kv.put("old", pages)
                        original(data)

                    file.write = write
                return file

        backend._disk = Busy()
        path = backend.make_snapshot()
        assert pages > 5
        later = everything(store)
        store.close()
    state, _ = load_newest(stores.directory, Disk(), toy_registry(), MSGPACK)
    assert all_of(state.spaces) == expected
    with stores.open() as store:
        assert everything(store) == later and store.status()["recovery"]["snapshot"] == str(path)


def test_it_refuses_what_is_no_store_of_its_own(stores, tmp_path):
    registry = toy_registry()
    file = tmp_path / "file"
    file.write_text("x", encoding="utf-8")
    with pytest.raises(holdfast.InitError, match="is a file"):
        LogBackend(registry, file)
    with pytest.raises(holdfast.InitError, match="no log store"):
        LogBackend(registry, tmp_path / "missing", create=False)
    with pytest.raises(holdfast.InitError, match="no log store"):
        LogBackend(registry, tmp_path / "missing", read_only=True)
    with pytest.raises(holdfast.InitError, match="other files"):
        LogBackend(registry, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    with pytest.raises(holdfast.InvalidInputError, match="directory"):
        holdfast.open("log:")


def test_a_second_writer_is_refused_by_the_name_of_the_first(stores):
    with stores.open() as store:
        store.kv.put("k", 1)
        with pytest.raises(holdfast.LockedError, match=f"process {os.getpid()} on") as told:
            stores.open()
        assert str(os.getpid()) in (told.value.owner or "")
    stores.open().close()


def test_a_snapshot_of_another_store_is_refused(stores, tmp_path):
    with stores.open() as store:
        store.kv.put("k", 1)
        store._backend.make_snapshot()
    with stores.open(tmp_path / "other") as store:
        store.kv.put("k", 2)
    shutil.copytree(stores.directory / "snapshots", tmp_path / "other" / "snapshots")
    with pytest.raises(CorruptionError, match="another store"):
        stores.open(tmp_path / "other")


def test_a_snapshot_without_its_log_is_no_store(stores):
    with stores.open() as store:
        store.kv.put("k", 1)
        store._backend.make_snapshot()
    shutil.rmtree(stores.directory / "wal")
    (stores.directory / "wal").mkdir()
    (stores.directory / "DURABLE").unlink()
    with pytest.raises(CorruptionError, match="the log is missing"):
        stores.open()


def test_a_forked_child_is_refused(stores):
    with stores.open() as store:
        store.kv.put("k", 1)
        child = os.fork()
        if not child:
            try:
                store.kv.get("k")
            except holdfast.ClosedError:
                store.close()
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        store.kv.put("k", 2)
    with stores.open() as store:
        assert store.kv.get("k") == 2
