"""``init``, ``status``, ``verify``."""

from __future__ import annotations

from holdfast.cli.root import Failure, Session, command


@command("init")
def init_command(session: Session) -> None:
    """Make a store, or see that the one that is there can be opened.

    \b
    Example: holdfast init --store agent.db
    """
    with session.open(create=True) as store:
        session.output.value({"url": store.url, "durability": store.durability}, f"{store.url} is ready")


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
        lines.append(f"size        {status['bytes'] / 1e6:.1f} MB")
    lines.append(f"durability  {status['durability']}: what is acknowledged survives a power cut")
    for name, space in status["spaces"].items():
        counts = ", ".join(f"{count} {kind}" for kind, count in space["records"].items()) or "empty"
        lines.append(f"space       {name}: {counts}; last commit {space['last_commit_at'][:19]}Z")
    session.output.value(status, "\n".join(lines))


@command("verify")
def verify_command(session: Session) -> None:
    """Read everything and check it: the file, the indexes, every record, every event chain. Exit code 1 if not well.

    \b
    Example: holdfast verify --store agent.db
    """
    with session.open(read_only=True) as store:
        faults = store.verify()
    session.output.value({"ok": not faults, "faults": faults}, "\n".join(faults) or "all is well")
    if faults:
        raise Failure(f"{len(faults)} faults were found; keep a copy of the file before you do anything else")
