"""The planner: which index drives a selection, and what of the rest is filtered on header terms.

The indexes of a primitive that is selected from hold (value, time of creation), so that what shares a value is ordered
by time and a time range is a part of the index. Of several values asked for, the rarest drives (counted on the index);
the others are checked on the terms in the header. Knows no primitive; used for lists and searches alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Any

import msgspec

from holdfast.keys import TERM_BYTES_MAX, Part, encode_key, key_range_prefix
from holdfast.model import Cursor, Header, Term, Want
from holdfast.scope import PAGE_SIZE, Scope

_SUFFIX_BYTES = len(encode_key(0))


def value_prefix(*values: Part) -> bytes:
    """Return what stands before the time in an index term; long values are cut (prefix + digest: equality only)."""
    encoded = encode_key(*values)
    if len(encoded) <= TERM_BYTES_MAX - _SUFFIX_BYTES:
        return encoded
    return encoded[: TERM_BYTES_MAX - _SUFFIX_BYTES - 32] + sha256(encoded).digest()


def timed(terms: tuple[Term, ...], time: int) -> tuple[Term, ...]:
    """Return the terms with the time of creation (microseconds) behind each value."""
    suffix = encode_key(time)
    return tuple([(index, prefix + suffix) for index, prefix in terms])


class Selection(msgspec.Struct):
    """What is asked for: records with all of ``equal`` (index, value prefix), created in [since, until).

    ``absent`` are indexes of which a record must have no term; ``apart`` those that hold another time than that of
    creation. ``created`` is the index that holds the time of
    creation alone; ``reverse`` gives the newest first.
    """

    kind: int
    created: int
    equal: list[Term] = []
    since: int | None = None
    until: int | None = None
    reverse: bool = False
    absent: tuple[int, ...] = ()
    apart: tuple[int, ...] = ()

    def matches(self, header: Header) -> bool:
        """Return True if a header has every value and was created in the range."""
        if self.since is not None and header.created_at < self.since:
            return False
        if self.until is not None and header.created_at >= self.until:
            return False
        if self.absent and any(index in self.absent for index, _ in header.terms):
            return False
        return all(any(_has(term, index, prefix) for term in header.terms) for index, prefix in self.equal)

    def iterate(
        self, scope: Scope, after: Cursor | None, want: Want = "records", accept: Callable[[Any], bool] | None = None
    ) -> Iterator[tuple[Cursor, Any]]:
        """Iterate over (place, record), ordered by time of creation; ``accept`` filters further.

        A place is (encoded time of creation, key), whichever index drives, as that may be another for the next page.
        """
        index, prefix, low, high = self._driving(scope)
        if index in self.apart:
            found = self._sorted(scope, scope.scan(self.kind, index, low, high, want="headers"), after, want)
        else:
            start = None if after is None else (prefix + after[0], after[1])
            found = scope.scan(self.kind, index, low, high, after=start, reverse=self.reverse, want=want)
        for place, record in found:
            if self.matches(record) and (accept is None or accept(record)):
                yield (place[0][-_SUFFIX_BYTES:], place[1]), record

    def _sorted(
        self, scope: Scope, found: Iterator[tuple[Cursor, Header]], after: Cursor | None, want: Want
    ) -> Iterator[tuple[Cursor, Any]]:
        """Bring what an index gives in another order into that of creation; bodies are read page by page."""
        places = [(encode_key(header.created_at), header.key) for _, header in found if self.matches(header)]
        places.sort(reverse=self.reverse)
        if after is not None:
            places = [place for place in places if (place < after if self.reverse else place > after)]
        for start in range(0, len(places), PAGE_SIZE):
            page = places[start : start + PAGE_SIZE]
            records = scope.read(self.kind, [key for _, key in page], want)
            yield from ((place, record) for place, record in zip(page, records, strict=True) if record is not None)

    def count(self, scope: Scope) -> int:
        """Count what is selected; reads no bodies, and no headers where one index tells it all."""
        if len(self.equal) <= 1 and not self.absent:
            index, _, low, high = self._driving(scope)
            if index not in self.apart or (self.since is None and self.until is None):
                return scope.count(self.kind, index, low, high)
        return sum(1 for _ in self.iterate(scope, None, "headers"))

    def _driving(self, scope: Scope) -> tuple[int, bytes, bytes, bytes]:
        """Return the index, its value and the range to scan: of the rarest value, or of the times alone."""
        equal = self.equal or [(self.created, b"")]
        ranges = [(index, prefix, *self._range(index, prefix)) for index, prefix in equal]
        if len(ranges) == 1:
            return ranges[0]
        return min(ranges, key=lambda one: scope.raw_count(self.kind, one[0], *one[2:]))

    def _range(self, index: int, prefix: bytes) -> tuple[bytes, bytes]:
        low, high = key_range_prefix(prefix) if prefix else (b"", b"\xff")
        if index not in self.apart:
            if self.since is not None:
                low = prefix + encode_key(self.since)
            if self.until is not None:
                high = prefix + encode_key(self.until)
        return low, high


def _has(term: Term, index: int, prefix: bytes) -> bool:
    return term[0] == index and len(term[1]) == len(prefix) + _SUFFIX_BYTES and term[1].startswith(prefix)
