"""A release in onnxruntime, one image at a time; the runner is the one that Triton's model uses."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

import structlog
from andon_vision import DecodeLimits
from andon_vision.release_bundle import ReleaseBundle
from andon_vision.runner import ReleaseRunner

from edge_agent.domain.decision import Rules, Scored

MODEL_FAILED: Final = "model-failed"

log = structlog.get_logger()


class OnnxNetwork:
    """See `ports.Network`. One image at a time: a box has few cores, and memory stays bounded.

    Raises:
        ModelUnusable: It does not load, or does not answer an empty image.
    """

    def __init__(
        self, bundle: ReleaseBundle, files: Mapping[str, bytes], limits: DecodeLimits, threads: int = 1
    ) -> None:
        self._runner = ReleaseRunner(bundle, files, limits, threads)
        self._runner.warm_up()
        self._lock = threading.Lock()

    @property
    def rules(self) -> Rules:
        """See `ports.Network`."""
        return self._runner.bundle

    def score(self, data: bytes) -> Scored:
        """See `ports.Network`."""
        with self._lock:
            try:
                (reading,) = self._runner.read([data])
            except Exception as error:  # one image must not end the line; it goes to a person
                log.error("model.failed", release=self._runner.bundle.release, detail=str(error))
                return Scored(0.0, (), None, MODEL_FAILED)
        return Scored(
            reading.defect_score,
            reading.class_probabilities,
            reading.heat_map,
            reading.refused or None,
            tuple(region.to_json() for region in reading.regions),
        )
