"""Runs looked at again: replay and diff.

A journal row holds an entry and the records that it was folded upon, where the run itself was not the last to write
them. ``replay`` folds the rows again, with the folds of the live commit, and promises: for each key that the run wrote,
exactly what its last commit (up to ``at``) made. It is a pure function of the journal: deterministic, repeatable,
without effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from holdfast.backend import StagedSpace, View
from holdfast.core import Forgotten
from holdfast.errors import CorruptionError
from holdfast.model import Head, JournalRow, Record
from holdfast.primitive import Moment
from holdfast.registry import PrimitiveRegistry
from holdfast.staging import decode_base
from holdfast.tables import SpaceTables

_ROWS_PER_PAGE = 500


class Replayed(msgspec.Struct):
    """What a run made: ``tables`` to read, the keys it wrote (None: deleted), and what could not be folded."""

    tables: SpaceTables
    written: dict[tuple[int, bytes], Record | None]
    commits: int
    entries: int
    time: int
    unknown: list[str]


def rows_of(view: View, run: bytes, at: int | None = None) -> Iterator[JournalRow]:
    """Iterate over the journal of a run, up to the commit ``at`` (its revision) if given."""
    after = (0, -1)
    while rows := view.journal(run, after, _ROWS_PER_PAGE):
        for row in rows:
            if at is not None and row.revision > at:
                return
            yield row
        after = (rows[-1].revision, rows[-1].ordinal)


def replay(view: View, registry: PrimitiveRegistry, codec: Any, run: bytes, at: int | None = None) -> Replayed:
    """Fold the journal of a run into an empty view."""
    state: dict[tuple[int, bytes], Record | None] = {}
    written: dict[tuple[int, bytes], Record | None] = {}
    unknown: list[str] = []
    lost: set[tuple[int, bytes]] = set()
    commits: set[int] = set()
    entries = time = 0
    for row in rows_of(view, run, at):
        commits.add(row.revision)
        entries, time = entries + 1, row.time
        known = registry.to_payload(row.entry)
        if known is None:
            unknown.append(f"entry type 0x{row.entry.type:02X} version {row.entry.version} at revision {row.revision}")
            continue
        primitive, entry_type, payload = known
        if type(payload) is Forgotten:
            unknown.append(f"an entry at revision {row.revision} was forgotten")
            for place in payload.lost:
                state.pop(place, None)
                written.pop(place, None)
            lost.update(payload.lost)
            continue
        for key, base in row.bases:
            state[primitive.id, key] = None if base is None else decode_base(base)
            lost.discard((primitive.id, key))
        keys = entry_type.keys(payload)
        if any((primitive.id, key) in lost for key in keys):
            unknown.append(
                f"entry type 0x{row.entry.type:02X} at revision {row.revision} was folded upon what was forgotten"
            )
            lost.update((primitive.id, key) for key in keys)
            continue
        touched = {}
        for key in keys:
            if (primitive.id, key) not in state:
                raise CorruptionError(
                    f"the journal of run {run.hex()} lacks what revision {row.revision} was folded upon "
                    f"({primitive.name} {primitive.key_text(key)})"
                )
            touched[key] = state[primitive.id, key]  # what had expired is None in the bases
        for key, record in entry_type.fold(payload, touched, Moment(row.revision, row.time, codec)).items():
            before = touched.get(key)
            if record is not None and record.blobs is None and before is not None and before.blobs is not None:
                record = msgspec.structs.replace(record, blobs=before.blobs)  # kept, as in the live commit
            state[primitive.id, key] = written[primitive.id, key] = record
    return Replayed(_tables_of(written, max(commits, default=0), time), written, len(commits), entries, time, unknown)


def _tables_of(written: dict[tuple[int, bytes], Record | None], sequence: int, time: int) -> SpaceTables:
    by_kind: dict[int, dict[bytes, Record | None]] = {}
    for (kind, key), record in written.items():
        if record is not None:
            by_kind.setdefault(kind, {})[key] = record
    tables = SpaceTables()
    tables.apply(StagedSpace("", Head(), sequence, time, by_kind, {}, [], set()))
    return tables


class Difference(msgspec.Struct, frozen=True):
    """One key in which two runs differ: the values in each, None where the run does not hold it."""

    kind: str
    key: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Diff(msgspec.Struct, frozen=True):
    """How what run b made differs from what run a made, by values: no run, version, revision or clock in it."""

    added: tuple[Difference, ...]
    removed: tuple[Difference, ...]
    modified: tuple[Difference, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.modified)


def diff(registry: PrimitiveRegistry, a: Replayed, b: Replayed) -> Diff:
    """Compare what two runs made, over the keys that either wrote."""
    added: list[Difference] = []
    removed: list[Difference] = []
    modified: list[Difference] = []
    for kind, key in sorted(a.written.keys() | b.written.keys()):
        primitive = registry.by_id(kind)
        before, after = (
            None if record is None else primitive.values(record)
            for record in (a.written.get((kind, key)), b.written.get((kind, key)))
        )
        if before == after:
            continue
        difference = Difference(primitive.name, primitive.key_text(key), before, after)
        (added if before is None else removed if after is None else modified).append(difference)
    return Diff(tuple(added), tuple(removed), tuple(modified))
