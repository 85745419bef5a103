"""Vectors as bytes: little-endian float32, 4 bytes a dimension, nothing before or behind.

Takes what programs hold vectors in, without needing the packages that make it. Promises: what is packed is finite and
has one dimension; unpacking gives the same float32 numbers on every machine. Pure. Knows no collections.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from math import isfinite
from typing import Any

from holdfast.errors import InvalidInputError

DIMENSION_MAX = 65_536
_ACCEPTED = "a list of numbers, or anything with one dimension that has the buffer protocol or tolist()"


def pack(vector: Any, field: str) -> bytes:
    """Return a vector as float32: a list, a tuple, an array.array, a numpy array, a tensor with ``tolist()``.

    Raises InvalidInputError, naming ``field``, for anything else, for no or more than 65,536 numbers, and for numbers
    that float32 cannot hold.
    """
    if isinstance(vector, str | bytes | bytearray):
        raise InvalidInputError(field, f"must be {_ACCEPTED}, not {type(vector).__name__}")
    try:
        numbers = _numbers(vector, field)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(field, f"must be {_ACCEPTED}: {error}") from error
    if not 1 <= len(numbers) <= DIMENSION_MAX:
        raise InvalidInputError(field, f"has {len(numbers)} dimensions; 1 to {DIMENSION_MAX} are allowed")
    if not isfinite(sum(numbers)):  # in double precision, where float32 numbers cannot overflow
        raise InvalidInputError(field, "must hold finite numbers in the range of float32")
    return _little_endian(numbers).tobytes()


def unpack(data: bytes) -> array[float]:
    """Return the numbers of a packed vector."""
    numbers = array("f")
    numbers.frombytes(data)
    return _little_endian(numbers)


def _numbers(vector: Any, field: str) -> array[float]:
    try:
        view = memoryview(vector)
    except (TypeError, ValueError, BufferError):  # it has no buffer, or one that cannot be described
        return array("f", _listed(vector, field))
    if view.ndim != 1:
        raise InvalidInputError(field, f"must have one dimension, not a shape of {view.shape}")
    if view.format == "f":
        numbers = array("f")
        numbers.frombytes(view.tobytes())
        return numbers
    try:
        return array("f", view.tolist())
    except NotImplementedError:  # a format that only its maker can read, as the other byte order
        return array("f", _listed(vector, field))


def _listed(vector: Any, field: str) -> Sequence[Any]:
    numbers = vector.tolist() if hasattr(vector, "tolist") else vector
    if not isinstance(numbers, Sequence):
        raise InvalidInputError(field, f"must be {_ACCEPTED}, not {type(vector).__name__}")
    return numbers


def _little_endian(numbers: array[float]) -> array[float]:
    if sys.byteorder == "big":  # pragma: no cover - no such machine to test on
        numbers.byteswap()
    return numbers
