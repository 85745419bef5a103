"""A disk that fails on purpose: errors, short writes, crashes at a chosen moment, and power cuts.

``FaultyDisk`` does everything in real files, but syncs them in thought only: it keeps beside them what a medium would
hold - the bytes of each file and the names of each directory at their last sync - and, in order, what was done since.
``after_power_cut`` makes a directory of what may be left of that. What was synced is sure. Of the bytes that were not,
the seed leaves none, those up to one torn at any byte, or any of the pages, with zeros or stale bytes in the place of
those that are lost; and of the names, those of before, the changes up to one, or any of the changes. What a sync that
failed was to write can be read, but never gets to the medium: the system takes it for written.

Operations are ``open read list write sync truncate reserve rename remove sync_directory make_directory lock``. Those
that change something are counted in ``steps``, so a test can crash at each: first run the work whole, then again for
every n up to ``steps``.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TypeAlias

import msgspec

from holdfast.errors import ReadError, StorageError, WriteError
from holdfast.log.files import Disk, Lock, LogFile, ReadFile, failure

PAGE_BYTES = 4096
STEPS = frozenset(
    ("open", "write", "sync", "truncate", "reserve", "rename", "remove", "sync_directory", "make_directory")
)
_Change: TypeAlias = tuple[str, int, bytes]
"""("write", offset, bytes), ("truncate", size, b"") or ("reserve", size, b"")."""


class SimulatedCrash(BaseException):
    """The process or the machine stopped here; nothing handles that."""


class _File:
    """What the medium holds of a file, and what was done to it since."""

    def __init__(self, content: bytes = b"") -> None:
        self.content = content
        self.pending: list[_Change] = []

    def sync(self) -> None:
        self.content = _changed(self.content, self.pending)
        self.pending = []


class _Directory:
    """The names that the medium holds, and what was done to them since."""

    def __init__(self) -> None:
        self.names: dict[str, _File | _Directory] = {}
        self.now: dict[str, _File | _Directory] = {}
        self.pending: list[tuple[str, _File | _Directory | None, str]] = []

    def change(self, name: str, node: _File | _Directory | None, gone: str = "") -> None:
        """Put ``node`` (None: nothing) under ``name``, and take the name ``gone`` away."""
        self.pending.append((name, node, gone))
        _rename(self.now, name, node, gone)

    def sync(self) -> None:
        self.names = dict(self.now)
        self.pending = []


class _Plan(msgspec.Struct):
    """A fault to come: ``error`` an errno or, where it is None, how many bytes a write takes."""

    first: int
    last: int
    error: int | None
    most: int = 0


class FaultyDisk(Disk):
    """A disk below ``root``, whose content is taken for durable when this is made. For one thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps = 0
        self.has_crashed = False
        self.calls: dict[str, int] = {}
        self._plans: dict[str, list[_Plan]] = {}
        self._crash: tuple[int, int] | None = None
        self._open: list[LogFile | Lock] = []
        self._cuts = 0
        self._tree = _read_tree(root)

    # -- what goes wrong -----------------------------------------------------------------------------------------------

    def fail(self, operation: str, error: int, *, nth: int = 1, times: int = 1) -> None:
        """Let an operation fail with an errno: its ``nth`` call from now on, and ``times`` - 1 calls after that."""
        self._plan(operation, nth, times, error, 0)

    def shorten(self, most: int, *, nth: int = 1, times: int = 1) -> None:
        """Let a write take at most so many bytes, as a system may."""
        self._plan("write", nth, times, None, most)

    def _plan(self, operation: str, nth: int, times: int, error: int | None, most: int) -> None:
        first = self.calls.get(operation, 0) + nth
        self._plans.setdefault(operation, []).append(_Plan(first, first + times - 1, error, most))

    def restart(self) -> None:
        """Go on as another process on the same machine would; there are no faults to come any more."""
        self.crash()
        self.has_crashed = False
        self._open.clear()
        self._plans.clear()
        self._crash = None

    def crash_at(self, step: int, *, torn: int = 0) -> None:
        """Stop at a step, counted from 1: before it is done, or, for a write, after ``torn`` bytes of it."""
        self._crash = (step, torn)

    def crash(self) -> None:
        """Stop now: what is open is closed as the end of a process does, and nothing can be done any more."""
        self.has_crashed = True
        for one in self._open:
            one.close()

    def before(self, operation: str, path: Path, other: type[StorageError] | None = WriteError) -> _Plan | None:
        """Count a call, and fail or crash if that is its fate; return what else is to happen to it.

        It fails as the disk does that maps an OSError, with ``other``; or with the OSError itself if that is None.
        """
        if self.has_crashed:
            raise SimulatedCrash(f"{operation} {path} after the end")
        number = self.calls[operation] = self.calls.get(operation, 0) + 1
        self.steps += operation in STEPS
        if operation in STEPS and self._crash is not None and self.steps == self._crash[0]:
            if operation == "write" and self._crash[1]:
                return _Plan(number, number, None, self._crash[1])
            self.crash()
            raise SimulatedCrash(f"at step {self.steps}, {operation} {path}")
        for plan in self._plans.get(operation, ()):
            if plan.first <= number <= plan.last:
                if plan.error is None:
                    return plan
                error = OSError(plan.error, os.strerror(plan.error), str(path))
                if other is None:
                    raise error
                raise failure(error, f"used ({operation})", path, other) from error
        return None

    def is_at_crash(self) -> bool:
        """Whether the step that is under way is the last one."""
        return self._crash is not None and self.steps == self._crash[0]

    # -- the operations ------------------------------------------------------------------------------------------------

    def open_append(self, path: Path, *, create: bool = False, exclusive: bool = False) -> LogFile:
        self.before("open", path)
        parent = self._directory(path.parent)
        file = super().open_append(path, create=create, exclusive=exclusive)
        if path.name not in parent.now:
            parent.change(path.name, _File())
        return file

    def _opened(self, path: Path, descriptor: int, size: int) -> LogFile:
        file = _FaultyFile(self, path, descriptor, size)
        self._open.append(file)
        return file

    def read(self, path: Path, offset: int = 0, most: int = -1) -> bytes:
        self.before("read", path, ReadError)
        return super().read(path, offset, most)

    def open_read(self, path: Path) -> ReadFile:
        self.before("read", path, ReadError)
        return super().open_read(path)

    def list(self, directory: Path) -> list[str]:
        self.before("list", directory, ReadError)
        return super().list(directory)

    def rename(self, path: Path, target: Path) -> None:
        self.before("rename", path)
        super().rename(path, target)
        if path.parent != target.parent:
            raise AssertionError("a file is renamed within its directory")
        parent = self._directory(path.parent)
        parent.change(target.name, parent.now[path.name], path.name)

    def remove(self, path: Path) -> None:
        self.before("remove", path)
        super().remove(path)
        self._directory(path.parent).change(path.name, None)

    def sync_directory(self, path: Path) -> None:
        if path.is_relative_to(self.root):  # what is above is taken for durable
            self.before("sync_directory", path)
            self._directory(path).sync()

    def _make_directory(self, path: Path) -> None:
        self.before("make_directory", path)
        super()._make_directory(path)
        self._directory(path.parent).change(path.name, _Directory())

    def lock(self, path: Path, owner: str) -> Lock:
        self.before("lock", path)
        held = super().lock(path, owner)
        self._open.append(held)
        return held

    # -- the medium ----------------------------------------------------------------------------------------------------

    def node(self, path: Path) -> _File | _Directory:
        """What the medium knows of a path."""
        node: _File | _Directory = self._tree
        for part in path.relative_to(self.root).parts:
            if not isinstance(node, _Directory):
                raise AssertionError(f"{path} is in a file")
            node = node.now[part]
        return node

    def _directory(self, path: Path) -> _Directory:
        node = self.node(path)
        if not isinstance(node, _Directory):
            raise AssertionError(f"{path} is no directory")
        return node

    def after_power_cut(self, seed: int) -> Path:
        """A new directory beside ``root`` with what the medium may hold when the power fails now."""
        self._cuts += 1
        target = self.root.with_name(f"{self.root.name}-cut-{seed}-{self._cuts}")
        _materialise(self._tree, target, random.Random(seed))
        return target


