"""The backend contract, promise by promise, on the raw backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from holdfast.backend import Backend, View
from holdfast.codec import BATCH_BYTES_MAX, BODY_BYTES_MAX
from holdfast.errors import ClosedError, ConflictError, InvalidInputError, NotFoundError, StorageError
from holdfast.keys import KEY_BYTES_MAX, TERM_BYTES_MAX, TERMS_MAX
from holdfast.model import EXPIRY_INDEX, Batch, Cursor, Guard, Head, Page, Receipt, Term
from holdfast.store import Store
from holdfast.store import open as open_store
from holdfast.testing.toys import RAW, RawBody, RawBroken, RawDelete, RawPut, toy_registry

FIRST, LAST = b"", b"\xff" * 8


class Conformance:
    """What the parts of the suite share: the two hooks, and ways to write."""

    persistent: ClassVar[bool] = True
    """What is written is there when the store is opened again."""
    multi_process: ClassVar[bool] = True
    """Several processes may write at once."""

    def url(self, tmp_path: Path) -> str:
        """Return the URL of a new store in a folder that is empty at first."""
        raise NotImplementedError

    def open(self, tmp_path: Path, **options: Any) -> Store:
        return open_store(self.url(tmp_path), registry=toy_registry(), **options)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with self.open(tmp_path) as store:
            yield store


def body(store: Store, value: object) -> bytes:
    """Return the body of a raw record."""
    encoded: bytes = store._backend.committer.codec.encode(RawBody(value))
    return encoded


def put(store: Store, key: bytes, value: object = None, *terms: Term, **fields: Any) -> RawPut:
    """Return the entry that writes a raw record."""
    return RawPut(key, body(store, value), terms, **fields)


def commit(store: Store, *steps: Any, space: str = "default", run: bytes | None = None) -> Receipt:
    """Commit steps together."""
    receipt: Receipt = store._backend.committer.commit(Batch(space, list(steps), store.durability, run)).receipt
    return receipt


def view(store: Store, space: str = "default") -> View:
    """Return a view of the newest state."""
    return store._backend.view(space)


def keys_of(page: Page) -> list[bytes]:
    """Return the keys of a page's items."""
    return [item.key for item in page.items]


def every_page(seen: View, index: int | None, limit: int, *, reverse: bool = False) -> list[tuple[Cursor, bytes]]:
    """Scan everything page by page."""
    found: list[tuple[Cursor, bytes]] = []
    after: Cursor | None = None
    while True:
        page = seen.scan(RAW, index, FIRST, LAST, after=after, reverse=reverse, limit=limit)
        assert len(page.items) <= limit
        found += zip(page.places, keys_of(page), strict=True)
        after = page.cursor
        if after is None:
            return found


