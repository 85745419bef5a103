"""The frames of the log: transactions as bytes, with the checksums that tell a whole one from a torn or damaged one.

Pure: bytes in, bytes out. Promises: what is read equals what was written; a reader reports a fault and never raises,
repairs or skips; zeros, and bytes of another segment, never read as a frame. Knows no file, and no meaning of an entry.

A segment is a header, frames, and once it is sealed a footer, after which nothing comes. All integers are
little-endian; each crc is CRC-32 as in zlib.

    segment header, 60 bytes
      magic                 8 bytes   "HOLDFAST"
      format version        u32       1
      salt                  u32       random, not 0: all frames of the segment carry it
      store id              16 bytes
      first sequence        u64       of the frames in the segment; the file's name
      last sequence before  u64       of the segment before; 0 in the first of a store
      frame crc before      u32       of the last frame of the segment before; 0 in the first of a store
      reserved              u32       0
      header crc            u32       of the 56 bytes before it

    frame, 40 bytes + entries + 4 bytes
      salt                  u32       of the segment
      length                u32       of the entries, in bytes; at most 2^30
      sequence              u64       from 1, contiguous
      durable               u64       the highest sequence known to be synced when the frame was made; < sequence
      commit time           i64       microseconds since 1970-01-01T00:00:00Z
      entry count           u32
      header crc            u32       of the 36 bytes before it
      entries                         each: type u8, version u8, length u32, payload
      crc                   u32       of the 36 bytes before the header crc and the entries

    footer, 24 bytes
      salt                  u32       of the segment
      mark                  u32       FFFFFFFF, where a frame has its length
      last sequence         u64       of the segment; of the one before if it has no frame
      frame crc             u32       of the last frame; of the segment before if it has no frame
      footer crc            u32       of the 20 bytes before it

The crc of a frame leaves out its header crc because a CRC-32 that runs over data and then over the CRC-32 of that data
is the same for all data: so run, it would let the entries of one frame stand under the header of another. Every version
of the format keeps the layout of the segment header.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct as Layout
from struct import error as LayoutError
from typing import Final
from zlib import crc32

import msgspec

from holdfast.errors import InvalidInputError
from holdfast.model import Entry

MAGIC: Final = b"HOLDFAST"
FORMAT_VERSION: Final = 1
ENTRIES_BYTES_MAX: Final = 2**30
SEGMENT_HEADER_BYTES: Final = 60
FRAME_HEADER_BYTES: Final = 40
FOOTER_BYTES: Final = 24

_FOOTER_MARK: Final = 0xFFFFFFFF
_SEGMENT: Final = Layout("<8sII16sQQII")
_FRAME: Final = Layout("<IIQQqI")
_FRAME_AND_CRC: Final = Layout("<IIQQqII")
_ENTRY: Final = Layout("<BBI")
_FOOTER: Final = Layout("<IIQI")
_CRC: Final = Layout("<I")
_pack_frame, pack_entry, _pack_crc = _FRAME.pack, _ENTRY.pack, _CRC.pack


class SegmentHeader(msgspec.Struct, frozen=True, gc=False):
    """What a segment says of itself; ``before`` and ``crc_before`` are the end of the segment before it."""

    salt: int
    store_id: bytes
    first: int
    before: int
    crc_before: int
    version: int = FORMAT_VERSION


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A transaction as it was read: ``offset`` and ``end`` are its place in the segment, ``time`` microseconds."""

    sequence: int
    durable: int
    time: int
    entries: tuple[Entry, ...]
    offset: int
    end: int
    crc: int


class Footer(msgspec.Struct, frozen=True, gc=False):
    """The end of a sealed segment: the last sequence of it, and the crc of that frame."""

    last: int
    crc: int
    offset: int
    end: int


