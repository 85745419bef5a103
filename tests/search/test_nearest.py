"""Exact nearness: the same with numpy and without, ties by key, scores that fall with the distance."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.search import nearest
from holdfast.search.float32 import pack
from holdfast.search.nearest import METRICS, Nearest, score_of


def best(metric, query, vectors, limit, page=7):
    found = Nearest(metric, pack(query, "query"), limit)
    items = [(f"{n:04}".encode(), n) for n in range(len(vectors))]
    for start in range(0, len(vectors), page):
        found.offer([pack(one, "v") for one in vectors[start : start + page]], items[start : start + page])
    found.offer([], [])
    return found.best


numbers = st.one_of(st.integers(-2, 2), st.floats(-(2.0**100), 2.0**100, width=32))


@given(
    metric=st.sampled_from(METRICS),
    vectors=st.integers(1, 3).flatmap(
        lambda size: st.lists(st.lists(numbers, min_size=size, max_size=size), min_size=1)
    ),
    limit=st.integers(1, 5),
)
def test_numpy_changes_nothing(metric, vectors, limit):
    if metric == "cosine":
        vectors = [one for one in vectors if any(pack(one, "v").strip(b"\0\x80"))] or [[1.0]]
    query = vectors[0]
    vectors = [one for one in vectors if len(one) == len(query)]
    with pytest.MonkeyPatch.context() as patch:
        with_numpy = best(metric, query, vectors, limit)
        patch.setattr(nearest, "numpy", lambda: None)
        without = best(metric, query, vectors, limit)
        whole = best(metric, query, vectors, len(vectors))
    assert with_numpy == without == whole[:limit]
    assert [one[:2] for one in whole] == sorted(one[:2] for one in whole)
    scores = [score_of(metric, distance) for distance, _, _ in whole]
    assert scores == sorted(scores, reverse=True) and all(0 <= one <= 1 for one in scores)


@pytest.mark.parametrize("metric", METRICS)
def test_numpy_changes_nothing_in_high_dimensions(metric, monkeypatch):
    seed = 11
    rng = random.Random(seed)
    vectors = [[rng.gauss(0, 1) for _ in range(200)] for _ in range(300)]
    vectors += [[2 * number for number in one] for one in vectors[:50]] + vectors[:50]
    query = vectors[3]
    with_numpy = best(metric, query, vectors, 60, page=90)
    monkeypatch.setattr(nearest, "numpy", lambda: None)
    assert with_numpy == best(metric, query, vectors, 60, page=90)


def test_distances_and_scores_are_those_of_the_formulas():
    assert [one[0] for one in best("cosine", [1, 0], [[5, 0], [0, 3], [-2, 0]], 3)] == [0, 1, 2]
    assert [one[0] for one in best("dot", [1, 0], [[5, 0], [0, 3], [-2, 0]], 3)] == [-5, 0, 2]
    assert [one[0] for one in best("euclidean", [1, 0], [[5, 0], [1, 3], [1, 0]], 3)] == [0, 3, 4]
    assert [score_of("cosine", distance) for distance in (0, 1, 2)] == [1, 0.5, 0]
    assert [score_of("euclidean", distance) for distance in (0, 1, 3)] == [1, 0.5, 0.25]
    assert [score_of("dot", distance) for distance in (-1, 0, 1)] == [0.75, 0.5, 0.25]


def test_what_is_equally_near_goes_by_key():
    found = best("euclidean", [0, 0], [[0, 1], [1, 0], [0, -1], [0, 0], [-1, 0]], 3, page=2)
    assert [item for _, _, item in found] == [3, 0, 1]


def test_without_numpy_there_is_none(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numpy", None)
    nearest.numpy.cache_clear()
    try:
        assert nearest.numpy() is None
    finally:
        nearest.numpy.cache_clear()
