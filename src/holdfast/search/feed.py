"""What was committed since a derived index last looked: the change feed in steps that end between commits.

Taking every step up to a goal makes an index complete up to it. A step may hold changes of commits that are newer
still, so taking one in twice must do no harm. Knows no index.
"""

from __future__ import annotations

from holdfast.backend import View
from holdfast.model import Change

_CHANGES_PER_STEP = 1000


def next_step(view: View, after: int, goal: int) -> tuple[list[Change], int]:
    """Return changes of all kinds behind ``after``, oldest first, and the revision up to which they are complete."""
    at_once = _CHANGES_PER_STEP
    while True:
        changes = view.changes(after, at_once)
        if len(changes) < at_once:
            return changes, max(goal, changes[-1].revision if changes else 0)
        last = changes[-1].revision
        if changes[0].revision != last:  # the last commit may continue behind these, so it waits
            found = [change for change in changes if change.revision < last]
            return found, found[-1].revision
        at_once *= 10
