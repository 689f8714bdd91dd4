"""Which work follows from which signal, who owns it, until when, and what proves that it was done (M9.3,
M9.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from dataset_registry.domain.refusals import Because, Refused, conflict, invalid

OPEN, CLOSED = "open", "closed"
DONE, NO_ACTION = "done", "no-action"


@dataclass(frozen=True, slots=True)
class Rule:
    """The work that a kind of signal leads to.

    Attributes:
        action: Kind of action.
        owner: Role that owns it (M10.1).
        due: How long it may take.
        work: What to do, as the start of a sentence.
    """

    action: str
    owner: str
    due: timedelta
    work: str


_DAY = timedelta(days=1)

RULES: Mapping[str, Rule] = {
    "false-reject-spike": Rule(
        "add-good-examples", "data-lead", 3 * _DAY, "Add good examples, refine the severity rule"
    ),
    "missed-defect": Rule(
        "add-reviewed-examples", "qa-owner", 2 * _DAY, "Add reviewed examples and holdout coverage"
    ),
    "reviewer-disagreement": Rule(
        "update-guide-and-relabel", "qa-owner", 5 * _DAY, "Clear up the guide, relabel"
    ),
    "new-variant": Rule(
        "variant-evaluation-batch", "data-lead", 5 * _DAY, "Build an evaluation batch for the variant"
    ),
    "slow-decision": Rule("adjust-deployment", "mlops-owner", 1 * _DAY, "Adjust deployment or queue"),
    "capture-drift": Rule(
        "restore-capture-standard", "engineering-owner", 1 * _DAY, "Restore the capture standard"
    ),
    "operator-override": Rule(
        "add-reviewed-examples", "qa-owner", 3 * _DAY, "Review what operators overrode, add examples"
    ),
    "score-drift": Rule(
        "adjust-deployment", "ml-lead", 3 * _DAY, "Find out why scores moved, adjust the release"
    ),
    "unknown-defect": Rule(
        "update-guide-and-relabel", "qa-owner", 3 * _DAY, "Name the pattern in the guide, relabel"
    ),
    "workflow-exception": Rule("adjust-deployment", "operations-owner", 2 * _DAY, "Repair the workflow"),
}
ANY_OTHER = Rule("investigate", "qa-owner", 3 * _DAY, "Find out what it is")
"""A kind of signal that this version does not know still becomes work: nothing vanishes."""

PROOFS = (
    "samples_added",
    "dataset_version",
    "release",
    "taxonomy_version",
    "policy_version",
    "capture_standard_version",
    "deployment_change",
)
"""What can prove that an action was done; more may be told beside it."""


def rule_for(signal_kind: str) -> Rule:
    """The work that follows from this kind of signal."""
    return RULES.get(signal_kind, ANY_OTHER)


def title(rule: Rule, where: str, explanation: str) -> str:
    """One line for people: the work, the place, the reason."""
    return f"{rule.work} - {where}: {explanation}"


def place(line: str | None, station: str | None, product_variant: str | None, class_name: str | None) -> str:
    """A scope in words."""
    spot = " / ".join(p for p in (line, station) if p) or "all lines"
    return ", ".join(p for p in (spot, product_variant, class_name) if p)


def check_closing(state: str, outcome: str, proof: Mapping[str, str], note: str) -> None:
    """Whether an action may be closed this way. Raises Refused when not."""
    if state == CLOSED:
        raise conflict(
            "action-closed", "This action was closed before; open questions belong into a new signal."
        )
    if not note.strip():
        raise Refused(Because.INCOMPLETE, "note-missing", "Say in the note what was done, or why nothing is.")
    if outcome == NO_ACTION:
        return
    given = [name for name in PROOFS if proof.get(name, "").strip()]
    if not given:
        raise Refused(
            Because.INCOMPLETE,
            "proof-missing",
            f"Work that was done leaves a proof: one of {', '.join(PROOFS)}.",
        )
    if "samples_added" in given and not _positive(proof["samples_added"]):
        raise invalid("samples-added-not-a-number", "samples_added is the number of samples, at least 1.")


def _positive(text: str) -> bool:
    return text.strip().isdecimal() and int(text) > 0
