"""Values under keys, on both backends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import holdfast
from holdfast import ConflictError, InvalidInputError


def test_put_get_delete(space):
    first = space.kv.put("a", {"n": 1}, metadata={"m": 1})
    assert (first.key, first.value, first.version, first.metadata) == ("a", {"n": 1}, 1, {"m": 1})
    assert space.kv.put("a", None).version == 2
    assert space.kv.get("a", 5) is None
    assert space.kv.get("b", 5) == 5
    assert space.kv.exists("a")
    assert space.kv.record("b") is None
    assert space.kv.delete("a")
    assert not space.kv.delete("a")
    assert space.kv.put("a", 1).version == 1


def test_many_at_once(space):
    stored = space.kv.put_many({"a": 1, "b": 2})
    assert [(one.key, one.value) for one in stored] == [("a", 1), ("b", 2)]
    assert stored[0].revision == stored[1].revision
    assert space.kv.get_many(["b", "x", "a"], default=0) == [2, 0, 1]
    assert space.kv.delete_many(["a", "x"]) == 1
    assert space.kv.delete_many([]) == 0
    assert space.kv.put_many({}) == []
    assert space.kv.count() == 1
    with pytest.raises(InvalidInputError, match="mapping"):
        space.kv.put_many([1])


def test_scans_go_by_code_point(space):
    keys = ["a", "a/1", "a/2", "a\0", "b", "é", "😀", "A"]
    space.kv.put_many(dict.fromkeys(keys, 0))
    assert list(space.kv.keys()) == sorted(keys)
    assert list(space.kv.keys("a/")) == ["a/1", "a/2"]
    assert [one.key for one in space.kv.scan("a", reverse=True)] == sorted(
        (k for k in keys if k[0] == "a"), reverse=True
    )
    page = space.kv.scan(limit=3)
    rest = space.kv.scan(limit=100, after=page.cursor)
    assert [one.key for one in [*page, *rest]] == sorted(keys)
    assert rest.cursor is None
    assert page[0].key == "A"
    assert [one.key for one in page[:2]] == ["A", "a"]
    assert page == page.items
    assert "cursor=" in repr(page)


def test_compare_and_set(space):
    first = space.kv.create("a", 1)
    with pytest.raises(ConflictError, match="must not exist"):
        space.kv.create("a", 2)
    space.kv.delete("a")
    again = space.kv.put("a", 1)
    assert again.version == first.version
    with pytest.raises(ConflictError, match="changed since"):
        space.kv.put("a", 2, expected=first)
    assert space.kv.update("a", 3, expected_version=1, expected=again).value == 3
    with pytest.raises(holdfast.NotFoundError, match="put"):
        space.kv.update("b", 1)
    with pytest.raises(ConflictError):
        space.kv.delete("b", expected_version=1)
    with pytest.raises(ConflictError):
        space.kv.put("b", 1, expected=again)


def test_expiry(space, clock):
    space.kv.put("a", 1, ttl=1)
    space.kv.put("b", 1, expires_at=datetime.fromtimestamp(clock.time / 1e6 + 10, UTC))
    space.kv.put("c", 1, ttl=timedelta(days=1))
    assert space.kv.record("a").expires_at is not None
    clock.time += 2_000_000
    assert space.kv.get("a") is None
    assert list(space.kv.keys()) == ["b", "c"]
    assert space.kv.count() == 2
    assert not space.kv.delete("a")
    assert space.kv.put("a", 2, expected_version=0).version == 1
    assert space.kv.count() == 3


BAD_KEYS = ["", 5, None, "\ud800", "x" * 600, b"x"]


@pytest.mark.parametrize("bad", BAD_KEYS, ids=range(len(BAD_KEYS)))
def test_bad_keys(space, bad):
    for call in (space.kv.get, space.kv.delete, space.kv.exists, lambda key: space.kv.put(key, 1)):
        with pytest.raises(InvalidInputError, match="key"):
            call(bad)
    assert list(space.changes()) == []


def test_bad_values(space):
    for bad in (object(), {1: 2}, (1,), {1}, float("nan"), 2**64, datetime(2020, 1, 1), [["\ud800"]]):
        with pytest.raises(InvalidInputError, match="value"):
            space.kv.put("a", bad)
    with pytest.raises(InvalidInputError, match="value"):
        space.kv.put("a", "x" * 17_000_000)
    with pytest.raises(InvalidInputError, match="batch"):
        space.kv.put_many({str(n): "x" * 15_000_000 for n in range(5)})
    assert space.kv.count() == 0


def test_inside_a_transaction(space):
    space.kv.put_many({"a": 1, "b": 2, "c": 3})
    with space.transaction() as tx:
        tx.kv.put("bb", 9)
        tx.kv.delete("a")
        tx.kv.put("c", 4)
        assert list(tx.kv.keys()) == ["b", "bb", "c"]
        assert [one.value for one in tx.kv.scan(reverse=True)] == [4, 9, 2]
        assert tx.kv.count() == 3
        pages, after = [], None
        while True:
            page = tx.kv.scan(limit=1, after=after)
            pages += [one.key for one in page]
            after = page.cursor
            if after is None:
                break
        assert pages == ["b", "bb", "c"]
        assert tx.kv.put_many({"x": 1})[0].version == 0
        with pytest.raises(ConflictError):
            tx.kv.delete("b", expected_version=7)
        assert tx.receipt is None
    assert tx.receipt.durability in ("buffered", "ephemeral")
    assert list(space.kv.keys()) == ["b", "bb", "c", "x"]
    with pytest.raises(holdfast.ClosedError, match="ended"):
        tx.kv.get("a")
    with pytest.raises(holdfast.ClosedError, match="ended"):
        tx.kv.put("a", 1)
