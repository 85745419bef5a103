"""The files of a log: where they are, and which segments there are. Knows names, not what is in them."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from holdfast.log.files import Disk

_NAME = re.compile(r"(\d{20})\.wal", re.ASCII).fullmatch


class Segment(msgspec.Struct, frozen=True):
    """A segment: its first and last sequence (the one before the first if it has no frame), and its bytes."""

    path: Path
    first: int
    last: int
    size: int


def segment_folder(directory: Path) -> Path:
    """Where the segments of a store are."""
    return directory / "wal"


def segment_path(directory: Path, first: int) -> Path:
    """The file of the segment whose first sequence is ``first``."""
    return segment_folder(directory) / f"{first:020d}.wal"


def slots_path(directory: Path) -> Path:
    """The file of the durable slots."""
    return directory / "DURABLE"


def find_segments(directory: Path, disk: Disk) -> list[tuple[int, Path]]:
    """(first sequence, file) of each segment in order; other names are left out. ReadError."""
    folder = segment_folder(directory)
    if not disk.exists(folder):
        return []
    names = (_NAME(name) for name in disk.list(folder))
    return [(int(name[1]), folder / name[0]) for name in names if name]
