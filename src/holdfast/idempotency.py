"""Transactions that take place once: what they returned is kept under a key, in the commit that made it.

Promises: of all that come with one key, in any thread or process, exactly one commits; the others get its result. The
key is read inside the transaction, so that one that was overtaken by another with the same key finds its result when
it tries again, and the record of the result is create-only. Knows no backend: it is a record like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from hashlib import blake2b
from typing import Any, TypeVar, cast

from holdfast.codec import BODY_BYTES_MAX, check_text, check_value, decode
from holdfast.core import CORE, Keep, KeptResult
from holdfast.errors import InvalidInputError
from holdfast.inputs import check_expiry
from holdfast.keys import encode_key
from holdfast.primitive import expecting
from holdfast.transaction import TransactionScope

T = TypeVar("T")

KEY_TTL = timedelta(days=7)
"""How long the result of a transaction with a key is kept unless another time is given."""
KEY_TEXT_BYTES_MAX = 240
MARK_BYTES = 8


def result_key(key: object) -> bytes:
    """Return where the result for a key is kept."""
    return encode_key("result", check_text(key, "key", most_bytes=KEY_TEXT_BYTES_MAX))


def key_mark(kind: int, key: bytes) -> bytes:
    """Return what a kept result holds of a key that its transaction has read or written."""
    return blake2b(bytes([kind]) + key, digest_size=MARK_BYTES).digest()


def marks(result: KeptResult) -> set[bytes]:
    """Return the marks of a kept result."""
    found = result.marks
    return {found[start : start + MARK_BYTES] for start in range(0, len(found), MARK_BYTES)}


class Once:
    """One key, for as many attempts as its transaction needs."""

    def __init__(self, key: str, ttl: timedelta | float) -> None:
        self._name = f"the key {key!r}"
        self._key = result_key(key)
        self._expires_at = check_expiry(None, ttl, "key_ttl")

    def result(self, scope: TransactionScope, make: Callable[[], T]) -> T:
        """Return what is kept under the key; if nothing is, what ``make`` returns, which is kept with the commit."""
        kept = scope.read_one(CORE, self._key)
        if kept is not None:
            return cast(T, decode(kept.body, KeptResult).value)
        result = make()
        value: Any = result
        check_value(value, "result")
        body = scope.codec.encode(KeptResult(value, b"".join(sorted(key_mark(*place) for place in scope.touched()))))
        if len(body) > BODY_BYTES_MAX:
            raise InvalidInputError("result", f"{len(body)} bytes when encoded; at most {BODY_BYTES_MAX} are allowed")
        guards = expecting(CORE, self._key, self._name, 0, None)
        scope.write([*guards, Keep(self._key, body, expires_at=self._expires_at)], lambda outcomes: None)
        return result
