"""The tree in the docstring is the tree of the classes."""

from __future__ import annotations

import inspect
import re

import pytest

import holdfast
from holdfast import errors

BUILTINS = {
    "PermissionDeniedError": PermissionError,
    "NotFoundError": KeyError,
    "InvalidInputError": ValueError,
    "DeadlineError": TimeoutError,
}


def drawn():
    """name -> parent, as the docstring draws it."""
    parents, stack = {"HoldfastError": "Exception"}, {0: "HoldfastError"}
    for line in errors.__doc__.splitlines():
        found = re.match(r"    ([│├└─ ]+)(\w+Error)\b", line)
        if found:
            depth = len(found[1]) // 4
            parents[found[2]] = stack[depth - 1]
            stack[depth] = found[2]
    return parents


def test_the_drawn_tree_is_the_real_one():
    real = {
        name: next(base.__name__ for base in cls.__bases__)
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, Exception)
    }
    assert drawn() == real
    assert set(real) <= set(dir(holdfast))


@pytest.mark.parametrize(("name", "builtin"), BUILTINS.items())
def test_leaves_are_what_users_would_catch(name, builtin):
    cls = getattr(errors, name)
    assert issubclass(cls, builtin)
    assert f"({builtin.__name__})" in next(line for line in errors.__doc__.splitlines() if name in line)


def test_the_facts_of_an_error_are_attributes():
    assert errors.LockedError("m", owner="7@host").owner == "7@host" and errors.LockedError("m").owner is None
    damaged = errors.CorruptionError("m", path="p", offset=3)
    assert (damaged.path, damaged.offset) == ("p", 3)
    assert errors.CommitUnknownError("m", commit_id=b"1").commit_id == b"1"
    assert errors.ConflictError("m", keys=[("kv", "a")]).keys == (("kv", "a"),)
    assert errors.UnsupportedError("m", capability="c").capability == "c"
    refused = errors.InvalidInputError("key", "is bad")
    assert (refused.field, refused.why, str(refused)) == ("key", "is bad", "key: is bad")
    assert str(errors.NotFoundError("no 'x' here")) == "no 'x' here"
