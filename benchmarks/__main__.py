"""``python -m benchmarks [log] [--quick] [--json]``: the figures of the first issue, in one run; ``log``: those of the
log engine (``log_engine.py``).

Each operation is done by Holdfast on a copy of one store; what it said to SQLite was recorded before, and is said again
by bare apsw on another copy, with the values ready. Rounds of the two alternate; the figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holdfast
from benchmarks import log_engine, raw

AIM = 0.5
ROUNDS = 5
TEXT = "Parser rewritten, tests pass; the lexer knows unicode identifiers and error recovery is a module of its own. "

Work = Callable[[holdfast.Space, int], None]


def memory(space: holdfast.Space, n: int) -> None:
    space.memories.store(TEXT, session_id=f"new {n % 10}")


def value(space: holdfast.Space, n: int) -> None:
    space.kv.put(f"new/{n}", {"ok": True, "n": n})


def memories(space: holdfast.Space, n: int) -> None:
    space.memories.store_many([holdfast.NewMemory(content=TEXT, session_id=f"new {n}") for _ in range(1000)])


def values(space: holdfast.Space, n: int) -> None:
    space.kv.put_many({f"new/{n}/{m}": {"ok": True, "n": m} for m in range(1000)})


class Bench:
    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.rows: list[dict[str, Any]] = []
        self.quick = quick
        self.total = 2_000 if quick else 100_000
        self.base = folder / "base.db"
        with holdfast.open(self.base, durability="ephemeral") as store:
            space = store.space("bench")
            for start in range(0, self.total, 1000):
                space.memories.store_many(
                    [
                        holdfast.NewMemory(
                            content=f"{TEXT} number {n} word{n % 97}", session_id=f"s{n % (self.total // 100)}"
                        )
                        for n in range(start, start + 1000)
                    ]
                )
            space.kv.put_many({f"key/{n}": {"n": n} for n in range(1000)})
            store.refresh_search("bench")
            self.ids = list(space.memories.list_ids(limit=1000))

    def row(self, name: str, unit: float, ours: list[float], theirs: list[float], note: str = "") -> None:
        a, b = statistics.median(ours) / unit, statistics.median(theirs) / unit
        self.rows.append({"name": name, "us": a * 1e6, "raw_us": b * 1e6, "ratio": b / a, "note": note})

    def alternate(self, name: str, work: Work, count: int, durability: Any, *, unit: float, strict: bool) -> None:
        ours, theirs = [], []
        for _ in range(2 if self.quick else ROUNDS):
            with holdfast.open(raw.copy_of(self.base, "recorded.db"), durability=durability) as store:
                space = store.space("bench")
                space.kv.get("key/1")
                with raw.Recorder(store._backend) as statements:
                    for n in range(count):
                        work(space, n)
            with holdfast.open(raw.copy_of(self.base, "ours.db"), durability=durability) as store:
                space = store.space("bench")
                space.kv.get("key/1")
                began = time.perf_counter()
                for n in range(count):
                    work(space, n)
                ours.append(time.perf_counter() - began)
            connection = raw.connect(raw.copy_of(self.base, "raw.db"), strict=strict)
            theirs.append(raw.say(connection, statements))
            connection.close()
        self.row(name, unit, ours, theirs)

    def threads(self, name: str, work: Work, threads: int, each: int) -> None:
        with holdfast.open(raw.copy_of(self.base, "recorded.db")) as store, raw.Recorder(store._backend) as statements:
            for n in range(threads * each):
                work(store.space("bench"), n)
        operations = raw.transactions(statements)
        ours, apart, shared = [], [], []
        for _ in range(1 if self.quick else 3):
            with holdfast.open(raw.copy_of(self.base, "ours.db")) as store:
                ours.append(_in_threads(store.space("bench"), work, threads, each))
            apart.append(raw.say_in_threads(raw.copy_of(self.base, "raw.db"), operations, threads))
            shared.append(raw.say_in_threads(raw.copy_of(self.base, "raw.db"), operations, threads, shared=True))
        self.row(name, threads * each, ours, apart, "raw: a connection a thread")
        self.row(name, threads * each, ours, shared, "raw: one connection for all")

    def run(self) -> None:
        n = 50 if self.quick else 1000
        for name, work, many in (("memory", memory, memories), ("kv", value, values)):
            self.alternate(f"{name}: single strict", work, n, "strict", unit=n, strict=True)
            self.alternate(f"{name}: single buffered", work, n, "buffered", unit=n, strict=False)
            batches = 1 if self.quick else 5
            self.alternate(f"{name}: batches of 1,000", many, batches, "strict", unit=batches * 1000, strict=True)
            self.threads(f"{name}: 64 strict threads", work, 64, 2 if self.quick else 40)
        reads: tuple[tuple[str, Work, int], ...] = (
            ("memory: point read", lambda space, m: _none(space.memories.get(self.ids[m % 1000])), n),
            ("kv: point read", lambda space, m: _none(space.kv.get(f"key/{m % 1000}")), n),
            ("memory: batch read of 100", lambda space, m: _none(space.memories.get_batch(self.ids[:100])), n // 10),
            (
                f"memory: session of 100 in {self.total:,}",
                lambda space, m: _none(space.memories.get_by_session("s1")),
                n // 10,
            ),
            ("memory: search, 10 hits", lambda space, m: _none(space.memories.search(f"word{m % 97}")), n // 10),
        )
        for name, work, count in reads:
            self.alternate(name, work, count, "strict", unit=count, strict=True)


def _none(_: object) -> None:
    """Throw a result away."""


def _in_threads(space: holdfast.Space, work: Work, threads: int, each: int) -> float:
    barrier = threading.Barrier(threads + 1)

    def loop(first: int) -> None:
        barrier.wait()
        for n in range(each):
            work(space, first + n)

    workers = [threading.Thread(target=loop, args=(one * each,)) for one in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began


def import_milliseconds(code: str, rounds: int) -> float:
    """The least time of a process that runs this code, with its bytecode in the cache as it is for everybody."""
    times = []
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        times.append(time.perf_counter() - began)
    return min(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", nargs="?", choices=["sqlite", "log"], default="sqlite")
    parser.add_argument("--quick", action="store_true", help="small sizes, only to see that it runs")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.engine == "log":
        log_engine.main(quick=options.quick, as_json=options.json)
        return
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        bench = Bench(Path(folder), quick=options.quick)
        bench.run()
    rounds = 3 if options.quick else 15
    empty, ours = import_milliseconds("pass", rounds), import_milliseconds("import holdfast", rounds)
    if options.json:
        print(json.dumps({"rows": bench.rows, "import_ms": ours, "python_ms": empty}))
        return
    print(f"{'':34}{'holdfast':>12}{'raw apsw':>12}{'ratio':>8}")
    for row in bench.rows:
        mark = " " if row["ratio"] >= AIM else "<"
        print(f"{row['name']:34}{row['us']:9.1f} us{row['raw_us']:9.1f} us{row['ratio']:7.2f}x {mark} {row['note']}")
    print(f"aim: {AIM}x or better of raw apsw doing the same statements (below it: <)")
    print(f"import holdfast {ours:.0f} ms beside python -c pass {empty:.0f} ms: {ours - empty:.0f} ms more (aim: 60)")


if __name__ == "__main__":
    main()
