r"""Keys and index values to order-preserving bytes, and back. Pure, and safe from any thread.

Promises: comparing two encodings byte by byte is comparing the tuples; ``encode_key(a) + encode_key(b)`` is
``encode_key(a, b)``; no encoding of one part is a proper prefix of another's, so a prefix of parts is a prefix of
bytes; a part has one encoding, and ``decode_key`` accepts nothing else. It does not know what a key is for.

    part              bytes
    None              02
    False, True       04, 05
    int < 0           10 | value + 2^64, u64
    int >= 0          11 | value, u64
    float             20 | the 64 bits of the IEEE 754 double; sign bit flipped if it was clear, else all bits flipped
    str               30 | UTF-8, each 00 written as 00 FF | 00 01
    bytes             40 | the bytes, each 00 written as 00 FF | 00 01
    UUID              50 | 16 bytes
    datetime          60 | microseconds since 1970-01-01 UTC + 2^63, u64

All integers are big-endian, and no tag is FF. None < bool < int < float < str < bytes < UUID < datetime, whatever the
values: ints and floats do not interleave, because an index has one declared type for each part. An int is
-2^63..2^64-1; a float is finite, and -0.0 is written as 0.0; a str has no lone surrogates; a datetime is aware, and
comes back in UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from math import isfinite
from struct import Struct
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from holdfast.errors import InvalidInputError, SerializationError

Part: TypeAlias = None | bool | int | float | str | bytes | UUID | datetime

KEY_BYTES_MAX: Final = 512
TERM_BYTES_MAX: Final = 512
TERMS_MAX: Final = 64

_NONE: Final = b"\x02"
_FALSE: Final = b"\x04"
_TRUE: Final = b"\x05"
_NEGATIVE: Final = 0x10
_POSITIVE: Final = 0x11
_FLOAT: Final = 0x20
_STR: Final = 0x30  # "0", which lets the fast paths below format a key as one str
_BYTES: Final = 0x40
_UUID: Final = 0x50
_DATETIME: Final = 0x60

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
_SIGN: Final = 2**63
_ALL: Final = 2**64 - 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_FIRST: Final = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST: Final = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND

_pack_tagged = Struct(">BQ").pack
_unpack_tagged = Struct(">BQ").unpack_from
_pack_double = Struct(">d").pack
_unpack_double = Struct(">d").unpack
_pack_word = Struct(">Q").pack
_unpack_word = Struct(">Q").unpack
_pack_timestamp = Struct(">3sIq").pack
# msgspec builds a UUID or a datetime from bytes in a third of the time that their constructors take.
_uuid = msgspec.msgpack.Decoder(UUID).decode
_timestamp = msgspec.msgpack.Decoder(datetime).decode


def encode_key(*parts: Part) -> bytes:
    """The bytes of these parts; InvalidInputError names the part that has none (``key[1]``)."""
    try:  # a lone surrogate in a fast path is reported by the general one
        if len(parts) == 1:
            part = parts[0]
            if type(part) is str and "\0" not in part:
                return f"0{part}\0\1".encode()
            if type(part) is int and 0 <= part <= _INT_MAX:
                return _pack_tagged(_POSITIVE, part)
            if type(part) is UUID:
                return b"P" + part.bytes
        elif len(parts) == 2:
            part, second = parts
            if type(part) is str and "\0" not in part:
                if type(second) is int and 0 <= second <= _INT_MAX:
                    return f"0{part}\0\1".encode() + _pack_tagged(_POSITIVE, second)
                if type(second) is datetime:
                    return f"0{part}\0\1".encode() + _encode_datetime(second)
    except ValueError:
        pass
    encoded: list[bytes] = []
    for part in parts:
        encode = _ENCODERS.get(type(part))
        if encode is None:
            raise InvalidInputError(f"key[{len(encoded)}]", f"{type(part).__name__} cannot be part of a key")
        try:
            encoded.append(encode(part))
        except ValueError as error:
            raise InvalidInputError(f"key[{len(encoded)}]", str(error)) from None
    return b"".join(encoded)


def _encode_none(part: None) -> bytes:
    return _NONE


def _encode_bool(part: bool) -> bytes:
    return _TRUE if part else _FALSE


def _encode_int(part: int) -> bytes:
    if 0 <= part <= _INT_MAX:
        return _pack_tagged(_POSITIVE, part)
    if _INT_MIN <= part < 0:
        return _pack_tagged(_NEGATIVE, part + 2**64)
    raise ValueError("an int must be in -2**63..2**64-1")


def _encode_float(part: float) -> bytes:
    if not isfinite(part):
        raise ValueError("a float must be finite")
    bits: int = _unpack_word(_pack_double(part + 0.0))[0]  # -0.0 + 0.0 is 0.0
    return _pack_tagged(_FLOAT, bits ^ (_ALL if bits & _SIGN else _SIGN))


def _encode_str(part: str) -> bytes:
    return b"0%b\0\1" % _escape_text(part)


def _escape_text(text: str) -> bytes:
    try:
        return text.encode().replace(b"\0", b"\0\xff")
    except UnicodeEncodeError:
        raise ValueError("a str must not hold lone surrogates") from None


def _encode_bytes(part: bytes) -> bytes:
    return b"@%b\0\1" % part.replace(b"\0", b"\0\xff")


def uuid_of(data: bytes) -> UUID:
    """The UUID of 16 bytes; for keys that are nothing but an id."""
    return _uuid(b"\xc4\x10" + data)


def _encode_uuid(part: UUID) -> bytes:
    return b"P" + part.bytes


def _encode_datetime(part: datetime) -> bytes:
    try:
        microseconds = (part - _EPOCH) // _MICROSECOND
    except TypeError:
        raise ValueError("a datetime must have a time zone") from None
    if _FIRST <= microseconds <= _LAST:
        return _pack_tagged(_DATETIME, microseconds + _SIGN)
    raise ValueError("a datetime must be in the years 1..9999 of UTC")


_ENCODERS: Final[dict[type, Callable[..., bytes]]] = {
    type(None): _encode_none,
    bool: _encode_bool,
    int: _encode_int,
    float: _encode_float,
    str: _encode_str,
    bytes: _encode_bytes,
    UUID: _encode_uuid,
    datetime: _encode_datetime,
}


def decode_key(data: bytes) -> tuple[Part, ...]:
    """The parts that ``encode_key`` made these bytes of, or SerializationError."""
    parts: list[Part] = []
    at, end = 0, len(data)
    try:
        while at < end:
            tag = data[at]
            if tag in (_STR, _BYTES):
                raw, at = _read_escaped(data, at + 1)
                parts.append(raw.decode() if tag == _STR else raw)
            elif tag == _UUID:
                parts.append(_uuid(b"\xc4\x10" + data[at + 1 : at + 17]))
                at += 17
            elif tag < 0x10:
                parts.append(_CONSTANTS[tag])
                at += 1
            else:
                parts.append(_decode_word(*_unpack_tagged(data, at)))
                at += 9
    except Exception as error:  # struct.error, KeyError, ValueError, msgspec's: all mean the same here
        raise SerializationError(f"these bytes are no key (at byte {at}): {data[:64]!r}") from error
    return tuple(parts)


_CONSTANTS: Final[dict[int, Part]] = {_NONE[0]: None, _FALSE[0]: False, _TRUE[0]: True}


def _read_escaped(data: bytes, start: int) -> tuple[bytes, int]:
    """The bytes up to the terminator, and the place after it."""
    at = data.index(0, start)
    if data[at + 1] == 1:
        return data[start:at], at + 2
    while data[at + 1] != 1:
        if data[at + 1] != 0xFF:
            raise ValueError("00 is followed by neither FF nor 01")
        at = data.index(0, at + 2)
    return data[start:at].replace(b"\0\xff", b"\0"), at + 2


def _decode_word(tag: int, word: int) -> Part:
    if tag == _POSITIVE:
        return word
    if tag == _NEGATIVE and word & _SIGN:
        return word - 2**64
    if tag == _DATETIME:
        seconds, microseconds = divmod(word - _SIGN, 1_000_000)
        return _timestamp(_pack_timestamp(b"\xc7\x0c\xff", microseconds * 1000, seconds))
    if tag == _FLOAT and word != _SIGN - 1:  # which would be -0.0
        value: float = _unpack_double(_pack_word(word ^ (_SIGN if word & _SIGN else _ALL)))[0]
        if isfinite(value):
            return value
    raise ValueError(f"not a part: tag {tag:#x}, {word:#x}")


def key_range_prefix(prefix: bytes) -> tuple[bytes, bytes]:
    """``(low, high)`` with low <= key < high for exactly the keys that start with the prefix.

    InvalidInputError for a prefix that nothing sorts after (empty, or only FF bytes); no encoded key is one.
    """
    kept = prefix.rstrip(b"\xff")
    if not kept:
        raise InvalidInputError("prefix", "nothing sorts after every key that starts with it")
    return prefix, kept[:-1] + bytes((kept[-1] + 1,))


def str_prefix_range(text: str) -> tuple[bytes, bytes]:
    """``(low, high)`` of the keys whose first part is a str that starts with the text (any str, if it is empty)."""
    try:
        return key_range_prefix(b"0" + _escape_text(text))
    except ValueError as error:
        raise InvalidInputError("prefix", str(error)) from None


def term_value(encoded: bytes) -> bytes:
    """What an index keeps of an encoded value: all of it, or - too long - its beginning and a SHA-256 digest of it all.

    A cut term is TERM_BYTES_MAX long and good for equality only: its order among terms with the same beginning is not
    the order of the values.
    """
    if len(encoded) <= TERM_BYTES_MAX:
        return encoded
    return encoded[: TERM_BYTES_MAX - 32] + sha256(encoded).digest()
