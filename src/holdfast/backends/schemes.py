"""From URL to backend; each backend is imported when its scheme is first asked for."""

from __future__ import annotations

import re

from holdfast.backend import Backend
from holdfast.errors import HoldfastError, InitError, InvalidInputError
from holdfast.registry import PrimitiveRegistry

SCHEMES = ("memory:", "sqlite:", "log:")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):(.*)", re.DOTALL)  # two letters or more: "C:" is a drive
BUSY_SECONDS_MAX = 86_400.0


def open_backend(
    url: str, registry: PrimitiveRegistry, *, create: bool, read_only: bool, busy_seconds: float | None
) -> Backend:
    """Return the backend of a URL; a text without scheme is the path of an SQLite file.

    Raises InvalidInputError for a scheme that is not known, and what the backend raises.
    """
    try:
        return _open(url, registry, create, read_only, busy_seconds)
    except HoldfastError:
        raise
    except OSError as error:  # of asking for the path itself, as that its name is too long
        raise InitError(f"{url:.200} cannot be opened: {error.strerror}") from error


def _open(url: str, registry: PrimitiveRegistry, create: bool, read_only: bool, busy_seconds: float | None) -> Backend:
    found = _SCHEME.fullmatch(url)
    scheme, rest = (found[1].lower(), found[2]) if found else ("sqlite", url)
    if busy_seconds is not None and (
        type(busy_seconds) not in (int, float) or not 0 <= busy_seconds <= BUSY_SECONDS_MAX
    ):
        raise InvalidInputError("busy_seconds", f"must be a number of 0..{BUSY_SECONDS_MAX:.0f}, not {busy_seconds!r}")
    if scheme == "memory":
        from holdfast.backends.resident import ResidentBackend

        if rest:
            raise InvalidInputError("url", f"memory: takes no path, but {rest!r} was given")
        if read_only:
            raise InitError("memory: is always new and empty, so it cannot be opened with read_only=True")
        return ResidentBackend(registry)
    if scheme == "log":
        from pathlib import Path

        from holdfast.backends.log_engine import LogBackend

        path = rest.removeprefix("//")
        if not path:
            raise InvalidInputError("url", "log: needs a directory, for example log:agent")
        return LogBackend(registry, Path(path).expanduser(), create=create, read_only=read_only)
    if scheme == "sqlite":
        from pathlib import Path

        from holdfast.backends.sqlite import SqliteBackend
        from holdfast.backends.sqlite.backend import BUSY_SECONDS

        path = rest.removeprefix("//")
        if not path:
            raise InvalidInputError("url", "sqlite: needs a path, for example sqlite:agent.db")
        return SqliteBackend(
            registry,
            Path(path).expanduser(),
            create=create,
            read_only=read_only,
            busy_seconds=BUSY_SECONDS if busy_seconds is None else float(busy_seconds),
        )
    raise InvalidInputError("url", f"the scheme {scheme!r} is unknown; there are {', '.join(SCHEMES)} and plain paths")
