"""Frames: what is read equals what was written, and nothing else is read."""

from __future__ import annotations

from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import InvalidInputError
from holdfast.log import frame as frames
from holdfast.log.frame import (
    FRAME_HEADER_BYTES,
    Fault,
    Footer,
    Frame,
    SegmentHeader,
    encode_entries,
    encode_footer,
    encode_frame,
    encode_joined_frame,
    encode_segment_header,
    frame_offset,
    is_blank,
    later_frames,
    read_frames,
    read_segment_header,
)
from holdfast.model import Entry

SALT = 0x1234ABCD
entries = st.lists(st.builds(Entry, st.integers(0, 255), st.integers(0, 255), st.binary(max_size=200)), max_size=4).map(
    tuple
)
transactions = st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), entries), max_size=5)


def encoded(found, salt=SALT, first=1):
    return b"".join(
        encode_frame(salt, number, number - 1, time, some) for number, (time, some) in enumerate(found, first)
    )


def read(buffer, offset=0, salt=SALT, expected=1):
    return list(read_frames(buffer, offset, salt, expected))


@given(transactions, st.integers(1, 2**32 - 1), st.integers(1, 2**63), st.binary(max_size=70), st.integers(0, 100))
def test_what_is_read_was_written(found, salt, first, before, zeros):
    buffer = before + encoded(found, salt, first) + bytes(zeros)
    back = read(buffer, len(before), salt, first)
    assert [(one.time, one.entries) for one in back] == found
    assert [one.sequence for one in back] == list(range(first, first + len(found)))
    assert [one.offset for one in back] == [len(before), *(one.end for one in back)][: len(back)]
    for one in back:
        assert frame_offset(buffer, len(before), one.sequence) == one.offset


@given(transactions.filter(bool), st.data())
@settings(max_examples=300)
def test_a_changed_byte_never_gives_another_value(found, data):
    buffer = bytearray(encoded(found) + encode_footer(SALT, len(found), 7))
    place = data.draw(st.integers(0, len(buffer) - 1))
    buffer[place] ^= data.draw(st.integers(1, 255))
    back = read(bytes(buffer))
    whole = [one for one in back if isinstance(one, Frame)]
    assert [(one.time, one.entries) for one in whole] == found[: len(whole)]
    assert isinstance(back[-1], Fault)
    assert back[-1].offset <= place


@given(transactions.filter(bool), st.data())
def test_a_cut_gives_the_frames_before_it(found, data):
    buffer = encoded(found)
    cut = data.draw(st.integers(0, len(buffer) - 1))
    back = read(buffer[:cut])
    whole = [one for one in back if isinstance(one, Frame)]
    assert [(one.time, one.entries) for one in whole] == found[: len(whole)]
    assert len(back) == len(whole) + (cut > (whole[-1].end if whole else 0) and not is_blank(buffer[:cut], _end(whole)))
    assert not whole or whole[-1].end <= cut


def _end(whole):
    return whole[-1].end if whole else 0


@given(st.binary(max_size=300), st.integers(0, 2**32 - 1))
def test_any_bytes_are_no_frame(buffer, salt):
    assert not any(isinstance(one, Frame) for one in read(buffer, 0, salt))


@pytest.mark.parametrize("size", [1, 24, 39, 40, 44, 4096])
def test_zeros_are_no_frame_not_even_of_the_salt_zero(size):
    assert read(bytes(size), 0, 0, 0) == []
    assert read(bytes(size), 0, SALT) == []
    assert isinstance(read_segment_header(bytes(size)), Fault)


def test_the_entries_of_one_frame_cannot_stand_under_the_header_of_another():
    one = encode_frame(SALT, 1, 0, 5, [Entry(1, 1, b"a" * 10)])
    two = encode_frame(SALT, 1, 0, 6, [Entry(1, 1, b"b" * 10)])
    mixed = one[:FRAME_HEADER_BYTES] + two[FRAME_HEADER_BYTES:]
    assert [type(item) for item in read(mixed)] == [Fault]


