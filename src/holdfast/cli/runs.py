"""``replay`` and ``diff``: look at runs again."""

from __future__ import annotations

from typing import Any

import click

from holdfast.cli import readable
from holdfast.cli.root import Session, command


@command("replay")
@click.argument("run")
@click.option("--at", type=click.IntRange(min=1), help="As it was after the commit with this revision.")
def replay_command(session: Session, run: str, at: int | None) -> None:
    """Show what a run made: every key that it wrote, as the run left it. --json tells all fields, uncut.

    \b
    Example: holdfast replay 0190163d-8694-739b-aea5-966c26f8ad91
    """
    from holdfast.records import plain

    with session.open(read_only=True) as store:
        replay = store.space(session.space_name).replay(run, at=at)
        values = [
            {"kind": kind, "key": key, "deleted": found is None, "values": plain(found)}
            for kind, key, found in replay.values()
        ]
    whole: dict[str, Any] = {"run": str(replay.run_id), "commits": replay.commits, "entries": replay.entries}
    whole |= {"unknown": list(replay.unknown), "keys": values}
    session.output.blocks(
        [
            ((one["kind"], one["key"]), ["deleted"] if one["deleted"] else readable.summary(one["values"]))
            for one in values
        ],
        whole,
    )
    session.output.note(f"{replay.entries} entries in {replay.commits} commits")
    for unknown in replay.unknown:
        session.output.note(f"could not be folded here: {unknown}")


@command("diff")
@click.argument("run_a")
@click.argument("run_b")
def diff_command(session: Session, run_a: str, run_b: str) -> None:
    """Show how what run B made differs from what run A made, by values: + only in B, - only in A, ~ in both.

    \b
    Example: holdfast diff RUN_A RUN_B
    """
    from holdfast.records import plain

    with session.open(read_only=True) as store:
        diff = store.space(session.space_name).diff(run_a, run_b)
    found = {name: [plain(one) for one in getattr(diff, name)] for name in ("added", "removed", "modified")}
    signs = {"added": "+", "removed": "-", "modified": "~"}
    rows = [((signs[name], one["kind"], one["key"]), _lines(name, one)) for name in found for one in found[name]]
    session.output.blocks(rows, found)
    if not diff:
        session.output.note("the two runs made the same")


def _lines(name: str, one: dict[str, Any]) -> list[str]:
    if name == "modified":
        return readable.changes(one["before"], one["after"])
    return readable.summary(one["after" if name == "added" else "before"])
