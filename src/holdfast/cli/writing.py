"""``add``, ``delete``: write and remove memories and the other kinds."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from holdfast.cli.nouns import NOUNS
from holdfast.cli.root import Failure, Session, command

TAGGED = ("traces", "tags")
"""What has tags besides memories."""


@command("add")
@click.argument("parts", nargs=-1, required=True, metavar="TEXT | NOUN KEY VALUE")
@click.option("--session", "session_id", help="The session that a memory belongs to.")
@click.option("--tag", "tags", multiple=True, help="A tag of a memory or trace; may be given several times.")
@click.option("--namespace", help="The namespace of a memory.")
@click.option("--file", "file_path", help="The file that a memory is about.")
def add_command(session: Session, parts: tuple[str, ...], **fields: Any) -> None:
    """Remember a text, or write: kv, json, states KEY VALUE; events STREAM VALUE; traces TYPE [NAME];
    vectors COLLECTION ID NUMBERS. VALUE is JSON; "-" reads the last one from standard input.

    \b
    Example: holdfast add "Parser rewritten, tests pass" --session s1 --tag parser
             holdfast add kv build/last '{"ok": true}'
             holdfast add events builds '{"ok": true}'
             holdfast add vectors notes n1 '[0.1, 0.7, 0.2]'
    """
    import holdfast

    noun, *rest = parts if parts[0] in NOUNS and len(parts) > 1 else ("memories", *parts)
    unfit = [name for name, value in fields.items() if value and noun != "memories" and (noun, name) != TAGGED]
    if unfit:
        raise click.UsageError(f"{noun} have no {unfit[0].removesuffix('_id').removesuffix('_path').rstrip('s')}")
    if rest[-1] == "-":
        rest[-1] = sys.stdin.buffer.read().decode("utf-8", "replace")
    with session.open(create=True) as store:
        space = store.space(session.space_name)
        if noun == "memories" and len(rest) == 1:
            written = space.memories.store(rest[0], **fields)
        elif noun in ("kv", "states", "json") and len(rest) == 2:
            write = {"kv": space.kv.put, "states": space.states.set, "json": space.json.put}[noun]
            written = write(rest[0], _value(rest[1]))
        elif noun == "events" and len(rest) == 2:
            written = space.events.append(rest[0], _value(rest[1]))
        elif noun == "traces" and len(rest) <= 2:
            written = space.traces.record(rest[0], name=rest[1] if len(rest) == 2 else None, tags=fields["tags"])
        elif noun == "vectors" and len(rest) == 3:
            numbers = _value(rest[2])
            if space.vectors.collection(rest[0]) is None and isinstance(numbers, list) and numbers:
                space.vectors.create_collection(rest[0], dimension=len(numbers))
            written = space.vectors.put(rest[0], rest[1], numbers)
        elif noun == "memories":
            raise click.UsageError("put the text in quotes, or name a kind: holdfast add kv KEY VALUE")
        else:
            raise click.UsageError(f"{noun} cannot be added so; see holdfast add --help")
    plain = holdfast.to_dict(written)
    session.output.value(plain, str(plain.get("id", plain.get("key", plain.get("sequence")))))


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise click.UsageError(
            f"VALUE is not JSON ({error}); a text takes double quotes inside single ones: '\"idle\"'"
        ) from None


@command("delete")
@click.argument("parts", nargs=-1, required=True, metavar="ID... | NOUN KEY... | vectors COLLECTION [ID...]")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--purge", is_flag=True, help="Memories for good; otherwise a tombstone is left that can be restored.")
def delete_command(session: Session, parts: tuple[str, ...], yes: bool, purge: bool) -> None:
    """Delete memories, or kv, json, states, traces or vectors by their keys: all of them or none.

    A vector collection without ids is dropped whole. Events go by retention, and everything by "holdfast forget".

    \b
    Example: holdfast delete 0190163d-8694-739b-aea5-966c26f8ad91
             holdfast delete kv build/last build/first
             holdfast delete vectors notes n1
    """
    noun, *rest = parts if parts[0] in NOUNS else ("memories", *parts)
    delete = NOUNS[noun].delete
    if delete is None:
        raise click.UsageError(f"{noun} are not deleted one by one; see holdfast forget --help")
    if purge and noun != "memories":
        raise click.UsageError(f"--purge is for memories; {noun} are always deleted for good")
    if not rest:
        raise click.UsageError(f"say which: holdfast delete {noun} {NOUNS[noun].keys}")
    keys: list[tuple[str, ...]] = [(one,) for one in rest]
    if noun == "vectors" and len(rest) > 1:
        keys = [(rest[0], id) for id in rest[1:]]
    with session.open() as store:
        space = store.space(session.space_name)
        missing = [] if purge else [one for one in keys if NOUNS[noun].get(space, one) is None]
        if missing:
            place = f"in space {session.space_name!r}; nothing was deleted, 'holdfast list {noun}' shows what there is"
            raise Failure(f"there is no {noun} {' '.join(missing[0])} {place}")
        if not yes and sys.stdin.isatty():
            whole = " (whole collection)" if noun == "vectors" and len(rest) == 1 else ""
            for_good = " for good" if purge or noun != "memories" else ""
            click.confirm(f"Delete {len(keys)} {noun}{whole}{for_good}?", abort=True, err=True)
        with space.transaction() as tx:
            deleted = sum(tx.memories.purge(one[0]) if purge else delete(tx, one) for one in keys)
    session.output.value({"deleted": deleted}, f"{deleted} deleted")
