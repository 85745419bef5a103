"""The history of a git repository: one memory a commit, with message, changed files and author date.

Asks the ``git`` command, with arguments as a list and output separated by NUL; reads it as it comes. What a user has
configured does not change what is read.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from holdfast.capture.item import Captured, Item, Problem, clean, identity
from holdfast.errors import InvalidInputError, UnsupportedError
from holdfast.primitives.source import Import

_MARK = b"\x1e\x00\x1e"
"""Stands before each commit. Neither a message nor a file name can hold a NUL, so nothing else can look like it."""
_FORMAT = "%x1e%x00%x1e%H%x00%P%x00%at%x00%an%x00%ae%x00%B%x00"
_ACTIONS = {"A": "added", "M": "modified", "D": "deleted", "T": "type changed", "R": "renamed", "C": "copied"}
FILES_SHOWN = 200
_BLOCK_BYTES = 1 << 16


def read(path: Path | str, *, since: str | None = None, limit: int | None = None) -> Iterator[Item]:
    """Read the commits that HEAD reaches, the oldest first. ``since`` is a date as git understands it.

    Raises InvalidInputError if there is no repository; UnsupportedError if git is not installed.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InvalidInputError("path", f"{folder} is no folder; give one inside a git repository")
    top = _run(folder, "rev-parse", "--git-dir")
    if top.returncode:
        raise InvalidInputError("path", f"{folder} is not inside a git repository")
    if _run(folder, "rev-parse", "--verify", "--quiet", "HEAD").returncode:
        return  # a repository without commits
    arguments = ["log", "--reverse", "--topo-order", "--no-show-signature", "--no-color", "--encoding=UTF-8"]
    arguments += ["--name-status", "-M", "-z", "--root", "--diff-merges=first-parent", f"--format={_FORMAT}"]
    if since is not None:
        arguments.append(f"--since={since}")
    if limit is not None:
        arguments.append(f"--max-count={int(limit)}")
    with tempfile.TemporaryFile() as errors:  # a pipe that nobody empties could fill, and stop git
        command = [*_command(folder), *arguments, "HEAD", "--"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=_environment()) as process:
            assert process.stdout is not None
            for record in _records(process.stdout):
                yield _commit(record)
        errors.seek(0)
        failure = errors.read().decode(errors="replace").strip()
    if process.returncode:
        yield Problem(str(folder), failure or f"git ended with {process.returncode}")


def _command(folder: Path) -> list[str]:
    return ["git", "-C", str(folder), "-c", "core.quotepath=off", "-c", "log.follow=false", "-c", "diff.renames=true"]


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run([*_command(folder), *arguments], capture_output=True, env=_environment(), check=False)
    except FileNotFoundError as error:
        message = "reading a git history needs the git command; install git"
        raise UnsupportedError(message, capability="git") from error


def _records(stream: IO[bytes]) -> Iterator[bytes]:
    """Cut the output at the record separators."""
    rest = b""
    while block := stream.read(_BLOCK_BYTES):
        *whole, rest = (rest + block).split(_MARK)
        yield from (record for record in whole if record.strip(b"\0\n"))
    if rest.strip(b"\0\n"):
        yield rest


def _commit(record: bytes) -> Item:
    fields = record.split(b"\0", 6)
    commit = fields[0].decode()
    notes: dict[str, Any] = {}
    texts = []
    for field in fields[3:6]:
        text = field.decode("utf-8", "replace")
        if "\ufffd" in text:
            notes["replaced_characters"] = True
        texts.append(text)
    name, email, message = texts
    files = _files(fields[6] if len(fields) > 6 else b"")
    content = clean(message.strip() or "(no message)", notes)
    if files:
        shown = [f"{one['action']}: {one['path']}" for one in files[:FILES_SHOWN]]
        more = [f"... and {len(files) - FILES_SHOWN} more files"] if len(files) > FILES_SHOWN else []
        content += "\n\n" + "\n".join(shown + more)
    parents = fields[1].decode().split()
    return Captured(
        id=identity("git", commit),
        content=content,
        source=Import("git", commit),
        tags=("commit", "merge") if len(parents) > 1 else ("commit",),
        created_at=_time(fields[2]),
        metadata={
            "commit": commit,
            "author": name,
            "email": email,
            "parents": list(parents),
            "files": [one["path"] for one in files[:FILES_SHOWN]],
            **notes,
        },
    )


def _files(listing: bytes) -> list[dict[str, str]]:
    """Return the changed files from git's ``--name-status -z``: action, path (and for a rename the old one first)."""
    parts = [part.decode("utf-8", "replace") for part in listing.strip(b"\n\0").split(b"\0") if part.strip()]
    files, place = [], 0
    while place + 1 < len(parts):
        letter = parts[place].strip()[:1]
        moved = letter in ("R", "C") and place + 2 < len(parts)
        path = f"{parts[place + 1]} -> {parts[place + 2]}" if moved else parts[place + 1]
        files.append({"action": _ACTIONS.get(letter, letter), "path": path})
        place += 3 if moved else 2
    return files


def _time(seconds: bytes) -> datetime | None:
    """Return the author date; None for one that no calendar has."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return None
