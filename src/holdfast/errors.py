"""Every error that Holdfast raises, in one tree.

    HoldfastError
    ├── StorageError                  the medium, the file or the server
    │   ├── InitError                 a store cannot be opened or created
    │   ├── ReadError                 reading failed
    │   ├── WriteError                writing failed; nothing of the commit is visible
    │   │   └── DiskFullError         no space left, or over quota
    │   ├── PermissionDeniedError     (PermissionError) the operating system refuses access
    │   ├── LockedError               another process holds the store: .owner
    │   ├── CorruptionError           stored bytes are not what was written: .path, .offset
    │   ├── PoisonedError             an earlier write failed; reopen the store
    │   ├── FormatError               written by a newer version, or not a Holdfast store
    │   ├── UnavailableError          a server cannot be reached
    │   └── CommitUnknownError        the commit may or may not have happened: .commit_id
    ├── TransactionError              the use of transactions
    │   ├── ConflictError             overtaken by another commit: .keys
    │   ├── ClosedError               a store, transaction or run is used after its end
    │   └── ReadOnlyError             a write to what is open for reading only
    ├── NotFoundError                 (KeyError) what must exist does not
    ├── InvalidInputError             (ValueError) an argument is refused: .field, .why
    ├── SerializationError            a value cannot be encoded, or stored bytes cannot be decoded
    ├── UnsupportedError              this backend cannot do that: .capability
    └── DeadlineError                 (TimeoutError) not done in the time given

A message says what failed, on what, and what to do. Errors of other libraries never escape: they are
mapped where they arise and kept as ``__cause__``.
"""

from __future__ import annotations

from collections.abc import Iterable


class HoldfastError(Exception):
    """The root of all errors of Holdfast."""


class StorageError(HoldfastError):
    """The medium, the file or the server failed."""


class InitError(StorageError):
    """A store cannot be opened or created."""


class ReadError(StorageError):
    """Reading failed."""


class WriteError(StorageError):
    """Writing failed; nothing of the commit is visible."""


class DiskFullError(WriteError):
    """No space is left on the device, or a quota is exceeded."""


class PermissionDeniedError(StorageError, PermissionError):
    """The operating system refuses access."""


class LockedError(StorageError):
    """Another process holds the store; ``owner`` names it where that is known."""

    def __init__(self, message: str, *, owner: str | None = None) -> None:
        super().__init__(message)
        self.owner = owner


class CorruptionError(StorageError):
    """Stored bytes are not what was written; ``path`` and ``offset`` say where, as far as known."""

    def __init__(self, message: str, *, path: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.offset = offset


class PoisonedError(StorageError):
    """An earlier write failed, so this writer accepts no more; reopen the store."""


class FormatError(StorageError):
    """The store was written by a newer version of Holdfast, or is no Holdfast store."""


class UnavailableError(StorageError):
    """A server cannot be reached."""


class CommitUnknownError(StorageError):
    """The commit may or may not have happened; ``commit_id`` (bytes) names it."""

    def __init__(self, message: str, *, commit_id: bytes | None = None) -> None:
        super().__init__(message)
        self.commit_id = commit_id


class TransactionError(HoldfastError):
    """Transactions were used in a way that cannot work."""


class ConflictError(TransactionError):
    """Another commit came first; ``keys`` are (kind, key) names of what changed, as far as known."""

    def __init__(self, message: str, *, keys: Iterable[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.keys = tuple(keys)


class ClosedError(TransactionError):
    """A store, transaction or run is used after its end, or in a forked child."""


class ReadOnlyError(TransactionError):
    """A write to what is open for reading only."""


class NotFoundError(HoldfastError, KeyError):
    """What must exist does not."""

    __str__ = Exception.__str__  # KeyError would show the repr of the message


class InvalidInputError(HoldfastError, ValueError):
    """An argument is refused: ``field`` names it, ``why`` says what is wrong. Nothing was changed."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class SerializationError(HoldfastError):
    """A value cannot be encoded, or stored bytes cannot be decoded."""


class UnsupportedError(HoldfastError):
    """This backend cannot do that; ``capability`` names what is missing."""

    def __init__(self, message: str, *, capability: str) -> None:
        super().__init__(message)
        self.capability = capability


class DeadlineError(HoldfastError, TimeoutError):
    """The work was not done in the time given."""
