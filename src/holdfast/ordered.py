"""A sorted set that pays for its order when it is read, not when it is written. Knows nothing of records."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bytes, tuple[bytes, bytes], tuple[int, int, bytes])

INSERTED_ONE_BY_ONE = 16
"""Up to this many waiting changes are inserted singly; more are merged by one sort (nearly linear: two runs)."""


class OrderedItems(Generic[T]):
    """A sorted set that takes changes at once and sorts them when it is next read."""

    __slots__ = ("_is_sorted", "_items", "_waiting")

    def __init__(self) -> None:
        self._items: list[T] = []
        self._is_sorted = True
        self._waiting: dict[T, bool] = {}

    def load(self, items: Iterable[T]) -> None:
        """Add items in any order, none of which is there, before anything else is done."""
        self._items.extend(items)
        self._is_sorted = False

    def add(self, item: T) -> None:
        """Add an item that is not there."""
        self._waiting[item] = True

    def remove(self, item: T) -> None:
        """Remove an item that is there."""
        self._waiting[item] = False

    def settled(self) -> list[T]:
        """Return the items in order; the list is the set's own and is not to be changed."""
        waiting, items = self._waiting, self._items
        if not self._is_sorted:
            items.sort()
            self._is_sorted = True
        if not waiting:
            return items
        if len(waiting) <= INSERTED_ONE_BY_ONE:
            for item, added in waiting.items():
                place = bisect_left(items, item)
                there = place < len(items) and items[place] == item
                if added and not there:
                    insort(items, item, lo=place)
                elif there and not added:
                    del items[place]
        else:
            items = [item for item in items if item not in waiting]
            items.extend(item for item, added in waiting.items() if added)
            items.sort()
            self._items = items
        self._waiting = {}
        return items
