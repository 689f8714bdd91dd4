"""Runs a release: encoded images in, scores, heat maps and regions out.

The one implementation of serving a bundle. Triton's model, the edge agent and the trainer's evaluation call it, so they
cannot answer differently. Needs `onnxruntime` (extra `run`); the Triton model carries a copy of this module.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import onnxruntime

from andon_vision.decode import DEFAULT_LIMITS, DecodeLimits, decode_image
from andon_vision.errors import ImageRefused
from andon_vision.opencv import cv2
from andon_vision.preprocess import Frame, frame_of, prepare_pixels
from andon_vision.regions import Region, read_regions
from andon_vision.release_bundle import MODEL, ReleaseBundle
from andon_vision.template import DIFFERENCES, PROBABILITIES, TEMPLATE, TemplateSpec, compare
from andon_vision.template_library import FILE as TEMPLATES
from andon_vision.template_library import TemplateLibrary

SCORE, CLASSES, HEAT_MAP = "defect_score", "class_probabilities", "heat_map"


class ModelUnusable(ValueError):
    """onnxruntime cannot run the network; the text says why."""


def _unusable(error: Exception) -> ModelUnusable:
    return ModelUnusable(
        f"onnxruntime cannot run the network: {error}. Export it again with operators that onnxruntime "
        f"{onnxruntime.__version__} has."
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """What a release says of one image; where the image was `refused`, for this reason, nothing else counts.

    Attributes:
        defect_score: Calibrated probability of a defect.
        class_probabilities: Of the bundle's classes, in their order.
        heat_map: (rows, columns) over the graph's whole input, 255 is the most suspicious.
        regions: In pixels of the original image, the surest first; none where the part passes.
    """

    defect_score: float
    class_probabilities: tuple[float, ...]
    heat_map: npt.NDArray[np.uint8] | None
    regions: tuple[Region, ...] = ()
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image as the graph wants it, and where it came from in the original."""

    pixels: npt.NDArray[np.uint8]
    frame: Frame


class ReleaseRunner:
    """A release in onnxruntime.

    Args:
        bundle: The verified description.
        files: The bundle's files by name.
        limits: What an image may be at most.
        threads: Threads of one answer.
        all_regions: Also those of images that pass; an evaluation wants them.

    Raises:
        ModelUnusable: The network does not load.
    """

    def __init__(
        self,
        bundle: ReleaseBundle,
        files: Mapping[str, bytes],
        limits: DecodeLimits = DEFAULT_LIMITS,
        threads: int = 1,
        *,
        all_regions: bool = False,
    ) -> None:
        self.bundle = bundle
        self._all_regions = all_regions
        self._limits = limits
        self._spec: Mapping[str, Any] = bundle.description.get("regions", {})
        self._most: Final = int(bundle.description.get("max_batch", 0)) or None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads would take the core that others decode on.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                files[MODEL], options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no common class for what it raises
            raise _unusable(error) from error
        self._outputs = [item.name for item in self._session.get_outputs()]
        self._compares = self._spec.get("from") == TEMPLATE
        promised = {PROBABILITIES} if self._compares else {SCORE, CLASSES, HEAT_MAP}
        missing = promised - set(self._outputs)
        if missing:
            raise ModelUnusable(f"the network has no output {', '.join(sorted(missing))}")
        if self._compares:
            self._comparison = TemplateSpec.from_json(self._spec)
            self._library = TemplateLibrary(files[TEMPLATES], bundle.preprocessing)
        cv2.setNumThreads(threads)

    def read(self, images: Sequence[bytes], templates: Sequence[bytes | None] | None = None) -> list[Reading]:
        """One reading for each encoded image, as one batch; a bad image is refused and spoils nothing.

        A release that compares takes the template from `templates` where one is given, encoded as well, and looks for
        the likeliest one among its own otherwise; the other releases need none.
        """
        prepared: dict[int, Prepared] = {}
        readings: dict[int, Reading] = {}
        for number, (data, template) in enumerate(
            zip(images, templates or [None] * len(images), strict=True)
        ):
            try:
                item = self._prepare(data)
                if self._compares:
                    readings[number] = self._compared(item, template)
                else:
                    prepared[number] = item
            except ImageRefused as refused:
                readings[number] = Reading(0.0, (), None, refused=refused.reason)
        readings |= zip(prepared, self._answers(list(prepared.values())), strict=True)
        return [readings[number] for number in range(len(images))]

    def warm_up(self) -> None:
        """Answer an empty image, so that a network that loads but cannot run is found before a part is."""
        spec = self.bundle.preprocessing
        blank = np.zeros((spec.height, spec.width, 3), np.uint8)
        try:
            if self._compares:
                self._classified(np.zeros((1, self._session.get_inputs()[0].shape[1]), np.float32))
            else:
                list(self._answers([Prepared(blank, frame_of(spec.width, spec.height, spec))]))
        except Exception as error:
            raise _unusable(error) from error

    def _prepare(self, data: bytes) -> Prepared:
        """Raises `ImageRefused`."""
        pixels = decode_image(data, self._limits).pixels
        spec = self.bundle.preprocessing
        return Prepared(prepare_pixels(pixels, spec), frame_of(pixels.shape[1], pixels.shape[0], spec))

    def _answers(self, prepared: Sequence[Prepared]) -> Iterator[Reading]:
        size = self._most or max(1, len(prepared))
        for start in range(0, len(prepared), size):
            chunk = prepared[start : start + size]
            batch = np.stack([item.pixels for item in chunk])
            outputs = dict(zip(self._outputs, self._session.run(None, {"image": batch}), strict=True))
            for row, item in enumerate(chunk):
                yield self._reading({name: values[row] for name, values in outputs.items()}, item.frame)

    def _compared(self, item: Prepared, template: bytes | None) -> Reading:
        """Raises `ImageRefused` where no template matches."""
        likeliest: Iterable[npt.NDArray[np.uint8]] = (
            [self._prepare(template).pixels] if template else self._library.likeliest(item.pixels)
        )
        found = compare(item.pixels, likeliest, self._comparison, len(self.bundle.classes), self._classified)
        return self._reading(found.outputs(), item.frame)

    def _classified(self, described: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return cast(npt.NDArray[np.float32], self._session.run([PROBABILITIES], {DIFFERENCES: described})[0])

    def _reading(self, outputs: Mapping[str, npt.NDArray[Any]], frame: Frame) -> Reading:
        score = float(outputs[SCORE])
        classes = tuple(float(value) for value in outputs[CLASSES])
        regions: list[Region] = []
        if self._all_regions or self.bundle.band(score) != "pass":
            regions = read_regions(outputs, self.bundle.classes, self._spec, frame, score)
        return Reading(score, classes, outputs[HEAT_MAP], tuple(regions))
