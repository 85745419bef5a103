"""What leaves a store for good, on any backend: retention."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.retention import RECORDS_PER_COMMIT
from holdfast.store import Store
from holdfast.testing.contract import Conformance, view


class LeavingContract(Conformance):
    """Retention: what goes, what stays, and why."""

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
