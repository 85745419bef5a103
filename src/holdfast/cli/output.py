"""What commands write: JSON, or text for people on a terminal and for pipes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click


class Output:
    """Writes to standard output; ``as_json`` decides how."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    @property
    def for_people(self) -> bool:
        """True where a person looks at a terminal."""
        return not self.as_json and sys.stdout.isatty()

    def value(self, value: Any, text: str) -> None:
        """Write one value: as JSON, or as text."""
        click.echo(to_json(value) if self.as_json else printable(text))

    def note(self, text: str) -> None:
        """Tell a person something; on standard error, so that it is in no pipe."""
        if not self.as_json:
            click.echo(text, err=True)

    def rows(self, headings: Sequence[str], rows: Iterable[Sequence[Any]], values: Any) -> None:
        """Write rows: as JSON values, as a table on a terminal, or as lines with tabs."""
        if self.as_json:
            click.echo(to_json(values))
        elif self.for_people:
            self._table(headings, rows)
        else:
            for row in rows:
                click.echo("\t".join(one_line(cell) for cell in row))

    @staticmethod
    def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in headings:
            table.add_column(heading, overflow="fold" if heading == "id" else "ellipsis", no_wrap=heading != "content")
        for row in rows:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        Console().print(table)


def to_json(value: Any) -> str:
    """Return JSON text; records have been made plain before."""
    return json.dumps(value, ensure_ascii=False, default=str)


def one_line(cell: Any) -> str:
    """Return a cell as one line without control characters."""
    if cell is None:
        return ""
    return printable(" ".join(str(cell).split()))


def printable(text: str) -> str:
    """Return a text in which control characters cannot steer a terminal."""
    return "".join(one if one.isprintable() or one in "\n\t" else f"\\x{ord(one):02x}" for one in text)
