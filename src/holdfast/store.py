"""The synchronous face: ``open``, Store, Space, Run, Transaction.

A Store and its spaces may be used by any number of threads; a transaction belongs to one. Closing is idempotent; what
is used after it raises ClosedError. Nothing that was acknowledged depends on ``close`` being called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from types import TracebackType
from typing import Any, TypeVar
from uuid import UUID

from holdfast import journal
from holdfast.backend import Backend, Compaction
from holdfast.backends.schemes import open_backend
from holdfast.codec import check_space_name, from_microseconds
from holdfast.core import DropSpace
from holdfast.errors import HoldfastError, InvalidInputError, NotFoundError
from holdfast.faces import REGISTRY, Faces
from holdfast.feed import ChangeRecord, Watcher, changes, check_revision
from holdfast.forgetting import Forgetting, forget
from holdfast.idempotency import KEY_TTL, Once
from holdfast.inputs import check_callable, check_choice, check_flag, check_id
from holdfast.model import DURABILITIES, Batch, Durability, Receipt
from holdfast.primitives.run import LEASE_SECONDS, RunRecord, Runs
from holdfast.registry import PrimitiveRegistry
from holdfast.retention import Retention, retain, sweep
from holdfast.retry import run_with_retry
from holdfast.scope import DirectScope, Scope, ViewScope, check_limit
from holdfast.search.text import TextSearch
from holdfast.search.vector import INDEX_FROM, VectorSearch
from holdfast.transaction import TransactionScope

T = TypeVar("T")

ENVIRONMENT_VARIABLE = "HOLDFAST_STORE"
DEFAULT_PATH = "~/.holdfast/store.db"
DEFAULT_SPACE = "default"
CHANGES_KEPT = 10_000
"""For how many commits of a space ``compact`` leaves deletions in its change feed."""


class Transaction(Faces):
    """What is written through it becomes visible and durable together, at the end of its block, or not at all."""

    _scope: TransactionScope

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of the commit; None before it, or if nothing was written."""
        return self._scope.receipt


class Replay(Faces):
    """What a run made, to be read: each key that it wrote, as its last commit (up to ``at``) left it."""

    def __init__(self, scope: Scope, run: UUID, replayed: journal.Replayed) -> None:
        super().__init__(scope)
        self.run_id = run
        self.commits = replayed.commits
        self.entries = replayed.entries
        self.unknown = tuple(replayed.unknown)
        self._replayed = replayed

    def keys(self) -> list[tuple[str, str, bool]]:
        """Return (kind, key, deleted) of everything that the run wrote, ordered."""
        return [(kind, key, values is None) for kind, key, values in self.values()]

    def values(self) -> list[tuple[str, str, dict[str, Any] | None]]:
        """Return (kind, key, values) of everything that the run wrote, ordered; None stands for a deletion."""
        found: list[tuple[str, str, dict[str, Any] | None]] = []
        for (kind, key), record in sorted(self._replayed.written.items(), key=lambda item: item[0]):
            primitive = self._scope.registry.by_id(kind)
            values = None if record is None else primitive.values(record)
            found.append((primitive.name, primitive.key_text(key), values))
        return found


class _Commits(Faces):
    """What a space and a run share: transactions."""

    _scope: DirectScope

    @contextmanager
    def transaction(self, *, durability: Durability | None = None) -> Iterator[Transaction]:
        """Begin a transaction; it commits at the end of the block, and is dropped if the block raises.

        Raises ConflictError, at a read or at the end, if another commit changed what was read.
        """
        tx = self._begin(durability)
        try:
            yield tx
        except BaseException:
            tx._scope.discard()
            raise
        tx._scope.commit()

    def transact(
        self,
        function: Callable[[Transaction], T],
        *,
        durability: Durability | None = None,
        key: str | None = None,
        key_ttl: timedelta | float = KEY_TTL,
    ) -> T:
        """Run ``function(tx)`` in a transaction, again when it is overtaken, and return what it returned.

        The function may be called several times, so it should do nothing but read and write through ``tx``.

        With a ``key`` the transaction takes place once: what the function returned, which must be a value, is kept
        with the commit for ``key_ttl`` (a timedelta or seconds; a week), and whoever comes with the same key in that
        time, from any process, gets it and commits nothing. So a commit whose outcome is unknown can be tried again.
        """
        check_callable(function, "function")
        if key is None:

            def attempt() -> T:
                with self.transaction(durability=durability) as tx:
                    return function(tx)

        else:
            once = Once(key, key_ttl)

            def attempt() -> T:
                with self.transaction(durability=durability) as tx:
                    return once.result(tx._scope, lambda: function(tx))

        return run_with_retry(attempt)

    def _begin(self, durability: Durability | None) -> Transaction:
        scope = self._scope
        wanted = scope.durability if durability is None else check_durability(durability, scope.backend)
        return Transaction(TransactionScope(scope.space, scope.backend, scope.registry, wanted, scope.run))