class ReadContract(Conformance):
    """Reads: positional, ordered, paged, and one committed state."""

    def test_a_space_without_commits_is_empty(self, store: Store) -> None:
        seen = view(store, "nothing")
        assert seen.head() == Head()
        assert seen.read(RAW, [b"a", b"b"]) == [None, None]
        assert seen.read(RAW, []) == []
        assert seen.scan(RAW, None, FIRST, LAST) == Page((), (), None)
        assert seen.scan(RAW, 1, FIRST, LAST) == Page((), (), None)
        assert (seen.count(RAW), seen.count(RAW, 1, FIRST, LAST)) == (0, 0)
        assert (seen.changes(0, 10), seen.journal(b"r" * 16, (0, 0), 10)) == ([], [])
        assert seen.last_journaled(b"r" * 16) is None and not seen.in_journal(b"r" * 16, 1)
        assert store._backend.spaces() == []

    def test_a_view_sees_what_is_committed_after_it_was_made(self, store: Store) -> None:
        seen = view(store)
        commit(store, put(store, b"k", 1, (1, b"t")))
        assert [record.key for record in seen.read(RAW, [b"k"])] == [b"k"]
        assert keys_of(seen.scan(RAW, 1, FIRST, LAST)) == [b"k"] and seen.count(RAW) == 1
        assert len(seen.changes(0, 9)) == 1

    def test_reads_are_positional(self, store: Store) -> None:
        commit(store, *(put(store, bytes([n]), n) for n in range(20)))
        asked = [bytes([n]) for n in (7, 99, 3, 3, 200, 19)]
        found = view(store).read(RAW, asked)
        assert [None if record is None else record.key for record in found] == [
            b"\x07", None, b"\x03", b"\x03", None, b"\x13",
        ]  # fmt: skip
        assert found[0].body == body(store, 7)
        assert view(store).read(RAW, [b"missing"]) == [None]
        headers = view(store).read(RAW, asked[:1], "headers")
        assert (headers[0].version, headers[0].revision) == (1, 1)
        assert view(store).read(RAW + 1, asked[:1]) == [None]

    def test_many_keys_are_read_at_once(self, store: Store) -> None:
        keys = [n.to_bytes(2, "big") for n in range(1500)]
        commit(store, *(put(store, key) for key in keys))
        asked = keys[::-1]
        assert [record.key for record in view(store).read(RAW, asked, "headers")] == asked

    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("index", [None, 1])
    def test_scans_are_ordered_and_paged(self, store: Store, index: int | None, reverse: bool, limit: int) -> None:
        keys = [b"a", b"a\x00", b"a\xff", b"ab", b"b", b"\x00", b"\xfe"]
        terms = {key: ((1, bytes([n % 3])), (1, b"\x07"), (2, b"x")) for n, key in enumerate(keys)}
        commit(store, *(RawPut(key, body(store, None), terms[key]) for key in keys))
        if index is None:
            expected = sorted((key, key) for key in keys)
        else:
            expected = sorted((value, key) for key in keys for number, value in terms[key] if number == 1)
        if reverse:
            expected.reverse()
        assert every_page(view(store), index, limit, reverse=reverse) == [(place, place[1]) for place in expected]

    def test_a_range_has_its_low_end_and_not_its_high_one(self, store: Store) -> None:
        commit(store, *(put(store, bytes([n]), None, (1, bytes([n, 0]))) for n in range(1, 9)))
        seen = view(store)
        assert keys_of(seen.scan(RAW, None, b"\x03", b"\x06")) == [b"\x03", b"\x04", b"\x05"]
        assert keys_of(seen.scan(RAW, 1, b"\x03", b"\x06")) == [b"\x03", b"\x04", b"\x05"]
        assert keys_of(seen.scan(RAW, 1, b"\x03\x00", b"\x06\x00")) == [b"\x03", b"\x04", b"\x05"]
        assert seen.count(RAW, 1, b"\x03\x00", b"\x06\x00") == 3
        assert seen.scan(RAW, None, b"\x06", b"\x03").items == () and seen.count(RAW, 1, b"\x06", b"\x03") == 0
        assert keys_of(seen.scan(RAW, None, b"\x03", b"\x06", reverse=True, limit=2)) == [b"\x05", b"\x04"]
        assert keys_of(seen.scan(RAW, None, b"\x03", b"\x06", after=(b"\x04", b"\x04"))) == [b"\x05"]

    @pytest.mark.parametrize("want", ["headers", "records", "blobs"])
    def test_scans_give_what_is_wanted(self, store: Store, want: Any) -> None:
        commit(store, put(store, b"k", "body", (1, b"t"), blobs=(("b", b"big"),)))
        for index in (None, 1):
            item = view(store).scan(RAW, index, FIRST, LAST, want=want).items[0]
            assert (item.key, item.terms) == (b"k", ((1, b"t"),))
            assert want == "headers" or item.body == body(store, "body")
            assert want != "blobs" or item.blobs == (("b", b"big"),)

    def test_terms_follow_updates_and_deletes(self, store: Store) -> None:
        commit(store, put(store, b"k", 1, (1, b"a"), (1, b"b"), (2, b"a")), put(store, b"other", 1, (1, b"b")))
        commit(store, put(store, b"k", 2, (1, b"b"), (1, b"c")))
        seen = view(store)
        assert every_page(seen, 1, 10) == [((b"b", b"k"), b"k"), ((b"b", b"other"), b"other"), ((b"c", b"k"), b"k")]
        assert every_page(seen, 2, 10) == [] and seen.count(RAW, 2, FIRST, LAST) == 0
        commit(store, RawDelete(b"k"))
        assert every_page(view(store), 1, 10) == [((b"b", b"other"), b"other")]
        assert view(store).count(RAW, 1, FIRST, LAST) == 1

    def test_expired_records_are_returned_as_they_are(self, store: Store) -> None:
        commit(store, put(store, b"k", 1, expires_at=1))
        assert view(store).read(RAW, [b"k"])[0].expires_at == 1
        assert view(store).count(RAW, EXPIRY_INDEX, FIRST, b"\xff" * 8) == 1

    def test_counts(self, store: Store) -> None:
        for n in range(10):
            commit(store, put(store, bytes([n]), n, (1, bytes([n % 2]))))
        commit(store, put(store, b"\x00", "again", (1, b"\x00")), RawDelete(b"\x01"), RawDelete(b"missing"))
        assert view(store).count(RAW) == 9
        assert view(store).count(RAW, 1, b"\x01", b"\x02") == 4
        commit(store, *(RawDelete(bytes([n])) for n in range(10)))
        assert (view(store).count(RAW), view(store).count(RAW, 1, FIRST, LAST)) == (0, 0)

    def test_a_snapshot_is_one_state(self, store: Store) -> None:
        run = b"r" * 16
        for key in (b"a", b"b", b"gone"):
            commit(store, put(store, key, "old", (1, key)), run=run)
        commit(store, RawDelete(b"gone"))
        with store._backend.snapshot("default") as seen:
            ways = [(index, limit, back) for index in (None, 1) for limit in (1, 9) for back in (False, True)]

            def state() -> Any:
                return (
                    seen.head(),
                    seen.read(RAW, [b"a", b"b", b"c", b"gone"]),
                    [seen.read(RAW, [key]) for key in (b"a", b"b", b"c", b"gone")],
                    [every_page(seen, index, limit, reverse=back) for index, limit, back in ways],
                    (seen.count(RAW), seen.count(RAW, 1, FIRST, LAST), seen.count(RAW, 1, b"a", b"b")),
                    seen.changes(0, 10),
                    seen.changes(1, 1),
                    seen.journal(run, (0, 0), 10),
                    (seen.last_journaled(run), seen.in_journal(run, 1), seen.in_journal(run, 5)),
                )

            before = state()
            commit(store, put(store, b"a", "new", (1, b"z")), put(store, b"c", "new", (1, b"c"), (1, b"aa")), run=run)
            commit(store, RawDelete(b"b"), put(store, b"gone", "back", (1, b"gone")))
            commit(store, put(store, b"a", "newer"))
            assert state() == before
        assert [None if r is None else r.revision for r in view(store).read(RAW, [b"a", b"b", b"c"])] == [7, None, 5]
        with store._backend.snapshot("default") as seen:
            assert seen.head().sequence == 7

    def test_spaces_are_apart(self, store: Store) -> None:
        commit(store, put(store, b"k", 1, (1, b"t")), space="one")
        commit(store, put(store, b"k", 2, (1, b"t")), space="two")
        commit(store, RawDelete(b"k"), space="two")
        assert store._backend.spaces() == ["one", "two"]
        assert view(store, "one").head().sequence == 1 and view(store, "two").head().sequence == 2
        assert view(store, "one").count(RAW) == 1 and view(store, "two").count(RAW) == 0
        assert keys_of(view(store, "one").scan(RAW, 1, FIRST, LAST)) == [b"k"]
        assert view(store, "two").changes(0, 9)[0].deleted and not view(store, "one").changes(0, 9)[0].deleted


