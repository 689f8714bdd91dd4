"""What the service sends into Triton to serve a release: the Python model, its configuration, the shared code."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass

from andon_vision.release_bundle import ReleaseBundle

# The parts of andon_vision that run a release; they run on Triton's NumPy 1 as well.
SHARED_MODULES = (
    "errors",
    "header",
    "opencv",
    "decode",
    "preprocess",
    "release_bundle",
    "measurement",
    "regions",
    "hashing",
    "registration",
    "difference_parts",
    "difference_shape",
    "template",
    "template_library",
    "runner",
)
HEAT_CELL = 8


@dataclass(frozen=True, slots=True)
class ServingLimits:
    """How Triton runs a release: parallel instances, threads of each, images in a batch, and how long a batch waits."""

    instances: int = 2
    threads: int = 1
    max_batch: int = 8
    queue_delay_us: int = 2000


def model_config(bundle: ReleaseBundle, limits: ServingLimits) -> str:
    """Triton's model configuration, as JSON."""
    spec = bundle.preprocessing
    most = min(limits.max_batch, int(bundle.description.get("max_batch", limits.max_batch)))
    heat = [spec.height // HEAT_CELL, spec.width // HEAT_CELL]
    config = {
        "name": bundle.release,
        "backend": "python",
        "max_batch_size": most,
        "input": [{"name": "IMAGE", "data_type": "TYPE_STRING", "dims": [1]}],
        "output": [
            {"name": "STATUS", "data_type": "TYPE_STRING", "dims": [1]},
            {"name": "DEFECT_SCORE", "data_type": "TYPE_FP32", "dims": [1]},
            {"name": "CLASS_PROBABILITIES", "data_type": "TYPE_FP32", "dims": [len(bundle.classes)]},
            {"name": "HEAT_MAP", "data_type": "TYPE_UINT8", "dims": heat},
            {"name": "REGIONS", "data_type": "TYPE_STRING", "dims": [1]},
            {"name": "MODEL_MS", "data_type": "TYPE_FP32", "dims": [1]},
        ],
        "instance_group": [{"kind": "KIND_CPU", "count": limits.instances}],
        "dynamic_batching": {"max_queue_delay_microseconds": limits.queue_delay_us},
        "parameters": {"threads": {"string_value": str(limits.threads)}},
    }
    return json.dumps(config)


def model_files(files: Mapping[str, bytes], public_key: bytes) -> dict[str, bytes]:
    """Everything that lies in the model's version folder, by path: bundle, key, Python model, shared code."""
    shared = importlib.resources.files("andon_vision")
    folder = {f"1/{name}": data for name, data in files.items()}
    folder["1/release.pub"] = public_key
    folder["1/model.py"] = importlib.resources.files(__name__).joinpath("model.py").read_bytes()
    folder["1/andon_vision/__init__.py"] = (
        b'"""Copied from libs/vision: what training used to prepare images."""\n'
    )
    for module in SHARED_MODULES:
        folder[f"1/andon_vision/{module}.py"] = shared.joinpath(f"{module}.py").read_bytes()
    return folder
