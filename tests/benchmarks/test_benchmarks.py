"""The benchmarks run and print every figure; what the figures are is no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_every_figure_is_printed():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--json"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert len(found["rows"]) == 15
    assert all(row["us"] > 0 and row["raw_us"] > 0 for row in found["rows"])
    assert found["import_ms"] > 0


@pytest.mark.slow
def test_every_figure_of_the_log_engine_is_printed():
    command = [sys.executable, "-m", "benchmarks", "log", "--quick"]
    done = subprocess.run([*command, "--json"], cwd=ROOT, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["rows"]
    assert len(found) == 12
    assert all(row["ours"] > 0 and row["bare"] > 0 and row["ratio"] > 0 for row in found)
    text = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert all(row["name"] in text for row in found)
