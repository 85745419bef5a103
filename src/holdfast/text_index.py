"""A full-text index in SQLite's FTS5 (sqlite.org/fts5.html): in a store's own file, or in memory beside another
backend.

The tables keep no text, only what is needed to find it (``content=''``), and are caught up from the change feed by
``search/text.py``. All spaces share one index; a scope token in a column of its own, with weight 0, keeps them
apart. Promises: documents and watermark move in one transaction. Words are folded by ``unicode61`` and stemmed by
``porter``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from holdfast.errors import FormatError, StorageError
from holdfast.sqlite_library import Connection, bound_list, connect, foreign_errors, roll_back, rows

FORMAT_VERSION = 1
"""Of the file of an index beside a store (``PRAGMA user_version``)."""
TOKENIZER = "porter unicode61 remove_diacritics 2"
TEXT_TABLES = f"""
CREATE VIRTUAL TABLE text USING fts5 (scope, words, content = '', contentless_delete = 1, tokenize = '{TOKENIZER}');
CREATE TABLE text_documents (
    id INTEGER PRIMARY KEY, scope TEXT NOT NULL, key BLOB NOT NULL, UNIQUE (scope, key)
) STRICT;
CREATE TABLE text_state (scope TEXT PRIMARY KEY, watermark INTEGER NOT NULL) STRICT;
"""

Rows: TypeAlias = list[tuple[Any, ...]]
Query: TypeAlias = Callable[[str, tuple[Any, ...]], Rows]
Write: TypeAlias = Callable[[Callable[[Connection], None]], None]


def scope_token(space: str, kind: int) -> str:
    """Return the word that marks the documents of one kind in one space."""
    return f"x{space.encode().hex()}k{kind}"


def clear_space(connection: Connection, space: str) -> None:
    """Remove all documents and watermarks of a space, inside a transaction of the caller."""
    for (scope,) in rows(
        connection, "SELECT scope FROM text_state WHERE scope GLOB ?", (scope_token(space, 0)[:-1] + "*",)
    ):
        clear_scope(connection, scope)


def clear_scope(connection: Connection, scope: str) -> None:
    """Remove the documents and the watermark of one kind in one space, inside a transaction of the caller."""
    connection.execute("DELETE FROM text WHERE rowid IN (SELECT id FROM text_documents WHERE scope = ?)", (scope,))
    connection.execute("DELETE FROM text_documents WHERE scope = ?", (scope,))
    connection.execute("DELETE FROM text_state WHERE scope = ?", (scope,))


class FtsIndex:
    """See ``backend.TextIndex``. ``query`` reads; ``write`` runs a function in a write transaction."""

    def __init__(self, query: Query, write: Write) -> None:
        self._query = query
        self._write = write

    def watermark(self, space: str, kind: int) -> int:
        """See ``backend.TextIndex``."""
        found = self._query("SELECT watermark FROM text_state WHERE scope = ?", (scope_token(space, kind),))
        return found[0][0] if found else 0

    def clear(self, space: str, kind: int) -> None:
        """See ``backend.TextIndex``."""
        self._write(lambda connection: clear_scope(connection, scope_token(space, kind)))

    def index(
        self, space: str, kind: int, documents: Sequence[tuple[bytes, str | None]], after: int, watermark: int
    ) -> None:
        """See ``backend.TextIndex``."""
        scope = scope_token(space, kind)

        def take_in(connection: Connection) -> None:
            state = rows(connection, "SELECT watermark FROM text_state WHERE scope = ?", (scope,))
            if (state[0][0] if state else 0) != after:
                return
            for key, text in documents:
                self._take_in_one(connection, scope, key, text)
            connection.execute("INSERT OR REPLACE INTO text_state (scope, watermark) VALUES (?, ?)", (scope, watermark))

        self._write(take_in)

    @staticmethod
    def _take_in_one(connection: Connection, scope: str, key: bytes, text: str | None) -> None:
        where = (scope, key)
        found = rows(connection, "SELECT id FROM text_documents WHERE scope = ? AND key = ?", where)
        if found:
            connection.execute("DELETE FROM text WHERE rowid = ?", found[0])
        if text is None:
            connection.execute("DELETE FROM text_documents WHERE scope = ? AND key = ?", where)
            return
        if not found:
            connection.execute("INSERT INTO text_documents (scope, key) VALUES (?, ?)", where)
        number = found[0][0] if found else connection.last_insert_rowid()
        connection.execute("INSERT INTO text (rowid, scope, words) VALUES (?, ?, ?)", (number, scope, text))

    def holding(self, space: str, kind: int, keys: Sequence[bytes]) -> list[bytes]:
        """See ``backend.TextIndex``."""
        statement = "SELECT key FROM text_documents WHERE scope = ? AND key IN carray(?)"
        if not keys:
            return []
        return [key for (key,) in self._query(statement, (scope_token(space, kind), bound_list(tuple(keys))))]

    def match(self, space: str, kind: int, expression: str, limit: int, offset: int) -> list[tuple[bytes, float]]:
        """See ``backend.TextIndex``."""
        scoped = f'scope : "{scope_token(space, kind)}" AND words : ({expression})'
        found = self._query(
            "SELECT documents.key, -bm25(text, 0.0, 1.0) AS score FROM text "
            "JOIN text_documents documents ON documents.id = text.rowid "
            "WHERE text MATCH ? ORDER BY score DESC, documents.key LIMIT ? OFFSET ?",
            (scoped, limit, offset),
        )
        return [(key, score) for key, score in found]


class OwnIndex(FtsIndex):
    """An index over one connection of its own, beside a backend that has none. Thread-safe."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(self._rows, self._change)
        self._connection = connection
        self._lock = threading.Lock()

    def _rows(self, statement: str, values: tuple[Any, ...]) -> Rows:
        with self._lock, foreign_errors("the text index"):
            return list(self._connection.execute(statement, values))

    def _change(self, change: Callable[[Connection], None]) -> None:
        with self._lock, foreign_errors("the text index", writing=True), self._connection:
            change(self._connection)

    def compact(self) -> None:
        """Leave no byte of what was removed in the file."""
        with self._lock, foreign_errors("the text index", writing=True):
            self._connection.execute("INSERT INTO text (text) VALUES ('optimize')")
            self._connection.execute("VACUUM")
            self._connection.pragma("wal_checkpoint", "truncate")

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._connection.close()


