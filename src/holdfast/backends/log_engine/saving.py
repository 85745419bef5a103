"""Writing an image as a snapshot file, while commits go on."""

from __future__ import annotations

from pathlib import Path

from holdfast import clock
from holdfast.backends.log_engine.image import Image
from holdfast.backends.log_engine.offload import Offload
from holdfast.log.files import Disk
from holdfast.log.snapshot import SnapshotHeader, SnapshotWriter


def save_image(
    image: Image, directory: Path, disk: Disk, sequence: int, store_id: bytes, offload: Offload
) -> tuple[Path, int]:
    """Write the snapshot of a store that covers ``sequence``, and let go of the image; return its file and its bytes.

    What ``offload`` puts into blob files is durable before the snapshot is in place.

    Raises WriteError, DiskFullError or PermissionDeniedError; nothing of the snapshot is left then, nor of its blobs -
    unless it was in place already, and only its name is not known to be durable.
    """
    try:
        writer = SnapshotWriter(directory, disk, SnapshotHeader(image.sections, clock.now(), sequence, store_id))
        try:
            for number, page in image.pages(offload.settle):
                if page:
                    writer.page(page)
                else:
                    writer.section(number)
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
