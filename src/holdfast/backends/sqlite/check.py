"""Checking an SQLite store: SQLite's own integrity check, and that our tables agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.backends.sqlite.view import decode_counts, decode_terms
from holdfast.sqlite_library import Connection, rows

_ROWS_PER_PAGE = 1000


def faults(connection: Connection) -> Iterator[str]:
    """Yield one line for each fault; reads everything."""
    for (line,) in rows(connection, "PRAGMA integrity_check"):
        if line != "ok":
            yield f"SQLite: {line}"
    names: dict[Any, Any] = dict(rows(connection, "SELECT id, name FROM spaces"))
    counted: dict[int, dict[str, int]] = {number: {} for number in names}
    for space, kind, count in rows(connection, "SELECT space, kind, count(*) FROM records GROUP BY space, kind"):
        if space not in names:
            yield f"{count} records of a space that does not exist (number {space})"
            continue
        counted[space][str(kind)] = count
    for space, sequence, counts in rows(connection, "SELECT id, sequence, counts FROM spaces"):
        kept = {kind: count for kind, count in decode_counts(counts).items() if count}
        if kept != counted[space]:
            yield f"space {names[space]!r}: the counters say {kept}, the records are {counted[space]}"
        newest = rows(connection, "SELECT max(revision) FROM records WHERE space = ?", (space,))[0][0]
        if newest is not None and newest > sequence:
            yield f"space {names[space]!r}: a record has revision {newest}, behind the last commit {sequence}"
    orphans = rows(connection, "SELECT count(*) FROM blobs WHERE record NOT IN (SELECT id FROM records)")[0][0]
    if orphans:
        yield f"{orphans} blobs of no record"
    yield from _term_faults(connection)


def _term_faults(connection: Connection) -> Iterator[str]:
    """Each term of each header stands in the index, and nothing else does."""
    expected = last = 0
    while page := rows(
        connection,
        "SELECT id, space, kind, key, terms FROM records WHERE id > ? ORDER BY id LIMIT ?",
        (last, _ROWS_PER_PAGE),
    ):
        last = page[-1][0]
        for _, space, kind, key, terms in page:
            for number, value in set(decode_terms(terms)):
                expected += 1
                where = (space, kind, number, value, key)
                statement = "SELECT 1 FROM terms WHERE space = ? AND kind = ? AND number = ? AND value = ? AND key = ?"
                if not rows(connection, statement, where):
                    yield f"kind {kind}, key {key.hex()}: its term {value.hex()} is missing in index {number}"
    found_terms = rows(connection, "SELECT count(*) FROM terms")[0][0]
    if found_terms > expected:
        yield f"the indexes hold {found_terms - expected} terms of no record"
