"""Reads a snapshot's images from the disk or from the object store, and makes snapshots of plain folders."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from andon_chassis.objects import ObjectStore
from andon_events.records import ObjectRef
from andon_vision import decode_image, to_eight_bit
from andon_vision.sources import ELPV, SourceImage, load_source

from trainer.adapters.annotations import BOX_FILES, read_boxes
from trainer.adapters.drawing import mask_png
from trainer.adapters.manifests import parse_manifest
from trainer.domain.snapshot import DrawnMask, ImagePlace, Row, Snapshot, SnapshotError

# Experts disagreed on these cells; their label counts less.
UNSURE_WEIGHT = 0.6
LICENCES = {
    ELPV: "elpv-dataset: CC BY-NC-SA 4.0, non-commercial; cite Buerhop-Lutz et al. 2018 and Deitsch et al. 2019, 2021"
}


class ImageStore:
    """Files by path, objects by claim check; both are verified when a hash is known. Masks of areas are drawn."""

    def __init__(self, objects: ObjectStore | None = None) -> None:
        self._objects = objects

    def read(self, place: ImagePlace | DrawnMask) -> bytes:
        """The bytes of one image. Raises `SnapshotError` when they are not what the snapshot promises."""
        if isinstance(place, DrawnMask):
            return mask_png(place)
        if place.path is not None:
            data = Path(place.path).read_bytes()
            if place.sha256 is not None and hashlib.sha256(data).hexdigest() != place.sha256:
                raise SnapshotError(f"{place.path} has changed since the snapshot was made")
            return data
        if self._objects is None:
            raise SnapshotError(
                "the snapshot names objects, but no object store is configured (ANDON_S3_ENDPOINT)"
            )
        if place.bucket is None or place.key is None or place.sha256 is None or place.size_bytes is None:
            raise SnapshotError("an object needs bucket, key, sha256 and size_bytes")
        return self._objects.get(
            ObjectRef(
                bucket=place.bucket,
                key=place.key,
                sha256=place.sha256,
                media_type=place.media_type or "application/octet-stream",
                size_bytes=place.size_bytes,
            )
        )


def load_dataset(dataset: str) -> Snapshot:
    """A snapshot manifest, "elpv", or a folder of images. Raises `SnapshotError` or `SourceError`."""
    path = Path(dataset)
    if path.is_file():
        return parse_manifest(path.read_bytes())
    return snapshot_of(dataset, load_source(dataset))


def snapshot_of(source: str, images: list[SourceImage], name: str = "") -> Snapshot:
    """A snapshot of source images; its hash depends on their content, not on where they lie."""
    rows = [_row(image) for image in images]
    return Snapshot(
        name or Path(source).name, tuple(rows), LICENCES.get(source, "as the owner of the images states")
    )


def _row(image: SourceImage) -> Row:
    unsure = 0.0 < image.defect_probability < 1.0
    told = image.annotation is not None and image.annotation.suffix.lower() in BOX_FILES
    boxes = read_boxes(image.annotation) if image.annotation and told else ()
    spelled = {_plain(name): name for name in image.classes}
    boxes = tuple(
        replace(box, class_name=spelled.get(_plain(box.class_name), box.class_name)) for box in boxes
    )
    return Row(
        id=f"{image.path.parent.name}/{image.path.name}",
        image=_place(image.path),
        classes=image.classes,
        is_defect=image.is_defect,
        weight=UNSURE_WEIGHT if unsure else 1.0,
        group=image.group,
        variant=image.variant,
        station=image.station_hint,
        boxes=boxes,
        mask=_place(image.annotation) if image.annotation and not told else None,
        template=_place(image.template) if image.template and image.template != image.path else None,
    )


def _plain(name: str) -> str:
    """A class's name without what annotation files spell differently from the index beside them."""
    return name.lower().replace("_", "-").replace(" ", "-")


def _place(path: Path) -> ImagePlace:
    return ImagePlace(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def brightness_of(images: Sequence[bytes]) -> npt.NDArray[np.float64]:
    """Mean of each encoded image, 0 to 255. Raises `ImageRefused`."""
    return np.array([float(to_eight_bit(decode_image(image).pixels).mean()) for image in images])
