"""Exports: labels in force, of a past moment or of a dataset version, as files for other tools."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from andon_chassis.objects import ObjectStore

from dataset_registry.domain.interchange import LabelledImage, Losses
from dataset_registry.ports_imports import Exported, Selection, WriteFormat

SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/bmp": ".bmp", "image/tiff": ".tif"}
Piece = tuple[str, bytes]


def labels(write: WriteFormat, format_name: str, selection: Selection, losses: Losses) -> Iterator[Piece]:
    """Files of labels, in pieces: those with the same name follow one another."""
    losses.add("holdout", selection.held)
    images = (image for image, _ in named(selection.images()))
    return write(format_name, images, selection.words, losses)


def pictures(objects: ObjectStore, folder: str, selection: Selection) -> Iterator[Piece]:
    """The pictures of the same images, under the names that the labels use. Raises Invalid or Unavailable."""
    for image, exported in named(selection.images()):
        yield f"{folder}/{image.name}", objects.get(exported.picture)


def named(found: Iterable[Exported]) -> Iterator[tuple[LabelledImage, Exported]]:
    """Images under names that files can have, each once even without its suffix; the same for the same images."""
    taken: set[str] = set()
    for exported in found:
        path = PurePosixPath(exported.image.name)
        suffix = SUFFIXES.get(exported.picture.media_type, "")
        if path.suffix.lower() in (*SUFFIXES.values(), ".jpeg", ".tiff"):
            path, suffix = path.with_suffix(""), path.suffix
        stem = str(path).lstrip("/")
        if stem in taken:
            stem = f"{stem}-{exported.image_id}"
        taken.add(stem)
        yield replace(exported.image, name=stem + suffix), exported