class Run(_Commits):
    """One execution of an agent: what is written through it is also kept in its journal.

    As a context manager it ends the run at the end of the block, or fails it with the error if the block raised.
    """

    def __init__(
        self, scope: DirectScope, search: TextSearch, vector_search: VectorSearch | None, record: RunRecord
    ) -> None:
        super().__init__(scope, search, vector_search)
        self.id = record.id
        self.record = record

    @property
    def _runs(self) -> Runs:
        """The record of a run is not part of its own journal."""
        scope = self._scope
        return Runs(DirectScope(scope.space, scope.backend, scope.registry, scope.durability))

    def end(self) -> RunRecord:
        """Complete the run."""
        self.record = self._runs.end(self.id)
        return self.record

    def fail(self, error: str) -> RunRecord:
        """End the run as failed."""
        self.record = self._runs.fail(self.id, error)
        return self.record

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current = self._runs.get(self.id)
        if current is None or current.status not in ("active", "paused"):
            return  # the block ended it itself
        if error is None:
            self.end()
            return
        try:
            self.fail(f"{type(error).__name__}: {error}"[:4096].encode(errors="replace").decode())
        except HoldfastError as failure:
            error.add_note(f"the run {self.id} could not be marked as failed: {failure}")


class SpaceRuns(Runs):
    """The runs of a space, which can also be entered again."""

    def __init__(self, space: Space) -> None:
        super().__init__(space._scope)
        self._space = space

    def resume(self, id: UUID | str) -> Run:
        """Make a run active again, owned by this process, and enter it: what is written goes to its journal."""
        return self._space._run(self.begin(id))


