"""``completion``: the script that makes a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from holdfast.cli.root import Session, command, root


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(session: Session, shell: str) -> None:
    """Write the completion script of a shell.

    \b
    Example: holdfast completion bash >> ~/.bashrc
    """
    found = get_completion_class(shell)
    assert found is not None
    script = found(root, {}, "holdfast", "_HOLDFAST_COMPLETE").source()
    session.output.value({"shell": shell, "script": script}, script)
