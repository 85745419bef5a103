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
    assert len(found["rows"]) == 13
    assert all(row["us"] > 0 and row["raw_us"] > 0 for row in found["rows"])
    assert found["import_ms"] > 0
