"""A shift at the faulty plant: parts pass the cameras all the time while somebody changes the releases."""

from __future__ import annotations

import itertools
import json
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.events import event
from andon_chassis.objects import MODELS, S3ObjectStore
from andon_demo.ledger import CaptureRecord
from andon_demo.observer import Observer
from andon_demo.parts import Part
from andon_demo.people import MLOPS
from andon_events import records as r
from andon_events import topics
from andon_local import layout
from andon_vision.release_bundle import (
    DESCRIPTION,
    MEDIA_TYPE,
    SIGNATURE,
    load_private_key,
    pack_bundle,
    write_bundle,
)

from .conftest import Faulty

LINE, PILOT, OTHER = "line-a", "cell-1", "cell-2"
RATE = 12.0
CAMERAS = 3
PATIENCE_S = 90.0


class Shift:
    """The plant with its cameras, and what its bus says of their captures.

    Args:
        parts: Will pass the cameras; none of them has before.
        folder: For the bundles of further releases.
    """

    def __init__(self, faulty: Faulty, parts: Iterator[Part], observer: Observer, folder: Path) -> None:
        self.plant = faulty.plant
        self.first = str(faulty.trained.summary["release"])
        self.accepted: dict[str, str] = {}
        self._bundle = Path(faulty.trained.summary["folder"])
        self._observer = observer
        self._folder = folder
        self._parts = parts
        self._hands = threading.Lock()
        endpoints, env = self.plant.instance.endpoints, self.plant.instance.admin_env()
        self._ingest = endpoints.http("capture-ingest")
        self._staff = self.plant.staff()
        self._api = self._staff.api(MLOPS)
        self._bus = KafkaBus(endpoints.kafka)
        self._codec = Codec(HttpSchemaRegistry(endpoints.registry))
        self._objects = S3ObjectStore(
            env["ANDON_S3_ENDPOINT"], env["ANDON_S3_ACCESS_KEY"], env["ANDON_S3_SECRET_KEY"]
        )

    # --- parts

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The cameras send at their pace until the block is left; then every capture gets its time to be decided."""
        over = threading.Event()
        cameras = [threading.Thread(target=self._camera, args=(number, over)) for number in range(CAMERAS)]
        for camera in cameras:
            camera.start()
        try:
            yield
        finally:
            over.set()
            for camera in cameras:
                camera.join(PATIENCE_S)
        self.wait(lambda: len(self.decided()) == len(self.accepted), "a disposition of every capture")

    def _camera(self, number: int, over: threading.Event) -> None:
        for station in itertools.cycle((PILOT, OTHER) if number % 2 else (OTHER, PILOT)):
            due = time.monotonic() + CAMERAS / RATE
            self.shoot(station)
            if over.wait(max(0.0, due - time.monotonic())):
                return

    def shoot(self, station: str = PILOT, part: Part | None = None, picture: bytes | None = None) -> str:
        """A part, by default one that was never seen, passes the camera, looking like `picture` where one is given.

        Gives the capture's id.
        """
        if part is None:
            with self._hands:
                part = next(self._parts)
        metadata = {
            "line": LINE,
            "station": station,
            "product_variant": part.variant,
            "trigger_id": str(uuid.uuid4()),
            "captured_at": datetime.now(UTC).isoformat(),
        }
        answer = httpx.post(
            f"{self._ingest}/v1/captures",
            content=picture or part.path.read_bytes(),
            headers={"content-type": "image/png", "andon-metadata": json.dumps(metadata)},
            timeout=60,
        )
        capture_id = str(answer.raise_for_status().json()["capture_id"])
        with self._hands:
            self.accepted[capture_id] = station
        return capture_id

    # --- releases

    def publish(
        self, name: str, files: Mapping[str, bytes] | None = None, signed_by: Path | None = None
    ) -> str:
        """A further release of the plant's trainer, with these files instead of its own; announced, not promoted."""
        description = json.loads((self._bundle / DESCRIPTION).read_text())
        own = {path.name: path.read_bytes() for path in self._bundle.iterdir()}
        folder = self._folder / name
        release = write_bundle(
            folder,
            name,
            description,
            {
                file: data
                for file, data in {**own, **(files or {})}.items()
                if file not in (DESCRIPTION, SIGNATURE)
            },
            load_private_key(signed_by or layout.runtime_dir() / "keys" / "release.key"),
        )
        self.announce(release, pack_bundle(folder))
        return release

    def announce(self, release: str, packed: bytes, description: Mapping[str, Any] | None = None) -> None:
        """What the trainer says of a release, of one like its first by default; waits until the registry knows it."""
        now = datetime.now(UTC)
        description = description or json.loads((self._bundle / DESCRIPTION).read_text())
        data = r.ModelTrained(
            release=release,
            bundle=self._objects.put(MODELS, packed, MEDIA_TYPE),
            task=description["task"],
            classes=description["classes"],
            dataset_hash=description["dataset"]["hash"],
            metrics={},
            pass_below=description["thresholds"]["pass_below"],
            reject_from=description["thresholds"]["reject_from"],
            trained_at=now,
        )
        producer = self._bus.producer()
        producer.send(
            [self._codec.encode(event(data, source="trainer", key=release, time=now, cause=release))]
        )
        producer.close()
        self._api.wait_for(f"/v1/releases/{release}", PATIENCE_S)

    def promote(self, release: str, **order: Any) -> datetime:
        """Gives when the registry had it in force."""
        self._api.post(f"/v1/releases/{release}/promote", {"released_by": MLOPS, **order})
        return datetime.now(UTC)

    def roll_back(self, release: str) -> datetime:
        """Gives when the registry had it withdrawn."""
        self._api.post(f"/v1/releases/{release}/rollback", {"reason": "test", "rolled_back_by": MLOPS})
        return datetime.now(UTC)

    # --- what came of it

    def decided(self) -> dict[str, r.DispositionDecided]:
        """The first disposition of each of the shift's captures that has one."""
        return {capture_id: found.first for capture_id, found in self.captures().items() if found.first}

    def captures(self) -> dict[str, CaptureRecord]:
        """What is known of the shift's captures."""
        with self._hands:
            ids = list(self.accepted)
        return self._observer.look(
            lambda ledger: {name: ledger.captures[name] for name in ids if name in ledger.captures}
        )

    def by(self, release: str, station: str | None = None) -> list[r.DispositionDecided]:
        """The dispositions that rest on a release."""
        return [
            decision
            for decision in self.decided().values()
            if decision.evidence.model_release == release and station in (None, decision.context.station)
        ]

    def results(self) -> dict[str, list[r.InferenceCompleted]]:
        """What inference said of the shift's captures, by station in the order in which it said it."""
        follower = self._bus.follower([topics.INFERENCE_COMPLETED.name])
        found: dict[str, list[r.InferenceCompleted]] = defaultdict(list)
        try:
            while not follower.caught_up():
                for message in follower.poll(0.2):
                    data = self._codec.decode(message).data
                    if data.capture_id in self.accepted:
                        found[data.context.station].append(data)
        finally:
            follower.close()
        return found

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition, for which time is allowed."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come in {PATIENCE_S} s"
            self._observer.wait_until(lambda ledger: False, 0.1)

    def said(self, program: str, *words: str) -> bool:
        """Whether a line of a program's log holds all these words."""
        lines = self.plant.instance.log(program).read_text(errors="replace").splitlines()
        return any(all(word in line for word in words) for line in lines)
