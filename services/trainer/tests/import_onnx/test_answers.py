"""What an imported model answers, computed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

WHITE = np.full((64, 64, 3), 255, np.uint8)
DIM = np.full((64, 64, 3), 51, np.uint8)  # a fifth of white
BLACK = np.zeros((64, 64, 3), np.uint8)


def test_yolo_v5_multiplies_objectness_and_class(exported, imports, tmp_path: Path) -> None:
    model = exported.yolo_v5(tmp_path / "m.onnx", stride="32", names="{0: 'scratch', 1: 'dent'}")
    release = imports(model)
    answers = release.answers(WHITE, DIM, BLACK)

    # 0.9 x 0.8, 0.5 x 0.6 and 0.01 x 0.5; centre and size become corners, the last box is cut at the border.
    expected = [[8, 16, 24, 32, 0.72, 0], [36, 36, 44, 44, 0.30, 1], [52, 4, 64, 12, 0.005, 0]]
    assert answers["boxes"].shape == (3, 100, 6)
    assert answers["boxes"][0, :3] == pytest.approx(np.array(expected), abs=1e-4)
    assert not answers["boxes"][0, 3:].any()
    assert answers["class_probabilities"] == pytest.approx(
        np.array([[0.72, 0.3], [0.144, 0.06], [0, 0]]), abs=1e-5
    )
    assert answers["defect_score"] == pytest.approx([0.72, 0.144, 0], abs=1e-5)

    heat = np.zeros((8, 8), np.uint8)
    heat[2:4, 1:3] = 183  # 0.72 x 255 where the first box is
    heat[4:6, 4:6] = 76  # 36 to 44 reaches into two cells each way
    heat[0:2, 6:8] = 1
    assert np.array_equal(answers["heat_map"][0], heat)
    assert not answers["heat_map"][2].any()

    described = release.bundle.description
    assert release.bundle.classes == ("scratch", "dent") and described["task"] == "detection"
    assert described["regions"] == {"from": "boxes", "score_from": 0.25, "nms_iou": 0.45}
    assert described["imported"]["layout"] == "yolo-v5"
    assert described["preprocessing"] == {
        "width": 64, "height": 64, "fit": "letterbox", "interpolation": "linear"
    }  # fmt: skip


def test_yolo_v8_takes_size_and_names_from_the_file(exported, imports, tmp_path: Path) -> None:
    model = exported.yolo_v8(
        tmp_path / "m.onnx", task="detect", stride="32", imgsz="[96, 64]", names="{0: 'scratch', 1: 'dent'}",
        license="AGPL-3.0",
    )  # fmt: skip
    release = imports(model, licence=None)
    spec = release.bundle.preprocessing
    assert (spec.width, spec.height) == (64, 96) and release.bundle.description["licence"] == "AGPL-3.0"
    answers = release.answers(np.full((96, 64, 3), 255, np.uint8), np.zeros((96, 64, 3), np.uint8))
    # A box is of its best class; each class's probability is its best over all boxes.
    expected = [[8, 16, 24, 32, 0.9, 0], [36, 36, 44, 44, 0.7, 1]]
    assert answers["boxes"][0, :2] == pytest.approx(np.array(expected), abs=1e-4)
    assert answers["class_probabilities"] == pytest.approx(np.array([[0.9, 0.7], [0, 0]]), abs=1e-5)
    assert answers["heat_map"].shape == (2, 12, 8)


def test_only_the_surest_hundred_boxes_are_kept(exported, imports, tmp_path: Path) -> None:
    scores = np.linspace(0.01, 0.8, 150)
    boxes = [(2 + 4 * (at % 16), 2 + 4 * (at // 16), 2, 2) for at in range(150)]
    model = exported.yolo_v8(tmp_path / "m.onnx", scores=[scores], boxes=boxes, stride="32", names="['dent']")
    kept = imports(model, "--size", "64").answers(WHITE)["boxes"][0]
    assert kept[:, 4] == pytest.approx(scores[:49:-1], abs=1e-5)
    assert kept[0, :4] == pytest.approx([21, 37, 23, 39], abs=1e-4)  # the last one: 150 = 9 x 16 + 6


def test_a_large_finds_many_boxes_do_not_crowd_out_a_small_one(exported, imports, tmp_path: Path) -> None:
    boxes = [*((20, 20, 30 + at / 20, 30) for at in range(120)), (60, 60, 4, 4), (20, 20, 30, 30)]
    scores = np.zeros((2, 122))
    scores[0, :121] = [*np.linspace(0.8, 0.9, 120), 0.3]
    scores[1, 121] = 0.5  # the same place, but another class
    model = exported.yolo_v8(tmp_path / "m.onnx", scores, boxes, stride="32", names="['scratch', 'dent']")
    kept = imports(model, "--size", "64").answers(WHITE)["boxes"][0]
    assert kept[:4, 4:] == pytest.approx(np.array([[0.9, 0], [0.5, 1], [0.3, 0], [0, 0]]), abs=1e-5)


def test_yolo_mixes_masks_from_planes(exported, imports, tmp_path: Path) -> None:
    model = exported.yolo_seg(tmp_path / "m.onnx")
    release = imports(model)
    answers = release.answers(WHITE, BLACK)
    assert answers["boxes"][0, 0] == pytest.approx([8, 16, 24, 32, 0.8, 1], abs=1e-4)
    masks = np.zeros((2, 16, 16), np.uint8)
    # Inside the box, the planes are mixed by 2 and -1: the sigmoid of 2 x 3 on the left and of -1 x 3 on the right.
    masks[1, 4:8, 2:4] = int(0.8 * 255 / (1 + np.exp(-6)))
    masks[1, 4:8, 4:6] = int(0.8 * 255 / (1 + np.exp(3)))
    assert np.array_equal(answers["masks"][0], masks) and not answers["masks"][1].any()
    heat = np.zeros((8, 8), np.uint8)
    heat[2:4, 1], heat[2:4, 2] = masks[1, 4, 2], masks[1, 4, 4]
    assert np.array_equal(answers["heat_map"][0], heat)
    assert release.bundle.description["task"] == "segmentation"


def test_yolo_after_nms_names_corners_itself(exported, imports, tmp_path: Path) -> None:
    rows = [[8, 16, 24, 32, 0.6, 1], [0, 0, 16, 8, 0.3, 0], [0, 0, 0, 0, 0, 0]]
    model = exported.yolo_nms(tmp_path / "m.onnx", rows, task="detect", stride="32", names="{0: 'a', 1: 'b'}")
    release = imports(model)
    answers = release.answers(WHITE, BLACK)
    assert release.summary["layout"] == "yolo-nms"
    assert answers["boxes"][0, :2] == pytest.approx(np.array(rows[:2]), abs=1e-4)
    assert answers["class_probabilities"] == pytest.approx(np.array([[0.3, 0.6], [0, 0]]), abs=1e-5)


def test_a_model_that_finds_nothing_in_made_up_pictures(exported, imports, tmp_path: Path) -> None:
    nothing = exported.yolo_nms(
        tmp_path / "m.onnx", [[0] * 6] * 3, task="detect", stride="32", names="['a', 'b']"
    )
    answers = imports(nothing).answers(WHITE)
    assert not answers["boxes"].any() and not answers["heat_map"].any() and answers["defect_score"] == 0


def test_one_class_after_nms_is_told_from_yolo_v5_by_the_exporter(exported, imports, tmp_path: Path) -> None:
    rows = [[8, 16, 24, 32, 0.6, 0]]
    written = {"stride": "32", "names": "['dent']"}
    ultralytics = exported.yolo_nms(tmp_path / "8.onnx", rows, task="detect", **written)
    assert imports(ultralytics).summary["layout"] == "yolo-nms"
    older = exported.yolo_v5(tmp_path / "5.onnx", [[16, 24, 16, 16, 0.5, 0.8]], **written)
    assert imports(older).summary["layout"] == "yolo-v5"


def test_mask_rcnn_draws_masks_of_any_number_of_finds(exported, imports, tmp_path: Path) -> None:
    model = exported.mask_rcnn(tmp_path / "m.onnx")
    release = imports(model, "--classes", "scratch,dent", "--size", "64", "--scale", "1/255")
    answers = release.answers(BLACK, WHITE, DIM)

    assert not answers["boxes"][0].any() and answers["defect_score"][0] == 0  # nothing is found on black
    expected = [
        [8, 8, 24, 24, 0.8, 1],
        [32, 32, 48, 48, 0.4, 0],
    ]  # labels count from 1, behind the background
    assert answers["boxes"][1, :2] == pytest.approx(np.array(expected), abs=1e-4)
    assert answers["class_probabilities"][1:] == pytest.approx(np.array([[0.4, 0.8], [0.08, 0.16]]), abs=1e-5)

    masks = np.zeros((2, 16, 16), np.uint8)
    masks[1, 2:6, 2:4] = 204  # 0.8 x 255 on the left half of the first box
    masks[0, 8:12, 8:12] = 51  # 0.4 x 0.5 x 255
    assert np.array_equal(answers["masks"][1], masks)
    heat = np.zeros((8, 8), np.uint8)
    heat[1:3, 1:2], heat[4:6, 4:6] = 204, 51
    assert np.array_equal(answers["heat_map"][1], heat)
    assert release.bundle.description["task"] == "segmentation"
    assert release.bundle.description["regions"]["from"] == "masks"


def test_faster_rcnn_has_no_masks(exported, imports, tmp_path: Path) -> None:
    model = exported.mask_rcnn(tmp_path / "m.onnx", masked=False)
    release = imports(model, "--classes", "scratch,dent", "--size", "64", "--scale", "1/255")
    answers = release.answers(WHITE)
    assert "masks" not in answers and release.bundle.description["task"] == "detection"
    assert (answers["heat_map"][0, 1:3, 1:3] == 204).all()


def test_anomalib_2_is_taken_as_normalised(exported, imports, tmp_path: Path) -> None:
    spot = BLACK.copy()
    spot[16:24, 40:48] = 204
    release = imports(exported.anomalib_2(tmp_path / "m.onnx"), "--scale", "1/255")
    answers = release.answers(spot, DIM)
    assert answers["defect_score"] == pytest.approx([0.8, 0.2], abs=1e-5)
    heat = np.zeros((8, 8), np.uint8)
    heat[2, 5] = 204
    assert np.array_equal(answers["heat_map"][0], heat) and "boxes" not in answers
    assert release.bundle.classes == ("anomaly",) and release.bundle.description["regions"] == {
        "from": "heat_map"
    }


def test_anomalib_1_is_scaled_by_its_own_metadata(exported, imports, tmp_path: Path) -> None:
    written = {
        "image_threshold": 10, "pred_scores.min": 2, "pred_scores.max": 42,
        "pixel_threshold": 20, "anomaly_maps.min": 0, "anomaly_maps.max": 80,
    }  # fmt: skip
    (tmp_path / "metadata.json").write_text(json.dumps(written))
    model = exported.anomalib_1(tmp_path / "m.onnx", scored=True)
    release = imports(model, "--scale", "1/255", "--metadata", str(tmp_path / "metadata.json"))
    answers = release.answers(DIM, BLACK, WHITE)
    # The mean of the map, 8, 0 and 40: (8 - 10) / 40 + 0.5, and so on, cut at 1. The map: (8 - 20) / 80 + 0.5.
    assert answers["defect_score"] == pytest.approx([0.45, 0.25, 1], abs=1e-5)
    assert np.unique(answers["heat_map"][0]).tolist() == [89]  # 0.35 x 255


def test_a_map_alone_is_scored_by_its_highest_value(exported, imports, tmp_path: Path) -> None:
    model = exported.anomalib_1(tmp_path / "m.onnx")
    spot = BLACK.copy()
    spot[0, 0] = 255
    answers = imports(model, "--scale", "1/255", "--range", "0,80").answers(spot)
    assert answers["defect_score"] == pytest.approx([0.5], abs=1e-5)
    assert answers["heat_map"][0, 0, 0] == 127 and not answers["heat_map"][0, 1:].any()


def test_bytes_become_the_models_numbers(exported, imports, tmp_path: Path) -> None:
    made = exported.Exported(opset=18)
    made.node("Gather", ["input", made.constant("first", [0], np.int64)], "first.channel", axis=1)
    made.node("Cast", ["first.channel"], "anomaly_map", to=TensorProto.FLOAT16)
    model = made.save(
        tmp_path / "m.onnx",
        ("input", (1, 3, 64, 64), TensorProto.FLOAT16),
        [("anomaly_map", (1, 1, 64, 64), TensorProto.FLOAT16)],
    )
    words = ("--scale", "1/255", "--mean", "0.1,0.2,0.3", "--std", "2,4,5", "--colour", "bgr", "--range=-1,1")
    picture = BLACK.copy()
    picture[..., 2] = 204  # blue, which the model wants first
    answers = imports(model, *words).answers(picture)
    assert answers["defect_score"] == pytest.approx([((0.8 - 0.1) / 2 + 1) / 2], abs=1e-3)


def test_bytes_channels_last_need_no_numbers(exported, imports, tmp_path: Path) -> None:
    made = exported.Exported(opset=18)
    made.node("Cast", ["input"], "float", to=TensorProto.FLOAT)
    made.node("Transpose", ["float"], "planes", perm=[2, 0, 1])
    axes = made.constant("axes", [0], np.int64)
    mean = made.node("ReduceMean", ["planes", axes], "mean", keepdims=1)
    made.node(
        "Unsqueeze", [made.node("Div", [mean, made.constant("white", 255)], "share"), axes], "anomaly_map"
    )
    model = made.save(
        tmp_path / "m.onnx",
        ("input", ("height", "width", 3), TensorProto.UINT8),
        [("anomaly_map", (1, 1, "height", "width"), TensorProto.FLOAT)],
    )
    release = imports(model, "--size", "40x48")
    answers = release.answers(np.full((48, 40, 3), 102, np.uint8))
    assert answers["defect_score"] == pytest.approx([0.4], abs=1e-5)
    assert answers["heat_map"].shape == (1, 6, 5)


def test_a_map_whose_cells_are_not_ours_is_resized(exported, imports, tmp_path: Path) -> None:
    made = exported.Exported()
    made.node("ReduceMean", ["input"], "mean", axes=[1], keepdims=1)
    made.node("AveragePool", ["mean"], "anomaly_map", kernel_shape=[3, 3], strides=[3, 3])
    model = made.save(
        tmp_path / "m.onnx",
        ("input", ("batch_size", 3, 64, 64), TensorProto.FLOAT),
        [("anomaly_map", ("batch_size", 1, 21, 21), TensorProto.FLOAT)],
    )
    # The check has held it against OpenCV's resizing of the same noise.
    answers = imports(model, "--scale", "1/255").answers(DIM)
    assert answers["heat_map"].shape == (1, 8, 8) and np.abs(answers["heat_map"].astype(int) - 51).max() <= 1
