"""Everything that a damaged log still says: what is whole, and which bytes are not; for repair, dumps and checks.

Where ``log.recovery`` stops at the first fault, this goes on behind it. Promises: never raises for damaged bytes; every
byte of a segment is in something that was yielded, or is zero and reserved; a frame is yielded only if it matches both
of its checksums and carries the salt of the segment, and sequences rise. It decides nothing: whether a frame behind a
fault may be believed is for others to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec

from holdfast.log.frame import (
    FOOTER_BYTES,
    FORMAT_VERSION,
    SEGMENT_HEADER_BYTES,
    Fault,
    Footer,
    Frame,
    SegmentHeader,
    is_blank,
    next_sound,
    read_frames,
    read_segment_header,
)

_SALT = slice(12, 16)
"""Where a segment header has its salt."""


class Gap(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no frame, from ``offset`` to before ``end``; no crash leaves such if ``by_crash`` is False."""

    offset: int
    end: int
    why: str
    by_crash: bool = True


Finding: TypeAlias = SegmentHeader | Frame | Footer | Gap


def survey(buffer: bytes, first: int) -> Iterator[Finding]:
    """What the bytes of a segment hold, in order; ``first`` is the sequence that its name tells.

    A segment of a version of the format that is not known here is its header, and one gap.
    """
    written = len(buffer.rstrip(b"\0"))
    header = read_segment_header(buffer)
    if isinstance(header, SegmentHeader):
        yield header
        if header.version > FORMAT_VERSION:
            yield Gap(SEGMENT_HEADER_BYTES, written, f"version {header.version} of the format is not known here", False)
            return
        salt: int | None = header.salt
    else:
        salt = _salt_of(buffer, first)
        end = max(written, 0) if salt is None else min(SEGMENT_HEADER_BYTES, len(buffer))
        yield Gap(0, end, header.why, False)
    if salt is not None:
        yield from _frames(buffer, salt, first, written)


def _frames(buffer: bytes, salt: int, expected: int, written: int) -> Iterator[Finding]:
    offset, is_sealed = SEGMENT_HEADER_BYTES, False
    while True:
        fault: Fault | None = None
        for item in read_frames(buffer, offset, salt, expected):
            if isinstance(item, Fault):
                fault = item
            else:
                offset, is_sealed = item.end, isinstance(item, Footer)
                expected = item.sequence + 1 if isinstance(item, Frame) else expected
                yield item
        if is_sealed and not is_blank(buffer, offset):
            fault = Fault(offset, "there are bytes after its end", by_crash=False)
        if fault is None:
            return
        found = next_sound(buffer, fault.offset, salt, expected - 1)
        end = max(written, fault.offset) if found is None else found[0]
        yield Gap(fault.offset, end, fault.why, fault.by_crash)
        if found is None:
            return
        offset, expected = found[0], max(found[1], expected)


def _salt_of(buffer: bytes, first: int) -> int | None:
    """The salt of a segment whose header is damaged: the one that its frames carry; None if none can be found."""
    footer = len(buffer.rstrip(b"\0")) - FOOTER_BYTES
    for place in (SEGMENT_HEADER_BYTES, _SALT.start, *range(max(footer, 0), min(footer + 4, len(buffer)))):
        salt = int.from_bytes(buffer[place : place + 4], "little")
        if salt and next_sound(buffer, SEGMENT_HEADER_BYTES, salt, first - 1) is not None:
            return salt
    return None
