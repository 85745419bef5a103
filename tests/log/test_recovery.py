"""Recovery: every cut and every changed byte of a log, damage against a torn tail, and putting it right."""

from __future__ import annotations

import errno
import os
import random
import shutil

import pytest

from holdfast import clock
from holdfast.errors import CorruptionError, FormatError, PoisonedError, ReadError, WriteError
from holdfast.log.files import Disk
from holdfast.log.frame import (
    Frame,
    SegmentHeader,
    encode_footer,
    encode_frame,
    encode_segment_header,
    read_frames,
    read_segment_header,
)
from holdfast.log.recovery import LogRecovery
from holdfast.log.segments import segment_folder, segment_path, slots_path
from holdfast.log.slots import encode_slot
from holdfast.model import Entry
from holdfast.testing.faults import FaultyDisk, SimulatedCrash

ONE = (7, (Entry(0x10, 1, b"payload"),))


def frames_of(path):
    buffer = path.read_bytes()
    header = read_segment_header(buffer)
    return [item for item in read_frames(buffer, 60, header.salt, header.first) if isinstance(item, Frame)]


def torn_files(directory):
    return sorted(path for path in segment_folder(directory).iterdir() if path.suffix == ".torn")


def note(directory, sequence):
    """Say in the slots that all up to ``sequence`` was durable."""
    store_id = read_segment_header(sorted(segment_folder(directory).glob("*.wal"))[0].read_bytes()).store_id
    slot = encode_slot(store_id, sequence)
    slots_path(directory).write_bytes(slot.ljust(4096, b"\0") + slot)


def test_a_new_log_has_its_names_durable(tmp_path, logs):
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path / "a" / "b", disk)
    wal.append([ONE], sync=True)
    for seed in range(20):
        assert logs.read(disk.after_power_cut(seed) / "a" / "b")[0] == {1: ONE}
    wal.close()


def test_what_was_appended_comes_back_and_is_continued(tmp_path, logs):
    wal = logs.open(tmp_path, segment_bytes=3000)
    done = logs.fill(wal, 40)
    store_id = wal.store_id
    wal.close()
    for turn in range(3):
        found, report = logs.read(tmp_path)
        assert found == done
        assert (report.frames, report.last, report.lost, report.torn_bytes) == (len(done), len(done), 0, 0)
        assert report.bytes_read == sum(path.stat().st_size for path in segment_folder(tmp_path).iterdir())
        wal = logs.open(tmp_path, segment_bytes=3000)
        assert (wal.sequence, wal.durable, wal.store_id) == (len(done), len(done), store_id)
        transaction = (turn, ONE[1])
        done[wal.append([transaction], sync=True)] = transaction
        wal.close()
    assert torn_files(tmp_path) == []


def test_frames_before_a_snapshot_are_passed_over_and_their_segments_not_read(tmp_path, logs):
    wal = logs.open(tmp_path)
    for _ in range(3):
        for _ in range(4):
            wal.append([ONE], sync=True)
        wal.rotate()
    wal.close()
    for after, skipped in ((0, 0), (3, 0), (4, 1), (5, 1), (8, 2), (11, 2), (12, 3)):
        found, report = logs.read(tmp_path, after)
        assert found == dict.fromkeys(range(after + 1, 13), ONE)
        assert (report.skipped, report.segments) == (skipped, 4 - skipped)
    segment_path(tmp_path, 1).write_bytes(b"damaged")
    assert len(logs.read(tmp_path, 4)[0]) == 8
    wal = logs.open(tmp_path, after=4)
    assert [(one.first, one.last) for one in wal.segments] == [(1, 4), (5, 8), (9, 12), (13, 12)]
    wal.close()


def test_frames_that_are_not_taken_are_passed_over_by_finish(tmp_path, logs):
    wal = logs.open(tmp_path)
    done = logs.fill(wal, 10)
    wal.close()
    recovery = LogRecovery(tmp_path, Disk(), 0)
    assert next(recovery.frames()).sequence == 1
    wal = recovery.finish()
    assert wal.sequence == 10
    assert recovery.report.frames == 10
    wal.close()
    assert logs.read(tmp_path)[0] == done


