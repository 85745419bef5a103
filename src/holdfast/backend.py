"""The backend contract: where records live.

A backend answers reads and commits batches atomically. It sees space, kind, key, header, body bytes, blobs and
entries - never a decoded body - and is handed the fold through the committer. Whoever keeps these promises, and passes
``holdfast.testing.BackendConformance``, is a backend:

1. **Total order.** The commits of one space are totally ordered; each has a sequence greater than all before it.
2. **Atomic.** All that a commit wrote becomes visible at once; a view shows one committed state to all its reads.
3. **Durable.** What is visible is durable in the mode that was asked for. A failed step leaves nothing behind.
4. **Missing is None.** A read answers positionally and never raises for what is not there.
5. **Raw.** Expired records are returned as they are; hiding them is the business of the scope above.

``Backend`` is implemented with the committer of ``committer.py``: a backend supplies ``begin_step`` and gets ordering,
group commit, staging, guards and validation from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import msgspec

from holdfast.model import Change, Cursor, Durability, Erasure, Head, Header, JournalRow, Page, Record, Want


class Capabilities(msgspec.Struct, frozen=True):
    """What a backend can do beyond the contract, and what it wants."""

    name: str
    durabilities: tuple[Durability, ...]
    body_codec: str
    persistent: bool
    multi_process: bool
    text_index: bool = False


class Compaction(msgspec.Struct, frozen=True):
    """What ``compact`` did: the size of the store before and after (None where it holds no file), the deletions that
    the change feeds do not tell of any more, and what is to be said to a person."""

    bytes_before: int | None
    bytes_after: int | None
    trimmed: int
    notes: tuple[str, ...] = ()


class View(Protocol):
    """One committed state of one space. Valid inside the context that gave it; used by one thread at a time."""

    def head(self) -> Head:
        """Return the sequence and time of the newest commit seen."""

    def read(self, kind: int, keys: Sequence[bytes], want: Want = "records") -> list[Any]:
        """Return Header or Record for each key, in order, None where there is none; one round trip."""

    def scan(
        self,
        kind: int,
        index: int | None,
        low: bytes,
        high: bytes,
        *,
        after: Cursor | None = None,
        reverse: bool = False,
        limit: int = 100,
        want: Want = "records",
    ) -> Page:
        """Return up to ``limit`` items with low <= value < high, ordered by (value, key).

        ``index`` None scans the keys themselves. ``after`` continues behind a place, in the direction of the scan.
        """

    def count(self, kind: int, index: int | None = None, low: bytes = b"", high: bytes = b"") -> int:
        """Count the records of a kind, or those in a range of an index; reads no bodies."""

    def changes(self, after: int, limit: int) -> list[Change]:
        """Return the newest change of each key with revision > ``after``, oldest first."""

    def journal(self, run: bytes, after: tuple[int, int], limit: int) -> list[JournalRow]:
        """Return the journal of a run behind (revision, ordinal), in order."""

    def last_journaled(self, run: bytes) -> int | None:
        """Return the time of the last commit made inside the run, or None."""

    def journaled_runs(self) -> list[bytes]:
        """Return the runs that have a journal, sorted."""

    def in_journal(self, run: bytes, revision: int) -> bool:
        """Return True if the commit ``revision`` was made inside the run."""


class Transaction(msgspec.Struct, frozen=True, gc=False):
    """What a log keeps of one commit: its payloads in order, the first folded at ``time``, each 1 microsecond later."""

    sequence: int
    time: int
    run: bytes | None
    payloads: tuple[Any, ...]


class StagedSpace(msgspec.Struct):
    """What a group of commits makes of one space, before it is durable.

    ``before`` holds what the records were (None: absent) for keys that were touched; a key in ``writes``
    without a ``before`` is new by its making, and a backend that finds a record there reports CorruptionError.
    """

    space: str
    head: Head
    sequence: int
    time: int
    writes: dict[int, dict[bytes, Record | None]]
    before: dict[int, dict[bytes, Header | None]]
    journal: list[tuple[bytes, JournalRow]]
    runs: set[tuple[bytes, int]]
    erasures: list[Erasure] = []
    """What is taken away, before anything is written; a group that has any holds one commit of the space only."""
    transactions: list[Transaction] = []


class Step(Protocol):
    """One durable step in the making, begun under the backend's write lock."""

    def view(self, space: str) -> View:
        """Return the newest committed state of a space; valid until the step ends."""

    def publish(self, staged: Sequence[StagedSpace]) -> None:
        """Make everything durable, then visible; raise with nothing of it left, or CommitUnknownError."""

    def abandon(self) -> bool:
        """End the step, if it has not ended; return True if it was (or turns out to have been) committed."""


class TextIndex(Protocol):
    """A full-text index: derived from the records, never the truth. Thread-safe."""

    def watermark(self, space: str, kind: int) -> int:
        """Return the revision up to which the index of a kind is complete."""

    def clear(self, space: str, kind: int) -> None:
        """Forget all documents of a kind, and begin again at watermark 0."""

    def index(
        self, space: str, kind: int, documents: Sequence[tuple[bytes, str | None]], after: int, watermark: int
    ) -> None:
        """Take in documents (key, text; None removes) and move the watermark from ``after``, in one step.

        Does nothing if the watermark is not ``after`` any more: somebody else was faster.
        """

    def holding(self, space: str, kind: int, keys: Sequence[bytes]) -> list[bytes]:
        """Return those of the keys of which the index holds a document."""

    def match(self, space: str, kind: int, expression: str, limit: int, offset: int) -> list[tuple[bytes, float]]:
        """Return (key, BM25 score, higher is better) for an FTS5 expression, best first, ties by key."""


class Backend(Protocol):
    """A store's medium. All methods are thread-safe; see the module for the promises."""

    capabilities: Capabilities
    committer: Any

    def view(self, space: str) -> View:
        """Return a view of which each call sees a newest committed state of its own; for any thread."""

    def snapshot(self, space: str) -> AbstractContextManager[View]:
        """Return a view for several reads; writers go on meanwhile."""

    def text_index(self) -> TextIndex | None:
        """Return the text index kept beside the records, or None."""

    def spaces(self) -> list[str]:
        """Return the names of the spaces that hold something, or have commits behind their floor, sorted."""

    def verify(self) -> Iterator[str]:
        """Check everything that can be checked; yield one line for each fault found."""

    def refresh(self) -> int:
        """For a reader that follows a writer: take in what that has committed; return how many commits that were."""

    def flush(self) -> None:
        """Make every commit so far durable, whatever its mode."""

    def compact(self, floors: Mapping[str, int]) -> Compaction:
        """Give room back, and leave no byte of what was deleted; trim deletions up to the floor of each space.

        The floor of a space rises to the newest deletion that was trimmed, and never falls.
        """

    def stats(self) -> dict[str, Any]:
        """Return sizes and counts as plain values."""

    def close(self) -> None:
        """Flush and release everything; idempotent. Uses after it raise ClosedError."""
