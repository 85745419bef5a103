"""``BackendConformance``: the suite that any backend passes, ours or yours.

::

    class TestMine(holdfast.testing.BackendConformance):
        persistent, multi_process = True, False

        def url(self, tmp_path):
            return f"mine:{tmp_path}/store"
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from holdfast.errors import ConflictError, InvalidInputError
from holdfast.store import Store
from holdfast.testing.contract import Conformance, ReadContract, WriteContract, commit, put, view
from holdfast.testing.crash import Outcome, kill_writers
from holdfast.testing.isolation import IsolationContract
from holdfast.testing.leaving import LeavingContract
from holdfast.testing.model_based import machine_for
from holdfast.testing.threads import ThreadContract
from holdfast.testing.toys import RAW, RawDelete
from holdfast.testing.verbs import VerbContract

__all__ = ["BackendConformance", "Conformance"]


class BackendConformance(ReadContract, WriteContract, IsolationContract, ThreadContract, VerbContract, LeavingContract):
    """Subclass it with ``url``, ``persistent`` and ``multi_process``; pytest runs the rest."""

    def test_a_primitive_of_ten_lines(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.notes.put("a", "one")
        with store.run("noted") as run:
            run.notes.put("a", "two")
            run.notes.put("b", "three")
            with run.transaction() as tx:
                assert tx.notes.get("a") == "two"
                tx.notes.put("a", "four")
                assert tx.notes.get("a") == "four"
                assert tx.notes.delete("b") and tx.notes.get("b") is None
        if self.persistent:
            store.close()
            store = self.open(tmp_path)
        assert (store.notes.get("a"), store.notes.get("b")) == ("four", None)
        replayed = store.replay(run.id)
        assert replayed.notes.get("a") == "four" and replayed.notes.get("b") is None
        assert replayed.values() == [("note", "a", {"text": "four"}), ("note", "b", None)]
        assert {change.kind for change in store.changes()} == {"note", "run"}
        assert store.verify() == []
        with pytest.raises(ConflictError), store.transaction() as tx:
            tx.notes.get("a")
            store.notes.put("a", "five")
            tx.notes.put("a", "six")
        store.close()

    def test_a_counter_folds_inside_the_commit(self, store: Store) -> None:
        assert [store.counters.increment("c") for _ in range(3)] == [1, 2, 3]
        with store.transaction() as tx:
            pending = tx.counters.increment("c", 10)
            store.counters.increment("c")
        assert pending.result() == 14 and store.counters.value("c") == 14

    def test_what_is_written_is_there_when_it_is_opened_again(self, tmp_path: Path) -> None:
        if not self.persistent:
            pytest.skip("this backend forgets")
        with self.open(tmp_path) as store:
            commit(store, put(store, b"k", "text", (1, b"t"), blobs=(("b", b"1"),), schema=3))
            commit(store, put(store, b"gone"))
            commit(store, put(store, b"in run"), run=b"r" * 16)
            before = [view(store).read(RAW, [b"k"], "blobs"), view(store).journal(b"r" * 16, (0, 0), 9)]
            commit(store, RawDelete(b"gone"))
            told, head = view(store).changes(0, 9), view(store).head()
        for _ in range(2):
            with self.open(tmp_path) as store:
                assert [view(store).read(RAW, [b"k"], "blobs"), view(store).journal(b"r" * 16, (0, 0), 9)] == before
                assert view(store).changes(0, 9) == told and view(store).head() == head
                assert view(store).count(RAW) == 2 and store.spaces() == ["default"] and store.verify() == []
        with self.open(tmp_path) as store:
            assert commit(store, put(store, b"gone")).sequence == head.sequence + 1

    def test_the_model(self, tmp_path: Path) -> None:
        machine = machine_for(lambda number: self.open(tmp_path / str(number)), self.persistent)
        run_state_machine_as_test(machine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))

    @pytest.mark.sweep
    def test_the_model_at_length(self, tmp_path: Path) -> None:
        machine = machine_for(lambda number: self.open(tmp_path / str(number)), self.persistent)
        run_state_machine_as_test(machine, settings=settings(max_examples=200, stateful_step_count=50, deadline=None))

    @pytest.mark.slow
    def test_killed_writers_lose_nothing(self, tmp_path: Path) -> None:
        self._kill(tmp_path, rounds=5, writers=1)

    @pytest.mark.slow
    def test_killed_writers_lose_nothing_that_is_buffered(self, tmp_path: Path) -> None:
        self._kill(tmp_path, rounds=2, writers=1, durability="buffered")

    @pytest.mark.slow
    def test_two_writers_and_one_is_killed(self, tmp_path: Path) -> None:
        if not self.multi_process:
            pytest.skip("one process at a time")
        self._kill(tmp_path, rounds=2, writers=2)

    @pytest.mark.sweep
    def test_killed_writers_lose_nothing_at_length(self, tmp_path: Path) -> None:
        self._kill(tmp_path, rounds=40, writers=2 if self.multi_process else 1)

    def _kill(self, tmp_path: Path, rounds: int, writers: int, durability: str = "strict") -> None:
        if not self.persistent:
            pytest.skip("this backend forgets")
        url, folder = self.url(tmp_path), tmp_path / "acks"
        for outcome in kill_writers(url, folder, rounds=rounds, writers=writers, durability=durability):
            assert isinstance(outcome, Outcome) and outcome.faults == [], outcome

    def test_an_unknown_durability_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidInputError):
            self.open(tmp_path, durability="eternal")
