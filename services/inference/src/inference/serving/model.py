"""Runs one release inside Triton's Python backend: encoded images in, scores and heat maps out.

Decoding, resizing and the network run here, from the release's own files, so no client can prepare an image
differently than training did. The folder beside this file holds the release bundle, the verifying key and a copy of
`andon_vision`, the package that training used. This file runs in Triton's environment (NumPy 1), never in a service.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from andon_vision.decode import DecodeLimits  # noqa: E402
from andon_vision.errors import ImageRefused  # noqa: E402
from andon_vision.opencv import cv2  # noqa: E402
from andon_vision.preprocess import prepare  # noqa: E402
from andon_vision.release_bundle import (  # noqa: E402
    DESCRIPTION,
    MODEL,
    SIGNATURE,
    load_public_key,
    parse_bundle,
)

LIMITS = DecodeLimits()
OUTPUTS = ["defect_score", "class_probabilities", "heat_map"]


def trusted_key() -> Path:
    """The key that this server trusts: its own (ANDON_RELEASE_KEY) before the one that came with the release."""
    return Path(os.environ.get("ANDON_RELEASE_KEY") or HERE / "release.pub")


class TritonPythonModel:
    """One instance of a release; Triton runs several of them side by side."""

    def initialize(self, args: dict[str, str]) -> None:
        """Verifies the bundle and opens the network. Raises, and so refuses to load, when it was tampered with."""
        files = {name: (HERE / name).read_bytes() for name in (MODEL, DESCRIPTION, SIGNATURE)}
        self.bundle = parse_bundle(files, load_public_key(trusted_key()))
        parameters = json.loads(args["model_config"]).get("parameters", {})
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters.get("threads", {}).get("string_value", "1"))
        options.inter_op_num_threads = 1
        # Spinning threads would take the core that the other instance decodes on.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(files[MODEL], options, providers=["CPUExecutionProvider"])
        cv2.setNumThreads(1)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Scores the images of all requests as one batch; a bad image gets a status and spoils nothing."""
        started = time.perf_counter()
        counts, encoded = [], []
        for request in requests:
            images = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().ravel()
            counts.append(len(images))
            encoded.extend(images)
        prepared, statuses = self._prepare(encoded)
        scores, classes, heat = self._score(prepared, statuses)
        elapsed = np.float32((time.perf_counter() - started) * 1e3)
        answers = []
        first = 0
        for count in counts:
            part = slice(first, first + count)
            first += count
            tensors = [
                pb_utils.Tensor("STATUS", np.array(statuses[part], dtype=np.object_).reshape(-1, 1)),
                pb_utils.Tensor("DEFECT_SCORE", scores[part].reshape(-1, 1)),
                pb_utils.Tensor("CLASS_PROBABILITIES", classes[part]),
                pb_utils.Tensor("HEAT_MAP", heat[part]),
                pb_utils.Tensor("MODEL_MS", np.full((count, 1), elapsed, np.float32)),
            ]
            answers.append(pb_utils.InferenceResponse(tensors))
        return answers

    def _prepare(self, encoded: list[bytes]) -> tuple[list[Any], list[str]]:
        """The pixels of the good images, and for each image "" or the reason why it was refused."""
        prepared, statuses = [], []
        for data in encoded:
            try:
                prepared.append(prepare(bytes(data), self.bundle.preprocessing, LIMITS))
                statuses.append("")
            except ImageRefused as refused:
                statuses.append(refused.reason)
        return prepared, statuses

    def _score(self, prepared: list[Any], statuses: list[str]) -> tuple[Any, Any, Any]:
        """Outputs for all images in order; zeros for those that were refused."""
        spec = self.bundle.preprocessing
        size = len(statuses)
        scores = np.zeros(size, np.float32)
        classes = np.zeros((size, len(self.bundle.classes)), np.float32)
        heat = np.zeros((size, spec.height // 8, spec.width // 8), np.uint8)
        if prepared:
            good = [index for index, status in enumerate(statuses) if not status]
            scores[good], classes[good], heat[good] = self.session.run(OUTPUTS, {"image": np.stack(prepared)})
        return scores, classes, heat
