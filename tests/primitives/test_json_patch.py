"""RFC 6902 and RFC 7396, case by case."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import ConflictError, InvalidInputError, NotFoundError
from holdfast.primitives import json_patch
from holdfast.primitives.json_patch import apply, check_patch, equal, merged
from holdfast.primitives.json_paths import Tree

MISSING, FAILED = NotFoundError, ConflictError


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1, 1) | st.text(max_size=2) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0", "-", "~/"]), inner),
    max_leaves=8,
)


def op(op, path, **more):
    return {"op": op, "path": path, **{name.rstrip("_"): value for name, value in more.items()}}


CASES = {
    "empty list, empty docs": ({}, [], {}),
    "empty patch list": ({"foo": 1}, [], {"foo": 1}),
    "rearrangements OK": ({"foo": 1, "bar": 2}, [], {"bar": 2, "foo": 1}),
    "toplevel array": ([], [op("add", "/0", value="foo")], ["foo"]),
    "toplevel array, no change": (["foo"], [], ["foo"]),
    "toplevel object, numeric string": ({}, [op("add", "/foo", value="1")], {"foo": "1"}),
    "toplevel object, integer": ({}, [op("add", "/foo", value=1)], {"foo": 1}),
    "toplevel scalar": ("foo", [op("replace", "", value="bar")], "bar"),
    "replace object document with array": ({}, [op("add", "", value=[])], []),
    "replace array document with object": ([], [op("add", "", value={})], {}),
    "append to root array": ([], [op("add", "/-", value="hi")], ["hi"]),
    "add, / target": ({}, [op("add", "/", value=1)], {"": 1}),
    "add, /foo/ deep target": ({"foo": {}}, [op("add", "/foo/", value=1)], {"foo": {"": 1}}),
    "add composite value at top level": ({"foo": 1}, [op("add", "/bar", value=[1, 2])], {"foo": 1, "bar": [1, 2]}),
    "add into composite value": (
        {"foo": 1, "baz": [{"qux": "hello"}]},
        [op("add", "/baz/0/foo", value="world")],
        {"foo": 1, "baz": [{"qux": "hello", "foo": "world"}]},
    ),
    "add into nested array, out of range": ({"bar": [1, 2]}, [op("add", "/bar/8", value="5")], MISSING),
    "add with a negative index": ({"bar": [1, 2]}, [op("add", "/bar/-1", value="5")], MISSING),
    "add, 0 can be a member": ({"foo": 1}, [op("add", "/0", value="bar")], {"foo": 1, "0": "bar"}),
    "add true": ({"foo": 1}, [op("add", "/bar", value=True)], {"foo": 1, "bar": True}),
    "add null": ({"foo": 1}, [op("add", "/bar", value=None)], {"foo": 1, "bar": None}),
    "add replaces any existing member": ({"foo": None}, [op("add", "/foo", value=1)], {"foo": 1}),
    "add item in front": (["foo"], [op("add", "/0", value="bar")], ["bar", "foo"]),
    "add item at the end": (["foo", "sil"], [op("add", "/2", value="bar")], ["foo", "sil", "bar"]),
    "add item in the middle": (["foo", "sil"], [op("add", "/1", value="bar")], ["foo", "bar", "sil"]),
    "add item beyond the end": (["foo", "sil"], [op("add", "/3", value="bar")], MISSING),
    "add item at a leading zero": (["foo", "sil"], [op("add", "/01", value="bar")], MISSING),
    "add item at a word": (["foo", "sil"], [op("add", "/bar", value=42)], MISSING),
    "add item at 1e0": (["foo", "sil"], [op("add", "/1e0", value=42)], MISSING),
    "value in array add is not flattened": (["a"], [op("add", "/1", value=["b", "c"])], ["a", ["b", "c"]]),
    "add to a bad number": (["foo"], [op("add", "/1/x", value=1)], MISSING),
    "add to a member that is missing": ({"q": {"bar": 2}}, [op("add", "/a/b", value=1)], MISSING),
    "remove member": ({"foo": 1, "bar": [1, 2]}, [op("remove", "/bar")], {"foo": 1}),
    "remove nested member": ({"a": [{"b": "c"}]}, [op("remove", "/a/0/b")], {"a": [{}]}),
    "remove member that is null": ({"foo": None}, [op("remove", "/foo")], {}),
    "remove item": ([1, 2, 3, 4], [op("remove", "/1"), op("remove", "/2")], [1, 3]),
    "remove what is missing": ({"foo": "bar"}, [op("remove", "/baz")], MISSING),
    "remove item beyond the end": ([1], [op("remove", "/1")], MISSING),
    "replace member": ({"foo": 1}, [op("replace", "/foo", value=[1])], {"foo": [1]}),
    "replace item": ([""], [op("replace", "/0", value=0)], [0]),
    "replace with null": ([""], [op("replace", "/0", value=None)], [None]),
    "replace the whole document": ({"foo": "bar"}, [op("replace", "", value={"baz": "qux"})], {"baz": "qux"}),
    "replace what is missing": ({"foo": "bar"}, [op("replace", "/bar", value=1)], MISSING),
    "replace behind the end": ([1], [op("replace", "/-", value=1)], MISSING),
    "move to the same place": ({"foo": 1}, [op("move", "/foo", from_="/foo")], {"foo": 1}),
    "move what is missing": ({"foo": 1}, [op("move", "/bar", from_="/bar")], MISSING),
    "move member": ({"foo": 1, "baz": 2}, [op("move", "/bar", from_="/foo")], {"baz": 2, "bar": 1}),
    "move nested": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [op("move", "/qux/thud", from_="/foo/waldo")],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "move item": (["all", "grass", "cows", "eat"], [op("move", "/3", from_="/1")], ["all", "cows", "eat", "grass"]),
    "move over the whole document": ({"a": {"b": 1}}, [op("move", "", from_="/a")], {"b": 1}),
    "move a sibling whose name goes on": ({"a": 1, "ab": {}}, [op("move", "/ab/x", from_="/a")], {"ab": {"x": 1}}),
    "move to a place that its going takes away": ([1, [2]], [op("move", "/1/0", from_="/0")], MISSING),
    "copy": ({"a": [1]}, [op("copy", "/b", from_="/a"), op("add", "/b/-", value=2)], {"a": [1], "b": [1, 2]}),
    "copy null": ({"a": None}, [op("copy", "/b", from_="/a")], {"a": None, "b": None}),
    "copy into itself": ({"a": {}}, [op("copy", "/a/b", from_="/a")], {"a": {"b": {}}}),
    "copy item": ([{"x": 1}], [op("copy", "/-", from_="/0"), op("replace", "/1/x", value=2)], [{"x": 1}, {"x": 2}]),
    "copy what is missing": ({}, [op("copy", "/a", from_="/b")], MISSING),
    "test string": ({"baz": "qux"}, [op("test", "/baz", value="qux")], {"baz": "qux"}),
    "test fails": ({"baz": "qux"}, [op("test", "/baz", value="bar")], FAILED),
    "test what is missing": ({}, [op("test", "/baz", value=None)], MISSING),
    "test null": ({"foo": None}, [op("test", "/foo", value=None)], {"foo": None}),
    "test null against object": ({"foo": {}}, [op("test", "/foo", value=None)], FAILED),
    "test object in any order": ({"a": 1, "b": 2}, [op("test", "", value={"b": 2, "a": 1})], {"a": 1, "b": 2}),
    "test array in order": ({"foo": [1, 2]}, [op("test", "/foo", value=[2, 1])], FAILED),
    "test whole document": ({"foo": 1}, [op("test", "", value={"foo": 1})], {"foo": 1}),
    "test empty member": ({"": 1}, [op("test", "/", value=1)], {"": 1}),
    "test numbers by value": ([1, 2.0], [op("test", "", value=[1.0, 2])], [1, 2.0]),
    "test number is no text": ({"/": 9, "~1": 10}, [op("test", "/~01", value="10")], FAILED),
    "test escaped": ({"/": 9, "~1": 10}, [op("test", "/~01", value=10)], {"/": 9, "~1": 10}),
    "test of true is not 1": ([True], [op("test", "/0", value=1)], FAILED),
    "members that are not defined are ignored": (
        {"foo": "bar"}, [op("add", "/baz", value="qux", xyz=123)], {"foo": "bar", "baz": "qux"},
    ),
    "all or nothing": ({"a": 1}, [op("add", "/b", value=2), op("test", "/a", value=2)], FAILED),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rfc_6902(name):
    document, patch, expected = CASES[name]
    tree = Tree(document, "doc")
    if isinstance(expected, type):
        with pytest.raises(expected, match="doc"):
            apply(tree, check_patch(patch))
    else:
        apply(tree, check_patch(patch))
        assert equal(tree.root, expected)


MALFORMED = [
    ({}, "patch"),
    ("[]", "patch"),
    ([1], r"patch\[0\]"),
    ([{"path": "/a", "value": 1}], r"patch\[0\].op"),
    ([op("spam", "/a", value=1)], r"patch\[0\].op"),
    ([op(["add"], "/a", value=1)], r"patch\[0\].op"),
    ([op("merge", "", value=1)], r"patch\[0\].op"),
    ([op("remove", "/a"), {"op": "add", "value": 1}], r"patch\[1\].path"),
    ([op("add", "a", value=1)], r"patch\[0\].path"),
    ([op("add", None, value=1)], r"patch\[0\].path"),
    ([op("add", "/a")], r"patch\[0\].value"),
    ([op("replace", "/a")], r"patch\[0\].value"),
    ([op("test", "/a")], r"patch\[0\].value"),
    ([op("add", "/a", value=(1,))], r"patch\[0\].value"),
    ([op("add", "/a" * 64, value=[1])], r"patch\[0\].value: would be nested"),
    ([op("move", "/a")], r"patch\[0\].from"),
    ([op("copy", "/a", from_="b")], r"patch\[0\].from"),
    ([op("move", "/a/b", from_="/a")], r"patch\[0\].path"),
    ([op("remove", "")], r"patch\[0\].path"),
]


@pytest.mark.parametrize(("patch", "field"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_patches_name_the_operation(patch, field):
    with pytest.raises(InvalidInputError, match=field):
        check_patch(patch)


def test_nothing_is_moved_or_copied_too_deep():
    for name in ("move", "copy"):
        deep = [[1]]
        tree = Tree({"a": deep, "b": {}}, "doc")
        node = tree.root["b"]
        for _ in range(61):
            node["b"] = {}
            node = node["b"]
        with pytest.raises(InvalidInputError, match="nested"):
            apply(tree, check_patch([op(name, "/b" * 62 + "/c", from_="/a")]))
        apply(tree, check_patch([op(name, "/b" * 62 + "/c", from_="/a/0")]))


def test_copies_have_a_limit_together(monkeypatch):
    monkeypatch.setattr(json_patch, "BODY_BYTES_MAX", 100)
    tree = Tree(["x" * 20], "doc")
    copy = op("copy", "/-", from_="/0")
    apply(tree, [copy] * 4)
    with pytest.raises(InvalidInputError, match=r"patch\[4\]: copies more than 100 bytes"):
        apply(tree, [copy] * 5)


def test_equality_of_values():
    moment = datetime(2020, 1, 1, tzinfo=UTC)
    same = [(1, 1.0), (0.0, -0.0), (2**53, float(2**53)), (b"a", b"a"), (UUID(int=1), UUID(int=1)), (moment, moment)]
    other = [
        (1, True), (0, False), (0, None), ("a", b"a"), (2**53 + 1, float(2**53)), ({}, []), ([], {}), ([1], [1, 1]),
        ({"a": 1}, {"b": 1}), ({"a": 1}, {"a": True}), (str(UUID(int=1)), UUID(int=1)),
    ]  # fmt: skip
    assert all(equal(a, b) and equal([a], [b]) and equal({"k": a}, {"k": b}) for a, b in same)
    assert not any(equal(a, b) or equal(b, a) for a, b in other)


RFC_7396 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "expected"), RFC_7396, ids=range(len(RFC_7396)))
def test_rfc_7396(target, patch, expected):
    assert merged(target, patch) == expected


def patch_between(a, b):
    if type(a) is not dict or type(b) is not dict:
        return b
    patch = {name: None for name in a if name not in b}
    for name, value in b.items():
        if name not in a:
            patch[name] = value
        elif not equal(a[name], value):
            patch[name] = patch_between(a[name], value)
    return patch


def without_none(value):
    if type(value) is dict:
        return {name: without_none(item) for name, item in value.items() if item is not None}
    return value


@given(DOCUMENTS, DOCUMENTS.map(without_none))
def test_a_merge_patch_leads_from_one_document_to_another(a, b):
    assert merged(a, patch_between(a, b)) == b
