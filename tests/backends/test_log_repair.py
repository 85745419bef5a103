"""Repair: a prefix of the history, whatever is damaged, and an exact account of the rest."""

from __future__ import annotations

import json
import os
import random
import shutil

import msgspec
import pytest

import holdfast
from holdfast.backends.log_engine import repair as module
from holdfast.backends.log_engine.check import faults
from holdfast.backends.log_engine.recovery import recover
from holdfast.backends.log_engine.repair import repair
from holdfast.codec import MSGPACK
from holdfast.errors import FormatError, InitError, LockedError, ReadError
from holdfast.faces import REGISTRY
from holdfast.log.files import Disk
from holdfast.log.frame import SegmentHeader, encode_frame, encode_segment_header, read_segment_header
from holdfast.log.snapshot import SnapshotHeader, SnapshotWriter
from holdfast.log.survey import survey
from holdfast.model import Entry, Record
from holdfast.registry import PrimitiveRegistry
from holdfast.testing.toys import toy_registry


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def repaired(history, source, target=None, **options):
    """Repair, and check what every repair promises; return the report and the state."""
    target = target or source.with_name("repaired")
    shutil.rmtree(target, ignore_errors=True)
    before = history.contents(source)
    report = repair(source, target, REGISTRY, **options)
    assert history.contents(source) == before, "the source was changed"
    assert list(faults(target, Disk(), REGISTRY)) == []
    found, recovery = recover(target, Disk(), REGISTRY, MSGPACK)
    assert found.sequence == report.sequence
    with holdfast.open(f"log:{target}") as store:
        state = history.state(store)
        assert state == history.states[report.sequence], "no state that the source once had"
        assert {name: one[0].sequence for name, one in state.items()} == report.spaces
        store.space("a").kv.put("after", "the repair")
    with holdfast.open(f"log:{target}") as store:
        assert store.space("a").kv.get("after") == "the repair"
        assert store.verify() == []
    assert report.is_whole == (report.sequence == history.last) or any(one.torn for one in report.damages)
    return report


def gone(report):
    return sum(one.last - one.first + 1 for one in report.damages if one.first is not None)


def account(history, report):
    """Every transaction is in the target, or was told to be gone or to be readable."""
    readable = sum(one.last - one.first + 1 for one in report.left)
    assert report.sequence + gone(report) + readable == history.last
    whole = {name: head.sequence for name, (head, *_) in history.states[history.last].items()}
    for one in report.lost:
        assert one.first == report.spaces.get(one.space, 0) + 1
        assert one.last <= whole[one.space]
    lost = sum(whole[name] - report.spaces.get(name, 0) for name in whole)
    assert sum(one.last - one.first + 1 for one in report.lost) + report.unattributed == lost


def test_a_sound_store_is_copied(history):
    one = history()
    report = repaired(one, one.copy())
    assert report.is_whole and report.damages == [] and report.sequence == one.last
    assert report.snapshot is not None and report.transactions == one.last - report.snapshot_sequence


@pytest.mark.parametrize("snapshots", [(4,), (2, 5), ()], ids=str)
def test_a_flipped_byte_anywhere_costs_no_more_than_what_it_stood_in(history, snapshots):
    one = history(snapshots=snapshots)
    for file in one.files:
        size = len(file.read_bytes().rstrip(b"\0"))
        for offset in range(3, size, 89):
            source = one.copy()
            one.flip(source / file.relative_to(one.directory), offset, 0x10)
            report = repaired(one, source)
            account(one, report)
            assert gone(report) <= 1


@pytest.mark.sweep
def test_every_flipped_byte(history):
    one = history()
    for file in one.files:
        for offset in range(len(file.read_bytes().rstrip(b"\0"))):
            source = one.copy()
            one.flip(source / file.relative_to(one.directory), offset, 0x10)
            account(one, repaired(one, source))


