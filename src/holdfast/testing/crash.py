"""Killing writers at random moments: what was acknowledged is whole, and nothing is there by half.

A writer is a process of its own. It writes transactions of several records and, after each, notes the number of it
with one write(2) to a file: that is the acknowledgement. ``kill_writers`` sends SIGKILL to one of them at a
moment drawn from a seed (printed; environment variable ``HOLDFAST_SEED``), then opens the store and compares.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from holdfast.errors import HoldfastError
from holdfast.store import Store
from holdfast.store import open as open_store
from holdfast.testing.toys import toy_registry

RECORDS = 5
"""How many kv keys a transaction of a writer writes, beside one or two records of every other kind."""
STARTING_SECONDS = 30.0
_WRITER = (
    "import sys, pathlib; from holdfast.testing.crash import write_until_told; "
    "write_until_told(sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3])"
)


class Outcome(msgspec.Struct, frozen=True):
    """What was found after a round: how many transactions were acknowledged and stored, and what is wrong."""

    round: int
    acknowledged: int
    stored: int
    faults: list[str]


def kill_writers(
    url: str, folder: Path, *, rounds: int, writers: int = 1, durability: str = "strict", seed: int | None = None
) -> Iterator[Outcome]:
    """Round after round: start writers, kill the first at a random moment, end the others, look, and yield."""
    chosen = int(os.environ.get("HOLDFAST_SEED", "0")) or seed or random.SystemRandom().randrange(1, 2**31)
    print(f"HOLDFAST_SEED={chosen}")
    chance = random.Random(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(rounds):
        names = [f"r{number}w{place}" for place in range(writers)]
        faults = _one_round(url, folder, names, durability, chance)
        with _opened(url, faults) as store:
            acknowledged = {name: _acknowledged(folder / name) for name in _all_names(folder)}
            faults += list(_compare(store, acknowledged, set(names))) + store.verify()
            yield Outcome(number, sum(acknowledged.values()), store.events.length("all"), faults)


def _opened(url: str, faults: list[str]) -> Store:
    try:
        return open_store(url, registry=toy_registry())
    except HoldfastError as error:
        for fault in faults:
            error.add_note(fault)
        raise


def _one_round(url: str, folder: Path, names: list[str], durability: str, chance: random.Random) -> list[str]:
    faults = []
    processes = [start_writer(url, folder / name, durability) for name in names]
    try:
        _wait_for_acknowledgements([folder / name for name in names], processes)
        time.sleep(chance.random() * 0.3)
        processes[0].send_signal(signal.SIGKILL)
        processes[0].wait()
        if len(processes) > 1:
            time.sleep(0.2)  # the others go on after the death of one
    finally:
        for process in processes:
            if process.stdin is not None and process.poll() is None:
                process.stdin.close()  # the order to stop
    for name, process in zip(names, processes, strict=True):
        process.wait(STARTING_SECONDS)
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace").strip()
        process.stderr.close()
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()
        if process.returncode not in (0, -signal.SIGKILL) or said:
            faults.append(f"writer {name} ended with {process.returncode}: {said[-500:]}")
    return faults


def start_writer(url: str, acknowledgements: Path, durability: str = "strict") -> subprocess.Popen[bytes]:
    """Start a writer; it goes on until its standard input is closed or it is killed."""
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, url, str(acknowledgements), durability],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _wait_for_acknowledgements(files: list[Path], processes: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    while not all(file.exists() and file.stat().st_size for file in files):
        if time.monotonic() > deadline or any(process.poll() is not None for process in processes):
            return  # what the writers said is reported as a fault
        time.sleep(0.005)


def write_until_told(url: str, acknowledgements: Path, durability: str) -> None:
    """Be a writer; see the module."""
    import select

    name = acknowledgements.name
    with (
        open_store(url, registry=toy_registry(), durability=durability) as store,  # type: ignore[arg-type]
        acknowledgements.open("ab", buffering=0) as acknowledged,
    ):
        prepare(store)
        number = 0
        while not select.select([sys.stdin], [], [], 0)[0]:
            with store.transaction() as tx:
                write_all_kinds(tx, name, number)
            acknowledged.write(b"%d\n" % number)
            number += 1


def prepare(store: Store) -> None:
    """Make what ``write_all_kinds`` writes into."""
    store.vectors.create_collection("numbers", dimension=2, exist_ok=True)


def write_all_kinds(tx: Any, name: str, number: int) -> None:
    """Write transaction ``number`` of a writer: records of every kind, those of a primitive of a user too."""
    key = f"{name}/{number:06d}"
    for part in range(RECORDS):
        tx.kv.put(f"{key}/{part}", number)
    tx.events.append("all", [name, number])
    tx.memories.store(f"{name} {number}", session_id=name, embeddings={"dense": [1.0, number]})
    tx.json.put(key, {"number": number})
    tx.json.set(key, "/again", number)
    tx.states.set(name, number)
    tx.traces.record("step", tags=[name], attributes={"number": number})
    tx.vectors.put("numbers", key, [1.0, number], metadata={"number": number})
    tx.counters.increment(name)


def half_transactions(store: Store, name: str, count: int) -> Iterator[str]:
    """What is wrong with the records of a writer of which ``count`` transactions are there."""
    numbers = range(count)
    keys = [f"{name}/{number:06d}" for number in numbers]
    spans = store.traces.list(tags=[name], limit=None)
    vectors = store.vectors.get_batch("numbers", [*keys, f"{name}/{count:06d}"]) if keys else []
    found: dict[str, tuple[object, object]] = {
        "kv": (
            [(one.key, one.value) for one in store.kv.scan(f"{name}/", limit=10**9)],
            [(f"{key}/{part}", number) for key, number in zip(keys, numbers, strict=True) for part in range(RECORDS)],
        ),
        "json": (
            [(one.key, one.value) for one in store.json.scan(f"{name}/", limit=10**9)],
            [(key, {"number": number, "again": number}) for key, number in zip(keys, numbers, strict=True)],
        ),
        "state": (store.states.read(name), count - 1 if count else None),
        "trace": (sorted(span.attributes["number"] for span in spans), list(numbers)),
        "vector": (
            [None if one is None else (one.vector, one.metadata["number"]) for one in vectors],
            [*(([1.0, float(number)], number) for number in numbers), None] if keys else [],
        ),
        "memory": (store.memories.count(session_id=name), count),
        "counter": (store.counters.value(name), count),
    }
    for kind, (there, expected) in found.items():
        if there != expected:
            yield f"{name}: a transaction is there by half, {kind}: {there!r:.200} where {expected!r:.200} belongs"


def _all_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _acknowledged(path: Path) -> int:
    """How many transactions of a writer were acknowledged; they are numbered from 0."""
    return path.read_bytes().count(b"\n")


def _compare(store: Store, acknowledged: dict[str, int], current: set[str]) -> Iterator[str]:
    """Each acknowledged transaction is whole; at most one more of each writer is there, and whole as well."""
    events: dict[str, list[int]] = {}
    after = None
    while True:
        page = store.events.read("all", limit=1000, after=after)
        for event in page:
            events.setdefault(event.data[0], []).append(event.data[1])
        after = page.cursor
        if after is None:
            break
    for name, count in acknowledged.items():
        found = events.get(name, [])
        if found != list(range(len(found))):
            yield f"{name}: the events are {found}, with a gap or a double"
        if not count <= len(found) <= count + 1:
            yield f"{name}: {count} transactions were acknowledged, {len(found)} are there"
        if name in current:
            yield from half_transactions(store, name, len(found))
