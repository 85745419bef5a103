"""The verbs of a whole store, on any backend: transactions with a key, the change feed and its watchers, sweeping,
dropping and compacting."""

from __future__ import annotations

import concurrent.futures
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.core import Expire
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.feed import CHANGES_PER_PAGE, POLL_SECONDS, Watcher
from holdfast.primitive import Remove
from holdfast.retention import RECORDS_PER_COMMIT
from holdfast.store import Store
from holdfast.testing.contract import FIRST, LAST, Conformance, commit, put, view
from holdfast.testing.toys import RAW, RawDelete

_ONCE = """
import sys, holdfast
with holdfast.open(sys.argv[1]) as store:
    def add(tx):
        tx.events.append("log", sys.argv[2])
        return sys.argv[2]
    print(store.transact(add, key="job"))
"""


_TICK = timedelta(microseconds=1)


class FeedContract(Conformance):
    """Transactions with a key, changes, watchers."""

    def test_a_transaction_with_a_key_takes_place_once(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        calls: list[int] = []

        def add(tx: Any) -> dict[str, int]:
            calls.append(1)
            tx.kv.put("n", (tx.kv.get("n") or 0) + 1)
            return {"n": tx.kv.get("n")}

        assert store.transact(add, key="job") == {"n": 1}
        head = store._backend.view("default").head()
        assert store.transact(add, key="job") == {"n": 1} and store.kv.get("n") == 1 and len(calls) == 1
        assert store._backend.view("default").head() == head
        assert store.transact(add, key="other") == {"n": 2} and store.space("b").transact(add, key="job") == {"n": 1}
        if self.persistent:
            store.close()
            store = self.open(tmp_path)
            assert store.transact(add, key="job") == {"n": 1} and store.kv.get("n") == 2
        assert {change.kind for change in store.changes()} == {"kv"}
        assert store.status()["spaces"]["default"]["records"] == {"kv": 1} and store.verify() == []
        store.close()

    def test_a_transaction_with_a_key_that_fails_leaves_the_key_free(self, store: Store) -> None:
        def fail(tx: Any) -> None:
            tx.kv.put("a", 1)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            store.transact(fail, key="job")
        with pytest.raises(InvalidInputError, match="result") as caught:
            store.transact(lambda tx: (tx.kv.put("a", 1), object())[1], key="job")
        assert caught.value.field == "result" and not store.kv.exists("a")
        for options, field in (({"key": ""}, "key"), ({"key": "k" * 241}, "key"), ({"key_ttl": 0}, "key_ttl")):
            with pytest.raises(InvalidInputError) as caught:
                store.transact(lambda tx: tx.kv.put("a", 1), **{"key": "job", **options})
            assert caught.value.field == field
        assert store.transact(lambda tx: None, key="job") is None and store.transact(lambda tx: 1, key="job") is None

    def test_a_key_is_free_again_when_its_result_has_expired(self, store: Store) -> None:
        assert store.transact(lambda tx: 1, key="job", key_ttl=timedelta(microseconds=1)) == 1
        assert store.transact(lambda tx: 2, key="job", key_ttl=3600) == 2
        assert store.transact(lambda tx: 3, key="job") == 2

    def test_a_transaction_with_a_key_in_a_run_leaves_no_trace_of_the_key(self, store: Store) -> None:
        with store.run("r") as run:
            assert run.transact(lambda tx: tx.kv.put("a", 1).key, key="job") == "a"
            assert store.transact(lambda tx: "b", key="job") == "a"
        assert store.replay(run.id).keys() == [("kv", "a", False)]

    def test_of_many_with_one_key_exactly_one_commits(self, store: Store) -> None:
        results: list[Any] = []

        def work(number: int) -> None:
            def add(tx: Any) -> int:
                tx.events.append("log", number)
                return number

            results.append(store.transact(add, key="job"))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [event.data for event in store.events.read("log")] == [results[0]] and results == results[:1] * 8

    def test_of_many_processes_with_one_key_exactly_one_commits(self, tmp_path: Path) -> None:
        if not self.multi_process or not self.persistent:
            pytest.skip("one process at a time")
        self.open(tmp_path).close()
        command = [sys.executable, "-c", _ONCE, self.url(tmp_path)]
        started = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, text=True) for n in range(3)]
        results = {process.communicate(timeout=60)[0].strip() for process in started}
        with self.open(tmp_path) as store:
            assert [event.data for event in store.events.read("log")] == list(results)

    def test_a_conflict_of_its_own_is_told_as_without_a_key(self, store: Store) -> None:
        store.kv.put("a", 1)
        with pytest.raises(ConflictError), store.transaction() as tx:
            tx.kv.create("a", 2)
        record = store.kv.record("a")
        assert store.transact(lambda tx: tx.kv.put("a", 2, expected=record).key, key="job") == "a"
        assert store.kv.get("a") == 2

    def test_a_commit_of_any_size_is_told_as_changes(self, store: Store) -> None:
        store.kv.put("a", 1)
        store.kv.put_many({f"k{n:04}": 0 for n in range(2 * CHANGES_PER_PAGE + 1)})
        store.kv.put("b", 1)
        told = [(change.revision, change.key) for change in store.changes()]
        assert told[0] == (1, "a") and told[-1] == (3, "b") and len(told) == 2 * CHANGES_PER_PAGE + 3
        assert [change.key for change in store.watch(0, timeout=0)] == [key for _, key in told]
        assert [change.key for change in store.changes(after=2)] == ["b"] and list(store.changes(after=9)) == []

    def test_a_watcher_tells_what_comes_and_gives_up_in_the_end(self, store: Store) -> None:
        store.kv.put("before", 1)
        watched = store.watch(timeout=0.2)
        store.kv.put("a", 1)
        store.kv.delete("before")
        told = [(change.revision, change.kind, change.key, change.deleted) for change in watched]
        assert told == [(2, "kv", "a", False), (3, "kv", "before", True)]
        assert list(store.watch(0, timeout=0, kinds=["event"])) == []
        store.events.append("s", 1)
        assert [change.kind for change in store.watch(1, timeout=0, kinds=["event"])] == ["event", "event"]
        assert list(store.watch(timeout=0)) == [] and next(store.watch(after=0)).revision == 2
        for options, field in (({"after": -1}, "after"), ({"timeout": -1}, "timeout"), ({"kinds": ["no"]}, "kind")):
            with pytest.raises(InvalidInputError) as caught:
                store.watch(**options)
            assert caught.value.field == field

    def test_a_watcher_misses_nothing_that_threads_commit(self, store: Store) -> None:
        watched = store.watch(timeout=5)

        def work(writer: int) -> None:
            for number in range(40):
                store.kv.put(f"{writer}/{number % 7}", number)
            store.events.append("done", writer)

        threads = [threading.Thread(target=work, args=(writer,)) for writer in range(3)]
        for thread in threads:
            thread.start()
        revisions, newest, done = [0], {}, 0
        for change in watched:
            assert change.revision >= revisions[-1]
            revisions.append(change.revision)
            newest[change.kind, change.key] = change.revision
            done += change.kind == "event" and change.key != "done"
            if done == 3:
                break
        for thread in threads:
            thread.join()
        assert newest == {(change.kind, change.key): change.revision for change in store.changes()}

    def test_a_watcher_is_woken_at_once_and_ends_when_the_store_is_closed(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        took: list[float] = []

        def watch() -> None:
            took.extend(time.monotonic() - store.kv.get(change.key) for change in store.watch(after=0))
            took.append(-1)

        thread = threading.Thread(target=watch)
        thread.start()
        for number in range(20):
            store.kv.put(f"k{number}", time.monotonic())
            time.sleep(0.002)
        deadline = time.monotonic() + 10
        while len(took) < 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        store.close()
        thread.join(10)
        assert not thread.is_alive() and took[-1] == -1 and len(took) == 21
        assert sorted(took)[10] < POLL_SECONDS / 2  # it does not wait for the next poll

    def test_a_watcher_sees_other_processes(self, tmp_path: Path) -> None:
        if not self.multi_process or not self.persistent:
            pytest.skip("one process at a time")
        with self.open(tmp_path) as store, self.open(tmp_path) as other:
            watched = store.watch(timeout=20)
            timer = threading.Timer(0.1, lambda: other.kv.put("a", 1))
            timer.start()
            assert next(watched).key == "a"
            timer.join()


class VerbContract(FeedContract):
    """What is asked of a whole store or space, beyond the primitives."""

    def test_sweeping_removes_what_has_expired_and_nothing_else(self, store: Store) -> None:
        store.kv.put("stays", 1)
        store.kv.put("later", 1, ttl=3600)
        memory = store.memories.store("gone soon", ttl=_TICK, embeddings={"m": [1.0]})
        with store.run("r") as run:
            for number in range(3):
                run.kv.put(f"gone/{number}", number, ttl=_TICK)
        store.transact(lambda tx: 1, key="job", key_ttl=_TICK)
        assert view(store).count(1) == 5 and store.kv.count() == 2
        expected = {"core": 1, "kv": 3, "memory": 1}
        before = view(store).head()
        assert store.space("default").sweep(dry_run=True) == expected and view(store).head() == before
        assert store.sweep(dry_run=True, limit=2) == {"default": {"core": 1, "kv": 1}}
        assert store.space("default").sweep(limit=2) == {"core": 1, "kv": 1}
        store.space("other").kv.put("gone", 1, ttl=_TICK)
        assert store.sweep() == {"default": {"kv": 2, "memory": 1}, "other": {"kv": 1}} and store.sweep() == {}
        assert view(store).count(1) == 2 == store.kv.count() and view(store, "other").count(1) == 0
        told = {change.key for change in store.changes(after=before.sequence) if change.deleted}
        assert told == {"gone/0", "gone/1", "gone/2", str(memory.id)} and store.verify() == []
        assert [key for _, key, made in store.replay(run.id).values() if made] == ["gone/0", "gone/1", "gone/2"]
        with pytest.raises(InvalidInputError, match="limit"):
            store.sweep(limit=0)
        store.kv.put("gone/0", 1)
        assert store.kv.record("gone/0").version == 1

    def test_what_is_renewed_while_it_is_swept_stays(self, store: Store) -> None:
        commit(store, *(put(store, bytes([number]), number, expires_at=1) for number in range(4)))
        old = view(store).read(RAW, [bytes([number]) for number in range(4)])
        commit(store, put(store, b"\x00", "for ever"), put(store, b"\x01", "expired again", expires_at=2))
        commit(store, RawDelete(b"\x02"))
        commit(store, *(Expire(RAW, record.key, record.revision) for record in old))
        assert [item.key for item in view(store).scan(RAW, None, FIRST, LAST).items] == [b"\x00", b"\x01"]
        kept = view(store).read(RAW, [b"\x00"])[0]
        head = view(store).head()
        commit(store, Expire(RAW, kept.key, kept.revision), Remove(RAW, kept.key, kept.revision + 1))
        assert view(store).head() == head
        commit(store, Remove(RAW, kept.key, kept.revision))
        assert view(store).count(RAW) == 1 and store.space("default").sweep() == {"raw": 1}
        assert view(store).changes(head.sequence, 9)[0].deleted and store.verify() == []

    def test_sweeping_goes_on_behind_a_commit(self, store: Store) -> None:
        count = RECORDS_PER_COMMIT + 7
        commit(store, *(put(store, number.to_bytes(2, "big"), expires_at=1) for number in range(count)))
        assert store.space("default").sweep() == {"raw": count} and view(store).count(RAW) == 0
        assert view(store).head().sequence == 3

    def test_a_dropped_space_is_gone_and_its_numbers_go_on(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        space = store.space("p")
        with space.run("r") as run:
            run.kv.put("a", 1)
            memory = run.memories.store("alpha", embeddings={"m": [1.0]})
        space.kv.delete("a")
        space.transact(lambda tx: 1, key="job")
        assert [hit.record.id for hit in space.memories.search("alpha")] == [memory.id]
        store.kv.put("other", 1)
        head = view(store, "p").head()
        with space.snapshot() as before:
            told = view(store, "p").changes(0, 99)
            assert store.drop_space("p") and not store.drop_space("p")
            assert before.memories.count() == 1 and before.runs.count() == 1 and before.kv.count() == 0
            assert before._scope._view.changes(0, 99) == told  # type: ignore[attr-defined]
            assert before._scope._view.journaled_runs() == [run.id.bytes]  # type: ignore[attr-defined]
            assert before.memories.get(memory.id) == memory and len(before.memories.list()) == 1
        for _ in range(2):
            assert store.spaces() == ["default"] and store.verify() == [] and store.kv.get("other") == 1
            dropped = store.space("p")
            assert view(store, "p").head().sequence == view(store, "p").head().floor == head.sequence + 1
            assert (dropped.memories.count(), dropped.runs.count(), view(store, "p").count(0)) == (0, 0, 0)
            assert list(dropped.changes()) == [] and dropped.memories.search("alpha") == []
            assert store._search.holding("p", store._registry.by_id(8), [memory.id.bytes]) == []
            assert view(store, "p").journaled_runs() == [] and view(store, "p").journal(run.id.bytes, (0, 0), 9) == []
            if self.persistent:
                store.close()
                store = self.open(tmp_path)
        space = store.space("p")
        for cursor in (1, head.sequence):
            with pytest.raises(NotFoundError, match="not known"):
                list(space.changes(after=cursor))
            with pytest.raises(NotFoundError, match="not known"):
                list(space.watch(cursor, timeout=0))
        again = space.memories.store("alpha again")
        assert again.revision == head.sequence + 2 and store.spaces() == ["default", "p"]
        assert [change.revision for change in space.changes()] == [again.revision]
        assert [hit.record.id for hit in space.memories.search("alpha")] == [again.id]
        assert space.transact(lambda tx: 2, key="job") == 2 and store.verify() == []
        with pytest.raises(InvalidInputError):
            store.drop_space("no/name")
        store.close()

    def test_a_transaction_over_a_drop_is_overtaken(self, store: Store) -> None:
        store.kv.put("a", 1)
        with pytest.raises(ConflictError), store.transaction() as tx:
            tx.kv.get("a")
            store.drop_space("default")
            tx.kv.put("b", 1)
        assert store.kv.count() == 0
        store.kv.put("a", 1)
        with pytest.raises(ConflictError), store.transaction() as tx:
            tx.kv.get("a")
            store.kv.delete("a")
            store.compact(keep_changes=0)
            tx.kv.put("b", 1)
        with store.transaction() as tx:
            assert tx.kv.get("c") is None
            store.drop_space("default")
            tx.kv.put("b", 1)
        assert store.kv.count() == 1

    def test_a_drop_among_writers_is_whole(self, store: Store) -> None:
        def work(number: int) -> None:
            for _ in range(20):
                store.kv.put_many({f"{number}/a": 1, f"{number}/b": 1})
                store.drop_space("default")
                count = store.kv.count()
                assert count % 2 == 0, count

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert store.kv.count() % 2 == 0 and store.verify() == []

    def test_compacting_trims_what_everybody_has_seen(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        for number in range(50):
            store.kv.put(f"k{number}", "x" * 2000)
        memory = store.memories.store("alpha")
        store.memories.search("alpha")  # the index has seen all up to here
        store.memories.purge(memory.id)
        for number in range(49):
            store.kv.delete(f"k{number}")
        store.kv.put("k0", 1)
        head = view(store).head()
        done = store.compact()
        assert done.trimmed == 0 and view(store).head() == head and (done.bytes_before is None) == (not self.persistent)
        assert self.persistent or done.notes
        store.compact(keep_changes=0)
        assert view(store).head() == head  # the text index is behind
        assert store.memories.search("alpha") == []
        watcher = Watcher(store.space("default")._scope, head.sequence - 20, None, None)
        watcher.published.add(watcher.fetch, watcher)
        assert store.compact(keep_changes=0).trimmed == 30 and view(store).head().floor == head.sequence - 20
        watcher.published.remove(watcher.fetch)
        with pytest.raises(NotFoundError):
            list(store.changes(after=head.sequence - 21))
        assert len(list(store.changes(after=head.sequence - 20))) == 20
        done = store.compact(keep_changes=0)
        assert done.trimmed == 19 and view(store).head().floor == head.sequence - 1
        if done.bytes_before is not None:
            assert done.bytes_after is not None and done.bytes_after <= done.bytes_before < 400_000 and not done.notes
        assert [change.key for change in store.changes()] == ["k49", "k0"] and store.verify() == []
        assert store.compact(keep_changes=0).trimmed == 0 and store.spaces() == ["default"]
        with pytest.raises(InvalidInputError):
            store.compact(keep_changes=-1)
        if self.persistent:
            store.close()
            store = self.open(tmp_path)
            assert view(store).head().floor == head.sequence - 1
        store.close()

    def test_each_commit_gets_the_durability_that_it_asks_for(self, tmp_path: Path) -> None:
        with self.open(tmp_path, durability="buffered") as store:
            offered = store._backend.capabilities.durabilities
            for asked in ("strict", "buffered", "ephemeral"):
                with store.transaction(durability=asked) as tx:
                    tx.kv.put(asked, 1)
                assert tx.receipt.durability == (asked if asked in offered else offered[-1])
            store.flush()
        if self.persistent:
            with self.open(tmp_path) as store:
                assert store.kv.count() == 3
