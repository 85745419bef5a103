"""What a primitive is unless it says otherwise."""

from __future__ import annotations

from holdfast.keys import encode_key
from holdfast.primitives.kv import KeyValuePrimitive


def test_what_is_not_searchable_has_no_text():
    primitive = KeyValuePrimitive()
    assert not primitive.searchable
    assert primitive.text(None) is None
    assert primitive.key_text(encode_key("a", 1)) == "a/1"
