"""Garbage on every way in: each piece gets its named answer, and the next good capture is decided all the same."""

from __future__ import annotations

import http.client
import json
import struct
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from andon_chassis.bus.kafka import KafkaBus
from andon_chassis.bus.ports import Outgoing
from andon_chassis.codec import Codec, HttpSchemaRegistry
from andon_chassis.events import Event, deterministic_id, event, station_key
from andon_chassis.objects import IMAGES, S3ObjectStore, object_ref
from andon_demo.mes.webhooks import sign
from andon_demo.observer import Observer
from andon_events import records as r

from .conftest import Faulty

LINE, STATION = "line-a", "cell-1"
PATIENCE_S = 60.0


@dataclass
class Scene:
    """The plant seen from outside, with hands to throw things."""

    faulty: Faulty
    bus: KafkaBus
    codec: Codec
    store: S3ObjectStore
    observer: Observer
    good: Iterator[bytes]

    @property
    def ingest(self) -> str:
        return self.faulty.plant.instance.endpoints.http("capture-ingest")

    def post(self, data: bytes, media_type: str = "image/png", **metadata: Any) -> httpx.Response:
        known = {"line": LINE, "station": STATION, "product_variant": "poly", "trigger_id": str(uuid.uuid4())}
        known |= {"captured_at": datetime.now(UTC).isoformat()} | metadata
        headers = {"content-type": media_type, "andon-metadata": json.dumps(known)}
        return httpx.post(f"{self.ingest}/v1/captures", content=data, headers=headers, timeout=60)

    def recorded(self, image: r.ImageRef) -> Event[r.CaptureRecorded]:
        """What capture-ingest would have said of an image."""
        now = datetime.now(UTC)
        capture_id = deterministic_id("capture", "rubbish", str(uuid.uuid4()))
        context = r.CaptureContext(line=LINE, station=STATION, product_variant="poly")
        data = r.CaptureRecorded(
            capture_id=capture_id,
            context=context,
            image=image,
            received_via="http",
            captured_at=now,
            received_at=now,
        )
        return event(
            data, source="capture-ingest", key=station_key(LINE, STATION), time=now, cause=capture_id
        )

    def send(self, message: Outgoing) -> None:
        producer = self.bus.producer()
        producer.send([message])
        producer.close()

    def dead_letters(self, reason: str) -> int:
        wanted = ("quality-audit.dead-letter", reason)
        return self.observer.look(lambda ledger: ledger.dead_letters.count(wanted))

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come in {PATIENCE_S} s"
            self.observer.wait_until(lambda ledger: False, 0.1)

    def decision(self, capture_id: str) -> r.DispositionDecided:
        found: list[r.DispositionDecided] = []

        def decided() -> bool:
            first = self.observer.look(lambda ledger: ledger.captures[capture_id].first)
            found.extend([first] if first else [])
            return bool(first)

        self.wait(decided, f"the disposition of {capture_id}")
        return found[0]

    def still_works(self) -> None:
        """The next good part at the same station gets its disposition."""
        answer = self.post(next(self.good))
        assert answer.status_code == 201, answer.text
        self.decision(answer.json()["capture_id"])


@pytest.fixture(scope="module")
def scene(faulty: Faulty) -> Iterator[Scene]:
    endpoints = faulty.plant.instance.endpoints
    env = faulty.plant.instance.admin_env()
    observer = Observer(endpoints.kafka, endpoints.registry)
    observer.start()
    yield Scene(
        faulty=faulty,
        bus=KafkaBus(endpoints.kafka),
        codec=Codec(HttpSchemaRegistry(endpoints.registry)),
        store=S3ObjectStore(env["ANDON_S3_ENDPOINT"], env["ANDON_S3_ACCESS_KEY"], env["ANDON_S3_SECRET_KEY"]),
        observer=observer,
        good=(part.path.read_bytes() for part in faulty.split.training),
    )
    observer.stop()


def image_ref(data: bytes) -> r.ImageRef:
    ref = object_ref(IMAGES, data, "image/png")
    return r.ImageRef(object=ref, width=300, height=300, channels=1, bit_depth=8)


class TestOnTheBus:
    """Messages that nobody of ours would send."""

    def test_bytes_that_are_no_avro(self, scene: Scene) -> None:
        good = scene.codec.encode(scene.recorded(image_ref(b"x")))
        assert good.value is not None
        scene.send(replace(good, value=good.value[:5] + b"\xff" * 40))
        scene.wait(lambda: scene.dead_letters("not-avro") == 1, "the dead letter")
        scene.still_works()

    def test_a_schema_that_nobody_registered(self, scene: Scene) -> None:
        good = scene.codec.encode(scene.recorded(image_ref(b"x")))
        assert good.value is not None
        scene.send(replace(good, value=struct.pack(">bI", 0, 999_999) + good.value[5:]))
        scene.wait(lambda: scene.dead_letters("unknown-schema") == 1, "the dead letter")
        scene.still_works()

    def test_an_object_that_is_not_there(self, scene: Scene) -> None:
        recorded = scene.recorded(image_ref(b"never stored"))
        scene.send(scene.codec.encode(recorded))
        decided = scene.decision(recorded.data.capture_id)
        assert (decided.kind, decided.reasons) == ("hold", ["audit-rejected", "missing-object"])
        scene.still_works()

    def test_an_object_that_is_not_what_the_event_says(self, scene: Scene) -> None:
        stored = scene.store.put(IMAGES, b"somebody was here before", "image/png")
        lie = replace(object_ref(IMAGES, b"what was promised instead", "image/png"), key=stored.key)
        recorded = scene.recorded(replace(image_ref(b""), object=lie))
        scene.send(scene.codec.encode(recorded))
        decided = scene.decision(recorded.data.capture_id)
        assert (decided.kind, decided.reasons) == ("hold", ["audit-rejected", "wrong-hash"])
        scene.still_works()


