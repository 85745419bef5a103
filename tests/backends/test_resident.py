"""The resident backend passes the suite."""

from __future__ import annotations

import holdfast
from holdfast.testing import BackendConformance


class TestMemory(BackendConformance):
    persistent = False
    multi_process = False

    def url(self, tmp_path):
        return "memory:"


def test_what_it_is_asked_beside_the_contract():
    with holdfast.open("memory:") as store:
        store.kv.put("k", 1)
        assert store.status()["bytes"] is None and store.verify() == []
        assert store._backend.text_index() is None
        store.flush()
