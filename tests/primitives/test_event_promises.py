"""Streams of events, on both backends."""

from __future__ import annotations

from datetime import timedelta

import pytest

import holdfast
from holdfast import InvalidInputError, TransactionError
from holdfast.codec import decode
from holdfast.model import Batch
from holdfast.primitive import EntryType, Put, fold_put, own_key
from holdfast.primitives.event import GENESIS, KIND, EventBody


def test_sequences_have_no_gap_and_hashes_are_chained(space):
    assert space.events.stream("s").hash == GENESIS
    first = space.events.append("s", {"n": 0}, type="a", metadata={"m": 1})
    second = space.events.append("s", [1], type="b")
    assert (first.sequence, second.sequence, first.metadata) == (0, 1, {"m": 1})
    assert first.hash != second.hash
    assert space.events.get("s", 1) == second
    assert space.events.get("s", 2) is None
    assert space.events.length("s") == 2
    assert space.events.stream("s").hash == second.hash
    many = space.events.append_many("s", [{"data": n, "type": "c"} for n in range(3)])
    assert [one.sequence for one in many] == [2, 3, 4]
    assert space.events.append_many("s", []) == []
    assert space.events.verify("s") == holdfast.Verification(True, 5)
    assert space.events.verify("none") == holdfast.Verification(True, 0)
    space.events.append("s/t", 1)
    space.events.append("a", 1)
    assert [(one.name, one.length) for one in space.events.streams()] == [("a", 1), ("s", 5), ("s/t", 1)]
    assert space.events.streams(limit=1, after=space.events.streams(limit=1).cursor)[0].name == "s"
    assert space.events.count() == 7


def test_reading_by_range_type_and_time(space, clock):
    for n in range(10):
        clock.time += 1_000_000
        space.events.append("s", n, type="odd" if n % 2 else "even")
    read = lambda **chosen: [event.data for event in space.events.read("s", **chosen)]  # noqa: E731
    assert read() == list(range(10))
    assert read(start=3, end=6) == [3, 4, 5]
    assert read(reverse=True, limit=2) == [9, 8]
    assert read(type="odd") == [1, 3, 5, 7, 9]
    assert read(type="odd", start=3, end=8) == [3, 5, 7]
    middle = space.events.get("s", 4).created_at
    assert read(since=middle) == [4, 5, 6, 7, 8, 9]
    assert read(until=middle, start=2) == [2, 3]
    assert read(since=middle, until=middle + timedelta(seconds=2), type="even") == [4]
    page = space.events.read("s", limit=4)
    assert [event.data for event in space.events.read("s", limit=100, after=page.cursor)] == [4, 5, 6, 7, 8, 9]


def test_in_a_transaction_the_sequence_is_known_after_the_commit(space):
    space.events.append("s", 0)
    with space.transaction() as tx:
        pending = tx.events.append("s", 1)
        with pytest.raises(TransactionError, match="after the transaction"):
            pending.sequence
        many = tx.events.append_many("s", [{"data": 2}, {"data": 3}])
        assert [event.data for event in tx.events.read("s")] == [0, 1, 2, 3]
        assert tx.events.count() == 4
        assert tx.events.length("s") == 4
    assert (pending.sequence, pending.result().data) == (1, 1)
    assert [one.sequence for one in many.result()] == [2, 3]
    assert space.events.verify("s").ok


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("", 1), "stream"), ((5, 1), "stream"), (("x" * 300, 1), "stream"), (("s", object()), "data"),
    ],
)  # fmt: skip
def test_bad_input(space, arguments, field):
    with pytest.raises(InvalidInputError, match=field):
        space.events.append(*arguments)
    assert list(space.changes()) == []


def test_more_bad_input(space):
    for bad in ({"type": ""}, {"type": 5}, {"metadata": 5}):
        with pytest.raises(InvalidInputError, match=next(iter(bad))):
            space.events.append("s", 1, **bad)
    for events in ([5], [{"type": "x"}], [{"data": 1, "dato": 2}], [{"data": 1, "type": ""}]):
        with pytest.raises(InvalidInputError, match=r"events\[0\]"):
            space.events.append_many("s", events)
    for bad in ({"start": -1}, {"end": "x"}, {"start": True}):
        with pytest.raises(InvalidInputError, match=next(iter(bad))):
            space.events.read("s", **bad)
    assert list(space.changes()) == []


class Tamper(Put, frozen=True, gc=False):
    """An entry that no primitive has: it changes what must not change."""


class Remove(Put, frozen=True, gc=False):
    """Takes a record away."""


def tamper(store, space, key, body, *, remove=False):
    """Write past the primitive, through the commit path, as a fault of the medium would not be seen by it."""
    registry = space._scope.registry
    fold = (lambda entry, touched, at: {entry.key: None}) if remove else fold_put
    payload = Remove if remove else Tamper
    registry.by_payload[payload] = (KIND, EntryType(0x3F, payload, fold, own_key))
    try:
        store._backend.committer.commit(Batch("project", [payload(key, body)], "ephemeral"))
    finally:
        del registry.by_payload[payload]


def test_a_changed_removed_or_reordered_event_is_found(store, space):
    for n in range(5):
        space.events.append("s", n)
    view = store._backend.view("project")
    from holdfast.keys import encode_key

    keys = [encode_key("s", n) for n in range(5)]
    bodies = [record.body for record in view.read(KIND, keys)]
    changed = decode(bodies[2], EventBody)
    changed.data = "forged"
    tamper(store, space, keys[2], space._scope.codec.encode(changed))
    assert space.events.verify("s") == holdfast.Verification(False, 2, 2, "event 2 is not what was appended")
    assert store.verify() == ["space 'project', stream 's': event 2 is not what was appended"]
    tamper(store, space, keys[2], bodies[3])
    tamper(store, space, keys[3], bodies[2])
    assert space.events.verify("s").first_invalid == 2
    tamper(store, space, keys[2], b"", remove=True)
    assert space.events.verify("s").error == "event 2 is missing"
    other = store.space("project").events
    for n in range(3):
        other.append("t", n)
    tamper(store, space, encode_key("t", 2), b"", remove=True)
    assert "missing at the end" in other.verify("t").error
    head = view.read(KIND, [encode_key("s")])[0].body
    other.append("u", 1)
    tamper(store, space, encode_key("u"), head.replace(b"5", b"1") if head[:1] == b"{" else head[:-34] + head[-34:])
    assert not other.verify("u").ok


def test_the_head_must_fit_the_last_event(store, space):
    from holdfast.keys import encode_key
    from holdfast.primitives.event import HeadBody

    space.events.append("s", 1)
    tamper(store, space, encode_key("s"), space._scope.codec.encode(HeadBody(1, GENESIS)))
    assert "head" in space.events.verify("s").error


def test_an_append_while_a_stream_is_verified_is_no_fault(space, monkeypatch):
    events = space.events
    events.append("s", 1)
    listed = events._events

    def overtaken(key):
        events.append("s", 2)
        return listed(key)

    monkeypatch.setattr(events, "_events", overtaken)
    assert events.verify("s") == holdfast.Verification(True, 2)
