"""No two primitives share anything, and each keeps to its range."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.entry_types import entry_range
from holdfast.faces import builtin
from holdfast.model import Entry
from holdfast.primitive import Primitive, Put, put_entry
from holdfast.primitives.kv import KeyValueBody


class NotePut(Put, frozen=True, gc=False):
    pass


def primitive(**changes):
    fields = {
        "name": "note", "id": 64, "attribute": "notes", "body": KeyValueBody, "face": staticmethod(lambda scope: scope.space),
        "entry_types": (put_entry(0xC0, NotePut),),
    }  # fmt: skip
    return type("Note", (Primitive,), fields | changes)()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "kv"}, "primitive.id"), ({"id": 63}, "primitive.id"), ({"id": 256}, "primitive.id"),
        ({"attribute": "kv"}, "primitive.attribute"), ({"entry_types": (put_entry(0x10, NotePut),)}, "entry_type.code"),
        ({"entry_types": (put_entry(0xC0, NotePut), put_entry(0xC0, NotePut))}, "entry_type.code"),
        ({"entry_types": (put_entry(0xC0, NotePut), put_entry(0xC1, NotePut))}, "entry_type.payload"),
    ],
)  # fmt: skip
def test_what_is_taken_or_out_of_range_is_refused(changes, field):
    registry = builtin()
    with pytest.raises(holdfast.InvalidInputError) as caught:
        registry.register(primitive(**changes))
    assert caught.value.field == field and [one.name for one in registry] == [one.name for one in builtin()]


def test_a_primitive_of_the_users_own_stands_on_a_space():
    registry = builtin()
    registry.register(primitive())
    with pytest.raises(holdfast.InvalidInputError):
        registry.register(primitive())
    with holdfast.open("memory:", registry=registry) as store:
        assert store.space("p").notes == "p"
        with pytest.raises(AttributeError, match="nothing"):
            store.space("p").nothing
    assert registry.name_of(64) == "note" and registry.name_of(77) == "kind 77"
    assert registry.by_code(0xC0)[0].name == "note" and registry.by_code(0xFF) is None
    assert registry.by_name("kv").id == 1 and registry.by_id(8).name == "memory"
    with pytest.raises(holdfast.InvalidInputError, match="kv, memory"):
        registry.by_name("nope")


def test_entries_of_newer_versions_are_left_alone_and_damaged_ones_told():
    registry = builtin()
    assert registry.to_payload(Entry(0x10, 2, b"")) is None and registry.to_payload(Entry(0xF0, 1, b"")) is None
    with pytest.raises(holdfast.SerializationError):
        registry.to_payload(Entry(0x10, 1, b"\xc1"))


def test_ranges_do_not_meet():
    assert entry_range(1) == range(0x10, 0x20) and entry_range(64) == entry_range(255) == range(0xC0, 0x100)
