"""The face of ``segment``: what users call. The record, its entries and folds are in ``segment.py``.

Each call that changes something is one commit, however many segments it names: all of them or none. Knows no tokenizer
but the one that it is handed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast import clock
from holdfast.codec import BODY_BYTES_MAX, check_text, decode, from_microseconds, to_microseconds
from holdfast.errors import InvalidInputError, NotFoundError, UnsupportedError
from holdfast.inputs import (
    check_choice,
    check_id,
    check_many,
    check_optional_text,
    check_time,
    check_version,
    check_words,
)
from holdfast.keys import uuid_of
from holdfast.model import Guard, Header, Record, Written
from holdfast.primitive import expecting
from holdfast.primitives import pruning
from holdfast.primitives import segment as kind
from holdfast.primitives.pruning import PrunePlan
from holdfast.primitives.segment import KIND, SegmentBody, SegmentChanges, SegmentPrimitive, Store, Update
from holdfast.scope import DirectScope, Listing, Scope, check_limit, cursor_place, cursor_text, first_record, take
from holdfast.search.text import Hit, Results, TextSearch
from holdfast.selection import Selection, value_prefix


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment as it is stored. Inside a transaction ``version`` and ``revision`` of what was just stored are 0."""

    id: UUID
    text: str
    type: str
    task_id: str | None
    tier: str
    pinned: bool
    generation: str
    gc_survival_count: int
    refcount: int
    file_path: str | None
    line_range: tuple[int, int] | None
    tags: tuple[str, ...]
    topic_id: str | None
    tokens: int | None
    last_touched_at: datetime
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
    version: int
    revision: int


def to_segment(record: Record) -> Segment:
    """Return a segment from its record."""
    fields = msgspec.structs.asdict(decode(record.body, SegmentBody))
    touched, deleted = fields.pop("last_touched_at"), fields.pop("deleted_at")
    return Segment(
        **fields,
        id=uuid_of(record.key),
        last_touched_at=from_microseconds(record.created_at if touched is None else touched),
        created_at=from_microseconds(record.created_at),
        updated_at=from_microseconds(record.updated_at),
        deleted_at=None if deleted is None else from_microseconds(deleted),
        version=record.version,
        revision=record.revision,
    )


def _written(outcomes: list[Written]) -> Segment:
    record = first_record(outcomes)
    assert isinstance(record, Record)
    return to_segment(record)


def _all_written(outcomes: list[Written]) -> list[Segment]:
    return [_written([outcome]) for outcome in outcomes]


def _happened(outcomes: list[Written]) -> bool:
    return bool(outcomes[0])


def _check_number(value: object, field: str) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise InvalidInputError(field, f"must be an int of 0 or more, not {value!r:.100}")
    return value


def _check_range(value: Any, field: str) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise InvalidInputError(field, f"must be (first line, last line), not {value!r:.100}")
    first, last = _check_number(value[0], field), _check_number(value[1], field)
    if last < first:
        raise InvalidInputError(field, f"ends at line {last}, before it begins at line {first}")
    return first, last


def _check_flag(value: object, field: str) -> bool:
    if type(value) is not bool:
        raise InvalidInputError(field, f"must be True or False, not {value!r:.100}")
    return value


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "text": lambda value, field: check_text(value, field, most_bytes=BODY_BYTES_MAX),
    "type": lambda value, field: check_choice(value, field, kind.TYPES),
    "task_id": check_optional_text,
    "tier": lambda value, field: check_choice(value, field, kind.TIERS),
    "pinned": _check_flag,
    "generation": lambda value, field: check_choice(value, field, kind.GENERATIONS),
    "refcount": _check_number,
    "file_path": check_optional_text,
    "line_range": _check_range,
    "tags": lambda value, field: check_words(value, field, most=kind.TAGS_MAX),
    "topic_id": check_optional_text,
    "tokens": lambda value, field: None if value is None else _check_number(value, field),
}


def _checked(given: dict[str, Any], tokenizer: Callable[[str], int] | None) -> dict[str, Any]:
    """Check what was given; a new text is counted, or its tokens are unknown."""
    fields = {name: _CHECKS[name](value, name) for name, value in given.items() if value is not UNSET}
    if "text" in fields and fields.get("tokens") is None:
        fields["tokens"] = None if tokenizer is None else _check_number(tokenizer(fields["text"]), "tokenizer")
    return fields


