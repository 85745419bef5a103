"""What commands write: JSON, or text for people on a terminal and for pipes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

_WHOLE = frozenset({"id", "created", "start", "status"})
"""Columns that are of no use when they are cut."""

_PIPE_WIDTH = 10_000


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

    def blocks(self, rows: Iterable[tuple[Sequence[str], Sequence[str]]], values: Any) -> None:
        """Write (cells, lines): as JSON values, as a heading with its lines below, or as one line with tabs."""
        if self.as_json:
            click.echo(to_json(values))
        elif self.for_people:
            self._blocks(rows)
        else:
            for cells, lines in rows:
                click.echo("\t".join(one_line(cell) for cell in (*cells, "; ".join(lines))))

    @staticmethod
    def _blocks(rows: Iterable[tuple[Sequence[str], Sequence[str]]]) -> None:
        from rich.console import Console
        from rich.padding import Padding
        from rich.text import Text

        console = Console(highlight=False)
        for cells, lines in rows:
            console.print(Text(" ".join(one_line(cell) for cell in cells), style="bold"), soft_wrap=True)
            for line in lines:
                console.print(Padding(Text(one_line(line)), (0, 0, 0, 4)))

    def trees(self, trees: Iterable[Any], values: Any) -> None:
        """Write trees, each (text, [trees below]): as JSON values, or drawn."""
        if self.as_json:
            click.echo(to_json(values))
            return
        from rich.console import Console

        console = Console(highlight=False, width=None if self.for_people else _PIPE_WIDTH)
        for tree in trees:
            console.print(_drawn(tree))

    @staticmethod
    def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        cells = [[one_line(cell) for cell in row] for row in rows]
        for place, heading in enumerate(headings):
            whole = heading in _WHOLE
            width = max((len(row[place]) for row in cells), default=0) if whole else None
            table.add_column(heading, min_width=width, no_wrap=whole)
        for row in cells:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)


def _drawn(tree: Any) -> Any:
    from rich.text import Text
    from rich.tree import Tree

    top = Tree(Text(one_line(tree[0])))
    waiting = [(top, tree[1])]
    while waiting:
        above, below = waiting.pop()
        waiting += [(above.add(Text(one_line(text))), further) for text, further in below]
    return top


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
