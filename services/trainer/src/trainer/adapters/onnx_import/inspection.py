"""Reads an exported ONNX file and refuses, with a reason, what cannot become a release."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx
from onnx import TensorProto, external_data_helper, inliner, version_converter

from trainer.adapters.backbone import OPSET

RUNTIME_DOMAIN: Final = "com.microsoft"
"""Operators that every onnxruntime brings along; whether this one knows them is seen when it loads the graph."""
PICTURE_TYPES: Final = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8)
MOST_BYTES: Final = 2**31 - 2**20


class ImportRefused(ValueError):
    """A model cannot be imported; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class PictureInput:
    """The one input of an exported model: its ONNX type, the order of its axes and its size where it is fixed."""

    name: str
    type: int
    channels_first: bool
    batched: bool
    height: int | None
    width: int | None


@dataclass(frozen=True, slots=True)
class Original:
    """An exported model.

    Attributes:
        name: The file's name.
        sha256: Of the file and, in the order of their names, of the files that hold its weights.
        opset: As exported.
        metadata: What the exporter wrote into the file.
        whole: The model as exported, its weights inside.
        model: The same with the operators of `OPSET` or later and without functions of its own.
    """

    name: str
    sha256: str
    opset: int
    producer: str
    metadata: Mapping[str, str]
    picture: PictureInput
    whole: bytes
    model: onnx.ModelProto


def read_original(path: Path) -> Original:
    """Reads an exported model. Raises `ImportRefused`, or `OSError` where the file cannot be read."""
    data = path.read_bytes()
    try:
        model = onnx.load_model_from_string(data)
    except Exception as error:  # protobuf's own class, which has no types
        raise ImportRefused(f"{path.name} is not an ONNX file: {error}") from error
    if not model.graph.node:
        raise ImportRefused(f"{path.name} is not an ONNX file, or one without a graph")
    beside = _load_weights(model, path)
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= opset <= newest:
        raise ImportRefused(
            f"{path.name} uses opset {opset}, this version knows 1 to {newest}; export it again with opset_version=17"
        )
    _refuse_unknown_operators(model, path.name)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ImportRefused(f"{path.name} is not valid ONNX: {error}") from error
    return Original(
        name=path.name,
        sha256=hashlib.sha256(b"".join([data, *(file.read_bytes() for file in beside)])).hexdigest(),
        opset=opset,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        metadata={item.key: item.value for item in model.metadata_props},
        picture=_picture(model.graph),
        whole=model.SerializeToString(),
        model=_lifted(model, opset),
    )


def _load_weights(model: onnx.ModelProto, path: Path) -> list[Path]:
    """Takes weights that lie in files of their own into the model; returns those files."""
    named = {
        entry.value
        for tensor in model.graph.initializer
        if external_data_helper.uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    missing = sorted(name for name in named if not (path.parent / name).is_file())
    if missing:
        raise ImportRefused(
            f"the weights of {path.name} are in {', '.join(missing)}, which is not beside it; "
            "copy it there, or export again into one file"
        )
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, ValueError) as error:
        raise ImportRefused(f"the weights of {path.name} cannot be read: {error}") from error
    if model.ByteSize() > MOST_BYTES:
        raise ImportRefused(f"{path.name} has more than 2 GB with its weights, too much for a release")
    return [path.parent / name for name in sorted(named)]


def _nodes(graph: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """All nodes, those of branches and loops too."""
    for node in graph:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner.node)


def _refuse_unknown_operators(model: onnx.ModelProto, name: str) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    used = [*_nodes(model.graph.node), *(n for function in model.functions for n in _nodes(function.node))]
    unknown = sorted(
        {
            f"{node.op_type} of domain {node.domain or 'ai.onnx'}"
            for node in used
            if node.domain != RUNTIME_DOMAIN
            and (node.domain, node.op_type) not in own
            and not onnx.defs.has(node.op_type, "" if node.domain == "ai.onnx" else node.domain)
        }
    )
    if unknown:
        raise ImportRefused(
            f"{name} uses operators that onnxruntime does not know: {', '.join(unknown)}; "
            "export it without plug-ins of another runtime"
        )


def _lifted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The model with the operators of `OPSET` or later; `checking` sees that it still says the same."""
    try:
        plain = inliner.inline_local_functions(model) if model.functions else model
        return plain if opset >= OPSET else version_converter.convert_version(plain, OPSET)
    except Exception as error:  # the converter has no class of its own for what it cannot do
        raise ImportRefused(
            f"the graph cannot be lifted from opset {opset} to {OPSET}: {error}; "
            f"export it again with opset_version={OPSET}"
        ) from error


def _picture(graph: onnx.GraphProto) -> PictureInput:
    weights = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in weights]
    if len(inputs) != 1:
        named = ", ".join(item.name for item in inputs) or "none"
        raise ImportRefused(f"a model needs one input, a picture; this one has {named}")
    name, kind = inputs[0].name, inputs[0].type.tensor_type
    if kind.elem_type not in PICTURE_TYPES:
        raise ImportRefused(
            f"the input {name} is of type {TensorProto.DataType.Name(kind.elem_type)}; "
            "a picture is float32, float16, float64 or uint8"
        )
    axes = [axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim]
    if len(axes) not in (3, 4):
        raise ImportRefused(f"the input {name} has the shape {_shown(axes)}; a picture has 3 or 4 axes")
    batched = len(axes) == 4
    if batched and axes[0] not in (None, 1):
        raise ImportRefused(
            f"the model was exported for exactly {axes[0]} pictures at once; export it again with batch 1"
        )
    first, *middle, last = axes[1:] if batched else axes
    # Where the exporter left even the channels open, they come first: PyTorch knows no other order.
    channels_first = first == 3 or (first is None and last != 3)
    if not channels_first and last != 3:
        raise ImportRefused(
            f"the input {name} has the shape {_shown(axes)}; a picture of 3 channels is expected, "
            "as (N, 3, H, W), (N, H, W, 3), (3, H, W) or (H, W, 3)"
        )
    height, width = (*middle, last) if channels_first else (first, *middle)
    return PictureInput(name, kind.elem_type, channels_first, batched, height, width)


def _shown(axes: Iterable[int | None]) -> str:
    return f"({', '.join('any' if axis is None else str(axis) for axis in axes)})"
