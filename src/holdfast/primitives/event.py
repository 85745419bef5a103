"""``event``: append-only streams with a gap-free sequence from 0 and a SHA-256 hash chain.

An append reads nothing: sequence and hash are made inside the commit, from the head of the stream that is there then,
so any number of writers may append to one stream. The hash of an event covers its stream, sequence, time, type, data
and metadata in canonical form and the hash before it (the construction of Haber & Stornetta, 1991), so a changed,
removed or reordered event is found by ``verify``. ``trim`` lets the oldest events go: the head keeps the hash before
the first that is left.

    key of a head     (stream,)             body: next sequence, hash of the last event, first sequence, hash before it
    key of an event   (stream, sequence)    body: type, data, metadata, hash
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec

from holdfast.codec import Value, canonical, check_text, check_value, decode, from_microseconds
from holdfast.entry_types import EVENT_APPEND, EVENT_TRIM, PRIMITIVE_IDS
from holdfast.errors import InvalidInputError
from holdfast.inputs import check_key, check_many, check_metadata, check_time
from holdfast.keys import decode_key, encode_key, key_range_prefix
from holdfast.model import Header, Record, Touched, Written
from holdfast.primitive import EntryType, Moment, Payload, Primitive, write
from holdfast.scope import Listing, Pending, Scope, check_limit, cursor_place, cursor_text, take

KIND = PRIMITIVE_IDS["event"]
STREAMS, BY_TYPE, BY_TIME = 1, 2, 3
GENESIS = bytes(32)
"""What the first event of a stream has as the hash before it."""
TRIMMED_AT_ONCE = 500
_SEQUENCE_ROOM = len(encode_key(0))


class HeadBody(msgspec.Struct, omit_defaults=True):
    """The body of the head of a stream."""

    next: int
    hash: bytes
    first: int = 0
    before: bytes = GENESIS


class EventBody(msgspec.Struct, omit_defaults=True):
    """The body of an event."""

    type: str
    data: Value
    metadata: dict[str, Value] = {}
    hash: bytes = b""


class Event(msgspec.Struct, frozen=True):
    """One event: its place in the stream, what happened, when it was committed, and its hash (32 bytes)."""

    stream: str
    sequence: int
    type: str
    data: Value
    created_at: datetime
    hash: bytes
    metadata: dict[str, Value] = {}
    revision: int = 0


class Stream(msgspec.Struct, frozen=True):
    """A stream: how many events were appended, the hash of the last one, and the sequence of the first one kept."""

    name: str
    length: int
    hash: bytes
    first: int = 0


class Verification(msgspec.Struct, frozen=True):
    """What ``verify`` found: ``ok``, the events checked, and the first that is not right, with the reason."""

    ok: bool
    length: int
    first_invalid: int | None = None
    error: str | None = None


class Append(Payload, frozen=True, gc=False):
    """Entry 0x30: an event at the end of a stream; ``body`` is an EventBody that has no hash yet."""

    stream: bytes
    body: bytes


class Trim(Payload, frozen=True, gc=False):
    """Entry 0x31: let the events with first <= sequence < before go, if they are the oldest."""

    stream: bytes
    first: int
    before: int


def event_hash(stream: str, sequence: int, time: int, body: EventBody, before: bytes) -> bytes:
    """Return the hash of an event; ``time`` is in microseconds."""
    return sha256(canonical([stream, sequence, time, body.type, body.data, body.metadata, before])).digest()


def _head_of(record: Record | None) -> HeadBody:
    return HeadBody(0, GENESIS) if record is None else decode(record.body, HeadBody)


def fold_append(entry: Append, touched: Touched, at: Moment) -> Written:
    """The event under the next sequence, and the head moved behind it."""
    record = touched[entry.stream]
    head = _head_of(record)
    stream = decode_key(entry.stream)[0]
    assert isinstance(stream, str)
    body = decode(entry.body, EventBody)
    body.hash = event_hash(stream, head.next, at.now, body, head.hash)
    place = encode_key(head.next)
    terms = (
        (BY_TYPE, entry.stream + encode_key(body.type) + place),
        (BY_TIME, entry.stream + encode_key(at.now)),
    )
    event = write(entry.stream + place, None, at, at.codec.encode(body), terms=terms)
    after = at.codec.encode(HeadBody(head.next + 1, body.hash, head.first, head.before))
    return {event.key: event, entry.stream: write(entry.stream, record, at, after, terms=((STREAMS, entry.stream),))}


def _trimmed_keys(entry: Trim) -> tuple[bytes, ...]:
    return (entry.stream, *(entry.stream + encode_key(place) for place in range(entry.first, entry.before)))


def fold_trim(entry: Trim, touched: Touched, at: Moment) -> Written:
    """The events gone, and the head with the hash before the first that is left; nothing if others are the oldest."""
    record = touched[entry.stream]
    head = _head_of(record)
    if head.first != entry.first or not entry.first < entry.before <= head.next:
        return {}
    last = touched[entry.stream + encode_key(entry.before - 1)]
    before = decode(last.body, EventBody).hash
    after = at.codec.encode(HeadBody(head.next, head.hash, entry.before, before))
    gone: Written = dict.fromkeys(_trimmed_keys(entry))
    return {**gone, entry.stream: write(entry.stream, record, at, after, terms=((STREAMS, entry.stream),))}


def _shown(record: Record) -> Event:
    stream, sequence = decode_key(record.key)
    assert isinstance(stream, str) and isinstance(sequence, int)
    body = decode(record.body, EventBody)
    return Event(
        stream, sequence, body.type, body.data, from_microseconds(record.created_at), body.hash, body.metadata,
        record.revision,
    )  # fmt: skip


def _appended(outcomes: list[Written]) -> Event:
    record = next(iter(outcomes[0].values()))
    assert record is not None
    return _shown(record)


class Events:
    """The face of ``event``. As thread-safe as its scope."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def append(
        self, stream: str, data: Value, *, type: str = "event", metadata: dict[str, Value] | None = None
    ) -> Event | Pending[Event]:
        """Append an event. Inside a transaction the result is a Pending: its attributes are known after the commit."""
        return self._scope.write([self._entry(stream, data, type, metadata, "")], _appended)

    def append_many(self, stream: str, events: list[dict[str, Any]]) -> list[Event] | Pending[list[Event]]:
        """Append many events, each a dict with ``data`` and perhaps ``type`` and ``metadata``, in one commit."""
        entries = []
        for place, event in enumerate(check_many(events, "events")):
            field = f"events[{place}]"
            if type(event) is not dict or not event.keys() <= {"data", "type", "metadata"} or "data" not in event:
                raise InvalidInputError(field, "must be a dict with 'data' and perhaps 'type' and 'metadata'")
            entries.append(
                self._entry(stream, event["data"], event.get("type", "event"), event.get("metadata"), f"{field}.")
            )
        if not entries:
            return []
        return self._scope.write(entries, lambda outcomes: [_appended([outcome]) for outcome in outcomes])

    def trim(self, stream: str, before: int) -> int:
        """Let the events with a sequence below ``before`` go, at most all; return how many went.

        The others keep their sequence and hash, and ``verify`` begins with the first of them. One entry for each
        500 events, each a commit of its own; not inside a transaction, which would keep all of them in mind.
        """
        key = check_key(stream, "stream")
        if before.__class__ is not int or before < 0:
            raise InvalidInputError("before", f"must be an int of 0 or more, not {before!r}")
        head = _head_of(self._scope.read_one(KIND, key))
        behind, trimmed = min(before, head.next), 0
        for first in range(head.first, behind, TRIMMED_AT_ONCE):
            entry = Trim(key, first, min(first + TRIMMED_AT_ONCE, behind))
            trimmed += self._scope.write([entry], lambda outcomes: max(0, len(outcomes[0]) - 1))
        return trimmed

    def read(
        self,
        stream: str,
        start: int = 0,
        *,
        end: int | None = None,
        limit: int = 100,
        type: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        reverse: bool = False,
        after: str | None = None,
    ) -> Listing[Event]:
        """Return a page of events in order: start <= sequence < end, of a type, committed in [since, until)."""
        for name, value in (("start", start), ("end", end)):
            if (value is not None or name == "start") and (value.__class__ is not int or value < 0):
                raise InvalidInputError(name, f"must be an int of 0 or more, not {value!r}")
        first, behind = check_time(since, "since"), check_time(until, "until")

        def wanted(record: Record) -> bool:
            sequence = decode_key(record.key)[1]
            assert isinstance(sequence, int)
            in_range = sequence >= start and (end is None or sequence < end)
            in_time = (first is None or record.created_at >= first) and (behind is None or record.created_at < behind)
            return in_range and in_time

        index, low, high = self._range(stream, start, end, type, first, behind)
        found = self._scope.scan(KIND, index, low, high, after=cursor_place(after), reverse=reverse)
        chosen = ((place, record) for place, record in found if wanted(record))
        if type is not None and index == BY_TIME:
            chosen = ((place, record) for place, record in chosen if decode(record.body, EventBody).type == type)
        records, place = take(chosen, check_limit(limit))
        return Listing([_shown(record) for record in records], cursor_text(place))

    def get(self, stream: str, sequence: int) -> Event | None:
        """Return one event, or None."""
        if sequence.__class__ is not int or sequence < 0:
            raise InvalidInputError("sequence", f"must be an int of 0 or more, not {sequence!r}")
        record = self._scope.read_one(KIND, check_key(stream, "stream") + encode_key(sequence))
        return None if record is None else _shown(record)

    def stream(self, stream: str) -> Stream:
        """Return the length of a stream and the hash of its last event; a stream without events has length 0."""
        head = _head_of(self._scope.read_one(KIND, check_key(stream, "stream")))
        return Stream(stream, head.next, head.hash, head.first)

    def length(self, stream: str) -> int:
        """Return how many events were appended to a stream: the sequence of the next one."""
        return self.stream(stream).length

    def streams(self, *, limit: int = 100, after: str | None = None) -> Listing[Stream]:
        """Return a page of the streams that have events, in the order of their names."""
        found = self._scope.scan(KIND, STREAMS, b"", b"\xff", after=cursor_place(after))
        records, place = take(found, check_limit(limit))
        streams = []
        for record in records:
            head = _head_of(record)
            streams.append(Stream(str(decode_key(record.key)[0]), head.next, head.hash, head.first))
        return Listing(streams, cursor_text(place))

    def count(self) -> int:
        """Return how many events there are in all streams; reads no bodies."""
        return self._scope.count(KIND) - self._scope.count(KIND, STREAMS, b"", b"\xff")

    def verify(self, stream: str) -> Verification:
        """Compute the hash chain of a stream again and compare it with what is stored."""
        key = check_key(stream, "stream")
        head = _head_of(self._scope.read_one(KIND, key))
        before, expected = head.before, head.first
        for record in self._events(key):
            event = _shown(record)
            if event.sequence != expected:
                return Verification(False, expected, expected, f"event {expected} is missing")
            body = decode(record.body, EventBody)
            if event_hash(stream, expected, record.created_at, body, before) != event.hash:
                return Verification(False, expected, expected, f"event {expected} is not what was appended")
            before, expected = event.hash, expected + 1
        if head.next > expected:
            return Verification(False, expected, expected, f"event {expected} is missing at the end of the stream")
        if head.next < expected:  # appended to since the head was read, so the head has moved by now
            moved = _head_of(self._scope.read_one(KIND, key))
            if moved.next < expected:
                error = f"the head of the stream ends before event {moved.next}"
                return Verification(False, expected, moved.next, error)
        if head.next == expected and head.hash != before:
            return Verification(False, expected, None, "the head of the stream does not fit its last event")
        return Verification(True, expected)

    def _events(self, key: bytes) -> Iterator[Record]:
        low, high = key_range_prefix(key)
        for _, record in self._scope.scan(KIND, None, low, high):
            if record.key != key:
                yield record

    def _range(
        self, stream: str, start: int, end: int | None, type: str | None, since: int | None, until: int | None
    ) -> tuple[int | None, bytes, bytes]:
        """Return the index and range that drive a read: by time if that is limited, by type, else by sequence."""
        key = check_key(stream, "stream")
        last = key_range_prefix(key)[1]
        if since is not None or until is not None:
            low = key if since is None else key + encode_key(since)
            return BY_TIME, low, last if until is None else key + encode_key(until)
        if type is not None:
            prefix = key + encode_key(check_text(type, "type"))
            high = key_range_prefix(prefix)[1] if end is None else prefix + encode_key(end)
            return BY_TYPE, prefix + encode_key(start), high
        return None, key + encode_key(start), last if end is None else key + encode_key(end)

    def _entry(self, stream: object, data: Value, type: object, metadata: object, path: str) -> Append:
        key = check_key(stream, "stream")
        body = EventBody(
            check_text(type, f"{path}type", most_bytes=128), data, check_metadata(metadata, f"{path}metadata")
        )
        check_value(data, f"{path}data")
        if len(key) + _SEQUENCE_ROOM > 256:
            raise InvalidInputError("stream", "is too long; a name of up to 240 bytes leaves room for the sequence")
        return Append(key, self._scope.codec.encode(body))


