"""``sqlite:PATH``: one SQLite file, many threads and processes."""

from holdfast.backends.sqlite.backend import SqliteBackend

__all__ = ["SqliteBackend"]
