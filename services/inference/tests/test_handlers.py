"""From capture.audited to inference.completed, on the in-memory bus with a stub instead of Triton."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import cv2
import numpy as np
import pytest
from andon_chassis.bus.memory import MemoryBus
from andon_chassis.clock import FakeClock
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event, event, station_key
from andon_chassis.health import Health
from andon_chassis.objects import IMAGES, MODELS, MemoryObjectStore
from andon_chassis.testing import START, context, drain, events, image_ref, publish, stream_step
from andon_events import records as r
from andon_vision.release_bundle import pack_bundle
from inference.adapters.drawing import draw_heat_map
from inference.adapters.keeper import ReleaseKeeper
from inference.domain.releases import Trial
from inference.handlers import Limits, ScoreCaptures
from inference.serving import ServingLimits
from inference.testing import SignedRelease, StubServer


class Plant:
    """The service with everything around it in memory."""

    def __init__(self, server: StubServer, release: SignedRelease, workers: ThreadPoolExecutor) -> None:
        self.clock = FakeClock()
        self.objects = MemoryObjectStore()
        self.server = server
        self.keeper = ReleaseKeeper(
            server,
            self.objects,
            release.public_key,
            ServingLimits(),
            Health(self.clock),
        )
        self.bus, self.codec = MemoryBus(), Codec(MemorySchemaRegistry())
        self.handler = ScoreCaptures(
            self.keeper,
            server,
            self.objects,
            draw_heat_map,
            self.clock.now,
            workers,
            Limits(chunk=2, wait_s=20),
        )

    def release(
        self,
        release: SignedRelease,
        line: str | None = None,
        mode: str = "active",
        minutes: int = 0,
        share: float = 1.0,
    ) -> None:
        """What `model.released` does, until Triton serves it."""
        bundle = self.objects.put(MODELS, pack_bundle(release.folder), "application/x-tar")
        data = r.ModelReleased(
            release=release.bundle.release,
            bundle=bundle,
            scope=r.Scope(line=line),
            mode=mode,
            share=share,
            released_by="lead",
            released_at=START + timedelta(minutes=minutes),
        )
        self.keeper.apply(self._event(data))
        self.keeper.synchronise()

    def roll_back(self, to: SignedRelease, source: SignedRelease, minutes: int, mode: str = "active") -> None:
        data = r.ModelRolledBack(
            release=to.bundle.release,
            bundle=self.objects.put(MODELS, pack_bundle(to.folder), "application/x-tar"),
            from_release=source.bundle.release,
            scope=r.Scope(),
            mode=mode,
            reason="escapes",
            rolled_back_by="lead",
            rolled_back_at=START + timedelta(minutes=minutes),
        )
        self.keeper.apply(self._event(data))

    def _event(self, data: Any) -> Event[Any]:
        return event(data, source="test", key="*/*", time=START, cause=str(data))

    def audited(
        self, image: bytes, verdict: str = "accepted", line: str = "line-a"
    ) -> Event[r.CaptureAudited]:
        """An audited capture; its image is stored."""
        self.objects.put(IMAGES, image, "image/png")
        data = r.CaptureAudited(
            capture_id=f"capture of {image!r}",
            context=context(line),
            image=image_ref(image, width=300, height=150),
            verdict=verdict,
            audited_at=self.clock.now(),
            captured_at=START,
            received_at=START,
        )
        return event(
            data, source="quality-audit", key=station_key(line, "cell-1"), time=START, cause=data.capture_id
        )

    def score(self, *audited: Event[r.CaptureAudited]) -> list[r.InferenceCompleted]:
        publish(self.bus, self.codec, audited)
        step = stream_step(
            self.bus, self.codec, "inference", ["capture.audited"], self.handler, clock=self.clock
        )
        drain(step)
        return [e.data for e in events(self.bus, self.codec, "inference.completed")]


@pytest.fixture
def plant(server: StubServer, signed: Callable[[str], SignedRelease]) -> Iterator[Plant]:
    with ThreadPoolExecutor(4) as workers:
        plant = Plant(server, signed("v1"), workers)
        plant.release(signed("v1"))
        yield plant


def test_each_accepted_capture_is_scored_once_in_order(plant: Plant) -> None:
    images = [f"0.{number:02} part".encode() for number in range(1, 8)]
    done = plant.score(*(plant.audited(image) for image in images))
    assert [item.defect_score for item in done] == pytest.approx([n / 100 for n in range(1, 8)])
    assert all(item.status == "scored" and item.band == "pass" for item in done)
    assert all(item.release.startswith("v1-") and not item.shadow for item in done)
    assert set(done[0].timings_ms) == {"fetch", "model", "triton"}


def test_rejected_and_ambiguous_captures_are_left_to_the_router(plant: Plant) -> None:
    done = plant.score(
        plant.audited(b"0.5 a", verdict="rejected"),
        plant.audited(b"0.6 b"),
        plant.audited(b"0.7 c", verdict="ambiguous"),
    )
    assert [item.defect_score for item in done] == [0.6]


def test_a_suspect_part_gets_a_heat_map_and_a_region(plant: Plant) -> None:
    (done,) = plant.score(plant.audited(b"0.9 scratch"))
    assert done.band == "defect" and done.predicted_class == "pixel-0"
    assert done.heat_map is not None and done.heat_map.media_type == "image/png"
    picture = cv2.imdecode(np.frombuffer(plant.objects.get(done.heat_map), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture is not None and picture.shape == (56, 112)
    assert picture[0, -1] == 229 and picture[-1, 0] == 0
    (region,) = done.regions
    assert (region.class_name, region.x, region.y, region.width, region.height) == ("pixel-0", 3, 4, 20, 10)
    assert region.outline == [3, 4, 23, 4, 23, 14] and region.key_points == {"centre": [13, 9]}


def test_a_part_that_passes_costs_no_object(plant: Plant) -> None:
    before = len(plant.objects.objects)
    (done,) = plant.score(plant.audited(b"0.01 fine"))
    assert done.heat_map is None and done.regions == []
    assert len(plant.objects.objects) == before + 1  # its image


def test_an_undecodable_image_is_said_and_spoils_nothing(plant: Plant) -> None:
    done = plant.score(plant.audited(b"0.9 a"), plant.audited(b"broken"), plant.audited(b"0.8 b"))
    assert [item.status for item in done] == ["scored", "unscorable", "scored"]
    assert done[1].status_reason == "truncated"
    assert done[1].defect_score is None and done[1].band is None


def test_an_image_that_breaks_the_model_is_found_and_spoils_nothing(plant: Plant) -> None:
    done = plant.score(plant.audited(b"0.9 a"), plant.audited(b"poison"), plant.audited(b"0.8 b"))
    assert [(item.status_reason, item.defect_score) for item in done] == [
        (None, 0.9),
        ("model-failed", None),
        (None, 0.8),
    ]


def test_an_image_that_kills_the_model_again_and_again_is_found(plant: Plant) -> None:
    images = (b"0.9 a", b"0.8 b", b"0.7 c", b"deadly", b"0.6 d", b"0.5 e")
    audited = [plant.audited(image) for image in images]
    for _ in range(3):
        with pytest.raises(Unavailable, match="the process is gone"):
            plant.handler.handle(audited)
    done = plant.score(*audited)
    assert [item.status_reason for item in done] == [None, None, None, "model-failed", None, None]


def test_a_model_that_dies_of_nobody_blames_nobody(plant: Plant) -> None:
    audited = [plant.audited(image) for image in (b"0.9 a", b"0.8 b", b"0.7 c")]
    for _ in range(5):
        plant.server.dying = True
        with pytest.raises(Unavailable, match="the process is gone"):
            plant.handler.handle(audited)
        plant.server.dying = False
        assert len(plant.handler.handle(audited)) == 3
    assert [item.status for item in plant.score(*audited)] == ["scored"] * 3


def test_a_missing_or_altered_image_is_said(plant: Plant) -> None:
    missing, altered = plant.audited(b"0.5 missing"), plant.audited(b"0.5 altered")
    del plant.objects.objects[IMAGES, missing.data.image.object.key]
    plant.objects.objects[IMAGES, altered.data.image.object.key] = b"0.0 something else"
    done = plant.score(missing, altered)
    assert [item.status_reason for item in done] == ["missing-object", "wrong-hash"]


def test_a_replay_makes_the_same_ids(plant: Plant) -> None:
    audited = plant.audited(b"0.4 again")
    first = plant.handler.handle([audited])
    second = plant.handler.handle([audited])
    assert isinstance(first[0], list) and isinstance(second[0], list)
    assert first[0][0].id == second[0][0].id


def test_without_a_release_captures_wait_and_then_go_to_a_person(
    server: StubServer, signed: Callable[[str], SignedRelease]
) -> None:
    with ThreadPoolExecutor(2) as workers:
        plant = Plant(server, signed("v1"), workers)
        audited = plant.audited(b"0.4 early")
        with pytest.raises(Unavailable, match="none can decide"):
            plant.handler.handle([audited])
        plant.clock.advance(21)
        (done,) = plant.score(audited)
        assert (done.status, done.status_reason, done.release) == ("unscorable", "no-release", "no-release")


def test_a_station_without_a_release_holds_up_the_others_once(
    server: StubServer, signed: Callable[[str], SignedRelease]
) -> None:
    with ThreadPoolExecutor(2) as workers:
        plant = Plant(server, signed("v1"), workers)
        plant.release(signed("v1"), line="line-a")
        with pytest.raises(Unavailable, match="line-b/cell-1"):
            plant.handler.handle([plant.audited(b"0.4 new", line="line-b"), plant.audited(b"0.4 old")])
        plant.clock.advance(21)
        for number in range(5):  # its next captures come as fresh as any
            new = plant.audited(f"0.4 new {number}".encode(), line="line-b")
            outcomes = plant.handler.handle([new, plant.audited(f"0.4 old {number}".encode())])
            told = [outcome[0].data.status for outcome in outcomes if isinstance(outcome, list)]
            assert told == ["unscorable", "scored"]


def test_triton_down_is_unavailable_and_the_batch_is_done_later(plant: Plant) -> None:
    audited = plant.audited(b"0.4 later")
    plant.server.down = True
    with pytest.raises(Unavailable, match="connection refused"):
        plant.handler.handle([audited])
    plant.server.down = False
    assert len(plant.handler.handle([audited])[0]) == 1  # type: ignore[arg-type]


def test_releases_switch_and_roll_back_by_event(plant: Plant, signed: Callable[[str], SignedRelease]) -> None:
    audited = plant.audited(b"0.4 part")

    def deciding() -> str:
        outcome = plant.handler.handle([audited])[0]
        assert isinstance(outcome, list)
        return str(outcome[0].data.release)

    first = deciding()
    plant.release(signed("v2"), minutes=1)
    second = deciding()
    plant.roll_back(signed("v1"), signed("v2"), minutes=2)
    assert [first[:3], second[:3], deciding()[:3]] == ["v1-", "v2-", "v1-"]
    plant.keeper.synchronise()
    names = {name[:2] for name in plant.server.loaded_names}
    assert names == {"v1"}


def test_what_was_withdrawn_decides_nothing_even_while_nothing_else_can(
    plant: Plant, signed: Callable[[str], SignedRelease]
) -> None:
    audited = plant.audited(b"0.4 part")
    plant.release(signed("v2"), minutes=1)
    plant.keeper.lost(signed("v1").bundle.release)
    plant.roll_back(signed("v1"), signed("v2"), minutes=2)
    with pytest.raises(Unavailable):
        plant.handler.handle([audited])  # better late than by the wrong model
    plant.keeper.synchronise()
    assert plant.score(audited)[0].release.startswith("v1-")


def test_a_canary_decides_its_share_once_whoever_asks_again(
    plant: Plant, signed: Callable[[str], SignedRelease]
) -> None:
    plant.release(signed("v2"), mode="canary", minutes=1, share=0.4)
    audited = [plant.audited(f"0.{number} part".encode()) for number in range(100, 140)]
    before = [outcome[0] for outcome in plant.handler.handle(audited) if isinstance(outcome, list)]
    done = plant.score(*audited)
    trial = Trial(signed("v2").bundle.release, START, 0.4)
    expected = ["v2-" if trial.takes(e.data.capture_id) else "v1-" for e in audited]
    assert [item.release[:3] for item in done] == expected
    assert [e.data.release[:3] for e in before] == expected
    assert set(expected) == {"v1-", "v2-"} and not any(item.shadow for item in done)
    plant.roll_back(signed("v1"), signed("v2"), minutes=2, mode="canary")
    after = [outcome[0] for outcome in plant.handler.handle(audited) if isinstance(outcome, list)]
    assert {e.data.release[:3] for e in after} == {"v1-"}
    assert [e.id for e in after] == [e.id for e in before]  # so nobody takes a second decision from a replay


def test_a_line_of_its_own_release_and_a_shadow(plant: Plant, signed: Callable[[str], SignedRelease]) -> None:
    plant.release(signed("v2"), line="line-b", minutes=1)
    plant.release(signed("v3"), line="line-a", mode="shadow", minutes=2)
    done = plant.score(plant.audited(b"0.9 a"), plant.audited(b"0.8 b", line="line-b"))
    told = [(item.context.line, item.release[:2], item.shadow) for item in done]
    assert sorted(told) == [("line-a", "v1", False), ("line-a", "v3", True), ("line-b", "v2", False)]
    assert len({e.id for e in events(plant.bus, plant.codec, "inference.completed")}) == 3
    shadow = next(item for item in done if item.shadow)
    assert shadow.heat_map is None and shadow.defect_score == 0.9


def test_what_piled_up_while_we_were_away_waits_for_the_release_that_is_being_loaded(
    server: StubServer, signed: Callable[[str], SignedRelease]
) -> None:
    with ThreadPoolExecutor(2) as workers:
        plant = Plant(server, signed("v1"), workers)
        audited = plant.audited(b"0.4 old")
        plant.clock.advance(3600)  # a deploy, a night without power
        with pytest.raises(Unavailable, match="none can decide"):
            plant.handler.handle([audited])
        plant.release(signed("v1"))
        (done,) = plant.score(audited)
        assert done.status == "scored"
