"""Vectors as bytes: what is taken, what is refused."""

from __future__ import annotations

import struct
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import InvalidInputError
from holdfast.search.float32 import DIMENSION_MAX, pack, unpack

ONE_TWO_THREE = struct.pack("<3f", 1, 2, 3)


class Tensor:
    """What has no buffer, but can tell its numbers."""

    def tolist(self):
        return [1, 2, 3]


@pytest.mark.parametrize(
    "vector",
    [
        [1, 2, 3],
        (1.0, 2, 3),
        range(1, 4),
        array("f", [1, 2, 3]),
        array("d", [1, 2, 3]),
        array("q", [1, 2, 3]),
        memoryview(array("f", [1, 2, 3])),
        np.array([1, 2, 3], dtype="f4"),
        np.array([1, 2, 3], dtype="f8"),
        np.array([1, 2, 3], dtype="f2"),
        np.array([1, 2, 3], dtype="i8"),
        np.array([1, 2, 3], dtype=">f4"),
        np.array([1, 9, 2, 9, 3, 9], dtype="f4")[::2],
        np.array([1, 9, 2, 9, 3, 9], dtype="f8")[::2],
        np.array([1, 2, 3], dtype=object),
        Tensor(),
    ],
    ids=lambda vector: f"{type(vector).__name__} {getattr(vector, 'dtype', getattr(vector, 'typecode', ''))}",
)
def test_what_holds_numbers_is_taken(vector):
    assert pack(vector, "vector") == ONE_TWO_THREE


@pytest.mark.parametrize(
    "vector",
    [
        None, 5, "123", b"123", bytearray(3), [], {1, 2}, {1: 2}, ["1"], [None], [[1, 2]], [1, float("nan")],
        [float("inf")], [1e39], [-1e39], [10**400], iter([1, 2]), object(), [1j], np.eye(2), np.float32(1),
        np.array([np.nan]), np.array(["a"]), np.array([1j]), np.array(["2020-01-01"], dtype="M8[D]"),
        np.zeros(DIMENSION_MAX + 1),
    ],
    ids=lambda vector: type(vector).__name__,
)  # fmt: skip
def test_what_is_no_vector_is_refused(vector):
    with pytest.raises(InvalidInputError) as caught:
        pack(vector, "the field")
    assert caught.value.field == "the field"


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_float32_comes_back_as_it_was(numbers):
    packed = pack(numbers, "vector")
    assert unpack(packed).tolist() == numbers and len(packed) == 4 * len(numbers)
    assert pack(unpack(packed), "vector") == packed == np.array(numbers, dtype="<f4").tobytes()


def test_the_greatest_numbers_have_a_finite_sum():
    assert len(pack([3.4e38] * DIMENSION_MAX, "vector")) == 4 * DIMENSION_MAX