def test_frames_of_another_segment_or_in_another_place_are_faults():
    frame = encode_frame(SALT, 3, 2, 5, [Entry(1, 1, b"a")])
    assert read(frame, salt=SALT + 1, expected=3) == [Fault(0, "no frame stands where 3 belongs")]
    assert read(frame, expected=4) == [Fault(0, "the frame 3 stands where 4 belongs", len(frame), by_crash=False)]


@pytest.mark.parametrize(("count", "joined"), [(2, encode_entries([Entry(1, 1, b"a")])), (0, b"x"), (1, b"123456789")])
def test_entries_that_do_not_fill_their_frame_are_a_fault(count, joined):
    frame = encode_joined_frame(SALT, 1, 0, 5, count, joined)
    assert read(frame) == [Fault(0, f"the frame 1 does not hold {count} entries", len(frame), by_crash=False)]


def test_the_length_is_not_believed_before_the_header_is_found_sound():
    frame = bytearray(encode_frame(SALT, 1, 0, 5, [Entry(1, 1, b"a")]))
    frame[4:8] = b"\xff\xff\xff\xff"
    assert read(bytes(frame)) == [Fault(0, "no frame stands where 1 belongs")]
    frame[36:40] = crc32(frame[:36]).to_bytes(4, "little")
    assert read(bytes(frame)) == [Fault(0, "the frame 1 has 4294967339 bytes, and here are 51", 4294967339)]


def test_numbers_that_do_not_fit_are_refused(monkeypatch):
    for wrong in ([Entry(256, 1, b"")], [Entry(1, -1, b""), Entry(1, 1, b"")]):
        with pytest.raises(InvalidInputError, match="entries"):
            encode_entries(wrong)
    with pytest.raises(InvalidInputError, match="time"):
        encode_frame(SALT, 1, 0, 2**63, [])
    monkeypatch.setattr(frames, "ENTRIES_BYTES_MAX", 10)
    with pytest.raises(InvalidInputError, match="11 bytes"):
        encode_joined_frame(SALT, 1, 0, 0, 1, b"x" * 11)


def test_a_footer_ends_the_frames_and_every_byte_of_it_counts():
    body = encoded([(1, (Entry(1, 1, b"a"),))])
    footer = encode_footer(SALT, 1, 99)
    assert read(body + footer)[1] == Footer(1, 99, len(body), len(body) + 24)
    assert len(footer) == 24
    for place in range(24):
        changed = bytearray(body + footer)
        changed[len(body) + place] ^= 1
        assert isinstance(read(bytes(changed))[1], Fault)
    assert isinstance(read(body + footer[:23])[1], Fault)


def test_every_byte_of_a_segment_header_counts():
    header = SegmentHeader(SALT, b"0123456789abcdef", 42, 41, 7)
    encoded_header = encode_segment_header(header)
    assert len(encoded_header) == 60
    assert read_segment_header(encoded_header + b"more") == header
    for place in range(60):
        changed = bytearray(encoded_header)
        changed[place] ^= 0x80
        assert isinstance(read_segment_header(bytes(changed)), Fault)
        assert isinstance(read_segment_header(encoded_header[:place]), Fault)


def test_frames_behind_a_fault_are_found_by_their_salt():
    buffer = encoded([(5, (Entry(1, 1, SALT.to_bytes(4, "little") * 3),))] * 4)
    size = len(buffer) // 4
    assert list(later_frames(buffer, 0, SALT, 1)) == [(2, 1), (3, 2), (4, 3)]
    assert list(later_frames(buffer, size + 1, SALT, 2)) == [(3, 2), (4, 3)]
    assert list(later_frames(buffer, 0, SALT + 1, 1)) == []
    assert list(later_frames(buffer[: 3 * size + 20], size, SALT, 2)) == [(3, 2)]