def png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\x00" * 10_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


class TestUploads:
    """Files that no camera means."""

    def test_an_image_bomb(self, scene: Scene) -> None:
        answer = scene.post(png(60_000, 60_000))
        assert (answer.status_code, answer.json()["title"]) == (413, "too-many-pixels")
        scene.still_works()

    def test_a_truncated_image(self, scene: Scene) -> None:
        data = next(scene.good)
        answer = scene.post(data[: len(data) // 2])
        assert (answer.status_code, answer.json()["title"]) == (422, "truncated")
        scene.still_works()

    def test_two_hundred_megabytes_are_refused_before_they_have_come(self, scene: Scene) -> None:
        instance = scene.faulty.plant.instance
        before = instance.memory_mb("capture-ingest")
        connection = http.client.HTTPConnection(urlsplit(scene.ingest).netloc, timeout=60)
        metadata = json.dumps({"line": LINE, "station": STATION})
        connection.putrequest("POST", "/v1/captures")
        for name, value in {
            "content-type": "image/png",
            "andon-metadata": metadata,
            "transfer-encoding": "chunked",
        }.items():
            connection.putheader(name, value)
        connection.endheaders()
        block, sent = b"x" * 1_000_000, 0
        try:
            for _ in range(200):
                connection.send(b"%x\r\n%s\r\n" % (len(block), block))
                sent += len(block)
        except OSError:  # refused while we were still sending, as it should be
            pass
        try:
            status: int | None = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            status = None  # the answer was lost with the connection that the service closed on us
        assert status in (413, None)
        assert sent < 200_000_000 or status == 413
        assert instance.memory_mb("capture-ingest") - before < 80
        scene.still_works()

    def test_a_clock_that_is_a_day_ahead(self, scene: Scene) -> None:
        ahead = (datetime.now(UTC) + timedelta(days=1)).isoformat()
        answer = scene.post(next(scene.good), captured_at=ahead)
        assert answer.status_code == 201
        decided = scene.decision(answer.json()["capture_id"])
        assert decided.captured_at == decided.received_at
        missing = scene.observer.look(lambda ledger: ledger.captures[decided.capture_id].missing)
        assert "captured_at" in missing

    def test_a_station_that_nobody_registered(self, scene: Scene) -> None:
        answer = scene.post(next(scene.good), station="cell-that-nobody-knows")
        assert answer.status_code == 201
        decided = scene.decision(answer.json()["capture_id"])
        assert decided.kind == "hold"
        assert "unregistered-station" in decided.reasons
        scene.still_works()


class TestFindings:
    """Webhooks that come twice, late or unsigned."""

    def report(self, scene: Scene, capture_id: str, message_id: str, age_s: int = 0, secret: str = "") -> Any:
        instance = scene.faulty.plant.instance
        finding = {"kind": "operator-override", "capture_id": capture_id, "reported_by": "p.silva"}
        body = json.dumps(finding | {"found_at": "2026-01-31T08:00:00Z"}).encode()
        stamp = int(time.time()) - age_s
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(secret or instance.secret("webhook"), message_id, stamp, body),
        }
        url = f"{instance.endpoints.http('mes-bridge')}/v1/findings"
        return httpx.post(url, content=body, headers=headers, timeout=30)

    def delivered(self, scene: Scene) -> str:
        """A capture that the MES has."""
        capture_id: str = scene.post(next(scene.good)).json()["capture_id"]
        scene.wait(
            lambda: scene.observer.look(
                lambda ledger: any(d.capture_id == capture_id for d in ledger.delivered.values())
            ),
            "the delivery",
        )
        return capture_id

    def test_a_replayed_webhook_changes_nothing(self, scene: Scene) -> None:
        capture_id, message_id = self.delivered(scene), f"msg_{uuid.uuid4().hex}"
        first, second = (self.report(scene, capture_id, message_id) for _ in range(2))
        assert first.status_code in (200, 201, 202), first.text
        assert second.status_code == 200
        assert first.json()["finding_id"] == second.json()["finding_id"]

        def findings() -> int:
            return scene.observer.look(
                lambda ledger: sum(f.capture_id == capture_id for f in ledger.findings.values())
            )

        scene.wait(lambda: findings() == 1, "the finding")
        scene.still_works()
        assert findings() == 1

    def test_an_old_webhook_is_refused(self, scene: Scene) -> None:
        answer = self.report(scene, self.delivered(scene), f"msg_{uuid.uuid4().hex}", age_s=3600)
        assert answer.status_code == 401

    def test_a_webhook_with_another_secret_is_refused(self, scene: Scene) -> None:
        answer = self.report(scene, self.delivered(scene), f"msg_{uuid.uuid4().hex}", secret="whsec_AAAA")
        assert answer.status_code == 401
