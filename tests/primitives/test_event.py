"""event: gap-free streams whose chain tells of every change."""

from __future__ import annotations

from datetime import timedelta

import apsw
import msgspec
import pytest

import holdfast
from holdfast.codec import decode
from holdfast.keys import encode_key
from holdfast.primitives.event import GENESIS, KIND, EventBody, HeadBody, Trim, event_hash


def fill(space, count=5):
    return [space.events.append("s", {"n": n}, type="even" if n % 2 == 0 else "odd") for n in range(count)]


def test_sequences_have_no_gaps_and_each_hash_covers_the_one_before(space):
    events = fill(space)
    assert [one.sequence for one in events] == [0, 1, 2, 3, 4]
    before = GENESIS
    for one in events:
        time = int(one.created_at.timestamp() * 1_000_000 + 0.5)
        body = EventBody(one.type, one.data, one.metadata)
        before = event_hash("s", one.sequence, time, body, before)
        assert one.hash == before
    assert space.events.stream("s") == holdfast.Stream("s", 5, events[-1].hash)
    assert space.events.verify("s") == holdfast.Verification(True, 5)
    assert space.events.get("s", 3) == events[3] and space.events.get("s", 5) is None
    assert space.events.length("other") == 0 and space.events.verify("other").ok


def test_streams_do_not_meet(space):
    fill(space, 2)
    assert space.events.append("s\0", 1, metadata={"m": 1}).sequence == 0
    assert space.events.append("s2", 1).sequence == 0
    assert [one.name for one in space.events.streams()] == ["s", "s\0", "s2"]
    assert space.events.count() == 4 and [one.data for one in space.events.read("s")] == [{"n": 0}, {"n": 1}]
    page = space.events.streams(limit=2)
    assert [one.name for one in space.events.streams(after=page.cursor)] == ["s2"]


def test_many_in_one_commit(space):
    fill(space, 1)
    events = space.events.append_many("s", [{"data": 1}, {"data": 2, "type": "t", "metadata": {"a": 1}}])
    assert [(one.sequence, one.type, one.metadata) for one in events] == [(1, "event", {}), (2, "t", {"a": 1})]
    assert events[0].revision == events[1].revision and space.events.verify("s").ok
    assert space.events.append_many("s", []) == [] and space.events.length("s") == 3


def test_read_by_range_type_time_and_page(space):
    events = fill(space, 7)

    def numbers(**arguments):
        return [one.sequence for one in space.events.read("s", **arguments)]

    assert numbers() == list(range(7)) and numbers(start=2, end=5) == [2, 3, 4] and numbers(end=0) == []
    assert numbers(reverse=True) == list(range(7))[::-1]
    assert numbers(type="odd") == [1, 3, 5] and numbers(type="odd", start=2, end=5) == [3]
    assert numbers(type="od") == []
    since, until = events[2].created_at, events[5].created_at
    assert numbers(since=since) == [2, 3, 4, 5, 6] and numbers(until=until) == [0, 1, 2, 3, 4]
    assert numbers(since=since, until=until, type="even") == [2, 4]
    assert numbers(since=since, start=3, end=4) == [3]
    assert numbers(since=events[-1].created_at + timedelta(seconds=1)) == []
    for arguments in ({}, {"type": "even"}, {"since": since}, {"reverse": True}):
        found, cursor = [], None
        while True:
            page = space.events.read("s", limit=2, after=cursor, **arguments)
            found += [one.sequence for one in page]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == numbers(**arguments)


def test_a_transaction_knows_the_sequence_after_its_commit(space):
    with space.transaction() as tx:
        pending = tx.events.append("s", 1)
        many = tx.events.append_many("s", [{"data": 2}])
        with pytest.raises(holdfast.TransactionError):
            pending.sequence
        space.events.append("s", 0)
    assert isinstance(pending, holdfast.Pending) and pending.sequence == 1
    assert many.result()[0].sequence == 2 and space.events.verify("s").ok
    with space.transaction() as tx:
        tx.events.append("s", 3)
        assert [one.data for one in tx.events.read("s")] == [0, 1, 2, 3] and tx.events.length("s") == 4
        assert tx.events.count() == 4


