"""The manifest is what the trainer reads, and a release is remembered only while images and code are the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from andon_demo import training
from andon_demo.rehearsal import painted_parts
from andon_demo.training import Trained, Trainer, TrainingError, manifest
from trainer.domain.snapshot import parse_snapshot


def test_the_trainer_reads_the_manifest(tmp_path: Path) -> None:
    parts = painted_parts(tmp_path, 12)
    parts = [p if not p.is_defect else p.__class__(**{**_fields(p), "classes": (p.label,)}) for p in parts]
    snapshot = parse_snapshot(manifest("demo", parts, "a licence"))
    assert [row.id for row in snapshot.rows] == [p.name for p in parts]
    assert [row.is_defect for row in snapshot.rows] == [p.is_defect for p in parts]
    assert {row.weight for row in snapshot.rows} == {1.0, training.DOUBTED_WEIGHT}
    assert all(row.classes == (("crack",) if row.is_defect else ()) for row in snapshot.rows)
    assert snapshot.licence == "a licence"


def _fields(part: Any) -> dict[str, Any]:
    return {name: getattr(part, name) for name in part.__dataclass_fields__}


class _Counting(Trainer):
    """Counts what would be run, and pretends that it was."""

    runs: int = 0

    def _run(self, *arguments: str, env: Any = None) -> str:
        self.runs += 1
        folder = self._cache / "releases" / f"r{self.runs}"
        folder.mkdir(parents=True)
        figure = {"auroc": {"value": 0.9}}
        return json.dumps(
            {"release": folder.name, "folder": str(folder), "classes": ["crack"], "metrics": figure}
        )


def test_a_release_is_remembered_until_images_or_code_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = _Counting(tmp_path / "cache", tmp_path / "keys", tmp_path / "log")
    first = trainer.train({"rows": [1]}, "demo")
    assert (first.remembered, first.metrics, first.classes) == (False, {"auroc": 0.9}, ["crack"])
    again = trainer.train({"rows": [1]}, "demo")
    assert again.remembered and again.summary == first.summary and trainer.runs == 1
    assert not trainer.train({"rows": [2]}, "demo").remembered
    monkeypatch.setattr(training, "code_version", lambda: b"another")
    assert not trainer.train({"rows": [1]}, "demo").remembered


def test_a_release_that_was_deleted_is_trained_again(tmp_path: Path) -> None:
    trainer = _Counting(tmp_path / "cache", tmp_path / "keys", tmp_path / "log")
    Path(trainer.train({"rows": [1]}, "demo").summary["folder"]).rmdir()
    assert not trainer.train({"rows": [1]}, "demo").remembered


def test_the_description_is_the_bundles_own(tmp_path: Path) -> None:
    trainer = _Counting(tmp_path / "cache", tmp_path / "keys", tmp_path / "log")
    trained = trainer.train({"rows": [1]}, "demo")
    assert trained.description == {}
    (Path(trained.summary["folder"]) / "bundle.json").write_text('{"task": "anomaly"}')
    assert trained.description == {"task": "anomaly"}


def test_the_card_is_published_with_the_release(tmp_path: Path) -> None:
    ran: list[tuple[str, ...]] = []

    class Listening(Trainer):
        def _run(self, *arguments: str, env: Any = None) -> str:
            ran.append(arguments)
            return ""

    trainer = Listening(tmp_path / "cache", tmp_path / "keys", tmp_path / "log")
    card = tmp_path / "card.html"
    trainer.publish(Trained({"folder": "r1", "card": str(card)}, 0.0), {})
    card.write_text("<h1>Card</h1>")
    trainer.publish(Trained({"folder": "r1", "card": str(card)}, 0.0), {})
    assert ["--report" in arguments for arguments in ran] == [False, True]


def test_what_the_trainer_says_about_its_failure_is_passed_on(tmp_path: Path) -> None:
    trainer = Trainer(tmp_path / "cache", tmp_path / "keys", tmp_path / "log")
    with pytest.raises(TrainingError, match="verify"):
        trainer._run("verify", "--bundle", str(tmp_path / "none"), "--key", str(tmp_path / "none.pub"))
