"""The dump of a log: everything that stands there, for people, whatever is wrong with it."""

from __future__ import annotations

import random

import msgspec
import pytest

import holdfast
from holdfast.backends.log_engine import describe as describing
from holdfast.backends.log_engine.describe import as_json, describe
from holdfast.backends.log_engine.dump import DumpedFrame, DumpedNote, dump
from holdfast.backends.log_engine.numbering import Numbering
from holdfast.errors import InitError
from holdfast.faces import REGISTRY
from holdfast.log.files import Disk
from holdfast.log.frame import encode_frame, encode_segment_header, read_segment_header
from holdfast.log.survey import Gap, survey
from holdfast.model import Entry
from holdfast.testing.toys import toy_registry as toys


def frames(found):
    return [one for one in found if isinstance(one, DumpedFrame)]


def notes(found):
    return [(one.what, one.text) for one in found if isinstance(one, DumpedNote)]


def test_each_transaction_is_told_with_its_entries(history):
    one = history()
    found = list(dump(one.directory, REGISTRY))
    assert [frame.sequence for frame in frames(found)] == list(range(1, one.last + 1))
    entries = [(frame.space, entry.entry, entry.key) for frame in frames(found) for entry in frame.entries]
    assert ("a", "kv put", "k0") in entries and ("a", "kv delete", "k0") in entries
    assert ("b", "kv put", "m4") in entries and ("a", "event append", "log") in entries
    assert [what for what, _ in notes(found)] == ["segment", "seal"] * 2 + ["segment"]
    put = next(frame for frame in frames(found) if frame.entries[0].key == "k1")
    assert put.run is not None and put.time.endswith("Z") and put.durable == put.sequence - 1
    assert put.entries[0].payload.startswith('{"body":{"value":"in a run"}')
    path = one.directory / "wal" / put.file
    assert path.read_bytes()[put.offset :][: put.bytes].find(b"in a run") > 0


def test_a_part_can_be_chosen(history):
    one = history()
    assert [frame.sequence for frame in frames(dump(one.directory, REGISTRY, start=6, limit=3))] == [6, 7, 8]
    some = list(dump(one.directory, REGISTRY, start=one.last))
    assert [frame.sequence for frame in frames(some)] == [one.last] and len(notes(some)) == 1
    assert {frame.space for frame in frames(dump(one.directory, REGISTRY, space="b"))} == {"b"}
    with pytest.raises(InitError, match="holds no log"):
        list(dump(one.directory / "nothing", REGISTRY))


def test_a_store_can_be_looked_at_while_it_is_written(tmp_path):
    with holdfast.open(f"log:{tmp_path / 'live'}") as store:
        store.kv.put("a", 1)
        found = list(dump(tmp_path / "live", REGISTRY))
        assert [frame.entries[0].key for frame in frames(found)] == ["a"]
        assert [what for what, _ in notes(found)] == ["segment"]


def test_numbers_of_users_have_names_where_the_primitive_is_registered(tmp_path):
    directory = tmp_path / "store"
    with holdfast.open(f"log:{directory}", registry=toys()) as store:
        store.notes.put("n", "text")
        store._backend.make_snapshot()
        store.notes.delete("n")
    found = frames(dump(directory, toys()))
    assert [entry.entry for frame in found for entry in frame.entries] == [
        "core define",
        "note NotePut",
        "note NoteDelete",
    ]
    assert [entry.key for frame in found for entry in frame.entries] == [None, "n", "n"]
    assert found[0].space is None and '"note"' in found[0].entries[0].payload
    later = frames(dump(directory, toys(), start=3))
    assert later[0].entries[0].entry == "note NoteDelete"
    strange = frames(dump(directory, REGISTRY))
    assert strange[-1].entries[0].entry.startswith("0x")
    assert "no primitive here knows" in strange[-1].entries[0].problem
    (snapshot,) = (directory / "snapshots").iterdir()
    snapshot.write_bytes(b"nothing of a snapshot")
    assert frames(dump(directory, toys(), start=3))[0].entries[0].entry.startswith("0x")


