"""Boxes teach where which defect is; the graph computes what the head computes, and the runner finds the boxes."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from andon_vision import Preprocessing
from andon_vision.regions import MOST_REGIONS
from andon_vision.release_bundle import load_public_key, make_keys, read_bundle
from andon_vision.runner import ReleaseRunner
from faster_coco_eval import COCO, COCOeval_faster
from trainer.adapters.box_metrics import Boxes, average_precision
from trainer.adapters.detection_graph import ask, build_detection_release
from trainer.adapters.detection_head import GRIDS, LEVELS, Calibrations, Detector, Head, answers_of
from trainer.adapters.detection_learning import Index, Pictures, Views, pictures_of
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.heads import FrozenMaps, Schedule, fit
from trainer.adapters.images import ImageStore
from trainer.adapters.maps import even_light
from trainer.benchmark.detection import detection_row, figures_of, found_of, sections_of, truth_of
from trainer.benchmark.table import Bench, Material
from trainer.detection import check_boxes, train_detection
from trainer.domain.calibration import Platt
from trainer.domain.detection import (
    Level,
    hits,
    overlaps,
    owners,
    padded,
    points_of,
    shown_from,
    turned_points,
)
from trainer.domain.snapshot import ImagePlace, LabelledBox, Row, Snapshot, SnapshotError
from trainer.training import Outcome, Plan

from .conftest import part, workshop

SPEC = Preprocessing(96, 96)
CLASSES = ("bar", "disc")
QUICK = Schedule(epochs=20, batch=8, rate=8e-3, average=0.9)
SMALL = partial(Head, width=32, fine=16, dropped=0.0)


def blemished(seed: int, kind: str) -> tuple[npt.NDArray[np.uint8], LabelledBox]:
    """A plate with a dark bar or a bright disc, and where it is."""
    plate = part(seed, scratched=False)
    x, y = (int(value) for value in np.random.default_rng(seed).integers(24, 72, 2))
    if kind == "bar":
        cv2.rectangle(plate, (x - 18, y - 8), (x + 18, y + 8), 10, -1)
        return plate, LabelledBox(kind, x - 18, y - 8, 37, 17)
    cv2.circle(plate, (x, y), 16, 250, -1)
    return plate, LabelledBox(kind, x - 16, y - 16, 33, 33)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """48 plates with boxes: 16 good ones, 16 with a bar, 16 with a disc."""
    folder = tmp_path_factory.mktemp("tiles")
    rows = []
    for seed in range(48):
        kind = ("", *CLASSES)[seed % 3]
        picture, boxes = part(seed, scratched=False), ()
        if kind:
            picture, box = blemished(seed, kind)
            boxes = (box,)
        file = folder / f"{seed}.png"
        assert cv2.imwrite(str(file), picture)
        classes = (kind,) if kind else ()
        rows.append(
            Row(file.name, ImagePlace(path=str(file)), classes, bool(kind), group=str(seed), boxes=boxes)
        )
    return Snapshot("tiles", tuple(rows))


@pytest.fixture(scope="module")
def released(
    tiles: Snapshot, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ReleaseRunner, Outcome]:
    home = tmp_path_factory.mktemp("detection")
    private, public = make_keys(home / "keys")
    extractor = FeatureExtractor(backbone, SPEC, FeatureCache(None))
    bench = workshop(backbone, extractor, private, home / "tiles")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.adapters.detection_learning.Head", SMALL)
        patch.setattr("trainer.detection.Views", partial(Views, views=4))
        outcome = train_detection(tiles, Plan("tiles", SPEC, near_duplicate_bits=0), bench, QUICK)
    bundle = read_bundle(bench.folder, load_public_key(public))
    files = {path.name: path.read_bytes() for path in bench.folder.iterdir()}
    return ReleaseRunner(bundle, files, all_regions=True), outcome


@pytest.mark.parametrize("kind", CLASSES)
def test_the_runner_finds_a_defect_where_it_is(released: tuple[ReleaseRunner, Outcome], kind: str) -> None:
    plate, truth = blemished(1000, kind)
    (reading,) = released[0].read([cv2.imencode(".png", plate)[1].tobytes()])
    surest = reading.regions[0]
    assert surest.class_name == kind
    corners = [np.array([[b.x, b.y, b.x + b.width, b.y + b.height]]) for b in (surest, truth)]
    assert overlaps(*corners)[0, 0] > 0.5


def test_a_release_says_what_it_is_worth(released: tuple[ReleaseRunner, Outcome]) -> None:
    runner, outcome = released
    assert outcome.metrics["map_50"].value > 0.6
    assert outcome.metrics["auroc"].value > 0.9
    description = runner.bundle.description
    assert description["knows_normal"] is True
    assert description["regions"]["from"] == "boxes"
    assert 0 < description["regions"]["score_from"] < 1
    assert description["max_batch"] == 2, "of four views each"


def test_the_graph_computes_what_the_head_computes(backbone: Path, tmp_path: Path) -> None:
    model = onnx.load(str(backbone))
    picture = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pictures = np.stack([picture, np.rot90(picture)])
    maps = dict(zip(LEVELS, FrozenMaps(even_light(model), LEVELS, tmp_path).run(pictures), strict=True))
    given = {name: jnp.asarray(value) for name, value in maps.items()}
    head = SMALL(len(CLASSES))
    scale = {name: (value.mean((0, 1, 2)), value.std((0, 1, 2)) + 1) for name, value in maps.items()}
    detector = Detector(head, jax.jit(head.init)(jax.random.key(0), given), scale, 64, 64)
    calibrations = Calibrations((Platt(0.7, 1.3), Platt(1.1, 2.0)), Platt(0.9, 3.0))
    found = ask(build_detection_release(model, detector, calibrations), list(pictures))
    seen = FrozenMaps(even_light(model), LEVELS, tmp_path).run(
        np.concatenate([np.rot90(pictures, turn, axes=(1, 2)) for turn in detector.turns])
    )
    score, classes, heat, boxes = answers_of(detector, calibrations)(*map(jnp.asarray, seen))
    np.testing.assert_allclose(found["defect_score"], score, atol=1e-4)
    np.testing.assert_allclose(found["class_probabilities"], classes, atol=1e-4)
    np.testing.assert_allclose(found["boxes"][..., 4], boxes[..., 4], atol=1e-4)
    # Rows of nearly equal scores may change places; the first ones are apart.
    np.testing.assert_allclose(found["boxes"][:, 0], boxes[:, 0], atol=1e-2)
    assert found["heat_map"].shape == (2, 8, 8) and found["heat_map"].dtype == np.uint8
    assert np.abs(found["heat_map"].astype(int) - np.asarray(heat).astype(int)).max() <= 1
    assert (found["boxes"][..., :4] >= 0).all() and (found["boxes"][..., 2] <= 64).all()
    assert (np.diff(found["boxes"][..., 4], axis=1) <= 0).all()
    # The second picture is the first turned to the left, and so are its boxes and its heat map.
    np.testing.assert_allclose(found["class_probabilities"][0], found["class_probabilities"][1], atol=1e-4)
    left, top, right, bottom = found["boxes"][0, 0, :4]
    np.testing.assert_allclose(found["boxes"][1, 0, :4], [top, 64 - right, bottom, 64 - left], atol=1e-2)
    heats = found["heat_map"].astype(int)
    assert np.abs(np.rot90(heats[0]) - heats[1]).max() <= 1


def test_a_training_that_was_stopped_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    seen = random.normal(size=(40, 2, 3)).astype(np.float32)
    examples = {"seen": seen, "wanted": seen @ np.array([1.0, -2.0, 0.5], np.float32)}
    schedule, start = Schedule(epochs=3, batch=8, rate=0.1), np.zeros(3, np.float32)

    def loss(learned: Any, batch: Any) -> jax.Array:
        return jnp.mean((batch["seen"] @ learned - batch["wanted"]) ** 2)

    def run(file: str, report: Callable[[str], None]) -> npt.NDArray[np.float32]:
        return np.asarray(fit(start, loss, examples, schedule, checkpoint=tmp_path / file, report=report))

    def stop(text: str) -> None:
        raise KeyboardInterrupt(text)

    told: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        run("stopped", stop)
    np.testing.assert_allclose(run("stopped", told.append), run("whole", print), atol=1e-6)
    assert told[0] == "going on after round 1 of 3"
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        fit(start * np.nan, loss, examples, schedule, checkpoint=tmp_path / "wild", report=print)


def test_views_are_made_once_and_carry_their_boxes(tiles: Snapshot, backbone: Path, tmp_path: Path) -> None:
    rows = tiles.rows[1:4]
    pictures = pictures_of(rows, [ImageStore().read(row.image) for row in rows], CLASSES, SPEC)
    model = onnx.load(str(backbone))
    first, second = (Views(pictures, model, tmp_path, print, views=3) for _ in range(2))
    np.testing.assert_array_equal(first.boxes, second.boxes)
    np.testing.assert_array_equal(first.maps["level4"], second.maps["level4"])
    box = rows[0].boxes[0]
    assert first.boxes[0, 0, 0].tolist() == [box.x, box.y, box.x + box.width, box.y + box.height, 0]
    assert len(list(tmp_path.glob("*-boxes.npy"))) == 1


def test_a_defect_without_a_box_is_refused(tiles: Snapshot) -> None:
    bare = replace(tiles.rows[1], boxes=())
    with pytest.raises(SnapshotError, match=r"1 defective images have no box, such as 1\.png"):
        check_boxes([tiles.rows[0], bare], CLASSES)


class TestGeometry:
    def test_points_lie_in_the_middle_of_their_cells(self) -> None:
        points = points_of((Level(8, 0, 40), Level(16, 30, 99)), 32, 16)
        assert points.at[:4].tolist() == [[4, 4], [12, 4], [20, 4], [28, 4]]
        assert points.at[8:].tolist() == [[8, 8], [24, 8]]
        with pytest.raises(ValueError, match="100 x 96 pixels is not a multiple of 8"):
            points_of(GRIDS, 100, 96)

    def test_a_turned_input_has_its_points_elsewhere(self) -> None:
        levels = (Level(8, 0, 40), Level(16, 30, 99))
        for turn, size in ((0, (32, 16)), (2, (32, 16)), (1, (32, 32)), (3, (32, 32))):
            points = points_of(levels, *size).at
            drawn = np.zeros((*size[::-1], 2))
            drawn[..., 0], drawn[..., 1] = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
            order = turned_points(levels, *size, turn)
            for point, seen in zip(points, points[order], strict=True):
                # What lies at the turned point in the turned picture of coordinates is the upright point.
                x, y = (int(value) for value in seen)
                found = np.rot90(drawn, turn)[y - 1 : y + 1, x - 1 : x + 1].mean(axis=(0, 1))
                np.testing.assert_allclose(found, point)

    def test_a_point_answers_for_the_smallest_box_around_it(self) -> None:
        points = points_of((Level(8, 0, 1000),), 64, 64)
        boxes = padded(np.array([[0, 0, 64, 64, 0], [24, 24, 40, 40, 1]], float))
        own = owners(boxes, points).reshape(8, 8)
        assert (own[3:5, 3:5] == 1).all()
        assert own[2, 2] == 0 and own[0, 0] == -1

    def test_a_box_too_thin_for_a_point_takes_the_nearest(self) -> None:
        points = points_of((Level(8, 0, 1000),), 64, 64)
        own = owners(padded(np.array([[0, 9, 64, 11, 1]], float)), points).reshape(8, 8)
        assert (own >= 0).sum() >= 2 and (np.argwhere(own >= 0)[:, 0] == 1).all()

    def test_without_boxes_no_point_answers(self) -> None:
        points = points_of(GRIDS, 64, 64)
        assert (owners(padded(np.empty((0, 5))), points) == -1).all()

    def test_each_labelled_box_is_hit_once_and_by_its_class(self) -> None:
        truth = np.array([[0, 0, 10, 10, 0], [20, 20, 30, 30, 1]], float)
        found = np.array(
            [[0, 0, 10, 9, 0], [0, 0, 10, 10, 0], [20, 20, 30, 30, 0], [21, 21, 30, 30, 1]], float
        )
        assert hits(found, truth).tolist() == [True, False, False, True]

    def test_boxes_are_shown_from_where_f2_is_best(self) -> None:
        scores = np.array([0.9, 0.8, 0.3, 0.2])
        # F2 of the first one, two, three, four: 5/9, 5/10, 10/11, 10/12.
        assert shown_from(scores, np.array([True, False, True, False]), 2) == 0.3
        assert shown_from(scores, np.zeros(4, bool), 2) == 0.5


class TestAveragePrecision:
    def test_by_hand(self) -> None:
        """Two boxes of one class; found surest first: right, wrong, right. Precision 1 up to recall 1/2, then 2/3."""
        truth = Boxes(np.array([[0, 0, 10, 10], [20, 20, 30, 30]], float), np.array([0, 0]), np.ones(2))
        found = Boxes(
            np.array([[0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 30, 28]], float),
            np.array([0, 0, 0]),
            np.array([0.9, 0.8, 0.7]),
        )
        figures = average_precision([truth], [found], 2)
        assert figures.of_class[0] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
        assert np.isnan(figures.of_class[1])
        assert figures.mean == pytest.approx(figures.of_class[0])
        assert average_precision([truth], [found], 2, iou=0.9).mean == pytest.approx(51 / 101)

    def test_nothing_found_is_zero_and_nothing_labelled_is_no_figure(self) -> None:
        one = Boxes(np.array([[0, 0, 10, 10]], float), np.array([0]), np.ones(1))
        none = Boxes(np.empty((0, 4)), np.empty(0, int), np.empty(0))
        assert average_precision([one], [none], 1).mean == 0.0
        assert np.isnan(average_precision([none], [one], 1).mean)

    def test_a_second_library_agrees(self) -> None:
        random = np.random.default_rng(3)
        truth, found = [], []
        for _ in range(20):
            corners = random.uniform(0, 60, (6, 2))
            boxes = np.hstack([corners, corners + random.uniform(10, 40, (6, 2))])
            classes = random.integers(0, 3, 6)
            truth.append(Boxes(boxes, classes, np.ones(6)))
            moved = np.vstack([boxes + random.normal(0, 3, boxes.shape), boxes[:2] + 30])
            found.append(Boxes(moved, np.append(classes, [0, 1]), random.uniform(0, 1, 8)))
        ours = average_precision(truth, found, 3)
        assert 0.1 < ours.mean < 0.95
        assert ours.mean == pytest.approx(second_opinion(truth, found, 3), abs=1e-6)


def second_opinion(truth: list[Boxes], found: list[Boxes], classes: int) -> float:
    """Mean average precision at one half by faster-coco-eval."""

    def entries(images: list[Boxes]) -> list[dict[str, object]]:
        return [
            {
                "id": number * 100 + at + 1,
                "image_id": number,
                "category_id": int(image.classes[at]) + 1,
                "bbox": [x, y, right - x, bottom - y],
                "area": (right - x) * (bottom - y),
                "score": float(image.scores[at]),
                "iscrowd": 0,
            }
            for number, image in enumerate(images, start=1)
            for at, (x, y, right, bottom) in enumerate(image.corners.tolist())
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(
            {
                "images": [{"id": number} for number in range(1, len(truth) + 1)],
                "categories": [{"id": number + 1, "name": str(number)} for number in range(classes)],
                "annotations": entries(truth),
            }
        )
        judged = COCOeval_faster(coco, coco.loadRes(entries(found)), "bbox")
        judged.params.iouThrs = np.array([0.5])
        judged.evaluate()
        judged.accumulate()
    precision = judged.eval["precision"][0, :, :, 0, -1]
    return float(precision[precision > -1].mean())


def test_the_benchmark_measures_boxes_in_pixels_of_the_image(
    tiles: Snapshot, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a head that has learned nothing: answers are padded alike, and judged against the images' own boxes."""

    def untrained(
        pictures: Pictures, views: Views, rows: Index, classes: tuple[str, ...], *rest: Any
    ) -> Detector:
        asked.append(rest[-1].epochs)
        head = SMALL(len(classes))
        blank = {level: jnp.zeros((1, *values.shape[2:])) for level, values in views.maps.items()}
        return Detector(head, jax.jit(head.init)(jax.random.key(0), blank), views.scale(rows), 96, 96)

    asked: list[int] = []
    monkeypatch.setattr("trainer.benchmark.detection.INPUT", SPEC)
    monkeypatch.setattr("trainer.benchmark.detection.learn", untrained)
    monkeypatch.setattr("trainer.benchmark.detection.Views", partial(Views, views=2))
    rows = [row for row in tiles.rows if row.is_defect][:6]
    images = [ImageStore().read(row.image) for row in rows]
    material = Material(rows, images, list(range(6)), list(range(6)), 0)
    bench = Bench(tmp_path, tmp_path, lambda *_: pytest.fail("no features are asked for"), print)
    table_row = detection_row("tiles", "Tiles", "unused", targets={}, published="-", limits="-")
    found = table_row.efforts[0].fit_and_score(bench, material, np.arange(3), np.arange(6))
    assert [f"{epochs} rounds" for epochs in asked] == [table_row.efforts[0].label]
    assert found["found"].shape == (6, MOST_REGIONS, 6) and (found["count"] > 0).all()
    assert found_of(found, 0).corners.max() <= 96
    assert set(figures_of(material, found, np.arange(6))) == {"map_50", "ap_50 bar", "ap_50 disc"}
    assert [section.title for section in sections_of(material, found)] == ["By class", "The worst answers"]
    truth = truth_of(rows[0], CLASSES)
    right = np.column_stack([truth.corners, truth.scores, truth.classes])[:, np.newaxis]
    perfect = {"found": right.astype(np.float32), "count": np.ones(1, int)}
    assert figures_of(material, perfect, np.array([0]))["map_50"] == pytest.approx(1.0)
