"""The flat index: whatever it does not propose is farther than it says."""

from __future__ import annotations

from math import inf

from hypothesis import given
from hypothesis import strategies as st

from holdfast.search.flat import Flat
from holdfast.search.float32 import pack, unpack
from holdfast.search.nearest import METRICS, Nearest

numbers = st.one_of(
    st.integers(-2, 2),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.floats(-1, 1, width=32),
    st.sampled_from([1e-30, -1e-38, 1e-45, 3e38]),
)


@given(
    metric=st.sampled_from(METRICS),
    rows=st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=2, max_size=90),
    removed=st.sets(st.integers(0, 89)),
    count=st.integers(1, 10),
)
def test_all_that_is_nearer_is_proposed(metric, rows, removed, count):
    packed = [pack(row, "v") for row in rows]
    if metric == "cosine":
        packed = [one for one in packed if any(unpack(one))] or [pack([1, 0, 0], "v")]
    query, known = packed[0], dict(enumerate(packed))
    flat = Flat(3, metric)
    flat.add([], [])
    flat.add([0], packed[:1])
    flat.add(list(known)[1:], packed[1:])
    gone = [label for label in removed if label in known]
    flat.remove(gone)
    known = {label: one for label, one in known.items() if label not in removed}
    labels, reach = flat.nearest(query, count)
    assert len(set(labels)) == len(labels) >= min(count, len(known)) and set(labels) <= set(known)
    exact = Nearest(metric, query, 1)
    distances = {label: exact.distance(unpack(one)) for label, one in known.items()}
    assert all(distance > reach for label, distance in distances.items() if label not in labels)
    nearest = sorted(distances.values())[:count]
    assert not nearest or nearest[-1] <= reach or reach == inf
    assert sorted(distances[label] for label in labels)[: len(nearest)] == nearest
