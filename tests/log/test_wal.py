"""The write-ahead log: groups, syncs, segments, slots, poison, and what an interrupt leaves."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from holdfast.errors import ClosedError, DiskFullError, InvalidInputError, PoisonedError, WriteError
from holdfast.log.files import Disk
from holdfast.log.frame import Frame, encode_entries, read_frames, read_segment_header
from holdfast.log.segments import segment_folder, slots_path
from holdfast.log.slots import read_slots
from holdfast.model import Entry
from holdfast.testing.faults import FaultyDisk, SimulatedCrash

ONE = (7, (Entry(0x10, 1, b"payload"),))


def frames_in(wal):
    found = []
    for segment in wal.segments:
        buffer = segment.path.read_bytes()
        header = read_segment_header(buffer)
        found += [item for item in read_frames(buffer, 60, header.salt, header.first) if isinstance(item, Frame)]
    return found


def test_sequences_are_contiguous_from_one_and_groups_are_one_write(tmp_path, logs):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk)
    assert (wal.sequence, wal.durable) == (0, 0)
    writes = disk.calls["write"]
    assert wal.append([ONE, ONE, ONE], sync=False) == 3
    assert disk.calls["write"] == writes + 1
    assert wal.append([(8, ())], sync=False) == 4
    assert wal.append_joined([(9, 1, encode_entries(ONE[1]))], sync=False) == 5
    assert wal.append([], sync=False) == 5
    assert [(one.sequence, one.time, one.entries) for one in frames_in(wal)] == [
        (1, 7, ONE[1]), (2, 7, ONE[1]), (3, 7, ONE[1]), (4, 8, ()), (5, 9, ONE[1]),
    ]  # fmt: skip
    wal.close()


def test_a_group_is_synced_once_and_frames_tell_what_was_durable_before(tmp_path, logs):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk)
    syncs = disk.calls["sync"]
    assert wal.append([ONE, ONE], sync=True) == 2
    assert disk.calls["sync"] == syncs + 1  # the slots are not synced
    assert wal.durable == 2
    wal.append([ONE], sync=False)
    assert wal.durable == 2
    assert wal.append([], sync=True) == 3
    assert wal.durable == 3
    wal.append([ONE], sync=False)
    assert wal.flush() == 4
    assert wal.durable == 4
    syncs = disk.calls["sync"]
    assert wal.flush() == 4
    assert disk.calls["sync"] == syncs
    assert [one.durable for one in frames_in(wal)] == [0, 0, 2, 3]
    assert max(read_slots(slots_path(tmp_path).read_bytes())) == (wal.store_id, 4)
    wal.close()


def test_slots_are_written_alternately(tmp_path, logs):
    wal = logs.open(tmp_path)
    for _ in range(2):
        wal.append([ONE], sync=True)
    assert read_slots(slots_path(tmp_path).read_bytes()) == [(wal.store_id, 1), (wal.store_id, 2)]
    damaged = bytearray(slots_path(tmp_path).read_bytes())
    damaged[4100] ^= 1
    assert read_slots(bytes(damaged)) == [(wal.store_id, 1)]
    assert read_slots(b"") == []
    wal.close()


def test_a_full_segment_is_sealed_before_the_next_exists(tmp_path, logs):
    wal = logs.open(tmp_path, segment_bytes=600)
    for _ in range(30):
        wal.append([ONE], sync=False)
    segments = wal.segments
    assert len(segments) > 2
    assert wal.durable == segments[-1].first - 1  # sealing syncs
    for one, following in zip(segments, segments[1:], strict=False):
        buffer = one.path.read_bytes()
        header = read_segment_header(buffer)
        *found, footer = read_frames(buffer, 60, header.salt, header.first)
        assert (footer.last, footer.crc, footer.end) == (found[-1].sequence, found[-1].crc, len(buffer))
        assert one.size == len(buffer)
        assert (one.first, one.last) == (header.first, footer.last)
        after = read_segment_header(following.path.read_bytes())
        assert (after.before, after.crc_before, after.first) == (footer.last, footer.crc, footer.last + 1)
        assert after.store_id == header.store_id == wal.store_id
        assert following.path.name == f"{after.first:020d}.wal"
    wal.close()
    assert logs.read(tmp_path)[0] == dict.fromkeys(range(1, 31), ONE)


def test_rotation_on_demand_and_removal_of_whole_segments(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.rotate()
    assert len(wal.segments) == 1  # still empty
    for _ in range(3):
        wal.append([ONE], sync=False)
        wal.append([ONE], sync=False)
        wal.rotate()
    assert [(one.first, one.last) for one in wal.segments] == [(1, 2), (3, 4), (5, 6), (7, 6)]
    assert wal.remove_before(2) == 0
    assert wal.remove_before(5) == 2
    assert [one.first for one in wal.segments] == [5, 7]
    assert wal.remove_before(100) == 1
    assert sorted(os.listdir(segment_folder(tmp_path))) == ["00000000000000000007.wal"]
    wal.append([ONE], sync=True)
    wal.close()
    assert logs.read(tmp_path, 6)[0] == {7: ONE}


def test_a_failure_to_remove_does_not_poison(tmp_path, logs):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk)
    wal.append([ONE], sync=True)
    wal.rotate()
    disk.fail("remove", errno.EIO)
    with pytest.raises(WriteError):
        wal.remove_before(9)
    wal.append([ONE], sync=True)
    assert wal.remove_before(9) == 1
    wal.close()


def test_bytes_since_is_what_was_written_after_to_64_kib(tmp_path, logs):
    wal = logs.open(tmp_path, segment_bytes=300_000)
    sizes = {0: 0}
    total = 0
    big = (1, (Entry(1, 1, b"x" * 10_000),))
    for _ in range(100):
        total += 10_050
        sizes[wal.append([big], sync=False)] = total
    for sequence, before in sizes.items():
        assert total - before <= wal.bytes_since(sequence) <= total - before + 64 * 1024 + 10_050 + 4 * 84
    assert wal.bytes_since(100) == wal.bytes_since(1000) == 0
    wal.remove_before(50)
    assert wal.bytes_since(60) <= 40 * 10_050 + 64 * 1024 + 10_050 + 4 * 84
    wal.close()
    again = logs.open(tmp_path, after=60)
    assert 0 < again.bytes_since(60) <= 300_000 + 40 * 10_050 + 100_000
    assert again.bytes_since(0) >= again.bytes_since(60)
    again.close()


@pytest.mark.parametrize("operation", ["write", "sync"])
def test_after_a_failure_nothing_is_written_any_more(tmp_path, logs, operation):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk)
    wal.append([ONE], sync=True)
    disk.fail(operation, errno.EIO)
    with pytest.raises(WriteError) as first:
        wal.append([ONE], sync=True)
    assert isinstance(first.value.__cause__, OSError)
    assert wal.failure is first.value
    assert (wal.sequence, wal.durable) == (1, 1)
    steps = disk.steps
    for act in (lambda: wal.append([ONE], sync=False), lambda: wal.append([ONE], sync=True), wal.flush, wal.rotate,
                lambda: wal.remove_before(9)):  # fmt: skip
        with pytest.raises(PoisonedError) as later:
            act()
        assert later.value.__cause__ is first.value
    wal.close()
    wal.close()
    assert disk.steps == steps
    again = logs.open(tmp_path)
    assert 1 <= again.sequence <= 2  # unknown, but whole
    assert again.append([ONE], sync=True) == again.sequence
    again.close()
    assert set(logs.read(tmp_path)[0].values()) == {ONE}


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_told_and_the_log_is_good_again_once_there_is_space(tmp_path, logs, code):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk)
    wal.append([ONE], sync=True)
    disk.shorten(20)
    disk.fail("write", code, nth=2)
    with pytest.raises(DiskFullError, match="free some space"):
        wal.append([ONE], sync=True)
    assert logs.read(tmp_path)[0] == {1: ONE}  # readable meanwhile
    wal.close()
    again = logs.open(tmp_path)
    assert again.append([ONE], sync=True) == 2
    again.close()
    assert logs.read(tmp_path)[0] == {1: ONE, 2: ONE}


def test_a_flush_that_fails_poisons(tmp_path, logs):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk)
    wal.append([ONE], sync=False)
    disk.fail("sync", errno.EIO)
    with pytest.raises(WriteError):
        wal.flush()
    with pytest.raises(PoisonedError):
        wal.append([ONE], sync=True)
    assert wal.durable == 0
    wal.close()


@pytest.mark.parametrize(
    ("operation", "nth"), [("write", 2), ("write", 4), ("sync", 2), ("sync", 3), ("rename", 1), ("sync_directory", 1)]
)
def test_a_rotation_that_fails_poisons_and_loses_nothing(tmp_path, logs, operation, nth):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk, segment_bytes=150)
    disk.fail(operation, errno.EIO, nth=nth)
    done = 0
    with pytest.raises(WriteError):
        for _ in range(5):
            done = wal.append([ONE], sync=True)
    with pytest.raises(PoisonedError):
        wal.append([ONE], sync=False)
    wal.close()
    found, _ = logs.read(tmp_path)
    assert done <= len(found) <= done + 1
    logs.open(tmp_path).close()
    assert logs.read(tmp_path)[0] == found


def test_a_close_that_fails_says_so_and_closes(tmp_path, logs):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk)
    wal.append([ONE], sync=False)
    disk.fail("sync", errno.EIO)
    with pytest.raises(WriteError):
        wal.close()
    wal.close()
    with pytest.raises(ClosedError):
        wal.flush()


def test_short_writes_are_completed(tmp_path, logs):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk)
    disk.shorten(5, times=1000)
    assert wal.append([ONE, ONE], sync=True) == 2
    wal.close()
    assert logs.read(tmp_path)[0] == {1: ONE, 2: ONE}


def test_a_system_that_reserves_no_space_is_lived_with(tmp_path, logs):
    disk = FaultyDisk(tmp_path)
    disk.fail("reserve", errno.EOPNOTSUPP, times=9)
    wal = logs.open(tmp_path, disk)
    assert wal.append([ONE], sync=True) == 1
    assert wal.segments[0].path.stat().st_size == wal.segments[0].size
    wal.close()
    assert disk.calls["reserve"] == 1


def test_space_is_reserved_ahead_and_given_back(tmp_path, logs):
    wal = logs.open(tmp_path, reserve_bytes=200_000)
    big = (1, (Entry(1, 1, b"x" * 50_000),))
    for _ in range(20):
        wal.append([big], sync=False)
        assert wal.segments[0].size + 64 * 1024 - 50_050 <= wal.segments[0].path.stat().st_size
    wal.close()
    assert wal.segments[0].path.stat().st_size == wal.segments[0].size
    assert len(logs.read(tmp_path)[0]) == 20


def test_what_does_not_fit_is_refused_and_nothing_is_written(tmp_path, logs):
    wal = logs.open(tmp_path)
    with pytest.raises(InvalidInputError):
        wal.append([ONE, (2**63, ())], sync=True)
    assert wal.append([ONE], sync=True) == 1
    wal.close()
    assert logs.read(tmp_path)[0] == {1: ONE}


class Interrupting(Disk):
    """Raises what it is told at the nth write or sync of log files."""

    error = None

    def _opened(self, path, descriptor, size):
        file = super()._opened(path, descriptor, size)
        if path.suffix == ".wal":
            write, sync = file._pwrite, file._sync_data

            def torn(*arguments):
                done = write(*arguments)
                self.strike("write")
                return done

            def synced(*arguments):
                sync(*arguments)
                self.strike("sync")

            file._pwrite, file._sync_data = torn, synced
        return file

    def strike(self, operation):
        if self.error and self.error[0] == operation:
            (_, error), self.error = self.error, None
            raise error


@pytest.mark.parametrize("operation", ["write", "sync"])
@pytest.mark.parametrize("sync", [True, False])
def test_an_interrupted_append_is_taken_back(tmp_path, logs, operation, sync):
    disk = Interrupting()
    wal = logs.open(tmp_path, disk)
    wal.append([ONE], sync=True)
    disk.error = (operation, KeyboardInterrupt())
    if operation == "sync" and not sync:
        wal.append([ONE], sync=False)
        with pytest.raises(KeyboardInterrupt):
            wal.flush()
        assert (wal.sequence, wal.durable) == (2, 1)
    else:
        with pytest.raises(KeyboardInterrupt):
            wal.append([(9, (Entry(1, 1, b"interrupted"),))] * 3, sync=sync)
        assert (wal.sequence, wal.durable) == (1, 1)
        assert wal.append([ONE], sync=sync) == 2
    assert max(read_slots(slots_path(tmp_path).read_bytes()))[1] <= 2
    wal.close()
    assert logs.read(tmp_path)[0] == {1: ONE, 2: ONE}


def test_an_interrupt_that_may_hide_a_failure_poisons(tmp_path, logs):
    disk = Interrupting()
    wal = logs.open(tmp_path, disk)
    interrupt = KeyboardInterrupt()
    interrupt.__context__ = OSError(errno.EIO, "hidden")
    disk.error = ("sync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        wal.append([ONE], sync=True)
    with pytest.raises(PoisonedError):
        wal.append([ONE], sync=True)
    wal.close()


def test_an_interrupt_that_cannot_be_undone_poisons(tmp_path, logs):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk)
    disk.crash_at(disk.steps + 1, torn=10)
    with pytest.raises(SimulatedCrash):
        wal.append([ONE], sync=True)
    with pytest.raises(PoisonedError):
        wal._check()


def test_a_closed_log_refuses(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.append([ONE], sync=False)
    wal.close()
    wal.close()
    for act in (lambda: wal.append([ONE], sync=False), wal.flush, wal.rotate, lambda: wal.remove_before(1)):
        with pytest.raises(ClosedError):
            act()
    assert wal.durable == 1
    assert max(read_slots(slots_path(tmp_path).read_bytes())) == (wal.store_id, 1)


def test_a_forked_child_cannot_write(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.append([ONE], sync=True)
    wal._writing.acquire()  # as another thread of the parent may have at that moment
    child = os.fork()
    if not child:
        try:
            wal.append([ONE], sync=True)
        except ClosedError:
            os._exit(0)
        os._exit(1)
    wal._writing.release()
    assert os.waitpid(child, 0)[1] == 0
    assert wal.append([ONE], sync=True) == 2
    wal.close()


def test_threads_append_and_flush_at_once(tmp_path, logs):
    wal = logs.open(tmp_path, segment_bytes=5000)
    done = []

    def work(number):
        for turn in range(60):
            payload = (number, (Entry(number, 1, b"%d" % turn),))
            done.append((wal.append([payload], sync=turn % 7 == 0), payload))
            if turn % 5 == 0:
                assert wal.flush() >= 1
            wal.bytes_since(turn)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wal.close()
    assert logs.read(tmp_path)[0] == dict(done)
    assert len(done) == 240
