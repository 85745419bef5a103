"""The check of a log store: every damaged byte is found, and what is no damage is not called so."""

from __future__ import annotations

import shutil
from zlib import crc32

import msgspec
import pytest

import holdfast
from holdfast.backends.log_engine.check import faults, leftovers
from holdfast.errors import ReadError
from holdfast.faces import REGISTRY
from holdfast.log.files import Disk
from holdfast.log.frame import encode_frame, encode_segment_header, read_segment_header
from holdfast.log.slots import encode_slot
from holdfast.log.snapshot import SnapshotHeader, SnapshotReader, SnapshotWriter
from holdfast.log.survey import survey
from holdfast.model import Entry
from holdfast.testing.toys import toy_registry


def found(directory, registry=REGISTRY, disk=None):
    return list(faults(directory, disk or Disk(), registry))


def rewritten(path, change, **header):
    """Write a snapshot anew with other pages: ``change`` is given (section, page)."""
    reader = SnapshotReader(path, Disk())
    sections = [(number, [bytes(page) for page in reader.pages(data)]) for number, data in reader.sections()]
    writer = SnapshotWriter(path.parent.parent, Disk(), msgspec.structs.replace(reader.header, **header))
    for number, pages in sections:
        writer.section(number)
        for page in pages:
            writer.page(change(number, page))
    writer.finish()


def test_a_sound_store_has_no_faults_open_or_closed(history):
    one = history(snapshots=(2, 5))
    assert found(one.directory) == [] and leftovers(one.directory, Disk()) == []
    with holdfast.open(f"log:{one.directory}") as store:
        store.kv.put("a", 1)
        assert found(one.directory) == [] and store.verify() == []
        with holdfast.open(f"log:{one.directory}", read_only=True) as follower:
            assert follower.verify() == []


def test_every_flipped_byte_is_found_with_its_file(history):
    one = history(snapshots=(5,))
    for file in one.files:
        for offset in range(0, len(file.read_bytes().rstrip(b"\0")), 7):
            one.flip(file, offset, 0x40)
            told = found(one.directory)
            assert any(str(file) in line for line in told), (file, offset)
            one.flip(file, offset, 0x40)
    assert found(one.directory) == []


def test_what_lies_about_is_noted_and_no_fault(history):
    one = history()
    for name in ("wal/1.tmp", "snapshots/2.snap.tmp", "wal/3-60.torn", "mine.txt", "salvaged.jsonl"):
        (one.directory / name).write_bytes(b"x")
    assert found(one.directory) == []
    notes = leftovers(one.directory, Disk())
    assert [line.split(": ")[0].rsplit("/", 1)[1] for line in notes] == [
        "mine.txt", "salvaged.jsonl", "1.tmp", "3-60.torn", "2.snap.tmp",
    ]  # fmt: skip
    assert "cut off" in notes[3] and "half written" in notes[4]
    with holdfast.open(f"log:{one.directory}", read_only=True) as store:
        assert store.status()["leftovers"] == notes
    shutil.rmtree(one.directory / "snapshots")
    assert len(leftovers(one.directory, Disk())) == 4


def test_all_faults_of_a_log_are_told(history):
    one = history(snapshots=())
    frames = [item for item in survey(one.segments[0].read_bytes(), 1) if hasattr(item, "entries")]
    one.flip(one.segments[0], frames[1].offset + 45)
    one.flip(one.segments[0], frames[4].offset + 45)
    one.flip(one.segments[1], 70)
    told = found(one.directory)
    assert len(told) == 3
    assert f"{one.segments[0]} at byte {frames[1].offset}" in told[0]
    assert f"{one.segments[0]} at byte {frames[4].offset}" in told[1]
    assert f"{one.segments[1]} at byte 60" in told[2]


def test_a_missing_segment_and_a_torn_end_are_faults(history):
    one = history(snapshots=())
    data = one.segments[1].read_bytes().rstrip(b"\0")
    one.segments[1].write_bytes(data[:-9])
    assert any("no whole transaction" in line and "are gone" in line for line in found(one.directory))
    (one.directory / "DURABLE").unlink()
    told = found(one.directory)
    assert "no whole transaction" in told[0] and "is missing" in told[1]
    one.segments[0].unlink()
    assert "is missing" in found(one.directory)[0]


def test_what_is_being_written_is_no_fault(history):
    one = history(snapshots=(), seals=())
    (path,) = one.segments
    whole = path.read_bytes()
    (one.directory / "DURABLE").write_bytes(encode_slot(b"x" * 16, 0))  # nothing is known to be durable
    cut = len(whole.rstrip(b"\0")) - 5

    class Writing(Disk):
        """Another process finishes the frame between two reads."""

        def read(self, file, offset=0, most=-1):
            data = super().read(file, offset, most)
            if file == path:
                path.write_bytes(self.after)
            return data

    disk = Writing()
    for after in (whole, whole[: cut - 1]):
        disk.after = after
        path.write_bytes(whole[:cut])
        assert not any("no whole transaction" in line for line in found(one.directory, disk=disk))
    broken = bytearray(whole)
    broken[70] ^= 1
    disk.after = bytes(broken)
    path.write_bytes(whole[:cut])
    assert any("no whole transaction" in line for line in found(one.directory, disk=disk))


def test_a_file_that_the_writer_removes_is_no_fault(history):
    one = history(snapshots=(2, 5))

    class Removing(Disk):
        def read(self, path, offset=0, most=-1):
            return super().read(path.with_name("gone") if path.suffix in self.endings else path, offset, most)

    disk = Removing()
    disk.endings = (".snap", ".wal")
    assert found(one.directory, disk=disk) == []

    class Failing(Disk):
        def read(self, path, offset=0, most=-1):
            if path.name != "DURABLE":
                raise ReadError(f"{path} cannot be read")
            return super().read(path, offset, most)

    assert len(found(one.directory, disk=Failing())) == 3


