"""What of the working segments to set aside or to delete, and why: a pure function of them and of a moment.

The score of a segment rises with the hours since it was used, with how expendable its type is, with the lack of
references, and once its generation is old. Promises: a pinned segment, and a decision of the last hour, are left; what
is referred to is stashed at most; nothing more is taken once the target is met. Knows no store.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

import msgspec

HOUR = 3_600_000_000
TYPE_WEIGHTS = {"log": 1.0, "note": 0.8, "code": 0.5, "message": 0.3, "summary": 0.2, "decision": 0.1}
DELETE_ABOVE, STASH_FROM = 0.7, 0.4


class Candidate(msgspec.Struct, frozen=True):
    """What the choice sees of a working segment; ``touched`` is in microseconds, ``tokens`` None if nobody counted."""

    id: UUID
    revision: int
    type: str
    tokens: int | None
    touched: int
    pinned: bool
    refcount: int
    generation: str


class PruneStep(msgspec.Struct, frozen=True):
    """One segment that a plan takes out of the working tier, as it was when the plan was made, and why."""

    id: UUID
    revision: int
    action: Literal["stash", "delete"]
    tokens: int
    score: float
    reason: str


class PrunePlan(msgspec.Struct, frozen=True):
    """What ``plan_prune`` proposes; nothing is done until it is applied.

    Tokens are those of the working tier. ``kept`` are the ids that stay in it; ``uncounted`` is how many segments have
    no token count, which are kept and count as 0.
    """

    target_tokens: int
    steps: tuple[PruneStep, ...]
    kept: tuple[UUID, ...]
    tokens_before: int
    tokens_after: int
    uncounted: int

    @property
    def tokens_freed(self) -> int:
        """How many tokens leave the working tier."""
        return self.tokens_before - self.tokens_after


def score_of(one: Candidate, now: int) -> float:
    """Return how much a segment can be done without: 0 and up."""
    age = 0.4 * max(0, now - one.touched) / HOUR / 24
    generation = 0.1 * (1.0 if one.generation == "old" else 0.3)
    return age + 0.3 * TYPE_WEIGHTS[one.type] + 0.2 / (one.refcount + 1) + generation


def plan(candidates: Sequence[Candidate], target_tokens: int, now: int) -> PrunePlan:
    """Return what takes the working tier down to ``target_tokens``, or as near as may be; the highest scores first."""
    before = left = sum(one.tokens or 0 for one in candidates)
    ranked = sorted(((score_of(one, now), one) for one in candidates), key=lambda pair: (-pair[0], pair[1].id))
    steps = []
    for score, one in ranked:
        if left <= target_tokens or score < STASH_FROM:
            break
        if one.pinned or not one.tokens or (one.type == "decision" and now - one.touched < HOUR):
            continue
        action: Literal["stash", "delete"] = "delete" if score > DELETE_ABOVE and not one.refcount else "stash"
        reason = (
            f"{one.type}, not used for {max(0, now - one.touched) / HOUR:.1f} h, {one.refcount} references, "
            f"{one.generation}: score {score:.2f}"
        )
        steps.append(PruneStep(one.id, one.revision, action, one.tokens, score, reason))
        left -= one.tokens
    taken = {step.id for step in steps}
    kept = tuple(one.id for one in candidates if one.id not in taken)
    uncounted = sum(one.tokens is None for one in candidates)
    return PrunePlan(target_tokens, tuple(steps), kept, before, left, uncounted)