class Space(_Commits):
    """A named, isolated part of a store: a project, a tenant, a user. Thread-safe."""

    @cached_property
    def runs(self) -> SpaceRuns:
        """Executions of the agent."""
        return SpaceRuns(self)

    def run(
        self,
        name: str,
        *,
        tags: tuple[str, ...] | list[str] = (),
        metadata: dict[str, Any] | None = None,
        parent: UUID | str | None = None,
        lease_seconds: float = LEASE_SECONDS,
    ) -> Run:
        """Create and begin a run; use it as a context manager."""
        created = self.runs.create(name, tags=tags, metadata=metadata, parent=parent, lease_seconds=lease_seconds)
        return self._run(self.runs.begin(created.id))

    def _run(self, record: RunRecord) -> Run:
        scope = self._scope
        inner = DirectScope(scope.space, scope.backend, scope.registry, scope.durability, record.id.bytes)
        return Run(inner, self._require_search(), self._vector_search, record)

    def _require_search(self) -> TextSearch:
        assert self._search is not None
        return self._search

    @contextmanager
    def snapshot(self) -> Iterator[Faces]:
        """A view of the space as it is now: all reads inside see one committed state, and writers go on."""
        scope = self._scope
        with scope.backend.snapshot(scope.space) as view:
            yield Faces(ViewScope(scope.space, view, scope.registry, scope.codec))

    def replay(self, run: UUID | str | Run | RunRecord, *, at: int | None = None) -> Replay:
        """Return what a run made, up to the commit with revision ``at``; NotFoundError if there is no such run."""
        id = self._run_id(run)
        if at is not None:
            check_revision(at, "at")
        replayed = self._replayed(id, at)
        scope = self._scope
        view = ViewScope(scope.space, _view_of(replayed), scope.registry, scope.codec, now=replayed.time)
        return Replay(view, id, replayed)

    def diff(self, a: UUID | str | Run | RunRecord, b: UUID | str | Run | RunRecord) -> journal.Diff:
        """Compare what two runs made: ``added`` lives only in b, ``removed`` only in a, ``modified`` in both."""
        first, second = (self._replayed(self._run_id(run), None) for run in (a, b))
        return journal.diff(self._scope.registry, first, second)

    def _run_id(self, run: UUID | str | Run | RunRecord) -> UUID:
        id = run.id if isinstance(run, Run | RunRecord) else check_id(run, "run")
        if not self.runs.exists(id):
            raise NotFoundError(
                f"run {id} does not exist in space {self.name!r}; 'holdfast list runs' shows those that do"
            )
        return id

    def _replayed(self, id: UUID, at: int | None) -> journal.Replayed:
        scope = self._scope
        with scope.backend.snapshot(scope.space) as view:
            return journal.replay(view, scope.registry, scope.codec, id.bytes, at)

    def changes(self, after: int = 0) -> Iterator[ChangeRecord]:
        """Iterate over the newest change of each key behind a revision, oldest first, up to now.

        NotFoundError if deletions behind ``after`` are not known any more (see ``compact``, ``drop_space``).
        """
        return changes(self._scope, check_revision(after, "after"))

    def sweep(self, *, limit: int | None = None, dry_run: bool = False) -> dict[str, int]:
        """Remove records that have expired, up to ``limit`` (None: all), by ordinary commits of bounded size.

        Expired records are hidden from every read at once; this gives their room back. One that was renewed meanwhile
        stays. Returns how many of each kind went, or with ``dry_run`` would go ("core": results of transactions with a
        key).
        """
        return sweep(self._scope, limit, dry_run=dry_run)

    def retain(
        self,
        kind: str,
        *,
        older_than: timedelta | float | None = None,
        keep_days: float | None = None,
        keep_last: int | None = None,
        where: Mapping[str, Any] | None = None,
        journals: bool = False,
        dry_run: bool = False,
    ) -> Retention:
        """Keep what a policy keeps of a kind ("memory", "event", "run", "kv" ...), and let the rest go for good.

        ``older_than`` (a timedelta or seconds) or ``keep_days``: what was last written before that may go.
        ``keep_last``: the newest so many stay - of events those of each stream, of tombstones of memories the newest
        tombstones. With both, only what neither keeps goes. ``where``: only records with these values of their fields,
        as {"status": "archived"}, are considered. Events go from the beginning of their stream on; runs only when they
        have ended, and their journals with them - with ``journals`` their journals only.

        By ordinary commits of bounded size; what is changed meanwhile stays. Returns what was chosen and why; with
        ``dry_run`` nothing goes.
        """
        if keep_days is not None:
            if older_than is not None:
                raise InvalidInputError("keep_days", "cannot be given together with older_than")
            if type(keep_days) not in (int, float) or not 0 <= keep_days < 1e5:
                raise InvalidInputError("keep_days", f"must be a number of days of 0 or more, not {keep_days!r}")
            older_than = timedelta(days=keep_days)
        return retain(
            self._scope,
            kind,
            older_than=older_than,
            keep_last=keep_last,
            where=where,
            journals=journals,
            dry_run=dry_run,
        )

    def forget(
        self,
        kind: str | None = None,
        keys: Iterable[str | UUID | tuple[Any, ...]] = (),
        *,
        session_id: str | None = None,
        run: UUID | str | Run | RunRecord | None = None,
        dry_run: bool = False,
    ) -> Forgetting:
        """Forget for good, with every trace: records, journal rows, kept results of transactions, the text index.

        Either records by ``kind`` and ``keys`` ("memory" and ids, "kv" and keys, "event" and streams); or all that
        belongs to a ``session_id``, deleted or not; or a ``run`` that has ended, with its journal and all records that
        it was the last to write. Returns what there was and, from a last look through everything, what is ``left``:
        nothing, unless entries are unknown here. With ``dry_run`` nothing is changed.

        The keys stay in the change feed, marked as deleted, and a file holds the bytes until ``store.compact()``
        (``keep_changes=0`` for the keys). ConflictError if the run has not ended, or if only a part would go of what
        can only be forgotten whole, as a stream of events.
        """
        wanted = None if run is None else (run.id if isinstance(run, Run | RunRecord) else check_id(run, "run")).bytes
        search = self._require_search()
        return forget(self._scope, search, kind, keys, session_id=session_id, run=wanted, dry_run=dry_run)

    def watch(
        self, after: int | None = None, *, timeout: float | None = None, kinds: Iterable[str] | None = None
    ) -> Iterator[ChangeRecord]:
        """Iterate over changes as they come: as ``changes`` does, and then wait for more.

        ``after`` is a revision; without one, what is committed from now on is told. ``kinds`` are the kinds to tell of,
        as "memory". The iteration ends when ``timeout`` seconds have passed without a change, or when the store is
        closed. Commits of this process are told at once, those of others within 50 ms. NotFoundError if deletions
        behind ``after`` are not known any more (see ``compact``, ``drop_space``).
        """
        return iter(Watcher(self._scope, after, timeout, kinds))


