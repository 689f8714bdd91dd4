"""What every training task works with, put together once by the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from andon_vision import Preprocessing

from trainer.ports import Extractor, ImageReader

Report = Callable[[str], None]
"""Takes a line of progress."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """The world around a training run.

    Attributes:
        reader: Reads the images, masks and templates that the snapshot names.
        extractor: Pooled features and perceptual hashes of encoded images.
        backbone: The frozen backbone's ONNX file.
        key: The private key that signs the release.
        folder: Where the release is written.
        work: Where a long training keeps what it needs to go on after it was stopped.
        now: When the training started.
        report: Takes a line of progress.
        rich: Makes extractors of the features that a kernel machine needs; None leaves that kind of head untried.
        other_backbone: Gives the file of another frozen backbone by its name; None leaves others untried.
    """

    reader: ImageReader
    extractor: Extractor
    backbone: Path
    key: Path
    folder: Path
    work: Path
    now: datetime
    report: Report
    rich: Callable[[Preprocessing], Extractor] | None = None
    other_backbone: Callable[[str], Path] | None = None
