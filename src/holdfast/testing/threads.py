"""Many threads on one stream and one record: nobody is refused, nothing is lost, and nobody starves."""

from __future__ import annotations

import sys
import threading
import time

import pytest

from holdfast.store import Store
from holdfast.testing.contract import Conformance

WRITERS = 64


class ThreadContract(Conformance):
    """Writers that meet on the same records wait for each other in the queue; none is told of a conflict."""

    @pytest.mark.slow
    def test_64_threads_on_one_stream(self, store: Store) -> None:
        append_for(store, 2.0)

    @pytest.mark.sweep
    def test_64_threads_on_one_stream_at_length(self, store: Store) -> None:
        append_for(store, 10.0)

    def test_transactions_of_many_threads_add_up(self, store: Store) -> None:
        def move(number: int) -> None:
            for n in range(15):
                source, target = f"a{(number + n) % 5}", f"a{(number * 3 + n + 1) % 5}"

                def once(tx, source=source, target=target):  # type: ignore[no-untyped-def]
                    values = tx.kv.get_many([source, target], 0)
                    assert sum(tx.kv.get_many([f"a{n}" for n in range(5)], 0)) == 0
                    if source != target:
                        tx.kv.put(source, values[0] - 1)
                        tx.kv.put(target, values[1] + 1)

                store.transact(once)

        assert run_threads(4, move) == []
        assert sum(store.kv.get_many([f"a{n}" for n in range(5)], 0)) == 0


def run_threads(count: int, work: object) -> list[BaseException]:
    """Run ``work(number)`` in threads; return what they raised."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)  # type: ignore[operator]
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def append_for(store: Store, seconds: float) -> None:
    """Let 64 threads append to one stream and count on one record; check order, completeness and fairness."""
    done: list[list[int]] = [[] for _ in range(WRITERS)]
    barrier = threading.Barrier(WRITERS)
    end = [0.0]

    def work(number: int) -> None:
        if barrier.wait() == 0:
            end[0] = time.monotonic() + seconds
        barrier.wait()
        while time.monotonic() < end[0]:
            event = store.events.append("s", [number, len(done[number])])
            done[number].append(event.sequence)
            store.counters.increment("c")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0003)  # else the slices of 5 ms, dealt at random, are measured and not the queue
    try:
        assert run_threads(WRITERS, work) == []
    finally:
        sys.setswitchinterval(interval)
    total = sum(map(len, done))
    assert sorted(sequence for own in done for sequence in own) == list(range(total))
    assert all(own == sorted(own) for own in done)
    assert store.counters.value("c") == store.events.length("s") == total
    assert store.events.verify("s").ok
    slowest, mean = min(map(len, done)), total / WRITERS
    assert slowest >= mean / 2, f"a writer starved: {slowest} of {mean:.0f} on average"
