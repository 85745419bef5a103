"""Reading an SQLite store: the view of one space over one connection, or over any free one.

Every method sees one committed state: it is one SQL statement, or - where blobs are asked for - two in one transaction.
Values are always bound; the only parts of a statement that vary are chosen from constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeAlias

import msgspec

from holdfast.model import Change, Cursor, Entry, Head, Header, JournalRow, Page, Record, Term, Want
from holdfast.sqlite_library import bound_list

Query: TypeAlias = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
"""Run a statement and return its rows; maps errors."""

decode_terms = msgspec.msgpack.Decoder(tuple[Term, ...]).decode
decode_bases = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes | None], ...]).decode
decode_counts = msgspec.json.Decoder(dict[str, int]).decode

_HEADER = "r.key, r.version, r.revision, r.created_at, r.updated_at, r.expires_at, r.schema, r.terms"
_COLUMNS = {"headers": _HEADER, "records": _HEADER + ", r.body", "blobs": _HEADER + ", r.body, r.id"}
_READ_ONE = {
    want: f"SELECT {columns} FROM records r WHERE r.space = ? AND r.kind = ? AND r.key = ?"
    for want, columns in _COLUMNS.items()
}
_READ_MANY = {
    want: f"SELECT {columns} FROM records r WHERE r.space = ? AND r.kind = ? AND r.key IN carray(?)"
    for want, columns in _COLUMNS.items()
}


def _scan_statement(by_index: bool, want: str, continued: bool, reverse: bool) -> str:
    order = "DESC" if reverse else "ASC"
    beyond = "<" if reverse else ">"
    if not by_index:
        behind = f" AND r.key {beyond} ?" if continued else ""
        return (
            f"SELECT r.key, {_COLUMNS[want]} FROM records r WHERE r.space = ? AND r.kind = ? "
            f"AND r.key >= ? AND r.key < ?{behind} ORDER BY r.key {order} LIMIT ?"
        )
    behind = f" AND (t.value, t.key) {beyond} (?, ?)" if continued else ""
    return (
        f"SELECT t.value, {_COLUMNS[want]} FROM terms t CROSS JOIN records r "
        "ON r.space = t.space AND r.kind = t.kind AND r.key = t.key WHERE t.space = ? AND t.kind = ? AND t.number = ? "
        f"AND t.value >= ? AND t.value < ?{behind} ORDER BY t.value {order}, t.key {order} LIMIT ?"
    )


_SCAN = {
    (by_index, want, continued, reverse): _scan_statement(by_index, want, continued, reverse)
    for by_index in (False, True)
    for want in _COLUMNS
    for continued in (False, True)
    for reverse in (False, True)
}
_CHANGES = """
SELECT * FROM (SELECT revision, kind, key, 0 AS deleted FROM records WHERE space = ? AND revision > ?
               ORDER BY revision, kind, key LIMIT ?)
UNION ALL
SELECT * FROM (SELECT revision, kind, key, 1 FROM tombstones t WHERE space = ? AND revision > ?
               AND NOT EXISTS (SELECT 1 FROM records r WHERE r.space = t.space AND r.kind = t.kind AND r.key = t.key)
               ORDER BY revision, kind, key LIMIT ?)
