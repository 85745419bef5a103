"""The demonstration does what it says, from the root of a repository."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_demo_loses_nothing(tmp_path):
    (tmp_path / "README.md").write_text("# A\n\nan acknowledged write is never lost\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = subprocess.run([sys.executable, "-m", "holdfast.demo"], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "COLUMNS": "120"})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "killed with SIGKILL 5 times; it acknowledged 400 steps" in done.stdout
    assert "✗" not in done.stdout
