"""A snapshot of resident tables: the same pages whatever is written meanwhile, and at the same cost."""

from __future__ import annotations

import os
import random

import pytest

import holdfast
from holdfast import tables


@pytest.fixture
def store():
    with holdfast.open("memory:") as opened:
        yield opened


def pages(snapshot, *, limit, reverse):
    found, after = [], None
    while True:
        page = snapshot.kv.scan(limit=limit, after=after, reverse=reverse)
        found += [(one.key, one.value) for one in page]
        after = page.cursor
        if after is None:
            return found


def test_pages_of_a_snapshot_are_as_it_was_opened_while_others_write(store):
    seed = int(os.environ.get("HOLDFAST_SEED", "0")) or random.SystemRandom().randrange(1, 2**31)
    print(f"HOLDFAST_SEED={seed}")
    chance = random.Random(seed)

    def some():
        return f"k{chance.randrange(60):02}"

    for _ in range(20):
        store.kv.put_many({some(): 0 for _ in range(chance.randrange(40))})
        expected = [(one.key, one.value) for one in store.kv.scan(limit=100)]
        with store.snapshot() as snapshot:
            for _ in range(6):
                for _ in range(chance.randrange(15)):
                    chance.choice((store.kv.delete, lambda key: store.kv.put(key, chance.random())))(some())
                if chance.random() < 0.1:
                    store.drop_space("default")
                limit = chance.randint(1, 9)
                assert pages(snapshot, limit=limit, reverse=False) == expected
                assert pages(snapshot, limit=limit, reverse=True) == expected[::-1]


def test_a_scan_looks_at_what_was_replaced_once_and_not_once_a_page(store, monkeypatch):
    """Since it holds the lock of the space meanwhile, and writers wait."""
    keys = [f"k{n:04}" for n in range(1000)]
    store.kv.put_many(dict.fromkeys(keys, 0))
    looked, usual = [], tables.places_of

    def counting(record, index):
        looked.append(record)
        return usual(record, index)

    monkeypatch.setattr(tables, "places_of", counting)
    with store.snapshot() as snapshot:
        store.kv.put_many(dict.fromkeys(keys, 1))
        assert len(pages(snapshot, limit=10, reverse=False)) == 1000
        assert len(looked) == 1000
        store.kv.put("new", 1)
        assert len(pages(snapshot, limit=10, reverse=True)) == 1000
        assert len(looked) == 1001
