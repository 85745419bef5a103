"""How a commit stands in the log: which entries a frame holds, and what they say.

    0x00  define   [name, id, [entry types]]    before the first entry of a primitive of a user (``numbering``)
    0x03  commit   [space, sequence, run]       one in each frame: whose entries come after it, as which commit

The entries of a commit come in the order of its operations; the first is folded at the frame's time, each later one
one microsecond later. A frame without a commit entry holds definitions only.

Knows how entries are numbered in a store; not where they are written, nor what they do.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from holdfast.backend import StagedSpace, Transaction
from holdfast.backends.log_engine.numbering import Definition, Numbering
from holdfast.entry_types import CORE_COMMIT, CORE_DEFINE
from holdfast.errors import CorruptionError
from holdfast.log.frame import Frame, encode_entries, pack_entry
from holdfast.model import Entry
from holdfast.primitive import Payload
from holdfast.registry import PrimitiveRegistry

_encode = msgspec.msgpack.Encoder().encode


class Commit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The payload of a ``commit`` entry; ``run`` is the id of the run that it was made in."""

    space: str
    sequence: int
    run: bytes | None = None


_decode_commit = msgspec.msgpack.Decoder(Commit).decode
_decode_definition = msgspec.msgpack.Decoder(Definition).decode


class Transcript:
    """Writes commits as frames. For one thread at a time."""

    def __init__(self, registry: PrimitiveRegistry, numbering: Numbering) -> None:
        self._registry = registry
        self._numbering = numbering

    def missing(self, kinds: Iterable[int]) -> list[Definition]:
        """What the log must define before entries of these kinds are written; in one frame with ``definitions``."""
        return [missing for kind in kinds if (missing := self._numbering.missing(kind)) is not None]

    @staticmethod
    def definitions(time: int, definitions: Sequence[Definition]) -> tuple[int, int, bytes]:
        """The frame of definitions, as the log takes it."""
        entries = [Entry(CORE_DEFINE, 1, _encode(one)) for one in definitions]
        return time, len(entries), encode_entries(entries)

    def commits(self, staged: Sequence[StagedSpace]) -> list[tuple[int, int, bytes]]:
        """The frames of commits, as the log takes them: (time, count of entries, the entries joined)."""
        return [self._frame(space.space, transaction) for space in staged for transaction in space.transactions]

    def one(self, space: str, payload: Payload, sequence: int, time: int) -> tuple[int, int, bytes]:
        """The frame of a commit of one payload, of no run, as the log takes it."""
        entry = self._entry(payload)
        commit = _encode((space, sequence))
        body = entry.payload
        joined = b"".join(
            (
                pack_entry(CORE_COMMIT, 1, len(commit)),
                commit,
                pack_entry(entry.type, entry.version, len(body)),
                body,
            )
        )
        return time, 2, joined

    def _frame(self, space: str, transaction: Transaction) -> tuple[int, int, bytes]:
        entries = [Entry(CORE_COMMIT, 1, _encode((space, transaction.sequence, transaction.run)))]
        entries += [self._entry(payload) for payload in transaction.payloads]
        return transaction.time, len(entries), encode_entries(entries)

    def _entry(self, payload: Payload) -> Entry:
        """The stored form of a payload, with the store's numbers in it."""
        entry_type = self._registry.by_payload[type(payload)][1]
        if entry_type.any_kind:
            payload = msgspec.structs.replace(payload, kind=self._numbering.kind(self._registry.kind_of(payload)[0]))
        entry = self._registry.to_entry(payload)
        number = self._numbering.type(entry.type)
        return entry if number == entry.type else Entry(number, entry.version, entry.payload)


def read(frame: Frame, path: str) -> tuple[Commit | None, list[Definition], tuple[Entry, ...]]:
    """The commit of a frame, what it defines, and its other entries; CorruptionError if it is none of ours.

    Core entries of types that are not known here are left out: what they say is no record's business.
    """
    try:
        first = frame.entries[0]
        if first.type == CORE_COMMIT:
            return _decode_commit(first.payload), [], frame.entries[1:]
        return None, [_decode_definition(one.payload) for one in frame.entries if one.type == CORE_DEFINE], ()
    except (IndexError, msgspec.MsgspecError) as error:
        raise CorruptionError(
            f"{path} at byte {frame.offset}: transaction {frame.sequence} cannot be understood: {error}",
            path=path,
            offset=frame.offset,
        ) from error
