"""Writing an image as a snapshot file, while commits go on.

A snapshot is in no hurry, and commits are: where some took place while a page was written, it rests for twice as long
as that took, and it syncs a little at a time, because a long sync makes those of the commits wait behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from holdfast import clock
from holdfast.backends.log_engine.image import Image
from holdfast.backends.log_engine.offload import Offload
from holdfast.log.files import Disk
from holdfast.log.snapshot import SnapshotHeader, SnapshotWriter

REST = 2
"""How long to rest after a page, in the time that it took."""
REST_SECONDS_MAX = 0.01
SYNC_BYTES = 1024 * 1024


def save_image(
    image: Image,
    directory: Path,
    disk: Disk,
    sequence: int,
    store_id: bytes,
    offload: Offload,
    newest: Callable[[], int],
) -> tuple[Path, int]:
    """Write the snapshot of a store that covers ``sequence``, and let go of the image; return its file and its bytes.

    ``newest`` tells the sequence of the newest commit. What ``offload`` puts into blob files is durable before the
    snapshot is in place.

    Raises WriteError, DiskFullError or PermissionDeniedError; nothing of the snapshot is left then, nor of its blobs -
    unless it was in place already, and only its name is not known to be durable.
    """
    try:
        writer = SnapshotWriter(directory, disk, SnapshotHeader(image.sections, clock.now(), sequence, store_id))
        try:
            _write(writer, image, offload, newest)
            size = writer.size
            offload.seal()
            path = writer.finish()
        except BaseException:
            writer.discard()
            if writer.is_in_place:
                offload.end()
            else:
                offload.give_back()
            raise
        offload.end()
    finally:
        image.close()
    return path, size


def _write(writer: SnapshotWriter, image: Image, offload: Offload, newest: Callable[[], int]) -> None:
    seen, synced, began = newest(), 0, time.perf_counter()
    for number, page in image.pages(offload.settle):
        if not page:
            writer.section(number)
            continue
        writer.page(page)
        if writer.size - synced > SYNC_BYTES:
            writer.sync()
            synced = writer.size
        if (now := newest()) != seen:
            time.sleep(min(REST * (time.perf_counter() - began), REST_SECONDS_MAX))
            seen = now
        began = time.perf_counter()
