"""``spaces``, ``sweep``, ``compact``, ``forget``, ``drop-space``: looking after a store."""

from __future__ import annotations

import sys

import click

from holdfast.cli.root import Failure, Session, command

_dry_run = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
_yes = click.option("--yes", is_flag=True, help="Do not ask.")


@command("spaces")
def spaces_command(session: Session) -> None:
    """List the spaces, with how many records each holds.

    \b
    Example: holdfast spaces
    """
    with session.open(read_only=True) as store:
        spaces = store.status()["spaces"]
    rows = [[name, sum(one["records"].values()), one["last_commit_at"][:19]] for name, one in spaces.items()]
    values = [{"name": name, **one} for name, one in spaces.items()]
    session.output.rows(["space", "records", "last commit"], rows, {"items": values})


@command("sweep")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many records.")
@_dry_run
def sweep_command(session: Session, limit: int | None, dry_run: bool) -> None:
    """Remove what has expired, in all spaces or the one given with --space.

    \b
    Example: holdfast sweep --dry-run
    """
    with session.open(read_only=dry_run) as store:
        if session.space_given is None:
            swept = store.sweep(limit=limit, dry_run=dry_run)
        else:
            counts = store.space(session.space_given).sweep(limit=limit, dry_run=dry_run)
            swept = {session.space_given: counts} if counts else {}
    rows = [[space, kind, count] for space, counts in swept.items() for kind, count in counts.items()]
    session.output.rows(["space", "kind", "records"], rows, {"swept": swept, "dry_run": dry_run})
    if not rows:
        session.output.note("nothing has expired")


@command("compact")
@click.option(
    "--keep-changes", type=click.IntRange(min=0), help="For so many commits deletions stay in the change feeds."
)
def compact_command(session: Session, keep_changes: int | None) -> None:
    """Give the room of what was deleted back, and leave no byte of it in the file.

    \b
    Example: holdfast compact
    """
    import holdfast

    with session.open() as store:
        done = store.compact() if keep_changes is None else store.compact(keep_changes=keep_changes)
    sizes = (f"{size / 1e6:.1f} MB" for size in (done.bytes_before or 0, done.bytes_after or 0))
    session.output.value(holdfast.to_dict(done), " -> ".join(sizes))
    for note in done.notes:
        session.output.note(note)


@command("forget")
@click.argument("kind", required=False)
@click.argument("keys", nargs=-1)
@click.option("--session", "session_id", help="All that belongs to this session.")
@click.option("--run", help="A run that has ended, and what it was the last to write.")
@_yes
@_dry_run
def forget_command(
    session: Session,
    kind: str | None,
    keys: tuple[str, ...],
    session_id: str | None,
    run: str | None,
    yes: bool,
    dry_run: bool,
) -> None:
    """Forget records for good, with every trace: KIND and KEYS, --session or --run. "compact" then clears the file.

    Exit code 1 if there was nothing of it, or something is left.

    \b
    Example: holdfast forget memory 0190163d-8694-739b-aea5-966c26f8ad91
             holdfast forget --session s1 --dry-run
    """
    import holdfast

    with session.open(read_only=dry_run) as store:
        space = store.space(session.space_name)
        if not dry_run and not yes and sys.stdin.isatty():
            would = space.forget(kind, keys, session_id=session_id, run=run, dry_run=True)
            click.confirm(f"Forget {would.records} records for good?", abort=True, err=True)
        done = space.forget(kind, keys, session_id=session_id, run=run, dry_run=dry_run)
    rows = [[one, key] for one, key in done.keys]
    session.output.rows(["kind", "key"], rows, holdfast.to_dict(done))
    session.output.note(
        f"{done.records} records, {done.journal_rows} journal rows, {done.results} kept results "
        f"{'would be' if dry_run else 'are'} forgotten"
    )
    if not (done.records or done.journal_rows or done.results or done.documents):
        raise Failure("there was nothing of it")
    if done.left:
        raise Failure(f"something is left: {'; '.join(done.left)}")


@command("drop-space")
@click.argument("name")
@_yes
@_dry_run
def drop_space_command(session: Session, name: str, yes: bool, dry_run: bool) -> None:
    """Remove a space with everything in it. Exit code 1 if there is no such space.

    \b
    Example: holdfast drop-space trial --dry-run
    """
    with session.open(read_only=dry_run) as store:
        found = store.status()["spaces"].get(name)
        if found is None:
            raise Failure(f"there is no space {name!r}; 'holdfast spaces' shows those that there are")
        count = sum(found["records"].values())
        if not dry_run:
            if not yes and sys.stdin.isatty():
                click.confirm(f"Drop the space {name!r} with {count} records?", abort=True, err=True)
            store.drop_space(name)
    done = "would be dropped" if dry_run else "is dropped"
    session.output.value(
        {"space": name, "records": found["records"], "dry_run": dry_run}, f"{name} {done}: {count} records"
    )