# -- cuts --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_noted", [True, False])
def test_a_log_cut_at_any_byte_of_its_last_three_frames(tmp_path, logs, is_noted):
    origin = tmp_path / "origin"
    wal = logs.open(origin, reserve_bytes=0)
    done = logs.fill(wal, 8, most=40)
    wal.close()
    path = segment_path(origin, 1)
    whole = path.read_bytes()
    frames = frames_of(path)
    if not is_noted:
        note(origin, 0)
    for cut in range(frames[-3].offset, len(whole)):
        path.write_bytes(whole[:cut])
        left = {one.sequence: done[one.sequence] for one in frames if one.end <= cut}
        found, report = logs.read(origin)
        assert found == left
        torn = cut - frames[len(left)].offset
        assert report.torn_bytes == len(whole[cut - torn : cut].rstrip(b"\0"))
        assert report.lost == (len(done) - len(left) if is_noted else 0)
        copy = tmp_path / "copy"
        shutil.copytree(origin, copy)
        wal = logs.open(copy)
        assert wal.sequence == len(left)
        wal.append([ONE], sync=True)
        wal.close()
        assert logs.read(copy)[0] == {**left, len(left) + 1: ONE}
        kept = whole[cut - torn : cut].rstrip(b"\0")
        assert [one.read_bytes() for one in torn_files(copy)] == ([kept] if kept else [])
        shutil.rmtree(copy)


def test_torn_bytes_are_never_written_over(tmp_path, logs):
    path = segment_path(tmp_path, 1)
    logs.open(tmp_path, reserve_bytes=0).close()
    header = path.read_bytes()
    for data in (b"one", b"two", b"one"):
        path.write_bytes(header + data)
        logs.open(tmp_path, reserve_bytes=0).close()
        assert path.read_bytes() == header
    assert [(one.name, one.read_bytes()) for one in torn_files(tmp_path)] == [
        ("00000000000000000001-60-2.torn", b"two"), ("00000000000000000001-60.torn", b"one"),
    ]  # fmt: skip


def test_zeros_after_the_last_frame_are_no_tail(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.append([ONE], sync=True)
    assert segment_path(tmp_path, 1).stat().st_size > 2 * wal.segments[0].size
    found, report = logs.read(tmp_path)  # as a kill leaves it
    assert (found, report.torn_bytes) == ({1: ONE}, 0)
    again = logs.open(tmp_path, reserve_bytes=0)
    assert segment_path(tmp_path, 1).stat().st_size == again.segments[0].size
    again.close()
    wal.close()


# -- changed bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_noted", [True, False])
@pytest.mark.parametrize("ends_sealed", [True, False])
def test_a_changed_byte_anywhere_is_found_or_does_no_harm(tmp_path, logs, is_noted, ends_sealed):
    """Never another value, and never fewer of what is known to be durable without an error."""
    wal = logs.open(tmp_path)
    done = {}
    for turn in range(3):
        for sync in (True, False, True):
            transaction = (turn, (Entry(0x10, turn, bytes(range(turn * 3))),))
            done[wal.append([transaction], sync=sync)] = transaction
        wal.rotate()
    done[wal.append([ONE], sync=True)] = ONE
    done[wal.append([ONE], sync=True)] = ONE
    wal.close()
    last = segment_path(tmp_path, 10)
    if ends_sealed:
        last.unlink()
        done = {sequence: one for sequence, one in done.items() if sequence <= 9}
        last = segment_path(tmp_path, 7)
    durable = max(done) if is_noted else max(one.durable for one in frames_of(last))
    note(tmp_path, durable if is_noted else 0)
    harmless = 0
    for path in (*sorted(segment_folder(tmp_path).iterdir()), slots_path(tmp_path)):
        whole = path.read_bytes()
        places = [*range(40), *range(4090, 4124)] if path == slots_path(tmp_path) else range(len(whole))
        for place in places:  # what is between the slots is not read
            path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :])
            try:
                found, report = logs.read(tmp_path)
            except CorruptionError as error:
                damage = error
            else:
                damage = None
            if damage is not None:
                assert damage.path == str(path)
                assert damage.offset <= place
                continue
            harmless += 1
            assert found == {sequence: done[sequence] for sequence in range(1, len(found) + 1)}
            assert len(found) >= durable
            assert path in (last, slots_path(tmp_path))
            assert report.torn_bytes or path == slots_path(tmp_path)
        path.write_bytes(whole)
    unsure = [one for one in frames_of(last) if one.sequence > durable]
    assert len(unsure) == (0 if is_noted else 2 if ends_sealed else 1)
    assert harmless == 74 + (24 if ends_sealed else 0) + sum(one.end - one.offset for one in unsure)
    assert logs.read(tmp_path)[0] == done