class _FaultyFile(LogFile):
    """A file of a ``FaultyDisk``."""

    def __init__(self, disk: FaultyDisk, path: Path, descriptor: int, size: int) -> None:
        super().__init__(path, descriptor, size)
        self._disk = disk
        self._system_write = self._pwrite
        self._pwrite = self._write_some
        self._medium: _File | None = None

    def _node(self) -> _File:
        if self._medium is None:
            node = self._disk.node(self.path)
            if not isinstance(node, _File):
                raise AssertionError(f"{self.path} is no file")
            self._medium = node
        return self._medium

    def _write_some(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        plan = self._disk.before("write", self.path, None)
        if plan is not None:
            data = data[: plan.most]
        done = self._system_write(descriptor, data, offset) if len(data) else 0
        self._node().pending.append(("write", offset, bytes(data[:done])))
        if plan is not None and self._disk.is_at_crash():
            self._disk.crash()
            raise SimulatedCrash(f"within a write to {self.path}")
        return done

    def sync(self) -> None:
        try:
            self._disk.before("sync", self.path)
        except StorageError:
            self._node().pending.clear()  # readable still, but clean to the system: no later sync writes it
            raise
        self._node().sync()

    def truncate(self, size: int) -> None:
        self._disk.before("truncate", self.path)
        super().truncate(size)
        self._node().pending.append(("truncate", size, b""))

    def reserve(self, size: int) -> None:
        self._disk.before("reserve", self.path)
        super().reserve(size)
        self._node().pending.append(("reserve", size, b""))


# -- what is left ------------------------------------------------------------------------------------------------------


def _read_tree(path: Path) -> _Directory:
    directory = _Directory()
    for one in sorted(path.iterdir()):
        directory.now[one.name] = _read_tree(one) if one.is_dir() else _File(one.read_bytes())
    directory.sync()
    return directory


def _changed(content: bytes, changes: list[_Change]) -> bytes:
    new = bytearray(content)
    for kind, place, data in changes:
        if kind == "truncate":
            del new[place:]
        if len(new) < place:
            new.extend(bytes(place - len(new)))
        if kind == "write":
            new[place : place + len(data)] = data
    return bytes(new)


def _rename(names: dict[str, _File | _Directory], name: str, node: _File | _Directory | None, gone: str) -> None:
    names.pop(gone, None)
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _materialise(directory: _Directory, target: Path, chance: random.Random) -> None:
    target.mkdir()
    names, some = dict(directory.names), directory.pending
    how = chance.choice(("none", "first", "any"))
    if how == "first":
        some = some[: chance.randint(0, len(some))]
    for change in some:
        if how == "first" or (how == "any" and chance.random() < 0.5):
            _rename(names, *change)
    for name, node in sorted(names.items()):
        if isinstance(node, _Directory):
            _materialise(node, target / name, chance)
        else:
            (target / name).write_bytes(_left_of(node, chance))


def _left_of(file: _File, chance: random.Random) -> bytes:
    how = chance.choice(("none", "first", "pages", "pages"))
    if how == "none":
        return file.content
    return (_first_bytes if how == "first" else _any_pages)(file, chance)


def _first_bytes(file: _File, chance: random.Random) -> bytes:
    """All changes up to one, of which a part at most."""
    whole = chance.randint(0, len(file.pending))
    kept = file.pending[:whole]
    for kind, place, data in file.pending[whole : whole + 1]:
        kept.append((kind, place, data[: chance.randint(0, len(data))]) if kind == "write" else ("write", 0, b""))
    return _changed(file.content, kept)


def _any_pages(file: _File, chance: random.Random) -> bytes:
    """Each page as it was or as it is; the length of either; where it grew, zeros or what the medium held once."""
    old, new = file.content, _changed(file.content, file.pending)
    stale = chance.choice((bytes, bytes, chance.randbytes))
    grown = old + stale(max(len(new) - len(old), 0))
    new += old[len(new) :]
    pages = []
    for place in range(0, len(new), PAGE_BYTES):
        pages.append(chance.choice((grown, new))[place : place + PAGE_BYTES])
    length = chance.choice((len(old), len(_changed(old, file.pending))))
    return b"".join(pages)[:length]
