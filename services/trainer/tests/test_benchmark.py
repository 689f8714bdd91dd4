"""The table of `trainer models`: measured without a leak, resumed where it stopped, honest about what is absent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from andon_chassis.errors import Invalid
from andon_vision import Preprocessing
from trainer.adapters import scoring
from trainer.adapters.backbone import WEIGHTS_MODULE, build_backbone, levels_of, wheel_weights
from trainer.adapters.evaluation_page import Section
from trainer.adapters.features import FeatureCache, FeatureExtractor, open_session
from trainer.adapters.images import ImageStore, load_dataset
from trainer.adapters.kernel_fitting import mean_squared_distances
from trainer.adapters.rich_backbone import build_rich_backbone, write_rich_backbone
from trainer.adapters.torch_weights import read_weights
from trainer.benchmark.classification import KernelMachine, ReleasedHead, classification_row
from trainer.benchmark.command import run
from trainer.benchmark.loading import material_of
from trainer.benchmark.measuring import measure
from trainer.benchmark.report import plain, summary
from trainer.benchmark.rows import ROWS
from trainer.benchmark.table import Answers, Bench, DataMissing, Effort, Material, TableRow, placed
from trainer.domain.evaluation import Index
from trainer.domain.snapshot import HOLDOUT, ImagePlace, Row, Snapshot
from trainer.main import main

PARTS, EXPOSURES = 60, 3


def quiet(_: object) -> None:
    """Nobody listens."""


def no_extractor(preprocessing: Preprocessing, rich: str | None = None) -> FeatureExtractor:
    raise AssertionError("this row needs no features")


def bench_in(folder: Path) -> Bench:
    return Bench(folder / "data", folder / "work", no_extractor, quiet)


def tiles(_: Bench) -> Material:
    """Parts photographed three times each: labels are coin tosses, so only a leak can predict them."""
    random = np.random.default_rng(21)
    rows: list[Row] = []
    hashes: list[int] = []
    for part in range(PARTS):
        defect = bool(random.random() < 0.5)
        own = int(random.integers(0, 2**63))
        for exposure in range(EXPOSURES):
            rows.append(Row(f"{part}-{exposure}", ImagePlace(path="-"), ("x",) * defect, defect))
            hashes.append(own ^ (1 << exposure))
    groups = [part for part in range(PARTS) for _ in range(EXPOSURES)]
    return Material(rows, [row.id.encode() for row in rows], hashes, groups, 6)


def nearest(_: Bench, material: Material, train: Index, test: Index) -> Answers:
    """Answers with the label of the most alike training image."""
    hashes = np.array(material.hashes, np.uint64)
    label = np.array([row.is_defect for row in material.rows])
    best = [train[np.bitwise_count(hashes[train] ^ hashes[at]).argmin()] for at in test]
    return {"defect": label[best].astype(np.float64)}


def figures(material: Material, answers: Answers, index: Index) -> dict[str, float]:
    truth = np.array([row.is_defect for row in material.rows])
    return scoring.binary_figures(answers["defect"][index], truth[index])


def no_sections(_: Material, __: Answers) -> list[Section]:
    return []


def labels(material: Material) -> Sequence[int]:
    return [int(row.is_defect) for row in material.rows]


LEAKY = TableRow(
    "leaky",
    "Parts under three exposures",
    {"accuracy": 0.9},
    (),
    "nobody",
    "labels are coin tosses",
    tiles,
    labels,
    nearest,
    figures,
    no_sections,
    "nearest neighbour",
    (),
    compares_naive=True,
    rounds=20,
)


def test_a_naive_split_flatters_and_the_leak_is_counted(tmp_path: Path) -> None:
    found = measure(LEAKY, bench_in(tmp_path))
    assert found.naive["accuracy"].value > 0.85
    assert 0.25 < found.figures["accuracy"].value < 0.75
    assert found.is_met is False
    assert found.leak.crossing == 0 and found.leak.pairs == PARTS * 3
    assert found.naive_leak.crossing > PARTS
    assert (found.images, found.groups, len(found.folds)) == (PARTS * EXPOSURES, PARTS, 5)


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    asked: list[int] = []

    def stops(bench: Bench, material: Material, train: Index, test: Index) -> Answers:
        asked.append(len(test))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return nearest(bench, material, train, test)

    row = replace(LEAKY, fit_and_score=stops, compares_naive=False)
    with pytest.raises(KeyboardInterrupt):
        measure(row, bench_in(tmp_path))
    first = measure(row, bench_in(tmp_path))
    assert len(asked) == 3 + 3, "two folds were kept"
    assert measure(row, bench_in(tmp_path)).figures == first.figures
    assert len(asked) == 6
    measure(replace(row, recipe="another method"), bench_in(tmp_path))
    assert len(asked) == 11, "another method answers anew"


def test_the_curve_shows_what_less_effort_reaches_on_the_first_fold(tmp_path: Path) -> None:
    def few(bench: Bench, material: Material, train: Index, test: Index) -> Answers:
        asked.append(len(test))
        return nearest(bench, material, train[:20], test)

    def told(text: str) -> None:
        pytest.fail("the second time nothing is computed") if "to learn from" in text else None

    asked: list[int] = []
    row = replace(LEAKY, efforts=(Effort("20 images", few),), compares_naive=False)
    found = measure(row, bench_in(tmp_path))
    assert {spent.label for spent in found.curve} == {"20 images", "the row itself"}
    own = next(spent for spent in found.curve if spent.label == "the row itself")
    assert own.figures["accuracy"] == found.folds[0]["accuracy"]
    assert len(asked) == 1 and asked[0] < PARTS * EXPOSURES / 3, "one fold, not five"
    again = measure(row, replace(bench_in(tmp_path), report=told))
    assert again.curve == found.curve
    assert measure(replace(row, efforts=()), bench_in(tmp_path)).curve == []
    run(tmp_path, tmp_path, [], quiet, quiet, (row,))
    (entry,) = json.loads((tmp_path / "report.json").read_text()).values()
    assert [point["label"] for point in entry["curve"]] == [spent.label for spent in found.curve]
    assert all(0 <= point["figures"]["accuracy"] <= 1 and point["seconds"] >= 0 for point in entry["curve"])
    page = (tmp_path / "report.html").read_text()
    assert "Quality against compute" in page and page.count("20 images") >= 2, "in the plot and in its table"


def test_every_image_is_asked_about_once() -> None:
    parts = [(np.array([2, 0]), {"a": np.array([20, 0])}), (np.array([1]), {"a": np.array([10])})]
    assert placed(parts, 3)["a"].tolist() == [0, 10, 20]
    with pytest.raises(ValueError, match="exactly once"):
        placed(parts, 4)


def test_a_method_that_forgets_an_image_is_a_bug(tmp_path: Path) -> None:
    def forgets(bench: Bench, material: Material, train: Index, test: Index) -> Answers:
        return nearest(bench, material, train, test[1:])

    with pytest.raises(ValueError, match="answers"):
        measure(replace(LEAKY, fit_and_score=forgets), bench_in(tmp_path))


def test_the_report_says_what_was_measured_and_what_was_not(tmp_path: Path) -> None:
    def absent(_: Bench) -> Material:
        raise DataMissing("the tiles are not there")

    rows = (LEAKY, replace(LEAKY, name="absent", load=absent))
    text = run(tmp_path / "out", tmp_path / "data", [], quiet, quiet, rows)
    assert "not met" in text and "the tiles are not there" in text
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    wanted = {"target", "reached", "interval", "folds", "published", "command", "seconds", "limits"}
    assert wanted <= set(report["leaky"])
    low, high = report["leaky"]["interval"]["accuracy"]
    assert low <= report["leaky"]["reached"]["accuracy"] <= high
    assert len(report["leaky"]["folds"]["accuracy"]) == 5
    assert report["absent"] == {"skipped": "the tiles are not there"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<svg" in page and "naive random" in page
    assert 'src="http' not in page and "<script" not in page and "<link" not in page
    with pytest.raises(Invalid, match="leaky"):
        run(tmp_path / "out", tmp_path / "data", ["none"], quiet, quiet, rows)


def test_a_row_without_a_target_is_neither_met_nor_missed(tmp_path: Path) -> None:
    found = measure(replace(LEAKY, targets={}, headline=("auroc",)), bench_in(tmp_path))
    assert found.is_met is None
    table = summary([found], {})
    assert [row[-1] for row in table.rows] == ["met", "-"]
    assert plain(table).startswith("row")


@pytest.fixture(scope="module")
def marked(plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plates, and some with round holes: two classes of defect."""
    folder = tmp_path_factory.mktemp("marked")
    (folder / "hole").mkdir()
    for name in ("good", "scratch"):
        (folder / name).symlink_to(plates / name)
    for number, path in enumerate(sorted((plates / "good").iterdir())[:16]):
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        shifted = np.roll(picture, 17 + 5 * number, axis=0)[::-1].copy()
        cv2.circle(shifted, (20 + 3 * number, 70 - 2 * number), 10, 255, -1)
        assert cv2.imwrite(str(folder / "hole" / f"{number:02}.png"), shifted)
    return folder


