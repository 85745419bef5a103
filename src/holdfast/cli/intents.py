"""``intents``: the graph of intents - as a tree, or as text for Graphviz and Mermaid."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from holdfast.cli.output import one_line
from holdfast.cli.root import Session, command

if TYPE_CHECKING:
    from holdfast import Intent, IntentTree

_COLOURS = {"active": "cyan", "executing": "yellow", "completed": "green", "failed": "red"}


@command("intents")
@click.argument("form", type=click.Choice(["tree", "dot", "mermaid"]))
@click.argument("id", required=False)
def intents_command(session: Session, form: str, id: str | None) -> None:
    """Draw the intents: a tree of goals and subgoals (of one ID, or of all), or the whole graph for other programs.

    \b
    Example: holdfast intents tree
             holdfast intents dot | dot -Tsvg > intents.svg
    """
    from holdfast.records import plain

    if id is not None and form != "tree":
        raise click.UsageError("an ID goes with tree; dot and mermaid write the whole graph")
    with session.open(read_only=True) as store, store.space(session.space_name).snapshot() as space:
        if form != "tree":
            text = space.intents.dot() if form == "dot" else space.intents.mermaid()
            session.output.value({form: text}, text)
            return
        roots = space.intents.roots() if id is None else [space.intents.retrieve(id)]
        trees = [space.intents.subtree(root.id) for root in roots]
    if session.output.for_people:
        _draw(trees)
        return
    lines = [
        f"{'  ' * depth}{one_line(one.name or one.goal)}\t{one.status}\t{one.id}"
        for tree in trees
        for depth, one in tree.walk()
    ]
    session.output.value({"items": [plain(tree) for tree in trees]}, "\n".join(lines))


def _draw(trees: list[IntentTree]) -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    def label(one: Intent) -> Text:
        text = Text(one_line(one.name or one.goal))
        return text.append(f"  {one.status}", _COLOURS.get(one.status, "")).append(f"  {one.id}", "dim")

    console = Console(file=sys.stdout)
    for tree in trees:
        drawn = {0: Tree(label(tree.intent))}
        for depth, one in list(tree.walk())[1:]:
            drawn[depth] = drawn[depth - 1].add(label(one))
        console.print(drawn[0])
