"""The rules in force, followed from the compacted topics.

Readers see one consistent snapshot: each event swaps in a new one, so that no locks are needed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from andon_chassis.errors import Invalid
from andon_chassis.events import Event
from andon_events import records
from andon_events import topics as t
from andon_events.severity import faults

from review_router.checks import check_storable
from review_router.domain import rules as r
from review_router.domain.rules import Band, DefectClass, Policy, Rules, Station, Taxonomy

TOPICS = (t.POLICY_PUBLISHED.name, t.TAXONOMY_PUBLISHED.name, t.STATION_PUBLISHED.name)

Applies = tuple[str | None, str | None, str | None, str | None]
"""Line, station, part number and variant that a policy is for; None stands for any."""

KINDS = frozenset({r.PASS, r.REJECT, r.REWORK, r.HOLD, r.ROUTE_TO_REVIEWER, r.ESCALATE})


@dataclass(frozen=True)
class _Snapshot:
    """What was published. `found` keeps rules by the policy and the station they came from, not by what an event
    says of its part: there are as many as were published, however many serial numbers are sent as part numbers.
    """

    policies: Mapping[Applies, Policy] = field(default_factory=dict)
    taxonomy: Taxonomy = field(default_factory=Taxonomy)
    stations: Mapping[tuple[str, str], Station] = field(default_factory=dict)
    found: dict[tuple[Applies | None, tuple[str, str] | None], Rules] = field(default_factory=dict)

    def rules_for(self, line: str, station: str, part_number: str | None, variant: str | None) -> Rules:
        scope = next((s for s in _scopes(line, station, part_number, variant) if s in self.policies), None)
        place = (line, station) if (line, station) in self.stations else None
        known = self.found.get((scope, place))
        if known is None:
            policy = Policy() if scope is None else self.policies[scope]
            known = Rules(policy, self.taxonomy, None if place is None else self.stations[place])
            self.found[scope, place] = known
        return known


def _scopes(line: str, station: str, part_number: str | None, variant: str | None) -> Iterator[Applies]:
    """All scopes that fit, the most specific first: station before line before part number before variant."""
    choices = [
        (name, None) if name is not None else (None,) for name in (station, line, part_number, variant)
    ]
    for its_station, its_line, its_part, its_variant in product(*choices):
        yield its_line, its_station, its_part, its_variant


class Rulebook:
    """Policies, taxonomy and stations by what they are for."""

    def __init__(self) -> None:
        self._snapshot = _Snapshot()

    def apply(self, event: Event[Any]) -> None:
        """Follow one published change. Raises Invalid for a policy or taxonomy that cannot work; the old one stays."""
        data, old = event.data, self._snapshot
        check_storable(data)
        if isinstance(data, records.PolicyPublished):
            scope = (data.scope.line, data.scope.station, data.scope.part_number, data.scope.product_variant)
            self._snapshot = replace(old, policies={**old.policies, scope: policy_of(data)}, found={})
        elif isinstance(data, records.TaxonomyPublished):
            self._snapshot = replace(old, taxonomy=taxonomy_of(data), found={})
        elif isinstance(data, records.StationPublished):
            station = Station(tuple(data.validated_variants))
            self._snapshot = replace(
                old, stations={**old.stations, (data.line, data.station): station}, found={}
            )

    def rules_for(self, line: str, station: str, part_number: str | None, variant: str | None) -> Rules:
        """The most specific policy wins (station before line before any), with taxonomy and station."""
        return self._snapshot.rules_for(line, station, part_number, variant)

    def is_registered(self, line: str, station: str) -> bool:
        """Whether somebody published this station."""
        return (line, station) in self._snapshot.stations


def taxonomy_of(data: records.TaxonomyPublished) -> Taxonomy:
    """Raises Invalid("impossible-taxonomy")."""
    wrong = faults(data.rules)
    if wrong:
        raise Invalid(
            "impossible-taxonomy",
            f"Taxonomy {data.taxonomy_version}: {'; '.join(wrong[:5])}. Publish it mended, as a version of its own; the"
            " taxonomy before it stays in force.",
        )
    classes = tuple(DefectClass(c.name, c.severity, c.is_defect) for c in data.classes)
    return Taxonomy(data.taxonomy_version, classes, tuple(data.rules))


def policy_of(data: records.PolicyPublished) -> Policy:
    """Raises Invalid("impossible-policy")."""
    for band in data.bands:
        if not -math.inf < band.pass_below <= band.reject_from < math.inf:
            raise _impossible(data, f"for {band.severity}, pass_below must not exceed reject_from")
        if band.reject_as not in KINDS:
            raise _impossible(data, f"reject_as cannot be {band.reject_as!r}")
    for name in ("on_audit_reject", "on_unvalidated_variant", "on_model_timeout", "on_review_overdue"):
        kind = getattr(data, name)
        if kind not in KINDS or (name == "on_review_overdue" and kind == r.ROUTE_TO_REVIEWER):
            raise _impossible(data, f"{name} cannot be {kind!r}")
    if not 0.0 <= data.second_answer_share <= 1.0:
        raise _impossible(data, "second_answer_share must lie between 0 and 1")
    return Policy(
        version=data.policy_version,
        bands=tuple(Band(b.severity, b.pass_below, b.reject_from, b.reject_as) for b in data.bands),
        on_audit_reject=data.on_audit_reject,
        on_unvalidated_variant=data.on_unvalidated_variant,
        model_timeout_ms=data.model_timeout_ms,
        on_model_timeout=data.on_model_timeout,
        on_late_result=data.on_late_result,
        review_due_s=data.review_due_s,
        on_review_overdue=data.on_review_overdue,
        second_answer_share=data.second_answer_share,
    )


def _impossible(data: records.PolicyPublished, what: str) -> Invalid:
    return Invalid(
        "impossible-policy",
        f"Policy {data.policy_version}: {what}. Publish it again; the policy before it stays in force.",
    )
