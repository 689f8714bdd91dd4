"""What scoring needs from the world around it."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from andon_chassis.errors import Unavailable
from andon_events.records import ObjectRef
from andon_vision.release_bundle import ReleaseBundle

from inference.domain.releases import ReleaseTable
from inference.domain.scoring import HeatMap, Scored


class ModelFailed(Exception):
    """The model itself broke while it scored a batch: one of its images did it, the others are innocent."""


class ModelDied(Unavailable):
    """The process that ran the model died, perhaps of one of these images; it has to be started again."""


class LoadFailed(Unavailable):
    """The model server is there, but this release cannot be served by it, now or ever."""


class Scorer(Protocol):
    """Runs releases over images."""

    def submit(self, bundle: ReleaseBundle, images: Sequence[bytes]) -> Future[list[Scored]]:
        """Starts scoring encoded images; the future gives one answer for each, or raises Unavailable, ModelFailed
        or ModelDied."""


class Releases(Protocol):
    """What is assigned and what is loaded, as of now."""

    @property
    def table(self) -> ReleaseTable:
        """The assignments."""

    def loaded(self, release: str) -> ReleaseBundle | None:
        """The description of a release that can be asked now; None for any other."""


class Objects(Protocol):
    """The object store."""

    def get(self, ref: ObjectRef) -> bytes:
        """The verified bytes. Raises Invalid or Unavailable."""

    def put(self, bucket: str, data: bytes, media_type: str) -> ObjectRef:
        """Stores the bytes durably. Raises Unavailable."""


class Drawer(Protocol):
    """Makes a picture of a heat map."""

    def __call__(self, heat: HeatMap, width: int, height: int) -> bytes:
        """A grey PNG with the proportions of an image of `width` x `height` pixels."""
