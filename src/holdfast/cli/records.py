"""``get``, ``list``, ``search``, ``export``: read memories and the other kinds.

What they do with a kind is in the table of ``nouns.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from holdfast.cli.nouns import GROUPS, NOUNS, pages
from holdfast.cli.output import to_json
from holdfast.cli.readable import brief
from holdfast.cli.root import Failure, Session, command

C = TypeVar("C", bound=Callable[..., Any])


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601; without an offset it is UTC."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Return an aware datetime."""
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write for example 2026-01-31 or 2026-01-31T12:00:00Z", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def filters(function: C) -> C:
    """Add the filters that list and search share."""
    for option in (
        click.option("--until", type=Moment(), help="Created before."),
        click.option("--since", type=Moment(), help="Created at or after."),
        click.option("--namespace", help="Of this namespace."),
        click.option("--tag", "tags", multiple=True, help="With this tag; several: with all of them."),
        click.option("--source", help="From this type of source, as document_chunk."),
        click.option("--session", "session_id", help="Of this session."),
    ):
        function = option(function)
    return function


@command("get")
@click.argument(
    "parts",
    nargs=-1,
    required=True,
    metavar="ID | kv, json, states KEY | traces, intents, segments, runs ID | vectors COLLECTION [ID] | "
    "events STREAM SEQUENCE",
)
def get_command(session: Session, parts: tuple[str, ...]) -> None:
    """Show one record.

    \b
    Example: holdfast get 0190163d-8694-739b-aea5-966c26f8ad91
             holdfast get kv build/last
             holdfast get vectors notes n1
    """
    import holdfast

    noun, *keys = parts if parts[0] in NOUNS else ("memories", *parts)
    if noun == "memories" and len(keys) != 1:
        raise click.UsageError(f"give an id, or a noun and its key: holdfast get kv KEY; nouns: {', '.join(NOUNS)}")
    NOUNS[noun].check(noun, keys)
    with session.open(read_only=True) as store:
        record = NOUNS[noun].get(store.space(session.space_name), keys)
    if record is None:
        raise Failure(
            f"there is no {' '.join(parts)} in space {session.space_name!r}; 'holdfast list {noun}' shows what is"
        )
    plain = holdfast.to_dict(record)
    lines = [f"{name:13} {_shown(name, value)}" for name, value in plain.items() if value not in (None, [], {})]
    session.output.value(plain, "\n".join(lines))


def _shown(name: str, value: Any) -> str:
    if name == "vector":
        return brief(value)  # hundreds of numbers; --json gives them
    return value if isinstance(value, str) and name != "value" else to_json(value)


