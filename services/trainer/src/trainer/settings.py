"""Settings of the trainer: those of every service, with its own beside them."""

from __future__ import annotations

from pathlib import Path

from andon_chassis.settings import ServiceSettings


class TrainerSettings(ServiceSettings):
    """`backbone` is the ONNX feature extractor, `signing_key` the Ed25519 key (PEM), `feature_cache` a SQLite file."""

    service: str = "trainer"
    backbone: Path = Path("models/backbone.onnx")
    signing_key: Path = Path("keys/release.key")
    feature_cache: Path | None = None
