"""Bad input names its field and changes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import pytest

import holdfast
from holdfast.inputs import check_choice

ID = UUID("0190163d-8694-739b-aea5-966c26f8ad91")
BIG = "x" * 50_000_000
NAIVE = datetime(2020, 1, 1)
LONE = "\ud800"

BAD = [
    *[(f"kv.{name}", (key, *more), "key") for key in ("", 1, None, b"a", LONE, "k" * 5000)
      for name, more in (("put", (1,)), ("create", (1,)), ("update", (1,)), ("get", ()), ("record", ()),
                         ("exists", ()), ("delete", ()))],
    *[("kv.put", ("a", value), field) for value, field in
      ((LONE, "value"), ([3j], "value[0]"), (float("nan"), "value"), (2**64, "value"), ({1: 2}, "value"))],
    ("kv.put", ("a", BIG), "value"), ("kv.put_many", ([("a", 1)],), "values"), ("kv.put_many", ({"a": 1, "": 2},), "key"),
    ("kv.get_many", (["a", ""],), "keys[1]"), ("kv.delete_many", (["a", 2],), "keys[1]"),
    ("kv.get_many", ("ab",), "keys"), ("kv.delete_many", ("ab",), "keys"), ("kv.get_many", (5,), "keys"),
    ("kv.delete_many", (5,), "keys"), ("kv.scan", (5,), "prefix"), ("kv.keys", (LONE,), "prefix"),
    ("events.append", ("", 1), "stream"), ("events.append", (LONE, 1), "stream"), ("events.append", ("s" * 250, 1), "stream"),
    ("events.append", ("s", LONE), "data"), ("events.append_many", ("s", [{"data": 1}, {}]), "events[1]"),
    ("events.append_many", ("s", [{"data": LONE}]), "events[0].data"), ("events.append_many", ("s", [5]), "events[0]"),
    ("events.append_many", ("s", [{"data": 1, "typ": "x"}]), "events[0]"), ("events.append_many", ("s", 5), "events"),
    ("events.read", ("",), "stream"), ("events.read", ("s", -1), "start"), ("events.read", ("s", True), "start"),
    ("events.get", ("s", -1), "sequence"), ("events.get", ("s", "0"), "sequence"), ("events.get", ("", 0), "stream"),
    ("events.stream", (5,), "stream"), ("events.verify", ("",), "stream"), ("events.length", (None,), "stream"),
    ("runs.create", ("",), "name"), ("runs.create", ("n" * 257,), "name"), ("runs.fail", (ID, ""), "error"),
    *[(f"runs.{name}", (5,), "id") for name in ("begin", "pause", "end", "cancel", "archive", "get", "exists", "update")],
    ("replay", ("no id",), "run"), ("diff", (5, 6), "run"),
    ("memories.store", ("",), "content"), ("memories.store", (BIG,), "content"), ("memories.store", (LONE,), "content"),
    ("memories.store", (b"x",), "content"), ("memories.store_many", ([5],), "memories[0]"), ("memories.store_many", (5,), "memories"),
    ("memories.store_many", ([holdfast.NewMemory(content="a"), holdfast.NewMemory(content="")],), "memories[1].content"),
    ("memories.store_many", ([holdfast.NewMemory(content="a", expires_at=NAIVE)],), "memories[0].expires_at"),
    *[(f"memories.{name}", (bad,), "id") for bad in (5, "", "no id", None)
      for name in ("update", "delete", "restore", "purge", "get", "exists")],
    ("memories.get_batch", ([ID, "x"],), "ids[1]"), ("memories.get_batch", (5,), "ids"),
    ("memories.get_by_session", ("",), "session_id"), ("memories.get_by_source", ("nope",), "source"),
    ("memories.search", ("",), "query"), ("memories.search", ("-a",), "query"), ("memories.search", (5,), "query"),
    ("memories.search", ("a" * 5000,), "query"),
]  # fmt: skip
KEYWORDS = [
    *[(f"kv.{name}", ("a", 1), {field: value}, field) for name in ("put", "update") for field, value in (
        ("expected_version", -1), ("expected_version", "1"), ("expires_at", NAIVE), ("expires_at", 5), ("ttl", 0),
        ("ttl", -1), ("ttl", True), ("ttl", timedelta(0)), ("ttl", "1"), ("ttl", float("nan")), ("metadata", [1]),
        ("metadata", "x"), ("expected", 5))],
    ("kv.put", ("a", 1), {"metadata": {"a": LONE}}, "metadata.a"),
    ("kv.put", ("a", 1), {"ttl": 1, "expires_at": NAIVE}, "ttl"), ("kv.delete", ("a",), {"expected_version": -1}, "expected_version"),
    *[(f"{name}", arguments, {field: value}, field) for name, arguments in (
        ("kv.scan", ()), ("kv.keys", ()), ("events.read", ("s",)), ("events.streams", ()), ("memories.list", ()),
        ("memories.list_ids", ()), ("runs.list", ()), ("memories.get_by_session", ("s",)))
      for field, value in (("limit", 0), ("limit", -1), ("limit", "1"), ("limit", True), ("after", "nonsense"), ("after", "ä"),
                           ("after", 5), ("after", ""))],
    ("events.append", ("s", 1), {"type": ""}, "type"), ("events.append", ("s", 1), {"metadata": 5}, "metadata"),
    ("events.read", ("s",), {"type": ""}, "type"), ("events.read", ("s",), {"since": NAIVE}, "since"),
    ("events.read", ("s",), {"until": 5}, "until"), ("events.read", ("s",), {"end": "1"}, "end"),
    *[("runs.create", ("r",), {field: value}, name) for field, value, name in (
        ("tags", "x", "tags"), ("tags", [""], "tags[0]"), ("tags", list(map(str, range(49))), "tags"), ("metadata", 1, "metadata"),
        ("parent", "x", "parent"), ("lease_seconds", 0, "lease_seconds"), ("lease_seconds", "1", "lease_seconds"))],
    ("runs.update", (ID,), {"name": ""}, "name"), ("runs.update", (ID,), {"tags": {"a": 1}}, "tags"),
    ("runs.update", (ID,), {"metadata": 5}, "metadata"), ("runs.list", (), {"status": "x"}, "status"),
    ("runs.list", (), {"tag": ""}, "tag"), ("runs.list", (), {"parent": "x"}, "parent"),
    *[(name, arguments, {field: value}, error) for name, arguments in (("memories.store", ("m",)), ("memories.update", (ID,)))
      for field, value, error in (
        ("source", "import", "source"), ("source", holdfast.Import(5), "source"), ("source", holdfast.Import(LONE), "source.origin"),
        ("source", holdfast.Custom("n", {"a": LONE}), "source.data.a"), ("source", holdfast.Custom("n", {"a": {1}}), "source.data.a"),
        ("session_id", "", "session_id"), ("session_id", 5, "session_id"), ("tags", "a", "tags"), ("tags", ["a", 5], "tags[1]"),
        ("tags", 5, "tags"), ("namespace", "", "namespace"), ("status", "new", "status"), ("status", None, "status"),
        ("branch", "", "branch"), ("file_path", LONE, "file_path"), ("group", 5, "group"), ("superseded_by", "x", "superseded_by"),
        ("derived_from", ["x"], "derived_from[0]"), ("derived_from", 5, "derived_from"), ("metadata", [], "metadata"),
        ("embeddings", 5, "embeddings"), ("expires_at", NAIVE, "expires_at"), ("expected_version", -1, "expected_version"),
        ("expected", 5, "expected"))],
    ("memories.store", ("m",), {"id": 5}, "id"), ("memories.store", ("m",), {"created_at": NAIVE}, "created_at"),
    ("memories.store", ("m",), {"ttl": 0}, "ttl"), ("memories.delete", (ID,), {"expected_version": 1.0}, "expected_version"),
    *[("memories.list", (), {field: value}, error) for field, value, error in (
        ("session_id", "", "session_id"), ("source", "x", "source"), ("tags", "a", "tags"), ("status", "", "status"),
        ("status", "nope", "status"), ("since", NAIVE, "since"), ("until", "x", "until"), ("where", 5, "where"), ("group", 5, "group"))],
    ("memories.search", ("a",), {"limit": 0}, "limit"), ("memories.search", ("a",), {"where": 5}, "where"),
    ("memories.count", (), {"source": "x"}, "source"), ("changes", (), {"after": -1}, "after"), ("changes", (), {"after": "x"}, "after"),
    
]  # fmt: skip


@pytest.fixture(scope="module", params=["memory:", "sqlite"])
def filled(request, tmp_path_factory):
    url = "memory:" if request.param == "memory:" else str(tmp_path_factory.mktemp("bad") / "store.db")
    with holdfast.open(url, durability="ephemeral") as store:
        space = store.space("project")
        space.kv.put("a", 1)
        space.memories.store("kept", session_id="s")
        space.events.append("s", 1)
        space.runs.create("r")
        yield space


def state(space):
    counts = [face.count() for face in (space.kv, space.events, space.memories, space.runs)]
    return space._scope.backend.view(space.name).head().sequence, counts


@pytest.mark.parametrize(
    ("name", "arguments", "keywords", "field"),
    [*[(name, arguments, {}, field) for name, arguments, field in BAD], *KEYWORDS],
    ids=lambda value: (
        f"{value!r:.40}".encode("ascii", "replace").decode().replace("\\", "_") if not isinstance(value, str) else value
    ),
)
def test_bad_input_names_its_field_and_changes_nothing(filled, name, arguments, keywords, field):
    face = filled
    for part in name.split("."):
        face = getattr(face, part)
    before = state(filled)
    with pytest.raises(holdfast.InvalidInputError) as caught:
        found = face(*arguments, **keywords)
        if name == "changes":
            list(found)
    assert caught.value.field.split(" ")[0] == field and caught.value.why
    assert len(str(caught.value)) < 1000
    assert state(filled) == before


@pytest.mark.parametrize(
    "call",
    [
        "kv.put",
        "events.append",
        "states.set",
        "traces.record",
        "memories.store",
        "memories.list",
        "runs.create",
        "memories.search",
    ],
)
def test_a_misspelt_keyword_is_an_error(filled, call):
    face, method = call.split(".")
    before = state(filled)
    with pytest.raises(TypeError):
        getattr(getattr(filled, face), method)("a", tagz=1)
    assert state(filled) == before


@pytest.mark.parametrize("name", ["", "a/b", "..", ".", "a\0", LONE, "a\\b", 5, None, b"a", "n" * 300])
def test_bad_names_of_spaces(store, name):
    with pytest.raises(holdfast.InvalidInputError) as caught:
        store.space(name)
    assert "space" in caught.value.field or "name" in caught.value.field
    assert store.spaces() == []


@pytest.mark.parametrize(
    ("url", "keywords", "field"),
    [
        ("http://x", {}, "url"), ("nope:x", {}, "url"), ("", {}, "url"), ("a\0b", {}, "url"), (b"bytes", {}, "url"),
        ("sqlite:", {}, "url"), ("memory:x", {}, "url"), ("memory:", {"durability": "most"}, "durability"),
        ("memory:", {"durability": None}, "durability"), ("memory:", {"busy_seconds": -1}, "busy_seconds"),
        ("memory:", {"busy_seconds": "1"}, "busy_seconds"),
    ],
)  # fmt: skip
def test_open_refuses_by_name(tmp_path, monkeypatch, url, keywords, field):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(holdfast.InvalidInputError) as caught:
        holdfast.open(url, **keywords)
    assert caught.value.field == field and list(tmp_path.iterdir()) == []


def test_nul_is_text_like_any_other(space):
    memory = space.memories.store("a\0b", session_id="s\0", tags=["\0"])
    space.kv.put("\0", "\0")
    assert space.memories.list(tags=["\0"]) == [memory] == space.memories.get_by_session("s\0").items
    assert list(space.kv.keys()) == ["\0"] and space.kv.get("\0") == "\0"


def test_a_choice_may_be_anything():
    with pytest.raises(holdfast.InvalidInputError, match="a, b"):
        check_choice([], "field", ("a", "b"))
