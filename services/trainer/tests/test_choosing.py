"""`--task auto`: both kinds are trained where the images allow it, and the better of them is kept and says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import (
    ReleaseBundle,
    load_private_key,
    load_public_key,
    make_keys,
    read_bundle,
    write_bundle,
)
from trainer import choosing
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.images import load_dataset
from trainer.domain.metrics import Figure
from trainer.domain.snapshot import Snapshot, SnapshotError
from trainer.domain.thresholds import Thresholds
from trainer.tasks import task
from trainer.training import Outcome, Plan
from trainer.workshop import Workshop

from .conftest import workshop

SPEC = Preprocessing(96, 96)
EMPTY = Snapshot("none", (), "none")

Stub = Callable[..., Outcome]


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    keys = make_keys(tmp_path / "keys")
    return workshop(tmp_path, None, keys[0], tmp_path / "made" / "auto")  # type: ignore[arg-type]


def released(shop: Workshop) -> ReleaseBundle:
    return read_bundle(shop.folder, load_public_key(shop.key.with_name("release.pub")))


def trains(name: str, auroc: float | None) -> Stub:
    """A task that writes a bundle of nothing with this figure, or refuses when there is none to write."""

    def train(snapshot: Snapshot, plan: Plan, shop: Workshop, *rest: Any) -> Outcome:
        if auroc is None:
            raise SnapshotError(f"no good parts for {name}")
        limits = Thresholds(0.2, 0.7)
        figure = Figure(auroc, auroc, auroc)
        described = {
            "task": name,
            "classes": [name],
            "preprocessing": SPEC.to_json(),
            "thresholds": {"pass_below": 0.2, "reject_from": 0.7},
        }
        files = {"model.onnx": name.encode()}
        release = write_bundle(shop.folder, plan.name, described, files, load_private_key(shop.key))
        return Outcome(release, {"auroc": figure}, limits, name, (name,), {})

    return train


@pytest.mark.parametrize(
    ("classification", "anomaly", "kept"),
    [
        (0.92, 0.87, "classification"),
        (0.7, 0.95, "anomaly"),
        (0.8, None, "classification"),
        (None, 0.6, "anomaly"),
    ],
)
def test_the_better_one_is_kept(
    monkeypatch: pytest.MonkeyPatch,
    shop: Workshop,
    classification: float | None,
    anomaly: float | None,
    kept: str,
) -> None:
    monkeypatch.setattr(choosing, "train_classification", trains("classification", classification))
    monkeypatch.setattr(choosing, "train_anomaly", trains("anomaly", anomaly))
    outcome = choosing.train_auto(EMPTY, Plan("auto", SPEC), shop)
    ranks = {name: rank for name, rank in (("classification", classification), ("anomaly", anomaly)) if rank}
    assert (outcome.task, outcome.chosen_by_validation) == (kept, ranks)
    bundle = released(shop)
    assert (bundle.release, bundle.classes) == (outcome.release, (kept,))
    assert bundle.description["chosen_by_validation"] == ranks
    assert [path.name for path in shop.folder.parent.iterdir()] == ["auto"]


def test_images_that_allow_neither_are_told_why(monkeypatch: pytest.MonkeyPatch, shop: Workshop) -> None:
    for name in ("classification", "anomaly"):
        monkeypatch.setattr(choosing, f"train_{name}", trains(name, None))
    with pytest.raises(SnapshotError, match=r"classification: no good parts .*; anomaly: no good parts"):
        choosing.train_auto(EMPTY, Plan("auto", SPEC), shop)


def test_both_kinds_learn_the_plates(plates: Path, backbone: Path, tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "keys")
    extractor = FeatureExtractor(backbone, SPEC, FeatureCache(None))
    shop = workshop(backbone, extractor, keys[0], tmp_path / "plates")
    outcome = task("auto")(load_dataset(str(plates)), Plan("plates", SPEC), shop)
    assert set(outcome.chosen_by_validation) == {"classification", "anomaly"}
    best = max(outcome.chosen_by_validation.values())
    assert outcome.metrics["auroc"].value == pytest.approx(best, abs=1e-6)
    assert released(shop).description["task"] == outcome.task
