"""OpenTelemetry's documents, out and in: lossless for what is kept, strict about what is wrong."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import holdfast
from holdfast import ConflictError, InvalidInputError, NotFoundError
from holdfast.codec import canonical
from holdfast.primitives.otlp import from_otlp, parents_first, to_otlp
from holdfast.primitives.otlp_values import read_pairs, to_pairs
from holdfast.primitives.trace import SPAN_STATUSES, TIME_MAX, Span, SpanBody

SERVER_SPAN = {
    "traceId": "5B8EFFF798038103D269B633813FC60C",
    "spanId": "EEE19B7EC3C1B174",
    "parentSpanId": "EEE19B7EC3C1B173",
    "name": "I'm a server span",
    "startTimeUnixNano": "1544712660000000000",
    "endTimeUnixNano": "1544712661000000000",
    "kind": 2,
    "attributes": [{"key": "my.span.attr", "value": {"stringValue": "some value"}}],
}
RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]}
SCOPE = {"name": "my.library", "version": "1.0.0", "attributes": []}


def document(*spans, resource=RESOURCE, scope=SCOPE):
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": list(spans)}]}]}


def changed(**fields):
    span = {**deepcopy(SERVER_SPAN), **fields}
    span.pop("parentSpanId", None) if "parentSpanId" not in fields else None
    return {name: value for name, value in span.items() if value is not ...}


def spans_of(document):
    return [span for outer in document["resourceSpans"] for inner in outer["scopeSpans"] for span in inner["spans"]]


def said(span):
    """What a document keeps of a span."""
    return {**msgspec.structs.asdict(span), "version": 0, "revision": 0, "updated_at": 0, "expires_at": None}


def test_the_example_of_the_specification(space):
    given = document(SERVER_SPAN)
    with pytest.raises(NotFoundError, match="parent span"):
        space.traces.record_otlp(given)
    assert list(space.changes()) == []
    (span,) = space.traces.record_otlp(given, partial=True)
    assert span == space.traces.get(span.id)
    assert span.trace_id == UUID("5b8efff798038103d269b633813fc60c")
    assert span.id == UUID("d269b633813fc60ceee19b7ec3c1b174") and span.parent == UUID(int=span.id.int - 1)
    assert (span.name, span.type, span.status) == ("I'm a server span", "custom", "unset")
    assert span.attributes == {"my.span.attr": "some value"} and span.duration == timedelta(seconds=1)
    assert span.start == datetime(2018, 12, 13, 14, 51, tzinfo=UTC)
    assert span.metadata == {"otlp": {"kind": 2, "resource": RESOURCE, "scope": SCOPE}}
    (again,) = spans_of(written := holdfast.to_otlp([span]))
    for name in ("traceId", "spanId", "parentSpanId"):
        assert again.pop(name) == SERVER_SPAN[name].lower()
    assert again.pop("status") == {} and again == {name: SERVER_SPAN[name] for name in again}
    assert written["resourceSpans"][0]["resource"] == RESOURCE
    assert written["resourceSpans"][0]["scopeSpans"][0]["scope"] == SCOPE


def test_what_a_span_has_no_field_for_comes_out_again(space):
    more = {
        "traceState": "a=1",
        "flags": 257,
        "droppedAttributesCount": 3,
        "droppedEventsCount": 1,
        "droppedLinksCount": 2,
        "events": [{"timeUnixNano": "1", "name": "e", "attributes": [{"key": "f", "value": {"doubleValue": 1.5}}]}],
        "links": [{"traceId": "01", "spanId": "02", "attributes": [], "sampled": None}],
    }
    given = document(changed(**more))
    given["resourceSpans"][0]["schemaUrl"] = "https://a"
    given["resourceSpans"][0]["scopeSpans"][0]["schemaUrl"] = "https://b"
    space.traces.record_otlp(given)
    written = holdfast.to_otlp(space.traces.list())
    assert {name: spans_of(written)[0][name] for name in more} == more and spans_of(written)[0]["kind"] == 2
    assert written["resourceSpans"][0]["schemaUrl"] == "https://a"
    assert written["resourceSpans"][0]["scopeSpans"][0]["schemaUrl"] == "https://b"
    space.traces.record_otlp(written)
    assert holdfast.to_otlp(space.traces.list()) == written


def test_spans_of_ours_become_a_document(space):
    root = space.traces.record("decision", name="choose", tags=["a"], attributes={"n": 1, "holdfast.type": "mine"})
    with pytest.raises(ValueError, match="no"), space.traces.span("tool_call", parent=root):
        raise ValueError("no")
    space.traces.begin("thought", parent=root, metadata={"m": [1]})
    spans = space.traces.list()
    written = json.loads(json.dumps(holdfast.to_otlp(spans, resource={"service.name": "agent"})))
    (outer,) = written["resourceSpans"]
    assert outer["resource"] == {"attributes": [{"key": "service.name", "value": {"stringValue": "agent"}}]}
    assert outer["scopeSpans"][0]["scope"] == {"name": "holdfast"}
    first, second, third = spans_of(written)
    assert first["traceId"] == second["traceId"] == third["traceId"] == root.id.hex and first["kind"] == 1
    assert len(first["spanId"]) == 16 and second["parentSpanId"] == first["spanId"] and "parentSpanId" not in first
    assert (first["status"], second["status"]) == ({}, {"code": 2, "message": "ValueError: no"})
    assert int(first["startTimeUnixNano"]) == int(root.start.timestamp() * 1_000_000) * 1000
    assert "endTimeUnixNano" in second and "endTimeUnixNano" not in third
    assert {"key": "n", "value": {"intValue": "1"}} in first["attributes"]
    with holdfast.open("memory:") as other:
        read = other.traces.record_otlp(json.loads(json.dumps(holdfast.to_otlp(spans))))
        assert [said(span) for span in read] == [said(span) for span in spans]
        assert len(other.traces.tree(root).children) == 2 and other.traces.list(open=True, type="thought") == [read[2]]
        assert other.traces.roots(tags=["a"]) == [read[0]]
    assert holdfast.to_otlp([]) == {"resourceSpans": []}
    for bad in ([5], [msgspec.structs.replace(root, trace_id=None)]):
        with pytest.raises(InvalidInputError, match=r"spans\[0\]"):
            holdfast.to_otlp(bad)
    with pytest.raises(InvalidInputError, match="spans: must be a list"):
        holdfast.to_otlp(root)
    with pytest.raises(InvalidInputError, match="resource"):
        holdfast.to_otlp([root], resource=5)


def test_children_may_come_before_their_parents(space):
    ids = ["11" * 8, "22" * 8, "33" * 8]
    child, middle, root = (
        changed(spanId=id, parentSpanId=above) for id, above in zip(ids, [ids[1], ids[2], ""], strict=True)
    )
    read = space.traces.record_otlp(document(child, middle, root))
    assert [span.id.hex[16:] for span in read] == ids
    assert [depth for depth, _ in space.traces.tree(read[2]).walk()] == [0, 1, 2]
    assert space.traces.record_otlp({}) == space.traces.record_otlp({"resourceSpans": None}) == []
    with space.transaction() as tx:
        (late,) = tx.traces.record_otlp(document(changed(spanId="44" * 8, parentSpanId=ids[0])))
        assert tx.traces.get(late).parent == read[0].id
    assert space.traces.count() == 4
    for above in (ids[0], "55" * 8):
        loop = [changed(spanId=ids[0], parentSpanId="55" * 8), changed(spanId="55" * 8, parentSpanId=above)]
        with pytest.raises(InvalidInputError, match="stands under itself"):
            space.traces.record_otlp(document(*loop), partial=True)


def test_documents_come_in_parts_and_again(space):
    root, child = changed(), changed(spanId="44" * 8, parentSpanId=SERVER_SPAN["spanId"], endTimeUnixNano="0")
    (early,) = space.traces.record_otlp(document(child), partial=True)
    assert early.end is None and space.traces.roots() == []
    (top,) = space.traces.record_otlp(document(root))
    assert [span.id for _, span in space.traces.tree(top).walk()] == [top.id, early.id]
    child["endTimeUnixNano"] = 1544712661000000000
    (ended,) = space.traces.record_otlp(document(child))
    assert (ended.id, ended.version, ended.duration) == (early.id, 2, timedelta(seconds=1))
    assert space.traces.list(open=True) == [] and space.traces.count() == 2
    for elsewhere in (
        {"parentSpanId": "77" * 8},
        {"startTimeUnixNano": "1544712660000001000"},
        {"parentSpanId": ""},
    ):
        with pytest.raises(ConflictError, match="exists already, with another"):
            space.traces.record_otlp(document({**child, **elsewhere}), partial=True)
    assert space.traces.get(early.id) == ended
    other = changed(traceId="99" * 16, spanId="66" * 8, parentSpanId="88" * 8)
    other["attributes"] = [{"key": "holdfast.parent", "value": {"stringValue": str(top.id)}}]
    with pytest.raises(ConflictError, match="of another trace"):
        space.traces.record_otlp(document(other))


def test_the_type_is_told_by_the_operation(space):
    for operation, type in (
        ("execute_tool", "tool_call"), ("retrieval", "query"), ("chat", "chat"), ("", "custom"), ("x" * 129, "custom"),
    ):  # fmt: skip
        span = changed(attributes=to_pairs({"gen_ai.operation.name": operation}), name="")
        (read,) = space.traces.record_otlp(document(span))
        assert (read.type, read.name) == (type, type)
        assert spans_of(holdfast.to_otlp([read]))[0]["attributes"] == span["attributes"]
    (read,) = space.traces.record_otlp(document(changed(attributes=to_pairs({"gen_ai.operation.name": 5}))))
    assert read.type == "custom"


@pytest.mark.parametrize(
    "kept",
    [5, {}, {"kind": 1}, {"kind": 0}, {"kind": True}, {"kind": "2"}, {"scope": {"name": "holdfast"}}, {"events": []},
     {"events": [b"x"]}, {"kind": 2, "other": 1}, {"resource": {}}],
)  # fmt: skip
def test_metadata_of_the_users_own_that_is_called_otlp(space, kept):
    span = space.traces.record("query", metadata={"otlp": kept, "m": 1})
    (written,) = spans_of(document := holdfast.to_otlp([span]))
    assert written["kind"] == 1 and "events" not in written
    assert document["resourceSpans"][0].keys() == {"scopeSpans"}
    assert space.traces.record_otlp(document)[0].metadata == span.metadata


@pytest.mark.parametrize(
    "kept", [{"kind": 2}, {"flags": 1}, {"resource": RESOURCE}, {"scope": SCOPE, "scopeSchemaUrl": "https://b"}]
)
def test_each_field_that_is_kept_is_written(space, kept):
    span = space.traces.record("query", metadata={"otlp": kept})
    (outer,) = (document := holdfast.to_otlp([span]))["resourceSpans"]
    (inner,) = outer["scopeSpans"]
    found = {
        "kind": inner["spans"][0]["kind"], "flags": inner["spans"][0].get("flags"), "resource": outer.get("resource"),
        "scope": inner["scope"], "scopeSchemaUrl": inner.get("schemaUrl"),
    }  # fmt: skip
    assert {name: found[name] for name in kept} == kept
    assert "holdfast.metadata" not in json.dumps(document)
    assert space.traces.record_otlp(document)[0].metadata == span.metadata


def test_a_span_of_others_stands_under_one_of_ours(space):
    with space.traces.span("tool_call") as ours:
        pass
    written = holdfast.to_otlp([space.traces.get(ours)])
    (parent,) = spans_of(written)
    theirs = changed(traceId=parent["traceId"], parentSpanId=parent["spanId"])
    written["resourceSpans"] += document(theirs)["resourceSpans"]
    assert space.traces.record_otlp(written)[1].parent == ours.id
    assert len(space.traces.tree(ours).children) == 1


def test_a_circle_that_came_in_parts_is_no_endless_tree(space):
    one, other = "11" * 8, "22" * 8
    (first,) = space.traces.record_otlp(document(changed(spanId=one, parentSpanId=other)), partial=True)
    (second,) = space.traces.record_otlp(document(changed(spanId=other, parentSpanId=one)))
    assert [span.id for _, span in space.traces.tree(first).walk()] == [first.id, second.id]
    assert space.traces.roots() == [] and space.traces.delete_tree(second) == 2


def test_values_as_deep_as_values_may_be(space):
    (read,) = space.traces.record_otlp(document(changed(**pair(deep(63)))))
    value = read.attributes["a"]
    for _ in range(63):
        (value,) = value
    assert value == 1 and said(space.traces.record_otlp(holdfast.to_otlp([read]))[0]) == said(read)


def test_numbers_and_ids_in_other_forms(space):
    span = changed(
        traceId=SERVER_SPAN["traceId"].lower(), startTimeUnixNano=1544712660000000999, kind="3", status={"code": "1"},
        droppedEventsCount=None, events=None, links=[], traceState="", unknown={"a": 1}, endTimeUnixNano=None,
        attributes=[
            {"key": "int", "value": {"intValue": 5}},
            {"key": "whole", "value": {"doubleValue": 3}},
            {"key": "text", "value": {"doubleValue": "1e3"}},
            {"key": "url", "value": {"bytesValue": "-_8"}},
            {"key": "none", "value": {"stringValue": None, "later": 1}},
            {"key": "empty"},
            {"value": {"arrayValue": {}}},
            {"key": "kv", "value": {"kvlistValue": {}}},
            {"key": "ref", "value": {"kvlistValue": {"values": to_pairs({"$ref": "a"})}}},
            {"key": "tag", "value": {"kvlistValue": {"values": [{"key": "$int", "value": {"stringValue": "5"}}]}}},
            {"key": "holdfast.later", "value": {"boolValue": True}},
            {"key": "holdfast.attribute.x", "value": {"boolValue": False}},
            {"key": "holdfast.attribute.holdfast.id", "value": {"boolValue": True}},
        ],
    )  # fmt: skip
    (read,) = space.traces.record_otlp(document(span, resource=None, scope={"name": "holdfast"}))
    assert read.attributes == {
        "int": 5, "whole": 3.0, "text": 1000.0, "url": b"\xfb\xff", "none": None, "empty": None, "": [], "kv": {},
        "ref": {"$ref": "a"}, "tag": {"$int": "5"}, "holdfast.later": True,
        "holdfast.attribute.x": False, "holdfast.id": True,
    }  # fmt: skip
    assert type(read.attributes["whole"]) is float and (read.status, read.end) == ("ok", None)
    assert read.metadata == {"otlp": {"kind": 3}} and read.start.microsecond == 0
    (again,) = spans_of(holdfast.to_otlp([read]))
    assert [one for one in again["attributes"] if one["key"][:3] in ("ref", "tag", "hol")] == span["attributes"][8:]
    assert said(space.traces.record_otlp(holdfast.to_otlp([read]))[0]) == said(read)


def pair(value, key="a"):
    return {"attributes": [{"key": key, "value": value}]}


def deep(levels):
    value = {"intValue": "1"}
    for _ in range(levels):
        value = {"arrayValue": {"values": [value]}}
    return value


A = "attributes[0].value"
BAD = [
    *[({"traceId": bad}, "traceId")
      for bad in ("", "0" * 32, "5B", 5, None, "5B 8EFFF798038103D269B633813FC60", "g" * 32)],
    ({"spanId": ...}, "spanId"), ({"spanId": "0" * 16}, "spanId"), ({"parentSpanId": "xyz"}, "parentSpanId"),
    *[({"startTimeUnixNano": bad}, "startTimeUnixNano")
      for bad in (None, "0", 999, "x", -1, 2**64, 1.5, True, "1" * 30)],
    ({"endTimeUnixNano": "1000"}, "endTimeUnixNano"), ({"name": 5}, "name"), ({"name": "\ud800"}, "name"),
    ({"kind": "SPAN_KIND_SERVER"}, "kind"), ({"events": {"a": 1}}, "events"), ({"events": [b"x"]}, "events"),
    ({"links": [{"a": {"b": float("nan")}}]}, "links[0].a.b"), ({"traceState": 5}, "traceState"),
    ({"status": 5}, "status"), ({"status": {"code": 3}}, "status.code"), ({"status": {"code": "OK"}}, "status.code"),
    ({"status": {"code": 2, "message": 5}}, "status.message"), ({"attributes": 5}, "attributes"),
    ({"attributes": [5]}, "attributes[0]"), (pair({}, key=5), "attributes[0].key"), (pair(5), A),
    ({"attributes": to_pairs({"a": 1}) * 2}, "attributes[1].key"), (pair({"intValue": 1, "boolValue": True}), A),
    (pair({"intValue": 1.5}), f"{A}.intValue"), (pair({"intValue": "2"*20}), "attributes.a"),
    (pair({"boolValue": "true"}), f"{A}.boolValue"), (pair({"stringValue": 5}), f"{A}.stringValue"),
    *[(pair({"doubleValue": bad}), f"{A}.doubleValue") for bad in ("NaN", "x", True, float("inf"), [], 10**400)],
    (pair({"bytesValue": "a"}), f"{A}.bytesValue"), (pair({"bytesValue": "ä"}), f"{A}.bytesValue"),
    (pair({"arrayValue": 5}), f"{A}.arrayValue"), (pair({"arrayValue": {"values": 5}}), f"{A}.arrayValue.values"),
    (pair({"kvlistValue": []}), f"{A}.kvlistValue"), (pair(deep(64)), A + ".arrayValue.values[0]" * 64),
    (pair({"stringValue": "x"}, key="holdfast.id"), "id"), (pair({"intValue": 5}, key="holdfast.type"), "type"),
    (pair({"stringValue": "x"}, key="holdfast.tags"), "tags"),
    (pair({"intValue": 5}, key="holdfast.metadata"), "metadata"),
    ({"parentSpanId": "22" * 8, **pair({"stringValue": "x"}, key="holdfast.parent")}, "parent"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "place"), BAD, ids=range(len(BAD)))
def test_what_is_wrong_is_named_and_nothing_is_recorded(space, fields, place):
    good = changed(spanId="99" * 8)
    with pytest.raises(InvalidInputError) as caught:
        space.traces.record_otlp(document(good, changed(**fields)), partial=True)
    assert caught.value.field == f"document.resourceSpans[0].scopeSpans[0].spans[1].{place}"
    assert list(space.changes()) == []


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (5, "document"),
        ({"resourceSpans": 5}, "document.resourceSpans"),
        ({"resourceSpans": [{"scopeSpans": [5]}]}, "document.resourceSpans[0].scopeSpans[0]"),
        (document(5), "document.resourceSpans[0].scopeSpans[0].spans[0]"),
        (document(changed(), changed()), "document"),
        (document(changed(), resource=[]) | {"resourceSpans": {}}, "document.resourceSpans"),
        (document(changed(), resource=[1]), "document.resourceSpans[0].scopeSpans[0].spans[0].resource"),
        (document(changed(), scope="x"), "document.resourceSpans[0].scopeSpans[0].spans[0].scope"),
    ],
)
def test_a_document_of_another_form(space, given, place):
    with pytest.raises(InvalidInputError) as caught:
        space.traces.record_otlp(given)
    assert caught.value.field == place and list(space.changes()) == []


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(
    [
        "$uuid",
        "$$int",
        "$datetime",
        "holdfast.type",
        "holdfast.attribute.holdfast.a",
        "holdfast.id",
        "gen_ai.operation.name",
    ]
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([2**63 - 1, 2**63, -(2**63), 1.0, -0.0, 1e22, 5e-324])
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.binary(max_size=5)
    | st.uuids()
    | st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)
    | st.sampled_from(["18446744073709551615", "00000000-0000-0000-0000-000000000000", "2026-01-01T00:00:00+00:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
TAGGED = st.dictionaries(
    st.sampled_from(["$uuid", "$int", "$datetime", "$$uuid", "$", "uuid", "$$$int"]),
    st.sampled_from(
        ["18446744073709551615", "99999999999999999999", "00000000-0000-0000-0000-000000000000", "5", "x" * 5000,
         "2026-01-01T00:00:00.000000+00:00", "2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+05:00",
         "9" * 5000]
    ),
    max_size=1,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(TEXTS, VALUES | TAGGED, max_size=4))
def test_values_come_back_with_their_types(values):
    written = to_pairs(values)
    assert canonical(read_pairs(json.loads(json.dumps(written)), "p")) == canonical(values)


@settings(max_examples=300, deadline=None)
@given(TAGGED)
def test_what_others_wrote_like_our_tags_comes_out_as_it_was(given_by_others):
    raw = [{"key": key, "value": {"stringValue": text}} for key, text in given_by_others.items()]
    written = [{"key": "k", "value": {"kvlistValue": {"values": raw}}}]
    assert to_pairs(read_pairs(written, "p")) == written


FOREIGN = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.integers(-1, 5) | st.just("2"),
        "traceState": st.sampled_from(["", "a=1"]),
        "events": st.just([]) | st.lists(st.just({"name": "e", "n": 1.5}), max_size=2) | st.just([b"x"]),
        "resource": st.sampled_from([{}, {"attributes": []}, [1]]),
        "scope": st.sampled_from([{}, {"name": "holdfast"}, {"name": "x"}]),
        "scopeSchemaUrl": st.just("https://b"),
        "else": st.just(1),
    },
)
MOMENTS = st.integers(1, TIME_MAX).map(lambda time: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time))


@st.composite
def spans(draw):
    """A forest of spans, each under any earlier one, with all that a Span can hold."""
    made = []
    for id in draw(
        st.lists(st.uuids() | st.integers(0, 3).map(lambda n: UUID(int=n << 64 | n // 2)), unique=True, max_size=5)
    ):
        parent = draw(st.none() | st.sampled_from(made)) if made else None
        times = sorted([draw(MOMENTS), draw(MOMENTS)])
        status = draw(st.sampled_from(SPAN_STATUSES))
        metadata = draw(st.dictionaries(TEXTS, VALUES, max_size=2))
        if draw(st.booleans()):
            metadata["otlp"] = draw(FOREIGN | VALUES)
        trace = parent.trace_id if parent else draw(st.uuids().filter(lambda one: one.int) | st.just(UUID(int=1)))
        made.append(
            Span(
                id=id,
                trace_id=trace,
                parent=parent and parent.id,
                type=draw(st.sampled_from(["tool_call", "custom", "chat", "query"]) | TEXTS.filter(bool)),
                name=draw(TEXTS.filter(bool)),
                attributes=draw(st.dictionaries(TEXTS, VALUES, max_size=3)),
                tags=tuple(draw(st.lists(TEXTS.filter(bool), unique=True, max_size=3))),
                start=times[0],
                end=draw(st.sampled_from([None, times[1]])),
                status=status,
                error=draw(st.none() | TEXTS.filter(bool)) if status == "error" else None,
                metadata=metadata,
                updated_at=times[0],
                expires_at=None,
                version=1,
                revision=1,
            )
        )
    return made


@settings(max_examples=200, deadline=None)
@given(spans(), st.randoms(use_true_random=False))
def test_spans_come_back_as_they_went(planted, random):
    shuffled = list(planted)
    random.shuffle(shuffled)
    read = from_otlp(json.loads(json.dumps(to_otlp(shuffled))), "document")
    by_id = {span.id: span for span in planted}
    assert len(read) == len(planted)
    for found in read:
        span = by_id[found.id]
        wanted = SpanBody(
            type=span.type, name=span.name, trace_id=span.trace_id, parent=span.parent, attributes=span.attributes,
            tags=span.tags, end=None if span.end is None else microseconds(span.end), status=span.status,
            error=span.error, metadata=span.metadata,
        )  # fmt: skip
        assert found.start == microseconds(span.start)
        for name in SpanBody.__struct_fields__:
            got, want = getattr(found.body, name), getattr(wanted, name)
            same = canonical(got) == canonical(want) if name in ("attributes", "metadata") else got == want
            assert same, (name, got, want)
    order = [span.id for span in parents_first(read, "document")]
    assert sorted(order, key=str) == sorted(by_id, key=str)
    assert all(span.parent is None or order.index(span.parent) < order.index(span.id) for span in planted)


@settings(max_examples=30, deadline=None)
@given(spans())
def test_a_space_takes_in_what_another_gives_out(planted):
    with holdfast.open("memory:") as store:
        first, second = store.space("a"), store.space("b")
        first.traces.record_otlp(to_otlp(planted))
        stored = first.traces.list(limit=None)
        assert [said(span) for span in stored] == [
            said(span) for span in sorted(planted, key=lambda span: (span.start, span.id.bytes))
        ]
        second.traces.record_otlp(to_otlp(stored))
        assert [said(span) for span in second.traces.list(limit=None)] == [said(span) for span in stored]


def microseconds(moment):
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