def in_memory() -> OwnIndex:
    """Return an index that lives in this process only."""
    connection = connect(":memory:", read_only=False, create=True, busy_seconds=0)
    connection.execute(TEXT_TABLES)
    return OwnIndex(connection)


def beside(path: Path, heads: Mapping[str, int]) -> OwnIndex | None:
    """Return the index in a file that one process has to itself, made if it is not there; None if it is no index.

    ``heads``: the newest commit of each space when the store was opened. What the index has seen beyond it was lost by
    the store (a power cut takes unsynced commits), and other commits will have those numbers: so it begins again.
    """
    try:
        connection = connect(str(path), read_only=False, create=True, busy_seconds=0)
        try:
            with foreign_errors(str(path), opening=True):
                connection.pragma("journal_mode", "wal")
                connection.pragma("synchronous", "normal")  # derived: what a power cut takes is made again
                if connection.pragma("user_version") != FORMAT_VERSION:
                    if rows(connection, "SELECT 1 FROM sqlite_schema LIMIT 1"):
                        raise FormatError(f"{path} is no text index of this version")
                    with connection:
                        connection.execute(TEXT_TABLES)
                        connection.pragma("user_version", FORMAT_VERSION)
                known = {scope_token(space, 0)[:-1]: head for space, head in heads.items()}
                with connection:
                    for scope, watermark in rows(connection, "SELECT scope, watermark FROM text_state"):
                        if watermark > known.get(scope.rstrip("0123456789"), 0):
                            clear_scope(connection, scope)
        except BaseException:
            connection.close()
            raise
    except StorageError:
        return None
    return OwnIndex(connection)


_own = threading.local()
"""A connection for each thread that marks excerpts: making its table takes longer than using it."""


def marked(texts: Sequence[str], expression: str, opening: str, closing: str, words: int) -> list[str]:
    """Return an excerpt of each text of about ``words`` words, with what matches an FTS5 expression marked."""
    connection = getattr(_own, "connection", None)
    if connection is None:
        connection = _own.connection = connect(":memory:", read_only=False, create=True, busy_seconds=0)
        connection.execute(f"CREATE VIRTUAL TABLE hits USING fts5 (words, tokenize = '{TOKENIZER}')")
    with foreign_errors("the excerpts"):
        try:
            connection.execute("BEGIN")
            connection.executemany("INSERT INTO hits (rowid, words) VALUES (?, ?)", list(enumerate(texts, 1)))
            statement = "SELECT rowid, snippet(hits, 0, ?, ?, '…', ?) FROM hits WHERE hits MATCH ?"
            excerpts: dict[Any, Any] = dict(rows(connection, statement, (opening, closing, words, expression)))
        finally:
            roll_back(connection)
    return [excerpts.get(number, text) for number, text in enumerate(texts, 1)]
