"""What every trained head on the frozen backbone needs: maps kept on the disk, a training loop that can be taken up
again, and the way from jax into the one graph of a release.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import jax
import numpy as np
import numpy.typing as npt
import onnx
import optax
from flax import serialization
from jax2onnx import to_onnx
from onnx import TensorProto, compose, helper
from onnx.utils import Extractor

from trainer.adapters.backbone import OPSET, levels_of
from trainer.adapters.features import BATCH, open_session
from trainer.workshop import Report

Params = Any
"""A tree of arrays, as flax makes it."""
Batch = dict[str, npt.NDArray[Any]]
Loss = Callable[[Params, Any], jax.Array]
"""Mean loss of a batch (a `Batch` as jax sees it) under some parameters."""
Pixels = npt.NDArray[np.uint8]


def identity(images: Iterable[bytes], *recipe: object) -> str:
    """Names what is made of these encoded images by this recipe, in 32 hexadecimal digits."""
    digest = hashlib.sha256(repr(recipe).encode())
    for data in images:
        digest.update(hashlib.sha256(data).digest())
    return digest.hexdigest()[:32]


class FrozenMaps:
    """Maps of some levels of a frozen backbone, computed once and kept in files as 16-bit floats.

    Args:
        backbone: The model whose levels are read; any graph with the level names of `backbone.py`.
        levels: Such as `level4`; their order is that of the answers.
        folder: Where files are kept; made if needed.
    """

    def __init__(
        self, backbone: onnx.ModelProto, levels: Sequence[str], folder: Path, *, threads: int = 2
    ) -> None:
        self.levels = tuple(levels)
        self._tensors = [tensors_of(backbone)[name] for name in levels]
        model = cut(backbone, self._tensors)
        self._session = open_session(model.SerializeToString(), threads)
        self._salt = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        self._folder = folder

    def maps(
        self, pictures: Iterable[Pixels], count: int, name: str, report: Report = lambda text: None
    ) -> dict[str, npt.NDArray[np.float16]]:
        """(count, height, width, channels) of each level, mapped from files that are read when they are used.

        `pictures` are prepared pixels, (H, W, 3) RGB; they are not asked for where `name` (see `identity`) is known.
        """
        salted = hashlib.sha256(f"{self._salt}/{name}".encode()).hexdigest()[:32]
        files = {level: self._folder / f"{salted}-{level}.npy" for level in self.levels}
        if not all(file.is_file() for file in files.values()):
            self._write(files, pictures, count, report)
        return {level: np.load(file, mmap_mode="r") for level, file in files.items()}

    def _write(
        self, files: Mapping[str, Path], pictures: Iterable[Pixels], count: int, report: Report
    ) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = {level: file.with_suffix(f".{os.getpid()}.partial") for level, file in files.items()}
        opened: dict[str, np.memmap[Any, np.dtype[np.float16]]] = {}
        done = 0
        for chunk in _chunks(pictures, BATCH):
            for level, found in zip(self.levels, self.run(np.stack(chunk)), strict=True):
                if level not in opened:
                    shape = (count, *found.shape[1:])
                    opened[level] = np.lib.format.open_memmap(partial[level], "w+", np.float16, shape)
                opened[level][done : done + len(chunk)] = found
            done += len(chunk)
            if done % (64 * BATCH) == 0:
                report(f"features of {done} of {count} pictures")
        if done != count:
            raise ValueError(f"{done} pictures came where {count} were promised")
        for level, file in files.items():
            opened[level].flush()
            partial[level].replace(file)

    def run(self, pictures: Pixels) -> list[npt.NDArray[np.float32]]:
        """(N, height, width, channels) of each level for (N, H, W, 3) pixels."""
        return [
            found.transpose(0, 2, 3, 1) for found in self._session.run(self._tensors, {"image": pictures})
        ]


def _chunks(items: Iterable[Pixels], size: int) -> Iterator[list[Pixels]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class Chosen:
    """Some rows of an array that may be too large to copy, as `fit` asks for examples."""

    def __init__(self, values: npt.NDArray[Any], rows: npt.NDArray[np.int_]) -> None:
        self._values, self._rows = values, rows
        self.shape = (len(rows), *values.shape[1:])

    def __getitem__(self, at: tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]) -> npt.NDArray[Any]:
        rows, views = at
        return np.asarray(self._values[self._rows[rows], views])


def tensors_of(backbone: onnx.ModelProto) -> dict[str, str]:
    """The tensor (N x C x h x w) behind each level's name; `planes` is the picture itself, about -1 to 1."""
    return {level.name: level.map for level, _ in levels_of(backbone)} | {"planes": "image.planes"}


