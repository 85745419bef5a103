"""Tests for whoever writes a backend or a primitive: the suite that a backend passes, or it is no backend.

``BackendConformance`` is a pytest class to subclass; ``StoreMachine`` compares a store with a plain model; ``crash``
kills writers at random moments. Needs the extra ``holdfast[test]``.
"""

from __future__ import annotations

import pytest

for _name in ("conformance", "contract", "isolation", "model_based", "crash", "threads", "verbs", "leaving"):
    pytest.register_assert_rewrite(f"holdfast.testing.{_name}")

from holdfast.testing.conformance import BackendConformance  # noqa: E402
from holdfast.testing.model_based import StoreMachine, machine_for  # noqa: E402

__all__ = ["BackendConformance", "StoreMachine", "machine_for"]
