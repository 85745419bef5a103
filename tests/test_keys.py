"""Keys: byte order is value order, keys concatenate, no part is a prefix of another, a part has one encoding."""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.errors import InvalidInputError, SerializationError
from holdfast.keys import TERM_BYTES_MAX, Part, decode_key, encode_key, key_range_prefix, str_prefix_range, term_value

ORDER: list[type] = [type(None), bool, int, float, str, bytes, UUID, datetime]

texts = st.text() | st.text(alphabet="\0\1a\x7f\xff\uffff\U0010ffff")
raws = st.binary() | st.lists(st.sampled_from([0, 1, 0xFE, 0xFF])).map(bytes)
zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC) | zones)
by_type: dict[type, st.SearchStrategy[Any]] = {
    type(None): st.none(),
    bool: st.booleans(),
    int: st.integers(-(2**63), 2**64 - 1) | st.integers(-300, 300),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: texts,
    bytes: raws,
    UUID: st.uuids(),
    datetime: times,
}
parts: st.SearchStrategy[Part] = st.one_of(*by_type.values())
tuples: st.SearchStrategy[tuple[Part, ...]] = st.lists(parts, max_size=4).map(tuple)


def rank(part: Part) -> tuple[int, Any]:
    """What parts are compared by: the type first, then the value."""
    return ORDER.index(type(part)), 0 if part is None else part


def same(one: Part, other: Part) -> bool:
    return type(one) is type(other) and one == other


@given(st.sampled_from(ORDER).flatmap(lambda kind: st.tuples(by_type[kind], by_type[kind])))
@example((0.0, -0.0))
@example((5e-324, -5e-324))
@example(("a", "a\0"))
@example(("a\0", "a\1"))
@example((b"\0", b"\0\xff"))
@example((-1, 0))
@example((2**63 - 1, 2**63))
def test_byte_order_is_value_order(pair: tuple[Any, Any]) -> None:
    one, other = pair
    low, high = encode_key(one), encode_key(other)
    assert (low < high) == (rank(one) < rank(other))
    assert (low == high) == (one == other)


@given(tuples, tuples)
def test_byte_order_is_tuple_order_with_mixed_types(one: tuple[Part, ...], other: tuple[Part, ...]) -> None:
    low, high = [rank(part) for part in one], [rank(part) for part in other]
    assert (encode_key(*one) < encode_key(*other)) == (low < high)
    assert (encode_key(*one) == encode_key(*other)) == (low == high)


@given(parts, tuples, tuples)
def test_tuples_with_a_common_part_are_ordered_by_the_rest(
    first: Part, one: tuple[Part, ...], other: tuple[Part, ...]
) -> None:
    low, high = encode_key(first, *one), encode_key(first, *other)
    assert (low < high) == ([rank(part) for part in one] < [rank(part) for part in other])


@given(tuples)
def test_what_is_decoded_is_what_was_encoded(one: tuple[Part, ...]) -> None:
    decoded = decode_key(encode_key(*one))
    assert len(decoded) == len(one)
    assert all(map(same, decoded, one))
    assert encode_key(*decoded) == encode_key(*one)


@given(tuples, tuples)
def test_keys_concatenate(one: tuple[Part, ...], other: tuple[Part, ...]) -> None:
    assert encode_key(*one) + encode_key(*other) == encode_key(*one, *other)


@given(texts, parts)
@example("a", 2**64 - 1)
def test_the_fast_paths_agree_with_the_general_one(text: str, part: Part) -> None:
    assert encode_key(text, part) == encode_key(text) + encode_key(part)
    assert encode_key(None, text, part)[1:] == encode_key(text, part)


@given(parts, parts)
@example("a", "a\0")
@example(b"", b"\0")
@example("\0", "\0\0")
def test_no_part_is_a_proper_prefix_of_another(one: Part, other: Part) -> None:
    low, high = encode_key(one), encode_key(other)
    assert low == high or not high.startswith(low)


def test_the_layout_is_frozen() -> None:
    uuid = UUID(int=0x0102)
    assert encode_key() == b""
    assert encode_key(None, False, True) == b"\x02\x04\x05"
    assert encode_key(-1) == b"\x10" + b"\xff" * 8
    assert encode_key(-(2**63)) == b"\x10\x80" + b"\0" * 7
    assert encode_key(258) == b"\x11" + b"\0" * 6 + b"\1\2"
    assert encode_key(2**64 - 1) == b"\x11" + b"\xff" * 8
    assert encode_key(1.0) == b"\x20\xbf\xf0" + b"\0" * 6
    assert encode_key(-1.0) == b"\x20\x40\x0f" + b"\xff" * 6
    assert encode_key("é\0") == b"\x30\xc3\xa9\x00\xff\x00\x01"
    assert encode_key(b"\0\xff") == b"\x40\x00\xff\xff\x00\x01"
    assert encode_key(uuid) == b"\x50" + uuid.bytes
    assert encode_key(datetime(1970, 1, 1, tzinfo=UTC)) == b"\x60\x80" + b"\0" * 7
    assert encode_key(datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)) == b"\x60\x7f" + b"\xff" * 7


