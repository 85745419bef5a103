"""Crashes and power cuts: what is left is a prefix of what was written, and holds all that was synced."""

from __future__ import annotations

import errno
import os
import random
import shutil

import pytest

from holdfast.errors import CorruptionError, HoldfastError, PoisonedError, WriteError
from holdfast.log.files import Disk
from holdfast.log.recovery import LogRecovery
from holdfast.log.segments import segment_path
from holdfast.model import Entry
from holdfast.testing.faults import FaultyDisk, SimulatedCrash

ONE = (7, (Entry(0x10, 1, b"one"),))
SIZES = {"segment_bytes": 12_000, "reserve_bytes": 6_000}


class Work:
    """Random work on a log, and what is known of it: ``written`` by sequence, ``acknowledged`` as durable."""

    def __init__(self, logs, directory, disk, chance, after=0, written=None):
        self.logs, self.directory, self.disk, self.chance = logs, directory, disk, chance
        self.after = after  # what a snapshot covers, which is taken for durable
        self.written = dict(written or {})
        self.acknowledged = after
        self.tried = {}
        self.wal = None

    def do(self, steps, sizes=SIZES):
        wal = self.wal = self.logs.open(self.directory, self.disk, self.after, **sizes)
        self.acknowledged = max(self.acknowledged, wal.durable)
        for _ in range(steps):
            act = self.chance.random()
            if act < 0.8:
                some = [self.logs.transaction(self.chance, self.chance.choice((20, 300, 9000)))
                        for _ in range(self.chance.choice((1, 1, 1, 3)))]  # fmt: skip
                sync = self.chance.random() < 0.4
                self.tried = dict(enumerate(some, wal.sequence + 1))
                last = wal.append(some, sync=sync)
                assert last == wal.sequence == max(self.tried)
                self.written.update(self.tried)
                self.tried = {}
                self.acknowledged = max(self.acknowledged, last if sync else 0)
            elif act < 0.88:
                self.acknowledged = wal.flush()
            elif act < 0.94:
                wal.rotate()
            else:
                self.after = self.chance.randint(self.after, wal.sequence)
                wal.remove_before(self.after + 1)
            self.acknowledged = max(self.acknowledged, wal.durable)
        return wal

    def check(self, state):
        """What is found after ``after`` is what was written, from the first on, and at least what was acknowledged."""
        found, report = self.logs.read(state, self.after)
        possible = {**self.written, **self.tried}
        for sequence, transaction in found.items():
            assert transaction == possible[sequence], sequence
        assert self.after + len(found) >= self.acknowledged
        assert report.lost == 0
        return found


def chosen_seed():
    seed = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"HOLDFAST_SEED={seed}")
    return seed


def one_round(tmp_path, logs, seed, *, cuts, crash_step=None):
    """Work, stop, cut the power; then work on what is left, and cut again."""
    chance = random.Random(seed)
    root = tmp_path / f"store-{seed}"
    root.mkdir()
    disk = FaultyDisk(root)
    work = Work(logs, root / "inner", disk, chance)
    if crash_step is not None:
        disk.crash_at(crash_step, torn=chance.choice((0, 1, 50, 5000)))
    stopped = False
    try:
        wal = work.do(chance.randint(1, 40))
        if chance.random() < 0.2:
            wal.close()
            work.acknowledged = wal.sequence
    except SimulatedCrash:
        stopped = True
    for number in range(cuts):
        state = disk.after_power_cut(seed + number)
        found = work.check(state / "inner")
        again = FaultyDisk(state)
        more = Work(logs, state / "inner", again, chance, work.after, found)
        more.acknowledged = work.after + len(found)
        again.crash_at(chance.randint(1, 40), torn=chance.choice((0, 30)))
        try:
            more.do(10)
        except SimulatedCrash:
            pass
        for cut in range(2):
            left = again.after_power_cut(seed + cut)
            more.check(left / "inner")
            shutil.rmtree(left)
        shutil.rmtree(state)
    disk.restart()  # the process was killed, the machine was not
    found = work.check(root / "inner")
    assert work.after + len(found) >= max(work.written, default=0)
    more = Work(logs, root / "inner", disk, chance, work.after, found)
    more.do(3)
    more.check(disk.after_power_cut(seed) / "inner")
    disk.crash()
    for path in tmp_path.iterdir():
        shutil.rmtree(path)
    return stopped