def test_damage_of_a_frame_that_a_later_one_calls_durable(tmp_path, logs):
    wal = logs.open(tmp_path)
    logs.fill(wal, 6)
    wal.close()
    slots_path(tmp_path).unlink()
    path = segment_path(tmp_path, 1)
    whole, frames = path.read_bytes(), frames_of(path)
    for number in range(5):
        path.write_bytes(whole[: frames[number].offset + 20] + b"\xff" + whole[frames[number].offset + 21 :])
        with pytest.raises(CorruptionError, match=f"up to transaction {number} is readable, and {5 - number} after"):
            logs.read(tmp_path)
        with pytest.raises(CorruptionError):
            logs.open(tmp_path)
    assert path.read_bytes()[:60] == whole[:60]
    recovery = LogRecovery(tmp_path, Disk(), 0)
    with pytest.raises(CorruptionError):
        list(recovery.frames())
    with pytest.raises(CorruptionError, match="to its end"):
        recovery.finish()


def test_a_hole_in_what_was_never_synced_is_a_torn_tail(tmp_path, logs):
    wal = logs.open(tmp_path)
    done = logs.fill(wal, 2)
    logs.fill(wal, 5, sync=False)
    path = segment_path(tmp_path, 1)
    third = frames_of(path)[2]
    whole = bytearray(path.read_bytes())
    whole[third.offset : third.end] = bytes(third.end - third.offset)
    path.write_bytes(whole)
    found, report = logs.read(tmp_path)
    assert found == done
    assert report.torn_offset == third.offset
    assert report.torn_why == "no frame stands where 3 belongs"
    assert report.torn_path == str(path)
    again = logs.open(tmp_path)
    assert again.append([ONE], sync=True) == 3
    again.close()
    assert logs.read(tmp_path)[0] == {**done, 3: ONE}
    wal._file.close()


def test_zeros_where_the_slots_say_durable_are_reported_as_lost(tmp_path, logs):
    wal = logs.open(tmp_path)
    done = logs.fill(wal, 4)
    wal.close()
    path = segment_path(tmp_path, 1)
    last = frames_of(path)[3]
    for zeros_from in (last.offset, last.offset + 20, last.offset + 40, last.end - 4):
        path.write_bytes(path.read_bytes()[:zeros_from].ljust(last.end + 500, b"\0"))
        found, report = logs.read(tmp_path)
        assert found == {sequence: done[sequence] for sequence in (1, 2, 3)}
        assert report.lost == 1
        logs.open(tmp_path / "x").close()
        path.write_bytes(path.read_bytes())


def splice(tmp_path, logs, make):
    """A log of one segment whose bytes are ``make(salt)`` after the header."""
    logs.open(tmp_path).close()
    path = segment_path(tmp_path, 1)
    header = path.read_bytes()[:60]
    path.write_bytes(header + make(read_segment_header(header).salt))


@pytest.mark.parametrize("sequences", [(1, 3), (1, 1), (2,)])
def test_a_sound_frame_in_a_wrong_place_is_damage(tmp_path, logs, sequences):
    splice(tmp_path, logs, lambda salt: b"".join(encode_frame(salt, one, 0, *ONE) for one in sequences))
    with pytest.raises(CorruptionError, match="belongs"):
        logs.read(tmp_path)


def test_a_footer_that_seals_something_else_is_damage(tmp_path, logs):
    splice(tmp_path, logs, lambda salt: encode_frame(salt, 1, 0, *ONE) + encode_footer(salt, 2, 0))
    with pytest.raises(CorruptionError, match="sealed after another"):
        logs.read(tmp_path)


