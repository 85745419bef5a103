"""Is what a transaction has read still true? Asked at its reads, to move the pin, and at its commit.

Cheapest first: nothing was committed since the pin; what was committed is not what was read; else the reads are made
again and compared. A key that is absent has revision 0. Pure but for the view that it reads from.
"""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.backend import View
from holdfast.errors import ConflictError
from holdfast.model import Header, RangeRead, ReadSet

CHANGES_LOOKED_THROUGH = 256
"""Above this many changes since the pin, everything is read again instead."""

Staged = Mapping[int, Mapping[bytes, Header | None]]


def first_conflict(view: View, sequence: int, reads: ReadSet, staged: Staged) -> tuple[int, bytes] | None:
    """Return (kind, key) of something read that has changed between ``reads.pin`` and ``sequence``, or None.

    ``staged`` holds writes that come after the view's state. Ranges and counts are only compared with the view, so
    the caller sees to it that nothing is staged when the read set has any.
    """
    if sequence == reads.pin:
        return None
    found = _first_staged(reads, staged)
    if found is not None:
        return found
    head = view.head()
    if head.sequence == reads.pin:
        return None
    changes = view.changes(reads.pin, CHANGES_LOOKED_THROUGH)
    if len(changes) < CHANGES_LOOKED_THROUGH and head.floor <= reads.pin:  # else they may lack deletions
        for change in changes:
            revision = reads.keys.get((change.kind, change.key))
            if revision is not None and revision != (0 if change.deleted else change.revision):
                return change.kind, change.key
        return _first_range(view, reads, {change.kind for change in changes})
    return _first_key(view, reads) or _first_range(view, reads, None)


def require_unchanged(view: View, sequence: int, reads: ReadSet, staged: Staged, name_of: Mapping[int, str]) -> None:
    """Raise ConflictError if anything read has changed; arguments as for ``first_conflict``."""
    found = first_conflict(view, sequence, reads, staged)
    if found is not None:
        kind, key = found
        name = name_of.get(kind, f"kind {kind}")
        message = f"another commit changed what was read ({name} {key!r}); run the transaction again, or use transact()"
        raise ConflictError(message, keys=[(name, repr(key))])


def _first_staged(reads: ReadSet, staged: Staged) -> tuple[int, bytes] | None:
    for kind, written in staged.items():
        for key, record in written.items():
            revision = reads.keys.get((kind, key))
            if revision is not None and revision != (0 if record is None else record.revision):
                return kind, key
    return None


def _first_key(view: View, reads: ReadSet) -> tuple[int, bytes] | None:
    by_kind: dict[int, list[bytes]] = {}
    for kind, key in reads.keys:
        by_kind.setdefault(kind, []).append(key)
    for kind, keys in by_kind.items():
        for key, header in zip(keys, view.read(kind, keys, "headers"), strict=True):
            if reads.keys[kind, key] != (0 if header is None else header.revision):
                return kind, key
    return None


def _first_range(view: View, reads: ReadSet, kinds: set[int] | None) -> tuple[int, bytes] | None:
    """Make the scans and counts of the changed kinds again; None stands for every kind."""
    for scan in reads.ranges:
        if kinds is None or scan.kind in kinds:
            changed = _changed_place(view, scan)
            if changed is not None:
                return scan.kind, changed
    for count in reads.counts:
        if kinds is None or count.kind in kinds:
            now = view.count(count.kind, count.index, count.low, count.high)
            if now != count.count:
                return count.kind, count.low
    return None


def _changed_place(view: View, scan: RangeRead) -> bytes | None:
    """Scan the raw range again up to the last item taken; return the key of the first difference."""
    page = view.scan(
        scan.kind,
        scan.index,
        scan.low,
        scan.high,
        after=scan.after,
        reverse=scan.reverse,
        limit=len(scan.items) + 1,
        want="headers",
    )
    found = [(place, item.revision) for place, item in zip(page.places, page.items, strict=True)]
    if scan.last is not None:
        last = scan.last
        found = [item for item in found if (item[0] >= last if scan.reverse else item[0] <= last)]
    for expected, got in zip(scan.items, found, strict=False):
        if expected != got:
            return got[0][1]
    if len(found) != len(scan.items):
        return (found or list(scan.items))[-1][0][1]
    return None
