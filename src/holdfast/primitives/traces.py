"""The face of ``trace``: what users call. The record, its entries and folds are in ``trace.py``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from holdfast import clock
from holdfast.codec import BODY_BYTES_MAX, Value, check_text
from holdfast.errors import HoldfastError, InvalidInputError, NotFoundError
from holdfast.inputs import check_expiry, check_id, check_metadata, check_time, check_words
from holdfast.keys import key_range_prefix, uuid_of
from holdfast.model import Guard, Record, Written
from holdfast.primitive import expecting
from holdfast.primitives import otlp
from holdfast.primitives import trace as kind
from holdfast.primitives.span_inputs import (
    SpanRef,
    accepting,
    check_span_id,
    check_span_time,
    described,
    expected_span,
    judged,
    parent_is_there,
    select,
    stands_there,
)
from holdfast.primitives.trace import (
    KIND,
    DeleteSpan,
    EndSpan,
    RecordSpan,
    Span,
    SpanBody,
    SpanChanges,
    SpanTree,
    UpdateSpan,
    to_span,
)
from holdfast.scope import Listing, Scope, check_limit, cursor_place, cursor_text, first_record, take
from holdfast.selection import Selection, value_prefix


def _written(outcomes: list[Written]) -> Span:
    record = first_record(outcomes)
    assert isinstance(record, Record)
    return to_span(record)


def _happened(outcomes: list[Written]) -> bool:
    return bool(outcomes[0])


def _how_many(outcomes: list[Written]) -> int:
    return sum(bool(outcome) for outcome in outcomes)


class Traces:
    """The face of ``trace``. As thread-safe as its scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    # Writing

    def record(
        self,
        type: str,
        *,
        name: str | None = None,
        attributes: dict[str, Value] | None = None,
        parent: SpanRef | None = None,
        tags: Iterable[str] = (),
        start: datetime | None = None,
        end: datetime | None = None,
        status: str | UnsetType = UNSET,
        error: str | None = None,
        trace_id: UUID | str | None = None,
        id: UUID | str | None = None,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> Span:
        """Record a span that has ended: a tool_call, decision, query, thought, error, or any other ``type``.

        ``name`` is the type if none is given, ``start`` and ``end`` are now, ``status`` is "unset", or "error" if there
        is an ``error`` text. A root is a trace of its own, unless ``trace_id`` names one. Raises InvalidInputError;
        NotFoundError if the parent does not exist; ConflictError if ``id`` is taken.
        """
        now = clock.now()
        ended = now if end is None else check_span_time(end, "end")
        started = min(now, ended) if start is None else check_span_time(start, "start")
        if end is not None and ended < started:
            raise InvalidInputError("end", "must not be before the start")
        body = SpanBody(
            **described(type, name, attributes, tags, metadata), end=max(started, ended), **judged(status, error)
        )
        return self._record(body, started, parent, trace_id, id, check_expiry(expires_at, ttl))

    def begin(
        self,
        type: str,
        *,
        name: str | None = None,
        attributes: dict[str, Value] | None = None,
        parent: SpanRef | None = None,
        tags: Iterable[str] = (),
        start: datetime | None = None,
        trace_id: UUID | str | None = None,
        id: UUID | str | None = None,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> Span:
        """Record a span that has not ended; ``end`` ends it. See ``record`` for the rest."""
        started = clock.now() if start is None else check_span_time(start, "start")
        body = SpanBody(**described(type, name, attributes, tags, metadata))
        return self._record(body, started, parent, trace_id, id, check_expiry(expires_at, ttl))

    def end(
        self,
        id: SpanRef,
        *,
        status: str | UnsetType = UNSET,
        error: str | None = None,
        end: datetime | None = None,
        attributes: dict[str, Value] | None = None,
        expected_version: int | None = None,
        expected: Span | None = None,
    ) -> Span:
        """End an open span, with more ``attributes`` perhaps; the status is "ok" if none was set, now or before.

        Raises NotFoundError; ConflictError if it has ended already, or is not what was expected; InvalidInputError,
        also for an ``end`` before its start.
        """
        key = check_span_id(id, "id").bytes
        more = UNSET if attributes is None else check_metadata(attributes, "attributes")
        changes = self._encoded(SpanChanges(more_attributes=more, **judged(status, error)))
        entry = EndSpan(key, changes, None if end is None else check_span_time(end, "end"))
        return self._scope.write([*expected_span(key, expected_version, expected), entry], _written)

    def annotate(
        self,
        id: SpanRef,
        attributes: dict[str, Value] | None = None,
        *,
        tags: Iterable[str] = (),
        expected_version: int | None = None,
        expected: Span | None = None,
    ) -> Span:
        """Add attributes (those of the same name are replaced) and tags to a span, open or not.

        Added inside the commit, so of many that annotate one span none is lost. NotFoundError if it does not exist.
        """
        key = check_span_id(id, "id").bytes
        changes = SpanChanges(
            more_attributes=check_metadata(attributes, "attributes"),
            more_tags=check_words(tags, "tags", most=kind.TAGS_MAX),
        )
        entry = UpdateSpan(key, self._encoded(changes))
        return self._scope.write([*expected_span(key, expected_version, expected), entry], _written)

    def update(
        self,
        id: SpanRef,
        *,
        name: str | UnsetType = UNSET,
        attributes: dict[str, Value] | UnsetType = UNSET,
        tags: Iterable[str] | UnsetType = UNSET,
        status: str | UnsetType = UNSET,
        error: str | None = None,
        metadata: dict[str, Value] | UnsetType = UNSET,
        expires_at: datetime | UnsetType | None = UNSET,
        expected_version: int | None = None,
        expected: Span | None = None,
    ) -> Span:
        """Set some fields of a span; what is not given stays. NotFoundError if it does not exist."""
        key = check_span_id(id, "id").bytes
        changes = SpanChanges(
            name=UNSET if name is UNSET else check_text(name, "name"),
            attributes=UNSET if attributes is UNSET else check_metadata(attributes, "attributes"),
            tags=UNSET if tags is UNSET else check_words(tags, "tags", most=kind.TAGS_MAX),
            metadata=UNSET if metadata is UNSET else check_metadata(metadata),
            **judged(status, error),
        )
        expiry = kind.KEPT if expires_at is UNSET else check_time(expires_at, "expires_at")
        entry = UpdateSpan(key, self._encoded(changes), expiry)
        return self._scope.write([*expected_span(key, expected_version, expected), entry], _written)

    @contextmanager
    def span(
        self,
        type: str,
        *,
        name: str | None = None,
        attributes: dict[str, Value] | None = None,
        parent: SpanRef | None = None,
        tags: Iterable[str] = (),
        trace_id: UUID | str | None = None,
        id: UUID | str | None = None,
        metadata: dict[str, Value] | None = None,
        expires_at: datetime | None = None,
        ttl: timedelta | float | None = None,
    ) -> Iterator[Span]:
        """Begin a span and end it with the block: as "ok", or as "error" with the reason if the block raised.

        Nothing happens at the end if the block has ended the span itself, or deleted it. See ``begin``.
        """
        begun = self.begin(
            type, name=name, attributes=attributes, parent=parent, tags=tags, trace_id=trace_id, id=id,
            metadata=metadata, expires_at=expires_at, ttl=ttl,
        )  # fmt: skip
        try:
            yield begun
        except BaseException as error:
            reason = f"{error.__class__.__name__}: {error}"[:4096].encode(errors="replace").decode()
            try:
                self._close(begun, SpanChanges(status="error", error=reason))
            except HoldfastError as failure:
                error.add_note(f"the span {begun.id} could not be ended: {failure}")
            raise
        self._close(begun, SpanChanges())

    def record_otlp(self, document: dict[str, Any], *, partial: bool = False) -> Listing[Span]:
        """Record the spans of a document of OpenTelemetry (OTLP/JSON, parsed), in one commit; return them in its order.

        A span that was recorded before is replaced. A parent must be in the document or in the space,
        unless ``partial``: then it may come with a later document. What a span has that a Span has no field for - kind,
        events, links, resource, scope - is kept in ``metadata["otlp"]``, and written again by ``to_otlp``; times are
        cut to microseconds. Raises InvalidInputError that names the place; NotFoundError for a missing parent;
        ConflictError if a span of the same id stands elsewhere.
        """
        spans = otlp.from_otlp(document, "document")
        steps: list[Any] = []
        for span in otlp.parents_first(spans, "document"):
            key, parent = span.id.bytes, span.body.parent
            if parent is not None:
                steps.append(Guard(KIND, parent.bytes, parent_is_there(parent, span.body.trace_id, partial)))
            steps.append(Guard(KIND, key, stands_there(span.id, kind.place_terms(span.body, span.start))))
            body = self._encoded(span.body)
            steps.append(RecordSpan(key, body, span.start, None if parent is None else parent.bytes))

        def finish(outcomes: list[Written]) -> Listing[Span]:
            written = {span.id: span for span in (_written([outcome]) for outcome in outcomes)}
            return Listing([written[span.id] for span in spans], None)

        return self._scope.write(steps, finish) if steps else Listing([], None)

    def delete(self, id: SpanRef, *, expected_version: int | None = None, expected: Span | None = None) -> bool:
        """Remove one span; return True if there was one. What stands under it stays, under a parent that is gone."""
        key = check_span_id(id, "id").bytes
        return self._scope.write([*expected_span(key, expected_version, expected), DeleteSpan(key)], _happened)

    def delete_tree(self, id: SpanRef) -> int:
        """Remove a span and all that stands under it; return how many there were.

        What is there is removed in one commit; what others add under it meanwhile, in further ones.
        """
        deleted, level = 0, [check_span_id(id, "id").bytes]
        while level:
            keys = dict.fromkeys(level)
            while level := [key for key in self._below(level) if key not in keys]:
                keys.update(dict.fromkeys(level))
            deleted += self._scope.write([DeleteSpan(key) for key in keys], _how_many)
            level = list(self._below(keys))
        return deleted

    # Reading

    def get(self, id: SpanRef) -> Span | None:
        """Return a span, or None."""
        record = self._scope.read_one(KIND, check_span_id(id, "id").bytes)
        return None if record is None else to_span(record)

    def exists(self, id: SpanRef) -> bool:
        """Return True if there is a span with this id; reads no body."""
        return self._scope.read_one(KIND, check_span_id(id, "id").bytes, "headers") is not None

    def tree(self, root: SpanRef) -> SpanTree:
        """Return a span with all that stands under it, each level in order of start; reads its trace.

        NotFoundError if it does not exist.
        """
        id = check_span_id(root, "root")
        top = self.get(id)
        if top is None or top.trace_id is None:
            raise NotFoundError(f"span {id} does not exist")
        nodes = {id: SpanTree(top, [])}
        in_order = []
        low, high = key_range_prefix(value_prefix(top.trace_id))
        for _, record in self._scope.scan(KIND, kind.TRACE, low, high):
            span = to_span(record)
            if span.id != id:
                in_order.append(nodes.setdefault(span.id, SpanTree(span, [])))
        for node in in_order:
            above = None if node.span.parent is None else nodes.get(node.span.parent)
            if above is not None:
                above.children.append(node)
        return nodes[id]

    def children(self, id: SpanRef, *, limit: int | None = 100, after: str | None = None) -> Listing[Span]:
        """Return a page of the spans right under a span, in order of start."""
        return self.list(parent=check_span_id(id, "id"), limit=limit, after=after)

    def roots(
        self,
        *,
        type: str | None = None,
        tags: Iterable[str] = (),
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Span]:
        """Return a page of the spans without a parent, in order of start (``reverse``: the newest first)."""
        selection = select(type=type, tags=tags, status=status, since=since, until=until, reverse=reverse)
        selection.equal.append((kind.PARENT, value_prefix(None)))
        return self._listing(selection, None, limit, after)

    def count(
        self,
        *,
        type: str | None = None,
        name: str | None = None,
        tags: Iterable[str] = (),
        status: str | None = None,
        open: bool | None = None,
        trace_id: UUID | str | None = None,
        parent: SpanRef | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> int:
        """Count spans, those of a selection if one is given; reads no bodies."""
        selection = select(
            type=type, name=name, tags=tags, status=status, open=open, trace_id=trace_id, parent=parent,
            since=since, until=until,
        )  # fmt: skip
        if selection.equal or selection.absent or since is not None or until is not None:
            return selection.count(self._scope)
        return self._scope.count(KIND)

    def list(
        self,
        *,
        type: str | None = None,
        name: str | None = None,
        tags: Iterable[str] = (),
        status: str | None = None,
        open: bool | None = None,
        trace_id: UUID | str | None = None,
        parent: SpanRef | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        where: dict[str, Value] | None = None,
        reverse: bool = False,
        limit: int | None = 100,
        after: str | None = None,
    ) -> Listing[Span]:
        """Return a page of spans in order of start (``reverse``: the newest first) that have all that is given.

        ``tags`` must all be there; ``open``: it has not ended; since <= start < until; ``where`` are attributes that
        must be equal. ``limit`` None takes all.
        """
        selection = select(
            type=type, name=name, tags=tags, status=status, open=open, trace_id=trace_id, parent=parent,
            since=since, until=until, reverse=reverse,
        )  # fmt: skip
        return self._listing(selection, where, limit, after)

    def _record(
        self, body: SpanBody, start: int, parent: object, trace_id: object, id: object, expires_at: int | None
    ) -> Span:
        key = clock.new_id() if id is None else check_id(id)
        guards: tuple[Guard, ...] = ()
        if parent is None:
            body.trace_id = key if trace_id is None else check_id(trace_id, "trace_id")
            if not body.trace_id.int:
                raise InvalidInputError("trace_id", "must not be nil")
        elif trace_id is not None:
            raise InvalidInputError("trace_id", "cannot be given together with a parent, whose trace it is")
        else:
            body.parent = check_span_id(parent, "parent")
            body.trace_id = parent.trace_id if isinstance(parent, Span) else None
            guards = (Guard(KIND, body.parent.bytes, parent_is_there(body.parent)),)
        if id is not None:
            guards += expecting(KIND, key.bytes, f"span {key}", 0, None)
        under = None if body.parent is None else body.parent.bytes
        entry = RecordSpan(key.bytes, self._encoded(body), start, under, expires_at)
        return self._scope.write([*guards, entry], _written)

    def _encoded(self, body: msgspec.Struct) -> bytes:
        encoded: bytes = self._scope.codec.encode(body)
        if len(encoded) > BODY_BYTES_MAX:
            why = f"{len(encoded)} bytes with the rest of the span; at most {BODY_BYTES_MAX} are allowed"
            raise InvalidInputError("attributes", why)
        return encoded

    def _close(self, span: Span, changes: SpanChanges) -> None:
        self._scope.write([EndSpan(span.id.bytes, self._encoded(changes), at_most=True)], _happened)

    def _below(self, keys: Iterable[bytes]) -> Iterator[bytes]:
        for key in keys:
            low, high = key_range_prefix(value_prefix(uuid_of(key)))
            yield from (header.key for _, header in self._scope.scan(KIND, kind.PARENT, low, high, want="headers"))

    def _listing(
        self, selection: Selection, where: dict[str, Value] | None, limit: int | None, after: str | None
    ) -> Listing[Span]:
        found = selection.iterate(self._scope, cursor_place(after), accept=accepting(where))
        records, place = take(found, check_limit(limit, optional=True))
        return Listing([to_span(record) for record in records], cursor_text(place))
