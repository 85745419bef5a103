"""JSON Pointer (RFC 6901) into values, and a document that is changed at places told by pointers.

Promises: pure, and the same in every version, since folds are made of it; works on every type of value (bytes, UUID and
datetime are leaves). A ``Tree`` changes the value that it was given in place, and says in each error which document and
which place it means. Knows no record and no store.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from holdfast.codec import NESTING_MAX, Value, check_text
from holdfast.errors import InvalidInputError, NotFoundError

Tokens: TypeAlias = tuple[str, ...]

END = "-"
"""The token that stands for the place behind the last item of an array."""
_INDEX_DIGITS_MAX = 18


def parse_pointer(pointer: object, field: str = "pointer") -> Tokens:
    """Return the reference tokens of a pointer; InvalidInputError unless it is "" or starts with "/"."""
    text = check_text(pointer, field, empty_allowed=True)
    if not text:
        return ()
    if text[0] != "/":
        raise InvalidInputError(field, f"must be empty (the whole document) or start with '/', not {text!r:.100}")
    tokens = text[1:].split("/")
    if "~" in text:
        for place, token in enumerate(tokens):
            if token.count("~") != token.count("~0") + token.count("~1"):
                raise InvalidInputError(field, f"in {text!r:.100} a '~' is followed by neither 0 nor 1")
            tokens[place] = token.replace("~1", "/").replace("~0", "~")
    return tuple(tokens)


def to_pointer(tokens: Tokens) -> str:
    """Return the text of a pointer."""
    return "".join(f"/{token.replace('~', '~0').replace('/', '~1')}" for token in tokens)


def find(value: Any, tokens: Tokens) -> list[Value]:
    """Return what is at a place: a list of one value, or of none."""
    for token in tokens:
        if type(value) is dict and token in value:
            value = value[token]
        elif type(value) is list and (index := _index(token, len(value))) is not None:
            value = value[index]
        else:
            return []
    return [value]


def _index(token: str, length: int) -> int | None:
    """Return the index below ``length`` that a token is, or None: digits without a leading zero."""
    if not (token.isascii() and token.isdigit()) or (token[0] == "0" and token != "0"):
        return None
    if len(token) > _INDEX_DIGITS_MAX or int(token) >= length:
        return None
    return int(token)


def depth(value: Any) -> int:
    """Return how many levels of list and dict a value has; 0 for a leaf."""
    if type(value) is dict:
        return 1 + max(map(depth, value.values()), default=0)
    if type(value) is list:
        return 1 + max(map(depth, value), default=0)
    return 0


def check_depth(value: Value, tokens: Tokens, field: str) -> None:
    """InvalidInputError if a value would be nested too deeply at this place."""
    if len(tokens) + depth(value) > NESTING_MAX:
        where = to_pointer(tokens)
        raise InvalidInputError(field, f"would be nested more than {NESTING_MAX} levels deep at {where!r:.100}")


class Tree:
    """A document that is being changed: ``root`` is its value, ``name`` what errors call it. Not thread-safe."""

    def __init__(self, root: Any, name: str) -> None:
        self.root = root
        self.name = name

    def at(self, tokens: Tokens) -> Any:
        """Return what is at a place; NotFoundError if nothing is."""
        found = find(self.root, tokens)
        if not found:
            raise self.missing(tokens)
        return found[0]

    def array(self, tokens: Tokens) -> list[Any]:
        """Return the array at a place; NotFoundError if there is none."""
        found = self.at(tokens)
        if type(found) is not list:
            raise NotFoundError(f"{self.name} has no array at {to_pointer(tokens)!r}, but {_kind(found)}")
        return found

    def set(self, tokens: Tokens, value: Value) -> None:
        """Add or replace a member; replace an item, or append at the end ("-" or the length)."""
        if not tokens:
            self.root = value
            return
        parent = self._parent(tokens)
        if type(parent) is dict:
            parent[tokens[-1]] = value
        elif tokens[-1] in (END, str(len(parent))):
            parent.append(value)
        else:
            parent[self._index(parent, tokens)] = value

    def add(self, tokens: Tokens, value: Value) -> None:
        """Add or replace a member; insert an item, so that those behind it move on (RFC 6902 ``add``)."""
        if not tokens:
            self.root = value
            return
        parent = self._parent(tokens)
        if type(parent) is dict:
            parent[tokens[-1]] = value
        elif tokens[-1] in (END, str(len(parent))):
            parent.append(value)
        else:
            parent.insert(self._index(parent, tokens), value)

    def replace(self, tokens: Tokens, value: Value) -> None:
        """Replace what is there; NotFoundError if nothing is."""
        self.at(tokens)
        self.set(tokens, value)

    def remove(self, tokens: Tokens) -> Any:
        """Remove what is at a place below the root and return it; NotFoundError if nothing is."""
        parent = self._parent(tokens)
        if type(parent) is list:
            return parent.pop(self._index(parent, tokens))
        if tokens[-1] not in parent:
            raise self.missing(tokens)
        return parent.pop(tokens[-1])

    def missing(self, tokens: Tokens) -> NotFoundError:
        """Return the error for a place where nothing is, which names the first step that leads nowhere."""
        depth_found = 0
        while find(self.root, tokens[: depth_found + 1]):
            depth_found += 1
        above = find(self.root, tokens[:depth_found])[0]
        wanted, gone = to_pointer(tokens), to_pointer(tokens[: depth_found + 1])
        place = f"{wanted!r}" if wanted == gone else f"{wanted!r}, not even {gone!r}"
        return NotFoundError(f"{self.name} has nothing at {place}; above it is {_kind(above)}")

    def _parent(self, tokens: Tokens) -> Any:
        parent = self.at(tokens[:-1])
        if type(parent) is not dict and type(parent) is not list:
            raise self.missing(tokens)
        return parent

    def _index(self, parent: list[Any], tokens: Tokens) -> int:
        index = _index(tokens[-1], len(parent))
        if index is None:
            raise self.missing(tokens)
        return index


def _kind(value: Any) -> str:
    if type(value) is list:
        return f"an array of {len(value)}"
    return "an object" if type(value) is dict else f"a value of type {type(value).__name__}"
