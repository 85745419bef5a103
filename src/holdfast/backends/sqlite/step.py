"""Writing an SQLite store: one durable step is one transaction of the one write connection.

Promises: ``publish`` makes a whole group visible and durable, or leaves nothing. Whether an interrupted COMMIT took
effect is told by the random token that each group leaves in the row of its spaces. Used by the leader alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from holdfast import clock
from holdfast.backend import StagedSpace, View
from holdfast.backends.sqlite.view import SqliteView, decode_counts
from holdfast.errors import CommitUnknownError, CorruptionError, DiskFullError, WriteError
from holdfast.model import Erasure, Head, Header, JournalRow, Record
from holdfast.sqlite_library import Connection, ConstraintError, foreign_errors
from holdfast.text_index import clear_space

_encode = msgspec.msgpack.Encoder().encode

_INSERT = (
    "INSERT INTO records "
    "(space, kind, key, version, revision, created_at, updated_at, expires_at, schema, terms, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE = (
    "UPDATE records SET version = ?, revision = ?, created_at = ?, updated_at = ?, expires_at = ?, schema = ?, "
    "terms = ?, body = ? WHERE space = ? AND kind = ? AND key = ?"
)
_DELETE = "DELETE FROM records WHERE space = ? AND kind = ? AND key = ?"
_DELETE_BLOBS = "DELETE FROM blobs WHERE record = (SELECT id FROM records WHERE space = ? AND kind = ? AND key = ?)"
_INSERT_BLOB = (
    "INSERT INTO blobs (record, name, data) SELECT id, ?, ? FROM records WHERE space = ? AND kind = ? AND key = ?"
)
_TOMBSTONE = "INSERT OR REPLACE INTO tombstones (space, kind, key, revision) VALUES (?, ?, ?, ?)"
_DELETE_TERM = "DELETE FROM terms WHERE space = ? AND kind = ? AND number = ? AND value = ? AND key = ?"
_INSERT_TERM = "INSERT INTO terms (space, kind, number, value, key) VALUES (?, ?, ?, ?, ?)"
_INSERT_ROW = (
    "INSERT INTO journal (space, run, revision, ordinal, time, type, version, payload, bases) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_SCRUB = (
    "UPDATE journal SET type = ?, version = ?, payload = ?, bases = ? "
    "WHERE space = ? AND run = ? AND revision = ? AND ordinal = ?"
)
_DELETE_SPACE = tuple(f"DELETE FROM {table} WHERE space = ?" for table in ("records", "terms", "tombstones", "journal"))
_UPSERT_SPACE = (
    "INSERT INTO spaces (name, sequence, time, token, counts) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET sequence = excluded.sequence, time = excluded.time, token = excluded.token, "
    "counts = excluded.counts RETURNING id"
)


class SqliteStep:
    """See ``backend.Step``; ``end`` is called once when it is over, with True if the connection is to be trusted."""

    def __init__(self, connection: Connection, path: str, end: Callable[[bool], None]) -> None:
        self._connection = connection
        self._path = path
        self._end = end
        self._counts: dict[str, dict[str, int]] = {}
        self._witness: tuple[str, bytes] | None = None
        self._over = False
        self._trusted = True

    def query(self, statement: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Run a statement on the write connection."""
        with foreign_errors(self._path, writing=True):
            return list(self._connection.execute(statement, values))

    def view(self, space: str) -> View:
        """See ``backend.Step``."""
        rows = self.query("SELECT id, counts, sequence, time, floor FROM spaces WHERE name = ?", (space,))
        if not rows:
            self._counts[space] = {}
            return SqliteView(self.query, space, 0, head=Head())
        number, counts, *head = rows[0]
        self._counts[space] = decode_counts(counts)
        return SqliteView(self.query, space, number, head=Head(*head))

    def publish(self, staged: Sequence[StagedSpace]) -> None:
        """See ``backend.Step``."""
        token = clock.random_token(16)
        try:
            with foreign_errors(self._path, writing=True):
                for space in staged:
                    self._write_space(space, token)
                self._witness = (staged[0].space, token)
                self._connection.execute("COMMIT")
        except WriteError as error:
            self._trusted = isinstance(error, DiskFullError)  # after a failed write or sync nothing is certain
            raise
        self._finish()

    def abandon(self) -> bool:
        """See ``backend.Step``."""
        if self._over:
            return self._witness is not None
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
                self._witness = None
            elif self._witness is not None and not self._was_committed(*self._witness):
                self._witness = None
        except Exception as error:
            self._trusted = False
            self._finish()
            raise CommitUnknownError(
                f"{self._path}: it is unknown whether the commit happened; reopen the store and look",
                commit_id=self._witness[1] if self._witness else None,
            ) from error
        self._finish()
        return self._witness is not None

    def _finish(self) -> None:
        self._over = True
        self._end(self._trusted)

    def _was_committed(self, space: str, token: bytes) -> bool:
        rows = self.query("SELECT token FROM spaces WHERE name = ?", (space,))
        return bool(rows) and rows[0][0] == token

    def _write_space(self, staged: StagedSpace, token: bytes) -> None:
        dropped = any(erasure.run is None for erasure in staged.erasures)
        counts = {} if dropped else self._counts[staged.space]
        for kind, records in staged.writes.items():
            before = staged.before.get(kind, {})
            added = sum(record is not None for record in records.values())
            removed = sum(before.get(key) is not None for key in records)
            if added != removed:
                counts[str(kind)] = counts.get(str(kind), 0) + added - removed
        values = (staged.space, staged.sequence, staged.time, token, msgspec.json.encode(counts).decode())
        space = self.query(_UPSERT_SPACE, values)[0][0]
        for erasure in staged.erasures:
            self._erase(staged.space, space, erasure)
        for kind, records in staged.writes.items():
            self._write_kind(space, kind, records, staged.before.get(kind, {}), staged.sequence)
        self._many(_INSERT_ROW, [(space, run, *_journal_columns(row)) for run, row in staged.journal])

    def _erase(self, name: str, space: int, erasure: Erasure) -> None:
        if erasure.run is None:
            self.query("DELETE FROM blobs WHERE record IN (SELECT id FROM records WHERE space = ?)", (space,))
            for statement in _DELETE_SPACE:
                self.query(statement, (space,))
            self.query("UPDATE spaces SET floor = sequence WHERE id = ?", (space,))
            clear_space(self._connection, name)
        elif erasure.rows is None:
            self.query("DELETE FROM journal WHERE space = ? AND run = ?", (space, erasure.run))
        else:
            where = [
                (entry.type, entry.version, entry.payload, _encode(()), space, erasure.run, revision, ordinal)
                for revision, ordinal, entry in erasure.rows
            ]
            self._many(_SCRUB, where)

    def _write_kind(
        self, space: int, kind: int, records: dict[bytes, Record | None], before: dict[bytes, Header | None], now: int
    ) -> None:
        inserts, updates, deletes, old_terms, new_terms, old_blobs, new_blobs = [], [], [], [], [], [], []
        for key, record in records.items():
            old = before.get(key)
            where = (space, kind, key)
            if old is not None:
                kept = () if record is None else record.terms
                old_terms += [(space, kind, *term, key) for term in old.terms if term not in kept]
            if record is None:
                if old is not None:
                    deletes.append(where)
                continue
            times = (record.created_at, record.updated_at, record.expires_at)
            row = (record.version, record.revision, *times, record.schema, _encode(record.terms), record.body.decode())
            had: tuple[Any, ...] = ()
            if old is None:
                inserts.append((*where, *row))
            else:
                updates.append((*row, *where))
                had = old.terms
            new_terms += [(space, kind, *term, key) for term in record.terms if term not in had]
            if record.blobs is not None:
                if old is not None:
                    old_blobs.append(where)
                new_blobs += [(name, data, *where) for name, data in record.blobs]
        try:
            self._many(_INSERT, inserts)
        except ConstraintError as error:
            raise CorruptionError(
                f"{self._path}: a new record stands where one exists already", path=self._path
            ) from error
        self._many(_UPDATE, updates)
        self._many(_DELETE_TERM, old_terms)
        self._many(_INSERT_TERM, new_terms)
        self._many(_DELETE_BLOBS, old_blobs + deletes)
        self._many(_DELETE, deletes)
        self._many(_TOMBSTONE, [(*where, now) for where in deletes])
        self._many(_INSERT_BLOB, new_blobs)

    def _many(self, statement: str, rows: list[tuple[Any, ...]]) -> None:
        if len(rows) == 1:
            self._connection.execute(statement, rows[0])
        elif rows:
            self._connection.executemany(statement, rows)


def _journal_columns(row: JournalRow) -> tuple[Any, ...]:
    entry = row.entry
    return row.revision, row.ordinal, row.time, entry.type, entry.version, entry.payload, _encode(row.bases)
