"""The handler with a real decoder and an in-memory store: verdicts, replays, restarts, what never works."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_chassis.clock import FakeClock
from andon_chassis.errors import Unavailable
from andon_chassis.events import Event, Outcome, Rejected, deterministic_id, event
from andon_chassis.objects import IMAGES, MemoryObjectStore
from andon_events import records as r
from andon_vision import DEFAULT_LIMITS, sniff_image
from prometheus_client import REGISTRY
from quality_audit.adapters.images import StoredImages
from quality_audit.adapters.stations import Stations
from quality_audit.adapters.vision import looker
from quality_audit.domain import station as station_module
from quality_audit.domain.limits import ABSOLUTE, LearningSettings
from quality_audit.handlers import Auditor, MemorySettings

Pixels = npt.NDArray[np.uint8]
AT = datetime(2026, 3, 1, tzinfo=UTC)
SETTINGS = MemorySettings(LearningSettings(window=60, warm_up=20), recent=80, events=500)


def part(seed: int, side: int = 96) -> Pixels:
    """A part of its own."""
    rng = np.random.default_rng(seed)
    layers = [
        cv2.resize(rng.normal(0, 20, (n, n)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
        for n in (6, 20, 48)
    ]
    return np.clip(sum(layers) + 120, 0, 255).astype(np.uint8)


def png(pixels: npt.NDArray[Any]) -> bytes:
    done, data = cv2.imencode(".png", pixels)
    assert done
    return data.tobytes()


class Plant:
    """A store, registered stations and an auditor that can be restarted."""

    def __init__(self) -> None:
        self.store = MemoryObjectStore()
        self.stations = Stations()
        self.auditor = self._auditor()
        self.published: list[Event[Any]] = []

    def _auditor(self) -> Auditor:
        return Auditor(
            source="quality-audit",
            clock=FakeClock(),
            images=StoredImages(self.store, 4),
            look=looker(DEFAULT_LIMITS),
            standard_of=self.stations.standard_of,
            settings=SETTINGS,
        )

    def register(self, station: str = "S1", **standard: Any) -> None:
        published = r.StationPublished(
            line="L1", station=station, capture_standard_version="cs-1", published_at=AT, **standard
        )
        self.stations.apply(event(published, source="test", key=f"L1/{station}", time=AT, cause=station))

    def capture(
        self, data: bytes, trigger: str = "", station: str = "S1", variant: str | None = None
    ) -> Event[r.CaptureRecorded]:
        """An image as capture-ingest records it."""
        ref = self.store.put(IMAGES, data, "image/png")
        try:
            header = sniff_image(data)
            size = (header.width, header.height)
        except ValueError:
            size = (1, 1)
        image = r.ImageRef(object=ref, width=size[0], height=size[1], channels=1, bit_depth=8)
        capture_id = deterministic_id("capture", "L1", station, trigger or ref.sha256)
        recorded = r.CaptureRecorded(
            capture_id=capture_id,
            context=r.CaptureContext(line="L1", station=station, product_variant=variant),
            image=image,
            received_via="http",
            captured_at=AT,
            received_at=AT,
        )
        return event(recorded, source="capture-ingest", key=f"L1/{station}", time=AT, cause=capture_id)

    def audit(self, *captures: Event[Any]) -> list[r.CaptureAudited]:
        outcomes = self.auditor.handle(captures)
        audited = [self._only(o) for o in outcomes]
        self.published += audited
        return [e.data for e in audited]

    @staticmethod
    def _only(outcome: Outcome) -> Event[Any]:
        assert not isinstance(outcome, Rejected)
        (one,) = outcome
        return one

    def restart(self) -> None:
        """A new process that reads back what was published."""
        self.auditor = self._auditor()
        self.auditor.restore(0, self.published[-SETTINGS.events :])

    def knows(self, data: bytes, station: str = "S1") -> bool:
        """Whether these bytes are remembered of a station."""
        (audited,) = self.audit(self.capture(data, str(uuid.uuid4()), station=station))
        return audited.duplicate_of is not None

    def warm_up(self, count: int = 40, station: str = "S1", variant: str | None = None) -> None:
        first = 1000 if variant is None else 5000
        images = [png(part(n)) for n in range(first, first + count)]
        results = self.audit(*(self.capture(data, station=station, variant=variant) for data in images))
        assert sum(a.verdict == "accepted" for a in results) >= count * 0.9


@pytest.fixture
def plant() -> Plant:
    made = Plant()
    made.register()
    return made


def test_a_good_image_is_accepted_with_its_measures_and_hash(plant: Plant) -> None:
    capture = plant.capture(png(part(1)))
    (audited,) = plant.audit(capture)
    assert audited.verdict == "accepted" and audited.reasons == []
    assert set(audited.measures) >= {
        "sharpness",
        "brightness",
        "contrast",
        "over_fraction",
        "border_fraction",
    }
    assert audited.perceptual_hash is not None and len(audited.perceptual_hash) == 16
    assert audited.limits_version == ABSOLUTE.version
    assert audited.captured_at == capture.data.captured_at and audited.context == capture.data.context
    sent = plant.published[0]
    assert (sent.topic, sent.key) == ("capture.audited", "L1/S1")


def blurred(p: Pixels) -> Any:
    return cv2.GaussianBlur(p, (0, 0), 1.5)


def over(p: Pixels) -> Any:
    return np.clip(p.astype(np.float32) * 1.6 + 110, 0, 255).astype(np.uint8)


def under(p: Pixels) -> npt.NDArray[Any]:
    return (p * 0.12).astype(np.uint8)


def slid(p: Pixels) -> npt.NDArray[Any]:
    out = np.zeros_like(p)
    out[:, :50] = p[:, -50:]
    return out


def flat(p: Pixels) -> npt.NDArray[Any]:
    return (p * 0.1 + 110).astype(np.uint8)


@pytest.mark.parametrize(
    ("spoil", "reason", "first"),
    [
        (over, "over-exposed", "over-exposed"),
        (under, "under-exposed", "under-exposed"),
        (slid, "cropped", "cropped"),
        (flat, "low-contrast", "low-contrast"),
        # these parts are all fine texture: without it little contrast is left
        (blurred, "blurred", "low-contrast"),
    ],
)
def test_each_kind_of_bad_image_is_rejected_with_its_reason(
    plant: Plant, spoil: Any, reason: str, first: str
) -> None:
    plant.warm_up()
    (audited,) = plant.audit(plant.capture(png(spoil(part(7)))))
    assert audited.verdict == "rejected"
    assert reason in audited.reasons
    assert audited.reasons[0] == first


def test_an_image_between_the_limits_goes_to_a_person(plant: Plant) -> None:
    plant.warm_up()
    verdicts = [
        plant.audit(plant.capture(png((part(2000 + n) * gain).astype(np.uint8))))[0]
        for n, gain in enumerate(np.arange(0.95, 0.4, -0.01))
    ]
    doubtful = [v for v in verdicts if v.verdict == "ambiguous"]
    assert doubtful and all(set(v.reasons) <= {"under-exposed", "low-contrast"} for v in doubtful)
    assert verdicts[-1].verdict == "rejected"


def test_the_limits_that_judged_are_kept_under_their_version(plant: Plant) -> None:
    plant.warm_up()
    (audited,) = plant.audit(plant.capture(png(part(3))))
    version = audited.limits_version
    assert version is not None and version != ABSOLUTE.version
    assert plant.store.objects["derived", f"{version[:2]}/{version}"].startswith(b'{"bounds":')


def test_identical_bytes_with_another_trigger_are_a_duplicate(plant: Plant) -> None:
    data = png(part(1))
    first, second = plant.audit(plant.capture(data, "t1"), plant.capture(data, "t2"))
    assert first.verdict == "accepted"
    assert (second.verdict, second.reasons, second.duplicate_of) == (
        "rejected",
        ["duplicate"],
        first.capture_id,
    )


def twin_jpeg(p: Pixels) -> Any:
    return cv2.imdecode(cv2.imencode(".jpg", p, [cv2.IMWRITE_JPEG_QUALITY, 80])[1], cv2.IMREAD_GRAYSCALE)


def twin_noise(p: Pixels) -> npt.NDArray[Any]:
    return np.clip(p + np.random.default_rng(0).normal(0, 2, p.shape), 0, 255).astype(np.uint8)


def twin_exposure(p: Pixels) -> npt.NDArray[Any]:
    return (p * 0.93).astype(np.uint8)


@pytest.mark.parametrize("twin", [twin_jpeg, twin_noise, twin_exposure])
def test_the_same_picture_again_is_a_near_duplicate(plant: Plant, twin: Any) -> None:
    first, second = plant.audit(plant.capture(png(part(1))), plant.capture(png(twin(part(1)))))
    assert second.verdict == "rejected"
    assert "near-duplicate" in second.reasons and second.duplicate_of == first.capture_id


def test_a_near_duplicate_is_found_after_a_restart_too(plant: Plant) -> None:
    (first,) = plant.audit(plant.capture(png(part(1))))
    plant.restart()
    (second,) = plant.audit(plant.capture(png(twin_noise(part(1)))))
    assert second.duplicate_of == first.capture_id


def test_a_part_taken_again_after_a_bad_image_is_not_a_near_duplicate(plant: Plant) -> None:
    plant.warm_up()
    bad, again = plant.audit(plant.capture(png(under(part(1)))), plant.capture(png(part(1))))
    assert bad.verdict == "rejected"
    assert again.verdict == "accepted"


def test_another_station_may_see_the_same_picture(plant: Plant) -> None:
    plant.register("S2")
    data = png(part(1))
    _, other = plant.audit(plant.capture(data), plant.capture(data, station="S2"))
    assert other.verdict == "accepted"


def test_the_same_capture_again_is_a_replay_with_the_same_answer(plant: Plant) -> None:
    capture = plant.capture(png(part(1)))
    plant.audit(capture, capture)
    plant.audit(capture)
    assert {dataclasses.astuple(e.data) for e in map(_frozen, plant.published)} == {
        dataclasses.astuple(_frozen(plant.published[0]).data)
    }
    assert len({e.id for e in plant.published}) == 1


def _frozen(e: Event[Any]) -> Event[Any]:
    """With hashable collections."""
    lists = {name: tuple(getattr(e.data, name)) for name in ("reasons", "deviations", "unproven")}
    data = dataclasses.replace(e.data, **lists, measures=tuple(e.data.measures.items()))
    return dataclasses.replace(e, data=data)


def test_a_restart_changes_no_verdict_and_no_limits() -> None:
    stream = [part(n) for n in range(120)]
    stream[60], stream[90] = blurred(stream[60]), twin_noise(stream[88])

    def run(restarts: Sequence[int]) -> list[tuple[Any, ...]]:
        plant = Plant()
        plant.register()
        answers = []
        for number, image in enumerate(stream):
            if number in restarts:
                plant.restart()
            (a,) = plant.audit(plant.capture(png(image)))
            answers.append((a.capture_id, a.verdict, a.reasons, a.duplicate_of, a.limits_version))
        return answers

    steady = run([])
    assert {a[1] for a in steady} >= {"accepted", "rejected"}
    assert run([25, 61, 89, 90, 118]) == steady


def test_events_of_an_earlier_release_do_not_stop_the_memory_from_being_rebuilt(plant: Plant) -> None:
    plant.audit(*(plant.capture(png(part(n))) for n in range(30)))
    old = plant.published[5]
    data = dataclasses.replace(old.data, measures={"brightness": 0.5}, perceptual_hash="ab")
    plant.published[5] = dataclasses.replace(old, data=data)
    plant.restart()
    (audited,) = plant.audit(plant.capture(png(part(99))))
    assert audited.verdict == "accepted"
    assert audited.limits_version not in (None, ABSOLUTE.version)


def test_a_new_variant_is_not_measured_against_the_old_ones_limits(plant: Plant) -> None:
    plant.warm_up()
    dark_variant = (part(9) * 0.4).astype(np.uint8)
    (as_old,) = plant.audit(plant.capture(png(dark_variant), "a"))
    (as_new,) = plant.audit(plant.capture(png((part(10) * 0.4).astype(np.uint8)), "b", variant="mono"))
    assert as_old.verdict != "accepted"
    assert as_new.verdict == "accepted"


def test_an_unregistered_station_is_rejected_by_name_and_measured_all_the_same(plant: Plant) -> None:
    (audited,) = plant.audit(plant.capture(png(part(1)), station="S9"))
    assert (audited.verdict, audited.reasons) == ("rejected", ["unregistered-station"])
    assert audited.measures


def test_the_capture_standard_is_kept(plant: Plant) -> None:
    plant.register("S3", width=96, height=96, media_types=["image/png"])
    plant.register("S4", width=64, height=96, media_types=["image/tiff"])
    good, bad = plant.audit(
        plant.capture(png(part(1)), station="S3"), plant.capture(png(part(1)), station="S4")
    )
    assert good.verdict == "accepted"
    assert (bad.verdict, bad.reasons) == ("rejected", ["wrong-resolution", "wrong-format"])


def test_a_deviation_is_counted_or_rejects_as_the_standard_says(plant: Plant) -> None:
    plant.register("S5", lens="25 mm")
    plant.register("S6", lens="25 mm", rejection_rules=[r.RejectionRule(reason="other-lens")])
    for station, verdict, reasons in (("S5", "accepted", []), ("S6", "rejected", ["other-lens"])):
        taken = plant.capture(png(part(1)), station=station)
        told = dataclasses.replace(taken, data=dataclasses.replace(taken.data, settings={"lens": "35 mm"}))
        (audited,) = plant.audit(told)
        assert (audited.verdict, audited.reasons) == (verdict, reasons)
        (deviation,) = audited.deviations
        assert (deviation.reason, deviation.standard_version) == ("other-lens", "cs-1")
        assert (deviation.allowed, deviation.found, deviation.rejects) == ("25 mm", "35 mm", bool(reasons))
        labels = {"line": "L1", "station": station, "reason": "other-lens"}
        assert REGISTRY.get_sample_value("andon_audit_deviations_total", labels) == 1.0


def test_what_a_capture_does_not_say_is_named_and_does_not_reject(plant: Plant) -> None:
    plant.register("S5", lens="25 mm", distance_mm=180.0, camera="cam-1")
    (audited,) = plant.audit(plant.capture(png(part(1)), station="S5"))
    assert (audited.verdict, audited.deviations) == ("accepted", [])
    assert audited.unproven == ["camera", "lens", "distance_mm"]


def test_a_bounded_measure_is_part_of_the_evidence(plant: Plant) -> None:
    bound = r.CaptureBound(name="background_spread", low=None, high=0.0)
    plant.register("S5", bounds=[bound], rejection_rules=[r.RejectionRule(reason="wrong-background")])
    (audited,) = plant.audit(plant.capture(png(part(1)), station="S5"))
    assert audited.reasons == ["wrong-background"]
    assert audited.measures["background_spread"] > 0
    (elsewhere,) = plant.audit(plant.capture(png(part(1))))
    assert "background_spread" not in elsewhere.measures


def test_a_reason_of_the_standard_and_of_the_limits_is_named_once(plant: Plant) -> None:
    sharp = r.CaptureBound(name="sharpness", low=9.0, high=None)
    plant.register("S5", bounds=[sharp], rejection_rules=[r.RejectionRule(reason="blurred")])
    (audited,) = plant.audit(plant.capture(png(blurred(part(1))), station="S5"))
    assert audited.reasons.count("blurred") == 1


@pytest.mark.parametrize("cut", [40, 200, -20])
def test_an_image_that_cannot_be_decoded_is_rejected_as_unreadable(plant: Plant, cut: int) -> None:
    (audited,) = plant.audit(plant.capture(png(part(1))[:cut]))
    assert (audited.verdict, audited.reasons, audited.measures) == ("rejected", ["unreadable"], {})
    assert audited.perceptual_hash is None


def test_colour_and_16_bit_images_are_audited(plant: Plant) -> None:
    colour = np.dstack([part(1), part(1), part(2)])
    deep = part(3).astype(np.uint16) * 257
    for result in plant.audit(plant.capture(png(colour)), plant.capture(png(deep))):
        assert result.verdict == "accepted"


def test_a_part_whose_image_is_missing_or_altered_gets_its_verdict_all_the_same(plant: Plant) -> None:
    good, missing, changed = (plant.capture(png(part(n))) for n in (1, 2, 3))
    del plant.store.objects["images", missing.data.image.object.key]
    plant.store.objects["images", changed.data.image.object.key] = b"x" * changed.data.image.object.size_bytes
    audited = plant.audit(missing, good, changed)
    assert [(a.verdict, a.reasons) for a in audited] == [
        ("rejected", ["missing-object"]),
        ("accepted", []),
        ("rejected", ["wrong-hash"]),
    ]


class AwayStore(MemoryObjectStore):
    """Answers nothing while it is away."""

    away = False

    def get(self, ref: r.ObjectRef) -> bytes:
        if self.away:
            raise Unavailable("object store", "connection refused")
        return super().get(ref)


def test_a_store_that_is_away_leaves_no_trace_and_the_batch_is_tried_again(plant: Plant) -> None:
    plant.store = AwayStore()
    plant.auditor = plant._auditor()
    captures = [plant.capture(png(part(n))) for n in range(5)]
    plant.store.away = True
    with pytest.raises(Unavailable):
        plant.auditor.handle(captures)
    plant.store.away = False
    assert [a.verdict for a in plant.audit(*captures)] == ["accepted"] * 5


def test_a_forgotten_partition_leaves_nothing_behind(plant: Plant) -> None:
    data = png(part(1))
    plant.audit(plant.capture(data, "t1"))
    plant.restart()
    plant.auditor.forget(0)
    plant.auditor.restore(0, [])
    (again,) = plant.audit(plant.capture(data, str(uuid.UUID(int=1))))
    assert again.verdict == "accepted"


def test_a_station_that_appeared_later_goes_with_the_partition_too(plant: Plant) -> None:
    data = png(part(1))
    plant.auditor.restore(0, [])
    plant.audit(plant.capture(data, "t1"))
    plant.auditor.forget(0)
    plant.auditor.restore(0, [])
    assert not plant.knows(data)


def test_a_station_goes_at_the_latest_with_the_last_partition_it_may_lie_on(plant: Plant) -> None:
    data = png(part(1))
    for number in (0, 1):
        plant.auditor.restore(number, [])
    plant.audit(plant.capture(data, "t1"))
    plant.auditor.forget(0)
    assert plant.knows(data)  # no event says where it lies: it may be the other one
    plant.auditor.forget(1)
    plant.auditor.restore(1, [])
    assert not plant.knows(data)


def test_a_batch_that_came_to_nothing_leaves_nothing_behind(plant: Plant) -> None:
    plant.register("S2")
    data = png(part(1))
    for number in (0, 1):
        plant.auditor.restore(number, [])
    plant.audit(plant.capture(data, "t1"))
    plant.audit(plant.capture(data, "t2", station="S2"))
    plant.auditor.restore(1, [])  # the transaction of the last batch was aborted
    assert plant.knows(data, "S1")
    assert not plant.knows(data, "S2")


def test_an_answer_that_was_published_twice_is_remembered_once(plant: Plant) -> None:
    """A relay sends again what it had sent when it was killed, and there is no inbox here."""
    first = plant.capture(png(part(1)))
    plant.audit(first)
    plant.audit(first)
    plant.restart()
    plant.audit(*(plant.capture(png(part(100 + n))) for n in range(SETTINGS.recent - 1)))
    (twin,) = plant.audit(plant.capture(png(twin_noise(part(1)))))
    assert twin.duplicate_of == first.data.capture_id


def test_a_repeat_whose_answer_is_forgotten_within_its_batch_is_audited_again(plant: Plant) -> None:
    known = plant.capture(png(part(1)))
    plant.audit(known)
    others = [plant.capture(png(part(100 + n))) for n in range(SETTINGS.recent)]
    *_, again = plant.audit(*others, known)
    assert (again.capture_id, again.verdict) == (known.data.capture_id, "accepted")


def verdicts_counted(station: str) -> float:
    """Rejected images of one label."""
    line = station if station == "unregistered" else "L1"
    labels = {"line": line, "station": station, "verdict": "rejected"}
    return REGISTRY.get_sample_value("andon_audit_verdicts_total", labels) or 0.0


def test_names_nobody_registered_leave_no_memory_and_share_a_label(plant: Plant) -> None:
    before = verdicts_counted("unregistered")
    audited = plant.audit(*(plant.capture(png(part(1)), station=f"invented-{n}") for n in range(5)))
    assert all(a.reasons == ["unregistered-station"] for a in audited)
    assert plant.auditor._stations == {}
    assert verdicts_counted("unregistered") == before + 5
    assert verdicts_counted("invented-0") == 0
    plant.register("invented-0")
    plant.restart()
    assert plant.auditor._stations == {}  # as in the process that audited them
    assert not plant.knows(png(part(1)), "invented-0")


def test_a_serial_number_as_the_variant_does_not_fill_the_memory(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(station_module, "VARIANTS_MOST", 3)
    plant.audit(*(plant.capture(png(part(n)), variant=f"serial-{n}") for n in range(6)))
    plant.audit(plant.capture(png(part(7)), variant="serial-4"))
    plant.audit(plant.capture(png(part(8)), variant="serial-6"))
    (station,) = plant.auditor._stations.values()
    assert list(station.memory._learners) == ["serial-5", "serial-4", "serial-6"]