class EventPrimitive(Primitive):
    """What the registry keeps of ``event``."""

    name = "event"
    id = KIND
    attribute = "events"
    body = EventBody
    indexes = {"stream": STREAMS, "type": BY_TYPE, "time": BY_TIME}
    entry_types = (
        EntryType(EVENT_APPEND, Append, fold_append, lambda entry: (entry.stream,), body=True, before_commit="pending"),
        EntryType(EVENT_TRIM, Trim, fold_trim, _trimmed_keys, body=True, before_commit="read"),
    )
    face = Events
    in_order = True

    def together(self, key: bytes) -> tuple[bytes, bytes]:
        """A stream with one event missing would not verify, so it is forgotten whole."""
        return key_range_prefix(encode_key(decode_key(key)[0]))

    def group(self, header: Header) -> bytes:
        """The newest events of each stream are kept."""
        return encode_key(decode_key(header.key)[0])

    def may_go(self, record: Record) -> bool:
        """A head stays as long as anything knows the stream."""
        return len(decode_key(record.key)) == 2

    def removals(self, headers: Sequence[Header]) -> list[Any]:
        """Events go from the beginning of their stream on."""
        entries: list[Trim] = []
        for header in headers:
            stream, sequence = decode_key(header.key)
            assert isinstance(sequence, int)
            key = encode_key(stream)
            if entries and (entries[-1].stream, entries[-1].before) == (key, sequence):
                entries[-1] = Trim(key, entries[-1].first, sequence + 1)
            else:
                entries.append(Trim(key, sequence, sequence + 1))
        return list(entries)

    def values(self, record: Record) -> dict[str, Any]:
        """The data of an event, without its hash, which covers the time; of a head, its length."""
        if len(decode_key(record.key)) == 1:
            return {"length": decode(record.body, HeadBody).next}
        body = decode(record.body, EventBody)
        return {"type": body.type, "data": body.data, "metadata": body.metadata}
