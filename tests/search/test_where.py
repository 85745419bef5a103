"""Filters on metadata."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast import InvalidInputError
from holdfast.search.where import Where

THEN, LATER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("where", "metadata", "expected"),
    [
        ({}, {}, True),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": None}, {}, False),
        ({"a": None}, {"a": None}, True),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, False),
        ({"a": [1]}, {"a": [1]}, True),
        ({"a": {}}, {"a": {}}, True),
        ({"a": {"k": {"$gt": 1}}}, {"a": {"k": {"$gt": 1}}}, True),
        ({"a": {"$in": [1, "x"]}}, {"a": "x"}, True),
        ({"a": {"$in": [1, "x"]}}, {"a": True}, False),
        ({"a": {"$in": []}}, {"a": 1}, False),
        ({"a": {"$gt": 1}}, {"a": 1}, False),
        ({"a": {"$gte": 1}}, {"a": 1.0}, True),
        ({"a": {"$gte": 0.5, "$lt": 2}}, {"a": 2}, False),
        ({"a": {"$gte": 0.5, "$lt": 2}}, {"a": 1}, True),
        ({"a": {"$lte": 2}}, {"a": True}, False),
        ({"a": {"$lte": 2}}, {"a": "1"}, False),
        ({"a": {"$lte": 2}}, {"a": None}, False),
        ({"a": {"$gt": "b"}}, {"a": "c"}, True),
        ({"a": {"$lt": LATER}}, {"a": THEN}, True),
        ({"a": {"$lt": THEN}}, {"a": THEN}, False),
    ],
)
def test_a_filter_holds_or_not(where, metadata, expected):
    assert Where(where).matches(metadata) is expected


@pytest.mark.parametrize(
    ("where", "field"),
    [
        ([1], "where"),
        ({1: 1}, "where"),
        ({"a": {1, 2}}, "where.a"),
        ({"a": {"$in": "xy"}}, "where['a']['$in']"),
        ({"a": {"$in": [1], "$gt": 0}}, "where['a']"),
        ({"a": {"$ne": 1}}, "where['a']"),
        ({"a": {"$gt": 1, "b": 2}}, "where['a']"),
        ({"a": {"$gt": 1, "$lt": "z"}}, "where['a']"),
        ({"a": {"$gt": None}}, "where['a']"),
        ({"a": {"$gt": True}}, "where['a']"),
    ],
)
def test_what_is_no_filter_is_refused(where, field):
    with pytest.raises(InvalidInputError) as caught:
        Where(where)
    assert caught.value.field == field
