"""The demonstration does what it says, from the root of a repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from holdfast import demo


@pytest.mark.slow
def test_the_demo_loses_nothing(tmp_path):
    (tmp_path / "README.md").write_text("# A\n\nan acknowledged write is never lost\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    done = subprocess.run([sys.executable, "-m", "holdfast.demo"], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "COLUMNS": "120"})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    told = re.findall(r"killed with SIGKILL 5 times; it acknowledged (\d+) steps", done.stdout)
    assert len(told) == len(demo.STORES), done.stdout
    for steps in told:  # a kill may strike between a commit and its being told
        assert demo.STEPS - 5 <= int(steps) <= demo.STEPS
    assert done.stdout.count("✓") == 7 * len(demo.STORES)
    assert "✗" not in done.stdout


def test_an_agent_that_fails_by_itself_is_no_kill_and_ends_the_demo(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# A\n", encoding="utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    monkeypatch.setattr(demo.sys, "executable", shutil.which("false"))  # this agent does nothing but fail
    assert demo.main() == 1
    assert "the agent ended with 1, and nobody killed it" in capsys.readouterr().out