def test_frames_behind_damage_are_put_aside_and_never_mixed_in(history):
    one = history(snapshots=())
    source = one.copy()
    path = source / one.segments[0].relative_to(one.directory)
    frames = [item for item in survey(path.read_bytes(), 1) if hasattr(item, "entries")]
    one.flip(path, frames[3].offset + 50)
    report = repaired(one, source, salvage=True)
    account(one, report)
    assert (report.sequence, report.unattributed) == (3, 0)
    (damage,) = report.damages
    assert (damage.offset, damage.end, damage.first, damage.last) == (frames[3].offset, frames[3].end, 4, 4)
    assert [(left.first, left.last) for left in report.left] == [(5, 10), (11, one.last)]
    lines = [json.loads(line) for line in (source.with_name("repaired") / "salvaged.jsonl").read_text().splitlines()]
    assert len(lines) == report.salvaged
    puts = [line for line in lines if line["entry"] == "kv put"]
    assert puts[0]["key"] == "k1" and puts[0]["space"] == "a" and puts[0]["whole"] and puts[0]["run"]
    assert puts[0]["fields"]["body"] == {"value": "in a run"}
    assert puts[-1]["key"] == "last" and puts[-1]["transaction"] == one.last
    assert [line["whole"] for line in lines if line["entry"] == "kv delete"] == [False]


def test_the_medium_may_hold_zeros_where_frames_were(history):
    one = history(snapshots=())
    source = one.copy()
    path = source / one.segments[0].relative_to(one.directory)
    frames = [item for item in survey(path.read_bytes(), 1) if hasattr(item, "entries")]
    data = path.read_bytes()
    begin, end = frames[2].offset, frames[5].end
    path.write_bytes(data[:begin] + bytes(end - begin) + data[end:])
    report = repaired(one, source)
    account(one, report)
    assert (report.damages[0].first, report.damages[0].last) == (3, 6)
    path.write_bytes(data[:begin] + bytes(len(data) - begin))
    report = repaired(one, source)
    account(one, report)
    assert report.damages[0].first == 3 and "has no end" in report.damages[0].why


@pytest.mark.parametrize("which", [0, 1])
def test_a_missing_segment_is_told(history, which):
    one = history(snapshots=())
    source = one.copy()
    (source / one.segments[which].relative_to(one.directory)).unlink()
    report = repaired(one, source)
    account(one, report)
    assert report.damages[0].offset is None and "is not there" in report.damages[0].why
    assert report.sequence == (0 if which == 0 else int(one.segments[1].stem) - 1)


def test_an_older_snapshot_and_the_log_since_are_enough(history):
    one = history(snapshots=(2, 5))
    source = one.copy()
    one.flip(source / one.snapshots[1].relative_to(one.directory), 100)
    report = repaired(one, source)
    assert report.is_whole
    assert report.snapshot.endswith(one.snapshots[0].name)


def test_records_of_a_damaged_snapshot_are_put_aside_where_their_section_is_sound(history):
    one = history(snapshots=(2, 5))
    source = one.copy()
    for path in one.snapshots:
        one.flip(source / path.relative_to(one.directory), path.stat().st_size - 10)  # in the last section: memories
    report = repaired(one, source, salvage=True)
    account(one, report)
    assert report.sequence == 0 and report.left and report.unattributed == 0
    lines = [json.loads(line) for line in (source.with_name("repaired") / "salvaged.jsonl").read_text().splitlines()]
    records = [line for line in lines if "values" in line]
    assert {(line["space"], line["kind"], line["key"]) for line in records} >= {("a", "kv", "k1"), ("b", "kv", "x")}
    assert {line["values"]["value"] for line in records if line["key"] == "k1"} == {"in a run"}


