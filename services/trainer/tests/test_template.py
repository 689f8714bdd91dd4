"""Six kinds of defects on generated boards are learned, released and found again by the release's own graph."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest
from andon_vision import Preprocessing, decode_image, prepare_pixels
from andon_vision.release_bundle import load_public_key, make_keys, read_bundle
from andon_vision.runner import ReleaseRunner
from andon_vision.template import DIFFERENCES, PROBABILITIES, TEMPLATE, TemplateSpec
from andon_vision.template_library import FILE, TemplateLibrary
from trainer.adapters.annotations import DEEPPCB_TYPES
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.images import ImageStore, load_dataset
from trainer.adapters.template_boards import (
    Board,
    Examples,
    disturbed,
    examples_of,
    read_boards,
    repaired,
)
from trainer.adapters.template_trees import Forest
from trainer.benchmark.table import Bench
from trainer.benchmark.template import CUT, FOUND, GOOD, answered, figures_of, load, sections_of
from trainer.domain.guarantees import NOT_ENOUGH, Wish
from trainer.domain.snapshot import SnapshotError
from trainer.domain.template import NO_DEFECT, UNCLEAR, lessons, matched
from trainer.domain.thresholds import Costs
from trainer.template import box_figures, learn, train_template
from trainer.training import Outcome, Plan

from .conftest import workshop

Pixels = npt.NDArray[np.uint8]
SIDE = 224
SIZE = Preprocessing(SIDE, SIDE)
COPPER, BARE = 20, 235
BOARDS = 32


def template(seed: int) -> Pixels:
    """Pads on the left, four traces and a broad band on the right."""
    random = np.random.default_rng(seed)
    picture = np.full((SIDE, SIDE), BARE, np.uint8)
    for _ in range(7):
        x, y = int(random.integers(0, 40)), int(random.integers(0, SIDE - 40))
        cv2.rectangle(
            picture, (x, y), (x + int(random.integers(10, 35)), y + int(random.integers(8, 40))), COPPER, -1
        )
    for row in rows_of(seed):
        picture[row : row + 8, 84:] = COPPER
    picture[196:, 84:] = COPPER
    return picture


def rows_of(seed: int) -> list[int]:
    """Where the traces run."""
    return (np.array([20, 62, 104, 146]) + np.random.default_rng(seed).integers(-5, 6, 4)).tolist()


def spoiled(picture: Pixels, kind: str, row: int, x: int) -> tuple[int, int, int, int]:
    """Draws a defect on the trace at `row`, near `x`, and returns its corners."""
    left, top, right, bottom, ink = {
        "open": (x, row, x + 6, row + 8, BARE),
        "mousebite": (x, row, x + 6, row + 5, BARE),
        "spur": (x, row - 6, x + 6, row, COPPER),
        "short": (x, row + 8, x + 6, row + 80, COPPER),
        "spurious-copper": (x, row + 15, x + 7, row + 22, COPPER),
        "pin-hole": (x, 206, x + 6, 212, BARE),
    }[kind]
    if kind == "short":
        while bottom > row + 9 and (picture[row + 9 : bottom, x] == BARE).sum() < bottom - row - 9:
            bottom -= 1
    picture[top:bottom, left:right] = ink
    return left, top, right, bottom


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set as DeepPCB is: each board with three of the six kinds, its template, and boxes four pixels too large."""
    folder = tmp_path_factory.mktemp("boards")
    lines = []
    for seed in range(BOARDS):
        good = template(seed)
        bad, told = good.copy(), []
        for place in range(3):
            kind = DEEPPCB_TYPES[(seed + 2 * place) % 6]
            corners = spoiled(bad, kind, rows_of(seed)[place], 100 + 40 * place + seed % 5)
            told.append((*np.add(corners, [-4, -4, 4, 4]).tolist(), DEEPPCB_TYPES.index(kind) + 1))
        assert cv2.imwrite(str(folder / f"{seed}_temp.png"), good)
        assert cv2.imwrite(str(folder / f"{seed}_test.png"), bad)
        (folder / f"{seed}.txt").write_text("\n".join(" ".join(map(str, box)) for box in told) + "\n")
        classes = ";".join(sorted({DEEPPCB_TYPES[box[4] - 1] for box in told}))
        lines.append(
            (f"{seed}_test.png", "defect", classes, f"{seed}.txt", f"{seed}_temp.png", f"v{seed % 4}")
        )
    with (folder / "index.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("image", "label", "defect_classes", "annotation_file", "template_file", "product"))
        writer.writerows(lines)
    return folder


@pytest.fixture(scope="module")
def released(
    boards: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Outcome, Path]:
    folder = tmp_path_factory.mktemp("release")
    private, public = make_keys(folder / "keys")
    plan = Plan("boards", SIZE, guarantees=(Wish("open", 0.5), Wish("open", 0.01, 0.95)))
    extractor = FeatureExtractor(backbone, Preprocessing(64, 64), FeatureCache(None))
    outcome = train_template(
        load_dataset(str(boards)), plan, workshop(backbone, extractor, private, folder / "bundle")
    )
    return folder / "bundle", outcome, public


def test_a_guarantee_is_kept_by_the_threshold_or_refused(released: tuple[Path, Outcome, Path]) -> None:
    folder, outcome, public = released
    description = read_bundle(folder, load_public_key(public)).description
    given, refused = description["guarantees"]
    assert given["class"] == "open" and given["bound"] <= 0.5
    assert description["thresholds"]["pass_below"] <= given["threshold"]
    assert outcome.thresholds.pass_below == description["thresholds"]["pass_below"]
    assert refused["verdict"] == NOT_ENOUGH and refused["parts"] == given["parts"] > 0


def test_a_release_finds_what_it_never_saw(boards: Path, released: tuple[Path, Outcome, Path]) -> None:
    folder, outcome, public = released
    bundle = read_bundle(folder, load_public_key(public))
    assert bundle.description["task"] == TEMPLATE
    assert bundle.classes == tuple(sorted(DEEPPCB_TYPES))
    assert outcome.metrics["map33"].value > 0.9
    assert outcome.metrics["f1"].value > 0.85
    assert outcome.metrics["auroc"].value > 0.95
    assert json.loads((folder / "bundle.json").read_text())["dataset"]["images"]["train"] < BOARDS

    library = TemplateLibrary((folder / FILE).read_bytes(), bundle.preprocessing)
    assert len(library.names) == BOARDS
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    runner = ReleaseRunner(bundle, files, all_regions=True)
    runner.warm_up()
    new, known = spoiled_board(77), spoiled_board(3)
    # A board that the release never saw comes with its template; for one of its own it finds the template itself.
    found, own, good = runner.read(
        [encoded(new.picture), encoded(known.picture), encoded(new.template)],
        [encoded(new.template), None, encoded(new.template)],
    )
    for reading in (found, own):
        assert reading.defect_score > 0.5 and reading.regions[0].class_name == "open"
    assert bundle.band(good.defect_score) == "pass" and good.regions == ()
    (stranger,) = runner.read(
        [encoded(np.random.default_rng(1).integers(0, 256, (SIDE, SIDE), dtype=np.uint8))]
    )
    assert stranger.refused == "no-template"


def encoded(pixels: Pixels) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def spoiled_board(seed: int) -> Board:
    """A board with an open trace."""
    good = template(seed)
    bad = good.copy()
    corners = spoiled(bad, "open", rows_of(seed)[1], 150)
    kind = sorted(DEEPPCB_TYPES).index("open")
    shown = [prepare_pixels(picture, SIZE) for picture in (bad, good)]
    return Board("a board", shown[0], shown[1], np.array([corners], np.float32), np.array([kind], np.int32))


def test_boxes_are_drawn_as_people_draw_them(released: tuple[Path, Outcome, Path]) -> None:
    folder, _, public = released
    spec = TemplateSpec.from_json(read_bundle(folder, load_public_key(public)).description["regions"])
    np.testing.assert_allclose(spec.margin, 4.0, atol=1.0)


def test_the_graph_answers_as_the_trees_do() -> None:
    random = np.random.default_rng(0)
    described = random.normal(size=(300, 12)).astype(np.float32)
    kinds = (described[:, 0] > 0).astype(np.int32) * (1 + 2 * (described[:, 1] > 0).astype(np.int32))
    forest = Forest(Examples(described, kinds, np.zeros((300, 4), np.float32)), 4)
    session = onnxruntime.InferenceSession(forest.to_onnx().SerializeToString())
    asked = random.normal(size=(50, 12)).astype(np.float32)
    answered_by_graph = session.run([PROBABILITIES], {DIFFERENCES: asked})[0]
    np.testing.assert_allclose(answered_by_graph, forest(asked), atol=1e-5)
    np.testing.assert_allclose(answered_by_graph.sum(axis=1), 1.0, atol=1e-5)
    # Class 2 and class 4 of four have no example.
    assert answered_by_graph.shape == (50, 5)
    assert answered_by_graph[:, [2, 4]].max() == 0


def test_a_difference_belongs_to_the_box_around_it() -> None:
    labelled = np.array([[10, 10, 30, 30], [25, 10, 60, 30]], np.float32)
    differences = np.array(
        [[15, 15, 20, 20], [26, 15, 30, 20], [58, 25, 80, 40], [90, 90, 95, 95]], np.float32
    )
    taught = lessons(differences, labelled, np.array([4, 2]))
    # The second lies in both boxes, nearer to the first one's centre; the third only touches.
    assert taught.kinds.tolist() == [5, 5, UNCLEAR, NO_DEFECT]
    np.testing.assert_array_equal(taught.boxes[:2], labelled[[0, 0]])
    assert lessons(differences, labelled[:0], np.zeros(0, int)).kinds.tolist() == [NO_DEFECT] * 4


def test_f1_counts_a_labelled_box_once_and_only_for_its_class() -> None:
    labelled = np.array([[0, 0, 10, 10, 1, 0], [50, 50, 60, 60, 1, 1]], np.float32)
    found = np.array(
        [[0, 0, 10, 10, 0.9, 0], [1, 0, 11, 10, 0.8, 0], [50, 50, 60, 60, 0.7, 0], [50, 50, 61, 60, 0.2, 1]],
        np.float32,
    )
    result = matched([labelled], [found], 0.33)
    assert result.hits.tolist() == [True, False, False, True]
    assert result.f1(0.5) == pytest.approx(2 * 1 / (3 + 2))
    assert result.f1(0.0) == pytest.approx(2 * 2 / (4 + 2))
    # One of one above 0.8: 2 / 3, as good as all together; nothing is better.
    assert result.f1(result.best_cut()) == pytest.approx(2 / 3)
    figures = box_figures([labelled], [found], [0.85], 2)
    assert figures["f1"] == pytest.approx(2 / 3)
    assert figures["map33"] == pytest.approx(1.0)


def test_a_repaired_board_differs_nowhere_and_a_disturbed_one_keeps_its_boxes() -> None:
    board = spoiled_board(3)
    spec = TemplateSpec()
    assert examples_of(board, spec).kinds.tolist() == [board.kinds[0] + 1]
    assert len(examples_of(repaired(board, spec), spec).kinds) == 0
    off = disturbed(board, 5)
    assert not np.array_equal(off.picture, board.picture)
    taught = examples_of(off, spec)
    assert (taught.kinds == board.kinds[0] + 1).sum() == 1
    assert np.nanmax(np.abs(taught.margins)) < 3


def test_a_board_without_template_or_boxes_is_named(boards: Path) -> None:
    rows = [row for row in load_dataset(str(boards)).rows if row.template is not None]
    images = [Path(str(row.image.path)).read_bytes() for row in rows]
    classes = sorted(DEEPPCB_TYPES)
    whole = read_boards(rows[:1], images[:1], classes, ImageStore(), SIZE)
    np.testing.assert_array_equal(whole[0].picture, prepare_pixels(decode_image(images[0]).pixels, SIZE))
    with pytest.raises(SnapshotError, match=r"0_test\.png has no template"):
        read_boards([replace(rows[0], template=None)], images[:1], classes, ImageStore(), SIZE)
    with pytest.raises(SnapshotError, match="is a defect without boxes"):
        read_boards([replace(rows[0], boxes=())], images[:1], classes, ImageStore(), SIZE)
    with pytest.raises(SnapshotError, match=r"0_test\.png cannot be compared .*no-template"):
        turned = np.ascontiguousarray(whole[0].template.transpose(1, 0, 2))
        learn([replace(whole[0], template=turned)], [0], 6, Costs(), print)
    with pytest.raises(SnapshotError, match="all boards belong together"):
        learn(whole, [0], 6, Costs(), print)


def test_the_row_asks_about_designs_never_seen(
    boards: Path, backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.benchmark.template.INPUT", SIZE)

    def extractor(preprocessing: Preprocessing, rich: str | None = None) -> FeatureExtractor:
        return FeatureExtractor(backbone, preprocessing, FeatureCache(None))

    bench = Bench(boards.parent, tmp_path, extractor, print)
    material = load(bench, boards.name)
    assert len(material.rows) == BOARDS
    held = np.array([row.variant == "v0" for row in material.rows])
    of_group = {group for group, out in zip(material.groups, held, strict=True) if out}
    test = np.flatnonzero([group in of_group for group in material.groups])
    train = np.setdiff1d(np.arange(BOARDS), test)
    answers = answered(bench, material, train, test)
    assert set(answers[CUT].tolist()) == {answers[CUT][0]}
    assert answers[FOUND].shape[0] == len(answers[GOOD]) == len(test)
    picked = replace(
        material, rows=[material.rows[at] for at in test], images=[material.images[at] for at in test]
    )
    figures = figures_of(picked, answers, np.arange(len(test)))
    assert figures["map33"] > 0.85
    assert figures["false_rejects"] < 0.2
    assert np.isnan(figures_of(picked, answers, np.arange(0))["map33"])
    assert len(sections_of(picked, answers)) == 2