class Fault(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no frame: where, and why.

    ``end`` is where the frame would end, None where its header is not whole or not sound; ``by_crash``: whether a
    crash may leave such bytes. No crash leaves a sound frame in a wrong place.
    """

    offset: int
    why: str
    end: int | None = None
    by_crash: bool = True


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The 60 bytes that a segment begins with."""
    head = _SEGMENT.pack(
        MAGIC, header.version, header.salt, header.store_id, header.first, header.before, header.crc_before, 0
    )
    return head + _pack_crc(crc32(head))


def read_segment_header(buffer: bytes) -> SegmentHeader | Fault:
    """The header that a segment begins with. Its version may be one that this code does not know."""
    if len(buffer) < SEGMENT_HEADER_BYTES:
        return Fault(0, f"the header of a segment has {SEGMENT_HEADER_BYTES} bytes, and here are {len(buffer)}")
    magic, version, salt, store_id, first, before, crc_before, _ = _SEGMENT.unpack_from(buffer)
    if magic != MAGIC:
        return Fault(0, "it does not begin as a segment of a log does")
    if crc32(buffer[: _SEGMENT.size]) != _CRC.unpack_from(buffer, _SEGMENT.size)[0]:
        return Fault(0, "the header of the segment does not match its checksum")
    return SegmentHeader(salt, store_id, first, before, crc_before, version)


def encode_footer(salt: int, last: int, crc: int) -> bytes:
    """The 24 bytes that seal a segment."""
    head = _FOOTER.pack(salt, _FOOTER_MARK, last, crc)
    return head + _pack_crc(crc32(head))


def encode_entries(entries: Sequence[Entry]) -> bytes:
    """Entries one after the other, as a frame holds them; InvalidInputError for a number outside of its field."""
    try:
        if len(entries) == 1:
            (entry,) = entries
            payload = entry.payload
            return pack_entry(entry.type, entry.version, len(payload)) + payload
        parts = []
        for entry in entries:
            parts.append(pack_entry(entry.type, entry.version, len(entry.payload)))
            parts.append(entry.payload)
        return b"".join(parts)
    except LayoutError as error:
        raise InvalidInputError("entries", f"a type or version is not in 0..255: {error}") from error


def encode_frame(salt: int, sequence: int, durable: int, time: int, entries: Sequence[Entry]) -> bytes:
    """A transaction as bytes; ``durable`` is the highest synced sequence, ``time`` in microseconds."""
    return encode_joined_frame(salt, sequence, durable, time, len(entries), encode_entries(entries))


def encode_joined_frame(salt: int, sequence: int, durable: int, time: int, count: int, joined: bytes) -> bytes:
    """A frame of ``count`` entries that ``encode_entries`` has joined; InvalidInputError if they are too long."""
    if len(joined) > ENTRIES_BYTES_MAX:
        raise InvalidInputError("entries", f"a transaction has {len(joined)} bytes; {ENTRIES_BYTES_MAX} are allowed")
    try:
        head = _pack_frame(salt, len(joined), sequence, durable, time, count)
    except LayoutError as error:
        raise InvalidInputError("time", f"a number is outside of its field: {error}") from error
    head_crc = crc32(head)
    return b"".join((head, _pack_crc(head_crc), joined, _pack_crc(crc32(joined, head_crc))))


def read_frames(buffer: bytes, offset: int, salt: int, expected: int) -> Iterator[Frame | Footer | Fault]:
    """The frames from ``offset`` on, the first with the sequence ``expected``; at the end a Footer or Fault, if any.

    Zeros up to the end of the buffer are space that was reserved, not a fault: the frames end before them.
    """
    unpack, unpack_crc, last = _FRAME_AND_CRC.unpack_from, _CRC.unpack_from, len(buffer) - FRAME_HEADER_BYTES
    while offset <= last:
        found, length, sequence, durable, time, count, head_crc = unpack(buffer, offset)
        if found != salt or crc32(buffer[offset : offset + _FRAME.size]) != head_crc:
            break
        start = offset + FRAME_HEADER_BYTES
        stop = start + length
        end = stop + _CRC.size
        if end > len(buffer):
            yield Fault(
                offset, f"the frame {sequence} has {end - offset} bytes, and here are {len(buffer) - offset}", end
            )
            return
        joined = buffer[start:stop]
        crc = crc32(joined, head_crc)
        if unpack_crc(buffer, stop)[0] != crc:
            yield Fault(offset, f"the frame {sequence} does not match its checksum", end)
            return
        if sequence != expected:
            yield Fault(offset, f"the frame {sequence} stands where {expected} belongs", end, by_crash=False)
            return
        entries = _read_entries(joined, count)
        if entries is None:
            yield Fault(offset, f"the frame {sequence} does not hold {count} entries", end, by_crash=False)
            return
        yield Frame(sequence, durable, time, entries, offset, end, crc)
        expected += 1
        offset = end
    if is_blank(buffer, offset):
        return
    yield _read_footer(buffer, offset, salt) or Fault(offset, f"no frame stands where {expected} belongs")


def frame_offset(buffer: bytes, offset: int, sequence: int) -> int:
    """Where the frame of ``sequence`` begins, in a buffer whose frames from ``offset`` on have been found sound."""
    while _FRAME.unpack_from(buffer, offset)[2] < sequence:
        offset += FRAME_HEADER_BYTES + _FRAME.unpack_from(buffer, offset)[1] + _CRC.size
    return offset


def is_blank(buffer: bytes, offset: int) -> bool:
    """Whether there is nothing but zeros, or nothing at all, from ``offset`` on."""
    return buffer.count(0, offset) == len(buffer) - offset


def later_frames(buffer: bytes, offset: int, salt: int, sequence: int) -> Iterator[tuple[int, int]]:
    """(sequence, durable) of each sound frame header after ``offset`` that tells of a sequence after ``sequence``.

    For what stands behind a fault, where it is not known where frames begin: each place is tried that has the salt.
    """
    mark = _pack_crc(salt)
    offset = buffer.find(mark, offset + 1)
    while 0 <= offset <= len(buffer) - FRAME_HEADER_BYTES:
        _, _, found, durable, _, _, head_crc = _FRAME_AND_CRC.unpack_from(buffer, offset)
        if crc32(buffer[offset : offset + _FRAME.size]) == head_crc and found > sequence:
            yield found, durable
        offset = buffer.find(mark, offset + 1)


def next_sound(buffer: bytes, offset: int, salt: int, sequence: int) -> tuple[int, int] | None:
    """(place, sequence) of the first whole frame from ``offset`` on that comes after ``sequence``, or of a footer.

    For what can still be read behind a fault; a footer tells the sequence that it ends with. None if there is neither.
    """
    mark = _pack_crc(salt)
    place = buffer.find(mark, offset)
    while place >= 0:
        footer = _read_footer(buffer, place, salt)
        if footer is not None and footer.last >= sequence and is_blank(buffer, footer.end):
            return place, footer.last
        if place <= len(buffer) - FRAME_HEADER_BYTES:
            found = _FRAME_AND_CRC.unpack_from(buffer, place)[2]
            if found > sequence and isinstance(next(read_frames(buffer, place, salt, found), None), Frame):
                return place, found
        place = buffer.find(mark, place + 1)
    return None


def _read_entries(joined: bytes, count: int) -> tuple[Entry, ...] | None:
    """The entries, or None if they are not ``count`` that fill the bytes."""
    unpack, place, size = _ENTRY.unpack_from, 0, len(joined)
    entries = []
    while place + _ENTRY.size <= size:
        kind, version, length = unpack(joined, place)
        start = place + _ENTRY.size
        place = start + length
        entries.append(Entry(kind, version, joined[start:place]))
    return tuple(entries) if place == size and len(entries) == count else None


def _read_footer(buffer: bytes, offset: int, salt: int) -> Footer | None:
    if len(buffer) - offset < FOOTER_BYTES:
        return None
    found, mark, last, crc = _FOOTER.unpack_from(buffer, offset)
    if found != salt or mark != _FOOTER_MARK:
        return None
    if crc32(buffer[offset : offset + _FOOTER.size]) != _CRC.unpack_from(buffer, offset + _FOOTER.size)[0]:
        return None
    return Footer(last, crc, offset, offset + FOOTER_BYTES)
