"""A release's network in onnxruntime, fed as Triton feeds it: the same code prepares, the same names come out."""

from __future__ import annotations

import threading
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import structlog
from andon_vision import DecodeLimits, ImageRefused, prepare
from andon_vision.opencv import cv2
from andon_vision.release_bundle import ReleaseBundle

from edge_agent.domain.decision import Rules, Scored

OUTPUTS: Final = ["defect_score", "class_probabilities", "heat_map"]
MODEL_FAILED: Final = "model-failed"

log = structlog.get_logger()


class ModelUnusable(ValueError):
    """onnxruntime cannot run this network; the text says why."""


class OnnxNetwork:
    """See `ports.Network`. One image at a time: a box has few cores, and memory stays bounded.

    Raises:
        ModelUnusable: It does not load, or does not answer an empty image.
    """

    def __init__(self, bundle: ReleaseBundle, model: bytes, limits: DecodeLimits, threads: int = 1) -> None:
        self._bundle = bundle
        self._limits = limits
        self._lock = threading.Lock()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            self._run(np.zeros((bundle.preprocessing.height, bundle.preprocessing.width, 3), np.uint8))
        except Exception as error:  # onnxruntime has no common class for what it raises
            raise ModelUnusable(f"onnxruntime cannot run it: {error}") from error
        cv2.setNumThreads(threads)

    @property
    def rules(self) -> Rules:
        """See `ports.Network`."""
        return self._bundle

    def score(self, data: bytes) -> Scored:
        """See `ports.Network`."""
        with self._lock:
            try:
                return self._run(prepare(data, self._bundle.preprocessing, self._limits))
            except ImageRefused as refused:
                return _unscored(refused.reason)
            except Exception as error:  # one image must not end the line; it goes to a person
                log.error("model.failed", release=self._bundle.release, detail=str(error))
                return _unscored(MODEL_FAILED)

    def _run(self, pixels: npt.NDArray[np.uint8]) -> Scored:
        scores, classes, heat = self._session.run(OUTPUTS, {"image": pixels[np.newaxis]})
        return Scored(float(scores[0]), tuple(float(value) for value in classes[0]), heat[0])


def _unscored(reason: str) -> Scored:
    return Scored(0.0, (), None, reason)
