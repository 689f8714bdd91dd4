"""Capture standards: versioned, locked, and held against what the line really delivers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from andon_chassis.testing import context
from andon_events import records as r
from dataset_registry.domain.refusals import Refused
from dataset_registry.domain.standards import (
    check_unlocked,
    complete,
    deviation_counts,
    gaps,
    standard_of,
    violations,
)

from .conftest import Registry
from .test_registry_api import problem

HERE = "/v1/stations/line-a/cell-1"
STANDARD: dict[str, Any] = {
    "capture_standard_version": "1",
    "camera": "acA2440",
    "lens": "25 mm, f/4",
    "width": 300,
    "height": 300,
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
    "bounds": [{"name": "exposure_us", "low": 3900.0, "high": 4100.0}],
    "rejection_rules": [{"reason": "blurred", "rule": "edges of the busbar wider than 3 px"}],
    "takt_ms": 800,
}


class TestRules:
    def test_takt_and_variants_are_no_part_of_the_standard(self) -> None:
        assert standard_of(STANDARD) == standard_of(STANDARD | {"takt_ms": 5, "validated_variants": ["poly"]})

    def test_a_document_of_an_earlier_release_lacks_fields(self) -> None:
        old = {"capture_standard_version": "1", "takt_ms": 1000, "media_types": []}
        assert complete(old)["rejection_rules"] == []
        assert gaps(old | {"camera": "c"}) == [
            name for name in standard_of(old) if name not in ("camera", "bounds")
        ]
        assert gaps(STANDARD) == []
        assert gaps(STANDARD | {"bounds": []}) == [], "numbers sharpen a field, they are none"

    def test_a_locked_version_says_what_changed(self) -> None:
        lock = {"locked_by": "olga"}
        check_unlocked("1", lock, STANDARD, STANDARD | {"takt_ms": 5})
        check_unlocked("1", None, STANDARD, STANDARD | {"lens": "35 mm"})
        with pytest.raises(Refused, match=r"olga; give the change of lens, exposure") as refused:
            check_unlocked("1", lock, STANDARD, STANDARD | {"lens": "35 mm", "exposure": None})
        assert refused.value.reason == "standard-locked"

    def test_counts_by_version(self) -> None:
        rows = [
            {"standard_version": "1", "kind": "missing", "reason": "batch", "captures": 2},
            {"standard_version": "1", "kind": "rejected", "reason": "blurred", "captures": 5},
        ]
        captured = [
            {"standard_version": None, "camera": None, "captures": 3},
            {"standard_version": "1", "camera": "a", "captures": 6},
            {"standard_version": "1", "camera": "b", "captures": 4},
        ]
        first, second = deviation_counts(rows, captured)
        assert (first["standard_version"], first["captures"]) == ("1", 10)
        assert [(d["reason"], d["share"]) for d in first["deviations"]] == [("blurred", 0.5), ("batch", 0.2)]
        assert (second["standard_version"], second["deviations"]) == (None, [])

    def test_what_a_standard_does_not_allow(self) -> None:
        def row(version: str | None, camera: str | None) -> dict[str, Any]:
            return {"standard_version": version, "camera": camera, "captures": 1}

        captured = [
            row("1", "a"),
            row("1", "b"),
            row("1", None),
            row("2", "b"),
            row("9", "a"),
            row(None, "a"),
        ]
        found = violations(captured, {"1": {"camera": "a"}, "2": {"camera": None}})
        assert [(v["standard_version"], v["camera"], v["reason"]) for v in found] == [
            ("1", "b", "other-camera"),
            ("9", "a", "unknown-version"),
        ]


class TestStations:
    def put(self, registry: Registry, **changes: Any) -> Any:
        return registry.http.put(HERE, json={**STANDARD, "published_by": "emil", **changes})

    def lock(self, registry: Registry, version: str = "1", by: str = "olga") -> Any:
        body = {"capture_standard_version": version, "locked_by": by, "note": "measured on 40 parts"}
        return registry.http.post(f"{HERE}/lock", json=body)

    def test_all_of_it_is_kept_and_what_others_need_is_announced(self, registry: Registry) -> None:
        assert [self.put(registry).status_code for _ in range(2)] == [201, 200]
        (station,) = registry.get("/v1/stations")["items"]
        assert {name: station[name] for name in STANDARD} == STANDARD
        (event,) = registry.published("station.published")
        assert (event.camera, event.width, event.media_types, event.takt_ms) == (
            "acA2440",
            300,
            ["image/png"],
            800,
        )
        assert (event.lens, event.exposure, event.distance_mm, event.mm_per_pixel) == (
            "25 mm, f/4",
            "4 ms, gain 0 dB",
            180.0,
            0.05,
        )
        assert event.bounds == [r.CaptureBound(name="exposure_us", low=3900.0, high=4100.0)]
        assert event.rejection_rules == [
            r.RejectionRule(reason="blurred", rule="edges of the busbar wider than 3 px")
        ]

    def test_a_lock_makes_a_version_immutable_and_names_who(self, registry: Registry) -> None:
        self.put(registry)
        assert [self.lock(registry).status_code for _ in range(2)] == [201, 200]
        problem(self.lock(registry, by="emil"), 409, "standard-locked")
        problem(self.put(registry, lens="35 mm"), 409, "standard-locked")
        assert self.put(registry, takt_ms=900).status_code == 201
        assert self.put(registry, lens="35 mm", capture_standard_version="2").status_code == 201
        assert self.put(registry, takt_ms=900).status_code == 201  # back to what was locked
        problem(self.put(registry, exposure="8 ms"), 409, "standard-locked")

    def test_an_unlocked_version_may_still_change(self, registry: Registry) -> None:
        self.put(registry)
        assert self.put(registry, lens="35 mm").status_code == 201

    def test_only_what_was_published_is_locked(self, registry: Registry) -> None:
        problem(self.lock(registry), 404, "unknown-capture-standard")
        self.put(registry)
        problem(self.lock(registry, "2"), 404, "unknown-capture-standard")

    def test_the_history(self, registry: Registry) -> None:
        for version in "123":
            self.put(registry, capture_standard_version=version, lens=None if version == "3" else "25 mm")
            registry.clock.advance(60)
        self.lock(registry, "2")
        first = registry.get(f"{HERE}/history", limit=2)
        rest = registry.get(f"{HERE}/history", limit=2, cursor=first["next_cursor"])
        assert rest["next_cursor"] is None
        assert [
            (v["capture_standard_version"], v["locked_by"], v["gaps"]) for v in first["items"] + rest["items"]
        ] == [("3", None, ["lens"]), ("2", "olga", []), ("1", None, [])]

    def test_a_senseless_standard_is_refused(self, registry: Registry) -> None:
        problem(self.put(registry, mm_per_pixel=0), 422, "invalid-request")
        problem(self.put(registry, angle_deg=400), 422, "invalid-request")
        problem(self.put(registry, takt_ms=2**31), 422, "invalid-request")
        problem(self.put(registry, rejection_rules=[{"rule": "no reason"}]), 422, "invalid-request")
        bound = {"name": "gain_db", "low": 0.0}
        for wrong in (
            [{"name": "gain_db"}],
            [bound | {"high": -1.0}],
            [bound, bound],
            [bound | {"name": "mood"}],
        ):
            problem(self.put(registry, bounds=wrong), 422, "invalid-request")


class TestDeviations:
    def deviations(self, registry: Registry, **query: Any) -> Any:
        registry.clock.advance(1)
        return registry.get(f"{HERE}/deviations", **query)["versions"]

    def audited(self, registry: Registry, trigger: str, verdict: str, *reasons: str, **known: Any) -> None:
        taken = context(station="cell-1", **{"capture_standard_version": "1", "camera": "acA2440"} | known)
        evidence = r.Evidence(audit_verdict=verdict, policy_version="p1")
        decided = registry.decided(
            trigger, "hold", context=taken, evidence=evidence, reasons=[f"audit-{verdict}", *reasons]
        )
        registry.take(decided)

    @pytest.fixture(autouse=True)
    def published(self, registry: Registry) -> None:
        assert registry.http.put(HERE, json=STANDARD).status_code == 201

    def test_what_names_another_camera_or_standard(self, registry: Registry) -> None:
        self.audited(registry, "1", "accepted", "confident", camera="loan")
        self.audited(registry, "2", "accepted", "confident", capture_standard_version="0")
        found = {v["standard_version"]: v["deviations"] for v in self.deviations(registry)}
        assert [(d["kind"], d["reason"]) for d in found["1"]] == [("violated", "other-camera")]
        assert [(d["kind"], d["reason"]) for d in found["0"]] == [("violated", "unknown-version")]

    def test_what_the_audit_rejected_and_doubted(self, registry: Registry) -> None:
        self.audited(registry, "1", "rejected", "blurred", "low-contrast")
        self.audited(registry, "2", "rejected", "blurred")
        self.audited(registry, "3", "ambiguous", "cropped")
        self.audited(registry, "4", "accepted", "confident")
        (version,) = self.deviations(registry)
        assert (version["standard_version"], version["captures"]) == ("1", 4)
        assert [(d["kind"], d["reason"], d["captures"], d["share"]) for d in version["deviations"]] == [
            ("rejected", "blurred", 2, 0.5),
            ("ambiguous", "cropped", 1, 0.25),
            ("rejected", "low-contrast", 1, 0.25),
        ]

    def test_what_deviates_without_being_rejected_and_what_nothing_proves(self, registry: Registry) -> None:
        def deviation(reason: str, rejects: bool = False) -> r.Deviation:
            return r.Deviation(
                reason=reason,
                field="exposure",
                what="exposure_us",
                standard_version="1",
                allowed="3900 to 4100",
                found="5000",
                rejects=rejects,
            )

        found = [deviation("wrong-exposure"), deviation("wrong-exposure"), deviation("other-camera")]
        evidence = r.Evidence(
            audit_verdict="accepted", policy_version="p1", deviations=found, unproven=["lens", "gain_db"]
        )
        taken = context(station="cell-1", capture_standard_version="1", camera="acA2440")
        registry.take(registry.decided("1", "pass", context=taken, evidence=evidence))
        self.audited(registry, "2", "rejected", "wrong-exposure")
        (version,) = self.deviations(registry)
        assert [(d["kind"], d["reason"], d["captures"]) for d in version["deviations"]] == [
            ("deviating", "wrong-exposure", 1),
            ("rejected", "wrong-exposure", 1),
            ("unproven", "gain_db", 1),
            ("unproven", "lens", 1),
        ]

    def test_a_correction_is_no_second_deviation(self, registry: Registry) -> None:
        self.audited(registry, "1", "rejected", "blurred")
        registry.take(registry.decided("1", "pass", revision=2))
        (version,) = self.deviations(registry)
        assert [d["captures"] for d in version["deviations"]] == [1]

    def test_what_is_missing_of_the_context(self, registry: Registry) -> None:
        for trigger, missing in (("1", ["operator", "batch"]), ("2", ["operator"])):
            taken = registry.captured(trigger, capture_standard_version="1", camera="acA2440")
            registry.take(replace(taken, data=replace(taken.data, missing=missing)))
        (version,) = self.deviations(registry)
        assert [(d["kind"], d["reason"], d["captures"]) for d in version["deviations"]] == [
            ("missing", "operator", 2),
            ("missing", "batch", 1),
        ]

    def test_the_time_can_be_said(self, registry: Registry) -> None:
        self.audited(registry, "1", "rejected", "blurred")
        registry.clock.advance(8 * 86400)
        assert self.deviations(registry) == []
        assert self.deviations(registry, until="0001-01-01T00:00:00+14:00") == []
        since = registry.clock.now().replace(year=2025).isoformat()
        assert len(self.deviations(registry, since=since)) == 1