def test_classification_is_measured_and_shown(marked: Path, backbone: Path, tmp_path: Path) -> None:
    extractor = FeatureExtractor(backbone, Preprocessing(96, 96), FeatureCache(None))
    row = classification_row(
        "plates",
        "Plates",
        "unused",
        ReleasedHead((Preprocessing(96, 96),), ("as-is",)),
        targets={"auroc": 0.9},
        headline=(),
        published="-",
        limits="-",
    )

    def load(_: Bench) -> Material:
        return material_of(load_dataset(str(marked)), ImageStore(), extractor)

    bench = Bench(tmp_path, tmp_path / "work", lambda *_: extractor, quiet)
    found = measure(replace(row, load=load), bench)
    assert found.is_met
    assert found.figures["class_accuracy"].value > 0.8
    assert {"calibration_error", "calibration_error_before", "auprc"} <= set(found.figures)
    titles = [section.title for section in found.sections]
    assert "Defect or not" in titles and "By class" in titles and "The worst answers" in titles


def test_a_kernel_machine_on_two_backbones_is_measured(plates: Path, backbone: Path, tmp_path: Path) -> None:
    spec, cache = Preprocessing(96, 96), FeatureCache(None)
    rich = FeatureExtractor(write_rich_backbone(tmp_path, WEIGHTS_MODULE), spec, cache)
    plain_one = FeatureExtractor(backbone, spec, cache)
    chosen = {None: plain_one, "plain": plain_one, "rich": rich}
    row = classification_row(
        "plates",
        "Plates",
        "unused",
        KernelMachine(spec, ("plain", "rich")),
        targets={"auroc": 0.9},
        headline=(),
        published="-",
        limits="-",
    )

    def load(_: Bench) -> Material:
        return material_of(load_dataset(str(plates)), ImageStore(), rich)

    bench = Bench(tmp_path, tmp_path / "work", lambda _, rich=None: chosen[rich], quiet)
    found = measure(replace(row, load=load, rounds=20), bench)
    assert found.figures["auroc"].value > 0.8
    assert "plain and rich" in row.recipe


