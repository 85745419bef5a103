"""One transaction over every primitive, crashed at every step: whole or absent, and there if it was acknowledged."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import suppress

import pytest

from holdfast.errors import StorageError
from holdfast.testing.crash import half_transactions, prepare, write_all_kinds
from holdfast.testing.faults import FaultyDisk, SimulatedCrash

from .conftest import everything


@pytest.fixture
def seed():
    chosen = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"HOLDFAST_SEED={chosen}")
    return chosen


def steps(store, told):
    """Transactions over every kind, direct commits, and the verbs that put files in place and take them away."""
    prepare(store)
    for n in range(4):
        with store.transaction() as tx:
            write_all_kinds(tx, "w", n)
        told.append(n)
        if n == 1:
            store._backend.make_snapshot()
        if n == 2:
            store.kv.put("expired", 1, ttl=0.000001)
            store.sweep()
            store.compact(keep_changes=0)


def check(store, told):
    """All that was acknowledged is there; the one after it is there whole, or absent."""
    count = store.events.length("all")
    assert [event.data for event in store.events.read("all")] == [["w", n] for n in range(count)]
    assert len(told) <= count <= len(told) + 1
    if store.vectors.collection("numbers") is not None:
        assert list(half_transactions(store, "w", count)) == []
    else:
        assert count == 0
    assert store.verify() == []


def crashed(stores, root, step, *, torn=0):
    """A disk on which the work stopped at a step, what was told until then, and whether it had ended before."""
    root.mkdir()
    disk, told = FaultyDisk(root), []
    disk.crash_at(step, torn=torn)
    try:
        store = stores.open(root / "store", disk=disk)
        steps(store, told)
        store.close()
    except SimulatedCrash:
        return disk, told, False
    return disk, told, True


def test_a_crash_at_every_step_leaves_every_transaction_whole_or_absent(stores, tmp_path, seed):
    chance, step, ended = random.Random(seed), 0, False
    while not ended:
        step += 1
        root = tmp_path / f"root{step}"
        disk, told, ended = crashed(stores, root, step, torn=chance.choice((0, 0, 1, 30, 200)))
        with stores.open(disk.after_power_cut(seed + step) / "store") as store:
            check(store, told)
            found = everything(store)
            directory = store._backend.directory
        with stores.open(directory) as store:  # what recovery has put right is recovered again
            assert everything(store) == found
        with stores.open(root / "store") as store:  # the end of the process, not of the machine
            check(store, told)
        shutil.rmtree(root)
        shutil.rmtree(directory.parent)
    assert step > 80


@pytest.mark.parametrize(("operation", "error"), [("write", 28), ("write", 5), ("sync", 5), ("rename", 28)])
def test_an_operation_that_fails_at_any_call_leaves_every_transaction_whole_or_absent(
    stores, tmp_path, seed, operation, error
):
    """Some of the calls, drawn from the seed; reads go on, and nothing is told that is not there afterwards."""
    for nth in sorted(random.Random(seed).sample(range(1, 30), 6)):
        root = tmp_path / f"root{nth}"
        root.mkdir()
        disk, told, store = FaultyDisk(root), [], None
        disk.fail(operation, error, nth=nth)
        try:
            store = stores.open(root / "store", disk=disk)
            steps(store, told)
        except StorageError:
            if store is not None and store.vectors.collection("numbers") is not None:
                assert list(half_transactions(store, "w", store.events.length("all"))) == []
        if store is not None:
            with suppress(StorageError):  # the fault may come as late as that
                store.close()
        for place in (root / "store", disk.after_power_cut(seed + nth) / "store"):
            with stores.open(place) as store:
                check(store, told)