def test_bytes_after_a_footer_are_cut_from_the_last_segment_only(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.append([ONE], sync=True)
    wal.rotate()
    wal.close()
    first, second = segment_path(tmp_path, 1), segment_path(tmp_path, 2)
    whole, after = first.read_bytes(), second.read_bytes()
    first.write_bytes(whole + b"more")
    with pytest.raises(CorruptionError, match="bytes after its end"):
        logs.read(tmp_path)
    second.unlink()
    found, report = logs.read(tmp_path)
    assert (found, report.torn_bytes) == ({1: ONE}, 4)
    logs.open(tmp_path).close()
    assert first.read_bytes() == whole
    assert len(second.read_bytes()) == len(after)


# -- the chain of segments ---------------------------------------------------------------------------------------------


@pytest.fixture
def chain(tmp_path, logs):
    """Three sealed segments of two transactions each, and one that is written on, with one."""
    wal = logs.open(tmp_path)
    for _ in range(3):
        wal.append([ONE, ONE], sync=True)
        wal.rotate()
    wal.append([ONE], sync=True)
    wal.close()
    return [segment_path(tmp_path, first) for first in (1, 3, 5, 7)]


@pytest.mark.parametrize("place", range(3))
def test_a_segment_that_is_missing_is_damage(tmp_path, logs, chain, place):
    chain[place].unlink()
    with pytest.raises(CorruptionError, match="is missing"):
        logs.read(tmp_path)
    assert len(logs.read(tmp_path, 2 * place + 2)[0]) == 5 - 2 * place


def test_the_last_segment_or_all_missing_is_damage_if_the_slots_know_of_more(tmp_path, logs, chain):
    chain[3].unlink()
    with pytest.raises(CorruptionError, match="begins with 7 is missing"):
        logs.read(tmp_path)
    assert logs.read(tmp_path, 7)[0] == {}
    for path in chain[:3]:
        path.unlink()
    with pytest.raises(CorruptionError, match="begins with 4 is missing"):
        logs.read(tmp_path, 3)
    note_id = LogRecovery(tmp_path, Disk(), 7)
    wal = note_id.finish()
    assert wal.append([ONE], sync=True) == 8
    wal.close()
    assert logs.read(tmp_path, 7)[0] == {8: ONE}


def test_a_segment_that_is_not_the_last_is_whole(tmp_path, logs, chain):
    whole = chain[1].read_bytes()
    for cut in range(len(whole)):
        chain[1].write_bytes(whole[:cut])
        with pytest.raises(CorruptionError):
            logs.read(tmp_path)


def changed_header(path, **fields):
    buffer = path.read_bytes()
    header = read_segment_header(buffer)
    values = {name: getattr(header, name) for name in SegmentHeader.__struct_fields__}
    path.write_bytes(encode_segment_header(SegmentHeader(**{**values, **fields})) + buffer[60:])


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"first": 4}, "do not agree"),
        ({"before": 1}, "do not agree"),
        ({"store_id": b"f" * 16}, "another store"),
        ({"crc_before": 1}, "does not continue"),
    ],
)
def test_a_segment_of_another_chain_is_damage(tmp_path, logs, chain, fields, why):
    changed_header(chain[1], **fields)
    with pytest.raises(CorruptionError, match=why):
        logs.read(tmp_path)


def test_a_newer_version_is_refused(tmp_path, logs, chain):
    changed_header(chain[3], version=2)
    with pytest.raises(FormatError, match="version 2"):
        logs.read(tmp_path)


def test_other_names_are_let_be_and_leftovers_of_writing_removed(tmp_path, logs, chain):
    folder = segment_folder(tmp_path)
    for name in ("notes.txt", "1.wal", "00000000000000000009.wal.tmp"):
        (folder / name).write_bytes(b"x")
    logs.open(tmp_path).close()
    assert (folder / "notes.txt").exists()
    assert not (folder / "00000000000000000009.wal.tmp").exists()


def test_a_snapshot_that_knows_more_than_the_log(tmp_path, logs):
    """The frames were never synced, and a power cut took them after the snapshot was durable."""
    wal = logs.open(tmp_path)
    wal.append([ONE, ONE], sync=True)
    wal.close()
    for after in (5, 5, 9):
        recovery = LogRecovery(tmp_path, Disk(), after)
        assert list(recovery.frames()) == []
        wal = recovery.finish()
        assert (wal.sequence, wal.durable) == (after, after)
        if after == 9:
            assert wal.append([ONE], sync=True) == 10
        wal.close()
    assert logs.read(tmp_path, 9)[0] == {10: ONE}
    with pytest.raises(CorruptionError, match="begins with 3 is missing"):
        logs.read(tmp_path, 2)


