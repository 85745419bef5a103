"""Writing an image as a snapshot file, while commits go on."""

from __future__ import annotations

from pathlib import Path

from holdfast import clock
from holdfast.backends.log_engine.image import Image
from holdfast.log.files import Disk
from holdfast.log.snapshot import SnapshotHeader, SnapshotWriter


def save_image(image: Image, directory: Path, disk: Disk, sequence: int, store_id: bytes) -> tuple[Path, int]:
    """Write the snapshot of a store that covers ``sequence``, and let go of the image; return its file and its bytes.

    Raises WriteError, DiskFullError or PermissionDeniedError; nothing of the snapshot is left then.
    """
    try:
        writer = SnapshotWriter(directory, disk, SnapshotHeader(image.sections, clock.now(), sequence, store_id))
        try:
            for number, page in image.pages():
                if page:
                    writer.page(page)
                else:
                    writer.section(number)
            size = writer.size
            path = writer.finish()
        except BaseException:
            writer.discard()
            raise
    finally:
        image.close()
    return path, size
