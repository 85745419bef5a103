"""The command line: ``holdfast COMMAND``; one file a group of commands.

Data goes to standard output, everything else to standard error. An error is one line that says what to do. Exit codes:
0 done, 1 it failed (or was not found, or ``verify`` found faults), 2 the command or its input is wrong, 130 Ctrl-C.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the entry point of the ``holdfast`` script."""
    from holdfast.cli.root import run

    sys.exit(run(sys.argv[1:]))
