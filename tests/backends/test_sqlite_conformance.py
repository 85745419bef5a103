"""The SQLite backend passes the suite."""

from __future__ import annotations

from holdfast.testing import BackendConformance


class TestSqlite(BackendConformance):
    def url(self, tmp_path):
        return f"sqlite:{tmp_path}/store.db"
