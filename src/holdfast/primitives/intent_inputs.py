"""Checks of what users say of intents, and what tells the intents that a list is to have."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.codec import Value, check_text, decode
from holdfast.errors import InvalidInputError
from holdfast.inputs import check_choice, check_many, check_metadata, check_optional_text
from holdfast.model import Record
from holdfast.primitives.intent import EDGE_TYPES, PRIORITY_MAX, STATUSES, IntentBody
from holdfast.primitives.intent_graph import DIRECTIONS


def check_priority(value: object, field: str) -> int:
    """Return a priority."""
    if type(value) is not int or not 0 <= value <= PRIORITY_MAX:
        raise InvalidInputError(field, f"must be an int from 0 to {PRIORITY_MAX}, not {value!r:.100}")
    return value


def check_weight(value: object, field: str = "weight") -> float | None:
    """Return a weight: None, or a finite number of 0 or more."""
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value <= 1e300:  # type: ignore[operator]
        raise InvalidInputError(field, f"must be a number of 0 or more, not {value!r:.100}")
    return float(value)  # type: ignore[arg-type]


def check_who(by: object, why: object) -> tuple[str | None, str | None]:
    """Return who did it, and why."""
    return check_optional_text(by, "by"), check_optional_text(why, "why")


def check_followed(type: str | None, direction: str) -> tuple[str | None, str]:
    """Return a type of edge, or None for all, and a direction."""
    if type is not None:
        check_choice(type, "type", EDGE_TYPES)
    return type, check_choice(direction, "direction", DIRECTIONS)


def accepting(
    status: str | Iterable[str] | None,
    session_id: str | None,
    low: int,
    high: int,
    text: str | None,
    where: dict[str, Value] | None,
    created: tuple[int | None, int | None],
    updated: tuple[int | None, int | None],
) -> Callable[[Record], bool]:
    """Return what tells whether a record is asked for; the header is looked at before the body."""
    given = (status,) if isinstance(status, str) else () if status is None else check_many(status, "status")
    statuses = {check_choice(one, "status", STATUSES) for one in given} or set(STATUSES)
    session = check_optional_text(session_id, "session_id")
    check_priority(low, "priority_min")
    check_priority(high, "priority_max")
    words = "" if text is None else check_text(text, "text").casefold()
    wanted = check_metadata(where, "where")

    def within(time: int, bounds: tuple[int | None, int | None]) -> bool:
        return (bounds[0] is None or bounds[0] <= time) and (bounds[1] is None or time < bounds[1])

    def accept(record: Record) -> bool:
        if not within(record.created_at, created) or not within(record.updated_at, updated):
            return False
        body = decode(record.body, IntentBody)
        return (
            body.status in statuses
            and low <= body.priority <= high
            and session in (None, body.session_id)
            and any(words in (told or "").casefold() for told in (body.goal, body.name, body.original_request))
            and all(
                key in body.metadata and type(body.metadata[key]) is type(value) and body.metadata[key] == value
                for key, value in wanted.items()
            )
        )

    return accept
