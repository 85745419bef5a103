"""What many tests use: a store on each backend, and a clock that can be moved."""

from __future__ import annotations

import pytest

import holdfast
from holdfast import clock


@pytest.fixture(params=["memory:", "sqlite"])
def store(request, tmp_path):
    url = "memory:" if request.param == "memory:" else str(tmp_path / "store.db")
    with holdfast.open(url, durability="ephemeral") as opened:
        yield opened


@pytest.fixture
def space(store):
    return store.space("project")


@pytest.fixture
def later(monkeypatch):
    """Move the clock forward by seconds; it goes on from there."""
    real, ahead = clock.now, [0]
    monkeypatch.setattr(clock, "now", lambda: real() + ahead[0])

    def move(seconds: float) -> None:
        ahead[0] += int(seconds * 1_000_000)

    return move