def test_what_a_crash_tore_is_no_loss(history, tmp_path):
    live = tmp_path / "live"
    with holdfast.open(f"log:{live}", durability="buffered") as store:
        store.kv.put("a", 1)
        store.flush()
        store.kv.put("b", 2)
        source = tmp_path / "torn"
        shutil.copytree(live, source)
    (path,) = (source / "wal").glob("*.wal")
    data = path.read_bytes()
    path.write_bytes(data[: len(data.rstrip(b"\0")) - 5])
    report = repair(source, tmp_path / "new", REGISTRY)
    assert report.is_whole and report.sequence == 1
    (damage,) = report.damages
    assert damage.torn and damage.first is None and damage.end == path.stat().st_size


def test_a_frame_that_is_whole_and_cannot_be_folded_ends_the_history(history):
    one = history(snapshots=(), seals=())
    source = one.copy()
    path = source / one.segments[0].relative_to(one.directory)
    data = path.read_bytes()
    items = list(survey(data, 1))
    header, frames = items[0], items[1:]
    bad = frames[6]
    broken = (*bad.entries[:1], Entry(bad.entries[1].type, bad.entries[1].version, b"\xc1"))
    rest = b"".join(
        encode_frame(header.salt, one.sequence, one.durable, one.time, broken if one is bad else one.entries)
        for one in frames[6:]
    )
    path.write_bytes(data[: bad.offset] + rest)
    report = repaired(one, source, salvage=True)
    assert report.sequence == 6 and gone(report) == 0
    assert "the frame is whole, but" in report.damages[0].why
    assert report.left[0].first == 7 and not report.is_whole
    lines = (source.with_name("repaired") / "salvaged.jsonl").read_text().splitlines()
    assert "problem" in json.loads(lines[0])


def test_a_frame_without_a_meaning_is_told(history):
    one = history(snapshots=(), seals=())
    source = one.copy()
    path = source / one.segments[0].relative_to(one.directory)
    data = path.read_bytes()
    header, *frames = survey(data, 1)
    last = frames[-1]
    senseless = (Entry(0x03, 1, b"\xc1"),)
    path.write_bytes(data[: last.offset] + encode_frame(header.salt, last.sequence, last.durable, last.time, senseless))
    report = repaired(one, source, salvage=True)
    assert report.sequence == one.last - 1 and report.lost == []
    assert "cannot be understood" in (source.with_name("repaired") / "salvaged.jsonl").read_text()


def forged(header, **changes):
    return encode_segment_header(msgspec.structs.replace(header, **changes))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"store_id": b"x" * 16}, "belongs to another store"),
        ({"first": 999}, "do not agree"),
        ({"crc_before": 1}, "does not continue"),
    ],
    ids=["store", "name", "chain"],
)
def test_a_segment_that_is_not_the_next_of_this_log_is_not_believed(history, changes, why):
    one = history(snapshots=())
    source = one.copy()
    path = source / one.segments[1].relative_to(one.directory)
    data = path.read_bytes()
    header = read_segment_header(data)
    assert isinstance(header, SegmentHeader)
    path.write_bytes(forged(header, **changes) + data[60:])
    report = repaired(one, source)
    assert report.sequence == int(path.stem) - 1
    assert any(why in damage.why for damage in report.damages) and not report.is_whole


def test_two_segments_with_the_same_transactions_are_not_believed(history):
    one = history(snapshots=())
    source = one.copy()
    data = one.segments[0].read_bytes()
    header = read_segment_header(data)
    assert isinstance(header, SegmentHeader)
    again = forged(header, first=3, before=2)
    (source / "wal" / f"{3:020d}.wal").write_bytes(again)
    report = repaired(one, source)
    assert any("as well" in damage.why for damage in report.damages)


def test_a_seal_that_tells_of_another_transaction_ends_the_history(history):
    from holdfast.log.frame import encode_footer

    one = history(snapshots=())
    source = one.copy()
    path = source / one.segments[0].relative_to(one.directory)
    data = path.read_bytes()
    header, *_, footer = survey(data, 1)
    path.write_bytes(data[: footer.offset] + encode_footer(header.salt, footer.last, footer.crc ^ 1))
    report = repaired(one, source)
    assert report.sequence == footer.last and not report.is_whole
    path.write_bytes(data[: footer.offset] + encode_footer(header.salt, footer.last + 1, footer.crc))
    assert repaired(one, source).sequence == footer.last


