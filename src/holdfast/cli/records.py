"""``add``, ``get``, ``list``, ``search``, ``delete``, ``export``: memories and the other kinds."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from holdfast.cli.output import to_json
from holdfast.cli.root import Failure, Session, command

C = TypeVar("C", bound=Callable[..., Any])
NOUNS = ("memories", "kv", "json", "events", "states", "traces", "segments", "runs", "spaces")


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


@command("add")
@click.argument("content")
@click.option("--session", "session_id", help="The session that it belongs to.")
@click.option("--tag", "tags", multiple=True, help="A tag; may be given several times.")
@click.option("--namespace", help="A namespace.")
@click.option("--file", "file_path", help="The file that it is about.")
def add_command(session: Session, content: str, **fields: Any) -> None:
    """Remember a text; "-" reads it from standard input.

    \b
    Example: holdfast add "Parser rewritten, tests pass" --session s1 --tag parser
    """
    import holdfast

    if content == "-":
        content = sys.stdin.buffer.read().decode("utf-8", "replace")
    with session.open(create=True) as store:
        memory = store.space(session.space_name).memories.store(content, **fields)
    session.output.value(holdfast.to_dict(memory), str(memory.id))


@command("get")
@click.argument(
    "parts",
    nargs=-1,
    required=True,
    metavar="ID | kv KEY | json KEY | states KEY | traces ID | runs ID | events STREAM SEQUENCE",
)
def get_command(session: Session, parts: tuple[str, ...]) -> None:
    """Show one record.

    \b
    Example: holdfast get 0190163d-8694-739b-aea5-966c26f8ad91
             holdfast get kv build/last
             holdfast get json plan
    """
    import holdfast

    noun, *rest = parts if parts[0] in NOUNS else ("memories", *parts)
    with session.open(read_only=True) as store:
        space = store.space(session.space_name)
        if noun == "memories" and len(rest) == 1:
            record = space.memories.get(rest[0])
        elif noun == "kv" and len(rest) == 1:
            record = space.kv.record(rest[0])
        elif noun == "json" and len(rest) == 1:
            record = space.json.record(rest[0])
        elif noun == "states" and len(rest) == 1:
            record = space.states.record(rest[0])
        elif noun == "traces" and len(rest) == 1:
            record = space.traces.get(rest[0])
        elif noun == "segments" and len(rest) == 1:
            record = space.segments.get(rest[0])
        elif noun == "runs" and len(rest) == 1:
            record = space.runs.get(rest[0])
        elif noun == "events" and len(rest) == 2 and rest[1].isdigit():
            record = space.events.get(rest[0], int(rest[1]))
        else:
            raise click.UsageError("give an id, or a noun and its key: holdfast get kv KEY")
    if record is None:
        raise Failure(
            f"there is no {' '.join(parts)} in space {session.space_name!r}; 'holdfast list {noun}' shows what is"
        )
    plain = holdfast.to_dict(record)
    lines = [f"{name:13} {value}" for name, value in plain.items() if value not in (None, [], {}, "content")]
    session.output.value(plain, "\n".join(lines))


@command("list")
@click.argument("noun", default="memories", type=click.Choice(NOUNS))
@click.argument("name", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1), help="At most so many.")
@click.option("--after", help="Go on behind this cursor, which the page before gave.")
@click.option("--newest", is_flag=True, help="The newest first.")
@filters
def list_command(
    session: Session, noun: str, name: str | None, limit: int, after: str | None, newest: bool, **chosen: Any
) -> None:
    """List memories (the default), kv [PREFIX], json [PREFIX], states [PREFIX], events STREAM, traces, segments,
    runs or spaces.

    \b
    Example: holdfast list --tag parser --newest
             holdfast list kv build/
    """
    import holdfast

    with session.open(read_only=True) as store:
        space = store.space(session.space_name)
        if noun == "spaces":
            page: Any = holdfast.Listing(store.spaces(), None)
            rows, headings, values = [[one] for one in page], ["space"], list(page)
        else:
            if noun == "memories":
                page = space.memories.list(limit=limit, after=after, reverse=newest, **chosen)
                rows = [
                    [one.id, one.created_at.isoformat()[:19], ",".join(one.tags), one.content[:200]] for one in page
                ]
                headings = ["id", "created", "tags", "content"]
            elif noun in ("kv", "json", "states"):
                page = getattr(space, noun).scan(name or "", limit=limit, after=after, reverse=newest)
                rows = [[one.key, one.version, to_json(holdfast.to_dict(one)["value"])] for one in page]
                headings = ["key", "version", "value"]
            elif noun == "runs":
                page = space.runs.list(limit=limit, after=after, reverse=newest)
                rows = [[one.id, one.name, one.status, one.created_at.isoformat()[:19], one.error] for one in page]
                headings = ["id", "name", "status", "created", "error"]
            elif noun == "traces":
                page = space.traces.list(limit=limit, after=after, reverse=newest)
                rows = [[one.id, one.start.isoformat()[:19], one.type, one.name, one.status] for one in page]
                headings = ["id", "start", "type", "name", "status"]
            elif noun == "segments":
                page = space.segments.list(limit=limit, after=after, reverse=newest)
                rows = [[one.id, one.created_at.isoformat()[:19], one.tier, one.type, one.text[:200]] for one in page]
                headings = ["id", "created", "tier", "type", "text"]
            elif name is None:
                page = space.events.streams(limit=limit, after=after)
                rows, headings = [[one.name, one.length] for one in page], ["stream", "events"]
            else:
                page = space.events.read(name, limit=limit, after=after, reverse=newest)
                rows = [[one.sequence, one.created_at.isoformat()[:19], one.type, to_json(one.data)] for one in page]
                headings = ["sequence", "created", "type", "data"]
            values = [holdfast.to_dict(one) for one in page]
    session.output.rows(headings, rows, {"items": values, "cursor": page.cursor})
    if page.cursor:
        session.output.note(f"more: --after {page.cursor}")


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


@command("delete")
@click.argument("ids", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--purge", is_flag=True, help="For good; otherwise a tombstone is left that can be restored.")
def delete_command(session: Session, ids: tuple[str, ...], yes: bool, purge: bool) -> None:
    """Delete memories, all of them or none.

    \b
    Example: holdfast delete 0190163d-8694-739b-aea5-966c26f8ad91
    """
    from holdfast.inputs import check_id

    checked = [check_id(id) for id in ids]
    with session.open() as store:
        space = store.space(session.space_name)
        missing = [id for id, found in zip(checked, space.memories.get_batch(checked), strict=True) if found is None]
        if missing and not purge:
            raise Failure(f"there is no memory {missing[0]} in space {session.space_name!r}; nothing was deleted")
        if not yes and sys.stdin.isatty():
            click.confirm(f"Delete {len(checked)} memories{' for good' if purge else ''}?", abort=True, err=True)
        with space.transaction() as tx:
            deleted = [tx.memories.purge(id) if purge else tx.memories.delete(id) for id in checked]
    session.output.value({"deleted": sum(deleted)}, f"{sum(deleted)} deleted")


@command("export")
@click.argument("noun", default="memories", type=click.Choice(["memories"]))
@click.option("--output", "-o", type=click.Path(dir_okay=False, writable=True), help="A file; else standard output.")
def export_command(session: Session, noun: str, output: str | None) -> None:
    """Write memories as JSON Lines, which "holdfast import jsonl" takes in again.

    \b
    Example: holdfast export --output memories.jsonl
    """
    import holdfast

    count, after = 0, None
    with (
        session.open(read_only=True) as store,
        store.space(session.space_name).snapshot() as space,
        _stream(output) as write,
    ):
        while True:
            page = space.memories.list(limit=500, after=after)
            for memory in page:
                write(to_json({name: one for name, one in holdfast.to_dict(memory).items() if one is not None}))
            count, after = count + len(page), page.cursor
            if after is None:
                break
    session.output.note(f"{count} {noun} exported")


@contextlib.contextmanager
def _stream(path: str | None) -> Iterator[Callable[[str], None]]:
    if path is None:
        yield click.echo
        return
    with open(path, "w", encoding="utf-8") as file:
        yield lambda line: click.echo(line, file=file)
