"""The raw side: what Holdfast said to SQLite, recorded, and said again by bare apsw."""

from __future__ import annotations

import random
import shutil
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import apsw

Statement = tuple[str, Any]


class Recorder:
    """Records the statements of a store's connections while it is active."""

    def __init__(self, backend: Any) -> None:
        self.statements: list[Statement] = []
        self._connections = [backend._writer, *backend._readers]

    def __enter__(self) -> list[Statement]:
        for connection in self._connections:
            connection.exec_trace = self._take
        return self.statements

    def __exit__(self, *exc: object) -> None:
        for connection in self._connections:
            connection.exec_trace = None

    def _take(self, _: object, statement: str, bindings: Any) -> bool:
        self.statements.append((statement, bindings))
        return True


def copy_of(path: Path, name: str) -> Path:
    """A copy of a closed store."""
    target = path.with_name(name)
    for suffix in ("", "-wal", "-shm"):
        Path(str(target) + suffix).unlink(missing_ok=True)
    shutil.copy(path, target)
    return target


def _patience(_: int) -> bool:
    time.sleep(random.uniform(0.001, 0.003))
    return True


def connect(path: Path, *, strict: bool) -> apsw.Connection:
    connection = apsw.Connection(str(path), statementcachesize=100)
    connection.set_busy_handler(_patience)  # short polls, as Holdfast's own: SQLite's longer sleeps would be unfair
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "full" if strict else "normal")
    connection.pragma("cache_size", -16 * 1024)
    connection.pragma("wal_autocheckpoint", 4000)
    return connection


def say(connection: apsw.Connection, statements: list[Statement]) -> float:
    """Run statements and fetch their rows; equal ones in a row as one executemany. Returns seconds."""
    work: list[tuple[str, Any, bool]] = []
    for statement, bindings in statements:
        if work and work[-1][0] == statement and statement.startswith(("INSERT", "UPDATE", "DELETE")):
            if not work[-1][2]:
                work[-1] = (statement, [work[-1][1]], True)
            work[-1][1].append(bindings)
        else:
            work.append((statement, bindings, False))
    began = time.perf_counter()
    for statement, bindings, many in work:
        if many:
            connection.executemany(statement, bindings)
        else:
            connection.execute(statement, bindings).fetchall()
    return time.perf_counter() - began


def say_in_threads(path: Path, operations: list[list[Statement]], threads: int, *, shared: bool = False) -> float:
    """Run whole transactions on a connection a thread, or on one that they share under a lock. Returns seconds."""
    barrier = threading.Barrier(threads + 1)
    common, lock = connect(path, strict=True) if shared else None, threading.Lock()

    def work(mine: list[list[Statement]]) -> None:
        connection = common or connect(path, strict=True)
        barrier.wait()
        for operation in mine:
            with lock if shared else nullcontext():
                for statement, bindings in operation:
                    connection.execute(statement, bindings).fetchall()
        if not shared:
            connection.close()

    workers = [threading.Thread(target=work, args=(operations[n::threads],)) for n in range(threads)]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.perf_counter()
    for worker in workers:
        worker.join()
    return time.perf_counter() - began


def transactions(statements: list[Statement]) -> list[list[Statement]]:
    """Cut recorded statements into transactions."""
    found: list[list[Statement]] = []
    for one in statements:
        if one[0].startswith("BEGIN"):
            found.append([])
        if found:
            found[-1].append(one)
    return found
