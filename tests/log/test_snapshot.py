"""Snapshot files: what is read equals what was written, and every byte is checked."""

from __future__ import annotations

import pytest

from holdfast.errors import CorruptionError, FormatError
from holdfast.log.files import Disk
from holdfast.log.snapshot import (
    SnapshotHeader,
    SnapshotReader,
    SnapshotWriter,
    find_snapshots,
    snapshot_folder,
)

SECTIONS = {0: [b"core", b""], 8: [b"x" * 300, b"y"], 201: []}
HEADER = SnapshotHeader(len(SECTIONS), 1_700_000_000_000_000, 42, b"0123456789abcdef")


def written(directory, header=HEADER):
    writer = SnapshotWriter(directory, Disk(), header)
    for number, pages in SECTIONS.items():
        writer.section(number)
        for page in pages:
            writer.page(page)
    return writer.finish()


def read(path):
    reader = SnapshotReader(path, Disk())
    return reader.header, {number: [bytes(page) for page in reader.pages(data)] for number, data in reader.sections()}


def test_what_is_read_is_what_was_written(tmp_path):
    path = written(tmp_path)
    assert read(path) == (HEADER, SECTIONS)
    assert find_snapshots(tmp_path, Disk()) == [(42, path)]
    assert [one.name for one in snapshot_folder(tmp_path).iterdir()] == ["00000000000000000042.snap"]


def test_there_are_none_before_the_first_and_other_names_are_left_out(tmp_path):
    assert find_snapshots(tmp_path, Disk()) == []
    written(tmp_path)
    (snapshot_folder(tmp_path) / "00000000000000000043.snap.tmp").touch()
    newer = written(tmp_path, SnapshotHeader(len(SECTIONS), 1, 50, b"0" * 16))
    assert [sequence for sequence, _ in find_snapshots(tmp_path, Disk())] == [50, 42]
    assert find_snapshots(tmp_path, Disk())[0][1] == newer


def test_a_bit_flipped_in_any_byte_is_found(tmp_path):
    path = written(tmp_path)
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in (1, 128):
            damaged = bytearray(content)
            damaged[place] ^= bit
            path.write_bytes(damaged)
            with pytest.raises(CorruptionError) as told:
                read(path)
            assert told.value.path == str(path) and told.value.offset <= place


def test_a_file_cut_at_any_byte_is_found_and_so_is_one_that_goes_on(tmp_path):
    path = written(tmp_path)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place])
        with pytest.raises(CorruptionError):
            read(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(CorruptionError):
        read(path)


def test_a_newer_format_is_refused_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.log.snapshot.FORMAT_VERSION", 2)
    path = written(tmp_path)
    monkeypatch.undo()
    with pytest.raises(FormatError, match="version 2"):
        read(path)


def test_one_that_is_given_up_leaves_nothing(tmp_path):
    writer = SnapshotWriter(tmp_path, Disk(), HEADER)
    writer.section(0)
    writer.page(b"x")
    assert writer.size > 52
    writer.discard()
    assert list(snapshot_folder(tmp_path).iterdir()) == []
    writer.discard()  # what is gone is gone
    with pytest.raises(AssertionError, match="3 sections"):
        SnapshotWriter(tmp_path, Disk(), HEADER).finish()


def test_a_section_that_does_not_end_with_a_page_is_damage(tmp_path):
    path = written(tmp_path)
    reader = SnapshotReader(path, Disk())
    for broken in (b"\1", b"\5\0\0\0abc"):
        with pytest.raises(CorruptionError, match="end with a page"):
            list(reader.pages(memoryview(broken)))


def test_the_sound_sections_of_a_damaged_one_can_still_be_had(tmp_path):
    path = written(tmp_path)
    content = path.read_bytes()
    ends = []
    for place in range(52, len(content)):
        path.write_bytes(content[:place])
        reader = SnapshotReader(path, Disk())
        found = {number: [bytes(page) for page in reader.pages(data)] for number, data in reader.sound_sections()}
        assert found == {number: SECTIONS[number] for number in list(SECTIONS)[: len(found)]}
        ends.append(len(found))
    assert sorted(set(ends)) == [0, 1, 2, 3] and ends == sorted(ends)
