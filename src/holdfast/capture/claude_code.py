"""The transcripts of Claude Code: prompts, answers, tool uses and their results, session by session.

A transcript is JSON Lines in an internal format that changes, so nothing is taken for granted: lines of a type that is
not known are kept if they hold text and counted if they do not; a half-written last line is passed over; a broken line
in the middle is a Problem; no line stops the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from holdfast.capture.item import Captured, Item, Problem, Skipped, clean, identity, parse, tidy
from holdfast.errors import InvalidInputError
from holdfast.primitives.source import AgentResponse, Custom, HookDescription, Import, MemorySource

PREVIEW_CHARACTERS = 2000


def read(path: Path | str) -> Iterator[Item]:
    """Read one transcript, the folder of a project, or the folder of all projects.

    Raises InvalidInputError if the path does not exist.
    """
    root = Path(path).expanduser()
    if not root.exists():
        raise InvalidInputError("path", f"{root} does not exist; transcripts stand in ~/.claude/projects")
    for file in [root] if root.is_file() else sorted(root.rglob("*.jsonl")):
        try:
            with file.open("rb") as stream:
                yield from _lines(stream, file)
        except OSError as error:
            yield Problem(str(file), error.strerror or str(error))


def _lines(stream: Any, file: Path) -> Iterator[Item]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            data = parse(line)
        except (ValueError, RecursionError) as error:
            if line.endswith(b"\n"):
                yield Problem(f"{file}:{number}", f"is no JSON: {error}")
            else:
                yield Skipped("half-written last line")
            continue
        if not isinstance(data, dict):
            yield Problem(f"{file}:{number}", "is no JSON object")
            continue
        surrogates = b"\\ud" in line.lower()
        yield from _items(tidy(data) if surrogates else data, file, number, replaced=surrogates)


def _items(data: dict[str, Any], file: Path, number: int, *, replaced: bool) -> Iterator[Item]:
    kind = _text(data, "type") or "(no type)"
    parts = list(_parts(kind, data))
    if not parts:
        yield Skipped(kind)
        return
    session = _text(data, "sessionId") or file.stem
    notes = _notes(data)
    if replaced:
        notes["replaced_characters"] = True
    for index, (content, source, tags, more) in enumerate(parts):
        metadata = {**notes, **more}
        text = clean(content, metadata)
        if not text.strip():
            continue
        anchor = _text(data, "uuid")
        yield Captured(
            id=identity("claude-code", session, anchor or f"{file.name}:{number}", index),
            content=text,
            source=source,
            session_id=_bounded(session),
            tags=tuple(tags),
            created_at=_time(data.get("timestamp")),
            metadata=_sound(metadata),
        )


def _parts(kind: str, data: dict[str, Any]) -> Iterator[tuple[str, MemorySource, list[str], dict[str, Any]]]:
    """The texts of a line: each with its source, tags and what else is known of it."""
    message = data.get("message")
    content = message.get("content") if isinstance(message, dict) else None
    if kind == "user":
        if isinstance(content, str):
            yield content, HookDescription("UserPromptSubmit"), ["prompt"], {}
        yield from _blocks(content, HookDescription("UserPromptSubmit"), "prompt")
    elif kind == "assistant":
        model = message.get("model") if isinstance(message, dict) else None
        for text, source, tags, more in _blocks(content, AgentResponse("SignificantResponse"), "answer"):
            yield text, source, tags, {**more, "model": model} if isinstance(model, str) else more
        if isinstance(content, str):
            yield content, AgentResponse("SignificantResponse"), ["answer"], {}
    elif kind == "summary" and isinstance(data.get("summary"), str):
        yield data["summary"], AgentResponse("SessionSummary"), ["summary"], {}
    elif kind == "system" and isinstance(data.get("content"), str):
        yield data["content"], Import("claude-code", "system"), ["system"], {}
    else:
        found = [value for key in ("content", "text", "title", "summary") if isinstance(value := data.get(key), str)]
        if isinstance(content, str):
            found.insert(0, content)
        for text in found[:1]:
            yield (
                text,
                Custom("claude-code", {"type": kind[:128].encode(errors="replace").decode()}),
                ["unknown-type"],
                {},
            )


def _blocks(
    content: Any, source: MemorySource, tag: str
) -> Iterator[tuple[str, MemorySource, list[str], dict[str, Any]]]:
    for block in content if isinstance(content, list) else ():
        if not isinstance(block, dict):
            continue
        kind = block.get("type")
        if kind == "text" and isinstance(block.get("text"), str):
            yield block["text"], source, [tag], {}
        elif kind == "tool_use":
            name = _text(block, "name") or "tool"
            text = f"{name} {_compact(block.get('input'))}"
            more = {"tool_use_id": block.get("id"), "full_length": len(text)}
            yield text[:PREVIEW_CHARACTERS], HookDescription("PreToolUse", _bounded(name)), ["tool-use"], more
        elif kind == "tool_result":
            text = _result_text(block.get("content"))
            more = {"tool_use_id": block.get("tool_use_id"), "full_length": len(text)}
            yield text[:PREVIEW_CHARACTERS], HookDescription("PostToolUse"), ["tool-result"], more


def _result_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [block.get("text") for block in content if isinstance(block, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))
    return ""


def _compact(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _notes(data: dict[str, Any]) -> dict[str, Any]:
    names = {"uuid": "uuid", "parentUuid": "parent_uuid", "cwd": "cwd", "gitBranch": "git_branch", "version": "version"}
    notes: dict[str, Any] = {ours: data[theirs] for theirs, ours in names.items() if isinstance(data.get(theirs), str)}
    for theirs, ours in (("isSidechain", "sidechain"), ("isMeta", "meta"), ("isCompactSummary", "compact_summary")):
        if data.get(theirs) is True:
            notes[ours] = True
    return notes


def _sound(metadata: dict[str, Any]) -> dict[str, Any]:
    """Keep what can be stored: texts without lone surrogates, numbers and flags."""
    kept: dict[str, Any] = {}
    for key, value in metadata.items():
        if isinstance(value, str):
            kept[key] = value.encode("utf-8", "replace").decode()
        elif type(value) in (bool, int):
            kept[key] = value
    return kept


def _text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and value else None


def _bounded(text: str) -> str:
    return text[:256].encode("utf-8", "replace").decode() or "-"


def _time(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
