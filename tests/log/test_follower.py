"""A follower reads along: across rotation, up to what is whole, and it says when it has lost its place."""

from __future__ import annotations

import errno
import os
import random

import pytest

from holdfast.errors import CorruptionError, FormatError, ReadError
from holdfast.log.files import Disk
from holdfast.log.frame import SegmentHeader, encode_segment_header, read_segment_header
from holdfast.log.recovery import LogFollower
from holdfast.log.segments import segment_folder, segment_path
from holdfast.model import Entry
from holdfast.testing.faults import FaultyDisk

ONE = (7, (Entry(0x10, 1, b"payload"),))


def follow(tmp_path, after=0, disk=None):
    return LogFollower(tmp_path, disk or Disk(), after)


def poll(follower):
    return [frame.sequence for frame in follower.poll()]


def test_it_waits_for_a_log_and_reads_along(tmp_path, logs):
    follower = follow(tmp_path)
    assert poll(follower) == []
    assert not follower.is_gone
    wal = logs.open(tmp_path)
    assert poll(follower) == []
    for sequence in range(1, 20):
        wal.append([ONE], sync=False)
        assert [(one.time, one.entries) for one in follower.poll()] == [ONE]
        assert follower.sequence == sequence
        assert poll(follower) == []
        if sequence % 5 == 0:
            wal.rotate()
            assert poll(follower) == []
    wal.close()
    assert poll(follower) == []
    assert not follower.is_gone


def test_it_reads_what_a_random_writer_wrote(tmp_path, logs):
    seed = random.SystemRandom().randrange(2**31)
    print(f"seed {seed}")
    chance = random.Random(seed)
    wal = logs.open(tmp_path, segment_bytes=20_000)
    follower = follow(tmp_path)
    follower._STEP_BYTES = 1000
    done, found = {}, {}
    for turn in range(120):
        if chance.random() < 0.05:
            wal.close()
            wal = logs.open(tmp_path, segment_bytes=20_000, after=max(done, default=0))
        done.update(logs.fill(wal, chance.randint(1, 6), turn, sync=False, most=chance.choice((10, 5000))))
        if chance.random() < 0.5:
            for frame in follower.poll():
                found[frame.sequence] = (frame.time, frame.entries)
                if chance.random() < 0.1:
                    break
    found.update((frame.sequence, (frame.time, frame.entries)) for frame in follower.poll())
    assert list(found.items()) == list(done.items())
    wal.close()


@pytest.mark.parametrize("after", [1, 2, 3, 6])
def test_it_starts_after_a_snapshot(tmp_path, logs, after):
    wal = logs.open(tmp_path)
    for _ in range(3):
        wal.append([ONE, ONE], sync=False)
        wal.rotate()
    follower = follow(tmp_path, after)
    assert poll(follower) == list(range(after + 1, 7))
    wal.append([ONE], sync=False)
    assert poll(follower) == [7]
    wal.close()


def test_a_frame_that_is_not_whole_is_not_yet(tmp_path, logs):
    wal = logs.open(tmp_path, reserve_bytes=0)
    logs.fill(wal, 3)
    wal.close()
    path = segment_path(tmp_path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole[:60])
    follower = follow(tmp_path)
    seen = []
    for end in range(61, len(whole) + 1):
        path.write_bytes(whole[:end])
        seen += poll(follower)
        assert not follower.is_gone
    assert seen == [1, 2, 3]


def test_it_is_told_when_its_segment_is_gone(tmp_path, logs):
    wal = logs.open(tmp_path)
    for _ in range(4):
        wal.append([ONE], sync=False)
        wal.rotate()
    late, sealed, early = follow(tmp_path), follow(tmp_path), follow(tmp_path)
    assert next(iter(late.poll())).sequence == 1
    assert poll(sealed) == [1, 2, 3, 4]
    wal.append([ONE], sync=False)
    wal.remove_before(4)
    assert poll(sealed) == [5]
    assert poll(late) == []
    assert late.is_gone
    assert poll(late) == []
    assert poll(early) == []
    assert early.is_gone
    wal.close()
    behind = follow(tmp_path, 4)
    assert poll(behind) == [5]
    for name in os.listdir(segment_folder(tmp_path)):
        (segment_folder(tmp_path) / name).unlink()
    assert poll(behind) == []
    assert behind.is_gone


def test_a_segment_that_goes_while_it_is_read(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.append([ONE], sync=False)
    wal.rotate()

    class Late(Disk):
        def read(self, path, offset=0, most=-1):
            if path == segment_path(tmp_path, 1):
                wal.remove_before(2)
            return super().read(path, offset, most)

    follower = follow(tmp_path, disk=Late())
    assert poll(follower) == []
    assert follower.is_gone
    wal.close()


def test_a_sealed_end_whose_successor_is_missing(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.append([ONE], sync=False)
    follower = follow(tmp_path)
    assert poll(follower) == [1]
    wal.close()
    logs.open(tmp_path, after=5).close()  # the snapshot knows of more: 2..5 were never in the log
    assert poll(follower) == []
    assert follower.is_gone


def test_an_end_that_was_taken_back_and_written_anew(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.append([ONE], sync=False)
    size = wal.segments[0].size
    wal.append([ONE, ONE], sync=False)
    followers = [follow(tmp_path), follow(tmp_path)]
    for follower in followers:
        assert poll(follower) == [1, 2, 3]
    wal._take_back(size, False)
    wal._sequence = 1
    assert poll(followers[0]) == []
    assert followers[0].is_gone
    for _ in range(3):
        wal.append([(8, ONE[1])], sync=False)
    assert poll(followers[1]) == []
    assert followers[1].is_gone
    wal.close()


def test_an_end_that_was_written_anew_before_the_next_segment(tmp_path, logs):
    wal = logs.open(tmp_path)
    wal.append([ONE], sync=False)
    follower = follow(tmp_path)
    assert poll(follower) == [1]
    wal.rotate()
    path = segment_path(tmp_path, 2)
    rewrite(path, crc_before=12345)
    assert poll(follower) == []
    assert follower.is_gone
    wal.close()


def rewrite(path, **fields):
    buffer = path.read_bytes()
    header = read_segment_header(buffer)
    values = {name: getattr(header, name) for name in SegmentHeader.__struct_fields__}
    path.write_bytes(encode_segment_header(SegmentHeader(**{**values, **fields})) + buffer[60:])


def test_damage_in_a_segment_that_has_a_successor(tmp_path, logs):
    wal = logs.open(tmp_path)
    logs.fill(wal, 5)
    wal.rotate()
    wal.close()
    path = segment_path(tmp_path, 1)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CorruptionError):
            poll(follow(tmp_path))


def test_a_newer_version_and_a_medium_that_fails(tmp_path, logs):
    logs.open(tmp_path).close()
    disk = FaultyDisk(tmp_path)
    disk.fail("read", errno.EIO)
    with pytest.raises(ReadError):
        poll(follow(tmp_path, disk=disk))
    rewrite(segment_path(tmp_path, 1), version=2)
    with pytest.raises(FormatError):
        poll(follow(tmp_path))
