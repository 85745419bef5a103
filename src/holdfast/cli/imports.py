"""``import``: markdown, git, claude-code, jsonl."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import click

from holdfast.cli.root import Failure, Session, command

_PROBLEMS_SHOWN = 20
_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")


@click.group("import")
def import_command() -> None:
    """Take in real material; taking it in again writes only what has changed.

    \b
    Example: holdfast import markdown docs/ README.md
             holdfast import git .
             holdfast import claude-code ~/.claude/projects
             holdfast import jsonl memories.jsonl
    """


@command("markdown")
@click.argument("paths", nargs=-1, required=True)
@_dry_run
def markdown_command(session: Session, paths: tuple[str, ...], dry_run: bool) -> None:
    """Import Markdown files and folders, one memory a heading.

    \b
    Example: holdfast import markdown docs/
    """
    from holdfast.capture import markdown

    _import(session, markdown.read(paths), dry_run)


@command("git")
@click.argument("path", default=".")
@click.option("--since", help="Only commits since this date, as git understands it.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest so many commits.")
@_dry_run
def git_command(session: Session, path: str, since: str | None, limit: int | None, dry_run: bool) -> None:
    """Import the history of a git repository, one memory a commit.

    \b
    Example: holdfast import git . --limit 1000
    """
    from holdfast.capture import git

    _import(session, git.read(path, since=since, limit=limit), dry_run)


@command("claude-code")
@click.argument("path", default="~/.claude/projects")
@_dry_run
def claude_code_command(session: Session, path: str, dry_run: bool) -> None:
    """Import the transcripts of Claude Code: a file, a project, or all projects.

    \b
    Example: holdfast import claude-code
    """
    from holdfast.capture import claude_code

    _import(session, claude_code.read(path), dry_run)


@command("jsonl")
@click.argument("path")
@_dry_run
def jsonl_command(session: Session, path: str, dry_run: bool) -> None:
    """Import JSON Lines, as "holdfast export" writes them; "-" reads standard input.

    \b
    Example: holdfast import jsonl memories.jsonl
    """
    from holdfast.capture import jsonl

    _import(session, jsonl.read(sys.stdin.buffer if path == "-" else path), dry_run)


for _one in (markdown_command, git_command, claude_code_command, jsonl_command):
    import_command.add_command(_one)


def _import(session: Session, items: Iterable[Any], dry_run: bool) -> None:
    from holdfast.capture.sync import sync

    with session.open(create=True) as store:
        space = store.space(session.space_name)
        with _progress(session) as advance:
            summary = sync(space, items, dry_run=dry_run, progress=advance)
        if not dry_run:
            store.refresh_search(session.space_name)
    for problem in summary.problems[:_PROBLEMS_SHOWN]:
        session.output.note(f"{problem.where}: {problem.why}")
    if len(summary.problems) > _PROBLEMS_SHOWN:
        session.output.note(f"... and {len(summary.problems) - _PROBLEMS_SHOWN} more problems")
    plain = {**summary.to_dict(), "dry_run": dry_run}
    counts = ", ".join(f"{plain[name]} {name}" for name in ("read", "added", "updated", "unchanged", "removed"))
    skipped = "".join(f"; {count} x {kind} passed over" for kind, count in summary.skipped.items())
    session.output.value(plain, f"{'dry run: ' if dry_run else ''}{counts}{skipped}")
    if summary.problems and not summary.read:
        raise Failure("nothing could be read")


class _progress:
    """A bar on a person's terminal, and nothing elsewhere."""

    def __init__(self, session: Session) -> None:
        self._bar: Any = None
        if session.output.for_people and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            columns = (SpinnerColumn(), TextColumn("{task.completed} read"), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("import", total=None)

    def __enter__(self) -> Callable[[int], None]:
        if self._bar is None:
            return lambda _: None
        self._bar.start()
        return lambda count: self._bar.update(self._task, completed=count)

    def __exit__(self, *exc: object) -> None:
        if self._bar is not None:
            self._bar.stop()
