"""What many tests use: a store on each backend, and a clock that can be moved."""

from __future__ import annotations

import pytest

import holdfast
from holdfast import clock as system_clock


@pytest.fixture(params=["memory:", "sqlite"])
def url(request, tmp_path):
    return "memory:" if request.param == "memory:" else str(tmp_path / "store.db")


@pytest.fixture
def store(url):
    with holdfast.open(url, durability="ephemeral") as opened:
        yield opened


@pytest.fixture
def space(store):
    return store.space("project")


@pytest.fixture
def later(monkeypatch):
    """Move the clock forward by seconds; it goes on from there."""
    real, ahead = system_clock.now, [0]
    monkeypatch.setattr(system_clock, "now", lambda: real() + ahead[0])

    def move(seconds: float) -> None:
        ahead[0] += int(seconds * 1_000_000)

    return move


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is moved (microseconds)."""

    class Clock:
        time = 1_700_000_000_000_000

        def __call__(self):
            return self.time

    found = Clock()
    monkeypatch.setattr("holdfast.clock.now", found)
    return found
