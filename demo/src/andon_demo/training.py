"""The first model: a manifest of the training part, the trainer's own command line, and a cache of what came
out.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from andon_demo.parts import Part

SCHEMA = "andonloop.dataset-snapshot/1"
DOUBTED_WEIGHT = 0.6
"""Labels that the experts doubted count this much in training."""


class TrainingError(Exception):
    """The trainer could not make a release; its own words are in the text."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What the trainer printed when it was done, and how long it took.

    Attributes:
        summary: release, folder, classes, thresholds and metrics.
        seconds: Measured now; next to nothing for a release that was remembered.
        remembered: The same manifest and code had made it before.
    """

    summary: dict[str, Any]
    seconds: float
    remembered: bool = False

    @property
    def description(self) -> dict[str, Any]:
        """What the release's bundle says of itself."""
        file = Path(self.summary["folder"]) / "bundle.json"
        return dict(json.loads(file.read_text())) if file.is_file() else {}

    @property
    def metrics(self) -> dict[str, float]:
        return {name: float(figure["value"]) for name, figure in self.summary["metrics"].items()}

    @property
    def classes(self) -> list[str]:
        """The defect classes."""
        return [str(name) for name in self.summary["classes"]]

    @property
    def left_out(self) -> dict[str, int]:
        """Defect classes that it could not learn, with the independent images that there were."""
        return dict(self.summary["classes_left_out"])


def manifest(name: str, parts: Sequence[Part], licence: str) -> dict[str, Any]:
    """A dataset snapshot of these parts, as the trainer reads it."""
    return {
        "schema": SCHEMA,
        "name": name,
        "licence": licence,
        "rows": [
            {
                "id": part.name,
                "image": {
                    "path": str(part.path),
                    "sha256": hashlib.sha256(part.path.read_bytes()).hexdigest(),
                },
                "classes": list(part.classes),
                "is_defect": part.is_defect,
                "weight": 1.0 if part.doubt in (0.0, 1.0) else DOUBTED_WEIGHT,
                "group": str(part.group),
                "product_variant": part.variant,
            }
            for part in parts
        ],
    }


def code_version() -> bytes:
    """Changes when the code changes that makes a release, so that a remembered one is never out of date."""
    digest = hashlib.sha256()
    for package in ("trainer", "andon_vision"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for file in sorted(Path(folder).rglob("*.py")):
                digest.update(file.read_bytes())
    return digest.digest()


class Trainer:
    """Runs `python -m trainer` with its files in one cache folder.

    Args:
        cache: Backbone, features and releases; kept between runs.
        keys: The signing keys of this checkout.
        log: Where the trainer's progress goes.
    """

    def __init__(self, cache: Path, keys: Path, log: Path) -> None:
        self._cache = cache
        self._log = log
        self._keys = keys
        self._backbone = cache / "backbone"

    @property
    def public_key(self) -> Path:
        """What verifies the releases."""
        return self._keys / "release.pub"

    def prepare(self) -> None:
        """Make the backbone and the keys, unless they are there."""
        if not (self._backbone / "backbone.onnx").is_file():
            self._run("backbone", "--out", str(self._backbone))
        if not self.public_key.is_file():
            self._run("keys", "--out", str(self._keys))

    def train(self, document: Mapping[str, Any], name: str) -> Trained:
        """Train on a manifest, or take the release that came of the same one before. Raises TrainingError."""
        began = time.monotonic()
        content = json.dumps(document, indent=1)
        digest = hashlib.sha256(content.encode() + code_version()).hexdigest()[:16]
        file = self._cache / "manifests" / f"{name}-{digest}.json"
        known = file.with_suffix(".release.json")
        if known.is_file():
            summary = json.loads(known.read_text())
            if Path(summary["folder"]).is_dir():
                return Trained(summary, time.monotonic() - began, remembered=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        printed = self._run(
            *(
                "train",
                "--task",
                "auto",
                "--dataset",
                str(file),
                "--out",
                str(self._cache / "releases"),
                "--release",
                name,
            ),
            *("--backbone", str(self._backbone / "backbone.onnx"), "--key", str(self._keys / "release.key")),
            *("--cache", str(self._cache / "features.sqlite")),
        )
        known.write_text(printed)
        return Trained(json.loads(printed), time.monotonic() - began)

    def publish(self, trained: Trained, env: Mapping[str, str]) -> None:
        """Hand the release and its card to a running system. Raises TrainingError."""
        card = trained.summary.get("card")
        pages = ("--report", str(card)) if card and Path(card).is_file() else ()
        bundle = ("--bundle", str(trained.summary["folder"]), "--key", str(self.public_key))
        self._run("publish", *bundle, *pages, env=env)

    def _run(self, *arguments: str, env: Mapping[str, str] | None = None) -> str:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-m", "trainer", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, **(env or {})},
                check=False,
            )
        if done.returncode != 0:
            tail = self._log.read_text(errors="replace")[-1500:]
            raise TrainingError(f"`trainer {arguments[0]}` ended with {done.returncode}:\n{tail}")
        return done.stdout.decode()
