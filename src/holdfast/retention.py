"""What goes by itself: records that have expired (``sweep``).

Promises: everything goes by ordinary commits of bounded size, told in the change feed; a record that was renewed or
changed after it was chosen stays, because its removal is bound to its revision; a dry run changes nothing. Knows no
primitive but through its contract.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast import clock
from holdfast.core import Expire
from holdfast.keys import encode_key
from holdfast.model import EXPIRY_INDEX, Batch, Header
from holdfast.scope import DirectScope, check_limit

RECORDS_PER_COMMIT = 500


def sweep(scope: DirectScope, limit: int | None = None, *, dry_run: bool = False) -> dict[str, int]:
    """Remove up to ``limit`` records that have expired (None: all); return how many of each kind went, or would go.

    The results that are kept of transactions with a key count as "core".
    """
    left = check_limit(limit, optional=True)
    counts: dict[str, int] = {}
    for kind in scope.registry.ids():
        gone = 0
        for headers in _expired(scope, kind, left):
            removed = len(headers)
            if not dry_run:
                steps = [Expire(kind, header.key, header.revision) for header in headers]
                batch = Batch(scope.space, steps, scope.durability)
                removed = sum(bool(written) for written in scope.backend.committer.commit(batch).outcomes)
            gone += removed
            left -= len(headers)
        if gone:
            counts[scope.registry.name_of(kind)] = gone
    return counts


def _expired(scope: DirectScope, kind: int, limit: int) -> Iterator[list[Header]]:
    """Iterate over the headers of what has expired by now, in groups for one commit each."""
    view, after, high = scope.backend.view(scope.space), None, encode_key(clock.now() + 1)
    while limit > 0:
        size = min(RECORDS_PER_COMMIT, limit)
        page = view.scan(kind, EXPIRY_INDEX, b"", high, after=after, limit=size, want="headers")
        if page.items:
            yield list(page.items)
        limit, after = limit - len(page.items), page.cursor
        if after is None:
            return
