"""The root command, and how a command ends: options that all share, errors, exit codes.

The shared options may stand before or after the name of the command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from holdfast.cli.output import Output

if TYPE_CHECKING:
    from pathlib import Path

C = TypeVar("C", bound=Callable[..., Any])

EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 1, 2, 130
_SHARED = ("store_url", "space_name", "as_json")
_GROUPS = {
    "Begin": {
        "init": ("stores", "make a store: PATH or log:DIR"),
        "status": ("stores", "what is there, where, and how durable it is"),
        "import": ("imports", "take in markdown, git, claude-code or jsonl"),
    },
    "Records": {
        "add": ("writing", "remember a text, or write a value, event, vector ..."),
        "search": ("records", "find memories by their words"),
        "get": ("records", "show one record"),
        "list": ("records", "list records; traces also as a tree"),
        "delete": ("writing", "delete records, all of them or none"),
        "export": ("records", "write records as JSON Lines"),
    },
    "Intents": {"intents": ("intents", "draw the graph: tree, dot or mermaid")},
    "Runs": {
        "replay": ("runs", "what a run made"),
        "diff": ("runs", "how what two runs made differs"),
    },
    "Upkeep": {
        "spaces": ("upkeep", "list the spaces"),
        "verify": ("stores", "read and check everything"),
        "sweep": ("upkeep", "remove what has expired"),
        "compact": ("upkeep", "give back the room of what was deleted"),
        "forget": ("upkeep", "remove records with every trace of them"),
        "drop-space": ("upkeep", "remove a space with everything in it"),
    },
    "Log stores": {
        "log": ("logs", "dump: look into the log, also of a store in use"),
        "repair": ("logs", "save what can be read of a damaged store"),
    },
    "Shell": {"completion": ("completion", "complete commands and options")},
}
_COMMANDS = {name: file for group in _GROUPS.values() for name, (file, _) in group.items()}


class Failure(Exception):
    """A command did its work, and the answer is no: exit code 1 with one line."""


class LateGroup(click.Group):
    """A group whose commands are imported when they are named, so that the command line starts quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order in which one meets them."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the file of a command and return it."""
        if name not in _COMMANDS:
            return None
        from importlib import import_module

        command: click.Command = getattr(
            import_module(f"holdfast.cli.{_COMMANDS[name]}"), f"{name.replace('-', '_')}_command"
        )
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups, without importing any."""
        for title, group in _GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, text) for name, (_, text) in group.items()], col_max=12)


def shared_options(command: C) -> C:
    """Add --store, --space and --json to a command."""
    options = (
        click.option(
            "--store", "store_url", metavar="URL", help="The store: PATH (SQLite) or log:DIR. [env: HOLDFAST_STORE]"
        ),
        click.option("--space", "space_name", metavar="NAME", help="The space. [env: HOLDFAST_SPACE; else: default]"),
        click.option("--json", "as_json", is_flag=True, default=None, help="Write JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command


class Session:
    """What a command is given: its output, and its store when it asks for it."""

    def __init__(self, ctx: click.Context) -> None:
        values = {**(ctx.find_root().params or {}), **{k: v for k, v in ctx.params.items() if v is not None}}
        self.url: str | None = values.get("store_url")
        self.space_given: str | None = values.get("space_name") or os.environ.get("HOLDFAST_SPACE") or None
        self.space_name: str = self.space_given or "default"
        self.output = Output(as_json=bool(values.get("as_json")))

    def open(self, *, create: bool = False, read_only: bool = False) -> Any:
        """Open the store; commands that only read never make one."""
        import holdfast

        return holdfast.open(self.url, create=create, read_only=read_only)

    def log_directory(self, url: str | None = None) -> Path | None:
        """The directory of the log store that a URL or path, or that of this command, names; None if it names none."""
        from pathlib import Path

        text = url or self.url or os.environ.get("HOLDFAST_STORE", "")
        if text[:4].lower() == "log:":
            return Path(text[4:].removeprefix("//")).expanduser()
        path = Path(text).expanduser()
        return path if url is not None and path.is_dir() else None


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function that takes a Session and its own parameters."""

    def make(function: Callable[..., Any]) -> click.Command:
        @click.pass_context
        def call(ctx: click.Context, /, **parameters: Any) -> None:
            session = Session(ctx)
            for shared in _SHARED:
                parameters.pop(shared, None)
            function(session, **parameters)

        call.__doc__ = function.__doc__
        call.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
        return click.command(name, help=function.__doc__)(shared_options(call))

    return make


@click.command(cls=LateGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="holdfast", prog_name="holdfast")
@shared_options
def root(**_: Any) -> None:
    """Keep what AI agents know, did and intend - and lose nothing.

    "holdfast COMMAND --help" shows how; --store, --space and --json go with every command.

    \b
    holdfast init                                  make a store (~/.holdfast/store.db)
    holdfast add "Parser rewritten" --tag parser   remember something
    holdfast import markdown docs/                 take in real material
    holdfast search parser                         find it again
    holdfast status                                see what is there
    """


def run(arguments: list[str]) -> int:
    """Run a command line and return its exit code."""
    as_json = "--json" in arguments
    try:
        if "_HOLDFAST_COMPLETE" in os.environ:
            root.main(args=arguments, prog_name="holdfast")  # a shell asks for completions
        with root.make_context("holdfast", list(arguments)) as ctx:
            root.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        return _fail(error.format_message(), "UsageError", as_json, EXIT_USAGE)
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted; what was acknowledged is kept", "Interrupted", as_json, EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads; nothing more is to be said
        return 0
    except Failure as error:
        return _fail(str(error), "Failure", as_json, EXIT_FAILED)
    except Exception as error:
        from holdfast.errors import HoldfastError, InvalidInputError

        if not isinstance(error, HoldfastError):
            raise
        code = EXIT_USAGE if isinstance(error, InvalidInputError) else EXIT_FAILED
        return _fail(str(error), type(error).__name__, as_json, code)
    return 0


def _fail(message: str, kind: str, as_json: bool, code: int) -> int:
    line = " ".join(message.split())
    if as_json:
        import json

        line = json.dumps({"error": {"type": kind, "message": line}}, ensure_ascii=False)
    else:
        line = f"holdfast: error: {line}"
    click.echo(line, err=True)
    return code
