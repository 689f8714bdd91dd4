"""Reads a public data set for the benchmark. The holdout is never opened."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from andon_vision import near_duplicate_groups

from trainer.adapters.images import ImageStore, load_dataset
from trainer.benchmark.table import Bench, DataMissing, Material
from trainer.domain.holdout import open_rows
from trainer.domain.snapshot import Snapshot
from trainer.domain.split import joined_groups
from trainer.ports import Extractor, ImageReader

NEAR_DUPLICATE_BITS = 6


def material_of(snapshot: Snapshot, reader: ImageReader, extractor: Extractor) -> Material:
    """The rows outside the holdout with their images and groups; refused images are left out."""
    rows = open_rows(snapshot)
    images = [reader.read(row.image) for row in rows]
    hashes = extractor.hashes(images)
    kept = [index for index, value in enumerate(hashes) if value is not None]
    rows, images = [rows[index] for index in kept], [images[index] for index in kept]
    known = [value for value in hashes if value is not None]
    near = near_duplicate_groups(known, NEAR_DUPLICATE_BITS)
    return Material(
        rows, images, known, joined_groups(near, [row.group or None for row in rows]), NEAR_DUPLICATE_BITS
    )


def data_set(bench: Bench, name: str) -> Path:
    """The folder of a public set. Raises `DataMissing`."""
    folder = bench.data / name
    if not (folder / "index.csv").is_file():
        raise DataMissing(f"{folder} is not there; name the folder of the public sets with --data")
    return folder


def load(bench: Bench, dataset: str, extractor: Extractor) -> Material:
    """A set under `bench.data`, or "elpv" from its package. Raises `DataMissing`."""
    if dataset == "elpv":
        if importlib.util.find_spec("elpv_dataset") is None:
            raise DataMissing("the package elpv-dataset is not installed; `make setup` brings it")
        return material_of(load_dataset(dataset), ImageStore(), extractor)
    return material_of(load_dataset(str(data_set(bench, dataset))), ImageStore(), extractor)
