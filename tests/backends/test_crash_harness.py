"""The killing harness is itself to be trusted: it finds what it is there to find."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

from holdfast.store import open as open_store
from holdfast.testing import crash
from holdfast.testing.toys import toy_registry


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A store that a writer in this process has written, and its acknowledgements."""
    read, write = os.pipe()
    (tmp_path / "acks").mkdir()
    acks = tmp_path / "acks" / "w"
    url = str(tmp_path / "store.db")
    with os.fdopen(read) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        threading.Thread(target=lambda: (_wait_for(acks, 5), os.close(write))).start()
        crash.write_until_told(url, acks, "buffered")
    return url, acks


def _wait_for(acks, lines):
    while not acks.exists() or acks.read_bytes().count(b"\n") < lines:
        time.sleep(0.01)


def faults(url, acks):
    with open_store(url, registry=toy_registry()) as store:
        acknowledged = {name: crash._acknowledged(acks.parent / name) for name in crash._all_names(acks.parent)}
        assert acknowledged["w"] > 3
        return list(crash._compare(store, acknowledged, {"w"}))


def test_all_is_well(written):
    assert faults(*written) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda store: store.kv.delete("w/000001/3"), "by half"),
        (lambda store: store.kv.put("w/999999/0", 1), "by half"),
        (lambda store: store.events.append("all", ["w", 1]), "a gap or a double"),
        (lambda store: store.memories.delete(store.memories.get_by_session("w")[0].id), "memory"),
        (lambda store: store.json.delete("w/000001", "/again"), "json"),
        (lambda store: store.states.set("w", 0), "state"),
        (lambda store: store.traces.record("step", tags=["w"], attributes={"number": 0}), "trace"),
        (lambda store: store.vectors.delete("numbers", "w/000001"), "vector"),
        (lambda store: store.counters.increment("w"), "counter"),
    ],
)
def test_a_half_transaction_is_found(written, damage, says):
    with open_store(written[0], registry=toy_registry()) as store:
        damage(store)
    assert any(says in fault for fault in faults(*written))


def test_a_lost_acknowledged_transaction_is_found(written):
    with written[1].open("ab") as file:
        file.write(b"1\n2\n")
    assert any("were acknowledged" in fault for fault in faults(*written))


def test_a_writer_that_fails_is_told(tmp_path, capsys):
    (tmp_path / "store.db").mkdir()
    rounds = crash.kill_writers(str(tmp_path / "store.db"), tmp_path / "acks", rounds=1, seed=7)
    with pytest.raises(crash.HoldfastError):
        next(rounds)
    assert "HOLDFAST_SEED=7" in capsys.readouterr().out
    url = str(tmp_path / "other.db")
    outcomes = list(crash.kill_writers(url, tmp_path / "acks", rounds=1, durability="eternal"))
    assert "InvalidInputError" in outcomes[0].faults[0]
