"""What a primitive's face is handed: the place that it reads and writes, and nothing of how that is done.

A scope is one space seen in one way: directly (each write a commit), inside a run, inside a transaction, or for reading
only (a snapshot, a replay). Promises: expired records are hidden; a write returns what ``finish`` makes of its outcome.
"""

from __future__ import annotations

import binascii
from abc import ABC, abstractmethod
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

import msgspec

from holdfast import clock
from holdfast.backend import Backend, View
from holdfast.codec import Value
from holdfast.errors import InvalidInputError, ReadOnlyError, TransactionError, UnsupportedError
from holdfast.keys import encode_key
from holdfast.model import EXPIRY_INDEX, Batch, Cursor, Durability, Guard, Header, Page, Want, Written
from holdfast.registry import PrimitiveRegistry

T = TypeVar("T")
V = TypeVar("V", bound=Value)

Finish = Callable[[list[Written]], T]
"""Makes the result of an operation from the outcome of each of its entries."""

Open = Callable[[Any], Any]
"""Makes something to look into of a record (Header or Record, as wanted) or of None: pure, and it never raises."""

Part = Callable[[Any], V]
"""Makes a value of what was opened: pure, leaves that as it is, and never raises."""

PAGE_SIZE = 500


class Listing(Sequence[T], Generic[T]):
    """One page of results: a sequence, with ``cursor`` to pass as ``after=`` for the next page (None: no more)."""

    __slots__ = ("cursor", "items")

    def __init__(self, items: Sequence[T], cursor: str | None) -> None:
        self.items = list(items)
        self.cursor = cursor

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self.items[index]

    def __eq__(self, other: object) -> bool:
        return self.items == (other.items if isinstance(other, Listing) else other)

    __hash__ = None  # type: ignore[assignment]  # compares like the list that it holds

    def __repr__(self) -> str:
        return f"Listing({self.items!r}, cursor={self.cursor!r})"


def cursor_text(place: Cursor | None) -> str | None:
    """Return a cursor as text that users pass back."""
    return None if place is None else urlsafe_b64encode(msgspec.msgpack.encode(place)).decode()


def cursor_place(text: str | None) -> Cursor | None:
    """Return the place of a cursor; InvalidInputError if it is none of ours."""
    if text is None:
        return None
    try:
        place: Cursor = msgspec.msgpack.decode(urlsafe_b64decode(text), type=Cursor)
    except (TypeError, ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise InvalidInputError("after", "is not a cursor that a listing gave") from error
    return place


def check_limit(limit: object, *, optional: bool = False) -> int:
    """Return a limit of 1 or more; None means "all" where that is allowed."""
    if limit is None and optional:
        return 2**62
    if type(limit) is not int or limit < 1:
        raise InvalidInputError("limit", f"must be an int of 1 or more, not {limit!r}")
    return limit


class Pending(Generic[T]):
    """The result of an operation inside a transaction that is known only after the commit.

    Reading an attribute of the result before that raises TransactionError.
    """

    def __init__(self) -> None:
        self._result: list[T] = []

    def fulfil(self, result: T) -> None:
        """Set the result; called by the transaction."""
        self._result.append(result)

    def result(self) -> T:
        """Return the result once the transaction is committed."""
        if not self._result:
            raise TransactionError("this is known only after the transaction has committed; read it after the block")
        return self._result[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.result(), name)


class Scope(ABC):
    """One space seen in one way."""

    def __init__(self, space: str, registry: PrimitiveRegistry, codec: Any) -> None:
        self.space = space
        self.registry = registry
        self.codec = codec

    @abstractmethod
    def write(self, steps: list[Any], finish: Finish[T]) -> T:
        """Commit payloads and guards together; return what ``finish`` makes of the outcomes (one a payload)."""

    @abstractmethod
    def raw_read(self, kind: int, keys: Sequence[bytes], want: Want) -> list[Any]:
        """Read records as they are, expired ones too."""

    @abstractmethod
    def raw_scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        *,
        after: Cursor | None = None,
        reverse: bool = False,
        limit: int = PAGE_SIZE,
        want: Want = "records",
    ) -> Page:
        """Scan records as they are, expired ones too."""

    @abstractmethod
    def raw_count(self, kind: int, index: int | None, low: bytes, high: bytes) -> int:
        """Count records as they are, expired ones too."""

    def last_journaled(self, run: bytes) -> int | None:
        """Return the time of the last commit made inside a run, or None."""
        raise UnsupportedError("this view knows no journals; ask the space itself", capability="journal")

    def now(self) -> int:
        """Return the time by which records are hidden that have expired."""
        return clock.now()

    def read(self, kind: int, keys: Sequence[bytes], want: Want = "records") -> list[Any]:
        """Return the records under the keys, in order; None for what is not there or has expired."""
        now: int | None = None
        found = self.raw_read(kind, keys, want)
        for place, record in enumerate(found):
            if record is not None and record.expires_at is not None:
                now = self.now() if now is None else now
                if record.expires_at <= now:
                    found[place] = None
        return found

    def read_one(self, kind: int, key: bytes, want: Want = "records") -> Any:
        """Return the record under a key, or None."""
        return self.read(kind, [key], want)[0]

    def read_part(self, kind: int, key: bytes, opener: Open, part: Part[V], want: Want = "records") -> V:
        """Return what ``part`` makes of the record under a key, once that is opened.

        A transaction depends on that value alone, told by the digest of its canonical form: a commit that changes the
        record and not the value is no conflict.
        """
        return part(opener(self.read_one(kind, key, want)))

    def read_and_write(
        self, kind: int, key: bytes, opener: Open, part: Part[V], steps: list[Any], finish: Callable[[V], T]
    ) -> T:
        """Commit payloads and guards, and return what ``finish`` makes of a part of the record just before them."""
        before: list[V] = []

        def look(record: Any) -> None:
            before[:] = [part(opener(record))]

        return self.write([Guard(kind, key, look, body=True), *steps], lambda _: finish(before[0]))

    def scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        *,
        after: Cursor | None = None,
        reverse: bool = False,
        want: Want = "records",
        page_size: int = PAGE_SIZE,
    ) -> Iterator[tuple[Cursor, Any]]:
        """Iterate over (place, record) of a range, page by page, without what has expired."""
        while True:
            page = self.raw_scan(kind, index, low, high, after=after, reverse=reverse, limit=page_size, want=want)
            now = self.now()
            for place, record in zip(page.places, page.items, strict=True):
                if record.expires_at is None or record.expires_at > now:
                    yield place, record
            if page.cursor is None:
                return
            after = page.cursor

    def count(self, kind: int, index: int | None = None, low: bytes = b"", high: bytes = b"") -> int:
        """Count the records of a kind, or of a range of an index, without what has expired. Reads no bodies."""
        expired = self.raw_count(kind, EXPIRY_INDEX, b"", encode_key(self.now() + 1))
        if index is None:
            return self.raw_count(kind, None, b"", b"") - expired
        if not expired:
            return self.raw_count(kind, index, low, high)
        return sum(1 for _ in self.scan(kind, index, low, high, want="headers"))


