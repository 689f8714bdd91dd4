"""Settings of the inference service."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from andon_chassis.settings import ServiceSettings


class InferenceSettings(ServiceSettings):
    """Where Triton is, whom to trust, and how much to do at once.

    Attributes:
        triton_url: host:port of Triton's gRPC endpoint.
        release_key: Ed25519 public key (PEM) that releases must be signed with.
        batch_max: Captures in one transaction; also bounds what must be done again after a crash.
        triton_instances: Copies of each release that Triton runs side by side, one core each.
        triton_threads: Threads of each copy.
        triton_batch: Most images that Triton scores as one batch.
        triton_queue_delay_us: How long Triton waits for a batch to fill, microseconds.
        images_at_once: Object store requests running at the same time.
        release_wait_s: How long a capture waits for a release at its station before a person is asked.
        heat_maps: Which heat maps are stored: of suspect images, of all, of none.
    """

    service: str = "inference"
    triton_url: str = "127.0.0.1:8001"
    release_key: Path = Path("keys/release.pub")
    batch_max: int = 64
    triton_instances: int = 2
    triton_threads: int = 1
    triton_batch: int = 8
    triton_queue_delay_us: int = 2000
    images_at_once: int = 8
    release_wait_s: float = 20.0
    heat_maps: Literal["suspect", "all", "none"] = "suspect"
