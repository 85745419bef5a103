"""What the tests of the log engine share: opening a store on any disk, work of all kinds, a digest of all of it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from holdfast.backends.log_engine import LogBackend
from holdfast.store import Store
from holdfast.tables import SpaceTables
from holdfast.testing.toys import toy_registry
from holdfast.views import LiveView

INDEXES = (None, *range(20))


class Stores:
    """Opens log stores with the toy primitives."""

    def __init__(self, tmp_path: Path) -> None:
        self.directory = tmp_path / "store"

    def open(self, directory=None, *, registry=None, durability="strict", **options) -> Store:
        known = registry or toy_registry()
        backend = LogBackend(known, directory or self.directory, **options)
        return Store("log:test", backend, known, durability)


@pytest.fixture
def stores(tmp_path):
    return Stores(tmp_path)


def everything(store: Store) -> dict:
    """All that a store holds, records with versions, revisions, times, terms and blobs, journals and feed."""
    return all_of(store._backend._spaces)


def all_of(spaces: dict[str, SpaceTables]) -> dict:
    """All that is in tables."""
    found = {}
    for name, tables in sorted(spaces.items()):
        if not tables.head.sequence:
            continue
        found[name] = {
            "head": tables.head,
            "records": {kind: LiveView(tables).read(kind, sorted(table.by_key), "blobs")
                        for kind, table in sorted(tables.tables.items()) if table.by_key},
            "places": {kind: [tuple(table.places(index, b"", b"\xff" * 99, None, False, 10**9)) for index in INDEXES]
                       for kind, table in sorted(tables.tables.items()) if table.by_key},
            "journals": sorted((run, tuple(rows)) for run, rows in tables.journals.items()),
            "feed": LiveView(tables).changes(0, 10**9),
        }  # fmt: skip
    return found


def digest(store: Store) -> str:
    """One text for all of it."""
    return sha256(msgspec.msgpack.encode(everything(store))).hexdigest()


def work(store: Store, rounds: int = 3) -> None:
    """A little of everything: all kinds, runs, transactions, blobs, expiry, deletion, several spaces."""
    for name in ("default", "other"):
        space = store.space(name)
        for n in range(rounds):
            with space.run(f"run {n}") as run:
                memory = run.memories.store(
                    f"text {n}", session_id="s", tags=["a", f"t{n}"], embeddings={"d": [1.0, n]}
                )
                run.kv.put(f"k{n}", {"n": n}, ttl=3600)
                with run.transaction() as tx:
                    tx.events.append("stream", {"n": n}, type="x")
                    tx.counters.increment("c", n)
                    tx.notes.put(f"note {n}", "text")
                    assert tx.kv.get(f"k{n}") == {"n": n}
                run.memories.update(memory.id, content="changed")
                run.kv.put("old", n, ttl=0.000001)
            space.kv.put(f"gone{n}", n)
            space.kv.delete(f"gone{n}")
            space.memories.delete(memory.id)
            if n % 2:
                space.memories.restore(memory.id)
