"""How a capture compares with its capture standard, and which rules of the taxonomy had a part in its decision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.domain.taxonomy_pages import rule_scope
from console.domain.words import sentence

Evidence = Mapping[str, Any]
"""Of a disposition, as the registry gives it; those of earlier releases know nothing of all this."""


def ruled(evidence: Evidence) -> list[str]:
    """Each rule that settled something, in words."""
    told = []
    for what, said in (("severity", "Severity"), ("disposition", "What becomes of the part")):
        rule = evidence.get(f"{what}_rule")
        if rule:
            told.append(
                f"{said}: {rule[what]}, by the rule for {rule_scope(rule)}"
                f" (taxonomy {evidence.get('taxonomy_version')})"
            )
    return told


def deviating(evidence: Evidence) -> list[tuple[str, str]]:
    """What deviates, and how."""
    return [
        (
            sentence(one["reason"]),
            f"{sentence(one['what'])} {one['found']}; standard {one['standard_version']} allows {one['allowed']}",
        )
        for one in evidence.get("deviations", ())
    ]


def unproven(evidence: Evidence) -> list[str]:
    """What the standard lays down and nothing shows."""
    return [sentence(name) for name in evidence.get("unproven", ())]
