"""Embeddings as blobs: dense, sparse and multi-vector, in float32.

A blob is a msgpack array: ``[form, width, vectors]``, with the numbers as little-endian float32 (and, for a sparse one,
uint32 indices), so that an embedding of 1,024 dimensions takes 4 KiB. An empty one is legal: "not computed yet".
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from holdfast.codec import check_text
from holdfast.errors import InvalidInputError, SerializationError
from holdfast.model import Blobs

BLOB_PREFIX = "embedding/"


class Sparse(msgspec.Struct, frozen=True):
    """A sparse vector: strictly rising indices (0..2^32-1) and their values."""

    indices: tuple[int, ...]
    values: tuple[float, ...]


if TYPE_CHECKING:
    Embedding: TypeAlias = "list[float] | list[list[float]] | Sparse"
    """Dense, multi-vector (one row a token) or sparse. Numbers are kept as float32."""
else:
    Embedding = Any  # msgspec refuses a union of two kinds of list; no body holds one, they are blobs


def to_blobs(embeddings: object) -> Blobs | None:
    """Return embeddings by name as blobs; None stays None ("as they are")."""
    if embeddings is None:
        return None
    if not isinstance(embeddings, Mapping):
        raise InvalidInputError("embeddings", f"must be a mapping of names to vectors, not {type(embeddings).__name__}")
    return tuple(
        (BLOB_PREFIX + name, _encode(embeddings[name], f"embeddings[{name!r}]"))
        for name in sorted(check_text(name, "embeddings", most_bytes=128) for name in embeddings)
    )


def from_blobs(blobs: Blobs | None) -> dict[str, Embedding] | None:
    """Return the embeddings among the blobs by name; None if the blobs were not read."""
    if blobs is None:
        return None
    return {name.removeprefix(BLOB_PREFIX): _decode(data) for name, data in blobs if name.startswith(BLOB_PREFIX)}


def _encode(vector: Any, field: str) -> bytes:
    if isinstance(vector, Sparse):
        if any(type(index) is not int or not 0 <= index < 2**32 for index in vector.indices):
            raise InvalidInputError(field, "must have indices of 0..2^32-1")
        rising = all(a < b for a, b in zip(vector.indices, vector.indices[1:], strict=False))
        if not rising or len(vector.indices) != len(vector.values):
            raise InvalidInputError(field, "must have strictly rising indices, as many as values")
        return msgspec.msgpack.encode(["sparse", _pack("I", vector.indices), _floats(vector.values, field)])
    if hasattr(vector, "tolist"):
        vector = vector.tolist()
    if not isinstance(vector, Sequence) or isinstance(vector, str | bytes):
        raise InvalidInputError(
            field, f"must be a list of numbers, a list of such lists, or Sparse, not {type(vector)}"
        )
    if vector and isinstance(vector[0], Sequence):
        width = len(vector[0])
        if any(not isinstance(row, Sequence) or len(row) != width for row in vector):
            raise InvalidInputError(field, f"must have rows of one length ({width})")
        return msgspec.msgpack.encode(["multi", width, _floats([number for row in vector for number in row], field)])
    return msgspec.msgpack.encode(["dense", len(vector), _floats(vector, field)])


def _floats(numbers: Iterable[Any], field: str) -> bytes:
    try:
        values = [float(number) for number in numbers]
        packed = _pack("f", values)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(field, f"must hold numbers in the range of float32: {error}") from error
    if not all(map(isfinite, _unpack("f", packed))):
        raise InvalidInputError(field, "must hold finite numbers in the range of float32")
    return packed


def _pack(form: str, numbers: Iterable[Any]) -> bytes:
    packed = array(form, numbers)
    if sys.byteorder == "big":  # pragma: no cover - no such machine to test on
        packed.byteswap()
    return packed.tobytes()


def _unpack(form: str, data: bytes) -> list[Any]:
    numbers: array[Any] = array(form)
    numbers.frombytes(data)
    if sys.byteorder == "big":  # pragma: no cover - no such machine to test on
        numbers.byteswap()
    return numbers.tolist()


def _decode(data: bytes) -> Embedding:
    try:
        form, width, packed = msgspec.msgpack.decode(data)
        if form == "sparse":
            return Sparse(tuple(_unpack("I", width)), tuple(_unpack("f", packed)))
        numbers = _unpack("f", packed)
    except (ValueError, TypeError, msgspec.MsgspecError) as error:
        raise SerializationError(f"an embedding cannot be decoded: {error}") from error
    if form == "dense":
        return numbers
    return [numbers[start : start + width] for start in range(0, len(numbers), width)] if width else []
