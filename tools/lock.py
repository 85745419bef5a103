"""Write requirements.lock: names, versions and hashes of all that ``make`` installs, and no addresses.

It is resolved for the oldest Python that is supported, with the hashes of every file of a release, so that it serves
newer ones too. Run by ``make lock``.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HEADER = "# Written by `make lock`: names, versions and hashes of what make installs.\n"
BUILD = ("hatchling", "editables")


def requirements() -> list[str]:
    """The requirements of the project and of all its extras, without the extras that name each other."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    return project["dependencies"] + [one for one in extras if not one.startswith("holdfast[")]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        extra, out = Path(folder) / "build.in", Path(folder) / "out.txt"
        extra.write_text("\n".join([*BUILD, *requirements()]) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--allow-unsafe"]
        command += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--strip-extras"]
        command += ["--no-emit-trusted-host", "--no-emit-options", "--output-file", str(out)]
        subprocess.run([*command, str(extra)], check=True)
        text = out.read_text(encoding="utf-8")
    if re.search(r"https?://|file:", text):
        raise SystemExit("an address got into the lock")
    Path("requirements.lock").write_text(HEADER + text, encoding="utf-8")


if __name__ == "__main__":
    main()