ORDER BY 1, 2, 3 LIMIT ?
"""


def to_header(row: tuple[Any, ...]) -> Header:
    """Return the header in the columns of ``_HEADER``."""
    return Header(row[0], row[1], row[2], row[3], row[4], row[5], row[6], decode_terms(row[7]))


def to_record(row: tuple[Any, ...]) -> Record:
    """Return the record in the columns of ``_HEADER`` and the body."""
    return Record(row[0], row[1], row[2], row[3], row[4], row[5], row[6], decode_terms(row[7]), row[8].encode())


class SqliteView:
    """See ``backend.View``. As thread-safe as the query function that it is given.

    ``together`` begins a transaction to read in; None where there is one already.
    """

    __slots__ = ("_find", "_head", "_name", "_number", "_query", "_together")

    def __init__(
        self,
        query: Query,
        name: str,
        space: int,
        find: Callable[[str], int] | None = None,
        head: Head | None = None,
        together: Callable[[], AbstractContextManager[Query]] | None = None,
    ) -> None:
        self._query = query
        self._together = together
        self._name = name
        self._number = space
        self._find = find
        self._head = head  # known where a write lock keeps it from moving

    @property
    def _space(self) -> int:
        """The number of the space; 0, and asked for again, while it has no commit."""
        if not self._number and self._find is not None:
            self._number = self._find(self._name)
        return self._number

    def head(self) -> Head:
        """See ``backend.View``."""
        if self._head is not None:
            return self._head
        rows = self._query("SELECT sequence, time, floor FROM spaces WHERE name = ?", (self._name,))
        return Head(*rows[0]) if rows else Head()

    def read(self, kind: int, keys: Sequence[bytes], want: Want = "records") -> list[Any]:
        """See ``backend.View``."""
        if want == "blobs" and self._together is not None:
            with self._together() as query:
                return SqliteView(query, self._name, self._space).read(kind, keys, want)
        if len(keys) == 1:
            return self._items(self._query(_READ_ONE[want], (self._space, kind, keys[0])), want) or [None]
        if not keys:
            return []
        rows = self._query(_READ_MANY[want], (self._space, kind, bound_list(tuple(keys))))
        found = {item.key: item for item in self._items(rows, want)}
        return [found.get(key) for key in keys]

    def scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        *,
        after: Cursor | None = None,
        reverse: bool = False,
        limit: int = 100,
        want: Want = "records",
    ) -> Page:
        """See ``backend.View``."""
        if want == "blobs" and self._together is not None:
            with self._together() as query:
                fixed = SqliteView(query, self._name, self._space)
                return fixed.scan(kind, index, low, high, after=after, reverse=reverse, limit=limit, want=want)
        values: tuple[Any, ...] = (self._space, kind) if index is None else (self._space, kind, index)
        values += (low, high)
        if after is not None:
            values += (after[1],) if index is None else after
        rows = self._query(_SCAN[index is not None, want, after is not None, reverse], (*values, limit))
        items = self._items([row[1:] for row in rows], want)
        places = tuple((row[0], row[1]) for row in rows)
        return Page(tuple(items), places, places[-1] if len(places) == limit else None)

    def count(self, kind: int, index: int | None = None, low: bytes = b"", high: bytes = b"") -> int:
        """See ``backend.View``."""
        if index is None:
            rows = self._query("SELECT counts FROM spaces WHERE name = ?", (self._name,))
            return decode_counts(rows[0][0]).get(str(kind), 0) if rows else 0
        statement = (
            "SELECT count(*) FROM terms WHERE space = ? AND kind = ? AND number = ? AND value >= ? AND value < ?"
        )
        count: int = self._query(statement, (self._space, kind, index, low, high))[0][0]
        return count

    def changes(self, after: int, limit: int) -> list[Change]:
        """See ``backend.View``."""
        rows = self._query(_CHANGES, (self._space, after, limit, self._space, after, limit, limit))
        return [Change(revision, kind, key, bool(deleted)) for revision, kind, key, deleted in rows]

    def journal(self, run: bytes, after: tuple[int, int], limit: int) -> list[JournalRow]:
        """See ``backend.View``."""
        rows = self._query(
            "SELECT revision, ordinal, time, type, version, payload, bases FROM journal "
            "WHERE space = ? AND run = ? AND (revision, ordinal) > (?, ?) ORDER BY revision, ordinal LIMIT ?",
            (self._space, run, *after, limit),
        )
        return [
            JournalRow(revision, ordinal, time, Entry(code, version, payload), decode_bases(bases))
            for revision, ordinal, time, code, version, payload, bases in rows
        ]

    def last_journaled(self, run: bytes) -> int | None:
        """See ``backend.View``."""
        statement = "SELECT time FROM journal WHERE space = ? AND run = ? ORDER BY revision DESC, ordinal DESC LIMIT 1"
        rows = self._query(statement, (self._space, run))
        return rows[0][0] if rows else None

    def journaled_runs(self) -> list[bytes]:
        """See ``backend.View``."""
        statement = "SELECT DISTINCT run FROM journal WHERE space = ? ORDER BY run"
        return [run for (run,) in self._query(statement, (self._space,))]

    def in_journal(self, run: bytes, revision: int) -> bool:
        """See ``backend.View``."""
        statement = "SELECT 1 FROM journal WHERE space = ? AND run = ? AND revision = ? LIMIT 1"
        return bool(self._query(statement, (self._space, run, revision)))

    def _items(self, rows: list[tuple[Any, ...]], want: Want) -> list[Any]:
        if want == "headers":
            return [to_header(row) for row in rows]
        records = [to_record(row) for row in rows]
        if want == "records" or not rows:
            return records
        blobs: dict[int, list[tuple[str, bytes]]] = {}
        ids = (
            "SELECT record, name, data FROM blobs WHERE record IN (SELECT value FROM json_each(?)) "
            "ORDER BY record, name"
        )
        for record, name, data in self._query(ids, (msgspec.json.encode([row[9] for row in rows]).decode(),)):
            blobs.setdefault(record, []).append((name, data))
        return [
            msgspec.structs.replace(record, blobs=tuple(blobs.get(row[9], ())))
            for record, row in zip(records, rows, strict=True)
        ]
