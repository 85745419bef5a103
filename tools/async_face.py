"""Write src/holdfast/aio_faces.py: the asynchronous twin of each face, method by method, from the synchronous source.

Each method has the signature of its twin and hands over to it, so no logic is there twice. Run with ``--check`` to fail
if the committed file is not what would be written.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

SOURCE = Path("src/holdfast")
TARGET = SOURCE / "aio_faces.py"
FACES = (
    ("primitives/kv.py", "KeyValues", "kv"),
    ("primitives/documents.py", "Documents", "json"),
    ("primitives/event.py", "Events", "events"),
    ("primitives/state.py", "States", "states"),
    ("primitives/traces.py", "Traces", "traces"),
    ("primitives/memories.py", "Memories", "memories"),
    ("primitives/segments.py", "Segments", "segments"),
    ("primitives/vectors.py", "Vectors", "vectors"),
    ("primitives/intents.py", "Intents", "intents"),
    ("primitives/run.py", "Runs", "runs"),
)
WRITES = {
    "KeyValues": {"put", "create", "update", "put_many", "delete", "delete_many"},
    "Documents": {"put", "create", "update", "set", "delete", "push", "pop", "patch", "merge_patch"},
    "Events": {"append", "append_many"},
    "States": {"init", "set", "compare_and_set", "transition", "delete"},
    "Traces": {"record", "begin", "end", "annotate", "update", "record_otlp", "delete"},
    "Memories": {"store", "create", "store_many", "update", "delete", "restore", "purge"},
    "Segments": {"store", "update", "touch", "pin", "unpin", "delete", "restore", "purge"},
    "Vectors": {"insert", "put", "update", "delete"},  # many at once take long to check
    "Intents": {"update", "transition", "restore", "unlink"},  # the others may plan in a transaction
    "Runs": {"create", "begin", "update", "pause", "end", "fail", "cancel", "archive", "drop_journal"},
}
COMPUTES = {("Vectors", "search"), ("Vectors", "refresh_search")}
"""What would hold the event loop up even where nothing waits for a disk."""
HEADER = '''"""The asynchronous faces: each method has the signature of its synchronous twin, and hands over to it.

Written by tools/async_face.py; change that or the synchronous faces, then run it again.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from holdfast.async_work import AsyncFace
from holdfast.codec import Value
from holdfast.primitives.embedding import Embedding
from holdfast.primitives.event import Event, Events, Stream, Verification
from holdfast.primitives.documents import Document, Documents
from holdfast.primitives.kv import KeyValue, KeyValues
from holdfast.primitives.memories import Memories, Memory, NewMemory, Session
from holdfast.primitives.intent import EDGE_TYPES, PRIORITY_MAX
from holdfast.primitives.intent_graph import Edge, Intent, IntentTree
from holdfast.primitives.intents import Intents, StatusChange
from holdfast.primitives.pruning import PrunePlan
from holdfast.primitives.run import LEASE_SECONDS, RunRecord, Runs
from holdfast.primitives.segments import Segment, Segments
from holdfast.primitives.source import MemorySource
from holdfast.primitives.span_inputs import SpanRef
from holdfast.primitives.state import State, States
from holdfast.primitives.trace import Span, SpanTree
from holdfast.primitives.traces import Traces
from holdfast.primitives.vectors import Collection, NewVector, VectorRecord, Vectors
from holdfast.scope import Listing, Pending
from holdfast.search.text import Results
from holdfast.search.vector import VectorResults
'''


def call_of(method: ast.FunctionDef) -> str:
    """The arguments of the twin's call."""
    given = [argument.arg for argument in method.args.args[1:]]
    given += [f"{argument.arg}={argument.arg}" for argument in method.args.kwonlyargs]
    if method.args.kwarg:
        given.append(f"**{method.args.kwarg.arg}")
    return "".join(f", {one}" for one in given)


def method_of(owner: str, method: ast.FunctionDef) -> str:
    """The asynchronous twin of one method."""
    returns = ast.unparse(method.returns) if method.returns else "None"
    how, target = ("_submit" if method.name in WRITES[owner] else "_hop"), f"self._face.{method.name}"
    if (owner, method.name) in COMPUTES:
        how = "_leave"
    is_block = bool(method.decorator_list)
    if is_block:
        returns = "AbstractAsyncContextManager[" + returns.removeprefix("Iterator[")
    elif returns.startswith("Iterator["):
        returns, target = "list[" + returns.removeprefix("Iterator["), f"self._as_list({target})"
    doc = (ast.get_docstring(method) or "").splitlines()[0]
    body = f'        """{doc}\n\n        See ``{owner}.{method.name}``.\n        """\n'
    if is_block:  # a block that is entered and left
        body += f"        return self._within({target}({call_of(method)[2:]}))\n"
        return f"    def {method.name}({ast.unparse(method.args)}) -> {returns}:\n{body}"
    body += f"        return await self.{how}({target}{call_of(method)})\n"
    return f"    async def {method.name}({ast.unparse(method.args)}) -> {returns}:\n{body}"


def text() -> str:
    """The whole file, formatted."""
    parts = [HEADER]
    for file, owner, _ in FACES:
        tree = ast.parse((SOURCE / file).read_text(encoding="utf-8"))
        face = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner)
        methods = [
            node
            for node in face.body
            if isinstance(node, ast.FunctionDef)
            and not node.name.startswith("_")
            and [ast.unparse(one) for one in node.decorator_list] in ([], ["contextmanager"])
        ]
        methods.sort(key=lambda one: one.name == "list")  # a method of that name hides the type in what follows
        parts.append(f'class Async{owner}(AsyncFace[{owner}]):\n    """The twin of ``{owner}``."""\n')
        parts += [method_of(owner, method) for method in methods]
    unformatted = "\n\n".join(parts)
    for command in (["check", "--fix", "--quiet", "--select", "I,F401"], ["format", "--quiet"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(TARGET), "-"]
        unformatted = subprocess.run(ruff, input=unformatted, capture_output=True, text=True, check=True).stdout
    return unformatted


def main() -> int:
    """Write the file, or compare it."""
    wanted = text()
    if "--check" in sys.argv:
        return int(TARGET.read_text(encoding="utf-8") != wanted)
    TARGET.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
