"""The resident backend passes the suite."""

from __future__ import annotations

from holdfast.testing import BackendConformance


class TestMemory(BackendConformance):
    persistent = False
    multi_process = False

    def url(self, tmp_path):
        return "memory:"
