"""What tests share: a store on each backend."""

from __future__ import annotations

import pytest

import holdfast


@pytest.fixture(params=["memory:", "sqlite"])
def url(request, tmp_path):
    return "memory:" if request.param == "memory:" else str(tmp_path / "store.db")


@pytest.fixture
def store(url):
    with holdfast.open(url, durability="buffered") as opened:
        yield opened


@pytest.fixture
def space(store):
    return store.space("p")


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
