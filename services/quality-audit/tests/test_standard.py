"""A capture standard held against captures: each field, what nothing shows, and what rejects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from andon_events import records as r
from andon_events.standards import BOUNDED
from quality_audit.adapters.stations import standard_of
from quality_audit.domain.measures import EDGE_DIRECTION, MEASURES, measure, measure_bounded
from quality_audit.domain.standard import REASONS, Shot, compare, numbers_of
from quality_audit.handlers import shot_of

AT = datetime(2026, 3, 1, tzinfo=UTC)
WHOLE: dict[str, Any] = {
    "camera": "cam-1",
    "lens": "25 mm, f/4",
    "width": 96,
    "height": 96,
    "exposure": "4 ms, gain 0 dB",
    "lighting": "dark field, 625 nm",
    "distance_mm": 180.0,
    "angle_deg": 90.0,
    "background": "black felt",
    "part_orientation": "fingers along x",
    "focus": "fixed, on the upper face",
    "trigger_timing": "40 ms after the light barrier",
    "media_types": ["image/png"],
    "mm_per_pixel": 0.05,
}
BOUNDS = {
    "exposure_us": (3900.0, 4100.0),
    "distance_mm": (178.0, 182.0),
    "background_spread": (None, 0.05),
    "orientation_deg": (-2.0, 2.0),
    "sharpness": (0.5, None),
    "trigger_delay_ms": (35.0, 45.0),
}
TOLD = {
    "lens": " 25 MM,  f/4 ",
    "exposure_us": "4000",
    "lighting": "dark field, 625 nm",
    "distance_mm": "181.5",
    "angle_deg": "90",
    "orientation_deg": "359",
    "trigger_delay_ms": "40",
    "mm_per_pixel": "0.05",
}
SHOWN = {"sharpness": 1.2, "background_spread": 0.01}


def station(*rejecting: str, bounds: dict[str, Any] | None = None, **standard: Any) -> r.StationPublished:
    return r.StationPublished(
        line="L1",
        station="S1",
        capture_standard_version="cs-7",
        published_at=AT,
        bounds=[
            r.CaptureBound(name=name, low=low, high=high) for name, (low, high) in (bounds or {}).items()
        ],
        rejection_rules=[r.RejectionRule(reason=reason) for reason in rejecting],
        **standard,
    )


def capture(
    settings: dict[str, str] | None = None, camera: str | None = "cam-1", **known: Any
) -> r.CaptureRecorded:
    image = r.ObjectRef(bucket="images", key="k", sha256="0" * 64, media_type="image/png", size_bytes=1)
    context = r.CaptureContext(line="L1", station="S1", camera=camera, capture_standard_version="cs-7")
    recorded: dict[str, Any] = {
        "capture_id": "c1",
        "context": context,
        "image": r.ImageRef(object=image, width=96, height=96, channels=1, bit_depth=8),
        "received_via": "http",
        "captured_at": AT,
        "received_at": AT + timedelta(milliseconds=250),
        "settings": settings or {},
    }
    return r.CaptureRecorded(**recorded | known)


def held(published: r.StationPublished, taken: r.CaptureRecorded, **measures: float) -> Any:
    return compare(standard_of(published), shot_of(taken, SHOWN | measures))


def test_a_capture_that_proves_all_of_it() -> None:
    found = held(station(bounds=BOUNDS, **WHOLE), capture(TOLD))
    assert (found.deviations, found.unproven, found.rejects) == ([], [], [])


def test_what_nobody_says_is_unproven_and_never_passed() -> None:
    found = held(station(bounds=BOUNDS, **WHOLE), capture(camera=None))
    assert found.deviations == []
    assert set(found.unproven) == {
        "camera",
        "lens",
        "lighting",
        "angle_deg",
        "mm_per_pixel",
        "exposure_us",
        "distance_mm",
        "orientation_deg",
        "trigger_delay_ms",
    }
    words_alone = held(station(**WHOLE), capture())
    assert {"exposure", "background", "part_orientation", "focus", "trigger_timing"} <= set(
        words_alone.unproven
    )


def test_what_was_filled_in_from_the_station_proves_nothing() -> None:
    found = held(station(camera="cam-1"), capture(assumed=["camera", "capture_standard_version"]))
    assert (found.deviations, found.unproven) == ([], ["camera"])


@pytest.mark.parametrize(
    ("changes", "reason", "what", "allowed", "value"),
    [
        ({"camera": "loan"}, "other-camera", "camera", "cam-1", "loan"),
        ({"lens": "35 mm"}, "other-lens", "lens", "25 mm, f/4", "35 mm"),
        ({"exposure_us": "5200"}, "wrong-exposure", "exposure_us", "3900 to 4100", "5200"),
        ({"lighting": "bright field"}, "wrong-lighting", "lighting", "dark field, 625 nm", "bright field"),
        ({"distance_mm": "190"}, "wrong-distance", "distance_mm", "178 to 182", "190"),
        ({"angle_deg": "88.5"}, "wrong-angle", "angle_deg", "90", "88.5"),
        ({"background": "white paper"}, "wrong-background", "background", "black felt", "white paper"),
        ({"background_spread": 0.2}, "wrong-background", "background_spread", "at most 0.05", "0.2"),
        ({"orientation_deg": "12"}, "wrong-orientation", "orientation_deg", "-2 to 2", "12"),
        ({"sharpness": 0.1}, "blurred", "sharpness", "at least 0.5", "0.1"),
        ({"focus": "by hand"}, "out-of-focus", "focus", "fixed, on the upper face", "by hand"),
        ({"trigger_delay_ms": "80"}, "wrong-trigger-timing", "trigger_delay_ms", "35 to 45", "80"),
        ({"mm_per_pixel": "0.06"}, "wrong-scale", "mm_per_pixel", "0.05", "0.06"),
    ],
)
def test_each_deviation_says_what_was_allowed_and_what_was_found(
    changes: dict[str, Any], reason: str, what: str, allowed: str, value: str
) -> None:
    measures = {name: changes.pop(name) for name in list(changes) if isinstance(changes[name], float)}
    camera = changes.pop("camera", "cam-1")
    found = held(station(bounds=BOUNDS, **WHOLE), capture(TOLD | changes, camera), **measures)
    (one,) = found.deviations
    assert (one.reason, one.what, one.allowed, one.found) == (reason, what, allowed, value)
    assert (one.standard_version, one.rejects, found.rejects) == ("cs-7", False, [])
    assert held(
        station(reason, bounds=BOUNDS, **WHOLE), capture(TOLD | changes, camera), **measures
    ).rejects == [reason]


def test_size_and_format_reject_by_themselves() -> None:
    wrong = station(width=64, height=None, media_types=["image/tiff", "image/bmp"])
    found = held(wrong, capture())
    assert found.rejects == ["wrong-resolution", "wrong-format"]
    assert [(one.allowed, one.found) for one in found.deviations] == [
        ("64 x any", "96 x 96"),
        ("image/tiff, image/bmp", "image/png"),
    ]


def test_another_version_is_a_deviation_of_its_own() -> None:
    context = r.CaptureContext(line="L1", station="S1", capture_standard_version="cs-6")
    (one,) = held(station(), capture(context=context)).deviations
    assert (one.reason, one.allowed, one.found) == ("other-standard-version", "cs-7", "cs-6")


def test_what_is_unproven_rejects_only_where_the_standard_says_so() -> None:
    assert held(station(lens="25 mm"), capture()).rejects == []
    assert held(station("unproven", lens="25 mm"), capture()).rejects == ["unproven"]
    assert held(station("unproven", lens="25 mm"), capture({"lens": "25 mm"})).rejects == []


def test_a_rejection_rule_that_only_a_person_can_apply_is_unproven() -> None:
    assert held(station("fingerprint"), capture()).unproven == ["rejection_rules"]
    assert held(station("blurred", "other-lens"), capture()).unproven == []


def test_a_bound_of_a_later_release_is_unproven() -> None:
    assert held(station(bounds={"polarisation_deg": (0.0, 1.0)}), capture()).unproven == ["polarisation_deg"]


@pytest.mark.parametrize("said", ["about 4 ms", "nan", "inf", ""])
def test_a_number_that_is_none_was_not_said(said: str) -> None:
    assert numbers_of({"exposure_us": said, "lens": "25 mm"}) == {}
    found = held(station(bounds={"exposure_us": (1.0, 2.0)}), capture({"exposure_us": said}))
    assert found.unproven == ["exposure_us"]


def test_the_time_from_the_trigger_is_known_where_its_clock_was_believed() -> None:
    slow = station(bounds={"transfer_ms": (0.0, 200.0)})
    (one,) = held(slow, capture()).deviations
    assert (one.reason, one.found) == ("wrong-trigger-timing", "250")
    assert held(slow, capture(missing=["captured_at"])).unproven == ["transfer_ms"]


@pytest.mark.parametrize(
    ("angle", "holds"), [("358", True), ("-2", True), ("362", True), ("3", False), ("182", False)]
)
def test_angles_come_round(angle: str, holds: bool) -> None:
    found = held(station(bounds={"angle_deg": (-2.0, 2.0)}), capture({"angle_deg": angle}))
    assert (found.deviations == []) is holds


def test_an_older_event_lays_down_no_more_than_it_did() -> None:
    standard = standard_of(
        r.StationPublished.from_avro(
            {"line": "L1", "station": "S1", "capture_standard_version": "1", "published_at": AT, "width": 96}
        )
    )
    shot = Shot("1", None, 96, 96, "image/png")
    assert (compare(standard, shot).deviations, compare(standard, shot).unproven) == ([], [])


def test_every_bound_has_a_field_with_a_reason() -> None:
    assert set(BOUNDED.values()) <= REASONS.keys()
    assert set(MEASURES) <= BOUNDED.keys()


class TestFurtherMeasures:
    def test_only_what_is_bounded_is_measured(self) -> None:
        grey = np.full((100, 100), 51, dtype=np.uint8)
        grey[10:90, 10:90] = 200
        assert measure_bounded(grey, frozenset()) == {}
        assert measure_bounded(grey, {"background_level"}) == {"background_level": pytest.approx(0.2)}
        assert measure_bounded(grey, {"background_spread"})["background_spread"] == pytest.approx(0.0)
        assert not measure_bounded(grey, {"background_level"}).keys() & measure(grey).keys()

    def test_an_uneven_background_spreads(self) -> None:
        grey = np.tile(np.linspace(0, 255, 100).astype(np.uint8), (100, 1))
        assert measure_bounded(grey, {"background_spread"})["background_spread"] > 0.25

    @pytest.mark.parametrize("degrees", [0.0, 30.0, 90.0, 135.0])
    def test_the_direction_of_edges(self, degrees: float) -> None:
        y, x = np.mgrid[0:400, 0:400].astype(np.float64)
        across = np.radians(degrees + 90.0)
        wave = np.sin((x * np.cos(across) - y * np.sin(across)) / 8.0)
        grey = (wave * 100 + 128).astype(np.uint8)
        found = measure_bounded(grey, {EDGE_DIRECTION})[EDGE_DIRECTION]
        assert min(abs(found - degrees), 180.0 - abs(found - degrees)) < 1.0

    def test_noise_and_nothing_have_no_direction(self) -> None:
        noise = np.random.default_rng(1).integers(0, 255, (320, 320), dtype=np.uint8)
        for grey in (noise, np.zeros((320, 320), dtype=np.uint8), np.zeros((2, 320), dtype=np.uint8)):
            assert measure_bounded(grey, {EDGE_DIRECTION}) == {}
