"""``log:DIR``: resident tables whose commits are kept in a write-ahead log, with snapshots."""

from holdfast.backends.log_engine.backend import LogBackend

__all__ = ["LogBackend"]
