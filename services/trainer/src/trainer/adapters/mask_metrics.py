"""Counts pixels of predicted masks against drawn ones, with scikit-learn; its test counts them with another library.

From the counts come Dice and IoU (`trainer.domain.segmentation`), so a bootstrap need not look at pixels again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.metrics import confusion_matrix


def overlap(
    predicted: npt.NDArray[np.uint8], actual: npt.NDArray[np.uint8], classes: int
) -> npt.NDArray[np.int64]:
    """(classes, 3) counts of one image: pixels where both agree, predicted pixels, true pixels.

    Both maps hold 0 or the number of a class from 1 on.
    """
    table = confusion_matrix(actual.ravel(), predicted.ravel(), labels=range(1 + classes))
    return np.stack([table.diagonal(), table.sum(axis=0), table.sum(axis=1)], axis=1)[1:].astype(np.int64)
