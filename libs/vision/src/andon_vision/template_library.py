"""The defect-free pictures that a release carries, in `templates.npz`, and the search for the one of a board.

An entry's name is `<variant>/<id>`, its value a PNG file's bytes: small on the disk and in memory, decoded when asked
for. One more entry, `descriptors`, holds a small picture of each, by which one product of matrices compares a board
with all of them. The module leans on NumPy and OpenCV alone; the Triton model carries a copy of it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from andon_vision.decode import Pixels, decode_image
from andon_vision.opencv import cv2
from andon_vision.preprocess import Preprocessing, prepare_pixels
from andon_vision.template import plane_of

FILE: Final = "templates.npz"
_DESCRIPTORS: Final = "descriptors"
_SIDE: Final = 32
_SHIFT_BLUR: Final = 1.0
"""How blurred a descriptor is, in its pixels, so that a board may lie a little off."""
_LIGHT_BLUR: Final = 6.0
"""What changes over more of its pixels than this is light."""
_TRIED: Final = 4
"""Templates that are registered before a board counts as unknown."""


def pack_templates(pictures: Mapping[str, Pixels]) -> bytes:
    """`templates.npz` of prepared pictures by `<variant>/<id>`; the same pictures always give the same bytes."""
    packed: dict[str, npt.NDArray[Any]] = {}
    for name, pixels in sorted(pictures.items()):
        plane = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".png", plane)
        if not done:
            raise ValueError(f"the template {name} cannot be written as PNG")
        packed[name] = data.reshape(-1)
    rows = [_descriptor(pixels) for _, pixels in sorted(pictures.items())]
    packed[_DESCRIPTORS] = np.stack(rows) if rows else np.zeros((0, _SIDE * _SIDE), np.float32)
    buffer = io.BytesIO()
    np.savez(buffer, **packed)  # type: ignore[arg-type]
    return buffer.getvalue()


class TemplateLibrary:
    """The templates of one release.

    Args:
        data: The bytes of `templates.npz`.
        spec: How the release prepares its images.
    """

    def __init__(self, data: bytes, spec: Preprocessing) -> None:
        self._spec = spec
        with np.load(io.BytesIO(data), allow_pickle=False) as kept:
            self._descriptors = kept[_DESCRIPTORS]
            self.names = tuple(name for name in kept.files if name != _DESCRIPTORS)
            self._files = {name: kept[name].tobytes() for name in self.names}

    def likeliest(self, image: Pixels, variant: str = "") -> Iterator[npt.NDArray[np.uint8]]:
        """Prepared templates for a prepared image, the likeliest first, at most a few.

        Those of `variant` are asked alone where there are any; a board of another variant is not looked for then.
        """
        likeness = self._descriptors @ _descriptor(image)
        own = np.array([name.rpartition("/")[0] == variant for name in self.names], bool)
        if variant and own.any():
            likeness = np.where(own, likeness, -np.inf)
        for at in np.argsort(-likeness, kind="stable")[:_TRIED]:
            if np.isfinite(likeness[at]):
                yield self._picture(self.names[at])

    def _picture(self, name: str) -> npt.NDArray[np.uint8]:
        return prepare_pixels(decode_image(self._files[name]).pixels, self._spec)


def _descriptor(pixels: Pixels) -> npt.NDArray[np.float32]:
    """A small picture without its light, of length one, (1024,)."""
    small = cv2.resize(plane_of(pixels), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    flat = cv2.GaussianBlur(small, (0, 0), _SHIFT_BLUR) - cv2.GaussianBlur(small, (0, 0), _LIGHT_BLUR)
    row = flat.ravel() - flat.mean()
    return np.asarray(row / max(float(np.linalg.norm(row)), 1e-6), np.float32)
