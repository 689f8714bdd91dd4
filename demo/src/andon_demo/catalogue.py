"""From a source of images to the demo's parts, with their groups of near duplicates, kept between runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from andon_vision import decode_image, grey, perceptual_hash
from andon_vision.errors import ImageRefused
from andon_vision.sources import SourceImage, load_source

from andon_demo.parts import GOOD, Part

NEAR_BITS = 8
NEAR_CORRELATION = 0.97
"""Near duplicates: perceptual hashes differ in at most so many of 64 bits, and the 32 x 32 pictures correlate.

The hash alone is too coarse for parts that are meant to look alike: it chains hundreds of different solar cells into
one group. Both together find the same magnet tile under its six exposures and keep sister parts apart.
"""


def load_parts(source: str, cache: Path) -> list[Part]:
    """All usable parts of "elpv" or a folder. Raises andon_vision.sources.SourceError with advice."""
    images = load_source(source)
    near = _near_groups(images, cache)
    usable = [(image, number) for image, number in zip(images, near, strict=True) if number is not None]
    groups = _joined([image.group for image, _ in usable], [number for _, number in usable])
    names = _names([image.path for image, _ in usable])
    return [
        Part(
            name=name,
            path=image.path,
            label=image.classes[0] if image.is_defect and image.classes else GOOD,
            doubt=image.defect_probability,
            variant=image.variant,
            product=image.product,
            group=group,
            classes=image.classes if image.is_defect else (),
        )
        for (image, _), name, group in zip(usable, names, groups, strict=True)
    ]


def fingerprint(images: Sequence[SourceImage]) -> str:
    """Changes when a file of the source changes; cheap, because it trusts sizes and times."""
    digest = hashlib.sha256()
    for image in images:
        stat = image.path.stat()
        digest.update(f"{image.path}\x1f{stat.st_size}\x1f{stat.st_mtime_ns}\x1e".encode())
    return digest.hexdigest()


def _near_groups(images: Sequence[SourceImage], cache: Path) -> list[int | None]:
    """The group of near duplicates of each image, None for what cannot be decoded."""
    known = cache / f"near-{NEAR_BITS}-{NEAR_CORRELATION}-{fingerprint(images)[:32]}.json"
    if known.is_file():
        values: list[int | None] = json.loads(known.read_text())
        return values
    with ThreadPoolExecutor() as pool:
        looks = list(pool.map(_look, images))
    good = [index for index, look in enumerate(looks) if look is not None]
    numbers = near_groups([look for look in looks if look is not None])
    values = [None] * len(images)
    for index, number in zip(good, numbers, strict=True):
        values[index] = number
    cache.mkdir(parents=True, exist_ok=True)
    fresh = known.with_suffix(".new")
    fresh.write_text(json.dumps(values))
    fresh.replace(known)
    return values


Look = tuple[int, npt.NDArray[np.float32]]
"""Perceptual hash of an image, and the image as 32 x 32 numbers with mean 0 and length 1."""


def _look(image: SourceImage) -> Look | None:
    try:
        pixels = decode_image(image.read()).pixels
    except ImageRefused:
        return None
    small = cv2.resize(grey(pixels), (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    small -= small.mean()
    return perceptual_hash(pixels), small / (float(np.linalg.norm(small)) + 1e-9)


def near_groups(looks: Sequence[Look]) -> list[int]:
    """Group numbers, closed over chains: A near B and B near C puts A and C together."""
    hashes = np.array([value for value, _ in looks], dtype=np.uint64)
    small = np.stack([picture for _, picture in looks]) if looks else np.zeros((0, 1), np.float32)
    parent = list(range(len(looks)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for index in range(1, len(looks)):
        candidates = np.flatnonzero(np.bitwise_count(hashes[:index] ^ hashes[index]) <= NEAR_BITS)
        near = candidates[small[candidates] @ small[index] >= NEAR_CORRELATION]
        for other in near:
            parent[root(int(other))] = root(index)
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(index), len(numbers)) for index in range(len(looks))]


def _joined(named: Sequence[str], near: Sequence[int]) -> list[int]:
    """One group number for each image: named groups and near-duplicate groups that touch become one."""
    parent: dict[object, object] = {}

    def root(item: object) -> object:
        while parent.setdefault(item, item) != item:
            item = parent[item]
        return item

    for name, number in zip(named, near, strict=True):
        if name:
            parent[root(("named", name))] = root(("near", number))
    numbers: dict[object, int] = {}
    return [numbers.setdefault(root(("near", number)), len(numbers)) for number in near]


def _names(paths: Sequence[Path]) -> list[str]:
    """Short unique names: the path below what all have in common."""
    folders = {path.parent for path in paths}
    base = Path(*_common([folder.parts for folder in folders]))
    return [path.relative_to(base).as_posix() for path in paths]


def _common(many: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    first, last = min(many), max(many)
    length = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:length]