class WriteContract(Conformance):
    """Commits: atomic, ordered, guarded, limited, and told in changes and journals."""

    def test_changes_tell_the_newest_of_each_key(self, store: Store) -> None:
        for key in (b"a", b"b", b"a", b"c"):
            commit(store, put(store, key))
        commit(store, RawDelete(b"b"))
        commit(store, RawDelete(b"c"))
        commit(store, put(store, b"c"))
        told = [(change.revision, change.key, change.deleted) for change in view(store).changes(0, 100)]
        assert told == [(3, b"a", False), (5, b"b", True), (7, b"c", False)]
        assert {change.kind for change in view(store).changes(0, 100)} == {RAW}
        pages, after = [], 0
        while page := view(store).changes(after, 1):
            pages += [(change.revision, change.key, change.deleted) for change in page]
            after = page[-1].revision
        assert pages == told
        assert view(store).changes(7, 100) == []

    def test_a_journal_keeps_the_entries_of_a_run(self, store: Store) -> None:
        run, other = b"r" * 16, b"o" * 16
        commit(store, put(store, b"before", 1))
        commit(store, put(store, b"a"), put(store, b"before", 2), run=run)
        commit(store, put(store, b"x"), run=other)
        commit(store, put(store, b"a"), run=run)
        rows = view(store).journal(run, (0, 0), 10)
        assert [(row.revision, row.ordinal) for row in rows] == [(2, 0), (2, 1), (4, 0)]
        assert [row.entry.type for row in rows] == [0xC4] * 3
        assert [len(row.bases) for row in rows] == [1, 1, 0]  # the last was folded on what the run wrote itself
        assert rows[0].bases == ((b"a", None),) and rows[1].bases[0][1] is not None
        assert rows[0].time < rows[1].time < rows[2].time
        assert view(store).journal(run, (2, 0), 1) == rows[1:2]
        assert view(store).last_journaled(run) is not None
        assert view(store).in_journal(run, 4) and not view(store).in_journal(run, 3)
        assert len(view(store).journal(other, (0, 0), 10)) == 1

    def test_blobs_are_kept_replaced_and_removed(self, store: Store) -> None:
        def blobs() -> Any:
            record = view(store).read(RAW, [b"k"], "blobs")[0]
            return record.blobs or ()

        commit(store, put(store, b"k", 1, blobs=(("one", b"1"), ("two", b"2" * 100_000))))
        assert blobs() == (("one", b"1"), ("two", b"2" * 100_000))
        commit(store, put(store, b"k", 2))
        assert blobs() == (("one", b"1"), ("two", b"2" * 100_000))
        commit(store, put(store, b"k", 3, blobs=(("three", b"3"),)))
        assert blobs() == (("three", b"3"),)
        commit(store, put(store, b"k", 4, blobs=()))
        assert blobs() == ()
        commit(store, put(store, b"k", 5, blobs=(("four", b""),)))
        commit(store, RawDelete(b"k"))
        commit(store, put(store, b"k", 6))
        assert blobs() == ()

    def test_blobs_within_one_commit(self, store: Store) -> None:
        commit(store, put(store, b"k", 1, blobs=(("b", b"1"),)), put(store, b"k", 2))
        assert view(store).read(RAW, [b"k"], "blobs")[0].blobs == (("b", b"1"),)
        commit(store, RawDelete(b"k"), put(store, b"k", 3))
        assert not view(store).read(RAW, [b"k"], "blobs")[0].blobs
        commit(store, put(store, b"k", 4, blobs=(("b", b"4"),), expires_at=1))
        commit(store, put(store, b"k", 5))  # upon nothing: what was there has expired
        record = view(store).read(RAW, [b"k"], "blobs")[0]
        assert record.version == 1 and not record.blobs

    def test_a_batch_is_whole_or_nothing(self, store: Store) -> None:
        commit(store, put(store, b"k", 1, (1, b"t")))

        def refuse(record: object) -> None:
            raise ConflictError("refused")

        before = (view(store).head(), view(store).read(RAW, [b"k", b"new"]), view(store).changes(0, 9))
        refusals: list[tuple[type[Exception], tuple[Any, ...]]] = [
            (ConflictError, (Guard(RAW, b"k", refuse),)),
            (InvalidInputError, (RawPut(b"k", b"x" * (BODY_BYTES_MAX + 1)),)),
            (StorageError, (RawBroken(b"k"),)),
        ]
        for error, steps in refusals:
            with pytest.raises(error):
                commit(store, put(store, b"new", 1), RawDelete(b"k"), *steps, run=b"r" * 16)
            assert (view(store).head(), view(store).read(RAW, [b"k", b"new"]), view(store).changes(0, 9)) == before
            assert view(store).journal(b"r" * 16, (0, 0), 9) == []
        commit(store, put(store, b"k", 2))
        assert view(store).head().sequence == 2

    def test_guards_see_what_stands_before_them_in_the_batch(self, store: Store) -> None:
        seen: list[Any] = []
        guard = Guard(RAW, b"k", lambda record: seen.append(record and record.version))
        commit(store, guard, put(store, b"k", 1), guard, put(store, b"k", 2), guard, RawDelete(b"k"), guard)
        assert seen == [None, 1, 2, None]

        def must_exist(record: object) -> None:
            if record is None:
                raise NotFoundError("missing")

        with pytest.raises(NotFoundError):
            commit(store, Guard(RAW, b"k", must_exist), put(store, b"k", 1))
        assert view(store).read(RAW, [b"k"]) == [None]

    def test_a_guard_sees_the_body_if_it_asks_for_it(self, store: Store) -> None:
        commit(store, put(store, b"k", "text"))
        seen: list[Any] = []
        commit(store, Guard(RAW, b"k", lambda record: seen.append(record.body), body=True), put(store, b"k", 2))
        assert seen == [body(store, "text")]

    def test_revisions_are_never_used_again(self, store: Store) -> None:
        revisions = []
        for _ in range(3):
            commit(store, put(store, b"k", 1))
            record = view(store).read(RAW, [b"k"])[0]
            assert record.version == 1
            revisions.append(record.revision)
            commit(store, RawDelete(b"k"))
        assert revisions == sorted(set(revisions)) == [1, 3, 5]

    def test_receipts_rise_and_an_empty_batch_changes_nothing(self, store: Store) -> None:
        first = commit(store, put(store, b"a"))
        second = commit(store, put(store, b"a"))
        assert (first.sequence, second.sequence) == (1, 2) and second.time > first.time
        assert first.durability == store.durability
        assert commit(store, RawDelete(b"missing")).sequence == 2
        assert view(store).head() == Head(2, second.time)

    @pytest.mark.parametrize("what", ["body", "key", "terms", "batch", "same term", "term"])
    def test_limits(self, store: Store, what: str) -> None:
        big = body(store, "x" * (BODY_BYTES_MAX - 100))
        steps: dict[str, list[Any]] = {
            "body": [RawPut(b"k", b'"' + b"x" * BODY_BYTES_MAX + b'"')],
            "key": [put(store, b"k" * (KEY_BYTES_MAX + 1))],
            "terms": [put(store, b"k", None, *((1, bytes([n])) for n in range(TERMS_MAX + 1)))],
            "batch": [RawPut(bytes([n]), big) for n in range(BATCH_BYTES_MAX // BODY_BYTES_MAX + 1)],
            "same term": [put(store, b"k", None, (1, b"t"), (1, b"t"))],
            "term": [put(store, b"k", None, (1, b"t" * (TERM_BYTES_MAX + 1)))],
        }
        with pytest.raises(InvalidInputError):
            commit(store, *steps[what])
        assert view(store).head() == Head() and view(store).count(RAW) == 0
        at_most = [put(store, b"k" * KEY_BYTES_MAX, None, *((1, bytes([n])) for n in range(TERMS_MAX)))]
        commit(store, *at_most, RawPut(b"big", big))
        assert view(store).read(RAW, [b"big"])[0].body == big

    def test_one_payload_alone_is_as_a_batch_of_one(self, store: Store) -> None:
        committer = store._backend.committer

        def alone(step: Any) -> Any:
            return committer.commit_one("default", step, store.durability)

        assert alone(RawDelete(b"missing")) == {} and view(store).head() == Head()
        blob = (("b", b"1"),)
        first = alone(put(store, b"k", 1, (1, b"t"), blobs=blob))[b"k"]
        assert (first.version, first.revision, first.terms) == (1, 1, ((1, b"t"),))
        second = alone(put(store, b"k", 2))[b"k"]
        assert (second.version, second.revision, second.created_at) == (2, 2, first.created_at)
        assert second.updated_at > first.updated_at and view(store).head() == Head(2, second.updated_at)
        assert view(store).read(RAW, [b"k"], "blobs")[0].blobs == blob
        alone(put(store, b"k", 3, expires_at=second.updated_at))  # it has expired at once
        assert alone(put(store, b"k", 4))[b"k"].version == 1
        assert view(store).read(RAW, [b"k"], "blobs")[0].blobs == ()
        assert alone(RawDelete(b"k")) == {b"k": None} and view(store).count(RAW) == 0
        head = view(store).head()
        big = body(store, "x" * (BODY_BYTES_MAX - 100))
        blobs = tuple((str(n), bytes(BODY_BYTES_MAX)) for n in range(BATCH_BYTES_MAX // BODY_BYTES_MAX))
        for refused in (
            put(store, b"k" * (KEY_BYTES_MAX + 1)),
            put(store, b"k", None, (1, b"t"), (1, b"t")),
            RawPut(b"k", big, blobs=blobs),
        ):
            with pytest.raises(InvalidInputError):
                alone(refused)
        with pytest.raises(StorageError, match="ZeroDivisionError"):
            alone(RawBroken(b"k"))
        assert view(store).head() == head and alone(put(store, b"k"))[b"k"].revision == head.sequence + 1

    def test_a_refresh_of_a_writer_finds_nothing_new(self, store: Store) -> None:
        store.kv.put("k", 1)
        assert store.refresh() == 0 and store.kv.get("k") == 1

    def test_a_closed_store_refuses_everything(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        store.kv.put("k", 1)
        backend: Backend = store._backend
        store.close()
        store.close()
        for use in (
            lambda: store.kv.get("k"),
            lambda: store.kv.put("k", 1),
            lambda: store.kv.scan(),
            lambda: store.kv.count(),
            lambda: backend.snapshot("default").__enter__(),
            lambda: store.transact(lambda tx: tx.kv.get("k")),
            backend.spaces,
            backend.flush,
            backend.stats,
            lambda: list(backend.verify()),
        ):
            with pytest.raises(ClosedError):
                use()

    def test_an_ended_transaction_refuses_everything(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.kv.put("k", 1)
        for use in (lambda: tx.kv.get("k"), lambda: tx.kv.put("k", 1), tx._scope.commit):
            with pytest.raises(ClosedError):
                use()
