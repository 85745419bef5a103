"""The tables of an SQLite store, format version 1, and the checks at opening.

    spaces      id, name, sequence and time of the last commit, floor (deletions up to it are not told any more),
                token (which commit wrote that), counts (JSON: kind -> n)
    kinds       id, name: for people
    records     one row a record; body is JSON text; terms is msgpack of [[index, value], ...]
    terms       one row an index term, ordered by (space, kind, index, value, key)
    blobs       large values, by record row
    tombstones  the newest deletion of each deleted key, for change feeds
    journal     one row an entry of a run
    text, text_documents, text_state   the full-text index (``text_index.py``)

``application_id`` is 0x484F4C44 ("HOLD"); ``user_version`` is the format version. A rowid table beats WITHOUT ROWID for
records with random keys; the terms are their own index, so there WITHOUT ROWID spares a second tree.
"""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.errors import FormatError, InitError
from holdfast.sqlite_library import Connection, roll_back

APPLICATION_ID = 0x484F4C44
FORMAT_VERSION = 1

TABLES = """
CREATE TABLE spaces (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, sequence INTEGER NOT NULL, time INTEGER NOT NULL,
    floor INTEGER NOT NULL DEFAULT 0, token BLOB NOT NULL, counts TEXT NOT NULL
) STRICT;
CREATE TABLE kinds (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
CREATE TABLE records (
    id INTEGER PRIMARY KEY, space INTEGER NOT NULL, kind INTEGER NOT NULL, key BLOB NOT NULL,
    version INTEGER NOT NULL, revision INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL,
    expires_at INTEGER, schema INTEGER NOT NULL, terms BLOB NOT NULL, body TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_by_key ON records (space, kind, key);
CREATE INDEX records_by_revision ON records (space, revision);
CREATE TABLE terms (
    space INTEGER NOT NULL, kind INTEGER NOT NULL, number INTEGER NOT NULL, value BLOB NOT NULL, key BLOB NOT NULL,
    PRIMARY KEY (space, kind, number, value, key)
) WITHOUT ROWID, STRICT;
CREATE TABLE blobs (
    id INTEGER PRIMARY KEY, record INTEGER NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL, UNIQUE (record, name)
) STRICT;
CREATE TABLE tombstones (
    space INTEGER NOT NULL, kind INTEGER NOT NULL, key BLOB NOT NULL, revision INTEGER NOT NULL,
    PRIMARY KEY (space, kind, key)
) WITHOUT ROWID, STRICT;
CREATE INDEX tombstones_by_revision ON tombstones (space, revision);
CREATE TABLE journal (
    id INTEGER PRIMARY KEY, space INTEGER NOT NULL, run BLOB NOT NULL, revision INTEGER NOT NULL,
    ordinal INTEGER NOT NULL, time INTEGER NOT NULL, type INTEGER NOT NULL, version INTEGER NOT NULL,
    payload BLOB NOT NULL, bases BLOB NOT NULL, UNIQUE (space, run, revision, ordinal)
) STRICT;
CREATE VIEW readable AS
    SELECT spaces.name AS space, kinds.name AS kind, hex(records.key) AS key, version, revision,
        strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1e6, 'unixepoch') AS created_at,
        strftime('%Y-%m-%dT%H:%M:%fZ', updated_at / 1e6, 'unixepoch') AS updated_at, body
    FROM records JOIN spaces ON spaces.id = records.space LEFT JOIN kinds ON kinds.id = records.kind;
"""


def prepare(connection: Connection, path: str, more_tables: str, *, read_only: bool) -> None:
    """Create the tables in an empty file, or check that the file is a store which this version can read."""
    is_empty = _is_empty(connection)
    if not is_empty:
        check(connection, path)  # before anything is changed, such as the journal mode of a file that is not ours
    elif read_only:
        raise FormatError(f"{path} holds no Holdfast store yet; open it once without read_only=True")
    if not read_only:
        mode = connection.pragma("journal_mode", "wal")
        if mode != "wal":
            raise InitError(f"{path} cannot be put in WAL mode (it stays in {mode!r}); is it on a network file system?")
    if not is_empty:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _is_empty(connection):  # another process may have been faster
            connection.execute(TABLES + more_tables)
            connection.pragma("application_id", APPLICATION_ID)
            connection.pragma("user_version", FORMAT_VERSION)
        connection.execute("COMMIT")
    finally:
        roll_back(connection)
    check(connection, path)


def check(connection: Connection, path: str) -> None:
    """Raise FormatError if the file is not a store, or one of a newer version."""
    if connection.pragma("application_id") != APPLICATION_ID:
        raise FormatError(f"{path} is an SQLite database but no Holdfast store; it was left as it is")
    version = connection.pragma("user_version")
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{path} was written by a newer version of Holdfast (format {version}, this one knows {FORMAT_VERSION}); "
            "upgrade Holdfast to open it"
        )


def name_kinds(connection: Connection, kinds: Iterable[tuple[int, str]]) -> None:
    """Write down the names of the kinds, for people, where they are not there yet."""
    known = dict(connection.execute("SELECT id, name FROM kinds"))
    missing = [(number, name) for number, name in kinds if known.get(number) != name]
    if missing:
        connection.executemany("INSERT OR REPLACE INTO kinds (id, name) VALUES (?, ?)", missing)


def _is_empty(connection: Connection) -> bool:
    return (
        not connection.pragma("application_id")
        and not next(connection.execute("SELECT count(*) FROM sqlite_schema"))[0]
    )
