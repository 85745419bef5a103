"""Writing what was captured: only what is new or has changed, and a document's change as one transaction.

Promises: capturing the same material again writes nothing; a crash leaves each document as it was before or after;
the chunks of a document that has become shorter are deleted; a document that could not be read keeps its chunks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any

import msgspec

from holdfast.capture.item import Captured, Complete, Item, Problem, Skipped
from holdfast.primitives.memories import Memory
from holdfast.primitives.source import DocumentChunk

BATCH_SIZE = 500
_KEPT = ("status", "branch", "superseded_by", "derived_from")
"""What users change and sources do not know: an import leaves it as it is."""


class Summary(msgspec.Struct):
    """What an import did."""

    read: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    problems: list[Problem] = []
    skipped: Counter[str] = msgspec.field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        counts = {name: getattr(self, name) for name in ("read", "added", "updated", "unchanged", "removed")}
        problems = [{"where": one.where, "why": one.why} for one in self.problems]
        return {**counts, "problems": problems, "skipped": dict(self.skipped)}


def sync(
    space: Any,
    items: Iterable[Item],
    *,
    dry_run: bool = False,
    progress: Callable[[int], None] | None = None,
    batch_size: int = BATCH_SIZE,
) -> Summary:
    """Bring a space up to date with what was captured; ``progress`` is told how many items have been read.

    ``dry_run`` counts what would be done, and writes nothing.
    """
    summary = Summary()
    batch: list[Captured] = []

    def write() -> None:
        if batch:
            _write(space, batch, summary, dry_run)
            batch.clear()
        if progress is not None:
            progress(summary.read)

    for document, group in groupby(items, key=_document):
        if document is not None:
            write()
            whole = list(group)
            chunks = [one for one in whole if isinstance(one, Captured)]
            summary.read += len(chunks)
            complete = any(isinstance(one, Complete) for one in whole)
            _write_document(space, document, chunks, summary, dry_run, complete)
            continue
        for item in group:
            if isinstance(item, Problem):
                summary.problems.append(item)
            elif isinstance(item, Skipped):
                summary.skipped[item.kind] += 1
            elif isinstance(item, Captured):
                summary.read += 1
                batch.append(item)
                if len(batch) >= batch_size:
                    write()
    write()
    return summary


def _document(item: Item) -> str | None:
    """The document that an item belongs to, if it does."""
    if isinstance(item, Complete):
        return item.document
    is_chunk = isinstance(item, Captured) and isinstance(item.source, DocumentChunk)
    return item.file_path if is_chunk and isinstance(item, Captured) else None


def _write(space: Any, batch: list[Captured], summary: Summary, dry_run: bool) -> None:
    unique = list({item.id: item for item in batch}.values())
    summary.unchanged += len(batch) - len(unique)
    found = space.memories.get_batch([item.id for item in unique], deleted=True)
    changed = _changed(unique, found, summary)
    if changed and not dry_run:
        space.memories.store_many([item.to_new() for item in changed])


def _write_document(
    space: Any, document: str, chunks: list[Captured], summary: Summary, dry_run: bool, complete: bool
) -> None:
    def change(tx: Any) -> Summary:
        counted = Summary()
        found = tx.memories.get_batch([chunk.id for chunk in chunks], deleted=True)
        changed = _changed(chunks, found, counted)
        kept = {chunk.id for chunk in chunks}
        stored = tx.memories.list(file_path=document, source="document_chunk", limit=None)
        gone = [memory.id for memory in stored if memory.id not in kept and complete]
        counted.removed = len(gone)
        if not dry_run:
            tx.memories.store_many([chunk.to_new() for chunk in changed])
            for id in gone:
                tx.memories.delete(id)
        return counted

    counted = space.transact(change)
    for name in ("added", "updated", "unchanged", "removed"):
        setattr(summary, name, getattr(summary, name) + getattr(counted, name))


def _changed(items: list[Captured], found: list[Memory | None], summary: Summary) -> list[Captured]:
    changed = []
    for item, memory in zip(items, found, strict=True):
        if memory is None:
            summary.added += 1
            changed.append(item)
        elif memory.deleted_at is None and _same(item, memory):
            summary.unchanged += 1
        else:
            summary.updated += 1
            changed.append(msgspec.structs.replace(item, **{name: getattr(memory, name) for name in _KEPT}))
    return changed


def _same(item: Captured, memory: Memory) -> bool:
    names = set(Captured.__struct_fields__) - {"id", "created_at", *_KEPT}
    return all(getattr(item, name) == getattr(memory, name) for name in names)