def test_damage_is_told_although_the_file_cannot_be_read_again(history):
    one = history(snapshots=())
    one.flip(one.segments[0], 70)

    class Failing(Disk):
        def read(self, path, offset=0, most=-1):
            if path in (one.segments[1], one.directory / "DURABLE") and self.is_late:
                raise ReadError(f"{path} cannot be read")
            self.is_late = self.is_late or path == one.segments[0]
            return super().read(path, offset, most)

        is_late = False

    told = found(one.directory, disk=Failing())
    assert len(told) == 3 and all("cannot be read" in line for line in told[1:])


def test_a_record_that_cannot_be_decoded_is_named(history):
    one = history(snapshots=(6,))
    (path,) = one.snapshots

    def broken(number, page):
        return page.replace(b"in a run", b"in a \xff\xff\xff") if number == 1 else page

    rewritten(path, broken)
    told = found(one.directory)
    assert len(told) == 1 and "space 'a', kv k1 cannot be decoded" in told[0] and f"{path} at byte" in told[0]

    rewritten(path, lambda number, page: page.replace(b"in a \xff\xff\xff", b"in a run"))
    assert found(one.directory) == []

    def strange(number, page):
        if number != 1:
            return page
        space, records = msgspec.msgpack.decode(page)
        records[0][0] = b"\x99no key"
        records[0][-2] = b"\xc1"
        return msgspec.msgpack.encode((7, records)) if space else b"\xc1"

    rewritten(path, strange)
    told = found(one.directory)
    assert "none of ours" in told[0]
    assert "a space 7 that is not there" in told[1]
    assert b"\x99no key".hex() in told[2]


def test_an_entry_or_a_frame_that_means_nothing_is_named(history):
    one = history(snapshots=(), seals=())
    (path,) = one.segments
    data = path.read_bytes()
    header, *frames = survey(data, 1)
    at = frames[-2].offset
    bad = (frames[-2].entries[0], Entry(0x10, 1, b"\xc1"))
    path.write_bytes(
        data[:at]
        + encode_frame(header.salt, frames[-2].sequence, 0, 1, bad)
        + encode_frame(header.salt, frames[-1].sequence, 0, 1, (Entry(0x03, 1, b"\xc1"),))
    )
    told = found(one.directory)
    assert f"{path} at byte {at}: transaction {frames[-2].sequence} of space 'b', entry 0" in told[0]
    assert "cannot be understood" in told[1]


def test_primitives_of_users_are_checked_where_they_are_registered(tmp_path):
    directory = tmp_path / "store"
    with holdfast.open(f"log:{directory}", registry=toy_registry()) as store:
        store.notes.put("n", "text")
        store._backend.make_snapshot()
        store.notes.put("m", "text")
        store._backend.make_snapshot()
        store.notes.put("o", "text")
    assert found(directory) == [] and found(directory, toy_registry()) == []
    for path in (directory / "snapshots").iterdir():
        rewritten(path, lambda number, page: page.replace(b"text", b"t\xff\xff\xff") if number else page)
    assert found(directory) == []
    assert len(found(directory, toy_registry())) == 3


def test_parts_of_different_stores_are_told(history, tmp_path):
    one = history(snapshots=(2, 5))
    (one.directory / "DURABLE").write_bytes(encode_slot(b"x" * 16, 1).ljust(4096, b"\0") + encode_slot(b"x" * 16, 1))
    assert "belongs to another store" in found(one.directory)[0]
    rewritten(one.snapshots[-1], lambda number, page: page, store_id=b"y" * 16)
    assert any("belong to different stores" in line for line in found(one.directory))


def test_a_name_that_is_not_that_of_the_content_is_told(history):
    one = history(snapshots=(5,))
    (path,) = one.snapshots
    path.rename(path.with_name(f"{1:020d}.snap"))
    assert "do not agree" in found(one.directory)[0]


def test_a_newer_version_is_told(history):
    one = history(snapshots=())
    header = read_segment_header(one.segments[1].read_bytes())
    data = one.segments[1].read_bytes()
    one.segments[1].write_bytes(encode_segment_header(msgspec.structs.replace(header, version=9)) + data[60:])
    assert any("version 9" in line for line in found(one.directory))


@pytest.mark.parametrize(
    "change", [lambda data: data + b"x", lambda data: data[:50], lambda data: data[:100] + b"x" * 50]
)
def test_the_slots_are_checked_to_the_last_byte(history, change):
    one = history()
    path = one.directory / "DURABLE"
    path.write_bytes(change(path.read_bytes()))
    assert any(str(path) in line for line in found(one.directory))


def test_a_section_that_does_not_end_with_a_page_is_told_with_its_place_in_the_file(history):
    one = history(snapshots=())
    writer = SnapshotWriter(one.directory, Disk(), SnapshotHeader(2, 1, 1, b"s" * 16))
    writer.section(0)
    writer.section(1)
    writer.page(b"\xc0")
    half = b"\xff\xff\xff\xff half a page"
    place = writer.size
    writer._section_crc = crc32(half, writer._section_crc)
    writer._file.write(half)
    path = writer.finish()
    told = found(one.directory)
    assert any(f"{path} at byte {place} is damaged: a section does not end with a page" in line for line in told)


@pytest.mark.parametrize(
    ("size", "why"), [(20, "shorter than its header"), (55, "ends before its last"), (90, "are here")]
)
def test_a_snapshot_that_was_cut_is_told(history, size, why):
    one = history(snapshots=(5,))
    (path,) = one.snapshots
    path.write_bytes(path.read_bytes()[:size])
    assert any(str(path) in line and why in line for line in found(one.directory))
