"""Forgetting says what it could not forget; what other tests cannot bring about is brought about here."""

from __future__ import annotations

import apsw
import pytest

import holdfast
from holdfast import forgetting
from holdfast.codec import BODY_BYTES_MAX


@pytest.fixture
def full(space):
    with space.run("r") as run, run.transaction() as tx:
        memory = tx.memories.store("alpha")
        tx.memories.store("other")
    with space.run("s") as other:
        other.memories.update(memory.id, content="alpha 2")
    space.transact(lambda tx: tx.memories.exists(memory.id), key="job")
    assert space.memories.search("alpha")
    return memory, run, other


def test_what_is_left_is_told(space, full, monkeypatch):
    memory, run, other = full
    monkeypatch.setattr(forgetting, "_commit", lambda *_: True)
    left = space.forget("memory", [memory.id]).left
    assert left == (
        f"record memory {memory.id}",
        f"1 journal rows of run {run.id.hex}",
        f"1 journal rows of run {other.id.hex}",
        "1 kept results",
        f"text of memory {memory.id}",
    )
    assert "2 rows of its own journal" in space.forget(run=run.id).left


def test_an_entry_that_is_unknown_here_is_told(tmp_path):
    path = tmp_path / "store.db"
    with holdfast.open(path) as store:
        with store.run("r") as run:
            run.kv.put("a", 1)
            run.memories.store("m", session_id="s")
        connection = apsw.Connection(str(path))
        connection.execute("UPDATE journal SET type = 255 WHERE type = 16")
        connection.close()
        for done in (store.forget("kv", ["a"]), store.forget(session_id="s")):
            assert done.left == ("a journal entry of type 0xFF is unknown here and was not looked into",)
        assert store.forget(run=run.id).left == ()


def test_pages_of_everything(space):
    count = forgetting._PAGE + 3
    space.kv.put_many({f"k{number}": "x" for number in range(count)})
    with space.run("r") as run:
        run.kv.put_many({f"k{number}": "y" for number in range(count)})
    done = space.forget("kv", [f"k{number}" for number in range(count)])
    assert (done.records, done.journal_rows, len(done.keys), done.left) == (count, count, count, ())
    with space.run("s") as run:
        run.kv.put_many({f"k{number}": "y" for number in range(count)})
    done = space.forget(run=run.id)
    assert (done.records, done.journal_rows, done.left) == (count + 1, count, ()) and space.kv.count() == 0
    space.events.append_many("s", [{"data": number} for number in range(count)])
    assert space.forget("event", ["s"]).records == count + 1 and space.events.count() == 0


def test_a_run_is_not_forgotten_by_half(space, full):
    with pytest.raises(holdfast.InvalidInputError, match="run="):
        space.forget("run", [full[1].id])


def test_a_result_that_is_too_large_is_refused(space):
    with pytest.raises(holdfast.InvalidInputError, match="result"):
        space.transact(lambda tx: "x" * BODY_BYTES_MAX, key="job")
