"""The store: where it is opened, how it ends, what it tells."""

from __future__ import annotations

import apsw
import pytest

import holdfast


def test_where_a_store_is_opened_without_a_url(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STORE", str(tmp_path / "named.db"))
    with holdfast.open() as store:
        store.kv.put("a", 1)
    assert (tmp_path / "named.db").exists()
    monkeypatch.delenv("HOLDFAST_STORE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with holdfast.open() as store:
        store.kv.put("a", 1)
    assert (tmp_path / "home/.holdfast/store.db").exists()


def test_close_is_idempotent_and_final(store):
    space = store.space("p")
    space.kv.put("a", 1)
    store.close()
    store.close()
    for use in (lambda: space.kv.put("a", 2), lambda: space.kv.get("a"), store.status, store.flush):
        with pytest.raises(holdfast.ClosedError):
            use()


def test_status_counts_what_is_there(store):
    assert store.status()["spaces"] == {} and store.spaces() == []
    store.space("p").kv.put("a", 1)
    status = store.status()
    assert status["spaces"]["p"]["records"] == {"kv": 1} and status["spaces"]["p"]["sequence"] == 1
    assert store.verify() == [] and store.spaces() == ["p"] and not status["degraded"]


def test_verify_finds_a_body_that_cannot_be_read(tmp_path):
    path = tmp_path / "store.db"
    with holdfast.open(path) as store:
        store.kv.put("a", 1)
        connection = apsw.Connection(str(path))
        connection.execute("UPDATE records SET body = '{'")
        connection.close()
        assert any("kv" in fault for fault in store.verify())


def test_changes_tell_the_newest_of_each_key(store, space):
    space.kv.put("a", 1)
    space.kv.put("b", 1)
    space.kv.put("a", 2)
    space.kv.delete("b")
    assert [(one.revision, one.key, one.deleted) for one in space.changes()] == [(3, "a", False), (4, "b", True)]
    assert [one.key for one in space.changes(3)] == ["b"]
    for start in range(0, 2400, 600):
        space.kv.put_many({f"k{n:04}": 0 for n in range(start, start + 600)})
    keys = [one.key for one in space.changes(4)]
    assert keys == sorted(keys) and len(keys) == 2400


def test_a_snapshot_stands_still(space):
    space.kv.put("a", 1)
    with space.snapshot() as view:
        space.kv.put("a", 2)
        space.kv.put("b", 2)
        assert view.kv.get("a") == 1 and view.kv.count() == 1
    assert space.kv.get("a") == 2


def test_a_transaction_is_all_or_nothing(space):
    with pytest.raises(ZeroDivisionError), space.transaction() as tx:
        tx.kv.put("a", 1)
        1 / 0
    assert space.kv.count() == 0 and tx.receipt is None
    with pytest.raises(holdfast.ClosedError):
        tx.kv.put("a", 1)
    with space.transaction(durability="ephemeral") as tx:
        tx.kv.put("a", 1)
        tx.events.append("s", 1)
    assert tx.receipt.durability == "ephemeral" and tx.receipt.sequence == 1
    with pytest.raises(holdfast.InvalidInputError, match="durability"), space.transaction(durability="most"):
        pass


def test_transact_tries_again_when_it_is_overtaken(space):
    calls = []

    def increment(tx):
        value = tx.kv.get("n", 0)
        if not calls:
            space.kv.put("n", 10)
        calls.append(value)
        tx.kv.put("n", value + 1)
        return value + 1

    assert space.transact(increment) == 11 == space.kv.get("n") and calls == [0, 10]
    with pytest.raises(holdfast.ConflictError), space.transaction() as tx:
        tx.kv.get("n")
        space.kv.put("n", 0)
        tx.kv.put("n", 1)


def test_read_only(tmp_path):
    path = tmp_path / "store.db"
    with pytest.raises(holdfast.InitError):
        holdfast.open(path, create=False)
    holdfast.open(path).close()
    with holdfast.open(path, read_only=True) as store, pytest.raises(holdfast.ReadOnlyError):
        store.kv.put("a", 1)
    with pytest.raises(holdfast.InitError):
        holdfast.open("memory:", read_only=True)
