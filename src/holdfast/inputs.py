"""Checks of what users hand in, shared by the faces of the primitives: each error names its field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from holdfast import clock
from holdfast.codec import Value, check_text, check_value, to_microseconds
from holdfast.errors import InvalidInputError
from holdfast.keys import KEY_BYTES_MAX, TERMS_MAX, encode_key


def check_key(value: object, field: str) -> bytes:
    """Return the encoded key of a non-empty str without lone surrogates."""
    encoded = encode_key(check_text(value, field))
    if len(encoded) > KEY_BYTES_MAX:
        raise InvalidInputError(field, f"{len(encoded)} bytes when encoded; at most {KEY_BYTES_MAX} are allowed")
    return encoded


def check_id(value: object, field: str = "id") -> UUID:
    """Return a UUID, given as one or in its text form."""
    if type(value) is UUID:
        return value
    if isinstance(value, str):
        try:
            return UUID(value)
        except ValueError:
            pass  # said below, in our words
    raise InvalidInputError(field, f"must be a UUID or its text form, not {value!r:.100}")


def check_many(value: Any, field: str) -> Iterable[Any]:
    """Return an iterable of things, which a single text is not."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InvalidInputError(field, f"must be a list, not {type(value).__name__}")
    return value


def check_version(value: object, field: str = "expected_version") -> int | None:
    """Return an expected version: None, or an int of 0 (must not exist) or more."""
    if value is None or (type(value) is int and value >= 0):
        return value
    raise InvalidInputError(field, f"must be an int of 0 or more, not {value!r}")


def check_metadata(value: object, field: str = "metadata") -> dict[str, Value]:
    """Return a JSON object of values; None is the empty one."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise InvalidInputError(field, f"must be a dict with str keys, not {type(value).__name__}")
    check_value(value, field)
    return value


def check_words(value: object, field: str, *, most: int = TERMS_MAX) -> tuple[str, ...]:
    """Return distinct non-empty texts in their order (tags)."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise InvalidInputError(field, f"must be a list of str, not {type(value).__name__}")
    words = tuple(dict.fromkeys(check_text(word, f"{field}[{place}]") for place, word in enumerate(value)))
    if len(words) > most:
        raise InvalidInputError(field, f"{len(words)} given; at most {most} are allowed")
    return words


def check_optional_text(value: object, field: str) -> str | None:
    """Return None or a non-empty text."""
    return None if value is None else check_text(value, field)


def check_time(value: object, field: str) -> int | None:
    """Return None, or the microseconds of an aware datetime."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidInputError(field, f"must be an aware datetime, not {type(value).__name__}")
    return to_microseconds(value, field)


def check_expiry(expires_at: object, ttl: object, field: str = "ttl") -> int | None:
    """Return the moment of expiry from ``expires_at`` (aware datetime) or ``ttl`` (timedelta or seconds), or None."""
    if ttl is None:
        return check_time(expires_at, "expires_at")
    if expires_at is not None:
        raise InvalidInputError(field, "cannot be given together with expires_at")
    seconds = ttl.total_seconds() if isinstance(ttl, timedelta) else ttl
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e10:
        raise InvalidInputError(field, f"must be a timedelta or a number of seconds above 0, not {ttl!r}")
    return clock.now() + int(seconds * 1_000_000)


def check_callable(value: object, field: str) -> None:
    """Raise InvalidInputError if a value cannot be called."""
    if not callable(value):
        raise InvalidInputError(field, f"must be a function, not {type(value).__name__}")


def check_flag(value: object, field: str) -> bool:
    """Return True or False: nothing else, so that no text is taken for a yes."""
    if type(value) is not bool:
        raise InvalidInputError(field, f"must be True or False, not {value!r:.100}")
    return value


def check_choice(value: Any, field: str, choices: Iterable[str]) -> str:
    """Return one of the choices."""
    if value not in choices:
        raise InvalidInputError(field, f"must be one of {', '.join(choices)}, not {value!r}")
    return str(value)
