"""From an exported file to a release that a plant can run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from andon_vision.runner import ReleaseRunner
from onnx import TensorProto, helper
from trainer.adapters.onnx_import.inspection import ImportRefused

KNOWN = {"stride": "32", "names": "['scratch', 'dent']"}
WHITE = np.full((64, 64, 3), 255, np.uint8)


def encoded(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def labelled(folder: Path, good: int, bad: int, *, swapped: bool = False) -> Path:
    """A folder of grainy pictures: good ones are dark and bad ones bright, or the other way round."""
    random = np.random.default_rng(7)
    for number in range(good + bad):
        defect = number >= good
        low = 130 if defect != swapped else 20
        cells = random.integers(low, low + 100, (8, 8), dtype=np.uint8)
        path = folder / ("dent" if defect else "good") / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(cv2.resize(cells, (64, 64), interpolation=cv2.INTER_NEAREST)))
    return folder


def test_regions_are_in_pixels_of_the_camera(exported, imports, tmp_path: Path) -> None:
    release = imports(exported.yolo_v5(tmp_path / "m.onnx", **KNOWN))
    files = {path.name: path.read_bytes() for path in release.folder.iterdir()}
    wide, broken = np.full((64, 128), 255, np.uint8), b"no picture"
    reading, refused, dark = ReleaseRunner(release.bundle, files).read(
        [encoded(wide), broken, encoded(np.zeros((64, 64), np.uint8))]
    )
    # 128 x 64 is letterboxed to 64 x 32, 16 rows of grey (127) above and below: brightness is (255 + 127) / 2 / 255.
    light = (255 + 127) / 2 / 255
    assert reading.defect_score == pytest.approx(0.72 * light, abs=1e-4)
    (region,) = reading.regions  # the second box scores 0.30 x light, less than a region must
    assert (region.class_name, region.score) == ("scratch", pytest.approx(0.72 * light, abs=1e-4))
    assert (region.x, region.y, region.width, region.height) == pytest.approx((16, 0, 32, 32), abs=1e-3)
    assert refused.refused and release.bundle.band(dark.defect_score) == "pass" and dark.regions == ()


def test_masks_become_outlines(exported, imports, tmp_path: Path) -> None:
    model = exported.mask_rcnn(tmp_path / "m.onnx")
    release = imports(model, "--classes", "scratch,dent", "--size", "64", "--scale", "1/255")
    files = {path.name: path.read_bytes() for path in release.folder.iterdir()}
    (reading,) = ReleaseRunner(release.bundle, files).read([encoded(WHITE)])
    (region,) = reading.regions  # the other mask is worth 0.2, below the 0.25 of a region
    assert region.class_name == "dent" and region.outline
    assert (region.x, region.y, region.width, region.height) == pytest.approx((8, 8, 8, 16), abs=2)


def test_nobody_is_rejected_by_a_model_that_saw_no_labelled_image(exported, imports, tmp_path: Path) -> None:
    model = exported.yolo_v5(tmp_path / "m.onnx", **KNOWN)
    samples = labelled(tmp_path / "samples", 3, 2)
    release = imports(model, "--check", str(samples), "--origin", "Line 4, by the integrator")
    assert [release.bundle.band(score) for score in (0.04, 0.05, 1.0)] == ["pass", "uncertain", "uncertain"]
    assert "none is rejected without one" in release.summary["calibration"]
    assert release.summary["checked"]["pictures"] == 5 + 3  # the samples, and three that are made up
    described = release.bundle.description
    assert described["licence"] == "MIT" and described["dataset"]["hash"] == ""
    assert described["imported"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert described["imported"]["origin"] == "Line 4, by the integrator"
    assert (
        imports(model, "--check", str(samples), "--origin", "Line 4, by the integrator").folder
        == release.folder
    )


def test_labelled_images_make_probabilities(exported, imports, tmp_path: Path) -> None:
    data = labelled(tmp_path / "data", 40, 24)
    release = imports(exported.yolo_v5(tmp_path / "m.onnx", **KNOWN), "--dataset", str(data))
    bundle = release.bundle
    assert 0 < bundle.pass_below <= bundle.reject_from < 1
    assert bundle.description["metrics"]["auroc"]["value"] == 1
    assert (
        bundle.description["dataset"]["images"]["train"]
        + bundle.description["dataset"]["images"]["validation"]
        == 64
    )
    answers = release.answers(np.full((64, 64, 3), 70, np.uint8), np.full((64, 64, 3), 180, np.uint8))
    assert [bundle.band(score) for score in answers["defect_score"]] == ["pass", "defect"]
    platt = bundle.description["calibration"]["defect"]
    raw = 0.72 * 180 / 255
    assert answers["defect_score"][1] == pytest.approx(
        1 / (1 + np.exp(-platt["slope"] * raw - platt["offset"])), abs=1e-4
    )
    # Boxes keep the model's own scores, which is what its owner's thresholds are about.
    assert answers["boxes"][1, 0, 4] == pytest.approx(raw, abs=1e-4)


def test_labelled_images_fix_a_scale_that_nobody_knows(exported, imports, tmp_path: Path) -> None:
    data = labelled(tmp_path / "data", 40, 24)
    release = imports(exported.anomalib_1(tmp_path / "m.onnx"), "--scale", "1/255", "--dataset", str(data))
    answers = release.answers(np.full((64, 64, 3), 20, np.uint8), np.full((64, 64, 3), 229, np.uint8))
    assert not answers["heat_map"][0].any() and (answers["heat_map"][1] >= 250).all()
    assert answers["defect_score"][0] < 0.1 < 0.9 < answers["defect_score"][1]


@pytest.mark.parametrize(
    ("good", "bad", "swapped", "expected"),
    [(40, 24, True, "does not rise with defects"), (30, 3, False, "are too few to calibrate")],
)
def test_labelled_images_that_do_not_help(
    exported, imports, tmp_path: Path, good: int, bad: int, swapped: bool, expected: str
) -> None:
    data = labelled(tmp_path / "data", good, bad, swapped=swapped)
    with pytest.raises(ImportRefused, match=expected):
        imports(exported.yolo_v5(tmp_path / "m.onnx", **KNOWN), "--dataset", str(data))
    assert not list(tmp_path.glob("out/*"))


def test_weights_in_a_file_of_their_own_come_along(exported, imports, tmp_path: Path) -> None:
    model = exported.yolo_v5(tmp_path / "m.onnx", **KNOWN)
    within = imports(model).answers(WHITE)["boxes"]
    onnx.save(
        onnx.load(model), tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0
    )
    release = imports(model)
    assert np.array_equal(release.answers(WHITE)["boxes"], within)
    assert {path.name for path in release.folder.iterdir()} == {"model.onnx", "bundle.json", "bundle.sig"}
    expected = hashlib.sha256(model.read_bytes() + (tmp_path / "m.data").read_bytes()).hexdigest()
    assert release.bundle.description["imported"]["sha256"] == expected


def test_functions_and_branches_of_an_old_export(exported, imports, tmp_path: Path) -> None:
    """Opset 11 with its axes as attributes, inside a branch and inside a function of the exporter's own."""
    made = exported.Exported(opset=11)
    branches = {}
    for name, operator in (("then_branch", "ReduceMax"), ("else_branch", "ReduceMin")):
        nodes = [helper.make_node(operator, ["input"], [name], axes=[1], keepdims=1)]
        made_up = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 64, 64])]
        branches[name] = helper.make_graph(nodes, name, [], made_up)
    made.node("ReduceSum", ["input"], "sum", keepdims=0)
    made.node("Greater", ["sum", made.constant("limit", 10)], "lit")
    made.node("If", ["lit"], "chosen", **branches)
    halved = [helper.make_node("Add", ["x", "x"], ["y"])]
    made.functions.append(
        helper.make_function("plug.in", "Twice", ["x"], ["y"], halved, [helper.make_opsetid("", 11)])
    )
    made.node("Twice", ["chosen"], "anomaly_map", domain="plug.in")
    model = made.save(
        tmp_path / "m.onnx",
        ("input", ("batch_size", 3, 64, 64), TensorProto.FLOAT),
        [("anomaly_map", ("batch_size", 1, 64, 64), TensorProto.FLOAT)],
    )
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[..., 1] = 102
    answers = imports(model, "--scale", "1/255", "--range", "0,2").answers(picture, np.zeros_like(picture))
    assert answers["defect_score"] == pytest.approx([0.4, 0], abs=1e-5)
