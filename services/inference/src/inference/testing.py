"""For tests of this service: a signed release on the disk, and a stand-in for Triton."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from andon_chassis.errors import Unavailable
from andon_vision.regions import Region
from andon_vision.release_bundle import ReleaseBundle

from inference.domain.scoring import Scored, refused
from inference.ports import LoadFailed, ModelDied, ModelFailed


@dataclass(frozen=True)
class SignedRelease:
    """A bundle on the disk with the keys that signed it."""

    folder: Path
    public_key: Path
    bundle: ReleaseBundle

    @property
    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


@dataclass
class StubServer:
    """Stands in for Triton: an image's bytes say how it scores, or why not."""

    loaded_names: set[str] = field(default_factory=set)
    unloadable: set[str] = field(default_factory=set)
    history: list[str] = field(default_factory=list)
    down: bool = False
    dying: bool = False

    def is_loaded(self, release: str) -> bool:
        self._answer()
        return release in self.loaded_names

    def load(self, bundle: ReleaseBundle, files: dict[str, bytes], public_key: bytes, limits: object) -> None:
        self._answer()
        if bundle.release in self.unloadable:
            raise LoadFailed("triton", "no such operator")
        self.loaded_names.add(bundle.release)
        self.history.append(f"load {bundle.release}")

    def unload(self, release: str) -> None:
        self._answer()
        self.loaded_names.discard(release)
        self.history.append(f"unload {release}")

    def submit(self, bundle: ReleaseBundle, images: Sequence[bytes]) -> Future[list[Scored]]:
        future: Future[list[Scored]] = Future()
        if self.down:
            future.set_exception(Unavailable("triton", "connection refused"))
        elif self.dying or any(data.startswith(b"deadly") for data in images):
            future.set_exception(ModelDied("triton", "the process is gone"))
        elif any(data.startswith(b"poison") for data in images):
            future.set_exception(ModelFailed("the process died"))
        else:
            future.set_result([self._score(bundle, data) for data in images])
        return future

    def _answer(self) -> None:
        if self.down:
            raise Unavailable("triton", "connection refused")

    def _score(self, bundle: ReleaseBundle, data: bytes) -> Scored:
        if data.startswith(b"broken"):
            return refused("truncated")
        score = float(data.split()[0])
        heat = np.zeros((2, 2), np.uint8)
        heat[0, 1] = int(score * 255)
        ring, points = (3.0, 4.0, 23.0, 4.0, 23.0, 14.0), {"centre": (13.0, 9.0)}
        seen = Region(bundle.classes[0], 3.0, 4.0, 20.0, 10.0, score, ring, key_points=points)
        return Scored(score, tuple([score] + [0.0] * (len(bundle.classes) - 1)), heat, 8.0, regions=(seen,))