def tamper(store, change):
    """Change the stored bodies of events behind the back of the store: key -> new body, or None to remove it."""
    if store.url == "memory:":
        table = store._backend._tables("project").tables[KIND]
        for key, make in change.items():
            record = table.by_key[key]
            body = make(record.body)
            table.put(None if body is None else msgspec.structs.replace(record, body=body), key)
        return
    codec = store.space("project")._scope.codec
    assert codec is not None
    connection = apsw.Connection(store.url)
    for key, make in change.items():
        ((number, body),) = connection.execute("SELECT id, body FROM records WHERE kind = ? AND key = ?", (KIND, key))
        body = make(body.encode())
        if body is None:
            connection.execute("DELETE FROM records WHERE id = ?", (number,))
        else:
            connection.execute("UPDATE records SET body = ? WHERE id = ?", (body.decode(), number))
    connection.close()


def key(sequence):
    return encode_key("s") + encode_key(sequence)


def test_verify_finds_what_was_tampered_with(store, space):
    fill(space)
    codec = space._scope.codec

    def changed(body):
        event = decode(body, EventBody)
        event.data = {"n": 99}
        return codec.encode(event)

    tamper(store, {key(2): changed})
    found = space.events.verify("s")
    assert (found.ok, found.first_invalid) == (False, 2) and "event 2" in found.error
    assert any("stream 's'" in fault for fault in store.verify())


def test_verify_finds_what_was_removed(store, space):
    fill(space)
    tamper(store, {key(1): lambda body: None})
    assert space.events.verify("s").first_invalid == 1
    tamper(store, {key(4): lambda body: None})
    assert space.events.verify("s").first_invalid == 1


def test_verify_finds_a_removed_end(store, space):
    fill(space)
    tamper(store, {key(4): lambda body: None})
    found = space.events.verify("s")
    assert (found.ok, found.first_invalid, found.length) == (False, 4, 4)


def test_verify_finds_what_was_reordered(store, space):
    fill(space)
    bodies = {}
    tamper(store, {key(1): lambda body: bodies.setdefault(1, body), key(3): lambda body: bodies.setdefault(3, body)})
    tamper(store, {key(1): lambda body: bodies[3], key(3): lambda body: bodies[1]})
    assert space.events.verify("s").first_invalid == 1


def test_verify_finds_a_false_head(store, space):
    fill(space)
    codec = space._scope.codec
    tamper(store, {encode_key("s"): lambda body: codec.encode(HeadBody(5, GENESIS))})
    found = space.events.verify("s")
    assert not found.ok and found.first_invalid is None and "head" in found.error


def test_a_head_that_was_set_back_is_found(store, space):
    events = fill(space)
    codec = space._scope.codec
    tamper(store, {encode_key("s"): lambda body: codec.encode(HeadBody(3, events[2].hash))})
    assert not space.events.verify("s").ok


def test_trimmed_streams_go_on_and_still_verify(store, space):
    space.events.append_many("s", [{"data": n} for n in range(1003)])
    assert space.events.trim("s", 0) == 0 and space.events.trim("none", 5) == 0
    assert space.events.trim("s", 1001) == 1001 and space.events.trim("s", 1001) == 0
    assert [event.sequence for event in space.events.read("s")] == [1001, 1002] and space.events.verify("s").ok
    assert space.events.stream("s").first == 1001 and space.events.streams()[0].first == 1001
    with space.run("r") as run:
        run.events.append("s", "x")
        assert run.events.trim("s", 1002) == 1
    assert space.replay(run.id).events.stream("s").first == 1002
    assert space.events.append("s", "y").sequence == 1004 and space.events.verify("s").ok
    with space.transaction() as tx:
        assert tx.events.trim("s", 9999) == 3 and tx.events.count() == 0
    assert space.events.verify("s").ok and space.events.stream("s").length == 1005 and store.verify() == []
    assert space.events.append("s", "z").sequence == 1005 and space.events.verify("s").ok
    with pytest.raises(holdfast.InvalidInputError, match="before"):
        space.events.trim("s", -1)


def test_a_stream_that_lost_an_event_it_should_have_is_found_after_a_trim(tmp_path):
    path = tmp_path / "store.db"
    with holdfast.open(path) as store:
        store.events.append_many("s", [{"data": n} for n in range(5)])
        store.events.trim("s", 2)
        connection = apsw.Connection(str(path))
        connection.execute("DELETE FROM records WHERE json_extract(body, '$.data') = 2")
        connection.close()
        assert store.events.verify("s").first_invalid == 2


def test_a_trim_of_what_is_not_the_oldest_does_nothing(space):
    fill(space)
    head = space._scope.backend.view("project").head()
    for first, before in ((1, 3), (0, 0), (0, 9)):
        assert space._scope.write([Trim(encode_key("s"), first, before)], lambda outcomes: outcomes) == [{}]
    assert space._scope.backend.view("project").head() == head