def test_bytes_behind_a_seal_are_told_and_cost_nothing(history):
    one = history(snapshots=())
    source = one.copy()
    path = source / one.segments[0].relative_to(one.directory)
    path.write_bytes(path.read_bytes() + b"more")
    report = repaired(one, source)
    assert report.is_whole and "after its end" in report.damages[0].why


def test_a_segment_without_any_sense_is_gone(history):
    one = history(snapshots=())
    source = one.copy()
    path = source / one.segments[0].relative_to(one.directory)
    path.write_bytes(os.urandom(path.stat().st_size - 1) + b"x")
    report = repaired(one, source)
    account(one, report)
    assert report.sequence == 0
    source = one.copy()
    path = source / one.segments[-1].relative_to(one.directory)
    path.write_bytes(os.urandom(path.stat().st_size))
    account(one, repaired(one, source))
    (source / "DURABLE").unlink()
    report = repaired(one, source)
    assert report.damages[-1].last is None and report.unattributed is None and not report.is_whole


def test_a_file_that_cannot_be_read_is_as_good_as_gone(history):
    one = history(snapshots=(2, 5))
    source = one.copy()
    bad = {source / one.snapshots[1].relative_to(one.directory)}

    class Failing(Disk):
        def read(self, path, offset=0, most=-1):
            if path in bad:
                raise ReadError(f"{path} cannot be read: on purpose")
            return super().read(path, offset, most)

    assert repaired(one, source, disk=Failing()).is_whole
    bad.add(source / one.segments[-2].relative_to(one.directory))
    report = repaired(one, source, disk=Failing())
    account(one, report)
    assert not report.is_whole


def test_a_newer_version_is_left_alone(history):
    one = history(snapshots=())
    source = one.copy()
    path = source / one.segments[-1].relative_to(one.directory)
    data = path.read_bytes()
    header = read_segment_header(data)
    assert isinstance(header, SegmentHeader)
    path.write_bytes(forged(header, version=9) + data[60:])
    with pytest.raises(FormatError, match="version 9"):
        repair(source, source.with_name("new"), REGISTRY)
    assert not source.with_name("new").exists()


def test_what_nobody_here_can_fold_is_kept_for_those_who_can(history):
    one = history(snapshots=(4,))
    few = PrimitiveRegistry()
    for primitive in REGISTRY:
        if primitive.name != "memory":
            few.register(primitive)
    source = one.copy()
    report = repair(source, source.with_name("few"), few, salvage=True)
    assert report.is_whole
    again = repaired(one, source.with_name("few"), source.with_name("again"))
    assert again.sequence == one.last
    one.flip(source / one.segments[-1].relative_to(one.directory), 100)
    for path in one.snapshots:
        one.flip(source / path.relative_to(one.directory), 20)
    report = repair(source, source.with_name("few2"), few, salvage=True)
    assert not report.is_whole


def test_places_that_are_refused(history, tmp_path):
    one = history()
    with pytest.raises(InitError, match="no log store"):
        repair(tmp_path / "nothing", tmp_path / "new", REGISTRY)
    with pytest.raises(InitError, match="no log store"):
        repair(tmp_path, tmp_path / "new", REGISTRY)
    with pytest.raises(InitError, match="inside"):
        repair(one.directory, one.directory / "new", REGISTRY)
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    for name in ("file", "full"):
        with pytest.raises(InitError, match="there already"):
            repair(one.directory, tmp_path / name, REGISTRY)
    (tmp_path / "empty").mkdir()
    assert repair(one.directory, tmp_path / "empty", REGISTRY).is_whole


