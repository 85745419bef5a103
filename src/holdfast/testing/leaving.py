"""What leaves a store for good, on any backend: retention and forgetting."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from holdfast.core import DropJournal, Scrub
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.journal import replay
from holdfast.model import LostRow
from holdfast.retention import RECORDS_PER_COMMIT
from holdfast.store import Store
from holdfast.testing.contract import Conformance, commit, put, view
from holdfast.testing.toys import RAW


def _content_of(id: UUID) -> Callable[[Any], str]:
    def content(tx: Any) -> str:
        found: str = tx.memories.get(id).content
        return found

    return content


class LeavingContract(Conformance):
    """Retention: what goes, what stays, and why. Forgetting: that nothing is left."""

    def test_retention_lets_go_what_no_rule_keeps(self, store: Store) -> None:
        space = store.space("default")
        memories = [space.memories.store(f"m{number}", namespace="n" if number % 2 else None) for number in range(6)]
        for memory in memories[4:]:
            space.memories.delete(memory.id)
        ids = [str(memory.id) for memory in memories]
        head = view(store).head()
        told = space.retain("memory", keep_last=3, dry_run=True)
        assert [one.key for one in told.chosen] == ids[:1] and told.removed == 0 and told.kind == "memory"
        assert told.chosen[0].why == "not of the newest 3" and told.chosen[0].updated_at == memories[0].updated_at
        assert space.retain("memory", keep_days=1).chosen == () and view(store).head() == head
        assert space.retain("memory", older_than=timedelta(days=1), keep_last=0).chosen == ()
        told = space.retain("memory", older_than=0, keep_last=1, where={"namespace": "n"}, dry_run=True)
        assert [one.key for one in told.chosen] == ids[1:2] and "last written before 2" in told.chosen[0].why
        assert view(store).head() == head
        assert space.retain("memory", keep_last=3).removed == 1 and space.memories.get(memories[0].id) is None
        assert space.retain("memory", keep_last=1, where={"deleted": True}).removed == 1
        assert [change.key for change in space.changes(head.sequence) if change.deleted] == [ids[0], ids[4]]
        assert view(store).count(8) == 4 and store.verify() == []
        space.kv.put_many({f"k{number}": number for number in range(RECORDS_PER_COMMIT + 3)})
        assert space.retain("kv", keep_last=2).removed == RECORDS_PER_COMMIT + 1 and space.kv.count() == 2
        cases: list[tuple[dict[str, Any], str]] = [
            ({"kind": "nope", "keep_last": 1}, "kind"),
            ({}, "older_than"),
            ({"older_than": -1}, "older_than"),
            ({"keep_days": -1}, "keep_days"),
            ({"keep_days": 1, "older_than": 1}, "keep_days"),
            ({"keep_last": -1}, "keep_last"),
            ({"keep_last": 1, "where": ["x"]}, "where"),
            ({"keep_last": 1, "where": {"nope": 1}}, "where"),
            ({"keep_last": 1, "journals": True}, "journals"),
        ]
        for options, field in cases:
            with pytest.raises(InvalidInputError) as caught:
                space.retain(**{"kind": "memory", **options})
            assert caught.value.field == field

    def test_events_go_from_the_beginning_of_their_stream_on(self, store: Store) -> None:
        space = store.space("default")
        space.events.append_many("a", [{"data": number} for number in range(5)])
        space.events.append("b", "x", type="t")
        assert [one.key for one in space.retain("event", keep_last=2, dry_run=True).chosen] == ["a/0", "a/1", "a/2"]
        assert space.retain("event", keep_last=2).removed == 3
        stream = space.events.stream("a")
        assert (stream.length, stream.first) == (5, 3) and space.events.verify("a").ok
        assert [event.sequence for event in space.events.read("a")] == [3, 4] and space.events.count() == 3
        assert space.events.append("a", 5).sequence == 5 and space.events.verify("a").ok
        with pytest.raises(InvalidInputError, match="oldest first"):
            space.retain("event", keep_last=0, where={"type": "x"}, dry_run=True)
        assert space.retain("event", older_than=0).removed == 4
        assert space.events.count() == 0 and space.events.verify("b").ok and store.verify() == []

    def test_runs_go_when_they_have_ended_and_their_journals_with_them(self, store: Store) -> None:
        space = store.space("default")
        runs = []
        for number in range(3):
            with space.run(f"r{number}") as run:
                run.kv.put("a", number)
            runs.append(run)
        active = space.run("active")
        active.kv.put("a", 9)
        assert view(store).journaled_runs() == sorted(run.id.bytes for run in (*runs, active))
        with pytest.raises(ConflictError, match="is active"):
            space.runs.drop_journal(active.id)
        with pytest.raises(NotFoundError):
            space.runs.drop_journal(UUID(int=1))
        assert space.retain("run", keep_last=2, journals=True).removed == 1
        assert space.retain("run", keep_last=2, journals=True).chosen == ()
        assert space.replay(runs[0].id).keys() == [] and space.runs.exists(runs[0].id)
        space.runs.drop_journal(runs[1].id)
        assert view(store).journaled_runs() == sorted([runs[2].id.bytes, active.id.bytes])
        assert space.retain("run", older_than=0).removed == 3 and space.runs.count() == 1
        assert view(store).journaled_runs() == [active.id.bytes] and store.verify() == []
        active.kv.put("a", 10)
        assert space.replay(active.id).kv.get("a") == 10

    def test_what_is_forgotten_is_nowhere(self, tmp_path: Path) -> None:
        store = self.open(tmp_path)
        space = store.space("p")
        secret = "qzvkwj"  # a word that is neither stemmed nor begins as another, so that it is found in an index
        with space.run("writer") as run:
            run.kv.put("token", secret)
            run.kv.put("open", "public")
            memory = run.memories.store(secret, embeddings={"m": [1.0, 2.0]}, metadata={"note": secret})
            run.memories.store("harmless")
        with space.run("reader") as reader:
            reader.kv.put("token", secret + "2")  # its base holds what the other run wrote
            reader.kv.put("open", "still public")
            reader.memories.update(memory.id, content=secret + "3")
        space.transact(lambda tx: tx.kv.get("token"), key="reads")
        space.transact(_content_of(memory.id), key="reads memory")
        space.transact(lambda tx: tx.kv.put("open", 1).key, key="other")
        space.transact(lambda tx: [one.value for one in tx.kv.scan("tok")], key="scans")
        assert len(space.memories.search(secret + "3")) == 1
        space.memories.delete(memory.id)
        head = view(store, "p").head()
        would = space.forget("memory", [memory.id], dry_run=True)
        assert would.keys == (("memory", str(memory.id)),) and would.dry_run and would.left == ()
        assert (would.records, would.journal_rows, would.results) == (1, 2, 1) and view(store, "p").head() == head
        done = space.forget("memory", [str(memory.id)])
        assert (done.records, done.journal_rows, done.results, done.left) == (1, 2, 1, ())
        done = space.forget("kv", ["token"])
        assert done.keys == (("kv", "token"),) and (done.records, done.journal_rows, done.results) == (1, 2, 2)
        assert done.left == () and space.forget("kv", ["token"]).records == 0
        assert space.kv.get("token") is None and space.memories.get(memory.id, deleted=True) is None
        assert space.memories.search(secret) == space.memories.search(secret + "3") == []
        assert {change.key for change in space.changes(head.sequence) if change.deleted} == {"token", str(memory.id)}
        for one, value in ((run, "public"), (reader, "still public")):
            replayed = space.replay(one.id)
            assert replayed.kv.get("open") == value and not replayed.kv.exists("token")
            assert len(replayed.unknown) == 2 and "forgotten" in replayed.unknown[0]
        assert view(store, "p").count(0) == 1 and store.verify() == []
        assert space.transact(lambda tx: "new", key="reads") == "new"
        store.compact(keep_changes=0)
        store.close()
        for file in tmp_path.rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
        if self.persistent:
            with self.open(tmp_path) as store:
                assert store.verify() == [] and store.space("p").forget("kv", ["token"]).journal_rows == 0

    def test_a_session_is_forgotten_whole(self, store: Store) -> None:
        space = store.space("default")
        kept = space.memories.store("other", session_id="s2")
        with space.run("r") as run:
            live, deleted, purged, moved = (run.memories.store(f"m{n}", session_id="s1") for n in range(4))
            run.memories.delete(deleted.id)
            run.memories.purge(purged.id)
            run.memories.update(moved.id, session_id="s2")
        gone = space.memories.store("expired", session_id="s1", ttl=timedelta(microseconds=1))
        done = space.forget(session_id="s1")
        assert {key for _, key in done.keys} == {str(one.id) for one in (live, deleted, purged, moved, gone)}
        assert (done.records, done.journal_rows, done.left) == (4, 7, ())
        assert [one.id for one in space.memories.list()] == [kept.id] and view(store).count(8) == 1
        assert space.replay(run.id).keys() == [] and len(space.replay(run.id).unknown) == 7
        assert space.forget(session_id="s1").keys == ()

    def test_a_run_is_forgotten_with_what_it_was_the_last_to_write(self, store: Store) -> None:
        space = store.space("default")
        space.kv.put("before", 1)
        with space.run("a") as first:
            first.kv.put("mine", "secret")
            first.kv.put("shared", "secret")
            first.events.append("own", "secret")
            first.transact(lambda tx: tx.kv.put("n", 1).value, key="job")
            with pytest.raises(ConflictError, match="has not ended"):
                space.forget(run=first)
        with space.run("b") as second:
            second.kv.put("shared", "public")
            second.kv.put("shared", "more public")
            second.kv.put("b", 1)
        done = space.forget(run=first.id)
        assert done.left == () and (done.results, done.journal_rows) == (1, 5)
        assert ("kv", "mine") in done.keys and ("kv", "shared") not in done.keys and ("event", "own/0") in done.keys
        assert space.kv.get("mine") is None and space.kv.get("shared") == "more public" and space.kv.get("before") == 1
        assert not space.runs.exists(first.id) and space.events.length("own") == 0 and space.events.streams() == []
        replayed = space.replay(second.id)
        assert [key for _, key, _ in replayed.values()] == ["b"] and len(replayed.unknown) == 2
        with pytest.raises(NotFoundError):
            space.forget(run=first.id)
        space.events.append("shared", "x")
        with space.run("c") as third:
            third.events.append("shared", "y")
        head = view(store).head()
        with pytest.raises(ConflictError, match="forgotten whole"):
            space.forget(run=third.id)
        with pytest.raises(ConflictError, match="forgotten whole"):
            space.forget("event", [("shared", 1)])
        assert view(store).head() == head
        assert space.forget("event", [("shared", 1), "shared"]).records == 3 and space.forget(run=third).left == ()
        assert space.events.append("shared", "again").sequence == 0 and store.verify() == []

    def test_what_cannot_be_forgotten_is_refused(self, store: Store) -> None:
        space = store.space("default")
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, "kind"),
            ({"kind": "kv", "session_id": "s"}, "kind"),
            ({"kind": "nope", "keys": ["a"]}, "kind"),
            ({"kind": "kv"}, "keys"),
            ({"kind": "kv", "keys": "a"}, "keys"),
            ({"kind": "kv", "keys": [object()]}, "keys"),
            ({"kind": "memory", "keys": ["a"]}, "keys"),
            ({"session_id": ""}, "session_id"),
            ({"run": 1}, "run"),
        ]
        for options, field in cases:
            with pytest.raises(InvalidInputError) as caught:
                space.forget(**options)
            assert caught.value.field == field

    def test_what_is_folded_upon_something_forgotten_is_named(self, store: Store) -> None:
        run = b"r" * 16
        commit(store, put(store, b"a", 1), put(store, b"b", 1), run=run)
        commit(store, put(store, b"a", 2), put(store, b"b", 2), run=run)
        row = view(store).journal(run, (0, 0), 9)[2]
        commit(store, Scrub(run, (LostRow(row.revision, row.ordinal, ((RAW, b"a"),)),)))
        commit(store, put(store, b"a", 3), put(store, b"b", 3), run=run)
        with store._backend.snapshot("default") as seen:
            found = replay(seen, store._registry, store._backend.committer.codec, run)
        assert set(found.written) == {(RAW, b"b")} and len(found.unknown) == 2 and "folded upon" in found.unknown[1]
        assert (found.commits, found.entries) == (3, 6)
        commit(store, DropJournal(run), DropJournal(b"unknown" + b"x" * 9))
        assert view(store).journal(run, (0, 0), 9) == [] and store.verify() == []
