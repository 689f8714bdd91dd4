"""Where each rule fires: all of it settings, since a demo plays in minutes what a plant sees in hours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Settings of the rules.

    Attributes:
        window_s: Length of the tumbling windows, seconds of event time.
        keep_windows: So many windows stay open for events that come late; older ones are counted as late.
        confidence: How sure a share must be to lie above its threshold, so that small samples stay quiet.
        false_reject_share: False rejects and overrides, of rejects.
        override_share: Operator overrides, of decisions.
        disagreement_share: Disagreed reviews, of those that more than one person answered.
        exception_share: Decisions by deadline or at an unregistered station, of decisions.
        share_hits: Fewer hits than this never fire one of the share rules.
        share_samples: Nor do fewer samples than this.
        missed_defects: So many escapes or returns of one class in one window fire.
        variant_captures: So many captures of an unvalidated variant fire.
        slow_ms: Longest decision time that is fine, milliseconds; None for the station's takt time.
        slow_samples: Decisions before the 95th percentile is believed.
        drift_reference: Accepted captures that make a station's baseline, by variant.
        drift_recent: Last captures whose median is compared with it.
        drift_deviations: Standard deviations of the baseline by which the median must be off.
        drift_change: And by which factor it must have changed (0.2: a fifth), by measure.
        score_reference: Scores of a release that make its reference at a station.
        score_recent: Last scores that are compared with it.
        score_psi: Population stability index from which scores have drifted.
        unknown_increase: Growth of the uncertain share, as a share.
        release_fresh_windows: A release is a suspect for so many windows.
    """

    window_s: float = 3600.0
    keep_windows: int = 3
    confidence: float = 0.99
    false_reject_share: float = 0.10
    override_share: float = 0.02
    disagreement_share: float = 0.15
    exception_share: float = 0.05
    share_hits: int = 3
    share_samples: int = 10
    missed_defects: int = 1
    variant_captures: int = 1
    slow_ms: float | None = None
    slow_samples: int = 50
    drift_reference: int = 100
    drift_recent: int = 40
    drift_deviations: float = 1.5
    drift_change: Mapping[str, float] = field(default_factory=lambda: {"brightness": 0.2, "sharpness": 1.0})
    score_reference: int = 200
    score_recent: int = 100
    score_psi: float = 0.25
    unknown_increase: float = 0.10
    release_fresh_windows: int = 2

    def __post_init__(self) -> None:
        if self.window_s <= 0 or self.keep_windows < 1:
            raise ValueError("window_s must be positive and keep_windows at least 1")
        if not 0.5 <= self.confidence < 1:
            raise ValueError("confidence must be at least 0.5 and below 1")
        shares = (self.false_reject_share, self.override_share, self.disagreement_share, self.exception_share)
        if not all(0 < share < 1 for share in shares):
            raise ValueError("shares must be above 0 and below 1")

    @property
    def window_ms(self) -> int:
        return max(1, round(self.window_s * 1000))