def test_distances_are_those_between_standardised_rows() -> None:
    random = np.random.default_rng(5)
    blocks = [
        random.normal(3, 2, (12, 5)).astype(np.float32),
        random.normal(0, 9, (12, 7)).astype(np.float32),
    ]
    found = mean_squared_distances(blocks, 8)
    one = sum(
        float((((block[2] - block[10]) / block[:8].std(axis=0)) ** 2).mean()) for block in blocks
    ) / len(blocks)
    assert found[2, 10] == pytest.approx(one, rel=1e-4)
    np.testing.assert_allclose(np.diag(found), 0, atol=1e-5)
    np.testing.assert_allclose(found, found.T, atol=1e-5)


def test_rich_features_hold_the_maxima_of_the_maps(tmp_path: Path) -> None:
    """The last layer's mean and maximum, against the plain backbone's own map."""
    picture = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    weights = read_weights(wheel_weights()[0])
    model = build_backbone(weights, "test")
    head = next(level.map for level, _ in levels_of(model) if level.name == "head")
    model.graph.output.append(onnx.helper.make_tensor_value_info(head, onnx.TensorProto.FLOAT, None))
    (maps,) = open_session(model.SerializeToString(), 1).run([head], {"image": picture})
    rich = open_session(build_rich_backbone(weights, "test").SerializeToString(), 1)
    (found,) = rich.run(["features"], {"image": picture})
    width = maps.shape[1]
    np.testing.assert_allclose(found[:, -width:], maps.max(axis=(2, 3)), atol=1e-4)
    np.testing.assert_allclose(found[:, -2 * width : -width], maps.mean(axis=(2, 3)), atol=1e-4)


def test_the_benchmark_never_opens_the_holdout(plates: Path, backbone: Path) -> None:
    snapshot = load_dataset(str(plates))
    held = [replace(row, split=HOLDOUT if n % 3 == 0 else None) for n, row in enumerate(snapshot.rows)]
    opened: list[ImagePlace] = []

    class Watching(ImageStore):
        def read(self, place: ImagePlace) -> bytes:
            opened.append(place)
            return super().read(place)

    extractor = FeatureExtractor(backbone, Preprocessing(96, 96), FeatureCache(None))
    material = material_of(Snapshot("held", tuple(held)), Watching(), extractor)
    closed = {row.image.path for row in held if row.split == HOLDOUT}
    assert len(material.rows) == len(opened) == sum(row.split is None for row in held)
    assert not closed & {place.path for place in opened}


def test_rows_are_named_once_and_promise_what_they_measure() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert all(row.targets or row.headline for row in ROWS)
    assert all(row.published and row.limits for row in ROWS)


def test_an_unknown_row_is_named_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--out", str(tmp_path), "--only", "none"]) == 1
    assert "elpv-classification" in capsys.readouterr().err
