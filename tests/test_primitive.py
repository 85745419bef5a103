"""What a primitive is unless it says otherwise."""

from __future__ import annotations

from uuid import UUID

import pytest

from holdfast.errors import InvalidInputError
from holdfast.keys import encode_key
from holdfast.primitives.event import EventPrimitive
from holdfast.primitives.kv import KeyValuePrimitive
from holdfast.primitives.memory import MemoryPrimitive


def test_what_is_not_searchable_has_no_text():
    primitive = KeyValuePrimitive()
    assert not primitive.searchable
    assert primitive.text(None) is None
    assert primitive.key_text(encode_key("a", 1)) == "a/1"


ID = UUID(int=7)


@pytest.mark.parametrize(
    ("primitive", "key", "inside", "outside"),
    [
        (KeyValuePrimitive(), "a", encode_key("a"), encode_key("a\x00")),
        (KeyValuePrimitive(), ("a", 1), encode_key("a", 1), encode_key("a", 2)),
        (EventPrimitive(), "s", encode_key("s", 9), encode_key("s9")),
        (MemoryPrimitive(), ID, ID.bytes, ID.bytes + b"\0"),
        (MemoryPrimitive(), str(ID), ID.bytes, UUID(int=8).bytes),
    ],
)
def test_what_a_person_names_by_a_key(primitive, key, inside, outside):
    low, high = primitive.key_range(key)
    assert low <= inside < high and not low <= outside < high


class Swapped(KeyValuePrimitive):
    def key_text(self, key):
        return str(UUID(bytes=key))


class Shouted(KeyValuePrimitive):
    def key_text(self, key):
        return super().key_text(key).upper()


@pytest.mark.parametrize(
    ("primitive", "key"),
    [
        (Shouted(), "a"),
        (KeyValuePrimitive(), object()),
        (KeyValuePrimitive(), "\ud800"),
        (MemoryPrimitive(), "a"),
        (MemoryPrimitive(), 7),
        (MemoryPrimitive(), ("a",)),
        (Swapped(), "a"),
    ],
)
def test_what_is_no_key_is_refused_rather_than_not_found(primitive, key):
    with pytest.raises(InvalidInputError) as caught:
        primitive.key_range(key)
    assert caught.value.field == "keys"
