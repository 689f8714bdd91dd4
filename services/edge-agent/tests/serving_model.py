"""Runs what Triton runs, with a stand-in for Triton: python serving_model.py FOLDER IMAGES.npz ANSWERS.npz

A process of its own, because the model brings its own copy of `andon_vision`, as in Triton.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np


class Tensor:
    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value

    def as_numpy(self) -> Any:
        return self.value


class InferenceResponse:
    def __init__(self, tensors: list[Tensor]) -> None:
        self.values = {tensor.name: tensor.value for tensor in tensors}


def main() -> None:
    folder, images, answers = (Path(argument) for argument in sys.argv[1:4])
    backend = types.ModuleType("triton_python_backend_utils")
    backend.Tensor, backend.InferenceResponse = Tensor, InferenceResponse  # type: ignore[attr-defined]
    backend.get_input_tensor_by_name = lambda request, name: request[name]  # type: ignore[attr-defined]
    sys.modules[backend.__name__] = backend
    spec = importlib.util.spec_from_file_location("model", folder / "model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    model.initialize({"model_config": json.dumps({})})
    with np.load(images) as loaded:
        encoded = [loaded[f"image-{number:03}"].tobytes() for number in range(len(loaded.files))]
    # Some requests of several images, as Triton's batching makes them.
    answered: dict[str, list[Any]] = {}
    for first in range(0, len(encoded), 4):
        batch = np.array(encoded[first : first + 4], dtype=np.object_).reshape(-1, 1)
        (response,) = model.execute([{"IMAGE": Tensor("IMAGE", batch)}])
        for name, value in response.values.items():
            answered.setdefault(name, []).append(value)
    joined = {name: np.concatenate(parts) for name, parts in answered.items()}
    for texts in ("STATUS", "REGIONS"):
        joined[texts] = joined[texts].astype(np.str_)
    np.savez(answers, **joined)


if __name__ == "__main__":
    main()
