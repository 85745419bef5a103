"""Which process this is, and whether another one still lives.

A process is named by host, pid and start time, because a pid alone is used again by the system. Knows nothing of
stores; used for the owner of a run and, in the log engine, of a lock. Start times come from ``/proc`` (Linux,
field 22 of ``proc_pid_stat(5)``) and else from ``ps -o lstart``.
"""

from __future__ import annotations

import os
from functools import lru_cache

import msgspec


class Owner(msgspec.Struct, frozen=True):
    """A process: ``host`` name, ``pid``, and ``started``, the start time as the system writes it ("" if unknown)."""

    host: str
    pid: int
    started: str = ""


def this_process() -> Owner:
    """Return the calling process (asked anew after a fork)."""
    return _owner_of(os.getpid())


@lru_cache(maxsize=1)
def _owner_of(pid: int) -> Owner:
    return Owner(host=os.uname().nodename, pid=pid, started=_start_time(pid) or "")


def is_gone(owner: Owner) -> bool:
    """Return True if ``owner`` ran on this host and is certainly dead; False if it lives or cannot be judged."""
    if owner.host != os.uname().nodename:
        return False
    started = _start_time(owner.pid)
    if started is None:
        return not _exists(owner.pid)
    return bool(owner.started) and started != owner.started


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_time(pid: int) -> str | None:
    from pathlib import Path  # late, as subprocess below: slow to import, and rarely needed

    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _start_time_by_ps(pid)
    fields = stat[stat.rindex(")") + 2 :].split()
    return None if fields[0] == "Z" else fields[19]  # a zombie has ended; it only waits for its parent


def _start_time_by_ps(pid: int) -> str | None:
    """Ask ``ps``; None where the process or ``ps`` itself is not there."""
    import subprocess

    try:
        done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None