def test_a_store_that_is_open_for_writing_is_not_repaired(history, tmp_path):
    one = history()
    with (
        holdfast.open(f"log:{one.directory}"),
        pytest.raises(LockedError, match=f"process {os.getpid()}") as raised,
    ):
        repair(one.directory, tmp_path / "new", REGISTRY)
    assert raised.value.owner
    (one.directory / "LOCK").unlink()
    assert repair(one.directory, tmp_path / "new", REGISTRY).is_whole


def test_a_repair_that_fails_leaves_no_store(history, tmp_path, monkeypatch):
    one = history()
    monkeypatch.setattr(module, "WriteAheadLog", lambda *_: (_ for _ in ()).throw(holdfast.StorageError("on purpose")))
    monkeypatch.setattr(module, "DurableSlots", lambda *_: (_ for _ in ()).throw(holdfast.StorageError("on purpose")))
    with pytest.raises(holdfast.StorageError, match="on purpose"):
        repair(one.directory, tmp_path / "new", REGISTRY)
    with pytest.raises(holdfast.StorageError):
        holdfast.open(f"log:{tmp_path / 'new'}")


def test_a_segment_of_which_a_snapshot_covers_a_part_is_read_behind_it(history):
    one = history(snapshots=(4,), seals=())
    source = one.copy()
    first, second = (source / path.relative_to(one.directory) for path in one.segments)
    header, *frames = survey(first.read_bytes(), 1)
    rest = [item for item in survey(second.read_bytes(), int(second.stem)) if hasattr(item, "entries")]
    data = first.read_bytes()[: frames[-1].offset] + b"".join(
        encode_frame(header.salt, item.sequence, item.durable, item.time, item.entries) for item in rest
    )
    first.write_bytes(data)
    second.unlink()
    report = repaired(one, source)
    assert report.is_whole and report.snapshot_sequence == int(second.stem) - 1
    assert report.transactions == len(rest)


