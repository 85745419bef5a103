"""embeddings: dense, sparse, multi-vector; read only when asked for."""

from __future__ import annotations

from array import array
from math import inf, nan

import msgspec
import pytest

import holdfast
from holdfast.errors import SerializationError
from holdfast.primitives.embedding import BLOB_PREFIX, from_blobs, to_blobs

FORMS = {
    "dense": [0.5, -1.0, 2.0],
    "empty": [],
    "multi": [[1.0, 2.0], [3.0, 4.0]],
    "no width": [[], []],
    "sparse": holdfast.Sparse((0, 7, 2**32 - 1), (1.0, 2.0, 0.5)),
    "sparse and empty": holdfast.Sparse((), ()),
}


def test_each_form_comes_back(space):
    memory = space.memories.store("m", embeddings=FORMS)
    found = space.memories.get(memory.id, embeddings=True).embeddings
    assert found == {**FORMS, "no width": []}
    assert space.memories.get(memory.id).embeddings is None and memory.embeddings is None
    again = space.memories.store("m2", id=memory.id)
    assert again.version == 2 and space.memories.get(memory.id, embeddings=True).embeddings == found
    assert space.memories.get_batch([memory.id], embeddings=True)[0].embeddings == found
    plain = space.memories.store("plain")
    assert space.memories.get(plain.id, embeddings=True).embeddings == {}


def test_a_replacing_embedding_takes_the_place_of_all(space):
    memory = space.memories.store("m", embeddings={"a": [1], "b": [2]})
    space.memories.update(memory.id, embeddings={"c": [3]})
    assert space.memories.get(memory.id, embeddings=True).embeddings == {"c": [3.0]}


def test_what_has_tolist_is_taken():
    assert from_blobs(to_blobs({"a": array("d", [1, 2])})) == {"a": [1.0, 2.0]}


@pytest.mark.parametrize(
    "bad",
    [
        [nan], [inf], [1e39], ["x"], [None], "text", b"bytes", 5, [[1], [1, 2]], [[1], 2], [1, [2]], object(),
        holdfast.Sparse((1, 1), (1.0, 2.0)), holdfast.Sparse((2, 1), (1.0, 2.0)), holdfast.Sparse((1,), ()),
        holdfast.Sparse((-1,), (1.0,)), holdfast.Sparse((2**32,), (1.0,)), holdfast.Sparse((1.5,), (1.0,)),
        holdfast.Sparse((1,), (nan,)), holdfast.Sparse(("a", 1), (1.0, 2.0)),
    ],
)  # fmt: skip
def test_bad_vectors_are_refused_by_name(space, bad):
    with pytest.raises(holdfast.InvalidInputError) as caught:
        space.memories.store("m", embeddings={"v": bad})
    assert caught.value.field == "embeddings['v']" and space.memories.count() == 0


@pytest.mark.parametrize("bad", [[], {"": [1]}, {1: [1]}, {"\ud800": [1]}, {"a" * 129: [1]}, {1: [1], "a": [2]}])
def test_bad_names_are_refused(space, bad):
    with pytest.raises(holdfast.InvalidInputError) as caught:
        space.memories.store("m", embeddings=bad)
    assert caught.value.field == "embeddings"


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", msgspec.msgpack.encode([1]), msgspec.msgpack.encode(["dense", 1, b"abc"])]
)
def test_damaged_bytes_are_an_error_of_ours(data):
    with pytest.raises(SerializationError):
        from_blobs(((BLOB_PREFIX + "a", data),))


def test_blobs_of_others_are_left_alone():
    assert from_blobs((("other/x", b"?"),)) == {} and from_blobs(None) is None and to_blobs(None) is None
