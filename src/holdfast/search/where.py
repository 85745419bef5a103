"""Filters on metadata: what records must say of themselves to be found.

    {"lang": "en"}                      the value is "en"; several fields: all of them
    {"lang": {"$in": ["en", "de"]}}     the value is one of these
    {"year": {"$gte": 2020, "$lt": 2025}}   between; with $gt, $gte, $lt, $lte, also alone

Only the fields at the top are looked at. Equality is of type and value: 1, 1.0 and True are three values. Ranges
compare numbers with numbers (int or float), texts with texts (by code point) and times with times; what is of another
type is not in the range. A dict whose keys begin with "$" is taken for operators. Pure.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from holdfast.codec import INT_MAX, INT_MIN
from holdfast.errors import InvalidInputError
from holdfast.inputs import check_metadata

RANGES: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}
_ORDERED = (int | float, str, datetime)
_TIME_FIRST = datetime.min.replace(tzinfo=UTC)
_FLOAT_MAX = sys.float_info.max


class Condition(msgspec.Struct, frozen=True):
    """What one field must be: one of ``values``, or (None) within all ``bounds`` (operator, value)."""

    field: str
    values: tuple[Any, ...] | None
    bounds: tuple[tuple[str, Any], ...] = ()

    def holds(self, metadata: dict[str, Any]) -> bool:
        """Return True if the metadata fulfils the condition."""
        if self.field not in metadata:
            return False
        found = metadata[self.field]
        if self.values is not None:
            return any(type(found) is type(value) and found == value for value in self.values)
        return _order_of(found) == _order_of(self.bounds[0][1]) and all(
            RANGES[name](found, value) for name, value in self.bounds
        )

    def spans(self) -> list[tuple[Any, Any]]:
        """Return (least, greatest) of one type each, between which everything lies that is within the bounds.

        A greatest of None stands for "to the end of this type". A span may hold more than the bounds allow.
        """
        least = max((value for name, value in self.bounds if name in ("$gt", "$gte")), default=None)
        greatest = min((value for name, value in self.bounds if name in ("$lt", "$lte")), default=None)
        sample = self.bounds[0][1]
        if isinstance(sample, str):
            return [("" if least is None else least, greatest)]
        if isinstance(sample, datetime):
            return [(_TIME_FIRST if least is None else least, greatest)]
        floor = INT_MIN if least is None else min(max(math.floor(least), INT_MIN), INT_MAX)
        ceiling = INT_MAX if greatest is None else min(max(math.ceil(greatest), INT_MIN), INT_MAX)
        below = -_FLOAT_MAX if least is None else max(math.nextafter(least, -math.inf), -_FLOAT_MAX)
        above = None if greatest is None else min(math.nextafter(greatest, math.inf), _FLOAT_MAX)
        return [(floor, ceiling), (below, above)]


class Where:
    """A filter; all of its conditions must hold."""

    def __init__(self, where: object, field: str = "where") -> None:
        """Read a filter; InvalidInputError names the place that is not one."""
        wanted = check_metadata(where, field)
        self.conditions = tuple(_condition(name, value, f"{field}[{name!r}]") for name, value in wanted.items())

    def matches(self, metadata: dict[str, Any]) -> bool:
        """Return True if every condition holds."""
        return all(condition.holds(metadata) for condition in self.conditions)


def _condition(name: str, value: Any, field: str) -> Condition:
    if type(value) is not dict or not any(key.startswith("$") for key in value):
        return Condition(name, (value,))
    if value.keys() == {"$in"}:
        if type(value["$in"]) is not list:
            raise InvalidInputError(f"{field}['$in']", f"must be a list, not {type(value['$in']).__name__}")
        return Condition(name, tuple(value["$in"]))
    unknown = value.keys() - RANGES.keys()
    if unknown:
        raise InvalidInputError(field, f"{sorted(unknown)[0]!r} is no operator here; $in alone, or {', '.join(RANGES)}")
    orders = {_order_of(bound) for bound in value.values()}
    if len(orders) != 1 or None in orders:
        raise InvalidInputError(field, "must be compared with numbers, with texts or with times, not with a mixture")
    return Condition(name, None, tuple(value.items()))


def _order_of(value: Any) -> int | None:
    """Return a number that those values share which can be compared; None for what has no order."""
    if type(value) is bool:
        return None
    return next((place for place, kind in enumerate(_ORDERED) if isinstance(value, kind)), None)
