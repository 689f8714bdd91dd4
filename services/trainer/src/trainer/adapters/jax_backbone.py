"""The backbone of a graph in jax, so that it can learn: its kernels and biases are read from the ONNX file and go back
into it, and everything around them (features, heat map, heads) stays as it was.

Batch normalisation is folded into the convolutions already, so what learns is the folded kernel; there are no batch
statistics to drift on small batches.
"""

from __future__ import annotations

from typing import Any, Final

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import onnx
from jax import Array, lax
from onnx import numpy_helper

from trainer.adapters.backbone import INPUT_MEAN, INPUT_SCALE, TAPPED_BLOCKS, stages_of_count

Parameters = dict[str, dict[str, npt.NDArray[np.float32]]]
"""By convolution: `kernel` (height, width, in, out) and `bias` (out)."""

_KERNEL, _BIAS = ".kernel", ".bias"
_TO_JAX, _TO_ONNX = (2, 3, 1, 0), (3, 2, 0, 1)
_TINY: Final = 1e-6  # as in the graph: keeps the root of a flat channel's variance differentiable


def parameters_of(backbone: onnx.ModelProto) -> Parameters:
    """All kernels and biases of a backbone file."""
    found = {item.name: numpy_helper.to_array(item) for item in backbone.graph.initializer}
    return {
        name.removesuffix(_KERNEL): {
            "kernel": value.transpose(_TO_JAX),
            "bias": found[name.removesuffix(_KERNEL) + _BIAS],
        }
        for name, value in found.items()
        if name.endswith(_KERNEL)
    }


def with_parameters(backbone: onnx.ModelProto, parameters: Any, origin: str) -> onnx.ModelProto:
    """The same graph with other kernels and biases; `origin` names where they come from."""
    changed = onnx.ModelProto()
    changed.CopyFrom(backbone)
    for item in changed.graph.initializer:
        name, _, kind = item.name.rpartition(".")
        if name in parameters and kind in ("kernel", "bias"):
            value = np.asarray(parameters[name][kind], np.float32)
            value = value.transpose(_TO_ONNX) if kind == "kernel" else value
            item.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), item.name))
    for told in changed.metadata_props:
        if told.key == "weights":
            told.value = origin
    return changed


def _convolve(
    parameters: Any, name: str, source: Array, stride: int = 1, *, depthwise: bool = False
) -> Array:
    own = parameters[name]
    made = lax.conv_general_dilated(
        source,
        own["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=source.shape[-1] if depthwise else 1,
    )
    moved: Array = made + own["bias"]
    return moved


def _relu6(source: Array) -> Array:
    return jnp.clip(source, 0.0, 6.0)


def _block(parameters: Any, index: int, source: Array, stride: int) -> Array:
    current, name = source, f"block{index}"
    if f"{name}.expand" in parameters:
        current = _relu6(_convolve(parameters, f"{name}.expand", current))
    current = _relu6(_convolve(parameters, f"{name}.depthwise", current, stride, depthwise=True))
    current = _convolve(parameters, f"{name}.project", current)
    return current + source if stride == 1 and current.shape == source.shape else current


def features(parameters: Any, images: Array | npt.NDArray[np.uint8]) -> Array:
    """(N, features) of (N, H, W, 3) bytes, in the order of the graph's own `features`."""
    current = (jnp.asarray(images, jnp.float32) - INPUT_MEAN) / INPUT_SCALE
    current = _relu6(_convolve(parameters, "stem", current, 2))
    blocks = sum(1 for name in parameters if name.endswith(".project"))
    pooled: list[Array] = []
    index = 0
    for stage in stages_of_count(blocks):
        for repeat in range(stage.repeats):
            # What a block computes is computed again on the way back: activations of many blocks would fill the memory.
            block = jax.checkpoint(_block, static_argnums=(1, 3))
            current = block(parameters, index, current, stage.stride if repeat == 0 else 1)
            if index in TAPPED_BLOCKS:
                mean = current.mean(axis=(1, 2), keepdims=True)
                variance = ((current - mean) ** 2).mean(axis=(1, 2))
                pooled += [mean[:, 0, 0], jnp.sqrt(variance + _TINY)]
            index += 1
    head = _relu6(_convolve(parameters, "head", current))
    return jnp.concatenate([*pooled, head.mean(axis=(1, 2))], axis=1)
