"""The full-text index: documents and watermark move together, scopes stay apart."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.text_index import in_memory, marked


@pytest.fixture(params=["memory", "sqlite"])
def index(request, tmp_path):
    if request.param == "memory":
        yield in_memory()
    else:
        with holdfast.open(tmp_path / "store.db") as store:
            yield store._backend.text_index()


def found(index, expression, space="a", kind=1):
    return [key for key, _ in index.match(space, kind, expression, 10, 0)]


def test_documents_come_change_and_go(index):
    assert index.watermark("a", 1) == 0
    index.index("a", 1, [(b"1", "red fish"), (b"2", "blue fish fish"), (b"3", None)], 0, 5)
    assert index.watermark("a", 1) == 5
    assert set(found(index, "fish")) == {b"1", b"2"}
    index.index("a", 1, [(b"1", "green bird"), (b"2", None)], 5, 6)
    assert found(index, "fish OR red") == []
    assert found(index, "birds") == [b"1"]


def test_who_is_too_late_changes_nothing(index):
    index.index("a", 1, [(b"1", "red")], 0, 5)
    index.index("a", 1, [(b"1", "blue")], 0, 9)
    assert (index.watermark("a", 1), found(index, "red"), found(index, "blue")) == (5, [b"1"], [])


def test_scopes_stay_apart(index):
    for space in ("a", "b", "x61"):
        for kind in (1, 11):
            index.index(space, kind, [(b"k", f"word{space}{kind} shared")], 0, 1)
    assert found(index, "shared") == [b"k"]
    assert found(index, "worda1") == [b"k"]
    assert found(index, "wordb1") == []
    assert found(index, "x61k1") == []


def test_marks():
    for _ in range(2):
        assert marked(["a red fish", "nothing"], '"fish"', "<", ">", 8) == ["a red <fish>", "nothing"]
    with pytest.raises(holdfast.StorageError):
        marked(["x"], '"', "<", ">", 8)
    assert marked(["fish"], '"fish"', "<", ">", 8) == ["<fish>"]


def test_scores_fall_and_pages_go_on(index):
    index.index("a", 1, [(bytes([n]), "fish " * (n + 1) + "x " * 20) for n in range(10)] + [(b"z", "y")] * 30, 0, 1)
    first = index.match("a", 1, "fish", 4, 0)
    rest = index.match("a", 1, "fish", 10, 4)
    scores = [score for _, score in [*first, *rest]]
    assert len(scores) == 10
    assert scores == sorted(scores, reverse=True)
