"""From labels that are in order to rows: which image each one is about, and what its picture is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from andon_chassis.events import deterministic_id

from dataset_registry.domain.annotations import Annotation
from dataset_registry.domain.import_checks import Examined, moment, scale
from dataset_registry.domain.interchange import LabelledImage, Problem
from dataset_registry.domain.labeling_checks import Guide
from dataset_registry.domain.refusals import Refused, invalid
from dataset_registry.ports_imports import (
    Archive,
    Document,
    Imports,
    Job,
    Known,
    Label,
    NewImage,
    Picture,
    Prepared,
)

_CAPTURE = re.compile(r"(?:^|/)([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[a-z]+)?$")


class Found(NamedTuple):
    """What is known here of a portion's images.

    Attributes:
        own: Id of each image by its source and name.
        captures: Id of the capture that its name is, or None.
        known: Images and captures by these ids.
        contents: Images by the SHA-256 of their picture.
    """

    own: list[str]
    captures: list[str | None]
    known: dict[str, Known]
    contents: dict[str, Known]


def look_up(store: Imports, source: str, portion: Sequence[Examined]) -> Found:
    """Find these images among those that are known.

    Known by name is what came from the same source before, and a capture whose id is the name without its suffix.
    """
    own = [deterministic_id("image", source, one.image.name) for one in portion]
    captures = [_capture_id(one.image.name) for one in portion]
    hashes = [one.image.sha256 for one in portion if one.image.sha256]
    known = store.known_images([*own, *(name for name in captures if name)]) if portion else {}
    return Found(own, captures, known, store.known_contents(hashes) if hashes else {})


@dataclass(frozen=True, slots=True)
class Preparation:
    """Makes rows of labels whose images are known, or lie in the archive.

    Attributes:
        alive: Called for each image: pictures take their time.
        seen: Images that the import has labels of already; grows.
    """

    job: Job
    archive: Archive
    guide: Guide
    document: Document
    alive: Callable[[], None]
    seen: set[str]

    def of(self, portion: Sequence[Examined], found: Found) -> tuple[list[Prepared], list[Problem]]:
        """What can be written, and problems of the others."""
        prepared: list[Prepared] = []
        problems: list[Problem] = []
        for one, image_id, capture_id in zip(portion, found.own, found.captures, strict=True):
            image = one.image
            there = (
                found.known.get(image_id)
                or (found.known.get(capture_id) if capture_id else None)
                or found.contents.get(image.sha256 or "")
            )
            self.alive()
            try:
                prepared.append(self._known(one, there) if there else self._new(one, image_id))
            except Refused as refused:
                problems.append(Problem.at(image.place, refused.reason, f"{image.name}: {refused.advice}"))
        return prepared, problems

    def _known(self, one: Examined, there: Known) -> Prepared:
        _same_size(one.image, there.width, there.height)
        label = self._label(there.image_id, one.annotation, capture=there.capture)
        return Prepared(there.image_id, None, not there.registered, label)

    def _new(self, one: Examined, image_id: str) -> Prepared:
        image = one.image
        path = self.archive.picture(image.name)
        if path is None:
            raise invalid(
                "picture-missing",
                "its picture is neither in the archive nor known here; add it under this name, or import it first.",
            )
        picture = self.archive.look(path)
        if not isinstance(picture, Picture):
            raise invalid(*picture)
        _same_size(image, picture.width, picture.height)
        made = self._image(image, path, picture)
        return Prepared(image_id, made, False, self._label(image_id, one.annotation, capture=False))

    def _label(self, image_id: str, said: Annotation | None, *, capture: bool) -> Label | None:
        if image_id in self.seen:
            raise invalid("same-image", "another entry is about the same image; leave one of the two.")
        self.seen.add(image_id)
        if said is None:
            return None
        return Label(
            deterministic_id("annotation", self.job.import_id, image_id),
            said.classes,
            self.document(said.shapes),
            self.guide.image_class(said) if capture else None,
        )

    def _image(self, image: LabelledImage, path: str, picture: Picture) -> NewImage:
        context = {**self.job.context, **image.context}
        pixel = context.get("mm_per_pixel")
        return NewImage(
            image.name,
            path,
            picture,
            context,
            context.get("part_id"),
            scale(pixel) if pixel else None,
            _moment(context.get("captured_at")) or self.job.requested_at,
            context.get("synthetic", "").lower() == "true",
            context.get("segment"),
        )


def _same_size(image: LabelledImage, width: int, height: int) -> None:
    if (image.width, image.height) != (width, height):
        raise invalid(
            "size-of-image",
            f"the labels are for {image.width} x {image.height} pixels, the picture has {width} x {height}.",
        )


def _capture_id(name: str) -> str | None:
    """The name of a file without folders and suffix, when it is an id."""
    found = _CAPTURE.search(name)
    return found[1] if found else None


def _moment(text: str | None) -> datetime | None:
    """Raises Refused for what is no time."""
    try:
        return moment(text) if text else None
    except ValueError:
        raise invalid(
            "unusable-context", f"{text} is no time; write captured_at as 2026-01-31T08:00:00Z."
        ) from None
