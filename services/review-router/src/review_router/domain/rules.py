"""What a decision is measured by: the policy, the taxonomy and the station in force.

They are plain data so that the exact rules of a decision can be stored with it and the decision taken again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Final

from andon_events.records import SeverityRule
from andon_events.severity import Place, SeverityRules, Subject

PASS: Final = "pass"
REJECT: Final = "reject"
REWORK: Final = "rework"
HOLD: Final = "hold"
ROUTE_TO_REVIEWER: Final = "route-to-reviewer"
ESCALATE: Final = "escalate-to-engineering"

CRITICAL: Final = "critical"
MAJOR: Final = "major"
MINOR: Final = "minor"
MONITOR_ONLY: Final = "monitor-only"
SEVERITIES: Final = (CRITICAL, MAJOR, MINOR, MONITOR_ONLY)
"""From the gravest to the mildest."""

CORRECT: Final = "correct"
"""A late model result may correct a decision that was taken without it."""

GOOD_NAMES: Final = frozenset({"good", "normal", "free", "ok", "pass"})
"""Class names that mean "no defect" while no taxonomy has been published."""


@dataclass(frozen=True, slots=True)
class Band:
    """Thresholds for one severity, defect probabilities from 0 to 1.

    Below `pass_below` the part passes, from `reject_from` on it is treated as `reject_as`, between them a
    person decides.
    """

    severity: str
    pass_below: float
    reject_from: float
    reject_as: str


DEFAULT_BANDS: Final = (
    Band(CRITICAL, 0.05, 0.50, REJECT),
    Band(MAJOR, 0.30, 0.70, REJECT),
    Band(MINOR, 0.50, 0.90, REWORK),
    Band(MONITOR_ONLY, 1.01, 1.01, PASS),
)
"""Used while no policy is published. The graver the class, the sooner a person looks: recall before yield."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How scores become dispositions.

    Attributes:
        model_timeout_ms: Milliseconds from the audit's arrival; then the decision is taken without the model.
        on_late_result: `correct` or `ignore`.
        review_due_s: Seconds a review may take.
        second_answer_share: Share of the reviews that two people answer blind, 0 to 1.
    """

    version: str = "default"
    bands: tuple[Band, ...] = DEFAULT_BANDS
    on_audit_reject: str = HOLD
    on_unvalidated_variant: str = ROUTE_TO_REVIEWER
    model_timeout_ms: int = 30_000
    on_model_timeout: str = ROUTE_TO_REVIEWER
    on_late_result: str = CORRECT
    review_due_s: int = 14_400
    on_review_overdue: str = HOLD
    second_answer_share: float = 0.0

    def band(self, severity: str) -> Band | None:
        """The band of a severity; the strictest one when the policy is silent, None without bands."""
        for band in self.bands:
            if band.severity == severity:
                return band
        if severity == MONITOR_ONLY:
            return DEFAULT_BANDS[-1]
        return min(self.bands, key=lambda band: band.pass_below, default=None)


@dataclass(frozen=True, slots=True)
class DefectClass:
    """One class of the taxonomy."""

    name: str
    severity: str
    is_defect: bool


@dataclass(frozen=True, slots=True)
class Judged:
    """A class as it counts at one place.

    Attributes:
        severity: By the rule, else the class's own.
        disposition: What becomes of a part on which it was found; None where the policy says that.
        severity_rule, disposition_rule: Of the taxonomy; None where no rule decided.
    """

    name: str
    severity: str
    disposition: str | None = None
    severity_rule: SeverityRule | None = None
    disposition_rule: SeverityRule | None = None

    @property
    def is_ruled(self) -> bool:
        return self.severity_rule is not None or self.disposition_rule is not None


@dataclass(frozen=True)
class Taxonomy:
    """The classes in force; without a version: the model's own classes, every defect major.

    Attributes:
        rules: Where severity and disposition differ by product, station and customer.
    """

    version: str | None = None
    classes: tuple[DefectClass, ...] = ()
    rules: tuple[SeverityRule, ...] = ()

    @cached_property
    def _sorted(self) -> SeverityRules:
        return SeverityRules(self.rules)

    def judge(self, known: DefectClass, place: Place) -> Judged:
        """A class, known to the taxonomy or not, by the most specific rules of the place."""
        if not self.rules:
            return Judged(known.name, known.severity)
        is_known = self.find(known.name) is not None
        subject = Subject(known.name, known.severity, known.is_defect, is_known)
        severity, disposition = self._sorted.settle(subject, place)
        return Judged(
            known.name,
            severity.value or known.severity,
            disposition.value,
            severity.rule,
            disposition.rule,
        )

    def find(self, name: str) -> DefectClass | None:
        for known in self.classes:
            if known.name == name:
                return known
        if self.version is None:
            return DefectClass(name, MAJOR, name.lower() not in GOOD_NAMES)
        return None


@dataclass(frozen=True, slots=True)
class Station:
    """What is known of a registered station.

    Attributes:
        validated_variants: Product variants the model may decide on; empty for any.
    """

    validated_variants: tuple[str, ...] = ()

    def is_validated_for(self, variant: str | None) -> bool:
        """A variant nobody named is not validated either."""
        return not self.validated_variants or variant in self.validated_variants


@dataclass(frozen=True)
class Rules:
    """Everything but the evidence that a decision depends on. `station` is None when nobody registered it."""

    policy: Policy = field(default_factory=Policy)
    taxonomy: Taxonomy = field(default_factory=Taxonomy)
    station: Station | None = None

    @cached_property
    def as_json(self) -> str:
        """Canonical JSON: the same rules always give the same text."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the canonical JSON: the name under which these rules are kept."""
        return hashlib.sha256(self.as_json.encode()).hexdigest()

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Rules:
        """Rules as they were stored."""
        policy, taxonomy, station = raw["policy"], raw["taxonomy"], raw["station"]
        return cls(
            policy=Policy(**{**policy, "bands": tuple(Band(**band) for band in policy["bands"])}),
            taxonomy=Taxonomy(
                taxonomy["version"],
                tuple(DefectClass(**item) for item in taxonomy["classes"]),
                tuple(SeverityRule(**item) for item in taxonomy.get("rules", ())),
            ),
            station=None if station is None else Station(tuple(station["validated_variants"])),
        )
