"""Batches of labeling work in words: what they are for, how far they are, and who is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from console.domain.words import sentence

STATES = {
    "to-label": ("To label", "pending"),
    "sent-back": ("Sent back", "rework"),
    "waiting": ("Waits for its lot", "hold"),
    "to-review": ("To review", "route-to-reviewer"),
    "disputed": ("Disputed", "reject"),
    "done": ("Done", "pass"),
}
"""Task states from first to last, in words, and their tone."""

MODES = {
    "single": "One person labels each image",
    "consensus": "Several people label each image, none sees the others' answers",
    "gold": "Images whose answer is known: it tells how sure each person is",
}

REVIEWS = {"full": "All are reviewed", "fraction": "A share is reviewed", "iso2859": "A sample by ISO 2859-1"}

REASONS = {
    "boundary": "Where it begins and ends is unclear",
    "between-classes": "Between two classes",
    "image-quality": "The image is too poor",
    "not-in-guide": "The guide does not name it",
    "other": "Another reason",
}


def total(progress: Mapping[str, int]) -> int:
    """Tasks in all."""
    return sum(progress.values())


def done(progress: Mapping[str, int]) -> int:
    """Finished tasks in whole percent; only a batch without open tasks is at 100."""
    everything = total(progress)
    return int(100 * progress.get("done", 0) / everything) if everything else 0


def bars(progress: Mapping[str, int]) -> list[tuple[str, str, int, float, float]]:
    """Name, tone, tasks, left and width in percent of each state, the finished ones first."""
    everything, left, found = total(progress) or 1, 0.0, []
    for state, (name, tone) in reversed(STATES.items()):
        number = progress.get(state, 0)
        width = 100 * number / everything
        if number:
            found.append((name, tone, number, round(left, 2), round(width, 2)))
        left += width
    return found


def review(plan: Mapping[str, Any]) -> str:
    """A review plan in one phrase."""
    kind = plan.get("plan", "")
    if kind == "fraction" and plan.get("fraction") is not None:
        return f"{plan['fraction']:.0%} are reviewed".replace("%", "\u00a0%")
    if kind == "iso2859" and plan.get("aql") is not None:
        return f"A sample of each lot is reviewed (ISO 2859-1, AQL {plan['aql']}, level {plan.get('level') or 'II'})"
    return REVIEWS.get(kind, sentence(kind))


def reasons(counts: Mapping[str, int]) -> list[tuple[str, str, int, float]]:
    """Code, words, number, and percent of the most frequent one; the most frequent first."""
    most = max(counts.values(), default=1) or 1
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [
        (code, REASONS.get(code, sentence(code)), number, round(100 * number / most, 1))
        for code, number in ordered
    ]


def people(text: str) -> list[str]:
    """Names as somebody typed them, between commas; each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def plan(form: Mapping[str, str]) -> dict[str, Any]:
    """The review plan of a form. Raises ValueError where its share or limit is no number."""
    kind = form.get("plan", "full")
    if kind == "fraction":
        return {"plan": kind, "fraction": float(form.get("percent", "")) / 100}
    if kind == "iso2859":
        return {"plan": kind, "aql": float(form.get("aql", "")), "level": "II"}
    return {"plan": "full"}
