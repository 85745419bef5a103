"""``repair`` and ``log dump``: log stores, also those that cannot be opened any more."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from holdfast.cli.output import printable
from holdfast.cli.root import Failure, Session, command

_SQLITE = b"SQLite format 3\0"
_RECOVER = (
    "restore a backup; or copy it with its -wal and -shm files, and with sqlite3 3.43 or later run "
    "sqlite3 COPY '.recover' | sqlite3 NEW and holdfast verify --store NEW"
)
_NO_LOG = "it has no log of Holdfast's; look into it with sqlite3 and the view readable"


@command("repair")
@click.argument("source")
@click.argument("target")
@click.option("--salvage", is_flag=True, help="Put aside what is readable behind the damage, in salvaged.jsonl.")
def repair_command(session: Session, source: str, target: str, salvage: bool) -> None:
    """Write a new log store TARGET with all that can be read of SOURCE, which is not changed. Exit code 1 if not all.

    \b
    Example: holdfast repair log:agent log:agent-repaired --salvage
    """
    import msgspec

    from holdfast.backends.log_engine.repair import repair
    from holdfast.faces import REGISTRY

    directory = _log_directory(session, source, _RECOVER)
    report = repair(directory, Path(target.removeprefix("log:")).expanduser(), REGISTRY, salvage=salvage)
    plain = {"whole": report.is_whole, **msgspec.to_builtins(report)}
    session.output.value(plain, "\n".join(_repair_lines(report)))
    if not report.is_whole:
        raise Failure(f"{report.target} is sound, but not all could be saved; keep {report.source}")


def _repair_lines(report: Any) -> list[str]:
    from holdfast.backends.log_engine.salvage import SALVAGED

    base = f"snapshot {report.snapshot_sequence}, then " if report.snapshot else ""
    lines = [f"saved to {report.target}: {base}{report.transactions} transactions, up to {report.sequence}"]
    lines += [f"space {name!r}: up to commit {last}" for name, last in sorted(report.spaces.items())]
    for one in report.damages:
        where = "" if one.offset is None else f" at byte {one.offset}" + ("" if one.end is None else f"..{one.end}")
        gone = "" if one.first is None else f"; {_span(one.first, one.last)} gone"
        torn = "; a crash left this, nothing of it was durable" if one.torn else ""
        why = one.why if one.why.startswith(one.path) else f"{one.path}{where}: {one.why}"
        blob = "" if one.blob is None else f"; {one.blob} is gone"
        lines.append(f"damage: {why}{gone}{torn}{blob}")
    for one in report.left:
        lines.append(f"readable, not taken: transactions {one.first}..{one.last}, {one.path} {one.offset}..{one.end}")
    for one in report.lost:
        lines.append(f"lost: space {one.space!r}, commits {one.first}..{one.last}, {one.readable} of them readable")
    if report.unattributed != 0:
        count = "an unknown number of" if report.unattributed is None else report.unattributed
        lines.append(f"lost: {count} transactions of which nothing is known")
    if report.salvaged:
        lines.append(f"salvaged: {report.salvaged} lines in {Path(report.target) / SALVAGED}")
    return [*lines, "nothing is lost"] if report.is_whole else lines


def _span(first: int, last: int | None) -> str:
    if first == last:
        return f"transaction {first} is"
    return f"transactions {first}..{'?' if last is None else last} are"


def _log_directory(session: Session, url: str | None, of_sqlite: str) -> Path:
    """The directory of a log store; ``of_sqlite`` is what to say where an SQLite store was named."""
    directory = session.log_directory(url)
    if directory is not None:
        return directory
    path = Path((url or session.url or os.environ.get("HOLDFAST_STORE", "")).removeprefix("sqlite:")).expanduser()
    if path.is_file() and _is_sqlite(path):
        raise Failure(f"{path} is an SQLite store: {of_sqlite}")
    raise click.UsageError("give a log store: its directory, or log:DIR")


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE or path.suffix in (".db", ".sqlite", ".sqlite3")


@click.group("log")
def log_command() -> None:
    """Look into the log of a log store.

    \b
    Example: holdfast log dump log:agent --from 100 --limit 20
    """


@command("dump")
@click.argument("store", required=False)
@click.option(
    "--from", "start", default=1, show_default=True, type=click.IntRange(min=1), help="The first transaction."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many transactions.")
def dump_command(session: Session, store: str | None, start: int, limit: int | None) -> None:
    """Show the transactions and entries of a log as they stand there, and every fault; --space chooses one space.

    Needs no lock, so it can be used while the store is open elsewhere. With --json, one line for each.

    \b
    Example: holdfast log dump log:agent --from 100 --limit 20
    """
    import msgspec

    from holdfast.backends.log_engine.dump import DumpedFrame, dump
    from holdfast.faces import REGISTRY

    directory = _log_directory(session, store, _NO_LOG)
    for one in dump(directory, REGISTRY, start=start, limit=limit, space=session.space_given):
        if session.output.as_json:
            click.echo(msgspec.json.encode(one))
        else:
            for line in _frame_lines(one) if isinstance(one, DumpedFrame) else [_note_line(one)]:
                click.echo(printable(line.replace("\n", " ")))


def _frame_lines(frame: Any) -> list[str]:
    whose = "definitions" if frame.space is None else f"{frame.space} commit {frame.commit}"
    run = "" if frame.run is None else f" run {frame.run}"
    lines = [
        f"{frame.sequence} {frame.time} {whose}{run} ({frame.bytes} bytes at {frame.offset}; durable: {frame.durable})"
    ]
    for entry in frame.entries:
        key = "" if entry.key is None else f" {entry.key!r}"
        problem = "" if entry.problem is None else f" [{entry.problem}]"
        lines.append(f"  {entry.entry}{key} {entry.payload} ({entry.bytes} bytes){problem}")
    return lines


def _note_line(note: Any) -> str:
    where = f" {note.offset}..{note.offset + note.bytes}" if note.bytes else ""
    loud = note.what.upper() if note.what in ("fault", "tail") else note.what
    return f"{note.file}{where} {loud}: {note.text}"


log_command.add_command(dump_command)
