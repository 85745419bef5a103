"""``python -m benchmarks log [--quick] [--json]``: the figures of ``log:``, each beside a bare loop, in one run.

The bare loop is what nobody can do without: msgpack encode, crc32, os.write - and fdatasync where it is strict. Rounds
of the two alternate; figures are medians. A ratio is how fast Holdfast is, the bare loop being 1, where the aim is "at
least", and how much more it takes where it is "at most".
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct as Layout
from typing import Any
from zlib import crc32

import msgspec

import holdfast
from holdfast.backends.log_engine import LogBackend
from holdfast.faces import REGISTRY
from holdfast.log.files import Disk
from holdfast.log.frame import SEGMENT_HEADER_BYTES
from holdfast.log.snapshot import SnapshotReader, find_snapshots
from holdfast.model import Record
from holdfast.primitives.kv import KeyValueBody, KvPut
from holdfast.store import Store

ROUNDS = 5
WRITERS = 64
NEVER = 1 << 50
_FRAME, _ENTRY = Layout("<IIQQqII"), Layout("<BBI")


def open_store(directory: Path, durability: Any) -> Store:
    """A store that makes no snapshot by itself."""
    return Store(f"log:{directory}", LogBackend(REGISTRY, directory, snapshot_bytes=NEVER), REGISTRY, durability)


def timed(work: Callable[..., object], *arguments: object) -> float:
    gc.collect()
    began = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - began


class Bench:
    def __init__(self, folder: Path, *, quick: bool, aloud: bool) -> None:
        self.folder = folder
        self.aloud = aloud
        self.quick = quick
        self.rows: list[dict[str, Any]] = []
        self.rounds = 2 if quick else ROUNDS
        self.many = 5_000 if quick else 1_000_000

    def row(
        self,
        name: str,
        ours: float,
        bare: float,
        unit: str,
        ratio: float,
        aim: float | None,
        most: bool,
        note: str = "",
    ) -> None:
        """Note a figure, and print it unless all are to be printed as JSON."""
        good = None if aim is None else ratio <= aim if most else ratio >= aim
        self.rows.append(
            {"name": name, "ours": ours, "bare": bare, "unit": unit, "ratio": ratio, "aim": aim, "at_most": most,
             "good": good, "note": note}
        )  # fmt: skip
        if self.aloud:
            wanted = "" if aim is None else f"{'at most' if most else 'at least'} {aim:.2f}"
            figures = f"{ours:10.2f} {unit:2}{bare:10.2f} {unit:2}{ratio:7.2f}x"
            print(f"{name:48}{figures} {'<' if good is False else ' '} {wanted:14} {note}".rstrip(), flush=True)

    def speed(self, name: str, count: int, ours: list[float], bare: list[float], aim: float | None) -> None:
        a, b = statistics.median(ours) / count * 1e6, statistics.median(bare) / count * 1e6
        self.row(name, a, b, "us", b / a, aim, False)

    def directory(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    # -- writing -------------------------------------------------------------------------------------------------------

    def bare_writes(self, count: int, *, batch: int = 1, sync: bool = False) -> float:
        encode, write = msgspec.msgpack.Encoder().encode, os.write
        descriptor = os.open(self.folder / "bare", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)

        def work() -> None:
            for n in range(0, count, batch):
                parts = []
                for m in range(n, n + batch):
                    data = encode((f"key/{m}", {"ok": True, "n": m}))
                    parts.append(crc32(data).to_bytes(4, "little") + data)
                write(descriptor, parts[0] if batch == 1 else b"".join(parts))
                if sync:
                    os.fdatasync(descriptor)

        try:
            return timed(work)
        finally:
            os.close(descriptor)

    def writes(self) -> None:
        singles, strict, batches = (500, 50, 3) if self.quick else (50_000, 2_000, 100)
        times: dict[str, list[list[float]]] = {name: [[], []] for name in ("single", "batch", "strict")}
        for _ in range(self.rounds):
            with open_store(self.directory(), "buffered") as store:
                kv = store.space("bench").kv
                kv.put("first", 1)
                times["single"][0].append(timed(_put_each, kv, singles))
                times["single"][1].append(self.bare_writes(singles))
                work = [{f"key/{m}": {"ok": True, "n": m} for m in range(n, n + 1000)} for n in range(batches)]
                times["batch"][0].append(timed(_put_all, kv, work))
                times["batch"][1].append(self.bare_writes(batches * 1000, batch=1000))
            with open_store(self.directory(), "strict") as store:
                kv = store.space("bench").kv
                kv.put("first", 1)
                times["strict"][0].append(timed(_put_each, kv, strict))
                times["strict"][1].append(self.bare_writes(strict, sync=True))
        self.speed("kv put, single buffered", singles, *times["single"], aim=0.35)
        self.speed("kv put, batches of 1,000", batches * 1000, *times["batch"], aim=None)
        self.speed("kv put, single strict", strict, *times["strict"], aim=None)

    def writers(self) -> None:
        each = 3 if self.quick else 100
        ours: dict[str, list[float]] = {"threads": [], "tasks": []}
        bare = []
        for _ in range(self.rounds):
            with open_store(self.directory(), "strict") as store:
                ours["threads"].append(_in_threads(store.space("bench"), each))
            ours["tasks"].append(asyncio.run(_in_tasks(self.directory(), each)))
            bare.append(self.bare_writes(WRITERS * each // 4, sync=True) * 4)
        for name, times in ours.items():
            self.speed(f"kv put, {WRITERS} strict {name}", WRITERS * each, times, bare, aim=None)

    # -- reading -------------------------------------------------------------------------------------------------------

    def reads(self) -> None:
        count = 1_000 if self.quick else 100_000
        ours, bare = [], []
        with open_store(self.directory(), "buffered") as store:
            kv = store.space("bench").kv
            kv.put_many({f"key/{n}": {"ok": True, "n": n} for n in range(1000)})
            keys = [f"key/{n % 1000}" for n in range(count)]
            encode = msgspec.msgpack.Encoder().encode
            bodies = {key: encode(KeyValueBody({"ok": True, "n": 1})) for key in keys}
            decode = msgspec.msgpack.Decoder(KeyValueBody).decode
            for _ in range(self.rounds):
                ours.append(timed(lambda: [kv.get(key) for key in keys]))
                bare.append(timed(lambda: [decode(bodies[key]).value for key in keys]))
        self.speed("kv get", count, ours, bare, aim=None)

    # -- coming back ---------------------------------------------------------------------------------------------------

    def recoveries(self) -> None:
        for name, batch in (("1 a commit", 1), ("1,000 a commit", 1000)):
            directory = self.directory()
            with open_store(directory, "buffered") as store:
                kv = store.space("bench").kv
                for n in range(0, self.many, batch):
                    if batch == 1:
                        kv.put(f"key/{n}", {"ok": True, "n": n})
                    else:
                        kv.put_many({f"key/{m}": {"ok": True, "n": m} for m in range(n, n + batch)})
            ours, bare = [], []
            for _ in range(1 if self.quick else 3):
                ours.append(_opening(directory))
                bare.append(timed(_decode_log, directory))
            a, b = statistics.median(ours), statistics.median(bare)
            self.row(f"recover {self.many:,} entries, {name}", a, b, "s", a / b, 3.0, True)
        self._snapshot(directory)

    def _snapshot(self, directory: Path) -> None:
        with open_store(directory, "buffered") as store:
            frame_bytes = store._backend._log.bytes_since(0) / self.many
            store._backend.make_snapshot()
        ours, bare = [], []
        for _ in range(1 if self.quick else 3):
            ours.append(_opening(directory))
            bare.append(timed(_decode_snapshot, directory))
        a, b = statistics.median(ours), statistics.median(bare)
        self.row(f"open a snapshot of {self.many:,} records", a, b, "s", a / b, 1.0, True)
        resident = _resident_bytes(directory) / self.many
        single = len(_frame_of_a_put())
        note = f"{frame_bytes:.0f} bytes of log a record in commits of 1,000"
        self.row("memory a record, beside its frame", resident, single, "B", resident / single, 2.5, True, note)
        self._commits_meanwhile(directory)

    def _commits_meanwhile(self, directory: Path) -> None:
        """Strict commits by one writer, idle and while a snapshot is written, in turn; milliseconds."""
        idle: list[float] = []
        busy: list[float] = []
        rates: list[tuple[float, float]] = []
        with open_store(directory, "strict") as store:
            kv = store.space("bench").kv
            for _ in range(self.rounds):
                worker = threading.Thread(target=store._backend.make_snapshot)
                before = _latencies(kv, until=time.perf_counter() + (0.1 if self.quick else 1))
                worker.start()
                meanwhile = _latencies(kv, while_alive=worker)
                worker.join()
                idle += before
                busy += meanwhile
                rates.append((len(meanwhile) / sum(meanwhile), len(before) / sum(before)))
        p99 = [sorted(one)[max(int(len(one) * 0.99) - 1, 0)] * 1e3 for one in (busy, idle)]
        note = f"worst {max(busy) * 1e3:.1f} ms, {len(busy)} commits in {sum(busy):.1f} s"
        self.row("strict commit while a snapshot is written, p99", p99[0], p99[1], "ms", p99[0], 10.0, True, note)
        ours, bare = (statistics.median(one) for one in zip(*rates, strict=True))
        ratio = statistics.median(one / two for one, two in rates)
        self.row("... their rate, beside idle", ours, bare, "/s", ratio, 2 / 3, False)

    def run(self) -> None:
        self.writes()
        self.writers()
        self.reads()
        self.recoveries()


def _put_each(kv: Any, count: int) -> None:
    for n in range(count):
        kv.put(f"key/{n}", {"ok": True, "n": n})


def _put_all(kv: Any, batches: list[dict[str, Any]]) -> None:
    for one in batches:
        kv.put_many(one)


def _frame_of_a_put() -> bytes:
    """The frame of a single put, as the log holds it."""
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "one", "strict") as store:
        store.space("bench").kv.put("key/123456", {"ok": True, "n": 123456})
        (segment,) = (Path(folder) / "one" / "wal").iterdir()
        return segment.read_bytes()[SEGMENT_HEADER_BYTES:].rstrip(b"\0")


def _in_threads(space: holdfast.Space, each: int) -> float:
    barrier = threading.Barrier(WRITERS + 1)

    def loop(first: int) -> None:
        barrier.wait()
        for n in range(first, first + each):
            space.kv.put(f"key/{n}", {"ok": True, "n": n})

    workers = [threading.Thread(target=loop, args=(one * each,)) for one in range(WRITERS)]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began


async def _in_tasks(directory: Path, each: int) -> float:
    async with await holdfast.open_async(f"log:{directory}") as store:
        space = store.space("bench")

        async def loop(first: int) -> None:
            for n in range(first, first + each):
                await space.kv.put(f"key/{n}", {"ok": True, "n": n})

        began = time.perf_counter()
        await asyncio.gather(*(loop(one * each) for one in range(WRITERS)))
        return time.perf_counter() - began


def _opening(directory: Path) -> float:
    """Seconds until a store is open, without what closing it takes."""
    gc.collect()
    began = time.perf_counter()
    store = open_store(directory, "strict")
    took = time.perf_counter() - began
    store.close()
    return took


def _decode_log(directory: Path) -> int:
    """Read, check and decode every entry of the log, and do nothing with it."""
    put, rest = msgspec.msgpack.Decoder(KvPut).decode, msgspec.msgpack.Decoder().decode
    count = 0
    for path in sorted((directory / "wal").iterdir()):
        buffer = path.read_bytes()
        place = SEGMENT_HEADER_BYTES
        while place + _FRAME.size <= len(buffer):
            _, length, _, _, _, entries, head_crc = _FRAME.unpack_from(buffer, place)
            if not entries or length == 0xFFFFFFFF:
                break
            joined = buffer[place + _FRAME.size : place + _FRAME.size + length]
            crc = crc32(joined, crc32(buffer[place : place + 36]))
            assert crc == int.from_bytes(buffer[place + 40 + length : place + 44 + length], "little") and head_crc
            place += _FRAME.size + length + 4
            at = 0
            while at < length:
                kind, _, size = _ENTRY.unpack_from(joined, at)
                at += _ENTRY.size + size
                (put if kind == 0x10 else rest)(joined[at - size : at])
                count += 1
    return count


class _Page(msgspec.Struct, array_like=True):
    space: int
    records: list[Record]


def _pages(directory: Path) -> Iterator[tuple[int, memoryview]]:
    reader = SnapshotReader(find_snapshots(directory, Disk())[0][1], Disk())
    for number, data in reader.sections():
        for page in reader.pages(data):
            yield number, page


def _decode_snapshot(directory: Path) -> list[_Page]:
    """Read, check and decode every record of the newest snapshot, and keep them in a list."""
    decode = msgspec.msgpack.Decoder(_Page).decode
    return [decode(page) for number, page in _pages(directory) if number]


def _resident_bytes(directory: Path) -> int:
    """How much a process grows by opening the store."""
    code = (
        "import gc, sys\n"
        "from pathlib import Path\n"
        "from benchmarks.log_engine import open_store, resident\n"
        "before = resident()\n"
        "store = open_store(Path(sys.argv[1]), 'strict')\n"
        "gc.collect()\n"
        "print(resident() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(directory)], check=True, capture_output=True, text=True)
    return int(done.stdout)


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _latencies(kv: Any, *, until: float = 0.0, while_alive: threading.Thread | None = None) -> list[float]:
    """Seconds of each strict put, one after the other."""
    found: list[float] = []
    while not found or (while_alive.is_alive() if while_alive else time.perf_counter() < until):
        began = time.perf_counter()
        kv.put(f"meanwhile/{len(found) % 1000}", {"n": len(found)})
        found.append(time.perf_counter() - began)
    return found


def main(*, quick: bool, as_json: bool) -> None:
    """Run it all and print the figures."""
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-") as folder:
        if not as_json:
            print(f"{'':48}{'holdfast':>13}{'bare':>13}{'ratio':>8}")
        bench = Bench(Path(folder), quick=quick, aloud=not as_json)
        bench.run()
    print(json.dumps({"rows": bench.rows}) if as_json else "aims that are missed: <")