def test_what_is_put_aside_of_users_primitives(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.backends.log_engine.salvage._BYTES_PER_WRITE", 100)
    source = tmp_path / "store"
    with holdfast.open(f"log:{source}", registry=toy_registry()) as store:
        store.kv.put("first", 1)
        store._backend.make_snapshot()
        store.kv.put("second", 2)
        store.notes.put("n", "text")
        store.counters.increment("c")
        store._backend.make_snapshot()
        store.kv.put("third", 3)
    older, newer = sorted((source / "snapshots").iterdir())
    flip(older, 60)
    flip(newer, newer.stat().st_size - 1)
    report = repair(source, tmp_path / "new", toy_registry(), salvage=True)
    lines = [json.loads(line) for line in (tmp_path / "new" / "salvaged.jsonl").read_text().splitlines()]
    assert report.salvaged == len(lines)
    notes = [line for line in lines if line.get("kind") == "note"]
    assert [(line["key"], line["values"]) for line in notes] == [("n", {"text": "text"})]
    assert [line["entry"] for line in lines if line.get("transaction")][0] == "kv put"
    repair(source, tmp_path / "less", REGISTRY, salvage=True)
    lines = [json.loads(line) for line in (tmp_path / "less" / "salvaged.jsonl").read_text().splitlines()]
    assert [line["problem"] for line in lines if "body" in line] == ["no primitive here knows this kind"] * 2
    (first,) = [path for path in (source / "wal").iterdir() if path.stem.endswith("02")]
    flip(first, 70)
    flip(newer, newer.stat().st_size - 1)
    flip(newer, 70)
    repair(source, tmp_path / "more", toy_registry(), salvage=True)
    lines = [json.loads(line) for line in (tmp_path / "more" / "salvaged.jsonl").read_text().splitlines()]
    assert [line["key"] for line in lines if line.get("entry") == "note NotePut"] == ["n"]
    assert {line["space"] for line in lines if "kind" in line} == {"number 0"}


def test_pages_and_records_that_mean_nothing_are_put_aside_as_they_are(tmp_path):
    source = tmp_path / "store"
    with holdfast.open(f"log:{source}") as store:
        store.kv.put("first", 1)
    header = SnapshotHeader(3, 1, 9, b"s" * 16)
    writer = SnapshotWriter(source, Disk(), header)
    writer.section(0)
    writer.page(msgspec.msgpack.encode(("space", 0, "a", 1, 1)))
    writer.page(msgspec.msgpack.encode(("deleted", 0, [])))
    writer.section(1)
    record = Record(b"\x99", 1, 1, 1, 1, None, 1, (), b"\xc1")
    writer.page(msgspec.msgpack.encode((0, [record])))
    writer.section(2)
    writer.page(b"\xc1")
    flip(writer.finish(), -1)
    report = repair(source, tmp_path / "new", REGISTRY, salvage=True)
    lines = [json.loads(line) for line in (tmp_path / "new" / "salvaged.jsonl").read_text().splitlines()]
    assert report.salvaged == 2 and report.sequence == 1
    assert lines[0]["key"] == "99" and lines[0]["body"] == {"$bytes": "wQ=="} and lines[0]["problem"]
    assert "section 2" in lines[1]["problem"]


def test_a_snapshot_that_is_older_than_what_was_restored_is_not_put_aside(history):
    one = history(snapshots=(2, 5))
    source = one.copy()
    one.flip(source / one.snapshots[1].relative_to(one.directory), 100)
    report = repaired(one, source, salvage=True)
    assert report.salvaged == 0


def test_the_lock_of_a_place_that_cannot_be_read(tmp_path):
    with pytest.raises(ReadError, match="cannot be opened"):
        Disk().keep_out_writers(tmp_path / ("x" * 300))
    assert Disk().keep_out_writers(tmp_path / "nothing") is None


def wrecked(one, source, seed):
    """Damage a copy in several ways at once; return what was done."""
    chance = random.Random(seed)
    files = [source / file.relative_to(one.directory) for file in one.files]
    done = []
    for _ in range(chance.randint(1, 4)):
        file = chance.choice([file for file in files if file.exists()])
        data = bytearray(file.read_bytes())
        place = chance.randrange(max(len(data.rstrip(b"\0")), 1))
        match chance.choice(["flip", "flip", "cut", "zeros", "remove", "insert", "swap"]):
            case "flip" if data:
                data[place] ^= chance.randint(1, 255)
            case "cut":
                del data[place:]
            case "zeros":
                data[place : place + 200] = bytes(len(data[place : place + 200]))
            case "insert":
                data[place:place] = bytes(chance.randrange(256) for _ in range(30))
            case "swap":
                other = chance.choice(files)
                data = bytearray(other.read_bytes()) if other.exists() else data
            case "remove":
                file.unlink()
                continue
        file.write_bytes(data)
        done.append(file.name)
    return done


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_wrecked_what_is_saved_was_once_true(history, seed):
    one = history(snapshots=(2, 5) if seed % 2 else ())
    source = one.copy()
    wrecked(one, source, seed)
    before = one.contents(source)
    target = source.with_name("repaired")
    report = repair(source, target, REGISTRY, salvage=True)
    assert one.contents(source) == before
    assert list(faults(target, Disk(), REGISTRY)) == []
    list(faults(source, Disk(), REGISTRY))
    with holdfast.open(f"log:{target}") as store:
        assert one.state(store) == one.states[report.sequence]
    taken = {n for left in report.left for n in range(left.first, left.last + 1)}
    assert not taken & set(range(1, report.sequence + 1))
    for line in (target / "salvaged.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line), dict)
    try:
        opened, _ = recover(source, Disk(), REGISTRY, MSGPACK)
    except holdfast.HoldfastError:
        return
    assert opened.sequence <= report.sequence, "a repair saves at least what opening would"
