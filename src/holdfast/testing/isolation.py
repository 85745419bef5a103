"""Isolation: what transactions see of each other. Deterministic: the other commits happen inside the block."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.errors import ConflictError
from holdfast.store import Store, Transaction
from holdfast.testing.contract import FIRST, LAST, Conformance, commit, every_page, put, view
from holdfast.testing.toys import RAW, RawDelete


class IsolationContract(Conformance):
    """Serialisable: a transaction that was overtaken is a ConflictError, and sees one state until then."""

    def test_deleted_and_created_again_is_a_conflict(self, store: Store) -> None:
        store.kv.put("k", "first")
        expected = store.kv.record("k")
        with pytest.raises(ConflictError), store.transaction() as tx:
            assert tx.kv.record("k").version == 1
            store.kv.delete("k")
            assert store.kv.put("k", "first").version == 1
            tx.kv.put("other", 1)
        assert store.kv.get("other") is None
        with pytest.raises(ConflictError):
            store.kv.put("k", 2, expected=expected)

    def test_parts_of_one_record_conflict_only_where_they_overlap(self, store: Store) -> None:
        store.json.create("d", {"a": {"n": 0}, "b": 0})
        with store.transaction() as tx:
            was = tx.json.get("d", "/a/n")
            store.json.set("d", "/b", 1)
            assert tx.json.get("d", "/b") == 1
            tx.json.set("d", "/a/n", was + 1)
        assert store.json.get("d") == {"a": {"n": 1}, "b": 1}
        with pytest.raises(ConflictError), store.transaction() as tx:
            tx.json.set("d", "/b", tx.json.get("d", "/a")["n"])
            store.json.set("d", "/a/n", 5)
        assert store.json.get("d") == {"a": {"n": 5}, "b": 1}

    def test_absent_created_and_deleted_again_is_no_conflict(self, store: Store) -> None:
        with store.transaction() as tx:
            assert tx.kv.get("k") is None
            store.kv.put("k", 1)
            store.kv.delete("k")
            tx.kv.put("other", 1)
        assert store.kv.get("other") == 1

    def test_both_or_neither_of_two_writes(self, store: Store) -> None:
        store.kv.put_many({"a": 0, "b": 0})
        with pytest.raises(ConflictError), store.transaction() as tx:
            assert tx.kv.get("a") == 0
            store.kv.put_many({"a": 1, "b": 1})
            tx.kv.get("b")
            raise AssertionError("two states were seen")
        with store.transaction() as tx:
            store.kv.put_many({"a": 2, "b": 2})
            assert tx.kv.get("a") == 2
            assert tx.kv.get("b") == 2

    def test_a_read_moves_on_where_nothing_read_has_changed(self, store: Store) -> None:
        store.kv.put_many({"a": 0, "b": 0})
        with store.transaction() as tx:
            assert tx.kv.get("a") == 0
            store.kv.put("b", 1)
            assert tx.kv.get("b") == 1
            for n in range(300):
                store.kv.put(f"unrelated {n}", n)
            assert tx.kv.get("c") is None
            tx.kv.put("a", 1)
        assert store.kv.get("a") == 1

    def test_a_change_among_many_others_is_found(self, store: Store) -> None:
        store.kv.put("a", 0)
        with pytest.raises(ConflictError) as caught, store.transaction() as tx:
            tx.kv.get("a")
            store.kv.put("a", 1)
            store.kv.put_many({f"k{n}": n for n in range(300)})
            tx.kv.put("b", 1)
        assert caught.value.keys[0][0] == "kv"

    @pytest.mark.parametrize("change", ["insert", "update", "delete", "last"])
    def test_phantoms_in_scans(self, store: Store, change: str) -> None:
        store.kv.put_many({"p1": 1, "p2": 2, "p3": 3, "q": 4})
        with pytest.raises(ConflictError), store.transaction() as tx:
            assert [item.key for item in tx.kv.scan("p")] == ["p1", "p2", "p3"]
            match change:
                case "insert":
                    store.kv.put("p11", 1)
                case "update":
                    store.kv.put("p2", 5)
                case "delete":
                    store.kv.delete("p3")
                case "last":
                    store.kv.put("p9", 1)
            tx.kv.put("result", 3)
        assert store.kv.get("result") is None

    def test_what_is_outside_of_a_scan_is_no_phantom(self, store: Store) -> None:
        store.kv.put_many({"p1": 1, "p2": 2})
        with store.transaction() as tx:
            assert len(tx.kv.scan("p")) == 2
            store.kv.put_many({"a": 1, "q": 2})
            tx.kv.put("result", 2)
        assert store.kv.get("result") == 2

    def test_phantoms_by_index(self, store: Store) -> None:
        store.memories.store("one", session_id="s")
        with pytest.raises(ConflictError), store.transaction() as tx:
            assert len(tx.memories.get_by_session("s")) == 1
            store.memories.store("two", session_id="s")
            tx.kv.put("result", 1)

    @pytest.mark.parametrize("many", [1, 300])
    def test_phantoms_in_counts(self, store: Store, many: int) -> None:
        store.kv.put("a", 1)
        with pytest.raises(ConflictError), store.transaction() as tx:
            assert tx.kv.count() == 1
            for n in range(many):
                store.kv.put(f"b{n}", 1)
            tx.memories.store("the count was 1")
        with store.transaction() as tx:
            count = tx.kv.count()
            store.kv.put("a", 2)
            tx.kv.put("count", count)
        assert store.kv.get("count") == many + 1

    def test_write_skew_is_a_conflict(self, store: Store) -> None:
        store.kv.put_many({"alice": "on call", "bob": "on call"})

        def leave(tx: Transaction, who: str, other: str) -> None:
            assert tx.kv.get(other) == "on call"
            tx.kv.put(who, "off")

        with pytest.raises(ConflictError), store.transaction() as first:
            leave(first, "alice", "bob")
            with store.transaction() as second:
                leave(second, "bob", "alice")
        assert store.kv.get_many(["alice", "bob"]) == ["on call", "off"]

    def test_blind_writes_never_conflict(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.kv.put("k", "tx")
            tx.events.append("s", 1)
            tx.memories.store("m")
            for n in range(5):
                store.kv.put("k", n)
                store.events.append("s", n)
            tx.kv.put("k", "tx again")
        assert store.kv.get("k") == "tx again" and store.kv.record("k").version == 7
        assert store.events.length("s") == 6

    def test_a_transaction_that_only_reads_sees_one_state(self, store: Store) -> None:
        store.kv.put_many({"a": 0, "b": 0})
        with store.transaction() as tx:
            values = tx.kv.get_many(["a", "b"])
            store.kv.put_many({"a": 1, "b": 1})
        assert values == [0, 0] and tx.receipt is None

    def test_transact_runs_again_when_it_is_overtaken(self, store: Store) -> None:
        store.kv.put("n", 0)
        tries: list[int] = []

        def add(tx: Transaction) -> int:
            tries.append(tx.kv.get("n"))
            if len(tries) <= 3:
                store.kv.put("n", len(tries) * 10)
            tx.kv.put("n", tries[-1] + 1)
            return tries[-1]

        assert store.transact(add) == 30
        assert tries == [0, 10, 20, 30] and store.kv.get("n") == 31

    def test_transact_gives_up(self, store: Store) -> None:
        tries: list[int] = []

        def always_late(tx: Transaction) -> None:
            tries.append(tx.kv.get("n", 0))
            store.kv.put("n", len(tries))
            tx.kv.put("n", -1)

        with pytest.raises(ConflictError, match="another commit") as caught:
            store.transact(always_late)
        assert len(tries) == 64 and any("64 times" in note for note in caught.value.__notes__)

    def test_a_block_that_raises_has_written_nothing(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError), store.transaction() as tx:
            tx.kv.put("k", 1)
            raise ZeroDivisionError
        assert store.kv.get("k") is None

    def test_read_your_writes(self, store: Store) -> None:
        store.kv.put_many({"a": 1, "b": 2, "c": 3})
        store.events.append("s", 0)
        with store.transaction() as tx:
            tx.kv.put("b", 20)
            tx.kv.put("bb", 25)
            assert tx.kv.delete("c") and not tx.kv.delete("nothing")
            assert tx.kv.get_many(["a", "b", "bb", "c"]) == [1, 20, 25, None]
            assert [(item.key, item.value) for item in tx.kv.scan()] == [("a", 1), ("b", 20), ("bb", 25)]
            assert [item.key for item in tx.kv.scan(reverse=True)] == ["bb", "b", "a"]
            assert tx.kv.count() == 3 and store.kv.count() == 3
            tx.kv.put("c", 30)
            assert tx.kv.count() == 4 and store.kv.get("b") == 2
            memory = tx.memories.store("m", session_id="x", tags=["t"])
            assert [one.id for one in tx.memories.get_by_session("x")] == [memory.id]
            assert tx.memories.count(session_id="x") == 1
            tx.memories.update(memory.id, session_id="y", content="n")
            assert tx.memories.count(session_id="x") == 0 and tx.memories.get(memory.id).content == "n"
            tx.events.append("s", 1)
            pending = tx.events.append("s", 2)
            assert [event.data for event in tx.events.read("s")] == [0, 1, 2]
            assert tx.events.length("s") == 3 and store.events.length("s") == 1
        assert pending.result().sequence == 2
        assert store.kv.get_many(["a", "b", "bb", "c"]) == [1, 20, 25, 30]
        assert [event.data for event in store.events.read("s")] == [0, 1, 2]
        assert store.events.verify("s").ok and store.verify() == []

    @pytest.mark.parametrize("limit", [1, 2, 3, 10])
    @pytest.mark.parametrize("reverse", [False, True])
    def test_pages_of_own_writes(self, store: Store, limit: int, reverse: bool) -> None:
        store.kv.put_many({f"k{n}": n for n in range(8)})
        with store.transaction() as tx:
            for n in (1, 2, 5):
                tx.kv.delete(f"k{n}")
            for n in (0, 3, 8):
                tx.kv.put(f"k{n}", "own")
            tx.kv.put("k35", "own")
            found: list[str] = []
            after = None
            while True:
                page = tx.kv.scan("k", limit=limit, after=after, reverse=reverse)
                found += [item.key for item in page]
                after = page.cursor
                if after is None:
                    break
            expected = ["k0", "k3", "k35", "k4", "k6", "k7", "k8"]
            assert found == (expected[::-1] if reverse else expected)

    @pytest.mark.parametrize("limit", [1, 2, 3, 50])
    @pytest.mark.parametrize("reverse", [False, True])
    @pytest.mark.parametrize("index", [None, 1])
    def test_pages_of_own_writes_are_what_is_committed(
        self, store: Store, index: int | None, reverse: bool, limit: int
    ) -> None:
        commit(store, *(put(store, b"k%d" % n, n, (1, b"a"), (1, b"b")) for n in range(6)))
        with store.transaction() as tx:
            scope = tx._scope

            def scan(*arguments: Any, **options: Any) -> Any:
                return scope.raw_scan(*arguments, **options)

            own = [put(store, b"k1", "own", (1, b"b")), put(store, b"k25", "own", (1, b"0"), (1, b"a"), (1, b"c"))]
            scope.write([RawDelete(b"k2"), *own, RawDelete(b"k5"), put(store, b"k5", "own", (1, b"b"))], len)
            pages = every_page(SimpleNamespace(scan=scan), index, limit, reverse=reverse)
            count = scope.raw_count(RAW, index, FIRST, LAST)
        assert pages == every_page(view(store), index, 50, reverse=reverse)
        assert count == len(pages) == view(store).count(RAW, index, FIRST, LAST)

    def test_a_replay_has_the_embeddings_that_the_run_left(self, store: Store) -> None:
        old = store.memories.store("old", embeddings={"e": [9.0]})
        with store.run("r") as run:
            kept = run.memories.store("kept", embeddings={"e": [1.0]})
            run.memories.update(kept.id, content="changed")
            with run.transaction() as tx:
                tx.memories.purge(old.id)
                tx.memories.store("new", id=old.id)
        for seen in (store, store.replay(run.id)):
            memory = seen.memories.get(kept.id, embeddings=True)
            assert memory.content == "changed" and list(memory.embeddings["e"]) == [1.0]
            assert not seen.memories.get(old.id, embeddings=True).embeddings

    def test_embeddings_in_a_transaction(self, store: Store) -> None:
        kept = store.memories.store("kept", embeddings={"e": [1.0, 2.0]})
        with store.transaction() as tx:
            tx.memories.update(kept.id, content="changed")
            assert list(tx.memories.get(kept.id, embeddings=True).embeddings["e"]) == [1.0, 2.0]
            new = tx.memories.store("new", embeddings={"e": [3.0]})
            tx.memories.update(new.id, content="newer")
            assert list(tx.memories.get(new.id, embeddings=True).embeddings["e"]) == [3.0]
        assert list(store.memories.get(kept.id, embeddings=True).embeddings["e"]) == [1.0, 2.0]
        assert list(store.memories.get(new.id, embeddings=True).embeddings["e"]) == [3.0]
