"""Whatever is typed is words: never the syntax of the engine, never another error than InvalidInputError."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import holdfast
from holdfast.search.query import to_expression

HOSTILE = st.text(alphabet="\"*+-^:(){}[]AND OR NOT NEAR\0'é\u0301あ_,.a", max_size=30)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("parser", {"a", "b"}), ("parser lexer", {"a", "b", "c"}), ("+parser lexer", {"a", "b"}), ("+parser +lexer", {"b"}),
        ("parser -lexer", {"a"}), ('"error recovery"', {"a"}), ('"recovery error"', set()), ("lex*", {"b", "c"}), ("le", set()),
        ("PARSER", {"a", "b"}), ("words:parser", set()), ("parser AND nothing", {"a", "b"}),
    ],
)  # fmt: skip
def test_the_syntax(space, query, found):
    for text in ("parser with error recovery", "parser and lexer", "a lexer"):
        space.memories.store(
            text, tags=[{"parser with": "a", "parser and": "b"}.get(text[:11].strip(), text[:10].strip())]
        )
    names = {"parser with error recovery": "a", "parser and lexer": "b", "a lexer": "c"}
    hits = {names[hit.record.content] for hit in space.memories.search(query)}
    assert hits == found or (query.startswith("parser AND") and hits >= found)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=HOSTILE | st.text(max_size=30))
def test_no_query_breaks_out(store, query):
    space = store.space("fuzz")
    if not space.memories.count():
        space.memories.store("a and or not near")
    with contextlib.suppress(holdfast.InvalidInputError):
        space.memories.search(query)


@pytest.mark.parametrize("query", ["", "-a", "+", "***", '""', "- -", "…"])
def test_a_query_needs_a_word(query):
    with pytest.raises(holdfast.InvalidInputError):
        to_expression(query)
