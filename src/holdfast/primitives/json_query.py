"""JSONPath (RFC 9535) into values: the one door to jsonpath-rfc9535, which the extra ``json`` brings.

Promises: what cannot be parsed is InvalidInputError; bytes, UUID and datetime are leaves, equal to themselves and
ordered with nothing (and ``length`` of bytes is their number). It is never used by a fold, since what a query finds may
change with the library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdfast.codec import Value, check_text
from holdfast.errors import InvalidInputError, UnsupportedError


def compile_query(path: object, field: str = "path") -> Callable[[Value], list[Value]]:
    """Return what finds the values of a query in a value, in the order of RFC 9535.

    Raises InvalidInputError, and so does what is returned, for a query that is nested too deeply to be followed;
    UnsupportedError without jsonpath-rfc9535.
    """
    text = check_text(path, field)
    try:
        from jsonpath_rfc9535 import JSONPathError, compile
    except ImportError as error:
        message = "JSONPath needs jsonpath-rfc9535: pip install 'holdfast[json]'; get() with a JSON Pointer does not"
        raise UnsupportedError(message, capability="jsonpath") from error

    def refused(error: Exception) -> InvalidInputError:
        return InvalidInputError(field, f"{text!r:.100} is no JSONPath that can be followed: {error}")

    try:
        query = compile(text)
    except (JSONPathError, RecursionError) as error:
        raise refused(error) from error

    def select(value: Any) -> list[Any]:
        try:
            return [node.value for node in query.find(value)]
        except (JSONPathError, RecursionError) as error:
            raise refused(error) from error

    return select
