"""Spans to OTLP/JSON, the JSON form of OpenTelemetry's protocol, and back. Pure; needs nothing of OpenTelemetry.

    {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {"name": ""}, "spans": []}]}]}

After the specification (opentelemetry-proto, docs/specification.md, "JSON Protobuf Encoding"): ids are hex in either
case, enums are numbers, 64-bit integers and times (nanoseconds since 1970) decimal text, unknown fields are ignored.

Promises: what ``to_otlp`` makes of spans, ``from_otlp`` reads as the same spans, but for expiry, versions and update
times; a document from elsewhere comes out of both as it was, but for times below a microsecond, a ``kind`` that is
unspecified (it becomes internal), a name that is empty, and what the protocol does not know. How a Span is written:

    id                  spanId: its last 8 bytes; holdfast.id, if it is not the last 8 of the trace and then spanId
    parent              parentSpanId likewise; holdfast.parent
    type, tags          attributes holdfast.type (unless the other attributes tell it), holdfast.tags
    attributes          attributes; one that is called like one of these gets "holdfast.attribute." before its name
    metadata            attribute holdfast.metadata; but "otlp" in it holds the fields that a Span has not

The attribute ``gen_ai.operation.name`` tells the type: execute_tool is a tool_call, retrieval a query, others are as
they are named; without it a span is "custom". Values are written as ``otlp_values.py`` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from holdfast.codec import Value, check_text, check_value, to_microseconds
from holdfast.errors import InvalidInputError
from holdfast.inputs import check_id, check_many, check_metadata, check_words
from holdfast.primitives.otlp_values import read_integer, read_object, read_objects, read_pairs, to_pairs
from holdfast.primitives.trace import SPAN_STATUSES, TAGS_MAX, Span, SpanBody

OTLP: Final = "otlp"
"""The key of the metadata that holds what a Span has no field for."""
SCOPE: Final = {"name": "holdfast"}
_INTERNAL: Final = 1
_ESCAPE: Final = "holdfast.attribute."
_SPAN_FIELDS: Final[dict[str, type]] = {
    "kind": int,
    "traceState": str,
    "flags": int,
    "events": list,
    "links": list,
    "droppedAttributesCount": int,
    "droppedEventsCount": int,
    "droppedLinksCount": int,
}
_FOREIGN: Final[dict[str, type]] = {
    **_SPAN_FIELDS,
    "resource": dict,
    "resourceSchemaUrl": str,
    "scope": dict,
    "scopeSchemaUrl": str,
}
_TYPES: Final = {"execute_tool": "tool_call", "retrieval": "query"}
_TYPE_BYTES_MAX: Final = 128
_is_ours: Final = re.compile(r"(holdfast\.attribute\.)*holdfast\.(id|parent|type|tags|metadata)").fullmatch
_is_hex: Final = re.compile(r"[0-9A-Fa-f]+").fullmatch
_group_key = msgspec.json.Encoder(order="deterministic").encode


class NewSpan(msgspec.Struct, frozen=True):
    """A span that a document holds; its start in microseconds."""

    id: UUID
    start: int
    body: SpanBody


# -- out ---------------------------------------------------------------------------------------------------------------


def to_otlp(spans: Iterable[Span], *, resource: dict[str, Value] | None = None) -> dict[str, Any]:
    """Return spans as a document of OpenTelemetry (OTLP/JSON): a dict that ``json.dumps`` takes.

    ``resource`` are attributes such as ``{"service.name": "my-agent"}`` for the spans that came with none. What
    receives such documents may want spans that have ended: ``list(open=False)`` gives those. Raises InvalidInputError.
    """
    default = {} if resource is None else {"resource": {"attributes": to_pairs(check_metadata(resource, "resource"))}}
    resources: dict[bytes, dict[str, Any]] = {}
    scopes: dict[bytes, dict[str, Any]] = {}
    for place, span in enumerate(check_many(spans, "spans")):
        if not isinstance(span, Span) or span.trace_id is None:
            raise InvalidInputError(f"spans[{place}]", "must be a Span that has been committed")
        kept = _kept(span)
        foreign = {**default, **kept}
        outer = {"resource": foreign.get("resource"), "schemaUrl": foreign.get("resourceSchemaUrl")}
        inner = {"scope": foreign.get("scope", SCOPE), "schemaUrl": foreign.get("scopeSchemaUrl")}
        outer_key, inner_key = _group_key(outer), _group_key([outer, inner])
        if outer_key not in resources:
            resources[outer_key] = {**_given(outer), "scopeSpans": []}
        if inner_key not in scopes:
            scopes[inner_key] = {**_given(inner), "spans": []}
            resources[outer_key]["scopeSpans"].append(scopes[inner_key])
        scopes[inner_key]["spans"].append(_written(span, span.trace_id, kept))
    return {"resourceSpans": list(resources.values())}


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _kept(span: Span) -> dict[str, Any]:
    """What ``from_otlp`` has kept in the metadata; empty if that is something else of the same name."""
    kept = span.metadata.get(OTLP)
    if type(kept) is not dict or not kept.keys() <= _FOREIGN.keys():
        return {}
    fits = all(value and type(value) is _FOREIGN[name] and _is_json(value) for name, value in kept.items())
    return kept if fits and kept.get("kind") != _INTERNAL and kept.get("scope") != SCOPE else {}


def _is_json(value: Any) -> bool:
    if type(value) is list:
        return all(_is_json(item) for item in value)
    if type(value) is dict:
        return all(_is_json(item) for item in value.values())
    return value is None or type(value) in (bool, int, float, str)


def _written(span: Span, trace_id: UUID, kept: dict[str, Any]) -> dict[str, Any]:
    short = _short(span.id)
    written: dict[str, Any] = {"traceId": trace_id.hex, "spanId": short.hex()}
    own = {f"{_ESCAPE}{key}" if _is_ours(key) else key: value for key, value in span.attributes.items()}
    if _long(trace_id, short) != span.id:
        own["holdfast.id"] = str(span.id)
    if span.parent is not None:
        written["parentSpanId"] = _short(span.parent).hex()
        if _long(trace_id, _short(span.parent)) != span.parent:
            own["holdfast.parent"] = str(span.parent)
    if span.type != _told_type(span.attributes):
        own["holdfast.type"] = span.type
    if span.tags:
        own["holdfast.tags"] = list(span.tags)
    metadata = {name: value for name, value in span.metadata.items() if not kept or name != OTLP}
    if metadata:
        own["holdfast.metadata"] = metadata
    written |= {"name": span.name, "kind": _INTERNAL, "startTimeUnixNano": _nanoseconds(span.start)}
    if span.end is not None:
        written["endTimeUnixNano"] = _nanoseconds(span.end)
    written["attributes"] = to_pairs(own)
    written["status"] = {"code": SPAN_STATUSES.index(span.status)} if span.status != "unset" else {}
    if span.error is not None:
        written["status"]["message"] = span.error
    return written | {name: value for name, value in kept.items() if name in _SPAN_FIELDS}


def _short(id: UUID) -> bytes:
    """The 8 bytes of a span id, which may not be all zeros."""
    return id.bytes[8:] if any(id.bytes[8:]) else b"\xff" * 8


def _long(trace_id: UUID, short: bytes) -> UUID:
    return UUID(bytes=trace_id.bytes[8:] + short)


def _told_type(attributes: dict[str, Value]) -> str:
    operation = attributes.get("gen_ai.operation.name")
    if not isinstance(operation, str) or not 0 < len(operation.encode()) <= _TYPE_BYTES_MAX:
        return "custom"
    return _TYPES.get(operation, operation)


def _nanoseconds(moment: datetime) -> str:
    return str(to_microseconds(moment, "time") * 1000)


# -- in ----------------------------------------------------------------------------------------------------------------


def from_otlp(document: object, path: str) -> list[NewSpan]:
    """Return the spans of a document, in its order; InvalidInputError names the place of what is wrong."""
    found: list[tuple[dict[str, Any], dict[str, Any], dict[str, Value], UUID, str]] = []
    ids: dict[tuple[str, str], UUID] = {}
    for outer, outer_path in read_objects(read_object(document, path).get("resourceSpans"), f"{path}.resourceSpans"):
        for inner, inner_path in read_objects(outer.get("scopeSpans"), f"{outer_path}.scopeSpans"):
            around = {
                "resource": outer.get("resource"),
                "resourceSchemaUrl": outer.get("schemaUrl"),
                "scope": None if inner.get("scope") == SCOPE else inner.get("scope"),
                "scopeSchemaUrl": inner.get("schemaUrl"),
            }
            for raw, span_path in read_objects(inner.get("spans"), f"{inner_path}.spans"):
                attributes = read_pairs(raw.get("attributes"), f"{span_path}.attributes")
                trace, short = _hex(raw, "traceId", 16, span_path), _hex(raw, "spanId", 8, span_path)
                own = attributes.pop("holdfast.id", None)
                id = _long(UUID(trace), bytes.fromhex(short)) if own is None else check_id(own, f"{span_path}.id")
                ids.setdefault((trace, short), id)
                found.append((raw, around, attributes, id, span_path))
    spans = [_read(*one, ids) for one in found]
    if len({span.id for span in spans}) != len(spans):
        raise InvalidInputError(path, "holds a span twice")
    return spans


def parents_first(spans: list[NewSpan], path: str) -> list[NewSpan]:
    """Return the spans so that each comes behind its parent, if that is among them."""
    by_id = {span.id: span for span in spans}
    ordered: dict[UUID, NewSpan] = {}
    for span in spans:
        chain: dict[UUID, NewSpan] = {}
        above: NewSpan | None = span
        while above is not None and above.id not in ordered:
            if above.id in chain:
                raise InvalidInputError(path, f"span {above.id} stands under itself")
            chain[above.id] = above
            above = None if above.body.parent is None else by_id.get(above.body.parent)
        ordered.update((one.id, one) for one in reversed(chain.values()))
    return list(ordered.values())


def _read(
    raw: dict[str, Any],
    around: dict[str, Any],
    attributes: dict[str, Value],
    id: UUID,
    path: str,
    ids: dict[tuple[str, str], UUID],
) -> NewSpan:
    trace = _hex(raw, "traceId", 16, path)
    own = attributes.pop("holdfast.parent", None)
    parent: UUID | None = None
    if raw.get("parentSpanId"):
        short = _hex(raw, "parentSpanId", 8, path)
        derived = ids.get((trace, short)) or _long(UUID(trace), bytes.fromhex(short))
        parent = derived if own is None else check_id(own, f"{path}.parent")
    type, tags = attributes.pop("holdfast.type", None), attributes.pop("holdfast.tags", [])
    metadata = check_metadata(attributes.pop("holdfast.metadata", None), f"{path}.metadata")
    plain = {key.removeprefix(_ESCAPE) if _is_ours(key) else key: value for key, value in attributes.items()}
    check_value(plain, f"{path}.attributes")
    told = _told_type(plain) if type is None else check_text(type, f"{path}.type", most_bytes=_TYPE_BYTES_MAX)
    start, end = _time(raw, "startTimeUnixNano", path), _time(raw, "endTimeUnixNano", path)
    if start is None:
        raise InvalidInputError(f"{path}.startTimeUnixNano", "must be given")
    if end is not None and end < start:
        raise InvalidInputError(f"{path}.endTimeUnixNano", "must not be before the start")
    foreign = _read_foreign(raw | around, path)
    status = read_object(raw.get("status") or {}, f"{path}.status")
    code = read_integer(status.get("code"), f"{path}.status.code")
    if not 0 <= code < len(SPAN_STATUSES):
        raise InvalidInputError(f"{path}.status.code", f"must be 0, 1 or 2, not {code}")
    message = status.get("message") if SPAN_STATUSES[code] == "error" else None
    body = SpanBody(
        type=told,
        name=check_text(raw.get("name") or told, f"{path}.name"),
        trace_id=UUID(trace),
        parent=parent,
        attributes=plain,
        tags=check_words(tags, f"{path}.tags", most=TAGS_MAX),
        end=end,
        status=SPAN_STATUSES[code],
        error=check_text(message, f"{path}.status.message") if message else None,
        metadata=metadata | {OTLP: foreign} if foreign else metadata,
    )
    return NewSpan(id, start, body)


def _read_foreign(fields: dict[str, Any], path: str) -> dict[str, Value]:
    foreign: dict[str, Value] = {}
    for name, kind in _FOREIGN.items():
        value = fields.get(name)
        if kind is int:
            value = read_integer(value, f"{path}.{name}")
        if not value or (name == "kind" and value == _INTERNAL):
            continue
        check_value(value, f"{path}.{name}")
        fits = type(value) is kind and _is_json(value)
        if not fits:
            raise InvalidInputError(f"{path}.{name}", f"must be of type {kind.__name__}, and hold JSON values only")
        foreign[name] = value
    return foreign


def _hex(raw: dict[str, Any], name: str, size: int, path: str) -> str:
    text = raw.get(name)
    if type(text) is not str or len(text) != 2 * size or not _is_hex(text) or not int(text, 16):
        raise InvalidInputError(f"{path}.{name}", f"must be {2 * size} hex digits, not all 0")
    return text.lower()


def _time(raw: dict[str, Any], name: str, path: str) -> int | None:
    """The microseconds of a time in nanoseconds; None if it is absent, or 0."""
    nanoseconds = read_integer(raw.get(name), f"{path}.{name}")
    if not 0 <= nanoseconds < 2**64:
        raise InvalidInputError(f"{path}.{name}", "must be in 0..2**64-1")
    return nanoseconds // 1000 or None
