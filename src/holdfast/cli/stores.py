"""``init``, ``status``, ``verify``."""

from __future__ import annotations

import os
from typing import Any

import click

from holdfast.cli.root import Failure, Session, command


@command("init")
@click.argument("url", required=False)
def init_command(session: Session, url: str | None) -> None:
    """Make a store, or see that the one that is there can be opened: PATH (an SQLite file, for many processes at once)
    or log:DIR (one writing process, and speed).

    \b
    Example: holdfast init agent.db
             holdfast init log:agent
    """
    if url is not None and session.url is not None and url != session.url:
        raise click.UsageError("two stores are named; leave --store out")
    session.url = url or session.url
    with session.open(create=True) as store:
        session.output.value({"url": store.url, "durability": store.durability}, f"{store.url} is ready")
    if url is not None and url != os.environ.get("HOLDFAST_STORE"):
        session.output.note(f"give --store {url} to the other commands, or: export HOLDFAST_STORE={url}")


@command("status")
def status_command(session: Session) -> None:
    """Show where the store is, how durable it is, and what is in it.

    \b
    Example: holdfast status --json
    """
    with session.open(read_only=True) as store:
        status = store.status()
    status["durability"] = "strict"  # what a store opened for writing promises by default; this one only reads
    if session.output.as_json:
        session.output.value(status, "")
        return
    lines = [f"store       {status['url']} ({status['backend']})"]
    if status["bytes"] is not None:
        lines.append(f"size        {_size_text(status['bytes'])}")
    lines.append(f"durability  {status['durability']}: what is acknowledged survives a power cut")
    if "recovery" in status:
        lines.append(f"recovery    {_recovery_text(status['recovery'])}")
    lines += [f"note        {note}" for note in status.get("leftovers", ())]
    for name, space in status["spaces"].items():
        counts = ", ".join(f"{count} {kind}" for kind, count in space["records"].items()) or "empty"
        lines.append(f"space       {name}: last commit {space['last_commit_at'][:19]}Z")
        lines.append(f"            {counts}")
    session.output.value(status, "\n".join(lines))


@command("verify")
def verify_command(session: Session) -> None:
    """Read everything and check it: the file, the indexes, every record, every event chain. Exit code 1 if not well.

    \b
    Example: holdfast verify --store agent.db
    """
    faults, notes = _verified(session)
    for note in notes:
        session.output.note(f"note: {note}")
    session.output.value({"ok": not faults, "faults": faults, "notes": notes}, "\n".join(faults) or "all is well")
    if faults:
        raise Failure(f"{len(faults)} faults were found; keep a copy of the file before you do anything else")


def _verified(session: Session) -> tuple[list[str], list[str]]:
    """The faults of the store, and notes; a log store that is too damaged to be opened is checked as it lies there."""
    from holdfast.errors import CorruptionError

    try:
        with session.open(read_only=True) as store:
            return store.verify(), store.status().get("leftovers", [])
    except CorruptionError as error:
        directory = session.log_directory()
        if directory is None:
            raise
        from holdfast.backends.log_engine.check import faults, leftovers
        from holdfast.faces import REGISTRY
        from holdfast.log.files import Disk

        return list(faults(directory, Disk(), REGISTRY)) or [str(error)], leftovers(directory, Disk())


def _size_text(size: int) -> str:
    """A size as people say it; a kB is 1000 bytes."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size} bytes"


def _recovery_text(report: dict[str, Any]) -> str:
    """What it took to open a log store, in one line."""
    base = "no snapshot"
    if report["snapshot"] is not None:
        base = f"snapshot at {report['snapshot_sequence']} with {report['snapshot_records']} records"
    parts = [f"{base}, then {report['transactions']} transactions with {report['entries']} entries"]
    parts += [f"{len(report['unsound'])} damaged snapshots passed over"] if report["unsound"] else []
    parts += [f"{report['torn_bytes']} torn bytes at the end"] if report["torn_bytes"] else []
    parts += [f"{report['lost']} durable transactions LOST"] if report["lost"] else []
    parts += [f"{report['waiting']} entries wait for a primitive that is not here"] if report["waiting"] else []
    return f"{'; '.join(parts)}; {report['seconds']:.3f} s"