class Segments:
    """The face of ``segment``. As thread-safe as its scope."""

    def __init__(self, scope: Scope, search: TextSearch | None = None) -> None:
        self._scope = scope
        self._search = search

    # Writing

    def store(
        self,
        text: str,
        *,
        type: str,
        id: UUID | str | None = None,
        task_id: str | None = None,
        tier: str = "working",
        pinned: bool = False,
        generation: str = "young",
        refcount: int = 0,
        file_path: str | None = None,
        line_range: tuple[int, int] | None = None,
        tags: Iterable[str] = (),
        topic_id: str | None = None,
        tokens: int | None = None,
        tokenizer: Callable[[str], int] | None = None,
        created_at: datetime | None = None,
        expected_version: int | None = None,
        expected: Segment | None = None,
    ) -> Segment:
        """Create a segment, or replace the one with this ``id``.

        ``tokens`` is how many the text has; without it ``tokenizer`` counts them, and without both it is unknown.
        Raises InvalidInputError; ConflictError if ``expected_version`` (0: must not exist) or ``expected`` is not what
        is there.
        """
        given = {
            "text": text, "type": type, "task_id": task_id, "tier": tier, "pinned": pinned, "generation": generation,
            "refcount": refcount, "file_path": file_path, "line_range": line_range, "tags": tags,
            "topic_id": topic_id, "tokens": tokens,
        }  # fmt: skip
        key = (clock.new_id() if id is None else check_id(id)).bytes
        body = self._scope.codec.encode(SegmentBody(**_checked(given, tokenizer)))
        entry = Store(key, body, check_time(created_at, "created_at"))
        return self._scope.write([*_guards(key, expected_version, expected), entry], _written)

    def update(
        self,
        id: UUID | str,
        *,
        text: str | UnsetType = UNSET,
        type: str | UnsetType = UNSET,
        task_id: str | UnsetType | None = UNSET,
        generation: str | UnsetType = UNSET,
        refcount: int | UnsetType = UNSET,
        file_path: str | UnsetType | None = UNSET,
        line_range: tuple[int, int] | UnsetType | None = UNSET,
        tags: Iterable[str] | UnsetType = UNSET,
        topic_id: str | UnsetType | None = UNSET,
        tokens: int | UnsetType | None = UNSET,
        tokenizer: Callable[[str], int] | None = None,
        expected_version: int | None = None,
        expected: Segment | None = None,
    ) -> Segment:
        """Set some fields of a segment and touch it; what is not given stays, but tokens are those of the text.

        Raises NotFoundError if it does not exist or is deleted; InvalidInputError; ConflictError as for ``store``.
        """
        given = {
            "text": text, "type": type, "task_id": task_id, "generation": generation, "refcount": refcount,
            "file_path": file_path, "line_range": line_range, "tags": tags, "topic_id": topic_id, "tokens": tokens,
        }  # fmt: skip
        key = check_id(id).bytes
        steps = self._change([key], SegmentChanges(**_checked(given, tokenizer)), touched=True)
        return self._scope.write([*_guards(key, expected_version, expected), *steps], _written)

    def stash(self, ids: UUID | str | Iterable[UUID | str]) -> list[Segment]:
        """Set segments aside, all in one commit; NotFoundError, and nothing is changed, if one does not exist."""
        return self._move(ids, "stashed", touched=False)

    def unstash(self, ids: UUID | str | Iterable[UUID | str]) -> list[Segment]:
        """Bring segments back into the working tier and touch them; else as ``stash``."""
        return self._move(ids, "working", touched=True)

    def archive(self, ids: UUID | str | Iterable[UUID | str]) -> list[Segment]:
        """Put segments into the archive; else as ``stash``."""
        return self._move(ids, "archive", touched=False)

    def touch(self, id: UUID | str) -> Segment:
        """Say that a segment was used now. Raises NotFoundError."""
        return self._scope.write(self._change([check_id(id).bytes], SegmentChanges(), touched=True), _written)

    def pin(self, id: UUID | str) -> Segment:
        """Have a segment left alone by pruning and retention. Raises NotFoundError."""
        return self._scope.write(self._change([check_id(id).bytes], SegmentChanges(pinned=True)), _written)

    def unpin(self, id: UUID | str) -> Segment:
        """Undo ``pin``. Raises NotFoundError."""
        return self._scope.write(self._change([check_id(id).bytes], SegmentChanges(pinned=False)), _written)

    def delete(self, id: UUID | str, *, expected_version: int | None = None, expected: Segment | None = None) -> bool:
        """Delete a segment, leaving a tombstone that ``restore`` brings back; return True if there was one."""
        key = check_id(id).bytes
        return self._scope.write([*_guards(key, expected_version, expected), kind.SoftDelete(key)], _happened)

    def restore(self, id: UUID | str) -> bool:
        """Bring a deleted segment back; return True if there was a tombstone."""
        return self._scope.write([kind.Restore(check_id(id).bytes)], _happened)

    def purge(self, id: UUID | str) -> bool:
        """Remove a segment, or its tombstone, for good; return True if there was one."""
        return self._scope.write([kind.Purge(check_id(id).bytes)], _happened)

    # Pruning

    def plan_prune(self, target_tokens: int) -> PrunePlan:
        """Propose what to stash or delete so that the working tier has at most ``target_tokens``; changes nothing.

        Pinned segments, decisions of the last hour and those without a token count stay; see ``pruning.py``. The
        target may be out of reach, so look at ``tokens_after``. Raises InvalidInputError.
        """
        target = _check_number(target_tokens, "target_tokens")
        candidates = [
            pruning.Candidate(
                one.id, one.revision, one.type, one.tokens, to_microseconds(one.last_touched_at, "last_touched_at"),
                one.pinned, one.refcount, one.generation,
            )
            for one in self.load()
        ]  # fmt: skip
        return pruning.plan(candidates, target, self._scope.now())

    def apply(self, plan: PrunePlan) -> list[Segment]:
        """Do what a plan says in one commit; return what it took, as it is then.

        What is kept has survived a pruning: ``gc_survival_count`` rises, and the generation is old after two. Raises
        ConflictError, and nothing is changed, if a segment of its steps was changed since; InvalidInputError.
        """
        if not isinstance(plan, PrunePlan):
            raise InvalidInputError("plan", f"must be what plan_prune returned, not {plan!r:.100}")
        stashed = self._scope.codec.encode(SegmentChanges(tier="stashed"))
        guards: list[Any] = []
        entries: list[Any] = []
        for step in plan.steps:
            key = step.id.bytes
            guards += expecting(KIND, key, f"segment {step.id}", None, step)
            entries.append(kind.SoftDelete(key) if step.action == "delete" else Update(key, stashed))
        nothing = self._scope.codec.encode(SegmentChanges())
        entries += [Update(id.bytes, nothing, False, True) for id in plan.kept]
        taken = len(plan.steps)
        return self._scope.write([*guards, *entries], lambda found: _all_written(found[:taken])) if entries else []

    def _move(self, ids: UUID | str | Iterable[UUID | str], tier: str, *, touched: bool) -> list[Segment]:
        keys = list(dict.fromkeys([check_id(ids, "ids").bytes] if isinstance(ids, UUID | str) else _keys(ids)))
        if not keys:
            return []
        return self._scope.write(self._change(keys, SegmentChanges(tier=tier), touched=touched), _all_written)

    def _change(self, keys: Iterable[bytes], changes: SegmentChanges, *, touched: bool = False) -> Any:
        encoded = self._scope.codec.encode(changes)
        guards = [Guard(KIND, key, _must_live(key)) for key in keys]
        return [*guards, *(Update(key, encoded, touched) for key in keys)]

    # Reading

    def get(self, id: UUID | str, *, deleted: bool = False) -> Segment | None:
        """Return a segment, or None; a tombstone only if ``deleted``."""
        return self.get_batch([check_id(id)], deleted=deleted)[0]

    def get_batch(self, ids: Iterable[UUID | str], *, deleted: bool = False) -> list[Segment | None]:
        """Return segments in the order of their ids, None for what is not there; one round trip."""
        records = self._scope.read(KIND, _keys(ids))
        return [
            None if record is None or (not deleted and kind.is_tombstone(record)) else to_segment(record)
            for record in records
        ]

    def load(self, *, task_id: str | None = None) -> Listing[Segment]:
        """Return the whole working tier in order of creation, or that of a task."""
        return self.list(tier="working", task_id=task_id, limit=None)

    def list(
        self,
        *,
        tier: str | None = None,
        type: str | None = None,
        task_id: str | None = None,
        file_path: str | None = None,
        topic_id: str | None = None,
        tags: Iterable[str] = (),
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Segment]:
        """Return a page of segments in order of creation (``reverse``: the newest first) that have all that is given.

        ``tags`` must all be there; created_after <= created_at < created_before. ``limit`` None takes all.
        """
        selection = _selection(
            tier=tier, type=type, task_id=task_id, file_path=file_path, topic_id=topic_id, tags=tags,
            created_after=created_after, created_before=created_before, reverse=reverse,
        )  # fmt: skip
        found = selection.iterate(self._scope, cursor_place(after))
        records, place = take(found, check_limit(limit, optional=True))
        return Listing([to_segment(record) for record in records], cursor_text(place))

    def count(self, *, tier: str | None = None, type: str | None = None, task_id: str | None = None) -> int:
        """Count segments, those of a selection if one is given; reads no bodies."""
        return _selection(tier=tier, type=type, task_id=task_id).count(self._scope)

    def token_count(self) -> dict[str, int]:
        """Return the sum of the tokens of each tier; what nobody counted is 0."""
        sums = dict.fromkeys(kind.TIERS, 0)
        for _, record in _selection().iterate(self._scope, None):
            body = decode(record.body, SegmentBody)
            sums[body.tier] += body.tokens or 0
        return sums

    def search_stashed(
        self,
        query: str = "",
        *,
        tier: str = "stashed",
        type: str | None = None,
        task_id: str | None = None,
        file_path: str | None = None,
        tags: Iterable[str] = (),
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int = 10,
    ) -> Results[Segment]:
        """Return the stashed segments (or those of another ``tier``) that fit a query best; filters as for ``list``.

        An empty query is no words: the newest that pass the filters, each with score 1. Raises UnsupportedError for
        words inside a transaction, which reads one state while indexes follow another.
        """
        selection = _selection(
            tier=tier, type=type, task_id=task_id, file_path=file_path, tags=tags,
            created_after=created_after, created_before=created_before, reverse=True,
        )  # fmt: skip
        most = check_limit(limit)
        if not check_text(query, "query", empty_allowed=True).strip():
            records, _ = take(selection.iterate(self._scope, None), most)
            return Results([Hit(to_segment(record), 1.0, "", {}) for record in records])
        if self._search is None or not isinstance(self._scope, DirectScope):
            message = "search is not possible inside a transaction or a view; search the space before it begins"
            raise UnsupportedError(message, capability="search in a transaction")
        return self._search.search(self._scope, self._scope.registry.by_id(KIND), query, selection, most, to_segment)


def _keys(ids: Iterable[UUID | str]) -> Any:
    return [check_id(id, f"ids[{place}]").bytes for place, id in enumerate(check_many(ids, "ids"))]


def _selection(
    *,
    tags: Iterable[str] = (),
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    reverse: bool = False,
    **values: str | None,
) -> Selection:
    equal = [(kind.TAG, value_prefix(tag)) for tag in check_words(tags, "tags")]
    for name, value in values.items():
        if value is not None:
            equal.append((SegmentPrimitive.indexes[name], value_prefix(_CHECKS[name](value, name))))
    first, behind = check_time(created_after, "created_after"), check_time(created_before, "created_before")
    return Selection(KIND, kind.CREATED, equal, first, behind, reverse)


def _must_live(key: bytes) -> Callable[[Header | None], None]:
    def lives(record: Header | None) -> None:
        if record is None or kind.is_tombstone(record):
            what = "does not exist" if record is None else "does not exist any more: it is deleted"
            raise NotFoundError(f"segment {UUID(bytes=key)} {what}")

    return lives


def _guards(key: bytes, version: int | None, expected: Segment | None) -> tuple[Guard, ...]:
    return expecting(KIND, key, f"segment {UUID(bytes=key)}", check_version(version), expected)
