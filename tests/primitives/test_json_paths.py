"""JSON Pointer as RFC 6901 has it, and what a tree does at a place."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import InvalidInputError, NotFoundError
from holdfast.primitives.json_paths import Tree, check_depth, depth, find, parse_pointer, to_pointer

RFC_6901 = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}
RFC_6901_CASES = [
    ("", RFC_6901), ("/foo", ["bar", "baz"]), ("/foo/0", "bar"), ("/", 0), ("/a~1b", 1), ("/c%d", 2), ("/e^f", 3),
    ("/g|h", 4), ("/i\\j", 5), ('/k"l', 6), ("/ ", 7), ("/m~0n", 8),
]  # fmt: skip


@pytest.mark.parametrize(("pointer", "expected"), RFC_6901_CASES)
def test_the_examples_of_the_rfc(pointer, expected):
    assert find(RFC_6901, parse_pointer(pointer)) == [expected]


def test_tilde_one_is_not_read_twice():
    assert parse_pointer("/~01/~10") == ("~1", "/0")


@pytest.mark.parametrize("bad", ["a", "a/b", "/~", "/~2", "/a~/b", "/~~0", " /a", None, 1, b"/a", ("a",), "/\ud800"])
def test_what_is_no_pointer(bad):
    with pytest.raises(InvalidInputError, match="place"):
        parse_pointer(bad, "place")


@pytest.mark.parametrize(
    "pointer",
    ["/foo/2", "/foo/-", "/foo/00", "/foo/01", "/foo/-1", "/foo/1.0", "/foo/+1", "/foo/ 1", "/foo/", "/foo/bar",
     "/foo/0/x", "/x", "/foo/²", "/foo/١", "/foo/" + "9" * 5000, "/a/b", "//"],
)  # fmt: skip
def test_nothing_is_there(pointer):
    assert find(RFC_6901, parse_pointer(pointer)) == []
    with pytest.raises(NotFoundError, match="doc has nothing at"):
        Tree(RFC_6901, "doc").at(parse_pointer(pointer))


def test_none_is_something_and_other_types_are_leaves():
    document = {"n": None, "b": b"\x01\x02", "u": UUID(int=1), "t": datetime(2020, 1, 1, tzinfo=UTC), "s": "ab"}
    assert find(document, ("n",)) == [None]
    for name in "bnuts":
        assert find(document, (name, "0")) == []


TOKENS = st.lists(st.text(alphabet=st.sampled_from("a~/01-é\0 "), max_size=4), max_size=5).map(tuple)


@given(TOKENS)
def test_a_pointer_is_read_as_it_was_written(tokens):
    assert parse_pointer(to_pointer(tokens)) == tokens


def test_errors_name_the_first_step_that_leads_nowhere():
    tree = Tree({"a": {"b": [1]}, "n": None}, "doc")
    for pointer, words in {
        "/a/x/y": "nothing at '/a/x/y', not even '/a/x'; above it is an object",
        "/a/b/1": "nothing at '/a/b/1'; above it is an array of 1",
        "/n/x": "nothing at '/n/x'; above it is a value of type NoneType",
    }.items():
        with pytest.raises(NotFoundError) as caught:
            tree.at(parse_pointer(pointer))
        assert str(caught.value) == f"doc has {words}"


SET = [
    ({"a": 1}, "", 2, 2),
    ({"a": 1}, "/a", 2, {"a": 2}),
    ({"a": 1}, "/b", 2, {"a": 1, "b": 2}),
    ({"a": {}}, "/a/", 2, {"a": {"": 2}}),
    ([1, 2], "/0", 9, [9, 2]),
    ([1, 2], "/2", 9, [1, 2, 9]),
    ([1, 2], "/-", 9, [1, 2, 9]),
    ({"-": 1}, "/-", 9, {"-": 9}),
]


@pytest.mark.parametrize(("document", "pointer", "value", "expected"), SET)
def test_set(document, pointer, value, expected):
    tree = Tree(document, "doc")
    tree.set(parse_pointer(pointer), value)
    assert tree.root == expected


@pytest.mark.parametrize("pointer", ["/x/y", "/l/3", "/l/x", "/s/0", "/s/-", "/l/0/x"])
def test_what_cannot_be_set_or_added(pointer):
    document = {"l": [1, 2], "s": "text"}
    tree = Tree(document, "doc")
    for act in (tree.set, tree.add, tree.replace):
        with pytest.raises(NotFoundError, match="doc has nothing at"):
            act(parse_pointer(pointer), 1)
    with pytest.raises(NotFoundError, match="doc has nothing at"):
        tree.remove(parse_pointer(pointer))
    assert tree.root == {"l": [1, 2], "s": "text"}


def test_add_inserts_and_remove_gives_back():
    tree = Tree([1, 2], "doc")
    tree.add(("0",), 0)
    tree.add(("3",), 3)
    tree.add(("-",), 4)
    assert tree.root == [0, 1, 2, 3, 4]
    assert tree.remove(("1",)) == 1 and tree.root == [0, 2, 3, 4]
    tree = Tree({"a": None}, "doc")
    assert tree.remove(("a",)) is None and tree.root == {}
    with pytest.raises(NotFoundError):
        tree.remove(("a",))
    tree.add((), [])
    assert tree.root == []


def test_arrays_only():
    tree = Tree({"a": [], "b": {}}, "doc")
    assert tree.array(("a",)) is tree.root["a"]
    with pytest.raises(NotFoundError, match="no array at '/b', but an object"):
        tree.array(("b",))


def test_depth():
    assert [depth(value) for value in (1, "x", [], {}, [[]], {"a": [1, {"b": 2}]})] == [0, 0, 1, 1, 2, 3]
    check_depth([[]], ("a",) * 62, "value")
    with pytest.raises(InvalidInputError, match="value: would be nested more than 64"):
        check_depth([[]], ("a",) * 63, "value")


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2) | st.binary(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "0", "-", "~/"]), inner),
    max_leaves=8,
)


def places(value, above=()):
    yield above
    items = value.items() if type(value) is dict else enumerate(value) if type(value) is list else ()
    for name, item in items:
        yield from places(item, (*above, str(name)))


@given(DOCUMENTS, st.data())
def test_a_place_can_be_found_replaced_and_removed(document, data):
    tokens = data.draw(st.sampled_from(list(places(document))))
    tree = Tree(document, "doc")
    before = tree.at(tokens)
    tree.replace(tokens, "new")
    assert find(tree.root, tokens) == ["new"]
    if tokens:
        assert tree.remove(tokens) == "new"
        tree.add(tokens, before)
        assert find(tree.root, tokens) == [before]
