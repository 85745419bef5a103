"""Memories as JSON Lines: the form that ``holdfast export`` writes, or as little as ``{"content": "..."}``.

Fields that are not a memory's go to its metadata. Without an id, a line is known by its file and content.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from holdfast.capture.item import Captured, Item, Problem, clean, identity, parse
from holdfast.errors import InvalidInputError
from holdfast.inputs import check_metadata
from holdfast.primitives.memories import check_new

_FIELDS = frozenset(Captured.__struct_fields__) - {"content"}
_IGNORED = {"version", "revision", "updated_at", "word_count", "embeddings", "deleted_at", "expires_at"}


def read(source: Path | str | IO[bytes], name: str | None = None) -> Iterator[Item]:
    """Read a file, or a binary stream such as standard input. Raises InvalidInputError if it cannot be opened."""
    if isinstance(source, Path | str):
        try:
            with open(source, "rb") as stream:
                yield from _lines(stream, name or str(source))
        except OSError as error:
            raise InvalidInputError("path", f"{source} cannot be read: {error.strerror}") from error
    else:
        yield from _lines(source, name or "standard input")


def _lines(stream: IO[bytes], name: str) -> Iterator[Item]:
    for number, line in enumerate(stream, 1):
        if line.strip():
            where = f"{name}:{number}"
            try:
                yield _item(line, name)
            except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
                yield Problem(where, str(error))


def _item(line: bytes, name: str) -> Captured:
    data = parse(line)
    if type(data) is not dict:
        raise InvalidInputError("line", "must be a JSON object")
    text = data.pop("content", None) or data.pop("text", None)
    if type(text) is not str:
        raise InvalidInputError("content", "must be there, as a text")
    given: dict[str, Any] = {key: data.pop(key) for key in list(data) if key in _FIELDS and data[key] is not None}
    for key in _IGNORED | _FIELDS:
        data.pop(key, None)
    metadata: dict[str, Any] = {**data, **check_metadata(given.pop("metadata", {}))}
    content = clean(text, metadata)
    if "id" not in given:  # a line that was not exported is known by where it came from
        given["id"] = str(identity("jsonl", Path(name).name, content))
        given.setdefault("source", {"type": "import", "origin": "jsonl", "reference": Path(name).name})
    given.setdefault("source", None)
    item = msgspec.convert({**given, "content": content, "metadata": metadata}, Captured)
    check_new(item.to_new())
    return item
