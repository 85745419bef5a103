"""Blob files: values appended and read back, checked; nothing that a snapshot can tell of is written over."""

from __future__ import annotations

import errno

import pytest

from holdfast.errors import CorruptionError, FormatError, ReadError, WriteError
from holdfast.log.blobs import (
    HEADER_BYTES,
    BlobFile,
    BlobWriter,
    blob_folder,
    blob_path,
    find_blob_files,
    open_blob_files,
    open_blob_files_that_are_left,
    place_of,
)
from holdfast.log.files import Disk
from holdfast.model import BlobRef
from holdfast.testing.faults import FaultyDisk

STORE = b"s" * 16


def writer_of(directory, files=None, disk=None, **options):
    return BlobWriter(directory, disk or Disk(), STORE, files or {}, **options)


def test_values_are_read_as_they_were_written(tmp_path):
    writer = writer_of(tmp_path)
    values = [b"", b"a" * 5000, bytes(range(256)) * 40]
    refs = [writer.append(value) for value in values]
    writer.sync()
    writer.end()
    assert [writer.files[ref.file].load(ref) for ref in refs] == values and [len(ref) for ref in refs] == [
        0,
        5000,
        10240,
    ]
    files = open_blob_files(tmp_path, Disk(), STORE, {1: place_of(refs[-1])[2]})
    assert [files[1].load(ref) for ref in refs] == values
    assert files[1].size == HEADER_BYTES + sum(map(len, values)) + 3 * 8


def test_a_file_that_is_full_is_followed_by_another_and_one_with_room_is_gone_on_with(tmp_path):
    writer = writer_of(tmp_path, file_bytes=150)
    refs = [writer.append(b"x" * 60) for _ in range(3)]
    writer.sync()
    writer.end()
    assert [ref.file for ref in refs] == [1, 1, 2]
    (blob_folder(tmp_path) / "note.txt").write_text("none of ours")
    again = writer_of(tmp_path, writer.files, file_bytes=200)
    assert again.append(b"y").file == 2
    again.sync()
    again.end()
    full = writer_of(tmp_path, again.files, file_bytes=100)
    assert full.append(b"z").file == 3
    full.end()
    full.leave({3})
    assert full.append(b"z").file == 4
    full.leave({9})
    full.end()
    assert find_blob_files(tmp_path, Disk()) == [1, 2, 3, 4]


def test_what_is_given_back_leaves_nothing(tmp_path):
    writer = writer_of(tmp_path, file_bytes=100)
    kept = writer.append(b"kept")
    writer.sync()
    writer.end()
    before = blob_path(tmp_path, 1).read_bytes()
    for _ in range(3):
        writer.append(b"x" * 60)
    writer.give_back()
    assert blob_path(tmp_path, 1).read_bytes() == before and find_blob_files(tmp_path, Disk()) == [1]
    assert writer.files[1].load(kept) == b"kept" and list(writer.files) == [1]
    assert writer.append(b"other").file == 4


def test_a_failed_write_is_given_back(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    disk = FaultyDisk(root)
    writer = writer_of(root, disk=disk)
    disk.fail("write", errno.EIO, nth=2)
    with pytest.raises(WriteError):
        writer.append(b"x")
    writer.give_back()
    assert find_blob_files(root, disk) == []


@pytest.mark.parametrize("place", ["length", "data", "crc", "end"])
def test_a_value_that_is_damaged_is_told(tmp_path, place):
    writer = writer_of(tmp_path)
    ref = writer.append(b"v" * 5000)
    writer.end()
    path = blob_path(tmp_path, 1)
    content = bytearray(path.read_bytes())
    if place == "end":
        content = content[:-1]
    else:
        content[{"length": ref.offset - 1, "data": ref.offset + 7, "crc": len(content) - 1}[place]] ^= 1
    path.write_bytes(content)
    with pytest.raises(CorruptionError, match="at byte 44 is damaged") as found:
        BlobFile(tmp_path, Disk(), 1, STORE).load(ref)
    assert found.value.path == str(path) and found.value.offset == ref.offset


def test_a_file_that_is_missing_short_or_not_ours_is_told(tmp_path):
    disk = Disk()
    writer = writer_of(tmp_path)
    ref = writer.append(b"v" * 5000)
    writer.end()
    path = blob_path(tmp_path, 1)
    content = path.read_bytes()
    with pytest.raises(CorruptionError, match="missing"):
        open_blob_files(tmp_path, disk, STORE, {2: 0})
    with pytest.raises(CorruptionError, match="ends"):
        open_blob_files(tmp_path, disk, STORE, {1: len(content) + 1})
    with pytest.raises(CorruptionError, match="another"):
        BlobFile(tmp_path, disk, 1, b"o" * 16)
    blob_path(tmp_path, 2).write_bytes(content)
    with pytest.raises(CorruptionError, match="another"):
        BlobFile(tmp_path, disk, 2, STORE)
    for damaged in (b"", content[: HEADER_BYTES - 1], b"X" + content[1:], content[:20] + b"X" + content[21:]):
        path.write_bytes(damaged)
        with pytest.raises(CorruptionError, match="header does not match"):
            BlobFile(tmp_path, disk, 1, STORE)
    left = open_blob_files_that_are_left(tmp_path, disk, STORE, {1: 0, 3: 0})
    for file, error in ((left[1], CorruptionError), (left[3], ReadError)):
        with pytest.raises(error):
            file.load(ref)


def test_a_newer_version_and_a_medium_that_cannot_read_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.log.blobs.FORMAT_VERSION", 2)
    writer = writer_of(tmp_path)
    ref = writer.append(b"v")
    writer.end()
    monkeypatch.undo()
    with pytest.raises(FormatError, match="version 2"):
        BlobFile(tmp_path, Disk(), ref.file, STORE)
    root = tmp_path / "root"
    root.mkdir()
    disk = FaultyDisk(root)
    disk.fail("read", errno.EIO)
    with pytest.raises(ReadError):
        open_blob_files(root, disk, STORE, {1: 0})


def test_a_file_that_was_removed_can_still_be_read_by_who_has_it(tmp_path):
    writer = writer_of(tmp_path, file_bytes=1)
    refs = [writer.append(bytes([n]) * 10) for n in range(3)]
    writer.end()
    gone = writer.remove({2})
    assert sorted(gone) == [1, 3] and list(writer.files) == [2] == find_blob_files(tmp_path, Disk())
    assert gone[1].load(refs[0]) == bytes(10) and writer.remove({2}) == {}


def test_a_read_in_parts_and_one_that_fails(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = Disk().open_read(path)
    parts = {0: 3, 3: 4}
    real = __import__("os").pread
    monkeypatch.setattr("os.pread", lambda fd, count, at: real(fd, min(count, parts.get(at, count)), at))
    assert file.read(0, 9) == b"012345678" and file.read(8, 9) == b"89" and file.read(20, 1) == b""

    def broken(*_):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr("os.pread", broken)
    with pytest.raises(ReadError):
        file.read(0, 1)


def test_a_reference_is_four_numbers():
    assert list(BlobRef(1, 2, 3, 4).__struct_fields__) == ["file", "offset", "length", "crc"]
