"""A release measured on the holdout: read by evaluations alone, each logged first; told in JSON, a page and a card."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import load_public_key, make_keys, read_bundle
from trainer.adapters.card_page import card_html
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.holdout_log import HoldoutLog
from trainer.adapters.images import ImageStore, load_dataset
from trainer.domain.guarantees import NOT_ENOUGH, Wish
from trainer.domain.snapshot import HOLDOUT, ImagePlace, Snapshot, SnapshotError
from trainer.evaluating import Evaluation, evaluate_release
from trainer.evaluation_report import page
from trainer.main import main
from trainer.training import Plan, train_classification

from .conftest import WHEN, part, workshop

SPEC = Preprocessing(96, 96)
GRADES = {"scratch": "critical", "hole": "minor"}


class Watching(ImageStore):
    """Remembers which images were opened."""

    def __init__(self, note: Callable[[], None] = lambda: None) -> None:
        super().__init__()
        self.opened: list[str | None] = []
        self._note = note

    def read(self, place: ImagePlace) -> bytes:
        self._note()
        self.opened.append(place.path)
        return super().read(place)


@dataclass(frozen=True)
class Made:
    """A release, the dataset version it comes from, and what was opened to make it."""

    folder: Path
    key: Path
    snapshot: Snapshot
    opened: list[str | None]


@pytest.fixture(scope="module")
def marked(plates: Path, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """The plates and some with holes, of two stations and two shifts, every third held out."""
    folder = tmp_path_factory.mktemp("marked")
    (folder / "hole").mkdir()
    for name in ("good", "scratch"):
        (folder / name).symlink_to(plates / name)
    for number in range(18):
        plate = part(900 + number, scratched=False)
        cv2.circle(plate, (20 + 3 * number, 75 - 3 * number), 9, 255, -1)
        assert cv2.imwrite(str(folder / "hole" / f"{number:02}.png"), plate)
    rows = [
        replace(
            row,
            split=HOLDOUT if number % 3 == 0 else None,
            station=("left", "right")[number % 2],
            shift=("day", "night")[number // 2 % 2],
        )
        for number, row in enumerate(load_dataset(str(folder)).rows)
    ]
    return Snapshot("marked", tuple(rows))


@pytest.fixture(scope="module")
def made(marked: Snapshot, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("made")
    private, public = make_keys(folder / "keys")
    learning = Watching()
    extractor = FeatureExtractor(backbone, SPEC, FeatureCache(None))
    bench = workshop(backbone, extractor, private, folder / "release", reader=learning)
    wishes = (Wish("critical", 0.4, 0.6), Wish("scratch", 0.01, 0.95))
    train_classification(marked, Plan("m", SPEC, guarantees=wishes, severities=GRADES), bench)
    return Made(folder / "release", public, marked, learning.opened)


@pytest.fixture(scope="module")
def found(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    """Measured while watching: an image that is opened before the reading is logged is a failure."""
    file = tmp_path_factory.mktemp("log") / "holdout.jsonl"

    def must_be_logged() -> None:
        assert file.is_file(), "an image of the holdout was opened before the reading was logged"

    judging = Watching(must_be_logged)
    log = HoldoutLog(file)
    evaluation = evaluate_release(made.folder, made.key, made.snapshot, judging, log, "release", WHEN)
    held = {row.image.path for row in made.snapshot.rows if row.split == HOLDOUT}
    assert held and set(judging.opened) == held and not held & set(made.opened)
    return evaluation


def test_a_release_is_measured_on_the_holdout_alone(found: Evaluation, made: Made) -> None:
    held = [row for row in made.snapshot.rows if row.split == HOLDOUT]
    told = found.to_json()
    assert (told["reading"], told["images"], told["refused"]) == (1, len(held), {})
    assert told["figures"]["auroc"]["value"] > 0.9
    assert sum(sum(row.values()) for row in told["confusion"].values()) == len(held)
    assert json.loads(json.dumps(told)) == told


def test_every_class_and_severity_has_its_rates_with_intervals(found: Evaluation) -> None:
    told = found.to_json()
    assert set(told["classes"]) == {"normal", "scratch", "hole"}
    assert list(told["severities"]) == ["critical", "minor"]
    assert told["severities"]["critical"] == told["classes"]["scratch"]
    for name in ("precision", "recall", "false_escape_rate", "false_reject_rate"):
        figure = told["classes"]["scratch"][name]
        assert figure["low"] <= figure["value"] <= figure["high"] and figure["low"] < figure["high"]
    assert {item["by"] for item in told["compared"]} == {"station", "shift"}, "a third of these is too few"
    assert {"calibration_error", "calibration_error_before"} <= set(told["figures"])


def test_calibration_before_is_that_of_the_raw_score(found: Evaluation) -> None:
    platt = found.bundle.description["calibration"]["defect"]
    assert found.before is not None
    raw = np.log(found.before / (1 - found.before))
    again = 1 / (1 + np.exp(-(platt["slope"] * raw + platt["offset"])))
    np.testing.assert_allclose(again, found.judged.scores, atol=1e-5)


def test_what_it_costs_is_measured_in_a_process_of_its_own(found: Evaluation) -> None:
    cost = found.cost
    assert cost.images == min(60, len(found.rows))
    assert 0 < cost.p50_ms <= cost.p95_ms
    assert 40 < cost.peak_memory_mb < 400, "a runner holds no training libraries"


def test_the_page_shows_mistakes_with_their_images(found: Evaluation) -> None:
    score = found.judged.scores.copy()
    missed = found.judged.shown.index(("scratch",))
    score[missed] = 0.0
    called = list(found.judged.called)
    called[missed] = ""
    right = found.right.copy()
    right[missed] = 0.001
    wrong = replace(found, judged=replace(found.judged, scores=score, called=tuple(called)), right=right)
    text = page(wrong)
    assert "scratch, called normal: 1 images" in text and found.rows[missed].id in text
    for title in (
        "By class",
        "By severity",
        "Do probabilities mean",
        "By variant, station, shift",
        "Guarantees",
    ):
        assert title in text
    assert text.count("data:image/jpeg") >= 2 and "<svg" in text
    assert not re.search(r'(src|href)="(?!data:|#)', text) and "<script" not in text
    assert wrong.to_json()["worst"][0]["image"] == found.rows[missed].id


def test_a_guarantee_is_given_or_honestly_refused(made: Made) -> None:
    description = read_bundle(made.folder, load_public_key(made.key)).description
    given, refused = description["guarantees"]
    assert given["class"] == "critical" and given["bound"] <= 0.4
    assert description["thresholds"]["pass_below"] <= given["threshold"]
    assert refused["verdict"] == NOT_ENOUGH and "at least 299" in refused["advice"]
    assert given["parts"] == refused["parts"] > 0
    assert description["severities"] == GRADES


def test_the_card_tells_what_the_description_tells(made: Made) -> None:
    description = read_bundle(made.folder, load_public_key(made.key)).description
    text = card_html(description, "checked")
    for words in (
        description["release"],
        description["files"]["model.onnx"],
        description["dataset"]["hash"],
        "scratch · critical",
        "not enough data",
        "at least 299 are needed",
        "96 x 96",
        "platt",
        "checked",
    ):
        assert words in text
    low, high = (description["metrics"]["auroc"][name] for name in ("low", "high"))
    assert f"({low:.3f} to {high:.3f})" in text
    assert not re.search(r'(src|href)="(?!#)', text) and "<script" not in text


def test_a_plants_trainer_does_without_plotting_libraries() -> None:
    """They come with the extra `models`; the command line must start without them."""
    look = "import sys, trainer.main; print([name for name in ('matplotlib',) if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_card_needs_no_more_than_every_bundle_has() -> None:
    """An imported network knows neither data nor figures."""
    text = card_html(
        {
            "release": "r-1",
            "task": "<unheard-of>",
            "classes": ["a"],
            "dataset": {"classes_left_out": {"b": 1}},
            "regions": {"from": "masks", "measure": ["a"]},
            "chosen_by_validation": {"classification": 0.91, "anomaly": 0.8},
            "cross_validated": {"auroc": 0.9},
            "metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}},
        }
    )
    assert "&lt;unheard-of&gt;" in text and "b was left out: 1 independent" in text
    assert "None was asked for" in text and "Measured are: a." in text
    assert "better of several" in text and "anomaly 0.800" in text


@pytest.mark.parametrize(("kind", "told"), [("first-order", True), ("exact", False)])
def test_the_card_says_where_a_heat_map_is_not_exact(made: Made, kind: str, told: bool) -> None:
    description = json.loads((made.folder / "bundle.json").read_text()) | {"heat_map": kind}
    assert ("The heat map is of first order" in card_html(description)) is told


def test_the_command_writes_both_and_refuses_what_has_no_holdout(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, log = tmp_path / "marked.json", tmp_path / "holdout.jsonl"
    manifest.write_text(json.dumps(made.snapshot.to_json()), "utf-8")
    places = ["--bundle", str(made.folder), "--key", str(made.key), "--dataset", str(manifest)]
    told = [*places, "--log", str(log), "--purpose", "by hand", "--out", str(tmp_path / "out")]
    assert main(["evaluate", *told, "--severity", "hole=major"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert list(said["severities"]) == ["critical", "major"]
    assert "<svg" in (tmp_path / "out" / "evaluation.html").read_text()
    assert [json.loads(line)["purpose"] for line in log.read_text().splitlines()] == ["by hand"]
    assert main(["evaluate", *told, "--severity", "hole"]) == 1
    assert "crack=critical" in capsys.readouterr().err
    card = tmp_path / "card.html"
    assert main(["card", "--bundle", str(made.folder), "--key", str(made.key), "--out", str(card)]) == 0
    assert "Ed25519" in card.read_text()
    open_ones = replace(made.snapshot, rows=tuple(row for row in made.snapshot.rows if row.split is None))
    with pytest.raises(SnapshotError, match="no holdout"):
        evaluate_release(made.folder, made.key, open_ones, ImageStore(), HoldoutLog(log), "none", WHEN)


def test_the_command_trains_with_a_guarantee_and_writes_the_card(
    plates: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, _ = make_keys(tmp_path / "keys")
    told = ["--dataset", str(plates), "--out", str(tmp_path / "out"), "--release", "r", "--size", "96"]
    told += ["--backbone", str(backbone), "--key", str(private), "--cache", str(tmp_path / "features.sqlite")]
    wish = ["--severity", "scratch=critical", "--guarantee", "critical:0.01@0.95"]
    assert main(["train", *told, *wish]) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert "at most 1 % of critical pass, at 95 % confidence: not enough data" in said.err
    card = Path(summary["card"])
    assert card.name == "card.html" and card.parent.parent == Path(summary["folder"]).parent
    assert summary["release"] in card.read_text() and "scratch · critical" in card.read_text()
    assert main(["train", *told, "--guarantee", "crack"]) == 1
    assert "crack:0.01@0.95" in capsys.readouterr().err
    assert main(["train", *told, "--guarantee", "dent:0.01@0.95"]) == 1
    assert "no class or severity is called 'dent'" in capsys.readouterr().err
