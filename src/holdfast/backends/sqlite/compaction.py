"""Compacting an SQLite store: change feeds, text index, free pages, write-ahead log - in that order.

Promises: each step is a transaction of its own, so that an interrupted compaction has done less, and nothing else; when
it is through, no byte of what was deleted before is in the file or its write-ahead log. Needs room for a second copy of
the file while it runs (VACUUM). Used under the backend's write lock.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.sqlite_library import Connection, rows

_TRIM = "DELETE FROM tombstones WHERE space = ? AND revision <= ? RETURNING revision"
_HIDDEN = """
DELETE FROM tombstones AS t WHERE EXISTS (
    SELECT 1 FROM records r WHERE r.space = t.space AND r.kind = t.kind AND r.key = t.key
)
"""


def compact(connection: Connection, floors: Mapping[str, int]) -> int:
    """Trim, optimize and rewrite; return how many deletions are told no more. Raises SQLite's errors."""
    trimmed = 0
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(_HIDDEN)  # of records that are there again, so that no feed tells of them
    for name, floor in floors.items():
        for (space,) in rows(connection, "SELECT id FROM spaces WHERE name = ?", (name,)):
            gone = [revision for (revision,) in rows(connection, _TRIM, (space, floor))]
            if gone:
                connection.execute("UPDATE spaces SET floor = max(floor, ?) WHERE id = ?", (max(gone), space))
            trimmed += len(gone)
    connection.execute("INSERT INTO text (text) VALUES ('optimize')")
    connection.execute("COMMIT")
    connection.execute("VACUUM")
    return trimmed