@command("list")
@click.argument("noun", default="memories", type=click.Choice([*NOUNS, "spaces"]))
@click.argument("name", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@click.option("--after", help="Go on behind this cursor, which the page before gave.")
@click.option("--newest", is_flag=True, help="The newest (or last) first.")
@click.option("--tree", is_flag=True, help="Draw traces as trees: each root, or the one given, with all below it.")
@filters
def list_command(
    session: Session,
    noun: str,
    name: str | None,
    limit: int,
    after: str | None,
    newest: bool,
    tree: bool,
    **chosen: Any,
) -> None:
    """List memories (the default), kv, json, states [PREFIX], events [STREAM], traces [ID], vectors [COLLECTION],
    intents, segments, runs or spaces.

    \b
    Example: holdfast list --tag parser --newest
             holdfast list kv build/
             holdfast list traces --tree
             holdfast list vectors notes
    """
    import holdfast

    options = {option: value for option, value in chosen.items() if value}
    known = frozenset() if noun == "spaces" else NOUNS[noun].filters
    for option in (*options, *(["newest"] if newest else [])):
        if option not in known:
            flag = {"session_id": "session", "tags": "tag"}.get(option, option)
            raise click.UsageError(f"{noun} cannot be listed with --{flag}; leave it out")
    if name is not None and (noun == "spaces" or not NOUNS[noun].below):
        raise click.UsageError(f"nothing can follow {noun}; to choose, see holdfast list --help")
    if tree and noun != "traces":
        raise click.UsageError("only traces are trees: holdfast list traces --tree")
    options |= {"limit": limit, "after": after} | ({"reverse": True} if newest else {})
    with session.open(read_only=True) as store:
        space = store.space(session.space_name)
        if tree:
            page, trees = _trees(space, name, options)
            session.output.trees([_drawn(one) for one in trees], {"items": [_nested(one) for one in trees]})
        elif noun == "spaces":
            page = holdfast.Listing(store.spaces(), None)
            session.output.rows(["space"], [[one] for one in page], {"items": list(page), "cursor": None})
        else:
            page = NOUNS[noun].page(space, name, **options)
            headings = GROUPS[noun] if noun in GROUPS and name is None else NOUNS[noun].headings
            values = {"items": [holdfast.to_dict(one) for one in page], "cursor": page.cursor}
            session.output.rows(headings, [NOUNS[noun].row(one) for one in page], values)
    if page.cursor:
        session.output.note(f"more: --after {page.cursor}")
    elif not page:
        session.output.note("nothing was found")


def _trees(space: Any, root: str | None, options: dict[str, Any]) -> tuple[Any, list[Any]]:
    """A page of roots and the tree of each; or one root, whatever stands above it."""
    import holdfast

    if root is not None:
        tree = space.traces.tree(root)
        return holdfast.Listing([tree.span], None), [tree]
    page = space.traces.roots(**options)
    return page, [space.traces.tree(one) for one in page]


def _drawn(tree: Any) -> tuple[str, list[Any]]:
    span = tree.span
    took = "open" if span.duration is None else f"{span.duration.total_seconds() * 1000:.1f} ms"
    name = "" if span.name == span.type else f" {span.name}"
    words = [f"{span.type}{name}", took, *([span.status] if span.status == "error" else [])]
    text = ", ".join(words) + (f": {brief(span.error, quoted=False)}" if span.error else "")
    attributes = f"  {brief(span.attributes)}" if span.attributes else ""
    return f"{text}{attributes}  {span.id}", [_drawn(one) for one in tree.children]


def _nested(tree: Any) -> dict[str, Any]:
    import holdfast

    return {**holdfast.to_dict(tree.span), "children": [_nested(one) for one in tree.children]}


@command("search")
@click.argument("query", nargs=-1, required=True)
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@filters
def search_command(session: Session, query: tuple[str, ...], limit: int, **chosen: Any) -> None:
    """Find memories by their words, the best first: word, +required, "a phrase", begin*; put -- before -unwanted.

    \b
    Example: holdfast search parser "error recovery" --limit 5
    """
    import holdfast

    with session.open() as store:
        hits = store.space(session.space_name).memories.search(" ".join(query), limit=limit, **chosen)
    values = [
        {"score": hit.score, "highlight": hit.highlight, "scores": hit.scores, "record": holdfast.to_dict(hit.record)}
        for hit in hits
    ]
    rows = [[f"{hit.score:.2f}", hit.record.id, hit.highlight] for hit in hits]
    session.output.rows(["score", "id", "content"], rows, {"items": values, "stale_by": hits.stale_by})
    if not hits:
        session.output.note("nothing was found")


@command("export")
@click.argument("noun", default="memories", type=click.Choice(list(NOUNS)))
@click.argument("name", required=False)
@click.option("--output", "-o", type=click.Path(dir_okay=False, writable=True), help="A file; else standard output.")
def export_command(session: Session, noun: str, name: str | None, output: str | None) -> None:
    """Write records as JSON Lines: memories (the default), which "holdfast import jsonl" takes in again, or kv, json,
    states [PREFIX], events [STREAM], traces, vectors [COLLECTION] or runs. All of one moment, whoever writes meanwhile.

    \b
    Example: holdfast export --output memories.jsonl
             holdfast export vectors notes --output notes.jsonl
    """
    import holdfast

    if name is not None and not NOUNS[noun].below:
        raise click.UsageError(f"nothing can follow {noun}")
    count, kept = 0, noun != "memories"  # a value that is null is a value
    with (
        session.open(read_only=True) as store,
        store.space(session.space_name).snapshot() as space,
        _stream(output) as write,
    ):
        for record in pages(noun, space, name):
            plain = holdfast.to_dict(record)
            write(to_json({field: one for field, one in plain.items() if kept or one is not None}))
            count += 1
    session.output.note(f"{count} {noun} exported")


@contextlib.contextmanager
def _stream(path: str | None) -> Iterator[Callable[[str], None]]:
    if path is None:
        yield click.echo
        return
    with open(path, "w", encoding="utf-8") as file:
        yield lambda line: click.echo(line, file=file)