def test_minus_zero_is_zero() -> None:
    (decoded,) = decode_key(encode_key(-0.0))
    assert isinstance(decoded, float) and math.copysign(1, decoded) == 1


@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
def test_the_ends_of_time(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    assert decode_key(encode_key(moment)) == (moment,)


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (2**64, "2**64-1"),
        (-(2**63) - 1, "-2**63"),
        (math.nan, "finite"),
        (math.inf, "finite"),
        (-math.inf, "finite"),
        ("\ud800", "surrogate"),
        ("\0\ud800", "surrogate"),
        (datetime(2020, 1, 1), "time zone"),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))), "1..9999"),
        (datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-2))), "1..9999"),
        ((1,), "tuple"),
        (Text("a"), "Text"),
        (bytearray(b"a"), "bytearray"),
    ],
)
def test_what_cannot_be_part_of_a_key_is_refused_by_place(bad: Any, why: str) -> None:
    befores: tuple[tuple[Part, ...], ...] = ((), ("a",), ("a", 1))
    for before in befores:
        with pytest.raises(InvalidInputError) as caught:
            encode_key(*before, bad)
        assert caught.value.field == f"key[{len(before)}]"
        assert why in caught.value.why
    with pytest.raises(InvalidInputError) as caught:
        encode_key(bad, 1)
    assert caught.value.field == "key[0]"


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"\x03",
        b"\xff",
        b"\x30",
        b"\x30a",
        b"\x30a\x00",
        b"\x30a\x00\xff",
        b"\x30a\x00\x02",
        b"\x30a\x00\xff\x00\x02",
        b"\x30\xff\x00\x01",
        b"\x40\x00\x00",
        b"\x50" + b"\0" * 15,
        b"\x10" + b"\0" * 8,
        b"\x11" + b"\0" * 7,
        b"\x12" + b"\0" * 8,
        b"\x20" + b"\xff" * 8,
        b"\x20" + struct.pack(">Q", 2**63 - 1),
        b"\x60" + b"\0" * 8,
        b"\x60" + b"\xff" * 8,
    ],
)
def test_what_no_key_is_made_of_is_refused(data: bytes) -> None:
    with pytest.raises(SerializationError) as caught:
        decode_key(data)
    assert caught.value.__cause__ is not None


tags = st.sampled_from([b"\x02", b"\x05", b"\x10", b"\x11", b"\x20", b"\x30", b"\x40", b"\x50", b"\x60"])
tagged = st.tuples(tags, raws).map(b"".join)
words = st.tuples(tags, st.binary(min_size=8, max_size=8)).map(b"".join)


@given(raws | tagged | words)
def test_bytes_are_refused_or_the_only_encoding_of_what_they_mean(data: bytes) -> None:
    try:
        decoded = decode_key(data)
    except SerializationError:
        return
    assert encode_key(*decoded) == data


@given(raws.filter(lambda data: data.strip(b"\xff")), raws)
def test_a_prefix_range_holds_exactly_what_starts_with_the_prefix(prefix: bytes, other: bytes) -> None:
    low, high = key_range_prefix(prefix)
    assert low <= prefix + other < high
    assert (low <= other < high) == other.startswith(prefix)


@pytest.mark.parametrize("prefix", [b"", b"\xff", b"\xff\xff"])
def test_a_prefix_without_a_successor_is_refused(prefix: bytes) -> None:
    with pytest.raises(InvalidInputError, match="prefix"):
        key_range_prefix(prefix)


@given(tuples.filter(bool), tuples)
def test_a_prefix_of_parts_is_a_range_of_keys(one: tuple[Part, ...], other: tuple[Part, ...]) -> None:
    low, high = key_range_prefix(encode_key(*one))
    starts = [rank(part) for part in other[: len(one)]] == [rank(part) for part in one]
    assert low <= encode_key(*one, *other) < high
    assert (low <= encode_key(*other) < high) == starts


@given(texts, texts, parts)
def test_a_str_prefix_range_holds_exactly_the_texts_that_start_with_it(text: str, other: str, part: Part) -> None:
    low, high = str_prefix_range(text)
    assert low <= encode_key(text + other) < high
    assert (low <= encode_key(other) < high) == other.startswith(text)
    assert (low <= encode_key(part) < high) == (isinstance(part, str) and part.startswith(text))


def test_a_str_prefix_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="surrogate"):
        str_prefix_range("\udfff")


def test_a_long_term_is_cut_and_told_apart_by_a_digest() -> None:
    fits = encode_key("x" * (TERM_BYTES_MAX - 3))
    assert len(fits) == TERM_BYTES_MAX and term_value(fits) is fits
    long, longer = encode_key("x" * 600), encode_key("x" * 601)
    assert len(term_value(long)) == TERM_BYTES_MAX
    assert term_value(long) == long[:480] + sha256(long).digest()
    assert term_value(long) != term_value(longer)
