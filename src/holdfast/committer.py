"""The commit queue: leader, order, tickets. Used by every backend.

Threads put batches in one queue. The first becomes the leader, takes all that wait, folds them in order on a staging
overlay - each sees those before it, and a conflict fails only its own - and asks the backend for **one durable step**.
Then the outcomes are handed out, and the lead passes to the first that waits. A lone commit does not wait for company.

Promises: visible means durable; a batch is applied whole or not at all; a batch that reads nothing never conflicts; no
user code runs under the lock (guards and folds are ours, short and pure). Knows no primitive and no medium.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from holdfast.backend import Step
from holdfast.errors import HoldfastError, StorageError
from holdfast.model import DURABILITIES, Batch, Durability, Receipt, Written
from holdfast.primitive import Payload
from holdfast.registry import PrimitiveRegistry
from holdfast.staging import Stage

_logger = logging.getLogger("holdfast")


class CommitTicket:
    """The handle of one batch: its outcomes (one per entry) and receipt, or the error that stopped it."""

    __slots__ = ("batch", "done", "error", "on_done", "outcomes", "receipt", "wake")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.outcomes: list[Written] = []
        self.receipt: Receipt | None = None
        self.error: BaseException | None = None
        self.done = False
        self.wake: threading.Lock | None = None
        self.on_done: Callable[[CommitTicket], None] | None = None

    def finish(self, error: BaseException | None = None) -> None:
        """Mark the batch as done and tell who waits for it."""
        if error is not None:
            self.error = error
        self.done = True
        if self.wake is not None:
            self.wake.release()
        if self.on_done is not None:
            self.on_done(self)


class Published:
    """Who is to be told that something was committed here, or that the store was closed. Thread-safe.

    What is called says no more than "look again": it is short, raises nothing, and may be called for nothing.
    """

    def __init__(self) -> None:
        self.ended = False
        self._waiting: tuple[tuple[Callable[[], object], Any], ...] = ()
        self._mutex = threading.Lock()

    def add(self, wake: Callable[[], object], watcher: Any) -> None:
        """Call ``wake`` from now on; the watcher has a ``space`` and a ``position`` in its feed."""
        with self._mutex:
            self._waiting += ((wake, watcher),)

    def remove(self, wake: Callable[[], object]) -> None:
        """Call it no more."""
        with self._mutex:
            self._waiting = tuple(one for one in self._waiting if one[0] != wake)

    def tell(self) -> None:
        """Wake everybody."""
        for wake, _ in self._waiting:
            wake()

    def positions(self, space: str) -> list[int]:
        """Return where those stand who follow the feed of a space."""
        return [watcher.position for _, watcher in self._waiting if watcher.space == space]

    def end(self) -> None:
        """Wake everybody for the last time: the store is closed."""
        self.ended = True
        self.tell()


class Committer:
    """The queue of one store. Thread-safe.

    ``begin_step`` takes the backend's write lock for a durability; ``codec`` is handed to the folds; ``refused`` are
    kinds that take no writes, with the reason. ``direct``, where a backend has it, commits one payload, alone, while
    no step is begun. ``published`` tells who waits for commits.
    """

    def __init__(
        self,
        registry: PrimitiveRegistry,
        codec: Any,
        begin_step: Callable[[Durability], Step],
        refused: Mapping[int, str] = MappingProxyType({}),
        direct: Callable[[str, Payload, Durability], Written] | None = None,
    ) -> None:
        self.registry = registry
        self.codec = codec
        self._refused = refused
        self._direct = direct
        self.published = Published()
        self._begin_step = begin_step
        self._mutex = threading.Lock()
        self._waiting: deque[CommitTicket] = deque()
        self._leader: object = None  # a ticket, or the payload of a direct commit

    def commit(self, batch: Batch) -> CommitTicket:
        """Commit a batch and return its ticket; raises what stopped it.

        A KeyboardInterrupt leaves the batch undone, or done whole, and the queue in order.
        """
        ticket = CommitTicket(batch)
        try:
            with self._mutex:
                if self._leader is None:
                    self._leader = ticket
                else:
                    ticket.wake = threading.Lock()
                    ticket.wake.acquire()
                self._waiting.append(ticket)
            if ticket.wake is not None:
                ticket.wake.acquire()  # until it is done, or told to lead
            if not ticket.done:
                self._lead(ticket)
        except BaseException:
            self._withdraw(ticket)
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket

    def commit_one(self, space: str, payload: Payload, durability: Durability) -> Written:
        """Commit one payload, of no run; return its outcome, or raise what stopped it.

        If nobody leads and the backend can, it is folded and published without a batch, ticket and staging.
        """
        direct = self._direct
        if direct is None or type(payload) in self.registry.erasing:
            return self.commit(Batch(space, [payload], durability)).outcomes[0]
        is_free = False
        try:
            with self._mutex:
                is_free = self._leader is None
                if is_free:
                    self._leader = payload
            if is_free:
                written = direct(space, payload, durability)
                self.published.tell()
                return written
        except HoldfastError:
            raise
        except Exception as error:
            raise _unfolded(error) from error
        finally:
            if self._leader is payload:
                self._lead_on(_DONE)
        return self.commit(Batch(space, [payload], durability)).outcomes[0]

    def submit(self, batch: Batch, on_done: Callable[[CommitTicket], None]) -> bool:
        """Queue a batch without waiting; ``on_done`` is called by whoever leads.

        Returns True if nobody leads: the caller then sees to it that some thread calls ``lead``.
        """
        ticket = CommitTicket(batch)
        ticket.on_done = on_done
        with self._mutex:
            must_lead = self._leader is None
            if must_lead:
                self._leader = ticket
            self._waiting.append(ticket)
        return must_lead

    def lead(self) -> None:
        """Lead until nothing waits; for those told to by ``submit``."""
        self._lead_on(None)

    def _lead_on(self, own: CommitTicket | None) -> None:
        """Lead without a ticket that waits; an interrupt gives the lead away."""
        try:
            self._lead(own)
        except BaseException:
            with self._mutex:
                if not self._pass_on():
                    self._leader = None
            raise

    def _lead(self, own: CommitTicket | None) -> None:
        """Commit group after group until nothing waits, or until ``own`` is done and another thread takes over."""
        while True:
            group: list[CommitTicket] = []
            try:
                with self._mutex:
                    if not self._waiting or (own is not None and own.done and self._pass_on()):
                        if not self._waiting:
                            self._leader = None
                        return
                    group.extend(self._waiting)
                    self._waiting.clear()
                self._commit_group(group)
            except Exception as error:
                for ticket in group:
                    if not ticket.done:  # pragma: no branch - a group is told at once; but never tell anybody twice
                        ticket.finish(error)
            except BaseException:
                self._put_back([ticket for ticket in group if not ticket.done and ticket is not own])
                raise

    def _pass_on(self) -> bool:
        """Hand the lead to the first thread that waits; False if none does. Called under the mutex."""
        heir = next((ticket for ticket in self._waiting if ticket.wake is not None), None)
        if heir is None or heir.wake is None:
            return False
        self._leader = heir
        heir.wake.release()
        return True

    def _withdraw(self, ticket: CommitTicket) -> None:
        """Take an interrupted caller out of the queue, and give away its lead if it has it."""
        with self._mutex:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
            ticket.wake = None  # nobody waits for it any more, so it is never told to lead
            if self._leader is ticket and not self._pass_on():
                self._leader = None

    def _put_back(self, tickets: list[CommitTicket]) -> None:
        with self._mutex:
            self._waiting.extendleft(reversed(tickets))

    def _commit_group(self, group: list[CommitTicket]) -> None:
        """One durable step for a group. Tickets that fail on their own are finished with their error."""
        durability = group[0].batch.durability
        for ticket in group:
            durability = max(durability, ticket.batch.durability, key=DURABILITIES.index)
        step = self._begin_step(durability)
        accepted: list[CommitTicket] = []
        refused: list[tuple[CommitTicket, Exception]] = []
        try:
            stages: dict[str, Stage] = {}
            for position, ticket in enumerate(group):
                stage = stages.get(ticket.batch.space)
                if stage is None:
                    stage = stages[ticket.batch.space] = Stage(
                        ticket.batch.space, step.view(ticket.batch.space), self.registry, self.codec, self._refused
                    )
                    stage.fetch([one.batch for one in group[position:] if one.batch.space == ticket.batch.space])
                elif stage.must_wait(ticket.batch):
                    self._put_back(group[position:])
                    del group[position:]
                    break
                try:
                    ticket.outcomes, ticket.receipt = stage.apply(ticket.batch, durability)
                except Exception as error:
                    refused.append((ticket, error))
                else:
                    accepted.append(ticket)
            staged = [stage.staged for stage in stages.values() if stage.changed]
            if staged:
                step.publish(staged)
            else:
                step.abandon()
        except BaseException as error:
            if not step.abandon():
                raise
            if not isinstance(error, Exception):
                self._finish(accepted, refused)
                raise
        self._finish(accepted, refused)

    def _finish(self, accepted: list[CommitTicket], refused: list[tuple[CommitTicket, Exception]]) -> None:
        told: list[tuple[CommitTicket, Exception | None]] = [(ticket, None) for ticket in accepted]
        for ticket, error in [*told, *refused]:
            if error is not None and not isinstance(error, HoldfastError):
                cause, error = error, _unfolded(error)
                error.__cause__ = cause
            try:
                ticket.finish(error)
            except Exception:  # of who was to be told; it has committed all the same, and so have the others
                _logger.exception("who waits for a commit could not be told of it")
        self.published.tell()


def _unfolded(error: Exception) -> StorageError:
    return StorageError(f"an entry could not be folded: {error!r}; please report it")


_DONE: Final = CommitTicket(Batch("", [], "ephemeral"))
"""Leads for a commit that needed no ticket: until somebody else does, or nothing waits."""
_DONE.done = True
