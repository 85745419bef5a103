"""Log stores for tests: made small, kept with their whole history, and damaged in many ways."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import holdfast


def state(store):
    """Everything of a store that a commit can change, as plain values."""
    spaces = {}
    for name, tables in store._backend._spaces.items():
        if tables.head.sequence:
            records = {
                (kind, key): (record.version, record.body, record.terms)
                for kind, table in tables.tables.items()
                for key, record in table.by_key.items()
            }
            journals = {run: len(rows) for run, rows in tables.journals.items()}
            spaces[name] = (tables.head, records, dict(tables.tombstones), journals)
    return spaces


class History:
    """A store in ``directory`` with the state after each transaction of its log."""

    def __init__(self, directory: Path, *, snapshots: tuple[int, ...] = (4,), seals: tuple[int, ...] = (8,)) -> None:
        self.directory = directory
        self.states = {0: {}}
        with holdfast.open(f"log:{directory}") as store:
            backend = store._backend
            a, b = store.space("a"), store.space("b")
            created = a.runs.create("r")
            self.states[backend._log.sequence] = state(store)
            run = a.runs.resume(created.id)
            for n, work in enumerate(
                (
                    lambda: a.kv.put("k0", 0),
                    lambda: b.kv.put("x", b"\0" * 20),
                    lambda: run.kv.put("k1", "in a run"),
                    lambda: a.events.append("log", {"n": 1}),
                    lambda: a.memories.store("remember", session_id="s", tags=["t"]),
                    lambda: a.kv.delete("k0"),
                    lambda: b.kv.put("x", 2),
                    lambda: run.kv.put("k1", "again"),
                    lambda: a.events.append("log", {"n": 2}),
                    lambda: b.kv.put_many({f"m{m}": m for m in range(5)}),
                    lambda: a.kv.put("last", 1),
                )
            ):
                self.states[backend._log.sequence] = state(store)
                if n in snapshots:
                    backend.make_snapshot()
                if n in seals:
                    backend._log.rotate()
                work()
            self.last = backend._log.sequence
            self.states[self.last] = state(store)

    @property
    def files(self):
        return sorted(path for path in self.directory.rglob("*") if path.is_file() and path.name != "LOCK")

    @property
    def segments(self):
        return sorted((self.directory / "wal").glob("*.wal"))

    @property
    def snapshots(self):
        return sorted((self.directory / "snapshots").glob("*.snap"))

    def copy(self, name="damaged"):
        target = self.directory.with_name(name)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(self.directory, target)
        return target

    @staticmethod
    def state(store):
        return state(store)

    @staticmethod
    def flip(path, offset, mask=1):
        with path.open("r+b") as file:
            file.seek(offset)
            byte = file.read(1)[0]
            file.seek(offset)
            file.write(bytes([byte ^ mask]))

    @staticmethod
    def contents(directory):
        return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def history(tmp_path):
    """A factory of stores whose every state is known."""

    def make(**options):
        return History(tmp_path / "store", **options)

    return make
