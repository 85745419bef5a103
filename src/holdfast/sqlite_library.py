"""The door to SQLite (through apsw): connections, the check of its version, and its errors as ours.

apsw brings its own SQLite; older ones than 3.51.3 have the WAL-reset bug, which can corrupt a database that several
connections write (sqlite.org/wal.html, "The WAL-Reset Bug"), and are refused. Knows no schema.
"""

from __future__ import annotations

import time
from typing import Any

import apsw

from holdfast import clock
from holdfast.errors import (
    ClosedError,
    CorruptionError,
    DiskFullError,
    FormatError,
    InitError,
    LockedError,
    PermissionDeniedError,
    ReadError,
    UnavailableError,
    WriteError,
)

SQLITE_VERSION_MIN = (3, 51, 3)
POLL_SECONDS = 0.002
"""Mean time between two tries for a lock that another process holds."""

Connection = apsw.Connection
ConstraintError = apsw.ConstraintError


def library_version() -> tuple[int, ...]:
    """Return the version of the SQLite library in use."""
    return tuple(int(part) for part in apsw.sqlite_lib_version().split("."))


def require_library(found: tuple[int, ...]) -> None:
    """Raise InitError if this SQLite library is one that may corrupt a store."""
    if found < SQLITE_VERSION_MIN:
        need = ".".join(map(str, SQLITE_VERSION_MIN))
        have = ".".join(map(str, found))
        raise InitError(
            f"SQLite {have} has a bug that can corrupt a store which several connections write; "
            f"Holdfast needs {need} or newer: pip install --upgrade apsw"
        )


def connect(path: str, *, read_only: bool, create: bool, busy_seconds: float) -> Connection:
    """Open a connection that waits up to ``busy_seconds`` for locks. Raises errors of ours."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE
    if create and not read_only:
        flags |= apsw.SQLITE_OPEN_CREATE
    with foreign_errors(path, opening=True):
        connection = Connection(path, flags=flags, statementcachesize=100)
        connection.set_busy_handler(_patience(busy_seconds))
    return connection


def _patience(busy_seconds: float) -> Any:
    """Return a busy handler that polls at short random intervals, so that no process is always too late."""
    deadline = 0.0

    def wait(tries_before: int) -> bool:
        nonlocal deadline
        now = time.monotonic()
        if tries_before == 0:
            deadline = now + busy_seconds
        if now >= deadline:
            return False
        time.sleep(POLL_SECONDS / 2 + clock.jitter(POLL_SECONDS))
        return True

    return wait


class foreign_errors:
    """A block in which SQLite's errors become ours, with the original as cause. A class, as it stands on hot paths."""

    __slots__ = ("_opening", "_path", "_writing")

    def __init__(self, path: str, *, opening: bool = False, writing: bool = False) -> None:
        self._path = path
        self._opening = opening
        self._writing = writing

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Raise the error of ours."""
        if isinstance(error, apsw.Error):
            raise mapped(error, self._path, opening=self._opening, writing=self._writing) from error


def mapped(error: apsw.Error, path: str, *, opening: bool = False, writing: bool = False) -> Exception:
    """Return the error of ours for an error of SQLite."""
    what = "open" if opening else "write" if writing else "read"
    simple: dict[type[apsw.Error], Exception] = {
        apsw.BusyError: LockedError(
            f"{path} has been locked by another process for longer than the busy timeout; "
            f"end that process, or open the store with a longer busy_seconds"
        ),
        apsw.LockedError: LockedError(f"{path} is locked by another connection of this process"),
        apsw.FullError: DiskFullError(f"no space is left to write {path}; nothing of the commit was kept"),
        apsw.CorruptError: CorruptionError(f"{path} is damaged: {error}; see 'holdfast verify'", path=path),
        apsw.NotADBError: FormatError(f"{path} is not an SQLite database, so it is no Holdfast store"),
        apsw.ReadOnlyError: PermissionDeniedError(f"{path} cannot be written; open it with read_only=True"),
        apsw.PermissionsError: PermissionDeniedError(f"access to {path} is refused by the system"),
        apsw.CantOpenError: InitError(
            f"{path} cannot be opened: {error}; check that its folder exists and is writable"
        ),
        apsw.ProtocolError: UnavailableError(f"the locks of {path} do not work; is it on a network file system?"),
        apsw.ConnectionClosedError: ClosedError("this store is closed; open it again"),
    }
    found = simple.get(type(error))
    if found is not None:
        return found
    general = InitError if opening else WriteError if writing else ReadError
    return general(f"cannot {what} {path}: {error}")


def rows(connection: Connection, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Run a statement and return all its rows; raises SQLite's own errors."""
    return list(connection.execute(statement, values))


def roll_back(connection: Connection) -> None:
    """End a transaction that was not committed, if there is one."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def checkpoint(connection: Connection) -> bool:
    """Bring the write-ahead log into the database and empty it; False if somebody still reads what is in it."""
    rows(connection, "SELECT count(*) FROM sqlite_schema")  # a connection that has read nothing knows of no log
    try:
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.BusyError:
        return False
    return True


def bound_list(values: tuple[bytes, ...]) -> Any:
    """Return a parameter for ``IN carray(?)``: many byte strings as one bound value."""
    return apsw.carray(values)
