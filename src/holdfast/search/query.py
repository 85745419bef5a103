"""What users type, as an FTS5 expression.

    parser lexer       either word, ranked: who holds more and rarer ones comes first
    +parser lexer      "parser" must be there
    -draft             "draft" must not
    "error recovery"   the words in this order
    pars*              words that begin so

Every word is quoted for FTS5, so nothing that is typed is read as its syntax. Pure.
"""

from __future__ import annotations

import re

from holdfast.codec import check_text
from holdfast.errors import InvalidInputError

QUERY_BYTES_MAX = 4096
_PIECE = re.compile(r'([+-]?)(?:"([^"]*)"|(\S+))')
_WORD = re.compile(r"\w", re.UNICODE)


def to_expression(query: object) -> str:
    """Return the FTS5 expression of a query.

    Raises InvalidInputError if it holds no word, or only words that must not be there.
    """
    text = check_text(query, "query", most_bytes=QUERY_BYTES_MAX).replace("\0", " ")
    wanted: dict[str, list[str]] = {"": [], "+": [], "-": []}
    for sign, phrase, word in _PIECE.findall(text):
        found = _quoted(phrase, prefix=False) if phrase else _quoted(word.rstrip("*"), prefix=word.endswith("*"))
        if found:
            wanted[sign].append(found)
    if not wanted[""] and not wanted["+"]:
        raise InvalidInputError("query", "holds no word to search for")
    required = " AND ".join(wanted["+"])
    either = " OR ".join(wanted[""])
    if required and either:  # the others count for the rank, but need not be there
        expression = f"({required}) AND (({required}) OR {either})"
    else:
        expression = required or either
    return f"({expression}) NOT ({' OR '.join(wanted['-'])})" if wanted["-"] else expression


def _quoted(text: str, *, prefix: bool) -> str | None:
    text = text.replace('"', " ").strip()
    if not _WORD.search(text):
        return None
    return f'"{text}"*' if prefix else f'"{text}"'
