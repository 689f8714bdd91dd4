"""The same release in 32-bit floats and in smaller numbers, quality and speed side by side: build/bench/export.json."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from andon_vision.preprocess import prepare
from andon_vision.release_bundle import MODEL
from sklearn.metrics import accuracy_score, roc_auc_score
from trainer.adapters.features import open_session
from trainer.adapters.quantising import to_dynamic_int8, to_float16, to_int8

from .elpv import Served, release_and_images
from .figures import write

CALIBRATION, IMAGES, TIMED = 128, 800, 64
BATCH, ROUNDS = 8, 5
SCORE = "defect_score"


@dataclass(frozen=True)
class Form:
    """One way to write the network down."""

    network: bytes
    session: onnxruntime.InferenceSession

    def scores(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        batches = [pixels[start : start + BATCH] for start in range(0, len(pixels), BATCH)]
        return np.concatenate([self.session.run([SCORE], {"image": batch})[0] for batch in batches])


def forms(served: Served, calibration: npt.NDArray[np.uint8]) -> dict[str, Form]:
    """By name; each with one thread, as a copy in Triton has."""
    plain = onnx.load_from_string(served.files[MODEL])
    networks = {
        "float32": plain,
        "int8, calibrated": to_int8(plain, list(calibration)),
        "int8, dynamic": to_dynamic_int8(plain),
        "float16": to_float16(plain),
    }
    written = {name: network.SerializeToString() for name, network in networks.items()}
    return {name: Form(network, open_session(network, threads=1)) for name, network in written.items()}


def test_smaller_numbers() -> None:
    """Calibrated on images of the training side; judged on parts that neither training nor calibration has seen."""
    served = release_and_images(IMAGES)
    spec = served.bundle.preprocessing
    calibration = np.stack([prepare(part.path.read_bytes(), spec) for part in served.training[:CALIBRATION]])
    pixels = np.stack([prepare(data, spec) for data in served.images])
    known = forms(served, calibration)
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):  # taken in turns, so that what else the machine does falls on all
        for name, form in known.items():
            began = time.process_time()
            form.scores(pixels[:TIMED])
            times[name].append(1e3 * (time.process_time() - began) / TIMED)
    exact = known["float32"].scores(pixels)
    rows = {}
    for name, form in known.items():
        scores = form.scores(pixels)
        cpu_ms = statistics.median(times[name])
        rows[name] = {
            "auroc": float(roc_auc_score(served.is_defect, scores)),
            "accuracy": float(accuracy_score(served.is_defect, scores >= 0.5)),
            "mean_difference_of_scores": float(np.abs(scores - exact).mean()),
            "network_mb": len(form.network) / 1e6,
            "cpu_ms_per_image": cpu_ms,
            "speed_to_float32": statistics.median(times["float32"]) / cpu_ms,
        }
    write("export", {"release": served.bundle.release, "images": len(pixels), "forms": rows}, {})
