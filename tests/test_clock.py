"""Identifiers rise, whatever the clock does."""

from __future__ import annotations

from holdfast import clock


def test_ids_rise_even_when_the_clock_stands_or_goes_back(monkeypatch):
    made = [clock.new_id() for _ in range(10_000)]
    monkeypatch.setattr(clock.time, "time_ns", lambda: 10**18)
    made += [clock.new_id() for _ in range(5000)]
    assert made == sorted(set(made)) and {one.version for one in made} == {7}
    assert {one.variant for one in made} == {"specified in RFC 4122"}


def test_randomness_keeps_to_its_size():
    assert len(clock.random_token(7)) == 7 and clock.random_token(16) != clock.random_token(16)
    assert all(0 <= clock.jitter(0.5) <= 0.5 for _ in range(100))


def test_a_forked_child_does_not_wait_for_a_lock_of_its_parent():
    clock._id_lock.acquire()
    clock._after_fork_in_child()
    assert clock.new_id() < clock.new_id()
