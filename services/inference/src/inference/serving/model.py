"""Runs one release inside Triton's Python backend: encoded images in; scores, heat maps and regions out.

Decoding, resizing, the network and the reading of regions run here, from the release's own files and by the code that
training used, so no client can prepare an image differently. The folder beside this file holds the release bundle, the
verifying key and a copy of `andon_vision`. This file runs in Triton's environment (NumPy 1), never in a service.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from andon_vision.release_bundle import load_public_key, parse_bundle  # noqa: E402
from andon_vision.runner import Reading, ReleaseRunner  # noqa: E402

OURS = {"model.py", "release.pub"}


def trusted_key() -> Path:
    """The key that this server trusts: its own (ANDON_RELEASE_KEY) before the one that came with the release."""
    return Path(os.environ.get("ANDON_RELEASE_KEY") or HERE / "release.pub")


class TritonPythonModel:
    """One instance of a release; Triton runs several of them side by side."""

    def initialize(self, args: dict[str, str]) -> None:
        """Verifies the bundle and opens the network. Raises, and so refuses to load, when it was tampered with."""
        files = {
            path.name: path.read_bytes()
            for path in HERE.iterdir()
            if path.is_file() and path.name not in OURS
        }
        bundle = parse_bundle(files, load_public_key(trusted_key()))
        parameters = json.loads(args["model_config"]).get("parameters", {})
        threads = int(parameters.get("threads", {}).get("string_value", "1"))
        self.runner = ReleaseRunner(bundle, files, threads=threads)
        spec = bundle.preprocessing
        self.blank = np.zeros((spec.height // 8, spec.width // 8), np.uint8)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Scores the images of all requests as one batch; a bad image gets a status and spoils nothing."""
        started = time.perf_counter()
        counts: list[int] = []
        encoded: list[bytes] = []
        for request in requests:
            images = pb_utils.get_input_tensor_by_name(request, "IMAGE").as_numpy().ravel()
            counts.append(len(images))
            encoded.extend(bytes(image) for image in images)
        readings = self.runner.read(encoded)
        elapsed = (time.perf_counter() - started) * 1e3
        answers = []
        first = 0
        for count in counts:
            answers.append(
                pb_utils.InferenceResponse(self._tensors(readings[first : first + count], elapsed))
            )
            first += count
        return answers

    def _tensors(self, readings: Sequence[Reading], elapsed: float) -> list[Any]:
        """One row for each reading; zeros for an image that was refused."""
        unknown = (0.0,) * len(self.runner.bundle.classes)
        regions = [json.dumps([region.to_json() for region in reading.regions]) for reading in readings]
        heat = [self.blank if reading.heat_map is None else reading.heat_map for reading in readings]
        return [
            pb_utils.Tensor("STATUS", _texts([reading.refused for reading in readings])),
            pb_utils.Tensor(
                "DEFECT_SCORE", np.array([[reading.defect_score] for reading in readings], np.float32)
            ),
            pb_utils.Tensor(
                "CLASS_PROBABILITIES",
                np.array([reading.class_probabilities or unknown for reading in readings], np.float32),
            ),
            pb_utils.Tensor("HEAT_MAP", np.stack(heat)),
            pb_utils.Tensor("REGIONS", _texts(regions)),
            pb_utils.Tensor("MODEL_MS", np.full((len(readings), 1), elapsed, np.float32)),
        ]


def _texts(values: list[str]) -> Any:
    return np.array(values, dtype=np.object_).reshape(-1, 1)
