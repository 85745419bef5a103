"""The change feed of a space: all that changed behind a revision, and a watcher that waits for more.

A feed tells the newest change of each key, in the order of revisions. Promises: a change is never missed - a key that
is written while the feed is read is told with its newer revision, by the next pass; a position before the oldest
deletion that is still kept is refused rather than told with gaps. Knows no primitive but by name. A Watcher belongs to
one thread or task.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from holdfast.backend import View
from holdfast.core import CORE
from holdfast.errors import ClosedError, InvalidInputError, NotFoundError
from holdfast.inputs import check_many
from holdfast.model import Change
from holdfast.registry import PrimitiveRegistry
from holdfast.scope import DirectScope

CHANGES_PER_PAGE = 1000
SECONDS_MAX = 1e9
POLL_SECONDS = 0.05
"""How often a watcher looks for the commits of other processes; those of its own process wake it at once."""


class ChangeRecord(msgspec.Struct, frozen=True):
    """One line of a change feed."""

    revision: int
    kind: str
    key: str
    deleted: bool


def check_revision(value: object, field: str) -> int:
    """Return a revision: an int of 0 or more."""
    if type(value) is not int or value < 0:
        raise InvalidInputError(field, f"must be a revision, an int of 0 or more, not {value!r}")
    return value


def check_seconds(value: Any, field: str) -> float:
    """Return a number of seconds of 0 or more."""
    if type(value) not in (int, float) or not 0 <= value <= SECONDS_MAX:
        raise InvalidInputError(field, f"must be a number of seconds in 0..{SECONDS_MAX:.0f}, not {value!r}")
    return float(value)


def page_behind(view: View, after: int, goal: int) -> tuple[list[Change], int]:
    """Return the next whole commits behind ``after``, up to the commit ``goal``, and the position behind them.

    Raises NotFoundError if deletions behind ``after`` are not kept any more; a feed that starts at 0 needs none.
    """
    size = CHANGES_PER_PAGE
    while True:
        page = view.changes(after, size)
        if 0 < after < view.head().floor:
            raise NotFoundError(
                f"what was deleted behind revision {after} is not known any more (the space was dropped, or compacted "
                "since); read everything again, and go on from its head"
            )
        position = goal
        if len(page) == size:
            position = page[-1].revision - 1  # the last commit may continue on the next page
            if position < page[0].revision:
                size *= 4
                continue
        return [change for change in page if change.revision <= min(position, goal)], min(position, goal)


def shown(registry: PrimitiveRegistry, changes: Iterable[Change]) -> list[ChangeRecord]:
    """Return changes as people read them, without those of core."""
    found = []
    for change in changes:
        if change.kind != CORE:
            primitive = registry.find(change.kind)
            key = change.key.hex() if primitive is None else primitive.key_text(change.key)
            found.append(ChangeRecord(change.revision, registry.name_of(change.kind), key, change.deleted))
    return found


def changes(scope: DirectScope, after: int) -> Iterator[ChangeRecord]:
    """Iterate over the newest change of each key behind a revision, oldest first, up to now."""
    view = scope.backend.view(scope.space)
    goal = view.head().sequence
    while after < goal:
        page, after = page_behind(view, after, goal)
        yield from shown(scope.registry, page)


class Watcher:
    """A position in a feed that moves on: ``fetch`` for what has come, ``__iter__`` to wait for more."""

    def __init__(self, scope: DirectScope, after: object, timeout: object, kinds: object) -> None:
        self._scope = scope
        self.space = scope.space
        self._kinds = None if kinds is None else {_kind_name(scope.registry, one) for one in check_many(kinds, "kinds")}
        self._timeout = None if timeout is None else check_seconds(timeout, "timeout")
        self._give_up_at: float | None = None
        self.published = scope.backend.committer.published
        self.position = self._view.head().sequence if after is None else check_revision(after, "after")

    @property
    def _view(self) -> View:
        """What is newest now: a follower may have been given other tables since."""
        return self._scope.backend.view(self.space)

    def fetch(self) -> list[ChangeRecord]:
        """Return the next changes that were asked for, and move behind them; empty if there are none by now.

        Raises ClosedError once the store is closed.
        """
        if self.published.ended:
            raise ClosedError("this store is closed; open it again")
        view = self._view
        goal = view.head().sequence
        while self.position < goal:
            page, self.position = page_behind(view, self.position, goal)
            found = shown(self._scope.registry, page)
            if self._kinds is not None:
                found = [change for change in found if change.kind in self._kinds]
            if found:
                self._give_up_at = None
                return found
        return []

    def patience(self) -> float | None:
        """Return how many seconds to wait before ``fetch`` is called again; None: until woken; 0: give up."""
        poll = POLL_SECONDS if self._scope.backend.capabilities.multi_process else None
        if self._timeout is None:
            return poll
        if self._give_up_at is None:
            self._give_up_at = time.monotonic() + self._timeout
        left: float = max(0.0, self._give_up_at - time.monotonic())
        return left if poll is None else min(poll, left)

    def __iter__(self) -> Iterator[ChangeRecord]:
        """Yield changes as they come, until ``timeout`` seconds have passed without one, or the store is closed."""
        woken = threading.Event()
        self.published.add(woken.set, self)
        try:
            while True:
                woken.clear()
                found = self.fetch()
                yield from found
                if not found:
                    patience = self.patience()
                    if patience == 0:
                        return
                    woken.wait(patience)
        except ClosedError:
            return  # the feed has ended
        finally:
            self.published.remove(woken.set)


def _kind_name(registry: PrimitiveRegistry, name: Any) -> str:
    return registry.by_name(name).name