def unless_expired(record: Any, now: int) -> Any:
    """Return a record (or None), or None if it has expired at ``now``."""
    expired = record is not None and record.expires_at is not None and record.expires_at <= now
    return None if expired else record


def take(found: Iterator[tuple[Cursor, T]], limit: int) -> tuple[list[T], Cursor | None]:
    """Take up to ``limit`` items; return them with the place to go on from, None if there is nothing behind."""
    items: list[T] = []
    last: Cursor | None = None
    for place, item in found:
        if len(items) == limit:
            return items, last
        items.append(item)
        last = place
    return items, None


class DirectScope(Scope):
    """Each write is a commit of its own, inside a run if one is given. Thread-safe."""

    def __init__(
        self,
        space: str,
        backend: Backend,
        registry: PrimitiveRegistry,
        durability: Durability,
        run: bytes | None = None,
    ) -> None:
        super().__init__(space, registry, backend.committer.codec)
        self.backend = backend
        self.durability = durability
        self.run = run

    def write(self, steps: list[Any], finish: Finish[T]) -> T:
        """See ``Scope``."""
        committer = self.backend.committer
        if len(steps) == 1 and self.run is None and type(steps[0]) is not Guard:
            return finish([committer.commit_one(self.space, steps[0], self.durability)])
        return finish(committer.commit(Batch(self.space, steps, self.durability, self.run)).outcomes)

    def raw_read(self, kind: int, keys: Sequence[bytes], want: Want) -> list[Any]:
        """See ``Scope``."""
        return self.backend.view(self.space).read(kind, keys, want)

    def raw_scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        *,
        after: Cursor | None = None,
        reverse: bool = False,
        limit: int = PAGE_SIZE,
        want: Want = "records",
    ) -> Page:
        """See ``Scope``."""
        view = self.backend.view(self.space)
        return view.scan(kind, index, low, high, after=after, reverse=reverse, limit=limit, want=want)

    def raw_count(self, kind: int, index: int | None, low: bytes, high: bytes) -> int:
        """See ``Scope``."""
        return self.backend.view(self.space).count(kind, index, low, high)

    def last_journaled(self, run: bytes) -> int | None:
        """See ``Scope``."""
        return self.backend.view(self.space).last_journaled(run)


class ViewScope(Scope):
    """A view, for reading only: a snapshot, or what a replay has folded. ``now`` is fixed where one is given."""

    def __init__(self, space: str, view: View, registry: PrimitiveRegistry, codec: Any, now: int | None = None) -> None:
        super().__init__(space, registry, codec)
        self._view = view
        self._now = now

    def write(self, steps: list[Any], finish: Finish[T]) -> T:
        """Refused."""
        raise ReadOnlyError("this is a view of the past and cannot be written; write to the space itself")

    def now(self) -> int:
        """See ``Scope``."""
        return super().now() if self._now is None else self._now

    def raw_read(self, kind: int, keys: Sequence[bytes], want: Want) -> list[Any]:
        """See ``Scope``."""
        return self._view.read(kind, keys, want)

    def raw_scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        *,
        after: Cursor | None = None,
        reverse: bool = False,
        limit: int = PAGE_SIZE,
        want: Want = "records",
    ) -> Page:
        """See ``Scope``."""
        return self._view.scan(kind, index, low, high, after=after, reverse=reverse, limit=limit, want=want)

    def raw_count(self, kind: int, index: int | None, low: bytes, high: bytes) -> int:
        """See ``Scope``."""
        return self._view.count(kind, index, low, high)


def first_record(outcomes: list[Written]) -> Header | None:
    """Return the record that a one-record operation wrote; None if it removed or wrote nothing."""
    return next(iter(outcomes[0].values()), None)
