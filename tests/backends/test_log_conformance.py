"""The conformance suite on ``log:``."""

from __future__ import annotations

from pathlib import Path

from holdfast.testing import BackendConformance


class TestLog(BackendConformance):
    persistent, multi_process = True, False

    def url(self, tmp_path: Path) -> str:
        return f"log:{tmp_path / 'store'}"
