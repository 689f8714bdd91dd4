"""What a release says of images, one JSON line each: for a look, for another tool, for a second opinion on figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from andon_vision.release_bundle import ReleaseBundle, bundle_files
from andon_vision.runner import Reading, ReleaseRunner

from trainer.adapters.images import load_dataset
from trainer.domain.holdout import open_rows
from trainer.domain.snapshot import ImagePlace, SnapshotError
from trainer.ports import ImageReader

BATCH: Final = 8
_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Asked:
    """An image to ask about, and the picture of the same place without a defect where a release compares."""

    name: str
    image: ImagePlace
    template: ImagePlace | None = None


def pictures(folder: Path) -> list[Asked]:
    """All pictures below a folder, by relative path. Raises `SnapshotError` where there are none."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise SnapshotError(f"there is no picture in {folder}; give a folder of PNG, JPEG, BMP or TIFF files")
    return [Asked(str(path.relative_to(folder)), ImagePlace(path=str(path))) for path in files]


def rows_of(dataset: str) -> list[Asked]:
    """The images of a dataset, without its holdout, which only an evaluation may read."""
    return [Asked(row.id, row.image, row.template) for row in open_rows(load_dataset(dataset))]


def predict(
    bundle: ReleaseBundle, folder: Path, asked: Sequence[Asked], reader: ImageReader
) -> Iterator[dict[str, Any]]:
    """One object for each image, in order, with every region, also of images that pass."""
    runner = ReleaseRunner(bundle, bundle_files(folder), threads=2, all_regions=True)
    rest = iter(asked)
    while chunk := list(islice(rest, BATCH)):
        readings = runner.read(
            [reader.read(item.image) for item in chunk],
            [reader.read(item.template) if item.template else None for item in chunk],
        )
        for item, reading in zip(chunk, readings, strict=True):
            yield {"image": item.name, "release": bundle.release, **_told(bundle, reading)}


def _told(bundle: ReleaseBundle, reading: Reading) -> dict[str, Any]:
    if reading.refused:
        return {"refused": reading.refused}
    predicted, scores = bundle.named(reading.defect_score, reading.class_probabilities)
    return {
        "defect_score": reading.defect_score,
        "band": bundle.band(reading.defect_score),
        "predicted_class": predicted,
        "scores": scores,
        "regions": [region.to_json() for region in reading.regions],
    }