def test_slots_of_another_store_are_not_believed(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.append([ONE], sync=True)
    wal.close()
    slots_path(tmp_path).write_bytes(encode_slot(b"another store...", 99))
    assert logs.read(tmp_path)[1].lost == 0
    slots_path(tmp_path).unlink()
    assert logs.read(tmp_path)[1].noted_durable == 0


def test_the_id_of_a_store_is_drawn_once(tmp_path, logs, monkeypatch):
    monkeypatch.setattr(clock, "random_token", lambda size: bytes(size))
    wal = logs.open(tmp_path)
    assert wal.store_id == bytes(16)
    assert read_segment_header(segment_path(tmp_path, 1).read_bytes()).salt == 1  # never 0
    wal.close()


# -- faults while it is put right --------------------------------------------------------------------------------------


def torn_log(directory, logs):
    wal = logs.open(directory, segment_bytes=2000)
    done = logs.fill(wal, 12)
    wal.append([ONE], sync=False)
    wal._file.close()
    path = sorted(segment_folder(directory).glob("*.wal"))[-1]
    whole = path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole[:-3])
    return done


def test_a_crash_at_each_step_of_recovery_is_harmless(tmp_path, logs):
    done = torn_log(tmp_path / "origin", logs)
    step = 0
    is_whole = False
    while not is_whole:
        step += 1
        directory = tmp_path / f"crash{step}"
        shutil.copytree(tmp_path / "origin", directory)
        disk = FaultyDisk(directory)
        disk.crash_at(step, torn=step % 3)
        try:
            logs.open(directory, disk, segment_bytes=2000).close()
            is_whole = True
        except SimulatedCrash:
            pass
        for state in (directory, *(disk.after_power_cut(seed) for seed in range(5))):
            again = logs.open(state, segment_bytes=2000)
            assert again.sequence == 12
            assert again.append([ONE], sync=True) == 13
            again.close()
            assert logs.read(state)[0] == {**done, 13: ONE}
            shutil.rmtree(state)
    assert step > 15


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_an_error_at_each_step_of_recovery_is_told_and_harmless(tmp_path, logs, code):
    done = torn_log(tmp_path / "origin", logs)
    for operation in ("open", "write", "sync", "truncate", "rename", "sync_directory", "read", "list"):
        for nth in range(1, 100):
            directory = tmp_path / f"{operation}{nth}"
            shutil.copytree(tmp_path / "origin", directory)
            disk = FaultyDisk(directory)
            disk.fail(operation, code, nth=nth)
            before = len(os.listdir("/proc/self/fd"))
            try:
                logs.open(directory, disk, segment_bytes=2000).close()
                break
            except (WriteError, ReadError):
                assert len(os.listdir("/proc/self/fd")) == before
            again = logs.open(directory)
            assert again.append([ONE], sync=True) == 13
            again.close()
            assert logs.read(directory)[0] == {**done, 13: ONE}
        assert 1 < nth < 99


def test_what_is_only_in_the_page_cache_is_written_again(tmp_path, logs):
    """After a sync that failed the system takes pages for clean; a later sync would not bring them to the medium."""
    disk = FaultyDisk(tmp_path)
    wal = logs.open(tmp_path, disk, segment_bytes=100_000)
    wal.append([ONE], sync=True)
    disk.fail("sync", errno.EIO)
    with pytest.raises(WriteError):
        wal.append([ONE], sync=True)
    with pytest.raises(PoisonedError):
        wal.append([ONE], sync=True)
    wal.close()
    again = logs.open(tmp_path, disk)
    assert again.sequence == 2
    assert again.append([ONE], sync=True) == 3
    for seed in range(10):
        assert logs.read(disk.after_power_cut(seed))[0] == {1: ONE, 2: ONE, 3: ONE}
    again.close()


def test_a_random_log_survives_being_opened_and_closed(tmp_path, logs):
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}")
    chance = random.Random(seed)
    done = {}
    for _ in range(15):
        wal = logs.open(tmp_path, segment_bytes=chance.choice((200, 5000)), reserve_bytes=chance.choice((0, 4000)))
        for _ in range(chance.randint(0, 5)):
            some = [logs.transaction(chance) for _ in range(chance.randint(1, 3))]
            last = wal.append(some, sync=chance.random() < 0.3)
            done.update(zip(range(last - len(some) + 1, last + 1), some, strict=True))
        wal.close()
        assert logs.read(tmp_path)[0] == done