def test_after_power_cuts_at_random_moments(tmp_path, logs):
    seed = chosen_seed()
    for number in range(40):
        one_round(tmp_path, logs, seed + number, cuts=4)


def test_after_a_crash_at_every_step(tmp_path, logs):
    seed = chosen_seed()
    step = 1
    while one_round(tmp_path, logs, seed, cuts=1, crash_step=step):
        step += 1
    assert step > 10


OPERATIONS = ("open", "write", "sync", "truncate", "reserve", "rename", "remove", "sync_directory")


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("times", [1, 10**9])
def test_after_an_error_at_every_call(tmp_path, logs, code, times):
    """What fails is told, and nothing succeeds after it; opened again, all that was acknowledged is there."""
    seed = chosen_seed()
    for operation in OPERATIONS:
        nth = 1
        while True:
            root = tmp_path / f"{operation}{nth}"
            root.mkdir()
            disk = FaultyDisk(root)
            disk.fail(operation, code, nth=nth, times=times)
            work = Work(logs, root / "inner", disk, random.Random(seed))
            try:
                work.do(25)
            except (WriteError, PoisonedError):
                failed = True
            else:
                failed = False
            if work.wal is not None and work.wal.failure is not None:
                for sync in (True, False):
                    with pytest.raises(PoisonedError):
                        work.wal.append([ONE], sync=sync)
                work.wal.close()
            done = disk.calls.get(operation, 0) < nth
            assert failed or done or operation == "reserve"
            disk.restart()
            for state in (root, disk.after_power_cut(seed + nth)):
                work.check(state / "inner")
            again = Work(logs, root / "inner", disk, random.Random(seed), work.after, work.check(root / "inner"))
            again.acknowledged = work.acknowledged
            again.do(3)
            for cut in range(2):
                again.check(disk.after_power_cut(seed + cut) / "inner")
            disk.crash()
            for path in tmp_path.iterdir():
                shutil.rmtree(path)
            if done:
                break
            nth += 1


@pytest.mark.sweep
@pytest.mark.parametrize("block", range(40))
def test_after_many_power_cuts(tmp_path, logs, block):
    seed = chosen_seed()
    for number in range(50):
        one_round(tmp_path, logs, seed + number, cuts=6)


def test_a_log_that_does_not_sync_is_caught(tmp_path, logs, monkeypatch):
    """The model sees what it is there for: without a sync, or with a late one, acknowledged writes are lost."""
    from holdfast.testing import faults

    real = faults._FaultyFile.sync
    monkeypatch.setattr(faults._FaultyFile, "sync", lambda file: real(file) if file.path.suffix != ".wal" else None)
    with pytest.raises((AssertionError, CorruptionError)):
        for seed in range(30):
            one_round(tmp_path, logs, seed, cuts=3)


def test_a_log_whose_names_are_not_synced_is_caught(tmp_path, logs, monkeypatch):
    monkeypatch.setattr(FaultyDisk, "sync_directory", lambda disk, path: None)
    with pytest.raises((AssertionError, HoldfastError)):
        for seed in range(30):
            one_round(tmp_path, logs, seed, cuts=3)


def test_damage_after_a_power_cut_is_not_taken_for_a_torn_tail(tmp_path, logs):
    """A synced frame is spoilt, and the machine goes down before another is synced."""
    root = tmp_path / "store"
    root.mkdir()
    disk = FaultyDisk(root)
    wal = logs.open(root, disk)
    wal.append([ONE], sync=True)
    wal.append([ONE], sync=True)
    disk.crash()
    path = segment_path(root, 1)
    whole = bytearray(path.read_bytes())
    whole[wal.segments[0].size - 6] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CorruptionError) as error:
        list(LogRecovery(root, Disk(), 0).frames())
    assert (error.value.path, error.value.offset) == (str(path), (wal.segments[0].size - 60) // 2 + 60)
