"""What the tests of the log do again and again."""

from __future__ import annotations

import random

import pytest

from holdfast.log.files import Disk
from holdfast.log.recovery import LogRecovery
from holdfast.model import Entry


class Logs:
    """Opens, fills and reads logs; a transaction is (time, entries)."""

    def open(self, directory, disk=None, after=0, **sizes):
        return LogRecovery(directory, disk or Disk(), after).finish(**sizes)

    def read(self, directory, after=0):
        """{sequence: (time, entries)} and the report; nothing is changed."""
        recovery = LogRecovery(directory, Disk(), after)
        found = {frame.sequence: (frame.time, frame.entries) for frame in recovery.frames()}
        assert list(found) == list(range(after + 1, after + 1 + len(found)))
        return found, recovery.report

    def transaction(self, chance, most=300):
        count = chance.choice((1, 1, 1, 2, 3))
        return chance.randrange(-(2**40), 2**50), tuple(
            Entry(chance.randrange(256), chance.randrange(256), chance.randbytes(chance.randint(0, most)))
            for _ in range(count)
        )

    def fill(self, wal, count, seed=0, *, sync=True, most=300):
        """Append so many transactions, one a call; {sequence: transaction}."""
        chance = random.Random(seed)
        done = {}
        for _ in range(count):
            transaction = self.transaction(chance, most)
            done[wal.append([transaction], sync=sync)] = transaction
        return done


@pytest.fixture
def logs():
    return Logs()
