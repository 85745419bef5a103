"""``core``: the entries that belong to no primitive, and the records that the store keeps for itself (kind 0).

Every registry knows them; no face shows them, and no journal or change feed tells of them. What is kept: the results of
transactions that were given a key. Knows no backend; folds are pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.codec import Value
from holdfast.entry_types import CORE_KEEP, PRIMITIVE_IDS
from holdfast.primitive import EntryType, Primitive, Put, fold_put, own_key

CORE = PRIMITIVE_IDS["core"]


class KeptResult(msgspec.Struct):
    """The body of a core record: what a transaction returned that was given a key."""

    value: Value


class Keep(Put, frozen=True, gc=False):
    """Entry 0x04: keep the result of a transaction under its key, until it expires."""


def _no_face(scope: Any) -> None:
    """Core records stand on no face."""


class CorePrimitive(Primitive):
    """What the registry keeps of ``core``."""

    name = "core"
    id = CORE
    attribute = "core"
    body = KeptResult
    entry_types = (EntryType(CORE_KEEP, Keep, fold_put, own_key, journaled=False),)
    face = _no_face
