"""The backbone in jax is the backbone of the graph; it learns, is resumed, and the release around it stays whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import load_public_key, make_keys, read_bundle
from andon_vision.runner import ReleaseRunner
from trainer.adapters.features import FeatureCache, FeatureExtractor, open_session
from trainer.adapters.images import load_dataset
from trainer.adapters.jax_backbone import features, parameters_of, with_parameters
from trainer.main import main
from trainer.training import Plan, train_classification

from .conftest import workshop

SPEC = Preprocessing(64, 64)


def test_jax_computes_the_features_of_the_graph(backbone: Path) -> None:
    images = np.random.default_rng(3).integers(0, 256, (2, 96, 64, 3), dtype=np.uint8)
    (wanted,) = open_session(backbone, threads=2).run(["features"], {"image": images})
    parameters = parameters_of(onnx.load(str(backbone)))
    np.testing.assert_allclose(np.asarray(features(parameters, images)), wanted, rtol=1e-3, atol=1e-4)


def test_what_was_learned_goes_back_into_the_graph(backbone: Path) -> None:
    model = onnx.load(str(backbone))
    parameters = parameters_of(model)
    parameters["block3.depthwise"]["kernel"] = parameters["block3.depthwise"]["kernel"] * 0.5
    changed = with_parameters(model, parameters, "halved")
    images = np.random.default_rng(4).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    (found,) = open_session(changed.SerializeToString(), threads=2).run(["features"], {"image": images})
    np.testing.assert_allclose(found, np.asarray(features(parameters, images)), rtol=1e-3, atol=1e-4)
    assert {item.key: item.value for item in changed.metadata_props}["weights"] == "halved"


def test_a_fine_tuned_release_decides_and_says_what_it_is(
    plates: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = make_keys(tmp_path / "keys")
    bench = workshop(
        backbone, FeatureExtractor(backbone, SPEC, FeatureCache(None)), private, tmp_path / "tuned"
    )
    snapshot = load_dataset(str(plates))
    outcome = train_classification(snapshot, Plan("tuned", SPEC, finetune=1), bench)
    assert "round 1 of 1" in capsys.readouterr().out
    bundle = read_bundle(bench.folder, load_public_key(public))
    assert "fine-tuned on" in bundle.description["backbone"]
    assert outcome.metrics["auroc"].value > 0.9
    runner = ReleaseRunner(bundle, {path.name: path.read_bytes() for path in bench.folder.iterdir()})
    plate = next((plates / "scratch").iterdir())
    assert 0.0 <= runner.read([plate.read_bytes()])[0].defect_score <= 1.0

    # Begun again, it goes on after the last finished round: there is none left.
    again = train_classification(snapshot, Plan("tuned", SPEC, finetune=1), bench)
    assert "going on after round 1" in capsys.readouterr().out
    assert again.release == outcome.release


def test_only_classification_is_fine_tuned(plates: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["--dataset", str(plates), "--out", "unused", "--release", "x", "--task", "anomaly"]
    assert main(["train", *wanted, "--finetune", "3"]) == 1
    assert "fine-tuning is for classification; anomaly keeps" in capsys.readouterr().err
