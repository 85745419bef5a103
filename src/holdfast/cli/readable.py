"""Values as lines that a person reads: what a record holds, and how two of them differ.

Empty fields are left out, long texts and lists are cut; ``--json`` tells everything. Knows no kind: a record is a dict
of JSON values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.cli.output import one_line, to_json

TEXT_MAX = 200
CHANGES_MAX = 12
_NUMBERS_MAX = 8
_ABSENT = object()


def summary(values: dict[str, Any]) -> list[str]:
    """Return what a record holds, one line a field; a record that is one value is that value."""
    lines = []
    for name, value in values.items():
        if name == "value" or (value is not False and value not in (None, "", [], {})):
            lines.append(brief(value) if name == "value" else f"{name}: {brief(value, quoted=False)}")
    return lines


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return how two records differ, one line a place: ``/path: old -> new``, ``/path: + new``, ``/path: - old``."""
    lines = []
    for path, old, new in _differences(before, after, ""):
        place = path[len("/value") :] if path == "/value" or path.startswith("/value/") else path
        if old is _ABSENT:
            change = f"+ {brief(new)}"
        elif new is _ABSENT:
            change = f"- {brief(old)}"
        else:
            change = f"{brief(old)} -> {brief(new)}"
        lines.append(f"{one_line(place)}: {change}" if place else change)
    if len(lines) > CHANGES_MAX:
        lines[CHANGES_MAX:] = [f"... and {len(lines) - CHANGES_MAX} more"]
    return lines


def brief(value: Any, *, quoted: bool = True) -> str:
    """Return a value on one line, as JSON (a text as it is if not ``quoted``); what is long is cut and says so."""
    if isinstance(value, dict) and value.keys() == {"$bytes"}:
        return f"bytes {_cut(str(value['$bytes']), _NUMBERS_MAX)}"
    if isinstance(value, str) and not quoted:
        return _cut(one_line(value))
    if isinstance(value, list) and len(value) > _NUMBERS_MAX and all(isinstance(one, int | float) for one in value):
        first = ", ".join(to_json(one) for one in value[:_NUMBERS_MAX])
        return f"[{first}, ... {len(value)} numbers]"
    return _cut(one_line(to_json(value)))


def _cut(text: str, most: int = TEXT_MAX) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def _differences(before: Any, after: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict) and "$bytes" not in before | after:
        for name in dict.fromkeys([*before, *after]):
            step = f"{path}/{name.replace('~', '~0').replace('/', '~1')}"
            yield from _differences(before.get(name, _ABSENT), after.get(name, _ABSENT), step)
    elif isinstance(before, list) and isinstance(after, list):
        for place in range(max(len(before), len(after))):
            old, new = (one[place] if place < len(one) else _ABSENT for one in (before, after))
            yield from _differences(old, new, f"{path}/{place}")
    elif type(before) is not type(after) or before != after:
        yield path, before, after