def test_faults_stand_where_they_are_and_the_end_is_a_tail(history):
    one = history(snapshots=())
    path = one.segments[1]
    data = path.read_bytes()
    middle = [item for item in survey(data, int(path.stem)) if hasattr(item, "entries")][1]
    one.flip(path, middle.offset + 45)
    found = list(dump(one.directory, REGISTRY))
    assert middle.sequence not in [frame.sequence for frame in frames(found)]
    assert frames(found)[-1].sequence == one.last
    assert ("fault", f"the frame {middle.sequence} does not match its checksum") in notes(found)
    path.write_bytes(data.rstrip(b"\0")[:-3])
    assert notes(dump(one.directory, REGISTRY))[-1][0] == "tail"


def test_damaged_bytes_never_make_it_raise(history):
    one = history()
    random.seed(7)
    whole = {path: path.read_bytes().rstrip(b"\0") for path in one.segments}
    for _ in range(200):
        for path, data in whole.items():
            changed = bytearray(data)
            for _ in range(random.choice([0, 1, 3, 60])):
                changed[random.randrange(len(changed))] = random.randrange(256)
            path.write_bytes(changed[: random.choice([len(changed), random.randrange(len(changed))])])
        found = list(dump(one.directory, REGISTRY))
        sequences = [frame.sequence for frame in frames(found)]
        assert sequences == sorted(set(sequences))
        msgspec.json.encode(found)


def test_a_file_that_vanishes_or_is_too_new_is_told(history):
    one = history(snapshots=())

    class Vanishing(Disk):
        def read(self, path, offset=0, most=-1):
            return super().read(path.with_name("gone"), offset, most)

    assert [what for what, _ in notes(dump(one.directory, REGISTRY, disk=Vanishing()))] == ["fault"] * 2
    path = one.segments[1]
    data = path.read_bytes()
    header = read_segment_header(data)
    path.write_bytes(encode_segment_header(msgspec.structs.replace(header, version=7)) + data[60:])
    assert "version 7" in notes(dump(one.directory, REGISTRY))[-1][1]


def test_a_frame_without_a_meaning_is_told_by_its_bytes(history):
    one = history(snapshots=(), seals=())
    (path,) = one.segments
    data = path.read_bytes()
    header, *rest = survey(data, 1)
    entries = (Entry(0x03, 1, b"\xc1"), Entry(0x10, 1, b"\xc1"), Entry(0x0F, 1, b"\x01"))
    path.write_bytes(
        data[: rest[-1].offset] + encode_frame(header.salt, rest[-1].sequence, 0, 2**62, entries)
    )  # and a time that is none
    last = frames(dump(one.directory, REGISTRY))[-1]
    assert last.space is None and last.time.endswith("microseconds")
    assert [entry.entry for entry in last.entries] == ["core commit", "kv put", "0x0F"]
    assert all(entry.problem for entry in last.entries)


def test_what_cannot_be_shown_as_it_is_is_shown_all_the_same():
    numbering = Numbering(REGISTRY)
    put = next(one for one in REGISTRY if one.name == "kv").entry_types[0].payload
    entry = REGISTRY.to_entry(put(b"\x99not a key", b"\xc1not a body"))
    said = describe(entry, REGISTRY, numbering)
    assert said.key == b"\x99not a key".hex() and said.fields["body"] == b"\xc1not a body"
    json_body = describe(REGISTRY.to_entry(put(b"k", b'{"value":1}')), REGISTRY, numbering)
    assert json_body.fields["body"] == {"value": 1}
    assert describing._key_text(next(iter(REGISTRY)), ()) is None
    assert as_json({"a": (1, b"x"), "b": {1: 2}}) == '{"a":[1,{"$bytes":"eA=="}],"b":{"1":2}}'
    assert as_json(Gap(1, 2, "why")) == '{"offset":1,"end":2,"why":"why","by_crash":true}'
    assert "object" in as_json(object())
