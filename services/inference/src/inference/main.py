"""Wiring of the inference service; nothing else happens here."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from andon_chassis.service import Service
from andon_events import topics
from andon_vision.release_bundle import ReleaseBundle

from inference.adapters.drawing import draw_heat_map
from inference.adapters.keeper import ReleaseKeeper
from inference.adapters.triton import ReleaseDied, ReleaseLost, TritonServer
from inference.domain.scoring import Scored
from inference.handlers import Limits, ScoreCaptures
from inference.serving import ServingLimits
from inference.settings import InferenceSettings


class WatchedScorer:
    """Scores through Triton and tells the keeper when Triton has forgotten a release."""

    def __init__(self, triton: TritonServer, keeper: ReleaseKeeper) -> None:
        self._triton = triton
        self._keeper = keeper

    def submit(self, bundle: ReleaseBundle, images: Sequence[bytes]) -> Future[list[Scored]]:
        """See `ports.Scorer`."""
        future = self._triton.submit(bundle, images)
        future.add_done_callback(self._look)
        return future

    def _look(self, future: Future[list[Scored]]) -> None:
        error = future.exception()
        if isinstance(error, ReleaseLost):
            self._keeper.lost(error.release)
        elif isinstance(error, ReleaseDied):
            self._keeper.died(error.release)


def main() -> int:
    """Runs until SIGTERM; returns the exit status."""
    settings = InferenceSettings()
    service = Service(settings)
    objects = service.objects()
    triton = TritonServer(settings.triton_url)
    service.health.depends_on("triton", triton.ping)
    serving = ServingLimits(
        instances=settings.triton_instances,
        threads=settings.triton_threads,
        max_batch=settings.triton_batch,
        queue_delay_us=settings.triton_queue_delay_us,
    )
    keeper = ReleaseKeeper(triton, objects, settings.release_key, serving, service.health)
    requests = 2 * settings.triton_instances  # one at work and one waiting in Triton's queue
    limits = Limits(settings.triton_batch, requests, settings.release_wait_s, settings.heat_maps)
    with ThreadPoolExecutor(settings.images_at_once, thread_name_prefix="objects") as workers:
        step = ScoreCaptures(
            keeper, WatchedScorer(triton, keeper), objects, draw_heat_map, service.clock.now, workers, limits
        )
        service.reference([topics.MODEL_RELEASED.name, topics.MODEL_ROLLED_BACK.name], keeper.apply)
        service.component("releases", keeper.run)
        service.stream_step([topics.CAPTURE_AUDITED.name], step)
        return service.run()
