"""Checking an SQLite store: SQLite's own integrity check, and that our tables agree with each other."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.backends.sqlite.view import decode_counts, decode_terms
from holdfast.sqlite_library import Connection

_ROWS_PER_PAGE = 1000


def faults(connection: Connection) -> Iterator[str]:
    """Yield one line for each fault; reads everything."""
    for (line,) in connection.execute("PRAGMA integrity_check"):
        if line != "ok":
            yield f"SQLite: {line}"
    names = dict(connection.execute("SELECT id, name FROM spaces"))
    counted: dict[int, dict[str, int]] = {number: {} for number in names}
    for space, kind, count in connection.execute("SELECT space, kind, count(*) FROM records GROUP BY space, kind"):
        if space not in names:
            yield f"{count} records of a space that does not exist (number {space})"
            continue
        counted[space][str(kind)] = count
    for space, sequence, counts in connection.execute("SELECT id, sequence, counts FROM spaces").fetchall():
        kept = {kind: count for kind, count in decode_counts(counts).items() if count}
        if kept != counted[space]:
            yield f"space {names[space]!r}: the counters say {kept}, the records are {counted[space]}"
        newest = connection.execute("SELECT max(revision) FROM records WHERE space = ?", (space,)).fetchall()[0][0]
        if newest is not None and newest > sequence:
            yield f"space {names[space]!r}: a record has revision {newest}, behind the last commit {sequence}"
    yield from _term_faults(connection)


def _term_faults(connection: Connection) -> Iterator[str]:
    """Each term of each header stands in the index, and nothing else does."""
    expected = last = 0
    while rows := connection.execute(
        "SELECT id, space, kind, key, terms FROM records WHERE id > ? ORDER BY id LIMIT ?", (last, _ROWS_PER_PAGE)
    ).fetchall():
        last = rows[-1][0]
        for _, space, kind, key, terms in rows:
            for number, value in set(decode_terms(terms)):
                expected += 1
                where = (space, kind, number, value, key)
                found = connection.execute(
                    "SELECT 1 FROM terms WHERE space = ? AND kind = ? AND number = ? AND value = ? AND key = ?", where
                )
                if not found.fetchall():
                    yield f"kind {kind}, key {key.hex()}: its term {value.hex()} is missing in index {number}"
    found_terms = connection.execute("SELECT count(*) FROM terms").fetchall()[0][0]
    if found_terms > expected:
        yield f"the indexes hold {found_terms - expected} terms of no record"
