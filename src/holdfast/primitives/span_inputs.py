"""What users say of spans, checked: fields, times, which are asked for, what must be there. See ``traces.py``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from msgspec import UNSET

from holdfast.codec import Value, check_text, decode
from holdfast.errors import ConflictError, InvalidInputError, NotFoundError
from holdfast.inputs import check_choice, check_id, check_metadata, check_time, check_version, check_words
from holdfast.keys import uuid_of
from holdfast.model import Guard, Header, Record, Term
from holdfast.primitive import expecting
from holdfast.primitives import trace as kind
from holdfast.primitives.trace import KIND, Span, SpanBody
from holdfast.selection import Selection, value_prefix

SpanRef: TypeAlias = "Span | UUID | str"
"""A span, or its id."""


def check_span_id(span: object, field: str) -> UUID:
    """Return the id of a span, given as one, or as its id."""
    return span.id if isinstance(span, Span) else check_id(span, field)


def check_span_time(value: datetime, field: str) -> int:
    """Return the microseconds of a time that OpenTelemetry can say as well."""
    time = check_time(value, field)
    if time is None or not 0 < time <= kind.TIME_MAX:
        raise InvalidInputError(field, "must be a time after 1970-01-01T00:00:00Z and before 2554")
    return time


def described(type: object, name: object, attributes: object, tags: object, metadata: object) -> dict[str, Any]:
    """Return the checked fields of a new SpanBody; the name is the type if none is given."""
    checked = check_text(type, "type", most_bytes=128)
    return {
        "type": checked,
        "name": checked if name is None else check_text(name, "name"),
        "attributes": check_metadata(attributes, "attributes"),
        "tags": check_words(tags, "tags", most=kind.TAGS_MAX),
        "metadata": check_metadata(metadata),
    }


def judged(status: object, error: object) -> dict[str, Any]:
    """Return status and error text, as far as they are given; a text makes it an error."""
    given = {} if status is UNSET else {"status": check_choice(status, "status", kind.SPAN_STATUSES)}
    if error is None:
        return given
    if given.get("status", "error") != "error":
        raise InvalidInputError("error", f"cannot be given together with the status {given['status']!r}")
    return {"status": "error", "error": check_text(error, "error")}


def select(
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
    reverse: bool = False,
) -> Selection:
    """Return the selection of the spans that have all that is given."""
    equal: list[Term] = [(kind.TAG, value_prefix(tag)) for tag in check_words(tags, "tags")]
    absent: tuple[int, ...] = ()
    for index, field, text in ((kind.TYPE, "type", type), (kind.NAME, "name", name)):
        if text is not None:
            equal.append((index, value_prefix(check_text(text, field))))
    if status is not None and check_choice(status, "status", kind.SPAN_STATUSES) != "unset":
        equal.append((kind.STATUS, value_prefix(status)))
    elif status is not None:
        absent += (kind.STATUS,)
    if open is not None:
        if open.__class__ is not bool:
            raise InvalidInputError("open", f"must be True, False or None, not {open!r}")
        equal, absent = ([*equal, (kind.OPEN, b"")], absent) if open else (equal, (*absent, kind.OPEN))
    if trace_id is not None:
        equal.append((kind.TRACE, value_prefix(check_id(trace_id, "trace_id"))))
    if parent is not None:
        equal.append((kind.PARENT, value_prefix(check_span_id(parent, "parent"))))
    first, behind = check_time(since, "since"), check_time(until, "until")
    return Selection(KIND, kind.START, equal, first, behind, reverse, absent)


def accepting(where: dict[str, Value] | None) -> Any:
    """Return what tells if the attributes of a record hold all of ``where``; None if nothing is asked for."""
    if where is None:
        return None
    wanted = check_metadata(where, "where")

    def accepts(record: Record) -> bool:
        attributes = decode(record.body, SpanBody).attributes
        return all(
            key in attributes and attributes[key].__class__ is value.__class__ and attributes[key] == value
            for key, value in wanted.items()
        )

    return accepts


def parent_is_there(parent: UUID, trace_id: UUID | None = None, may_miss: bool = False) -> Any:
    """Return the check of a guard on a parent: that it is there, and of this trace if that is given."""

    def is_there(header: Header | None) -> None:
        if header is None:
            if not may_miss:
                raise NotFoundError(f"the parent span {parent} does not exist")
        elif trace_id is not None and kind.trace_of(header) != trace_id:
            raise ConflictError(f"the parent span {parent} is of another trace, {kind.trace_of(header)}")

    return is_there


def stands_there(id: UUID, terms: tuple[Term, ...]) -> Any:
    """Return the check of a guard on a span that is recorded again: that it stands where it stood."""

    def is_the_same(header: Header | None) -> None:
        if header is not None and not set(terms) <= set(header.terms):
            raise ConflictError(f"span {id} exists already, with another start, parent or trace")

    return is_the_same


def expected_span(key: bytes, version: int | None, expected: Span | None) -> tuple[Guard, ...]:
    """Return the guards for ``expected_version=`` and ``expected=``."""
    if version is None and expected is None:
        return ()
    return expecting(KIND, key, f"span {uuid_of(key)}", check_version(version), expected)
