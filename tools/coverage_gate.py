"""Fail unless the floors F0-F5 and the primitives are covered to the last line and branch.

Reads the data that the tests have left. Run by ``make test``.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
from pathlib import Path

import coverage

LEAST_PERCENT = 100.0
FREE = ("search/", "cli/", "capture/", "testing/", "integrations/", "mcp/")
FREE_FILES = (
    "store.py",
    "aio.py",
    "aio_faces.py",
    "async_work.py",
    "faces.py",
    "records.py",
    "demo.py",
    "__main__.py",
    "__init__.py",
)


def is_gated(path: str) -> bool:
    inside = path.replace("\\", "/").split("holdfast/", 1)[-1]
    return not inside.startswith(FREE) and inside.rsplit("/", 1)[-1] not in FREE_FILES


def main() -> int:
    data = coverage.Coverage()
    data.combine(keep=True) if list(Path().glob(".coverage.*")) else None
    data.load()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        sys.stdout, kept = io.StringIO(), sys.stdout
        try:
            data.json_report(outfile=str(report))
        finally:
            sys.stdout = kept
        files = json.loads(report.read_text(encoding="utf-8"))["files"]
    misses = []
    gated = {path: one for path, one in files.items() if is_gated(path)}
    for path, one in sorted(gated.items()):
        if one["summary"]["percent_covered"] < LEAST_PERCENT:
            lines = ", ".join(map(str, one["missing_lines"]))
            branches = ", ".join(f"{start}->{end}" for start, end in one.get("missing_branches", []))
            misses.append(f"  {path}: {one['summary']['percent_covered']:.1f} %; lines: {lines}; branches: {branches}")
    print(
        f"coverage gate: {len(gated) - len(misses)} of {len(gated)} modules "
        "of the floors F0-F5 and the primitives are whole"
    )
    if misses:
        print("\n".join(misses))
    return 1 if misses or not gated else 0


if __name__ == "__main__":
    sys.exit(main())
