"""A signal: something in production that wants attention, with its figures and evidence (M9.1, M9.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EVIDENCE_MOST = 20

FALSE_REJECT_SPIKE = "false-reject-spike"
MISSED_DEFECT = "missed-defect"
REVIEWER_DISAGREEMENT = "reviewer-disagreement"
NEW_VARIANT = "new-variant"
SLOW_DECISION = "slow-decision"
OPERATOR_OVERRIDE = "operator-override"
CAPTURE_DRIFT = "capture-drift"
SCORE_DRIFT = "score-drift"
UNKNOWN_DEFECT = "unknown-defect"
WORKFLOW_EXCEPTION = "workflow-exception"

TAXONOMY = "taxonomy"
CAPTURE = "capture"
LABEL_QUALITY = "label-quality"
THRESHOLD = "threshold"
MODEL_VERSION = "model-version"
WORKFLOW_RULE = "workflow-rule"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One firing of one rule in one window.

    Attributes:
        aspect: Tells apart several signals of a kind in one scope ("brightness", "escape"); part of the
            identity.
        start_ms: Window start, event time; 0 for a signal that is raised once for good.
        end_ms: Window end, exclusive.
        unit: Unit of measured, expected and threshold.
        evidence: Captures, the most telling first.
        explanation: One sentence for people, with figures.
    """

    kind: str
    line: str
    station: str
    aspect: str = ""
    part: str | None = None
    variant: str | None = None
    class_name: str | None = None
    start_ms: int
    end_ms: int
    measured: float
    expected: float
    threshold: float
    unit: str
    sample_size: int
    evidence: tuple[str, ...]
    cause: str
    explanation: str

    @property
    def identity(self) -> tuple[str, ...]:
        """Rule, scope and window: the same firing, however often it is computed, has the same identity."""
        scope = (self.line, self.station, self.part or "", self.variant or "", self.class_name or "")
        return ("signal", self.kind, self.aspect, *scope, str(self.start_ms))


def best(evidence: Iterable[str]) -> tuple[str, ...]:
    """The first captures, each once."""
    return tuple(dict.fromkeys(evidence))[:EVIDENCE_MOST]


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What else is going on at the station while a rule fires; helps to name the suspected cause.

    Attributes:
        drifting: Measures that have left the station's baseline.
        new_release: The model release changed recently.
        known_classes: Classes that the model has shown so far.
    """

    drifting: tuple[str, ...] = ()
    new_release: bool = False
    known_classes: frozenset[str] = frozenset()


def suspect(kind: str, around: Circumstances, class_name: str | None = None) -> str:
    """The cause to look into first. A drifting camera explains most other signals, a fresh release many of
    the rest.
    """
    fixed = {
        CAPTURE_DRIFT: CAPTURE,
        NEW_VARIANT: MODEL_VERSION,
        SLOW_DECISION: WORKFLOW_RULE,
        WORKFLOW_EXCEPTION: WORKFLOW_RULE,
        REVIEWER_DISAGREEMENT: TAXONOMY if class_name else LABEL_QUALITY,
    }
    if kind in fixed:
        return fixed[kind]
    if (
        kind == MISSED_DEFECT
        and class_name
        and around.known_classes
        and class_name not in around.known_classes
    ):
        return TAXONOMY
    if around.drifting:
        return CAPTURE
    if around.new_release:
        return MODEL_VERSION
    return {UNKNOWN_DEFECT: TAXONOMY, FALSE_REJECT_SPIKE: THRESHOLD, OPERATOR_OVERRIDE: THRESHOLD}.get(
        kind, MODEL_VERSION
    )
