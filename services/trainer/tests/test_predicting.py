"""`trainer predict` answers for each picture what the release answers in the plant; the holdout stays closed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import load_public_key, make_keys, read_bundle
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.images import load_dataset
from trainer.main import main
from trainer.training import Plan, train_classification

from .conftest import workshop

SPEC = Preprocessing(96, 96)


@pytest.fixture(scope="module")
def released(plates: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("predicting")
    private, public = make_keys(home)
    extractor = FeatureExtractor(backbone, SPEC, FeatureCache(None))
    bench = workshop(backbone, extractor, private, home / "plates")
    train_classification(load_dataset(str(plates)), Plan("plates", SPEC), bench)
    return home / "plates", public


def test_each_picture_of_a_folder_gets_a_line(
    plates: Path, released: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, public = released
    assert main(["predict", "--bundle", str(folder), "--key", str(public), "--images", str(plates)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 64
    bundle = read_bundle(folder, load_public_key(public))
    for line in lines:
        assert line["band"] == bundle.band(line["defect_score"])
        assert set(line["scores"]) == {"scratch", "normal"}
    right = [(line["predicted_class"] == "scratch") == line["image"].startswith("scratch") for line in lines]
    assert sum(right) >= 60
    assert all(line["regions"] for line in lines if line["band"] == "defect")


def test_the_holdout_is_not_asked_about(
    plates: Path, released: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = load_dataset(str(plates)).to_json()
    del told["hash"]
    for row in told["rows"][:10]:
        row["split"] = "holdout"
    manifest = tmp_path / "guarded.json"
    manifest.write_text(json.dumps(told))
    folder, public = released
    assert main(["predict", "--bundle", str(folder), "--key", str(public), "--dataset", str(manifest)]) == 0
    asked = {json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()}
    assert len(asked) == 54 and not asked & {row["id"] for row in told["rows"][:10]}


def test_a_folder_without_pictures_is_said(
    released: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, public = released
    assert main(["predict", "--bundle", str(folder), "--key", str(public), "--images", str(tmp_path)]) == 1
    assert "there is no picture in" in capsys.readouterr().err
