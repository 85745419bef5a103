"""The words of the design as types: header, record, entry, batch, page. Frozen values, no I/O.

Times are integers of microseconds since the epoch (UTC) here; the faces show ``datetime``. The structs live outside
the garbage collector's view (``gc=False``): they hold bytes, integers, strings and tuples of those, never a cycle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import msgspec

Durability: TypeAlias = Literal["strict", "buffered", "ephemeral"]
DURABILITIES: tuple[Durability, ...] = ("ephemeral", "buffered", "strict")
"""From the weakest to the strongest."""

Want: TypeAlias = Literal["headers", "records", "blobs"]
"""How much of a record is read: the header; header and body; all of it."""

Term: TypeAlias = tuple[int, bytes]
"""(index id, order-preserving encoded value): what an index keeps of a record."""

Cursor: TypeAlias = tuple[bytes, bytes]
"""(index value, key): a place in a scan. In a scan by key both halves are the key."""

Blobs: TypeAlias = tuple[tuple[str, bytes], ...]


class BlobRef(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where a backend has put the value of a blob: a file of its own, a place in it, the checksum of the bytes.

    Stands in the place of the value in resident tables and snapshots only; whoever asks for blobs gets bytes.
    """

    file: int
    offset: int
    length: int
    crc: int

    def __len__(self) -> int:
        return self.length


class BlobSource(Protocol):
    """A file that holds values of blobs."""

    def load(self, ref: BlobRef) -> bytes:
        """Return a value; CorruptionError, ReadError."""


if TYPE_CHECKING:
    _KeptBlobs: TypeAlias = Blobs
else:
    _KeptBlobs = tuple[tuple[str, bytes | BlobRef], ...]

EXPIRY_INDEX = 0
"""The index that every kind has: when a record expires (only for those that do)."""


class Header(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is known of a record without its body. Encoded as an array, so fields are only ever appended to Record."""

    key: bytes
    version: int
    revision: int
    created_at: int
    updated_at: int
    expires_at: int | None
    schema: int
    terms: tuple[Term, ...]


class Record(Header, frozen=True, gc=False):
    """A header with its body; ``blobs`` is None where they were not asked for (or, in a write, are kept as they
    are)."""

    body: bytes
    blobs: _KeptBlobs | None = None


def refs_of(record: Record | None) -> list[BlobRef]:
    """Return where those values of its blobs are that are elsewhere."""
    blobs: Any = None if record is None else record.blobs
    return [value for _, value in blobs if type(value) is BlobRef] if blobs else []


Touched: TypeAlias = dict[bytes, Any]
"""What a fold is given: key -> Header or Record (as the entry type needs) or None."""

Written: TypeAlias = dict[bytes, Record | None]
"""What a fold makes: key -> the record after it, or None for a key that is removed."""


class Head(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """The end of a space's history: its last commit's sequence (0: none yet) and time.

    ``floor``: deletions up to this sequence are not told any more in the change feed.
    """

    sequence: int = 0
    time: int = 0
    floor: int = 0


class Change(msgspec.Struct, frozen=True, gc=False):
    """One line of a change feed: the newest commit that wrote or deleted a key."""

    revision: int
    kind: int
    key: bytes
    deleted: bool


class Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An entry as it is kept: type byte, payload version, payload bytes."""

    type: int
    version: int
    payload: bytes


class JournalRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One entry of a run: the commit that it was part of, and the records that it was folded upon.

    ``ordinal``: its place among all entries of the commit, from 0, also of those that wrote nothing and have no row.
    ``bases`` holds (key, encoded header or record, or None where there was none) for each touched key that the same
    run was not the last to write.
    """

    revision: int
    ordinal: int
    time: int
    entry: Entry
    bases: tuple[tuple[bytes, bytes | None], ...]


class LostRow(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A journal row whose content is to go; ``lost`` are the other (kind, key) of which it told."""

    revision: int
    ordinal: int
    lost: tuple[tuple[int, bytes], ...] = ()


class Erasure(msgspec.Struct, frozen=True, gc=False):
    """What a commit takes away beside records, with nothing left of its content.

    ``run`` None: everything of the space, and what was deleted in it is not told any more (the floor of its feed is
    this commit). ``rows`` None: the whole journal of the run. Else each of these rows becomes the entry beside it.
    """

    run: bytes | None
    rows: tuple[tuple[int, int, Entry], ...] | None = None


class Page(msgspec.Struct, frozen=True, gc=False):
    """A part of a scan: the items in order, each with its place; ``cursor`` is None where the scan has ended."""

    items: tuple[Any, ...]
    places: tuple[Cursor, ...]
    cursor: Cursor | None


class Guard(msgspec.Struct, frozen=True, gc=False):
    """A pure condition on one record, checked inside the commit at its place among the entries.

    ``check`` is given the record (Header, or Record if ``body``) or None, and raises ConflictError or NotFoundError.
    """

    kind: int
    key: bytes
    check: Callable[[Any], None]
    body: bool = False


class RangeRead(msgspec.Struct, frozen=True, gc=False):
    """A scan that a transaction made: the raw range up to the last item taken, and what stood in it."""

    kind: int
    index: int | None
    low: bytes
    high: bytes
    after: Cursor | None
    reverse: bool
    last: Cursor | None
    items: tuple[tuple[Cursor, int], ...]


class CountRead(msgspec.Struct, frozen=True, gc=False):
    """A count that a transaction made."""

    kind: int
    index: int | None
    low: bytes
    high: bytes
    count: int


class ReadSet(msgspec.Struct):
    """What a transaction has read, all of it true at the commit ``pin``."""

    pin: int = 0
    keys: dict[tuple[int, bytes], int] = {}
    ranges: list[RangeRead] = []
    counts: list[CountRead] = []

    def __bool__(self) -> bool:
        return bool(self.keys or self.ranges or self.counts)


class Batch(msgspec.Struct):
    """Entries (payloads) and guards of one space, in order, that become visible and durable together."""

    space: str
    steps: list[Any]
    durability: Durability
    run: bytes | None = None
    reads: ReadSet | None = None


class Receipt(msgspec.Struct, frozen=True):
    """What a commit got: its sequence in its space, its time, and the durability that it was given."""

    sequence: int
    time: int
    durability: Durability
