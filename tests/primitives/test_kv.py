"""kv: versions, conditions, expiry, prefix scans."""

from __future__ import annotations

from datetime import timedelta

import pytest

import holdfast


def test_versions_rise_and_times_stay(space):
    first = space.kv.put("a", 1, metadata={"m": 1})
    second = space.kv.put("a", [2])
    assert (first.version, second.version) == (1, 2)
    assert first.revision < second.revision
    assert first.created_at == second.created_at and second.updated_at > first.updated_at
    assert space.kv.record("a") == second and first.metadata == {"m": 1} and second.metadata == {}
    assert space.kv.get("a") == [2] and space.kv.exists("a") and space.kv.count() == 1
    assert space.kv.get("b") is None and space.kv.get("b", 7) == 7 and space.kv.record("b") is None
    assert not space.kv.exists("b")


def test_delete_tells_and_a_key_begins_again_at_version_one(space):
    space.kv.put("a", 1)
    space.kv.put("a", 2)
    assert space.kv.delete("a") and not space.kv.delete("a") and space.kv.count() == 0
    assert space.kv.put("a", 3).version == 1


def test_only_one_of_two_with_the_same_expectation_wins(space):
    read = space.kv.create("a", 1)
    with pytest.raises(holdfast.ConflictError):
        space.kv.create("a", 2)
    space.kv.put("a", 2, expected_version=1)
    for condition in ({"expected_version": 1}, {"expected": read}):
        with pytest.raises(holdfast.ConflictError):
            space.kv.put("a", 3, **condition)
        with pytest.raises(holdfast.ConflictError):
            space.kv.update("a", 3, **condition)
        with pytest.raises(holdfast.ConflictError):
            space.kv.delete("a", **condition)
    assert space.kv.get("a") == 2
    assert space.kv.update("a", 4, expected=space.kv.record("a")).version == 3
    assert space.kv.delete("a", expected_version=3)
    again = space.kv.create("a", 5)
    assert again.version == read.version == 1
    with pytest.raises(holdfast.ConflictError):
        space.kv.put("a", 6, expected=read)
    with pytest.raises(holdfast.ConflictError):
        space.kv.put("gone", 6, expected=read)


def test_update_needs_the_key(space):
    with pytest.raises(holdfast.NotFoundError, match="'a'"):
        space.kv.update("a", 1)
    assert space.kv.count() == 0


def test_many_at_once_are_one_commit(space):
    written = space.kv.put_many({"b": 1, "a": 2})
    assert [one.key for one in written] == ["b", "a"] and len({one.revision for one in written}) == 1
    assert space.kv.get_many(["a", "x", "b"], default=0) == [2, 0, 1]
    assert space.kv.delete_many(["a", "x", "b"]) == 2 and space.kv.count() == 0
    assert space.kv.put_many({}) == [] and space.kv.delete_many([]) == 0 and space.kv.get_many([]) == []


def test_an_expired_value_is_gone_and_frees_its_key(space, later):
    space.kv.put("a", 1, ttl=10)
    space.kv.put("b", 1, ttl=timedelta(seconds=30))
    space.kv.put("c", 1)
    assert space.kv.count() == 3
    later(11)
    assert space.kv.get("a") is None and not space.kv.exists("a") and space.kv.count() == 2
    assert list(space.kv.keys()) == ["b", "c"] and [one.key for one in space.kv.scan()] == ["b", "c"]
    assert not space.kv.delete("a")
    with pytest.raises(holdfast.NotFoundError):
        space.kv.update("a", 2)
    assert space.kv.create("a", 2).version == 1
    assert space.kv.record("a").expires_at is None and space.kv.record("b").expires_at is not None
    with space.transaction() as tx:
        assert tx.kv.get("b") == 1 and tx.kv.count() == 3
        later(20)
        assert tx.kv.get("b") is None
        assert tx.kv.count() == 2


def test_scans_go_by_prefix_page_and_direction(space):
    names = ["a", "a/1", "a/2", "a\0", "b", "ä", "\U0001f600"]
    space.kv.put_many(dict.fromkeys(names, 0))
    assert list(space.kv.keys()) == sorted(names)
    assert list(space.kv.keys("a/")) == ["a/1", "a/2"] and list(space.kv.keys("zz")) == []
    assert [one.key for one in space.kv.scan("a", reverse=True)] == ["a/2", "a/1", "a\0", "a"]
    for reverse in (False, True):
        found, cursor = [], None
        while True:
            page = space.kv.scan(limit=2, after=cursor, reverse=reverse)
            assert len(page) <= 2
            found += [one.key for one in page]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == sorted(names, reverse=reverse)
    page = space.kv.keys(limit=6)
    assert list(space.kv.keys(after=page.cursor)) == ["\U0001f600"]


def test_values_keep_their_types(space):
    value = {"i": 2**60, "f": 1.0, "n": None, "t": True, "b": b"\0\xff", "l": [1, "\0", {}], "s": "ü"}
    space.kv.put("v", value)
    assert space.kv.get("v") == value and type(space.kv.get("v")["f"]) is float
