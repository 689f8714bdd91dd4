"""The rebuilt network is the network that was trained on ImageNet."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from sklearn.datasets import load_sample_image
from trainer.adapters.backbone import (
    Weights,
    add_blocks,
    begin,
    feature_count,
    folded,
    levels_of,
    stages_of,
    wheel_weights,
)
from trainer.adapters.features import open_session
from trainer.adapters.torch_weights import WeightFileError, read_weights

PALACE, MONASTERY, BELL_COTE, CASTLE = 698, 663, 442, 483
DAISY = 985


@pytest.fixture(scope="module")
def weights() -> Weights:
    return read_weights(wheel_weights()[0])


def classify(backbone: Path, weights: Weights, name: str) -> npt.NDArray[np.int_]:
    """ImageNet classes of a photograph, the likeliest first."""
    photo = load_sample_image(name)
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = cv2.resize(photo[top : top + side, left : left + side], (224, 224), interpolation=cv2.INTER_AREA)
    (features,) = open_session(backbone, 1).run(["features"], {"image": square[None]})
    pooled = features[:, -weights["_fc.weight"].shape[1] :]
    return np.argsort(-(pooled @ weights["_fc.weight"].T + weights["_fc.bias"])[0])


def test_photographs_are_recognised(backbone: Path, weights: Weights) -> None:
    temple = classify(backbone, weights, "china.jpg")
    assert temple[0] == PALACE
    assert {MONASTERY, BELL_COTE, CASTLE} <= set(temple[:5])
    assert classify(backbone, weights, "flower.jpg")[0] == DAISY


def test_first_layer_equals_a_plain_computation(weights: Weights) -> None:
    """Stem convolution with TensorFlow's padding, unfolded batch normalisation and ReLU6, written out in NumPy."""
    picture = np.random.default_rng(0).integers(0, 256, (1, 12, 12, 3), dtype=np.uint8)
    graph, planes = begin(weights)
    outputs = add_blocks(graph, planes, last_block=0)
    assert list(outputs) == [0]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "stem",
            [onnx.helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, [1, 12, 12, 3])],
            [onnx.helper.make_tensor_value_info("stem.relu6", onnx.TensorProto.FLOAT, [1, 32, 6, 6])],
            graph.initializers,
        ),
        opset_imports=[onnx.helper.make_opsetid("", 18)],
        ir_version=9,
    )
    (found,) = open_session(model.SerializeToString(), 1).run(["stem.relu6"], {"image": picture})

    padded = np.pad((picture[0].astype(np.float64) - 127) / 128, ((0, 1), (0, 1), (0, 0)))
    kernel = weights["_conv_stem.weight"].astype(np.float64)
    expected = np.zeros((32, 6, 6))
    for row in range(6):
        for column in range(6):
            window = padded[row * 2 : row * 2 + 3, column * 2 : column * 2 + 3]
            expected[:, row, column] = np.einsum("oihw,hwi->o", kernel, window)
    scale = weights["_bn0.weight"] / np.sqrt(weights["_bn0.running_var"] + 1e-3)
    shift = weights["_bn0.bias"] - weights["_bn0.running_mean"] * scale
    expected = np.clip(expected * scale[:, None, None] + shift[:, None, None], 0, 6)
    np.testing.assert_allclose(found[0], expected, atol=2e-4)


def test_levels_cover_the_features_in_order(backbone: Path, weights: Weights) -> None:
    levels = levels_of(onnx.load(str(backbone)))
    width = sum(channels * (2 if level.std else 1) for level, channels in levels)
    assert width == feature_count(weights) == 2768
    assert sum(stage.repeats for stage in stages_of(weights)) == 16


def test_strides_of_stored_tensors_are_respected(weights: Weights) -> None:
    kernel, bias = folded(weights, "_conv_stem", "_bn0")
    assert kernel.shape == (32, 3, 3, 3) and bias.shape == (32,)
    assert kernel.flags["C_CONTIGUOUS"]


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("a weight file ran code",))


def test_a_weight_file_cannot_run_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "evil.pth"
    file.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightFileError, match="refused"):
        read_weights(file)
    file.write_bytes(pickle.dumps(12345))
    with pytest.raises(WeightFileError, match="not a legacy"):
        read_weights(file)
    assert capsys.readouterr().out == ""


def test_a_cut_weight_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cut.pth"
    file.write_bytes(wheel_weights()[0].read_bytes()[:-1000])
    with pytest.raises(WeightFileError, match="ends early"):
        read_weights(file)