def _view_of(replayed: journal.Replayed) -> Any:
    from holdfast.views import LiveView

    return LiveView(replayed.tables)


class Store:
    """One opened place of data. Thread-safe; a context manager. See ``holdfast.open``."""

    def __init__(
        self,
        url: str,
        backend: Backend,
        registry: PrimitiveRegistry,
        durability: Durability,
        *,
        read_only: bool = False,
        vector_index_from: int = INDEX_FROM,
    ) -> None:
        self.url = url
        self.durability = durability
        self._backend = backend
        self._registry = registry
        self._search = TextSearch(backend)
        self._vector_search = VectorSearch(backend, index_from=vector_index_from, keep=not read_only)
        self._spaces: dict[str, Space] = {}

    def space(self, name: str) -> Space:
        """Return a space; it comes into being with its first write."""
        found = self._spaces.get(name) if isinstance(name, str) else None
        if found is None:
            scope = DirectScope(check_space_name(name), self._backend, self._registry, self.durability)
            found = self._spaces.setdefault(name, Space(scope, self._search, self._vector_search))
        return found

    def spaces(self) -> list[str]:
        """Return the names of the spaces that hold or held something, ordered."""
        return self._backend.spaces()

    def __getattr__(self, name: str) -> Any:
        """``store.kv``, ``store.memories``, ``store.transact`` ... are those of the space "default"."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.space(DEFAULT_SPACE), name)

    def status(self) -> dict[str, Any]:
        """Return what a person asks of a store: where, how durable, what is in it. Reads no bodies."""
        spaces = {}
        for name in self.spaces():
            view = self._backend.view(name)
            head = view.head()
            scope = self.space(name)._scope
            counts = {primitive.attribute: scope.count(primitive.id) for primitive in self._registry}
            spaces[name] = {
                "records": {attribute: count for attribute, count in counts.items() if count},
                "sequence": head.sequence,
                "last_commit_at": from_microseconds(head.time).isoformat(),
            }
        stats = self._backend.stats()
        return {
            "url": self.url,
            "backend": self._backend.capabilities.name,
            "durability": self.durability,
            "degraded": False,
            **stats,
            "spaces": spaces,
        }

    def sweep(self, *, limit: int | None = None, dry_run: bool = False) -> dict[str, dict[str, int]]:
        """Remove what has expired in all spaces, up to ``limit`` records; return how many by space and kind.

        See ``Space.sweep``.
        """
        left = check_limit(limit, optional=True)
        swept: dict[str, dict[str, int]] = {}
        for name in self.spaces():
            counts = self.space(name).sweep(limit=left, dry_run=dry_run) if left else {}
            left -= sum(counts.values())
            if counts:
                swept[name] = counts
        return swept

    def verify(self) -> list[str]:
        """Check everything: the medium, the indexes, that each body can be read, the chains of all event streams.

        Returns one line for each fault; an empty list means that all is well.
        """
        faults = list(self._backend.verify())
        for name in self.spaces():
            space = self.space(name)
            for primitive in self._registry:
                for _, record in space._scope.scan(primitive.id, None, b"", b"\xff" * 64):
                    try:
                        primitive.values(record)
                    except HoldfastError as error:
                        faults.append(f"space {name!r}, {primitive.name} {record.key.hex()}: {error}")
            after = None
            while True:
                streams = space.events.streams(after=after)
                for stream in streams:
                    result = space.events.verify(stream.name)
                    if not result.ok:
                        faults.append(f"space {name!r}, stream {stream.name!r}: {result.error}")
                after = streams.cursor
                if after is None:
                    break
        return faults

    def refresh_search(self, space: str = DEFAULT_SPACE, progress: Callable[[int], None] | None = None) -> None:
        """Catch the indexes of a space up now, text and vectors, so that the next search need not.

        ``progress`` is called with the number of texts that were taken in.
        """
        vectors, after = self.space(space).vectors, None
        for primitive in self._registry:
            if primitive.searchable:
                self._search.catch_up(space, primitive, progress)
        while True:
            page = vectors.collections(after=after)
            for collection in page:
                try:
                    vectors.refresh_search(collection.name)
                except NotFoundError:
                    continue  # it was dropped meanwhile
            after = page.cursor
            if after is None:
                break

    def drop_space(self, name: str) -> bool:
        """Remove everything of a space in one commit; True if there was something.

        A space of the same name may come into being again: its revisions go on where those of the dropped one ended,
        and who follows its changes from before is told so (NotFoundError). ``compact`` then takes the bytes out of the
        file.
        """
        scope = self.space(name)._scope
        if name not in self.spaces():
            return False
        scope.backend.committer.commit(Batch(name, [DropSpace()], self.durability))
        return True

    def compact(self, *, keep_changes: int = CHANGES_KEPT) -> Compaction:
        """Give the room of what was deleted back, and leave no byte of it in the file; returns the sizes.

        Deletions are told in change feeds for the last ``keep_changes`` commits of each space, and as long as a watcher
        of this process or the text index has not seen them; who follows from before them gets NotFoundError and begins
        again. Takes time, and on SQLite room for a second copy of the file; writers wait meanwhile, readers do not.
        """
        if type(keep_changes) is not int or keep_changes < 0:
            raise InvalidInputError("keep_changes", f"must be an int of 0 or more, not {keep_changes!r}")
        floors = {}
        for name in self.spaces():
            head = self._backend.view(name).head().sequence
            followers = [*self._search.watermarks(name), *self._backend.committer.published.positions(name)]
            floors[name] = max(0, min([head - keep_changes, *followers]))
        return self._backend.compact(floors)

    def refresh(self) -> int:
        """Take in what another process has committed, where this store is a reader beside a writer (``log:``).

        Returns how many commits that were; 0 where each read sees what is newest anyway.
        """
        return self._backend.refresh()

    def flush(self) -> None:
        """Make every commit so far durable, whatever its mode."""
        self._backend.flush()

    def close(self) -> None:
        """Flush and release everything; idempotent."""
        try:
            self._vector_search.close()
        finally:
            self._backend.close()
            self._backend.committer.published.end()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<holdfast.Store {self.url}>"


def check_durability(value: object, backend: Backend) -> Durability:
    """Return the durability that a backend gives when this one is asked for."""
    wanted: Any = check_choice(value, "durability", DURABILITIES)
    offered = backend.capabilities.durabilities
    return wanted if wanted in offered else offered[-1]


def open(
    url: str | os.PathLike[str] | None = None,
    *,
    durability: Durability = "strict",
    create: bool = True,
    read_only: bool = False,
    busy_seconds: float | None = None,
    registry: PrimitiveRegistry | None = None,
    vector_index_from: int = INDEX_FROM,
) -> Store:
    """Open a store.

    ``url``: ``memory:``, ``log:DIR``, ``sqlite:PATH``, or a path (an SQLite file); without one, ``HOLDFAST_STORE`` from
    the environment, else ``~/.holdfast/store.db``. ``durability``: "strict" - a write returns when it is on stable
    storage; "buffered" - it survives a crash of the process at once, and a power cut within half a second; "ephemeral"
    - nothing is promised. ``create`` False refuses to make a new store. ``busy_seconds``: how long to wait for other
    processes (default 30). ``vector_index_from``: how many vectors a collection has when it is searched through an
    index, with the extra ``vector``.

    Raises InitError, FormatError, PermissionDeniedError, InvalidInputError; nothing is changed then.
    """
    text = os.environ.get(ENVIRONMENT_VARIABLE) or os.path.expanduser(DEFAULT_PATH) if url is None else _url_text(url)
    check_choice(durability, "durability", DURABILITIES)
    if type(vector_index_from) is not int or vector_index_from < 1:
        raise InvalidInputError("vector_index_from", f"must be an int of 1 or more, not {vector_index_from!r}")
    if registry is not None and not isinstance(registry, PrimitiveRegistry):
        raise InvalidInputError("registry", f"must be a PrimitiveRegistry, not {type(registry).__name__}")
    known = REGISTRY if registry is None else registry
    backend = open_backend(
        text,
        known,
        create=check_flag(create, "create"),
        read_only=check_flag(read_only, "read_only"),
        busy_seconds=busy_seconds,
    )
    given = check_durability(durability, backend)
    return Store(text, backend, known, given, read_only=read_only, vector_index_from=vector_index_from)


def _url_text(url: object) -> str:
    text = os.fspath(url) if isinstance(url, os.PathLike) else url
    if not isinstance(text, str) or not text or "\0" in text or not _is_path(text):
        example = "for example agent.db or log:agent"
        raise InvalidInputError("url", f"must be a non-empty text without NUL or a path, {example}, not {url!r:.100}")
    return text


def _is_path(text: str) -> bool:
    """True if the operating system can be asked for it: it has no lone surrogates but those that stand for bytes."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True
