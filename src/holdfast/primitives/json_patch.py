"""What may be done to a document: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7396), push and pop.

Operations travel in entries and are applied inside the fold, so this is pure, deterministic, and the same in every
version. Patches are checked before an entry is made of them; what remains to fail depends on the document:
NotFoundError (nothing at a path), ConflictError (a test), InvalidInputError (too deep, or too much is copied).

Libraries that apply patches know the types of JSON alone (1 equals True, and bytes are sequences to them), and their
next version may change what an old journal means.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from holdfast.codec import BODY_BYTES_MAX, Value, canonical, check_value
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.primitives.json_paths import Tokens, Tree, check_depth, parse_pointer

Operation: TypeAlias = dict[str, Value]
"""``op``, ``path``, and what else that ``op`` needs: ``value``, ``from``, ``index``."""

OPERATIONS = ("add", "remove", "replace", "move", "copy", "test")
_WITH_VALUE = ("add", "replace", "test")
_WITH_FROM = ("move", "copy")


def check_patch(patch: object, field: str = "patch") -> list[Operation]:
    """Return the operations of an RFC 6902 patch, without members that it does not define; InvalidInputError."""
    if type(patch) is not list:
        raise InvalidInputError(field, f"must be a list of operations, not {type(patch).__name__}")
    return [_checked(operation, f"{field}[{place}]") for place, operation in enumerate(patch)]


def _checked(operation: Any, field: str) -> Operation:
    if type(operation) is not dict:
        raise InvalidInputError(field, f"must be a dict, not {type(operation).__name__}")
    op = operation.get("op")
    if type(op) is not str or op not in OPERATIONS:
        raise InvalidInputError(f"{field}.op", f"must be one of {', '.join(OPERATIONS)}, not {op!r:.100}")
    tokens = parse_pointer(operation.get("path"), f"{field}.path")
    checked = {"op": op, "path": operation["path"]}
    if op == "remove" and not tokens:
        raise InvalidInputError(f"{field}.path", "is the whole document, which only delete(key) removes")
    if op in _WITH_VALUE:
        if "value" not in operation:
            raise InvalidInputError(f"{field}.value", f"is missing; {op!r} needs one (it may be None)")
        check_value(operation["value"], f"{field}.value")
        check_depth(operation["value"], tokens, f"{field}.value")
        checked["value"] = operation["value"]
    if op in _WITH_FROM:
        source = parse_pointer(operation.get("from"), f"{field}.from")
        if op == "move" and len(source) < len(tokens) and tokens[: len(source)] == source:
            raise InvalidInputError(f"{field}.path", "is inside of 'from': nothing can be moved into itself")
        checked["from"] = operation["from"]
    return checked


def apply(tree: Tree, operations: list[Operation]) -> None:
    """Apply operations in order; raises at the first that fails, and what was changed by then is dropped with the tree.

    Beside the six of RFC 6902: ``merge`` (RFC 7396), ``push`` and ``pop``.
    """
    room = BODY_BYTES_MAX
    for place, operation in enumerate(operations):
        op, tokens = operation["op"], parse_pointer(operation["path"])
        if op == "copy" or op == "move":
            source = parse_pointer(operation["from"])
            value = tree.at(source)
            check_depth(value, tokens, f"patch[{place}].path")
            if op == "copy":
                room -= len(canonical(value))
                if room < 0:
                    raise InvalidInputError(f"patch[{place}]", f"copies more than {BODY_BYTES_MAX} bytes")
                tree.add(tokens, _copied(value))
            elif source != tokens:
                tree.remove(source)
                tree.add(tokens, value)
        else:
            _apply_one(tree, op, tokens, operation)


def _apply_one(tree: Tree, op: Value, tokens: Tokens, operation: Operation) -> None:
    match op:
        case "add":
            tree.add(tokens, operation["value"])
        case "remove":
            tree.remove(tokens)
        case "replace":
            tree.replace(tokens, operation["value"])
        case "test":
            if not equal(tree.at(tokens), operation["value"]):
                raise ConflictError(f"{tree.name}: the test of {operation['path']!r} failed; it holds another value")
        case "merge":
            tree.root = merged(tree.root, operation["value"])
        case "push":
            tree.array(tokens).append(operation["value"])
        case "pop":
            pop(tree, tokens, operation["index"])
        case _:
            raise AssertionError(f"no such operation: {op!r}")


def pop(tree: Tree, tokens: Tokens, index: Any) -> Value:
    """Remove the item of an array at an index (negative: from the end) and return it; NotFoundError."""
    array = tree.array(tokens)
    if not -len(array) <= index < len(array):
        raise NotFoundError(f"{tree.name} has no item {index} in the array of {len(array)} at the path of pop()")
    value: Value = array.pop(index)
    return value


def merged(target: Value, patch: Value) -> Value:
    """Return what a merge patch makes of a value: None removes a member, and only objects are merged (RFC 7396)."""
    if type(patch) is not dict:
        return patch
    result = target if type(target) is dict else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def equal(a: Any, b: Any) -> bool:
    """Whether two values are equal as RFC 6902 has it: 1 is 1.0, but True is not 1; members in any order."""
    if type(a) is dict:
        return type(b) is dict and a.keys() == b.keys() and all(equal(value, b[name]) for name, value in a.items())
    if type(a) is list:
        return type(b) is list and len(a) == len(b) and all(map(equal, a, b))
    numbers = type(a) in (int, float) and type(b) in (int, float)
    return (numbers or type(a) is type(b)) and bool(a == b)


def _copied(value: Any) -> Any:
    if type(value) is dict:
        return {name: _copied(item) for name, item in value.items()}
    if type(value) is list:
        return [_copied(item) for item in value]
    return value
