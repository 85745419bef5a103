"""Values and bodies: exact round trips in both codecs, one canonical form, and refusals that name the place."""

from __future__ import annotations

import dataclasses
import decimal
import enum
import math
import struct
from collections import OrderedDict
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.codec import (
    JSON,
    MSGPACK,
    NESTING_MAX,
    SPACE_NAME_BYTES_MAX,
    Codec,
    Value,
    canonical,
    check_space_name,
    check_text,
    check_value,
    decode,
    decode_value,
    digest,
    from_microseconds,
    to_microseconds,
    transcode,
)
from holdfast.errors import InvalidInputError, SerializationError

CODECS = [JSON, MSGPACK]
UUID_1 = UUID(int=0x01020304_0506_0708_090A_0B0C0D0E0F10)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

zones = st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC) | zones)
keys = st.text() | st.sampled_from(["$", "$$", "$bytes", "$$bytes", "$uuid", "$datetime", "$x", "a", "\0", "\\u0024"])
scalars: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text() | keys,
    st.binary() | st.just(UUID_1.bytes),
    times,
    st.uuids(),
)
values: st.SearchStrategy[Value] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
value_dicts: st.SearchStrategy[dict[str, Value]] = st.dictionaries(keys, values, max_size=3)


def same(one: object, other: object) -> bool:
    """Equal, with equal types at every depth, the signs of zeros, the order of keys; ``one`` has been read."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float) and isinstance(other, float):
        return struct.pack(">d", one) == struct.pack(">d", other)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    if isinstance(one, datetime):
        return one.tzinfo is UTC and one == other
    return one == other


class Note(msgspec.Struct, tag="note", frozen=True, kw_only=True, array_like=True):
    text: str
    extra: Value = None
    inner: list[Step] = msgspec.field(default_factory=list)


class Step(msgspec.Struct, tag="step", array_like=True):
    at: datetime
    data: dict[str, Value]
    notes: list[Note | Step] = msgspec.field(default_factory=list)


class Plain(msgspec.Struct, array_like=True, gc=False):
    key: str
    number: int = 0


class Put(msgspec.Struct, array_like=True):
    key: str
    value: Value


class Everything(msgspec.Struct, frozen=True):
    id: UUID
    at: datetime
    content: str
    raw: bytes
    value: Value
    metadata: dict[str, Value]
    values: list[Value]
    maybe: dict[str, Value] | None = None
    optional: Value | None = None
    node: Note | Step | None = None
    steps: list[Step] = msgspec.field(default_factory=list)
    by_name: dict[str, Note] = msgspec.field(default_factory=dict)
    by_id: dict[UUID, Value] = msgspec.field(default_factory=dict)
    pair: tuple[Value, ...] = ()
    until: datetime | None = None
    moments: list[datetime] | None = None
    ends: tuple[datetime, ...] | dict[str, datetime] = ()
    owner: UUID | int | None = None
    fixed: tuple[str, int] = ("", 0)
    mixed: tuple[str, Value, UUID] | None = None
    plain: list[Plain] = msgspec.field(default_factory=list)


def full(value: Value, metadata: dict[str, Value], at: datetime, until: datetime | None = None) -> Everything:
    """A body that has the value in every kind of place."""
    note = Note(text="n", extra=value)
    step = Step(at, metadata, [note, Step(at, {"v": value}), Note(text="none")])
    return Everything(
        id=UUID_1,
        at=at,
        content="text with a $ and a \0",
        raw=b"\0\xff",
        value=value,
        metadata=metadata,
        values=[value, metadata, value],
        maybe=None if until is None else metadata,
        optional=value,
        node=step if until is None else note,
        steps=[step, Step(at, {})],
        by_name={"$note": note, "plain": Note(text="x")},
        by_id={UUID_1: value},
        pair=(value, 1),
        until=until,
        moments=[at, at.astimezone(UTC)],
        ends=(at,) if until is None else {"$end": at},
        owner=None if until is None else UUID_1,
        plain=[Plain("a")],
        mixed=("$", value, UUID_1),
    )


def fields(body: msgspec.Struct | list[Any] | dict[Any, Any] | tuple[Any, ...] | Any) -> Any:
    """The same with structs and tuples as lists, so that ``same`` can look inside."""
    if isinstance(body, msgspec.Struct):
        return [type(body).__name__, *(fields(getattr(body, name)) for name in body.__struct_fields__)]
    if isinstance(body, list | tuple):
        return [fields(item) for item in body]
    if isinstance(body, dict):
        return {str(key): fields(item) for key, item in body.items()}
    return body


# -- values ------------------------------------------------------------------------------------------------------------

ODD: list[Value] = [
    -0.0,
    0.0,
    1.0,
    1e22,
    1e16,
    5e-324,
    1.7976931348623157e308,
    2**64 - 1,
    -(2**63),
    2**53 + 1,
    True,
    "",
    "\0",
    "$bytes",
    "\u2028\x7f\x1f\U0001f600\uffff",
    b"",
    b"\0",
    UUID_1.bytes,
    UUID_1,
    str(UUID_1),
    "2020-01-01T00:00:00Z",
    EPOCH,
    EPOCH.replace(microsecond=1),
    datetime.min.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=UTC),
    datetime(1960, 1, 1, 0, 0, 0, 5, tzinfo=timezone(timedelta(hours=5, seconds=7, microseconds=9))),
    [],
    {},
    [[], {}, [UUID_1]],
    {"$bytes": "AA=="},
    {"$uuid": UUID_1},
    {"$datetime": EPOCH, "$": 1, "$$": 2},
    {"$x": {"$$x": [{"$$$x": b"x"}]}},
    {"a": {"b": [1, {"c": UUID_1}, 2]}, "": None, "\0": 0},
]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_odd_values_come_back_as_they_were(codec: Codec, value: Value) -> None:
    check_value(value, "value")
    assert same(decode_value(codec.encode_value(value), codec), value)
    body = Put("k", value)
    assert same(decode(codec.encode(body), Put).value, value)
    assert body.value is value


@pytest.mark.parametrize("codec", CODECS)
@given(value=values)
def test_bare_values_come_back_as_they_were(codec: Codec, value: Value) -> None:
    before = repr(value)
    check_value(value, "value")
    assert same(decode_value(codec.encode_value(value), codec), value)
    assert repr(value) == before


@pytest.mark.parametrize("codec", CODECS)
@given(value=values, metadata=value_dicts, at=times, until=st.none() | times)
def test_bodies_come_back_as_they_were(
    codec: Codec, value: Value, metadata: dict[str, Value], at: datetime, until: datetime | None
) -> None:
    body = full(value, metadata, at, until)
    before = repr(body)
    encoded = codec.encode(body)
    read = decode(encoded, Everything)
    assert same(fields(read), fields(body))
    assert repr(body) == before
    assert codec.encode(read) == encoded
    for other in CODECS:
        changed = transcode(encoded, Everything, other)
        assert changed == other.encode(body)
        assert (changed is encoded) == (other is codec)


@pytest.mark.parametrize("codec", CODECS)
@given(value=values)
def test_a_body_without_uuids_of_its_own_keeps_those_in_its_value(codec: Codec, value: Value) -> None:
    assert same(decode(codec.encode(Put("k", value)), Put).value, value)


def test_the_forms_are_frozen() -> None:
    value: Value = {"$k": [b"\0\xff", UUID_1, EPOCH.replace(microsecond=5)], "n": 1}
    assert JSON.encode(Put("k", value)) == (
        b'["k",{"$$k":[{"$bytes":"AP8="},{"$uuid":"01020304-0506-0708-090a-0b0c0d0e0f10"},'
        b'{"$datetime":"1970-01-01T00:00:00.000005Z"}],"n":1}]'
    )
    assert MSGPACK.encode(Put("k", value)) == (
        b"\x92\xa1k\x82\xa2$k\x93\xc4\x02\x00\xff\xd8\x01"
        + UUID_1.bytes
        + b"\xd7\xff\x00\x00\x4e\x20\x00\x00\x00\x00\xa1n\x01"
    )
    assert MSGPACK.encode_value(UUID_1) == b"\xd8\x01" + UUID_1.bytes
    assert [JSON.name, MSGPACK.name, repr(JSON), repr(MSGPACK)] == ["json", "msgpack", "JSON", "MSGPACK"]


def test_a_datetime_that_somebody_wrote_in_json_comes_back_in_utc() -> None:
    step = decode(b'["step","2020-01-01T02:00:00+02:00",{}]', Step)
    assert step.at == datetime(2020, 1, 1, tzinfo=UTC) and step.at.tzinfo is UTC
    put = decode(b'["k",{"\\u0024datetime":"2020-01-01T02:00:00+02:00"}]', Put)
    assert same(put.value, datetime(2020, 1, 1, tzinfo=UTC))


def test_post_init_does_not_run_while_writing() -> None:
    runs = []

    class Watched(msgspec.Struct):
        value: Any

        def __post_init__(self) -> None:
            runs.append(self.value)

    body = Watched(UUID_1)
    MSGPACK.encode(body)
    JSON.encode(body)
    assert runs == [UUID_1]


class Sneaky(msgspec.Struct):
    value: Any


class Floats(msgspec.Struct):
    at: datetime


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        (JSON, Sneaky((1,))),
        (JSON, Sneaky({1: 2})),
        (MSGPACK, Sneaky([UUID_1, (1,)])),
        (JSON, Sneaky(["\ud800"])),
        (JSON, Floats(datetime(2020, 1, 1))),
        (JSON, Floats(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))))),
        (MSGPACK, Sneaky(2**64)),
        (MSGPACK, Sneaky(object())),
        (MSGPACK, Sneaky({1, UUID_1})),
        (MSGPACK, {"not": "a struct"}),
        (MSGPACK, Sneaky("\ud800")),
    ],
)
def test_what_cannot_be_encoded_is_told_with_its_type(codec: Codec, body: Any) -> None:
    with pytest.raises(SerializationError, match=type(body).__name__) as caught:
        codec.encode(body)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("codec", CODECS)
def test_a_bare_value_that_cannot_be_encoded_is_told(codec: Codec) -> None:
    with pytest.raises(SerializationError):
        codec.encode_value("\ud800")
    with pytest.raises(SerializationError):
        canonical([2**64])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" {}",
        b"\x01",
        b"[",
        b"[1,2]",
        b'["k",nul]',
        b'["k",{"$what":1}]',
        b'["k",{"$what":1,"b":2}]',
        b'["k",{"$uuid":"x"}]',
        b'["k",{"$uuid":1}]',
        b'["k",{"$bytes":"A"}]',
        b'["k",{"$bytes":"AA==\\n"}]',
        b'["k",{"$bytes":null}]',
        b'["k",{"$datetime":"2020-01-01T00:00:00"}]',
        b'["k",{"$datetime":"0001-01-01T00:00:00+01:00"}]',
        b'["k","\xff"]',
        b"\x92\xa1k",
        b"\x92\xa1k\xc1",
        b"\x92\xa1k\xa1\xff",
        b"\x92\xa1k\xd4\x01\x00",
        b"\x92\xa1k\xd4\x02\x00",
        b"\x92\xa1k" + b"\x91" * 5000,
        b"[" * 5000,
    ],
)
def test_bytes_that_are_no_body_are_told_with_the_type(body: bytes) -> None:
    with pytest.raises(SerializationError, match="Put") as caught:
        decode(body, Put)
    assert caught.value.__cause__ is not None


def test_bytes_that_are_no_value_are_told() -> None:
    for data, codec in ((b"\xc1", MSGPACK), (b"", MSGPACK), (b'{"$x":1}', JSON), (b"{", JSON)):
        with pytest.raises(SerializationError, match=codec.name):
            decode_value(data, codec)
    with pytest.raises(SerializationError):
        transcode(b"", Put, JSON)


# -- canonical form ----------------------------------------------------------------------------------------------------


def shuffled(value: Value, backwards: bool = True) -> Value:
    if isinstance(value, dict):
        return {key: shuffled(item) for key, item in reversed(value.items())}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


@given(values)
def test_the_canonical_form_does_not_depend_on_the_order_of_keys(value: Value) -> None:
    assert canonical(shuffled(value)) == canonical(value)
    assert digest(value) == sha256(canonical(value)).digest()


@given(values)
def test_the_canonical_form_is_a_value_in_msgpack(value: Value) -> None:
    read = decode_value(canonical(value), MSGPACK)
    assert canonical(read) == canonical(value)
    assert read == value


@given(values, values)
@example(1, 1.0)
@example(0.0, -0.0)
@example(True, 1)
@example(UUID_1, UUID_1.bytes)
@example(EPOCH, EPOCH.astimezone(timezone(timedelta(hours=3))))
def test_different_values_have_different_forms(one: Value, other: Value) -> None:
    plain, odd = decode_value(MSGPACK.encode_value(one), MSGPACK), decode_value(MSGPACK.encode_value(other), MSGPACK)
    if canonical(one) == canonical(other):
        assert one == other
    if same(plain, odd):
        assert canonical(one) == canonical(other)


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (0.0, -0.0), (True, 1), (UUID_1, UUID_1.bytes), ("a", b"a")])
def test_values_of_different_types_have_different_forms(one: Value, other: Value) -> None:
    assert canonical(one) != canonical(other)
    assert canonical({"a": [one]}) != canonical({"a": [other]})


def test_the_canonical_form_is_frozen() -> None:
    value: Value = {"b": {"z": 1, "y": -0.0}, "a": [UUID_1]}
    assert canonical(value) == (
        b"\x82\xa1a\x91\xd8\x01" + UUID_1.bytes + b"\xa1b\x82\xa1y\xcb\x80\0\0\0\0\0\0\0\xa1z\x01"
    )
    assert canonical({"z": 1, "a": b"\xc4"}) == b"\x82\xa1a\xc4\x01\xc4\xa1z\x01"


# -- check_value -------------------------------------------------------------------------------------------------------


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


class Ident(UUID):
    pass


class Moment(datetime):
    pass


class Nowhere(tzinfo):
    def utcoffset(self, moment: datetime | None) -> None:
        return None

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> None:
        return None


@dataclasses.dataclass
class Data:
    x: int = 1


BAD: list[tuple[Any, str]] = [
    ((1,), "tuple"),
    ({1}, "set"),
    (frozenset(), "frozenset"),
    (decimal.Decimal(1), "decimal.Decimal"),
    (1j, "complex"),
    (date(2020, 1, 1), "datetime.date"),
    (timedelta(1), "timedelta"),
    (Colour.RED, "Colour"),
    (Text("a"), "Text"),
    (Ident(int=1), "Ident"),
    (Moment(2020, 1, 1, tzinfo=UTC), "Moment"),
    (OrderedDict(a=1), "OrderedDict"),
    (Data(), "Data"),
    (Note(text="a"), "Note"),
    (bytearray(b"a"), "bytearray"),
    (memoryview(b"a"), "memoryview"),
    (object(), "object"),
    (2**64, "2**64-1"),
    (-(2**63) - 1, "-2**63"),
    (math.nan, "finite"),
    (math.inf, "finite"),
    (-math.inf, "finite"),
    ("\ud800", "surrogate"),
    ("é\udfff", "surrogate"),
    (datetime(2020, 1, 1), "time zone"),
    (datetime(2020, 1, 1, tzinfo=Nowhere()), "time zone"),
    (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "1..9999"),
    (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))), "1..9999"),
]


@pytest.mark.parametrize(("bad", "why"), BAD, ids=range(len(BAD)))
def test_what_is_no_value_is_refused_with_its_path(bad: Any, why: str) -> None:
    for value, path in (
        (bad, "value"),
        ([bad], "value[0]"),
        ({"ok": "é", "steps": [1, "é", EPOCH, {"when": bad}]}, "value.steps[3].when"),
        ({"a": {}, "b c": [[], bad]}, "value['b c'][1]"),
        ({"": bad}, "value['']"),
        ([0.5] * 40 + [bad], "value[40]"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            check_value(value, "value")
        assert caught.value.field == path
        assert why in caught.value.why


@pytest.mark.parametrize(
    ("key", "why"),
    [(1, "not a str: 1"), (b"a", "not a str"), (None, "not a str"), (Text("a"), "not a str"), ("\ud800", "surrogate")],
)
def test_keys_that_are_no_text_are_refused(key: Any, why: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_value({"a": [{key: 1}]}, "value")
    assert caught.value.field == "value.a[0]"
    assert why in caught.value.why


def test_a_long_key_is_shown_short() -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_value({"x " * 500: ()}, "value")
    assert len(caught.value.field) < 100


@given(values)
def test_every_value_passes(value: Value) -> None:
    check_value(value, "value")


def nested(levels: int, leaf: Any, *, in_dicts: bool) -> Any:
    for _ in range(levels):
        leaf = {"a": leaf} if in_dicts else [leaf]
    return leaf


@pytest.mark.parametrize("in_dicts", [False, True])
def test_nesting_has_a_limit(in_dicts: bool) -> None:
    deepest = nested(NESTING_MAX, UUID_1, in_dicts=in_dicts)
    check_value(deepest, "value")
    for codec in CODECS:
        assert decode(codec.encode(Put("k", deepest)), Put).value == deepest
    for levels in (NESTING_MAX + 1, 5000):
        with pytest.raises(InvalidInputError) as caught:
            check_value(nested(levels, 1, in_dicts=in_dicts), "value")
        assert caught.value.field == "value" + (".a" if in_dicts else "[0]") * NESTING_MAX
        assert "64" in caught.value.why
    check_value(nested(NESTING_MAX, {} if in_dicts else [], in_dicts=in_dicts)["a" if in_dicts else 0], "value")


def test_what_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {"a": [1]}
    value["a"].append(value)
    with pytest.raises(InvalidInputError) as caught:
        check_value(value, "value")
    assert (caught.value.field, caught.value.why) == ("value.a[1]", "contains itself")
    twice: list[Any] = [1]
    check_value([twice, twice], "value")


def test_many_floats_are_looked_at_together() -> None:
    check_value([0.5] * 100, "value")
    check_value([1e308] * 100, "value")  # the sum is infinite, the values are not
    check_value([0.5] * 99 + [1], "value")
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(InvalidInputError, match=r"value\[99\]"):
            check_value([1e308] * 99 + [bad], "value")
    with pytest.raises(InvalidInputError, match=r"value\[0\]"):
        check_value([math.inf] + [-math.inf] * 50, "value")


# -- texts and names ---------------------------------------------------------------------------------------------------


def test_texts() -> None:
    assert check_text("a\0é", "key", most_bytes=4) == "a\0é"
    assert check_text("", "key", empty_allowed=True) == ""
    assert check_text("ab", "key", most_bytes=2, nul_allowed=False) == "ab"
    bad: list[tuple[object, dict[str, Any], str]] = [
        (1, {}, "int"),
        (Text("a"), {}, "Text"),
        (None, {"empty_allowed": True}, "NoneType"),
        ("", {}, "empty"),
        ("abc", {"most_bytes": 2}, "3 bytes"),
        ("éé", {"most_bytes": 3}, "4 bytes"),
        ("\ud800", {}, "surrogate"),
        ("a\0", {"nul_allowed": False}, "NUL"),
    ]
    for value, options, why in bad:
        with pytest.raises(InvalidInputError) as caught:
            check_text(value, "key", **options)
        assert caught.value.field == "key" and why in caught.value.why


@pytest.mark.parametrize(
    "name",
    [
        "default",
        "my-project",
        "a.b_c:d@e",
        "two words",
        "x" * 64,
        "é" * 32,
        "日本語",
        "हिन्दी",
        ".hidden",
        "1",
        "a.",
        "Ω 2",
    ],
)
def test_space_names(name: str) -> None:
    assert check_space_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "x" * 65,
        "é" * 33,
        "a/b",
        "a\\b",
        "a\0",
        "a\n",
        "\x7f",
        " a",
        "a ",
        ".",
        "..",
        "a..b",
        "a*b",
        "\u0301a",
        "e\u0301",
    ]
    + ["a\u200b", "a\u00a0b", "\ud800", "😀", 1, None, Text("a"), b"a"],
)
def test_bad_space_names(name: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_space_name(name)
    assert caught.value.field == "space"


@given(st.text(max_size=70))
def test_a_space_name_is_refused_or_harmless(name: str) -> None:
    try:
        check_space_name(name)
    except InvalidInputError:
        return
    assert 1 <= len(name.encode()) <= SPACE_NAME_BYTES_MAX
    assert name.strip() == name and name.isprintable() and ".." not in name and not set(name) & set('/\\\0"*?<>|')


# -- time --------------------------------------------------------------------------------------------------------------


@given(times)
@example(datetime.min.replace(tzinfo=UTC))
@example(datetime.max.replace(tzinfo=UTC))
@example(EPOCH - timedelta(microseconds=1))
def test_microseconds_are_exact(moment: datetime) -> None:
    us = to_microseconds(moment, "at")
    delta = moment - EPOCH
    assert us == (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds
    read = from_microseconds(us)
    assert read == moment and read.tzinfo is UTC


def test_times_that_are_refused() -> None:
    bad: list[Any] = [
        datetime(2020, 1, 1),
        datetime(2020, 1, 1, tzinfo=Nowhere()),
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))),
        date(2020, 1, 1),
        1.5,
        "2020-01-01",
        None,
    ]
    for moment in bad:
        with pytest.raises(InvalidInputError, match="expires_at"):
            to_microseconds(moment, "expires_at")
    for us in (to_microseconds(datetime.max.replace(tzinfo=UTC), "at") + 1, -(2**62)):
        with pytest.raises(InvalidInputError):
            from_microseconds(us)


def test_uuids_of_every_kind_survive() -> None:
    for _ in range(50):
        uuid = uuid4()
        for codec in CODECS:
            assert decode_value(codec.encode_value([uuid, uuid.bytes]), codec) == [uuid, uuid.bytes]
