"""What Triton costs on top of the network, and which settings suit it: build/bench/serving.json."""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import pytest
from andon_local import runtime
from andon_local.runtime import Instance
from andon_vision.runner import ReleaseRunner
from inference.adapters.triton import TritonServer
from inference.domain.scoring import Scored
from inference.serving import ServingLimits
from inference.settings import InferenceSettings

from .elpv import Served, release_and_images
from .figures import at_least, write

INSTANCE = "bench-serving"
IMAGES, GRID_IMAGES = 256, 96
ROUNDS = 7
RATIO = 0.9
QUEUE_S, QUEUE_LONG_S = 3.0, 15.0
"""How long half of the load is offered to measure waiting times: for each row of the grid, and for what was chosen."""
GRID = [
    *(ServingLimits(instances, threads) for instances, threads in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1))),
    *(ServingLimits(2, 1, max_batch=batch) for batch in (1, 4, 16)),
    *(ServingLimits(2, 1, queue_delay_us=delay) for delay in (0, 500, 5000, 20000)),
]


@dataclass(frozen=True)
class Asked:
    """A release in Triton, and how the service asks it."""

    server: TritonServer
    served: Served
    limits: ServingLimits

    def submit(self, images: Sequence[bytes]) -> Future[list[Scored]]:
        return self.server.submit(self.served.bundle, images)

    def images_per_s(self, size: int) -> float:
        """All images, so many in a request, with twice as many requests on the way as there are copies."""
        on_the_way: deque[Future[list[Scored]]] = deque()
        images = self.served.images
        at_once = 2 * self.limits.instances * max(1, self.limits.max_batch // size)
        began = time.perf_counter()
        for start in range(0, len(images), size):
            if len(on_the_way) == at_once:
                on_the_way.popleft().result(60)
            on_the_way.append(self.submit(images[start : start + size]))
        for future in on_the_way:
            future.result(60)
        return len(images) / (time.perf_counter() - began)

    def waiting_ms(self, per_s: float, seconds: float) -> dict[str, float]:
        """Time from when an image is due to its answer, single images offered evenly."""
        began, answered = time.perf_counter() + 0.05, []

        def note(due: float) -> None:
            answered.append(time.perf_counter() - due)

        futures = []
        for number in range(int(seconds * per_s)):
            due = began + number / per_s
            time.sleep(max(0.0, due - time.perf_counter()))
            future = self.submit([self.served.images[number % len(self.served.images)]])
            future.add_done_callback(lambda _, due=due: note(due))  # type: ignore[misc]
            futures.append(future)
        for future in futures:
            future.result(60)
        times = sorted(1e3 * each for each in answered)
        return {"p50": statistics.median(times), "p99": times[int(0.99 * len(times))]}


class Direct:
    """The same release in onnxruntime, as many copies with as many threads as Triton has."""

    def __init__(self, served: Served, limits: ServingLimits) -> None:
        self._served = served
        self._limits = limits
        self._runners = [
            ReleaseRunner(served.bundle, served.files, threads=limits.threads)
            for _ in range(limits.instances)
        ]
        self._pool = ThreadPoolExecutor(limits.instances)

    def images_per_s(self) -> float:
        images, size = self._served.images, self._limits.max_batch
        batches = [images[start : start + size] for start in range(0, len(images), size)]

        def work(copy: int) -> None:
            for batch in batches[copy :: len(self._runners)]:
                self._runners[copy].read(batch)

        began = time.perf_counter()
        list(self._pool.map(work, range(len(self._runners))))
        return len(images) / (time.perf_counter() - began)

    def close(self) -> None:
        self._pool.shutdown()


@pytest.fixture(scope="module")
def served() -> Served:
    return release_and_images(IMAGES)


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    """Triton and nothing else."""
    yield runtime.start(INSTANCE, components=["triton"], quiet=True)
    runtime.stop(INSTANCE)


@pytest.fixture(scope="module")
def server(instance: Instance) -> Iterator[TritonServer]:
    server = TritonServer(instance.endpoints.triton)
    yield server
    server.close()


def loaded(server: TritonServer, served: Served, limits: ServingLimits) -> Asked:
    """The release served with these settings and no other one, warm."""
    release = served.bundle.release
    if server.is_loaded(release):
        server.unload(release)
        while server.is_loaded(release):
            time.sleep(0.05)
    server.load(served.bundle, served.files, served.public_key.read_bytes(), limits)
    asked = Asked(server, served, limits)
    asked.images_per_s(limits.max_batch)
    return asked


def test_against_onnxruntime(instance: Instance, server: TritonServer, served: Served) -> None:
    settings = InferenceSettings()
    limits = ServingLimits(
        settings.triton_instances,
        settings.triton_threads,
        settings.triton_batch,
        settings.triton_queue_delay_us,
    )
    asked, direct = loaded(server, served, limits), Direct(served, limits)
    direct.images_per_s()
    cpu_ms: Counter[str] = Counter()

    def through_triton() -> float:
        before = instance.cpu_seconds("triton"), time.process_time()
        rate = asked.images_per_s(limits.max_batch)
        cpu_ms["triton"] += 1e3 * (instance.cpu_seconds("triton") - before[0]) / len(served.images) / ROUNDS
        cpu_ms["its client"] += 1e3 * (time.process_time() - before[1]) / len(served.images) / ROUNDS
        return rate

    def called_directly() -> float:
        before = time.process_time()
        rate = direct.images_per_s()
        cpu_ms["onnxruntime"] += 1e3 * (time.process_time() - before) / len(served.images) / ROUNDS
        return rate

    # Taken in turns, so that what else the machine does falls on both.
    pairs = [(through_triton(), called_directly()) for _ in range(ROUNDS)]
    direct.close()
    through, called = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    write(
        "serving",
        {
            "images": len(served.images),
            "settings": asdict(limits),
            "triton_images_per_s": through,
            "onnxruntime_images_per_s": called,
            "cpu_ms_per_image": dict(cpu_ms),
            "ratio_of_each_round": [round(one / other, 3) for one, other in pairs],
            "waiting_ms_at_half_load": {
                "offered_per_s": through / 2,
                **asked.waiting_ms(through / 2, QUEUE_LONG_S),
            },
        },
        {"Triton's images/s to onnxruntime's": at_least(ratio, RATIO)},
    )


def test_settings(instance: Instance, server: TritonServer, served: Served) -> None:
    """The grid that the service's defaults were chosen from.

    Each row is held against onnxruntime called right before it and after it, because a machine is not the same for
    minutes; processor time hardly depends on what else runs.
    """
    few = replace(served, images=served.images[:GRID_IMAGES])
    direct, rows = Direct(few, ServingLimits()), []
    for limits in GRID:
        asked = loaded(server, few, limits)
        called = [direct.images_per_s()]
        before = instance.cpu_seconds("triton")
        rate = asked.images_per_s(limits.max_batch)
        one_by_one = asked.images_per_s(1)
        cpu_ms = 1e3 * (instance.cpu_seconds("triton") - before) / (2 * len(few.images))
        called.append(direct.images_per_s())
        reference = statistics.mean(called)
        rows.append(
            {
                **asdict(limits),
                "images_per_s": rate,
                "to_onnxruntime": rate / reference,
                "to_onnxruntime_one_by_one": one_by_one / reference,
                "cpu_ms_per_image": cpu_ms,
                "waiting_ms_at_half_load": asked.waiting_ms(reference / 2, QUEUE_S),
            }
        )
    direct.close()
    write("serving", {"grid": rows}, {})
