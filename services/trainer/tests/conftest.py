"""A small plant's worth of synthetic parts, and the real backbone."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from trainer.adapters.backbone import write_backbone
from trainer.adapters.images import ImageStore
from trainer.ports import Extractor, ImageReader
from trainer.workshop import Report, Workshop

# Compiling takes jax longer than the few steps of a test; it is done without most optimizations.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def part(seed: int, scratched: bool) -> npt.NDArray[np.uint8]:
    """A brushed metal plate, 96 x 96 pixels; `scratched` draws a dark line across it."""
    random = np.random.default_rng(seed)
    plate = 140 + random.normal(0, 12, (96, 96)) + random.normal(0, 20, (96, 1))
    plate = cv2.GaussianBlur(plate.astype(np.float32), (3, 3), 0)
    if scratched:
        ends = random.integers(5, 90, 4)
        cv2.line(plate, (int(ends[0]), 4), (int(ends[1]), 92), 10.0, 2)
    return plate.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def plates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder per class: 40 good plates, 24 scratched ones."""
    folder = tmp_path_factory.mktemp("plates")
    for seed in range(64):
        scratched = seed % 8 in (0, 3, 6)
        sub = folder / ("scratch" if scratched else "good")
        sub.mkdir(exist_ok=True)
        assert cv2.imwrite(str(sub / f"{seed:03}.png"), part(seed, scratched))
    return folder


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """backbone.onnx from the installed wheel."""
    return write_backbone(tmp_path_factory.mktemp("models"))


def workshop(
    backbone: Path,
    extractor: Extractor,
    key: Path,
    folder: Path,
    *,
    reader: ImageReader | None = None,
    report: Report = print,
) -> Workshop:
    """A workshop at a fixed moment that writes into `folder` and keeps its work beside it."""
    work = folder.with_name(f"{folder.name}.work")
    return Workshop(reader or ImageStore(), extractor, backbone, key, folder, work, WHEN, report)
