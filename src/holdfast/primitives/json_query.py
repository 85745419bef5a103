"""JSONPath (RFC 9535) into values: the one door to jsonpath-rfc9535, which the extra ``json`` brings.

Promises: what cannot be parsed is InvalidInputError; bytes, UUID and datetime are leaves, equal to themselves and
ordered with nothing. It is never used by a fold, since what a query finds may change with the library.
"""

from __future__ import annotations

from typing import Any

from holdfast.codec import Value, check_text
from holdfast.errors import InvalidInputError, UnsupportedError


def check_query(path: object, field: str = "path") -> Any:
    """Return a query that is ready to be used.

    Raises InvalidInputError; UnsupportedError without jsonpath-rfc9535.
    """
    text = check_text(path, field)
    try:
        from jsonpath_rfc9535 import JSONPathError, compile
    except ImportError as error:
        message = "JSONPath needs jsonpath-rfc9535: pip install 'holdfast[json]'; get() with a JSON Pointer does not"
        raise UnsupportedError(message, capability="jsonpath") from error
    try:
        return compile(text)
    except JSONPathError as error:
        raise InvalidInputError(field, f"is no JSONPath: {error}") from error


def select(value: Value, query: Any) -> list[Value]:
    """Return the values that a query finds, in the order of RFC 9535."""
    return [node.value for node in query.find(value)]
