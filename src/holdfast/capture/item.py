"""What an importer gives: memories to be, and problems. Ids follow from where the material stands, so that reading it
again gives the same ones.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID, uuid5

import msgspec

from holdfast.codec import Value
from holdfast.primitives.memories import NewMemory
from holdfast.primitives.source import MemorySource

_SURROGATE = re.compile("[\ud800-\udfff]")
NAMESPACE = UUID("6f1d7b1e-3a52-5c5e-9a55-7c1f0c4d8e21")
CONTENT_CHARACTERS_MAX = 1_000_000


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """A memory to be. ``created_at`` is when it happened, if that is known."""

    id: UUID
    content: str
    source: MemorySource | None
    session_id: str | None = None
    tags: tuple[str, ...] = ()
    namespace: str | None = None
    file_path: str | None = None
    group: str | None = None
    status: str = "active"
    branch: str | None = None
    superseded_by: UUID | None = None
    derived_from: tuple[UUID, ...] = ()
    created_at: datetime | None = None
    metadata: dict[str, Value] = {}

    def to_new(self) -> NewMemory:
        """Return it as ``store_many`` takes it."""
        return NewMemory(**{name: getattr(self, name) for name in self.__struct_fields__})


class Problem(msgspec.Struct, frozen=True):
    """Something that could not be taken in: where (file, or file:line) and why."""

    where: str
    why: str


class Skipped(msgspec.Struct, frozen=True):
    """Something that was passed over on purpose; counted by its kind."""

    kind: str


class Complete(msgspec.Struct, frozen=True):
    """A document was read to its end: chunks of it that were not given are gone."""

    document: str


Item: TypeAlias = Captured | Problem | Skipped | Complete


def identity(*parts: object) -> UUID:
    """Return the id that belongs to a place (UUID version 5, RFC 9562)."""
    return uuid5(NAMESPACE, "\x1f".join(str(part) for part in parts))


def clean(text: str, notes: dict[str, Any]) -> str:
    """Return a text that can be stored: lone surrogates become U+FFFD, too much is cut; ``notes`` says so."""
    if not text.isascii():
        sound = _SURROGATE.sub("\ufffd", text)
        if sound != text:
            notes["replaced_characters"] = True
            text = sound
    if len(text) > CONTENT_CHARACTERS_MAX:
        notes["full_length"] = len(text)
        text = text[:CONTENT_CHARACTERS_MAX]
    return text


def parse(line: bytes) -> Any:
    """Return the value of a JSON line; ValueError if it is none.

    What the strict and fast parser refuses gets a second chance with the tolerant one (lone surrogates, for example).
    """
    try:
        return msgspec.json.decode(line)
    except (msgspec.MsgspecError, UnicodeError):
        try:
            return json.loads(line)
        except RecursionError as error:
            raise ValueError("is nested too deeply") from error


def shown(text: str) -> str:
    """Return a text of the system (a file name, say) so that it can be written down."""
    return text.encode("utf-8", "replace").decode()


def tidy(value: Any) -> Any:
    """Return a value of JSON with every lone surrogate replaced, at every depth."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [tidy(item) for item in value]
    if isinstance(value, dict):
        return {tidy(key): tidy(item) for key, item in value.items()}
    return value
