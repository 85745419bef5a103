"""The SQLite backend: one write connection behind the commit queue, and a pool of connections that read.

Promises: WAL mode, checked; ``strict`` commits with synchronous=FULL (the write-ahead log is synced at every commit),
``buffered`` with NORMAL and a sync within ``FLUSH_SECONDS``, ``ephemeral`` with NORMAL and no sync of its own - never
OFF, which could damage what was written strictly before. Several processes may write at once: each waits up to its busy
timeout for the others. After a commit whose outcome is unknown the writer is poisoned until the store is reopened.
Thread-safe. A store is not carried over a fork.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.backend import Capabilities, Compaction, View
from holdfast.backends.sqlite import schema
from holdfast.backends.sqlite.check import faults
from holdfast.backends.sqlite.compaction import compact
from holdfast.backends.sqlite.step import SqliteStep
from holdfast.backends.sqlite.view import Query, SqliteView
from holdfast.codec import JSON
from holdfast.committer import Committer
from holdfast.errors import ClosedError, HoldfastError, InitError, PermissionDeniedError, PoisonedError, ReadOnlyError
from holdfast.flusher import Flusher
from holdfast.log.files import make_directories, sync_directory
from holdfast.model import Durability
from holdfast.registry import PrimitiveRegistry
from holdfast.sqlite_library import (
    Connection,
    checkpoint,
    connect,
    foreign_errors,
    library_version,
    require_library,
    roll_back,
    rows,
)
from holdfast.text_index import TEXT_TABLES, FtsIndex

BUSY_SECONDS = 30.0
READERS_MAX = 16
"""Connections kept for reading; more are opened when more threads read at once, and closed after."""
CHECKPOINT_SECONDS = 5.0
"""How long ``compact`` waits for readers of the write-ahead log before it leaves it as it is."""
_CHECKPOINT_PAGES = 4000
_CACHE_KIB = 16 * 1024
_SPACES = """
SELECT name FROM spaces
WHERE sequence > floor OR EXISTS (SELECT 1 FROM records WHERE records.space = spaces.id) ORDER BY name
"""


class SqliteBackend:
    """The backend of ``sqlite:PATH``."""

    capabilities = Capabilities(
        name="sqlite",
        durabilities=("ephemeral", "buffered", "strict"),
        body_codec="json",
        persistent=True,
        multi_process=True,
        text_index=True,
    )

    def __init__(
        self,
        registry: PrimitiveRegistry,
        path: Path,
        *,
        create: bool = True,
        read_only: bool = False,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        require_library(library_version())
        self.path = path
        self._name = str(path)
        self._read_only = read_only
        self._busy_seconds = busy_seconds
        self._process = os.getpid()
        self._closed = self._poisoned = False
        self._readers: deque[Connection] = deque()
        self._space_ids: dict[str, int] = {}
        self._write_lock = threading.Lock()
        self._flusher: Flusher | None = None
        self.committer = Committer(registry, JSON, self._begin_step)
        self._writer = self._open(registry, create=create)
        self._synchronous = ""
        self._text = FtsIndex(self._query, self._write_derived)

    def _open(self, registry: PrimitiveRegistry, *, create: bool) -> Connection:
        if self.path.is_dir():
            raise InitError(
                f"{self._name} is a directory; an SQLite store is one file, for example {self.path}/agent.db, and "
                f"a log store is opened as log:{self.path}"
            )
        is_new = not self.path.exists()
        if is_new and (self._read_only or not create):
            raise InitError(
                f"{self._name} does not exist; create it with 'holdfast init {self.path}' or open it with create=True"
            )
        try:
            make_directories(self.path.parent)
        except PermissionError as error:
            raise PermissionDeniedError(f"the folder of {self._name} cannot be created: {error.strerror}") from error
        except OSError as error:
            raise InitError(f"the folder of {self._name} cannot be created: {error.strerror}") from error
        connection = self._connect(create=create)
        try:
            with foreign_errors(self._name, opening=True):
                if not self._read_only and connection.readonly("main"):
                    raise PermissionDeniedError(f"{self._name} cannot be written; open it with read_only=True")
                schema.prepare(connection, self._name, TEXT_TABLES, read_only=self._read_only)
                if not self._read_only:
                    schema.name_kinds(connection, [(0, "core"), *((one.id, one.name) for one in registry)])
            if is_new:
                sync_directory(self.path.parent)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self, *, create: bool = False) -> Connection:
        connection = connect(self._name, read_only=self._read_only, create=create, busy_seconds=self._busy_seconds)
        with foreign_errors(self._name, opening=True):
            connection.pragma("cache_size", -_CACHE_KIB)
            connection.pragma("wal_autocheckpoint", _CHECKPOINT_PAGES)
        return connection

    # Reading

    def view(self, space: str) -> View:
        """See ``backend.Backend``."""
        return SqliteView(self._query, space, self._space_ids.get(space, 0), self._space_id, together=self._together)

    @contextmanager
    def snapshot(self, space: str) -> Iterator[View]:
        """See ``backend.Backend``: a read transaction on a connection of its own."""
        with self._together() as query:
            found = query("SELECT id FROM spaces WHERE name = ?", (space,))
            yield SqliteView(query, space, found[0][0] if found else 0)

    @contextmanager
    def _together(self) -> Iterator[Query]:
        """Run several queries on one committed state: that of the first."""
        connection = self._take_reader()
        try:
            with foreign_errors(self._name):
                connection.execute("BEGIN")

            def query(statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
                with foreign_errors(self._name):
                    return rows(connection, statement, values)

            yield query
        finally:
            roll_back(connection)
            self._give_back(connection)

    def _query(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        connection = self._take_reader()
        try:
            with foreign_errors(self._name):
                return rows(connection, statement, values)
        finally:
            self._give_back(connection)

    def _take_reader(self) -> Connection:
        self._require_open()
        try:
            return self._readers.pop()
        except IndexError:
            return self._connect()

    def _give_back(self, connection: Connection) -> None:
        if self._closed or len(self._readers) >= READERS_MAX:
            connection.close()
        else:
            self._readers.append(connection)

    def _space_id(self, space: str) -> int:
        """Return the number of a space, 0 if it has no commit yet; numbers are never used again, so they are kept."""
        found = self._query("SELECT id FROM spaces WHERE name = ?", (space,))
        if found:
            self._space_ids[space] = found[0][0]
        return self._space_ids.get(space, 0)

    def spaces(self) -> list[str]:
        """See ``backend.Backend``."""
        return [row[0] for row in self._query(_SPACES, ())]

    # Writing

    def _begin_step(self, durability: Durability) -> SqliteStep:
        self._begin("full" if durability == "strict" else "normal")

        def end(trusted: bool) -> None:
            self._poisoned = self._poisoned or not trusted
            self._write_lock.release()
            if durability == "buffered":
                self._flush_soon()

        return SqliteStep(self._writer, self._name, end)

    def _begin(self, synchronous: str) -> None:
        """Take the write lock and begin a transaction that holds SQLite's."""
        self._require_open()
        if self._read_only:
            raise ReadOnlyError(f"{self._name} is open for reading only; open it without read_only=True to write")
        self._write_lock.acquire()
        try:
            self._require_open()
            if self._poisoned:
                raise PoisonedError(
                    f"{self._name}: an earlier commit failed with its outcome unknown; "
                    "close the store and open it again"
                )
            with foreign_errors(self._name, writing=True):
                if self._synchronous != synchronous:
                    self._writer.pragma("synchronous", synchronous)
                    self._synchronous = synchronous
                self._writer.execute("BEGIN IMMEDIATE")
        except BaseException:
            if not self._closed:
                roll_back(self._writer)
            self._write_lock.release()
            raise

    def _write_derived(self, change: Callable[[Connection], None]) -> None:
        """Change derived data in a transaction of its own: it can be rebuilt, so it is not synced."""
        self._begin("normal")
        try:
            with foreign_errors(self._name, writing=True):
                change(self._writer)
                self._writer.execute("COMMIT")
        finally:
            roll_back(self._writer)
            self._write_lock.release()

    def text_index(self) -> FtsIndex:
        """See ``backend.Backend``."""
        return self._text

    def _flush_soon(self) -> None:
        if self._flusher is None:
            self._flusher = Flusher(self.flush)
        self._flusher.wake()

    def refresh(self) -> int:
        """See ``backend.Backend``; each read sees what is newest."""
        self._require_open()
        return 0

    def flush(self) -> None:
        """See ``backend.Backend``: one synced commit syncs the write-ahead log with all that it holds."""
        self._require_open()
        if self._read_only:
            return
        self._raise_background_error()
        self._begin("full")
        try:
            with foreign_errors(self._name, writing=True):
                self._writer.pragma("user_version", schema.FORMAT_VERSION)
                self._writer.execute("COMMIT")
        except HoldfastError:
            self._poisoned = True
            raise
        finally:
            roll_back(self._writer)
            self._write_lock.release()

    def _raise_background_error(self) -> None:
        error = self._flusher.error if self._flusher else None
        if error is not None:
            raise PoisonedError(
                f"{self._name}: buffered commits could not be synced; close the store and reopen it"
            ) from error

    # The rest

    def verify(self) -> Iterator[str]:
        """See ``backend.Backend``."""
        connection = self._take_reader()
        try:
            with foreign_errors(self._name):
                yield from faults(connection)
        finally:
            self._give_back(connection)

    def compact(self, floors: Mapping[str, int]) -> Compaction:
        """See ``backend.Backend``. Others may read and write meanwhile; writers wait."""
        before = self.stats()["bytes"]
        self._begin("full")
        try:
            with foreign_errors(self._name, writing=True):
                roll_back(self._writer)
                trimmed = compact(self._writer, floors)
        finally:
            roll_back(self._writer)
            self._write_lock.release()
        connection = connect(self._name, read_only=False, create=False, busy_seconds=CHECKPOINT_SECONDS)
        with foreign_errors(self._name, writing=True), contextlib.closing(connection):
            done = checkpoint(connection)
        note = "a reader still needs the write-ahead log, so it holds what was deleted; compact again later"
        return Compaction(before, self.stats()["bytes"], trimmed, () if done else (note,))

    def stats(self) -> dict[str, Any]:
        """See ``backend.Backend``."""
        self._require_open()
        files = [self.path.with_name(self.path.name + suffix) for suffix in ("", "-wal")]
        size = sum(file.stat().st_size for file in files if file.exists())
        return {"path": self._name, "bytes": size, "sqlite": ".".join(map(str, library_version()))}

    def close(self) -> None:
        """See ``backend.Backend``."""
        if self._closed:
            return
        if os.getpid() != self._process:
            self._closed = True  # the connections belong to the parent
            return
        try:
            if self._flusher is not None:
                self._flusher.stop()
                if not self._poisoned:
                    self.flush()
        finally:
            with self._write_lock:
                self._closed = True
                self._writer.close()
            while self._readers:
                self._readers.pop().close()

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self._name} is closed; open it again")
        if os.getpid() != self._process:
            raise ClosedError(f"{self._name} was opened by process {self._process}; a forked child opens it for itself")
