"""Codes in the words of the people who read them."""

from __future__ import annotations

from datetime import datetime

DISPOSITIONS = {
    "pass": "Pass",
    "reject": "Reject",
    "rework": "Rework",
    "hold": "Hold",
    "route-to-reviewer": "In review",
    "escalate-to-engineering": "Escalated",
}
"""Kinds of disposition, in the order in which they are shown."""

PROOFS = {
    "samples_added": "Samples added",
    "dataset_version": "Dataset version",
    "release": "Release",
    "taxonomy_version": "Taxonomy version",
    "policy_version": "Policy version",
    "capture_standard_version": "Capture standard version",
    "deployment_change": "Change of deployment",
}

USUAL_PROOFS = {
    "add-good-examples": ("samples_added", "dataset_version"),
    "add-reviewed-examples": ("samples_added", "dataset_version"),
    "update-guide-and-relabel": ("taxonomy_version", "samples_added"),
    "variant-evaluation-batch": ("dataset_version", "samples_added"),
    "adjust-deployment": ("release", "deployment_change"),
    "restore-capture-standard": ("capture_standard_version", "deployment_change"),
}
"""The proofs that fit a kind of action best; any other is taken as well."""


CONTEXT = (
    "part_id",
    "part_number",
    "product_variant",
    "customer",
    "batch",
    "line",
    "station",
    "camera",
    "shift",
    "operator",
    "supplier",
    "material",
    "origin",
    "capture_standard_version",
)
"""What is known about a capture, in the order in which people ask for it."""


def context(known: dict[str, str | None]) -> list[tuple[str, str]]:
    """Name and value of what is known; fields of a later version come last."""
    order = [*CONTEXT, *(name for name in known if name not in CONTEXT)]
    return [(sentence(name), str(known[name])) for name in order if known.get(name)]


def disposition(kind: str | None) -> str:
    """A kind of disposition; what the line does not know yet is pending."""
    return "Pending" if kind is None else DISPOSITIONS.get(kind, sentence(kind))


def decider(decided_by: str) -> str:
    """Who answers for a decision: a person by name, or what stood in for one."""
    kind, _, name = decided_by.partition(":")
    return name or {"policy": "the policy", "deadline": "a deadline"}.get(kind, kind)


def sentence(code: str) -> str:
    """`false-reject-spike` as `False reject spike`."""
    words = code.replace("-", " ").replace("_", " ").strip()
    return words[:1].upper() + words[1:]


def proofs(action_kind: str) -> list[tuple[str, str]]:
    """Field and name of every proof, the usual ones of this kind first."""
    usual = USUAL_PROOFS.get(action_kind, ())
    return sorted(PROOFS.items(), key=lambda item: usual.index(item[0]) if item[0] in usual else len(usual))


def percent(share: float | None) -> str:
    """A probability as a whole percentage; a very small or very large one is not rounded to certainty."""
    if share is None:
        return "–"
    if 0 < share < 0.01:
        return "<1\u00a0%"
    if 0.99 < share < 1:
        return ">99\u00a0%"
    return f"{share * 100:.0f}\u00a0%"


def figure(value: float, unit: str) -> str:
    """A measured figure with its unit; shares become percentages."""
    if unit in {"share", "fraction", "ratio"} and abs(value) <= 1:
        return f"{value * 100:.1f}\u00a0%".replace(".0\u00a0", "\u00a0")
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text}\u00a0{unit}".strip()


def milliseconds(value: float | None) -> str:
    """A latency, short enough for a card."""
    if value is None:
        return "–"
    return f"{value / 1000:.1f} s" if value >= 1000 else f"{value:.0f} ms"


def latency(percentiles: dict[str, float | None]) -> str:
    """Median and 95th percentile, short enough for a card."""
    middle, slow = percentiles["p50"], percentiles["p95"]
    if middle is None or slow is None:
        return "–"
    if slow >= 1000:
        return f"{middle / 1000:.1f} / {slow / 1000:.1f} s"
    return f"{middle:.0f} / {slow:.0f} ms"


def count(number: int) -> str:
    """A number of things, readable from across the room."""
    return f"{number:,}".replace(",", "\u202f")


def moment(text: str | None) -> datetime | None:
    """A time as the API gives it."""
    return None if text is None else datetime.fromisoformat(text)
