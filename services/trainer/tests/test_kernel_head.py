"""A kernel machine is released where it is better by more than chance; the graph computes what the domain computes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from andon_vision import Preprocessing
from onnx import TensorProto, helper
from trainer.adapters.features import open_session
from trainer.adapters.fitting import TrainingSet
from trainer.adapters.kernel_graph import GRADIENT
from trainer.adapters.maxima import RICH, with_maxima
from trainer.adapters.release_graph import HeatScale, build_release
from trainer.domain.calibration import Platt
from trainer.domain.head import ClassHead, Head, Kernel, Linear
from trainer.head_choice import choose_head

SPEC = Preprocessing(96, 96)


def rings(count: int = 240) -> TrainingSet:
    """Defects lie around the good ones: no line tells them apart."""
    random = np.random.default_rng(4)
    features = random.normal(0, 1, (count, 2)).astype(np.float32)
    features[::2] *= (3.5 / np.linalg.norm(features[::2], axis=1))[:, None]
    defect = np.arange(count) % 2 == 0
    names = tuple(("crack",) * int(shows) for shows in defect)
    return TrainingSet(features[None], defect, names, np.ones(count), list(range(count)))


def spread(data: TrainingSet, linear: bool) -> TrainingSet:
    """The same rows, with one feature that tells everything where `linear`."""
    views = data.views.copy()
    if linear:
        views[..., 0] = np.where(data.is_defect, 4, -4)
    return replace(data, views=views)


def test_a_kernel_is_taken_where_no_line_parts_good_from_bad() -> None:
    data = rings()
    chosen = choose_head(data, lambda spec: data, ("crack",), (SPEC, Preprocessing(128, 128)))
    assert chosen.is_kernel and chosen.preprocessing == SPEC, "a larger input must be better, not as good"
    assert chosen.probabilities is not None
    assert ((chosen.probabilities >= 0.5) == data.is_defect).mean() > 0.95
    assert [item["head"] for item in chosen.tried] == ["linear", "kernel", "kernel"]


def test_a_linear_head_is_kept_where_it_is_as_good() -> None:
    data = spread(rings(), linear=True)
    chosen = choose_head(data, lambda spec: data, ("crack",), (SPEC,))
    assert not chosen.is_kernel and len(chosen.tried) == 2
    assert choose_head(data, None, ("crack",), (SPEC,)).tried == []


def machine(features: npt.NDArray[np.float32], vectors: int = 5) -> Kernel:
    random = np.random.default_rng(6)
    mean, scale = features.mean(axis=0), (1 / (features.std(axis=0) + 0.1)).astype(np.float32)
    support = random.normal(0, 1, (vectors, features.shape[1])).astype(np.float16).astype(np.float32)
    weights = random.normal(0, 2, (1, vectors)).astype(np.float32)
    return Kernel(mean, scale, support, 0.7, weights, np.array([0.3], np.float32))


def slope_of(
    kernel: Kernel, features: npt.NDArray[np.float32], step: float = 1e-2
) -> npt.NDArray[np.float64]:
    """(rows): how the score changes along (features - mean), by differences."""
    away = features - kernel.mean
    ahead, behind = (kernel((features + sign * step * away).astype(np.float32)) for sign in (1, -1))
    return np.asarray((ahead - behind)[:, 0] / (2 * step))


def test_the_graph_computes_what_the_machine_computes(backbone: Path) -> None:
    random = np.random.default_rng(8)
    images = random.integers(0, 256, (4, 64, 96, 3), dtype=np.uint8)
    images[2:] //= 3
    model = onnx.load(str(backbone))
    rich, plain = open_session(with_maxima(model).SerializeToString(), 1).run(
        [RICH, "features"], {"image": images}
    )
    np.testing.assert_array_equal(rich[:, : plain.shape[1]], plain)
    kernel = machine(rich)
    classes = Linear(random.normal(0, 0.02, (2, plain.shape[1])).astype(np.float32), np.zeros(2, np.float32))
    head = Head(("a", "b"), kernel, Platt(0.8, -0.3), ClassHead(classes, "softmax", (Platt(0.7, 0.0),)))
    release = build_release(model, head, 96, 64, HeatScale(-1.0, 2.0), raw=True)
    release.graph.output.append(helper.make_tensor_value_info(GRADIENT, TensorProto.FLOAT, None))
    found = open_session(release.SerializeToString(), 1).run(None, {"image": images})
    score, probabilities, heat, attribution, gradient = found
    np.testing.assert_allclose(score, head.defect_probability(rich), atol=1e-4)
    np.testing.assert_allclose(probabilities, head.class_probabilities(rich), atol=1e-4)
    np.testing.assert_array_equal(heat, ((attribution + 1.0) * (255 / 2.0)).clip(0, 255).astype(np.uint8))
    shares = ((rich - kernel.mean) * gradient).sum(axis=1)
    np.testing.assert_allclose(shares, slope_of(kernel, rich), rtol=0.05, atol=5e-3)
    # Drawn to cells, the shares' mean moves a little at the borders.
    np.testing.assert_allclose(attribution.mean(axis=(1, 2)), shares, atol=0.15)