def cut(model: onnx.ModelProto, tensors: Sequence[str]) -> onnx.ModelProto:
    """The part of a graph that makes these tensors from its input, with nothing that they do not need."""
    open_ended = onnx.ModelProto()
    open_ended.CopyFrom(model)
    del open_ended.graph.output[:]
    open_ended.graph.output.extend(
        helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None) for tensor in tensors
    )
    part = Extractor(open_ended).extract_model([item.name for item in model.graph.input], list(tensors))
    part.metadata_props.extend(model.metadata_props)
    return part


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how fast a head learns.

    Attributes:
        epochs: Rounds over the examples; in each round each example is seen in one of its views.
        batch: Examples in a step; a round's last, smaller batch is left out.
        rate: The highest learning rate (AdamW: warmed up over a twentieth of the steps, then falling as a cosine).
        decay: Weight decay.
        average: How much of the moving average of the parameters a step keeps; the average is the result.
        seed: Of the order, the views and whatever augmentation draws.
    """

    epochs: int
    batch: int
    rate: float
    decay: float = 1e-4
    average: float = 0.99
    seed: int = 0


def fit(
    params: Params,
    loss: Loss,
    examples: Mapping[str, npt.NDArray[Any]],
    schedule: Schedule,
    *,
    checkpoint: Path,
    report: Report,
    augment: Callable[[Batch, np.random.Generator], Batch] = lambda batch, random: batch,
) -> Params:
    """Trains from `params` and returns the averaged parameters.

    Args:
        examples: Arrays of (examples, views, ...), alike in the first two axes; may be files mapped to memory.
        checkpoint: A file that is written after each round and taken up again where it exists; name it by what the
            result depends on, for a checkpoint of another training would be continued as if it were this one's.
        augment: Changes a batch with the numbers drawn for it.

    Raises `FloatingPointError` where the loss is no longer a number.
    """
    count, views = next(iter(examples.values())).shape[:2]
    size = min(schedule.batch, count)
    steps = schedule.epochs * (count // size)
    rate = optax.warmup_cosine_decay_schedule(0.0, schedule.rate, max(1, steps // 20), max(2, steps))
    optimizer = optax.chain(optax.clip_by_global_norm(5.0), optax.adamw(rate, weight_decay=schedule.decay))

    @jax.jit
    def step(state: Params, batch: Batch) -> tuple[Params, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(state["params"], batch)
        change, moments = optimizer.update(gradient, state["moments"], state["params"])
        learned = optax.apply_updates(state["params"], change)
        average = optax.incremental_update(learned, state["average"], 1.0 - schedule.average)
        return {"params": learned, "average": average, "moments": moments}, value

    state = {"params": params, "average": params, "moments": optimizer.init(params)}
    start, state = _resumed(checkpoint, state)
    if start:
        report(f"going on after round {start} of {schedule.epochs}")
    for epoch in range(start, schedule.epochs):
        random = np.random.default_rng([schedule.seed, epoch])
        order, losses = random.permutation(count), []
        for at in range(0, count - size + 1, size):
            chosen = np.sort(order[at : at + size])
            seen = random.integers(views, size=size)
            batch = {name: np.asarray(values[chosen, seen]) for name, values in examples.items()}
            state, value = step(state, augment(batch, random))
            losses.append(value)
        mean = float(np.mean(jax.device_get(losses)))
        if not np.isfinite(mean):
            raise FloatingPointError(f"the loss is {mean} in round {epoch + 1}; lower the learning rate")
        _keep(checkpoint, epoch + 1, state)
        report(f"round {epoch + 1} of {schedule.epochs}: loss {mean:.4f}")
    return jax.device_get(state["average"])


def _resumed(file: Path, state: Params) -> tuple[int, Params]:
    """The number of finished rounds and the state after them; `state` as given where there is no file."""
    if not file.is_file():
        return 0, state
    kept = serialization.from_bytes({"epoch": 0, "state": state}, file.read_bytes())
    return int(kept["epoch"]), kept["state"]


def _keep(file: Path, epoch: int, state: Params) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial")
    partial.write_bytes(serialization.to_bytes({"epoch": epoch, "state": jax.device_get(state)}))
    partial.replace(file)


def exported(
    head: Callable[..., Any], inputs: Mapping[str, tuple[int, int, int]], outputs: Sequence[str]
) -> onnx.ModelProto:
    """A jax function of maps (N, height, width, channels) as a graph whose inputs are N x C x h x w.

    `inputs` gives height, width and channels of each map by the name that its input shall have.
    """
    model = to_onnx(
        head,
        [("N", *shape) for shape in inputs.values()],
        model_name="head",
        opset=OPSET,
        inputs_as_nchw=list(range(len(inputs))),
        input_names=list(inputs),
        output_names=list(outputs),
    )
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(f"the exporter gave a {type(model).__name__}")
    return model


def behind(
    backbone: onnx.ModelProto,
    head: onnx.ModelProto,
    taps: Mapping[str, str],
    width: int,
    height: int,
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    """One release graph of a backbone and a head that reads its levels.

    `taps` names the level for each of the head's inputs; `outputs` are the head's outputs as the release declares
    them. The input is `image`, (N, height, width, 3).
    """
    tensors = tensors_of(backbone)
    front = cut(backbone, sorted({tensors[level] for level in taps.values()}))
    back = compose.add_prefix(head, "head/", rename_inputs=False, rename_outputs=False)
    back.ir_version = front.ir_version  # the operator set is the same, which is what counts
    joined = compose.merge_models(
        front,
        back,
        io_map=[(tensors[level], name) for name, level in taps.items()],
        outputs=[item.name for item in outputs],
        name="andonloop-release",
        producer_name="andonloop-trainer",
    )
    del joined.graph.input[:], joined.graph.output[:], joined.graph.value_info[:]
    joined.graph.input.append(
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", height, width, 3])
    )
    joined.graph.output.extend(outputs)
    onnx.checker.check_model(joined)
    return joined
