"""Checking every byte of a log store: which file, where, and what is wrong. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from holdfast.errors import CorruptionError, FormatError, ReadError
from holdfast.log.files import Disk
from holdfast.log.recovery import LogRecovery
from holdfast.log.snapshot import SnapshotReader, find_snapshots


def faults(directory: Path, disk: Disk) -> Iterator[str]:
    """One line for each fault. Every snapshot is checked, and the log since the oldest that is sound."""
    oldest = 0
    for sequence, path in find_snapshots(directory, disk):
        try:
            reader = SnapshotReader(path, disk)
            for _, data in reader.sections():
                for _ in reader.pages(data):
                    pass
            oldest = sequence
        except (CorruptionError, FormatError, ReadError) as error:
            yield str(error)
    try:
        recovery = LogRecovery(directory, disk, oldest)
        for _ in recovery.frames():
            pass
        torn = recovery.report
        if torn.torn_bytes:
            yield (
                f"{torn.torn_path} at byte {torn.torn_offset}: {torn.torn_bytes} bytes are no whole transaction "
                f"({torn.torn_why})"
            )
    except (CorruptionError, FormatError, ReadError) as error:
        yield str(error)
