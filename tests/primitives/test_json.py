"""Documents, on both backends: whole, by path, patched, queried; journal, replay and diff."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

import holdfast
from holdfast import ConflictError, InvalidInputError, NotFoundError, UnsupportedError

EVERYTHING = {
    "i": 2**63, "f": -0.0, "n": None, "t": True, "b": b"\0\xff", "u": UUID(int=7), "s": "é\0😀", "$": {"$bytes": "x"},
    "d": datetime(2020, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "l": [1, [], {}], "~/": {"": 0},
}  # fmt: skip


def test_create_put_update_delete(space):
    first = space.json.create("a", {"n": 1}, metadata={"m": 1})
    assert (first.key, first.value, first.version, first.metadata) == ("a", {"n": 1}, 1, {"m": 1})
    assert space.json.record("a") == first and space.json.record("b") is None
    with pytest.raises(ConflictError, match="json document 'a' must not exist"):
        space.json.create("a", {})
    second = space.json.put("a", [1])
    assert (second.version, second.metadata, second.created_at) == (2, {}, first.created_at)
    assert space.json.update("a", "text", expected=second).version == 3
    with pytest.raises(NotFoundError, match="'b' does not exist"):
        space.json.update("b", 1)
    assert space.json.exists("a") and not space.json.exists("b")
    assert space.json.delete("a") and not space.json.delete("a")
    assert space.json.create("a", None).version == 1


def test_reading_by_pointer(space):
    space.json.put("a", {"x": [{"y": None}], "": 1})
    assert space.json.get("a") == {"x": [{"y": None}], "": 1}
    assert space.json.get("a", "/x/0") == {"y": None} and space.json.get("a", "/") == 1
    assert space.json.get("a", "/x/0/y", default=5) is None
    assert space.json.get("a", "/x/1", default=5) == 5 and space.json.get("b", default=5) == 5
    assert space.json.get("b", "/x") is None
    assert space.json.exists("a", "/x/0/y") and not space.json.exists("a", "/x/1") and not space.json.exists("b", "/x")
    space.json.put("n", None)
    assert space.json.exists("n") and space.json.get("n", default=5) is None


def test_set_keeps_what_is_around(space):
    made = space.json.create("plan", {"steps": []}, metadata={"m": 1}, ttl=1000)
    done = space.json.set("plan", "/steps/-", "lex")
    assert (done.value, done.version, done.metadata) == ({"steps": ["lex"]}, 2, {"m": 1})
    assert (done.expires_at, done.created_at) == (
        made.expires_at,
        made.created_at,
    ) and done.updated_at > made.updated_at
    space.json.set("plan", "/steps/0", "parse")
    space.json.set("plan", "/owner", {"name": "me"})
    space.json.set("plan", "/steps/1", "run")
    assert space.json.get("plan") == {"steps": ["parse", "run"], "owner": {"name": "me"}}
    assert space.json.set("plan", "", 5).metadata == {"m": 1} and space.json.get("plan") == 5


def test_what_is_not_there_is_said_and_nothing_changed(space):
    made = space.json.create("a", {"l": [1], "s": "text"})
    for call, words in [
        (lambda: space.json.set("b", "/x", 1), "json document 'b' does not exist"),
        (lambda: space.json.set("a", "/x/y", 1), "'a' has nothing at '/x'; above it is an object"),
        (lambda: space.json.set("a", "/l/2", 1), "nothing at '/l/2'"),
        (lambda: space.json.set("a", "/s/0", 1), "nothing at '/s/0'; above it is a value of type str"),
        (lambda: space.json.push("a", "/x", 1), "nothing at '/x'"),
        (lambda: space.json.push("a", "/s", 1), "no array at '/s'"),
        (lambda: space.json.push("a", "", 1), "no array at '', but an object"),
        (lambda: space.json.pop("a", "/s"), "no array at '/s'"),
        (lambda: space.json.pop("b", "/l"), "'b' does not exist"),
        (lambda: space.json.pop("a", "/l", 1), "no item 1 in the array of 1"),
        (lambda: space.json.pop("a", "/l", -2), "no item -2"),
        (lambda: space.json.patch("b", []), "'b' does not exist"),
        (lambda: space.json.patch("a", [{"op": "remove", "path": "/x"}]), "nothing at '/x'"),
        (lambda: space.json.merge_patch("b", {}), "'b' does not exist"),
    ]:
        with pytest.raises(NotFoundError, match=words):
            call()
    with pytest.raises(ConflictError, match="json document 'a': the test of '/l/0' failed"):
        space.json.patch("a", [{"op": "remove", "path": "/s"}, {"op": "test", "path": "/l/0", "value": 2}])
    assert space.json.record("a") == made and space.json.count() == 1


def test_deleting_parts(space):
    made = space.json.create("a", {"l": [1, 2, 3], "o": {"x": None}})
    assert space.json.delete("a", "/l/1") and space.json.delete("a", "/o/x")
    assert space.json.get("a") == {"l": [1, 3], "o": {}}
    before = space.json.record("a")
    for pointer in ("/l/2", "/l/-", "/o/x", "/x/y"):
        assert not space.json.delete("a", pointer)
    assert space.json.record("a") == before and not space.json.delete("b", "/x")
    with pytest.raises(ConflictError):
        space.json.delete("a", "/l", expected=made)
    assert space.json.delete("a", "/l", expected=before) and space.json.delete("a", expected_version=4)
    assert not space.json.exists("a")


def test_push_and_pop(space):
    space.json.create("a", {"l": []})
    assert space.json.push("a", "/l", [1]).value == {"l": [[1]]}
    for n in (2, 3, 4):
        space.json.push("a", "/l", n)
    assert space.json.pop("a", "/l") == 4 and space.json.pop("a", "/l", 0) == [1] and space.json.pop("a", "/l", -2) == 2
    assert space.json.pop("a", "/l", expected_version=8) == 3 and space.json.get("a", "/l") == []
    with pytest.raises(NotFoundError, match="no item -1 in the array of 0"):
        space.json.pop("a", "/l")
    space.json.put("r", [])
    assert space.json.push("r", "", None).value == [None] and space.json.pop("r", "") is None


def test_patches(space):
    space.json.create("a", {"n": 1, "l": [1]})
    done = space.json.patch(
        "a",
        [
            {"op": "test", "path": "/n", "value": 1.0},
            {"op": "add", "path": "/l/0", "value": b"\0"},
            {"op": "copy", "from": "/l", "path": "/m"},
            {"op": "move", "from": "/n", "path": "/k"},
            {"op": "replace", "path": "/k", "value": UUID(int=1)},
            {"op": "remove", "path": "/l/1", "comment": "ignored"},
        ],
    )
    assert done.value == {"l": [b"\0"], "m": [b"\0", 1], "k": UUID(int=1)} and done.version == 2
    done = space.json.merge_patch("a", {"l": None, "m": {"x": 1, "y": None}, "k": datetime(2020, 1, 1, tzinfo=UTC)})
    assert done.value == {"m": {"x": 1}, "k": datetime(2020, 1, 1, tzinfo=UTC)}
    for change in ({"expected_version": 9}, {"expected_version": 0}, {"expected": space.json.put("b", 1)}):
        with pytest.raises(ConflictError):
            space.json.merge_patch("a", {}, **change)
        with pytest.raises(ConflictError):
            space.json.patch("a", [], **change)
        with pytest.raises(ConflictError):
            space.json.set("a", "/x", 1, **change)
        with pytest.raises(ConflictError):
            space.json.push("a", "/x", 1, **change)
        with pytest.raises(ConflictError):
            space.json.pop("a", "/x", **change)
    assert space.json.record("a") == done


def test_every_type_of_value_survives_every_way(space):
    space.json.create("whole", EVERYTHING)
    space.json.create("part", {"l": []})
    space.json.set("part", "/set", EVERYTHING)
    space.json.push("part", "/l", EVERYTHING)
    space.json.merge_patch("part", {"merged": [EVERYTHING]})
    space.json.patch("part", [{"op": "add", "path": "/added", "value": EVERYTHING}])
    found = [space.json.get("whole"), *(space.json.get("part", one) for one in ("/set", "/l/0", "/merged/0", "/added"))]
    for value in [*found, space.json.pop("part", "/l")]:
        assert value == EVERYTHING and {name: type(one) for name, one in value.items()} == {
            name: type(one) for name, one in EVERYTHING.items()
        }
        assert str(value["f"]) == "-0.0"


def test_queries(space):
    books = [{"title": "a", "price": 8, "isbn": b"\1"}, {"title": "b", "price": 12}, {"price": True, "at": UUID(int=1)}]
    space.json.create("store", {"books": books, "when": datetime(2020, 1, 1, tzinfo=UTC)})

    def found(path):
        return space.json.query("store", path)

    assert found("$") == [space.json.get("store")]
    assert found("$.books[*].title") == ["a", "b"] and found("$..price") == [8, 12, True]
    assert found("$.books[?@.price < 10].title") == ["a"] and found("$.books[-1:].at") == [UUID(int=1)]
    assert found("$.books[?@.isbn == 'x']") == [] and found("$.when.*") == [] and found("$.books[0].isbn[0]") == []
    assert found("$.books[?match(@.isbn, '.*') || match(@.at, '.*') || @.isbn < 1 || length(@.at) > 0]") == []
    assert found("$.books[?length(@.isbn) == 1].title") == ["a"]
    assert found("$.books[?match(@.title, '[b-c]')].price") == [12] and found("$.nothing") == []
    assert space.json.query("missing", "$") == []
    for bad in (
        "",
        "books",
        "$[",
        "$.a b",
        "$[?nothing(@)]",
        "$[?@.a == ]",
        None,
        5,
        "$['\ud800']",
        "$[?" + "(" * 9000,
        "$" + ".a" * 9000,
    ):
        with pytest.raises(InvalidInputError, match="path"):
            space.json.query("store", bad)


def test_a_query_without_the_library_names_the_extra(space, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonpath_rfc9535", None)
    with pytest.raises(UnsupportedError, match=r"holdfast\[json\]") as caught:
        space.json.query("a", "$")
    assert caught.value.capability == "jsonpath" and isinstance(caught.value.__cause__, ImportError)


def test_keys_scan_and_count(space):
    for key in ("a", "a/1", "a/2", "b", "é"):
        space.json.put(key, key)
    assert list(space.json.keys()) == ["a", "a/1", "a/2", "b", "é"] and space.json.count() == 5
    assert list(space.json.keys("a/")) == ["a/1", "a/2"]
    assert [one.value for one in space.json.scan("a", reverse=True)] == ["a/2", "a/1", "a"]
    page = space.json.scan(limit=3)
    assert [one.key for one in [*page, *space.json.scan(after=page.cursor)]] == list(space.json.keys())
    keys = space.json.keys(limit=4)
    assert list(space.json.keys(after=keys.cursor)) == ["é"]
    space.kv.put("a", 1)
    assert space.json.count() == 5


def test_expiry(space, clock):
    space.json.put("a", {}, ttl=timedelta(seconds=1))
    space.json.put("b", {}, expires_at=datetime.fromtimestamp(clock.time / 1e6 + 10, UTC))
    space.json.set("a", "/x", 1)
    clock.time += 2_000_000
    assert space.json.get("a") is None and not space.json.exists("a") and list(space.json.keys()) == ["b"]
    with pytest.raises(NotFoundError):
        space.json.set("a", "/x", 2)
    assert not space.json.delete("a") and space.json.create("a", []).version == 1
    assert space.json.record("a").expires_at is None


def test_bad_input_names_its_field_and_changes_nothing(space):
    space.json.create("a", {"l": []})
    head = [change.revision for change in space.changes()]
    deep = current = []
    for _ in range(63):
        current.append([])
        current = current[0]
    for call, field in [
        (lambda: space.json.put("", 1), "key"),
        (lambda: space.json.set(5, "/x", 1), "key"),
        (lambda: space.json.get("a", "x"), "pointer"),
        (lambda: space.json.exists("a", "/~"), "pointer"),
        (lambda: space.json.set("a", "x", 1), "pointer"),
        (lambda: space.json.delete("a", "x"), "pointer"),
        (lambda: space.json.push("a", None, 1), "pointer"),
        (lambda: space.json.pop("a", "x"), "pointer"),
        (lambda: space.json.pop("a", "/l", "0"), "index"),
        (lambda: space.json.pop("a", "/l", True), "index"),
        (lambda: space.json.pop("a", "/l", 2**64), "index"),
        (lambda: space.json.put("a", object()), "value"),
        (lambda: space.json.set("a", "/x", {"y": (1,)}), "value.y"),
        (lambda: space.json.push("a", "/l", float("nan")), "value"),
        (lambda: space.json.merge_patch("a", {1: 2}), "patch"),
        (lambda: space.json.patch("a", {}), "patch"),
        (lambda: space.json.patch("a", [{"op": "add", "path": "/x", "value": {1}}]), "patch[0].value"),
        (lambda: space.json.set("a", "/l/0", deep), "value"),
        (lambda: space.json.push("a", "/l", deep), "value"),
        (lambda: space.json.put("a", 1, metadata=[]), "metadata"),
        (lambda: space.json.set("a", "/x", 1, expected_version=-1), "expected_version"),
        (lambda: space.json.set("a", "/x", 1, expected=5), "expected"),
        (lambda: space.json.put("a", "x" * 17_000_000), "value"),
        (lambda: space.json.set("a", "/x", "x" * 17_000_000), "value"),
        (lambda: space.json.merge_patch("a", {"x": "x" * 17_000_000}), "patch"),
    ]:
        with pytest.raises(InvalidInputError) as caught:
            call()
        assert caught.value.field == field
    space.json.set("a", "/x", "x" * 9_000_000)
    with pytest.raises(InvalidInputError, match="body"):
        space.json.set("a", "/y", "x" * 9_000_000)
    assert len(list(space.changes())) == len(head) and not space.json.exists("a", "/y")


def test_replay_and_diff(space):
    space.json.create("shared", {"n": 1, "l": [1]})
    runs = []
    for number in (1, 2):
        with space.run("try") as run:
            run.json.create(f"own {number}", {"l": []})
            run.json.push(f"own {number}", "/l", number)
            run.json.set("shared", "/n", number * 10)
            run.json.patch("shared", [{"op": "add", "path": "/l/-", "value": number}])
            run.json.merge_patch("shared", {"m": number})
            if number == 2:
                assert run.json.pop("shared", "/l") == 2
                run.json.delete("shared", "/m")
        space.json.set("shared", "/outside", True)
        runs.append(run)
    first, second = (space.replay(run.id) for run in runs)
    assert first.json.get("own 1") == {"l": [1]} and first.json.get("own 2") is None
    assert first.json.get("shared") == {"n": 10, "l": [1, 1], "m": 1}
    assert second.json.get("shared") == {"n": 20, "l": [1, 1], "outside": True}
    assert second.json.exists("shared", "/n") and second.json.query("shared", "$.l[0]") == [1]
    with pytest.raises(holdfast.ReadOnlyError):
        first.json.delete("shared", "/n")
    with pytest.raises(holdfast.ReadOnlyError):
        first.json.set("shared", "/n", 1)
    found = space.diff(*runs)
    assert ([one.key for one in found.added], [one.key for one in found.removed]) == (["own 2"], ["own 1"])
    (changed,) = found.modified
    assert (changed.kind, changed.key, changed.after["value"]["n"]) == ("json", "shared", 20)


def test_a_store_with_documents_is_sound(store, space):
    space.json.create("a", EVERYTHING)
    space.json.set("a", "/x", 1)
    assert store.verify() == [] and store.status()["spaces"]["project"]["records"] == {"json": 1}
    assert holdfast.to_dict(space.json.record("a"))["value"]["x"] == 1
