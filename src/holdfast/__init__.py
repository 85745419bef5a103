"""Holdfast: the durable state layer for AI agents.

    import holdfast

    with holdfast.open("agent.db") as store:
        space = store.space("my-project")
        space.memories.store("Parser rewritten, tests pass", session_id="s1", tags=["parser"])
        for hit in space.memories.search("parser"):
            print(hit.score, hit.record.content)

Everything public is here; the submodules are for those who extend Holdfast (``holdfast.primitive``,
``holdfast.registry``, ``holdfast.backend``, ``holdfast.testing``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.backend import Compaction
from holdfast.errors import (
    ClosedError,
    CommitUnknownError,
    ConflictError,
    CorruptionError,
    DeadlineError,
    DiskFullError,
    FormatError,
    HoldfastError,
    InitError,
    InvalidInputError,
    LockedError,
    NotFoundError,
    PermissionDeniedError,
    PoisonedError,
    ReadError,
    ReadOnlyError,
    SerializationError,
    StorageError,
    TransactionError,
    UnavailableError,
    UnsupportedError,
    WriteError,
)
from holdfast.faces import REGISTRY
from holdfast.feed import ChangeRecord
from holdfast.forgetting import Forgetting
from holdfast.journal import Diff, Difference
from holdfast.primitives.documents import Document
from holdfast.primitives.embedding import Sparse
from holdfast.primitives.event import Event, Stream, Verification
from holdfast.primitives.intent_graph import Edge, Intent, IntentTree
from holdfast.primitives.intents import StatusChange
from holdfast.primitives.kv import KeyValue
from holdfast.primitives.memories import Memory, NewMemory, Session
from holdfast.primitives.otlp import to_otlp
from holdfast.primitives.pruning import PrunePlan
from holdfast.primitives.run import RunRecord
from holdfast.primitives.segments import Segment
from holdfast.primitives.source import AgentResponse, Custom, DocumentChunk, HookDescription, Import
from holdfast.primitives.state import State
from holdfast.primitives.trace import Span, SpanTree
from holdfast.primitives.vectors import Collection, NewVector, VectorRecord
from holdfast.records import to_dict
from holdfast.retention import Removal, Retention
from holdfast.scope import Listing, Pending
from holdfast.search.text import Hit, Results
from holdfast.search.vector import VectorHit, VectorResults
from holdfast.store import Replay, Run, Space, Store, Transaction, open

if TYPE_CHECKING:
    from holdfast.aio import AsyncSpace, AsyncStore, open_async
    from holdfast.commit_handle import CommitHandle

__all__ = [
    "REGISTRY",
    "AgentResponse",
    "AsyncSpace",
    "AsyncStore",
    "ChangeRecord",
    "ClosedError",
    "Collection",
    "CommitHandle",
    "CommitUnknownError",
    "Compaction",
    "ConflictError",
    "CorruptionError",
    "Custom",
    "DeadlineError",
    "Diff",
    "Difference",
    "DiskFullError",
    "Document",
    "DocumentChunk",
    "Edge",
    "Event",
    "Forgetting",
    "FormatError",
    "Hit",
    "HoldfastError",
    "HookDescription",
    "Import",
    "InitError",
    "Intent",
    "IntentTree",
    "InvalidInputError",
    "KeyValue",
    "Listing",
    "LockedError",
    "Memory",
    "NewMemory",
    "NewVector",
    "NotFoundError",
    "Pending",
    "PermissionDeniedError",
    "PoisonedError",
    "PrunePlan",
    "ReadError",
    "ReadOnlyError",
    "Removal",
    "Replay",
    "Results",
    "Retention",
    "Run",
    "RunRecord",
    "Segment",
    "SerializationError",
    "Session",
    "Space",
    "Span",
    "SpanTree",
    "Sparse",
    "State",
    "StatusChange",
    "StorageError",
    "Store",
    "Stream",
    "Transaction",
    "TransactionError",
    "UnavailableError",
    "UnsupportedError",
    "VectorHit",
    "VectorRecord",
    "VectorResults",
    "Verification",
    "WriteError",
    "open",
    "open_async",
    "to_dict",
    "to_otlp",
]

_LATE = {
    "AsyncSpace": "holdfast.aio",
    "AsyncStore": "holdfast.aio",
    "CommitHandle": "holdfast.commit_handle",
    "open_async": "holdfast.aio",
}


def __getattr__(name: str) -> Any:
    """Import asyncio and its face only when they are asked for; read the version from the package's metadata."""
    if name == "__version__":
        from importlib.metadata import version

        return version("holdfast")
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
