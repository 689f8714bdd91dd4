"""Reads masks: which pixel shows which class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from andon_vision import ImageRefused, decode_image, to_eight_bit

from trainer.domain.snapshot import Row, SnapshotError
from trainer.ports import ImageReader

Labels = npt.NDArray[np.uint8]
_HALF = 127  # masks of one class that went through a JPEG or a resizing have greys at their edges


def labels_of(row: Row, reader: ImageReader, size: tuple[int, int], classes: Sequence[str]) -> Labels:
    """(height, width) of 0 or the number of a class from 1 on, in the order of `classes`; others count as good.

    Raises `SnapshotError` for a mask that is missing, cannot be read or is not of the `size` (height, width) given.
    """
    if row.mask is None:
        if row.is_defect:
            raise SnapshotError(
                f"{row.id} is a defect without a mask; segmentation needs a PNG that shows where it is"
            )
        return np.zeros(size, np.uint8)
    try:
        values = to_eight_bit(decode_image(reader.read(row.mask)).pixels)
    except ImageRefused as error:
        raise SnapshotError(f"the mask of {row.id} cannot be read: {error.reason}") from error
    values = values if values.ndim == 2 else values.max(axis=2)
    if values.shape != size:
        raise SnapshotError(
            f"the mask of {row.id} is {values.shape[1]} x {values.shape[0]} pixels, its image {size[1]} x {size[0]}"
        )
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    if len(row.classes) == 1:
        return np.where(values > _HALF, numbers.get(row.classes[0], 0), 0).astype(np.uint8)
    if int(values.max()) > len(row.classes):
        raise SnapshotError(
            f"the mask of {row.id} holds the value {int(values.max())}, but the image has {len(row.classes)} classes"
        )
    table = np.array([0, *(numbers.get(name, 0) for name in row.classes)], np.uint8)
    return table[values]
