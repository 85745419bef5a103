"""Where a memory came from: a tagged union, so that each source keeps what is known of it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from holdfast.codec import Value, check_text, check_value
from holdfast.errors import InvalidInputError


class HookDescription(msgspec.Struct, frozen=True, tag_field="type", tag="hook_description", omit_defaults=True):
    """What a hook of an agent told (for example "SessionStart", "PostToolUse")."""

    hook_type: str
    tool_name: str | None = None


class AgentResponse(msgspec.Struct, frozen=True, tag_field="type", tag="agent_response", omit_defaults=True):
    """What an agent said (for example "SessionSummary", "StopResponse")."""

    response_type: str


class DocumentChunk(msgspec.Struct, frozen=True, tag_field="type", tag="document_chunk", omit_defaults=True):
    """A part of a document. Indices and offsets count from 0, lines from 1 (inclusive); the hash is SHA-256, hex."""

    file_path: str
    chunk_index: int
    total_chunks: int
    word_offset: int = 0
    char_offset: int = 0
    start_line: int = 1
    end_line: int = 1
    heading: str | None = None
    file_hash: str | None = None


class Import(msgspec.Struct, frozen=True, tag_field="type", tag="import", omit_defaults=True):
    """Taken in from elsewhere: ``origin`` says from what, ``reference`` which one."""

    origin: str
    reference: str | None = None


class Custom(msgspec.Struct, frozen=True, tag_field="type", tag="custom", omit_defaults=True):
    """A source of the user's own."""

    name: str
    data: dict[str, Value] = {}


MemorySource: TypeAlias = HookDescription | AgentResponse | DocumentChunk | Import | Custom
SourceType: TypeAlias = Literal["hook_description", "agent_response", "document_chunk", "import", "custom"]
_CLASSES = (HookDescription, AgentResponse, DocumentChunk, Import, Custom)
SOURCE_TYPES: tuple[str, ...] = tuple(str(one.__struct_config__.tag) for one in _CLASSES)


def source_type(source: MemorySource) -> str:
    """Return the name of a source's type, as in ``memories.list(source="document_chunk")``."""
    return str(type(source).__struct_config__.tag)


def check_source(source: object) -> MemorySource | None:
    """Return a source whose fields have the right types, or None."""
    if source is None:
        return None
    if not isinstance(source, _CLASSES):
        names = ", ".join(one.__name__ for one in _CLASSES)
        raise InvalidInputError("source", f"must be one of {names}, not {type(source).__name__}")
    if isinstance(source, Custom):
        check_value(source.data, "source.data")
    try:
        msgspec.convert(msgspec.to_builtins(source), type(source))
    except (msgspec.ValidationError, TypeError) as error:
        raise InvalidInputError("source", str(error)) from error
    for field, value in msgspec.structs.asdict(source).items():
        if isinstance(value, str):
            check_text(value, f"source.{field}", empty_allowed=True)
    return source
