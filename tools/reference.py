"""Write docs/reference.md from the docstrings and signatures of what is public. ``--check`` compares instead."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import holdfast
from holdfast import errors
from holdfast.primitives.documents import Documents
from holdfast.primitives.event import Events
from holdfast.primitives.intents import Intents
from holdfast.primitives.kv import KeyValues
from holdfast.primitives.memories import Memories
from holdfast.primitives.run import Runs
from holdfast.primitives.segments import Segments
from holdfast.primitives.state import States
from holdfast.primitives.traces import Traces
from holdfast.primitives.vectors import Vectors
from holdfast.search import query, where

TARGET = Path("docs/reference.md")
FACES = (
    ("store", holdfast.Store),
    ("space", holdfast.Space),
    ("run", holdfast.Run),
    ("space.memories", Memories),
    ("space.kv", KeyValues),
    ("space.json", Documents),
    ("space.events", Events),
    ("space.states", States),
    ("space.traces", Traces),
    ("space.segments", Segments),
    ("space.vectors", Vectors),
    ("space.intents", Intents),
    ("space.runs", Runs),
)
RECORDS = (
    "Memory",
    "NewMemory",
    "Session",
    "KeyValue",
    "Document",
    "Event",
    "Stream",
    "Verification",
    "State",
    "Span",
    "SpanTree",
    "Collection",
    "VectorRecord",
    "NewVector",
    "VectorHit",
    "VectorResults",
    "Intent",
    "Edge",
    "StatusChange",
    "IntentTree",
    "RunRecord",
    "Hit",
    "Results",
)
RECORDS += (
    "CommitHandle",
    "Difference",
    "Diff",
    "ChangeRecord",
    "HookDescription",
    "AgentResponse",
    "DocumentChunk",
    "Import",
    "Custom",
)


def signature(function: Any, owner: str) -> str:
    """The signature as it is called, without self."""
    found = inspect.signature(function)
    given = [one for name, one in found.parameters.items() if name != "self"]
    plain = found.replace(parameters=[one.replace(annotation=inspect.Parameter.empty) for one in given])
    return f"{owner}{str(plain).replace(' -> ', ' -> ')}".replace("'", "")


def paragraphs(doc: str | None) -> str:
    return inspect.cleandoc(doc or "").replace("``", "`")


def main() -> int:
    parts = ["# Reference", "Written from the docstrings by `make reference`.", "## Opening a store"]
    parts += [f"### `{signature(holdfast.open, 'holdfast.open')}`", paragraphs(holdfast.open.__doc__)]
    parts.append("`holdfast.open_async` takes the same arguments, and gives the same names for asyncio.")
    for path, face in FACES:
        parts += [f"## {path}", paragraphs(face.__doc__)]
        for name, method in inspect.getmembers(face, inspect.isfunction):
            if not name.startswith("_"):
                parts += [f"### `{signature(method, f'{path}.{name}')}`", paragraphs(method.__doc__)]
    parts += ["## OpenTelemetry", f"### `{signature(holdfast.to_otlp, 'holdfast.to_otlp')}`"]
    parts += [paragraphs(holdfast.to_otlp.__doc__), "`space.traces.record_otlp` takes such a document in."]
    parts.append("## Records")
    for name in RECORDS:
        record = getattr(holdfast, name)
        fields = ", ".join(f"`{field}`" for field in getattr(record, "__struct_fields__", ()))
        parts += [f"### {name}", paragraphs(record.__doc__), f"Fields: {fields}" if fields else ""]
    parts += ["## What a search takes", "```text\n" + inspect.cleandoc(query.__doc__ or "") + "\n```"]
    parts += ["## What `where=` takes for vectors", "```text\n" + inspect.cleandoc(where.__doc__ or "") + "\n```"]
    parts += ["## Errors", "```text\n" + inspect.cleandoc(errors.__doc__ or "") + "\n```"]
    text = "\n\n".join(part for part in parts if part) + "\n"
    if "--check" in sys.argv:
        return int(not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
