"""Each rule: what fires it, what does not, what it says."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from feedback_collector.domain.observations import Observation
from feedback_collector.domain.signals import EVIDENCE_MOST, Signal
from feedback_collector.domain.station import Station
from feedback_collector.domain.thresholds import Thresholds
from feedback_collector.testing import (
    FACTS,
    HOUR_MS,
    LIMITS,
    START_MS,
    audited,
    capture_id,
    decided,
    found,
    observe,
    rejected,
    reviewed,
    scored,
)


def kinds(raised: list[Signal]) -> list[str]:
    return [signal.kind for signal in raised]


class TestFalseRejectSpike:
    def test_fires_for_part_and_class_when_the_lower_bound_is_above_the_threshold(self) -> None:
        seen: list[Observation] = [rejected(n) for n in range(40)]
        seen += [found(n) for n in range(12)]
        (signal,) = observe(seen)
        assert (signal.kind, signal.part, signal.class_name) == ("false-reject-spike", "cell", "crack")
        assert signal.measured == 10 / 40
        assert signal.threshold == LIMITS.false_reject_share
        assert signal.cause == "threshold"
        assert "10 of 40 rejects of part cell as crack at line-a/cell-1" in signal.explanation
        assert signal.evidence[0] == capture_id(9)

    def test_the_same_share_of_few_stays_quiet(self) -> None:
        assert observe([*(rejected(n) for n in range(8)), *(found(n) for n in range(2))]) == []

    def test_three_of_ten_are_not_yet_a_spike(self) -> None:
        assert observe([*(rejected(n) for n in range(10)), *(found(n) for n in range(3))]) == []

    def test_what_is_tolerated_stays_quiet(self) -> None:
        assert observe([*(rejected(n) for n in range(200)), *(found(n) for n in range(20))]) == []

    def test_overridden_rejects_count_and_other_overrides_do_not(self) -> None:
        rejects = [rejected(n) for n in range(30)]
        on_reject = [found(n, kind="operator-override", disposition="reject") for n in range(15)]
        on_pass = [found(n, kind="operator-override", disposition="pass") for n in range(15)]
        assert "false-reject-spike" in kinds(observe([*rejects, *on_reject]))
        assert "false-reject-spike" not in kinds(observe([*rejects, *on_pass]))

    def test_fires_for_the_station_when_no_single_class_does(self) -> None:
        names = [f"class-{n % 10}" for n in range(40)]
        seen: list[Observation] = [rejected(n, class_name=name) for n, name in enumerate(names)]
        seen += [found(n) for n in range(16)]
        (signal,) = observe(seen)
        assert (signal.part, signal.class_name) == (None, None)

    def test_once_in_a_window_and_again_in_the_next(self) -> None:
        def hour(offset: int) -> list[Observation]:
            at = START_MS + offset * HOUR_MS
            return [*(rejected(n, at_ms=at) for n in range(40)), *(found(n, at_ms=at) for n in range(40))]

        first, second = observe([*hour(0), *hour(0), *hour(1)])
        assert (first.start_ms, second.start_ms) == (START_MS, START_MS + HOUR_MS)
        assert first.identity != second.identity

    def test_more_findings_than_rejects_in_the_window_are_a_full_share(self) -> None:
        (signal,) = observe([found(n) for n in range(20)])
        assert signal.measured == 1.0
        assert signal.sample_size == LIMITS.share_samples


class TestOperatorOverride:
    def test_fires_on_findings_and_on_replaced_decisions(self) -> None:
        decisions = [decided(n) for n in range(100)]
        findings = [found(n, kind="operator-override", disposition="pass") for n in range(8)]
        replaced = [decided(n, override=True) for n in range(8)]
        for hits in (findings, replaced):
            (signal,) = observe([*decisions, *hits])
            assert (signal.kind, signal.part) == ("operator-override", "cell")

    def test_a_replaced_decision_is_no_second_decision(self) -> None:
        station = Station("line-a", "cell-1")
        observe([decided(1), decided(1, override=True)], station=station)
        (window,) = station.slowness.windows.open.values()
        assert window.count == 1


class TestReviewerDisagreement:
    def test_names_the_class_that_is_disputed(self) -> None:
        seen = [reviewed(n, agreed=n % 2 == 0, classes=["crack"]) for n in range(30)]
        (signal,) = observe(seen)
        assert (signal.kind, signal.class_name, signal.cause) == (
            "reviewer-disagreement",
            "crack",
            "taxonomy",
        )
        assert "between" in signal.explanation

    def test_without_a_class_the_labels_are_suspected(self) -> None:
        (signal,) = observe([reviewed(n, agreed=False) for n in range(20)])
        assert (signal.class_name, signal.cause) == (None, "label-quality")

    def test_a_single_answer_cannot_disagree(self) -> None:
        assert observe([reviewed(n, answers=1, agreed=False) for n in range(50)]) == []


class TestMissedDefect:
    @pytest.mark.parametrize("kind", ["escape", "customer-return"])
    def test_fires_at_once_and_once_for_each_class_and_window(self, kind: str) -> None:
        seen = [
            found(1, kind=kind, class_name="crack", disposition="pass"),
            found(2, kind=kind, class_name="crack"),
            found(3, kind=kind, class_name="hole"),
            found(4, kind=kind, class_name="crack", at_ms=START_MS + HOUR_MS),
        ]
        raised = observe(seen)
        assert kinds(raised) == ["missed-defect"] * 3
        assert [signal.class_name for signal in raised] == ["crack", "hole", "crack"]
        assert raised[0].evidence == (capture_id(1),)
        assert "it had been decided pass" in raised[0].explanation

    def test_an_escape_and_a_return_are_two_signals(self) -> None:
        first, second = observe([found(1, kind="escape"), found(2, kind="customer-return")])
        assert first.identity != second.identity

    def test_a_class_that_the_model_does_not_know_points_at_the_taxonomy(self) -> None:
        seen: list[Observation] = [scored(1), found(1, kind="escape", class_name="delamination")]
        assert [signal.cause for signal in observe(seen)] == ["taxonomy"]

    def test_a_released_hold_is_no_miss(self) -> None:
        assert observe([found(1, kind="hold-released")]) == []


class TestNewVariant:
    def test_once_for_a_variant_with_its_first_captures(self) -> None:
        limits = replace(LIMITS, variant_captures=3)
        (signal,) = observe([audited(n, variant="mono") for n in range(10)], limits=limits)
        assert (signal.kind, signal.variant, signal.start_ms) == ("new-variant", "mono", 0)
        assert signal.evidence == ("capture-0", "capture-1", "capture-2")
        assert "validated for poly only" in signal.explanation

    def test_the_identity_does_not_depend_on_time(self) -> None:
        (first,) = observe([audited(1, variant="mono")])
        (later,) = observe([audited(2, variant="mono", at_ms=START_MS + 9 * HOUR_MS)])
        assert first.identity == later.identity

    def test_rejected_captures_count(self) -> None:
        assert kinds(observe([audited(1, variant="mono", accepted=False)])) == ["new-variant"]

    @pytest.mark.parametrize("variant", ["poly", None, ""])
    def test_validated_or_unknown_variants_stay_quiet(self, variant: str | None) -> None:
        assert observe([audited(1, variant=variant)]) == []

    def test_a_station_validated_for_anything_or_unregistered_stays_quiet(self) -> None:
        for facts in (None, replace(FACTS, validated_variants=frozenset())):
            assert observe([audited(1, variant="mono")], facts=facts) == []


class TestSlowDecision:
    def test_fires_when_the_percentile_is_over_the_takt_beyond_chance(self) -> None:
        seen = [decided(n, latency_ms=3000.0 if n % 4 == 0 else 200.0) for n in range(60)]
        (signal,) = observe(seen)
        assert (signal.kind, signal.threshold, signal.cause) == ("slow-decision", 1000.0, "workflow-rule")
        assert signal.measured == pytest.approx(3000.0, rel=0.05)
        assert signal.expected == pytest.approx(200.0, rel=0.05)
        slow = {f"capture-{n:08d}"[-16:] for n in range(0, 60, 4)}
        assert set(signal.evidence[: len(slow) - 2]) <= slow

    def test_an_agreed_limit_goes_before_the_takt(self) -> None:
        seen = [decided(n, latency_ms=500.0) for n in range(60)]
        assert observe(seen) == []
        (signal,) = observe(seen, limits=replace(LIMITS, slow_ms=400.0))
        assert signal.threshold == 400.0
        assert "the agreed limit of 400 ms" in signal.explanation

    def test_one_slow_decision_of_few_or_of_many_stays_quiet(self) -> None:
        assert observe([decided(n, latency_ms=9000.0) for n in range(LIMITS.slow_samples - 1)]) == []
        assert observe([decided(n, latency_ms=9000.0 if n == 50 else 10.0) for n in range(1000)]) == []


class TestWorkflowException:
    def test_decisions_by_deadline(self) -> None:
        (signal,) = observe([decided(n, by_deadline=n % 3 == 0) for n in range(40)])
        assert (signal.kind, signal.part, signal.cause) == ("workflow-exception", None, "workflow-rule")


class TestCaptureDrift:
    limits = replace(LIMITS, drift_reference=50, drift_recent=30)

    def light(self, count: int, level: float, seed: int = 3, **known: object) -> list[Observation]:
        draw = random.Random(seed)
        return [
            audited(n, brightness=draw.gauss(level, 0.025), sharpness=draw.gauss(2.0, 0.05), **known)  # type: ignore[arg-type]
            for n in range(count)
        ]

    def test_a_lamp_that_fails(self) -> None:
        seen = [*self.light(150, 0.44), *self.light(60, 0.28, accepted=False)]
        (signal,) = observe(seen, limits=self.limits)
        assert (signal.kind, signal.aspect, signal.cause) == ("capture-drift", "brightness", "capture")
        assert signal.measured < signal.threshold < signal.expected == 1.0
        assert "below what the station's accepted captures used to show" in signal.explanation
        assert len(signal.evidence) == EVIDENCE_MOST

    def test_a_lens_out_of_focus(self) -> None:
        blurred = [audited(n, brightness=0.44, sharpness=1.2) for n in range(60)]
        (signal,) = observe([*self.light(150, 0.44), *blurred], limits=self.limits)
        assert signal.aspect == "sharpness"

    def test_a_steady_station_stays_quiet(self) -> None:
        assert observe(self.light(5000, 0.44), limits=self.limits) == []

    def test_single_bad_images_stay_quiet(self) -> None:
        seen = self.light(500, 0.44)
        for index in range(60, 500, 5):
            seen[index] = audited(index, brightness=0.02, accepted=False)
        assert observe(seen, limits=self.limits) == []

    def test_a_dark_variant_is_no_drift(self) -> None:
        dark = self.light(200, 0.24, variant=None)
        assert observe([*self.light(200, 0.44), *dark], limits=self.limits) == []

    def test_rejected_captures_do_not_make_the_baseline(self) -> None:
        seen = [*self.light(60, 0.08, accepted=False), *self.light(200, 0.44)]
        assert observe(seen, limits=self.limits) == []

    def test_regular_but_tiny_differences_stay_quiet(self) -> None:
        seen = [
            *(audited(n, brightness=0.4) for n in range(60)),
            *(audited(n, brightness=0.44) for n in range(60)),
        ]
        assert observe(seen, limits=self.limits) == []

    def test_another_capture_standard_is_learned_anew(self) -> None:
        station = Station("line-a", "cell-1")
        assert observe(self.light(100, 0.44), station=station, limits=self.limits) == []
        facts = replace(FACTS, standard="v2")
        assert observe(self.light(200, 0.24), station=station, facts=facts, limits=self.limits) == []
        assert kinds(observe(self.light(60, 0.44), station=station, facts=facts, limits=self.limits)) == [
            "capture-drift"
        ]

    def test_while_it_lasts_it_is_told_once_a_window_and_is_suspected_of_the_rest(self) -> None:
        station = Station("line-a", "cell-1")
        seen = [*self.light(100, 0.44), *self.light(60, 0.24)]
        assert len(observe(seen, station=station, limits=self.limits)) == 1
        next_hour = self.light(60, 0.24, at_ms=START_MS + HOUR_MS)
        assert len(observe(next_hour, station=station, limits=self.limits)) == 1
        (miss,) = observe([found(1, kind="escape")], station=station)
        assert miss.cause == "capture"
        assert observe(self.light(60, 0.44), station=station, limits=self.limits) == []
        assert station.drift.drifting == ()


class TestScores:
    def scores(
        self, count: int, low: float, high: float, *, seed: int = 5, release: str = "r1"
    ) -> list[Observation]:
        draw = random.Random(seed)
        return [scored(n, score=draw.betavariate(low, high), release=release) for n in range(count)]

    def test_scores_that_move_up(self) -> None:
        (signal,) = observe([*self.scores(250, 1, 6), *self.scores(100, 3, 3, seed=6)])
        assert (signal.kind, signal.cause) == ("score-drift", "model-version")
        assert signal.measured > signal.threshold >= LIMITS.score_psi
        assert 0 < len(signal.evidence) <= EVIDENCE_MOST

    @pytest.mark.parametrize("seed", range(20))
    def test_a_steady_model_stays_quiet(self, seed: int) -> None:
        assert observe(self.scores(2000, 1, 6, seed=seed)) == []

    def test_another_release_has_its_own_reference_and_is_suspected_while_fresh(self) -> None:
        station = Station("line-a", "cell-1")
        assert (
            observe([*self.scores(300, 1, 6), *self.scores(300, 6, 1, release="r2")], station=station) == []
        )
        fresh = replace(LIMITS, release_fresh_windows=2)
        assert station.scores.release == "r2"
        (miss,) = observe([found(1, kind="escape", at_ms=START_MS + HOUR_MS)], station=station, limits=fresh)
        assert miss.cause == "model-version"

    def test_a_growing_uncertain_share_is_an_unknown_defect(self) -> None:
        sure = [scored(n, score=0.1, uncertain=n % 20 == 0) for n in range(300)]
        unsure = [scored(n, score=0.1, uncertain=n % 2 == 0) for n in range(100)]
        (signal,) = observe([*sure, *unsure])
        assert (signal.kind, signal.cause) == ("unknown-defect", "taxonomy")
        assert signal.expected == pytest.approx(0.05)
        assert signal.measured > 0.15

    def test_a_model_that_was_always_unsure_tells_nothing_new(self) -> None:
        assert observe([scored(n, score=0.5, uncertain=n % 2 == 0) for n in range(1000)]) == []


class TestWindows:
    def test_what_comes_late_counts_while_its_window_is_open(self) -> None:
        station = Station("line-a", "cell-1")
        observe([found(1, kind="escape", class_name="crack", at_ms=START_MS + 2 * HOUR_MS)], station=station)
        (late,) = observe([found(2, kind="escape", class_name="crack")], station=station)
        assert (late.start_ms, station.late) == (START_MS, 0)

    def test_what_comes_after_its_window_has_closed_is_counted_as_late(self) -> None:
        station = Station("line-a", "cell-1")
        observe([found(1, kind="escape", at_ms=START_MS + 3 * HOUR_MS)], station=station)
        assert observe([found(2, kind="escape")], station=station) == []
        assert station.late == 1

    def test_only_so_many_windows_stay_open(self) -> None:
        station = Station("line-a", "cell-1")
        observe([decided(n, at_ms=START_MS + n * HOUR_MS) for n in range(50)], station=station)
        assert len(station.slowness.windows.open) == LIMITS.keep_windows


class TestThresholds:
    @pytest.mark.parametrize(
        "wrong", [{"window_s": 0}, {"keep_windows": 0}, {"confidence": 1.0}, {"false_reject_share": 0.0}]
    )
    def test_nonsense_is_refused(self, wrong: dict[str, float]) -> None:
        with pytest.raises(ValueError, match="must be"):
            Thresholds(**wrong)  # type: ignore[arg-type]
