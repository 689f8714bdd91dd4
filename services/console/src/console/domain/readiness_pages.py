"""The readiness of a dataset version in the words of its page: verdicts, drawn figures, and where they lead."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from console.domain.agreement_plot import Scale, scale
from console.domain.words import count

VERDICTS = {
    "ready": ("Ready", "pass"),
    "not-ready": ("Not ready", "reject"),
    "not-proven": ("Not proven", "rework"),
}
"""Verdicts in words, each with the tone of a disposition."""

_COEFFICIENTS = ("alpha", "kappa", "IoU")

_EVIDENCE = (
    (r"/v1/stations/([^/]+)/([^/]+)/deviations", "/quality/standards/{0}/{1}#deviations"),
    (r"/v1/stations", "/quality/standards"),
    (r"/v1/taxonomies/in-force", "/quality/taxonomy"),
    (r"/v1/taxonomies/([^/]+)", "/quality/taxonomy/versions/{0}"),
    (r"/v1/ambiguous", "/quality/work/ambiguous"),
    (r"/v1/agreement\?by=class", "/quality/agreement?by=class"),
    (r"/v1/batches", "/quality/work"),
    (r"/v1/datasets/snapshots/(\w+)", "/quality/datasets/{0}"),
    (r"/v1/datasets/snapshots/(\w+)/leakage", "/quality/datasets/{0}/leakage"),
    (r"/v1/datasets/snapshots/(\w+)/holdout/readings", "/quality/datasets/{0}#holdout"),
    (r"/v1/releases/([^/]+)", "/models/{0}"),
)
"""Where the registry's evidence is shown to people."""

_FIGURES = (
    (r"images", "{here}/images"),
    (r"of these captured on the line", "/captures"),
    (r"captures that deviate from their standard", "/quality/standards"),
    (r"(with|labels from) .*", ""),
    (r"images of the registry whose last word is ambiguous", "/quality/work/ambiguous"),
    (
        r"images that several people judged blind|same answer|.*alpha|.*kappa|overlap of marks",
        "/quality/agreement/images",
    ),
    (r"in (train|validation|test)", "{here}/images?part={0}"),
    (r"look like another image of the version", "{here}/leakage"),
    (r"independent of class (.+)", "{here}/images?class_name={0}"),
    (r"readings of the holdout", "{here}#holdout"),
    (r"(?:precision|recall|false reject rate|false escape rate|review share) of (.+)", "/models/{0}"),
    (r"releases that learned from it|releases evaluated on its holdout", "/models"),
    (r"captures that its releases decided|of these, decided otherwise later", "/captures"),
)
"""Where the images behind a figure are shown."""

_WORK = ("Make a batch", "/quality/work/new?source=images")
_DRAFT = ("Begin a draft", "/quality/taxonomy")
_CUT = ("Cut a version", "/quality/datasets/new?keys=batch&keys=part&keys=neighbour&divided=yes")
_STANDARDS = ("Capture standards", "/quality/standards")
_STEPS = {
    "no-station": ("Import with a context", "/quality/imports/new"),
    "context-missing": ("Import with a context", "/quality/imports/new"),
    **dict.fromkeys(("no-standard", "standard-gaps", "standard-unlocked", "deviations"), _STANDARDS),
    "no-captures": ("Captures", "/captures"),
    **dict.fromkeys(("no-taxonomy", "class-unknown"), _DRAFT),
    "older-taxonomy": ("To the taxonomy", "/quality/taxonomy"),
    **dict.fromkeys(("no-second-reviewer", "few-second-looks", "own-review"), _WORK),
    **dict.fromkeys(("no-shared-sample", "agreement-undefined", "shared-sample-small"), _WORK),
    **dict.fromkeys(
        ("agreement-low", "agreement-uncertain"), ("Agreement by class", "/quality/agreement?by=class")
    ),
    **dict.fromkeys(("not-divided", "shown-several-times", "leaks", "no-holdout"), _CUT),
    **dict.fromkeys(("leakage-related", "leakage-unproven"), ("Leakage report", "{here}/leakage")),
    **dict.fromkeys(("no-release", "figures-missing", "not-evaluated"), ("Models", "/models")),
}
"""Where a person does what is missing, by its code."""

_ADVICE = {
    "no-standard": "Publish one.",
    "no-taxonomy": "Write one.",
    "older-taxonomy": "Queue again what the publication put in question.",
    "no-evaluation-batch": "Try each one that the line will see, before it comes.",
}
"""Said to people where the registry's advice names its API."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure as it is shown; places are percent of its scale.

    Attributes:
        share: Width of a bar, for a count or a portion; None where it is an estimate, or undefined.
        at, left, width: Point and interval of an estimate; `at` is None where there is none.
        zero: Where chance lies on a scale that goes below it.
        href: The images behind it; empty where there are none.
    """

    name: str
    text: str
    interval: str
    share: float | None
    at: float | None
    left: float
    width: float
    zero: float
    href: str


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that is missing, what to do, and where."""

    what: str
    advice: str
    step: str
    href: str


@dataclass(frozen=True, slots=True)
class Question:
    """One of the five questions, answered."""

    key: str
    text: str
    verdict: str
    tone: str
    figures: Sequence[Drawn]
    missing: Sequence[Lack]
    evidence: Sequence[tuple[str, str]]


def questions(package: Mapping[str, Any]) -> list[Question]:
    """The five, in their order."""
    here = f"/quality/datasets/{package['dataset']}"
    return [
        Question(
            answer["key"],
            answer["question"],
            *VERDICTS[answer["verdict"]],
            figures(answer["figures"], here),
            [_lack(lack, here) for lack in answer["missing"]],
            [(link["title"], href) for link in answer["evidence"] if (href := evidence(link["href"]))],
        )
        for answer in package["answers"]
    ]


def figures(known: Sequence[Mapping[str, Any]], here: str) -> list[Drawn]:
    """Figures of one answer; those of one unit share a scale, so that they can be compared by eye."""
    on = scale([one for one in known if one["unit"] in _COEFFICIENTS])
    groups = max((one["value"] for one in known if one["unit"] == "groups"), default=1) or 1
    return [_drawn(one, on, groups, _led(_FIGURES, one["name"], here)) for one in known]


def evidence(href: str) -> str:
    """The page that shows what lies at an address of the registry; empty where none does."""
    return _led(_EVIDENCE, href, "")


def _drawn(figure: Mapping[str, Any], on: Scale, groups: float, href: str) -> Drawn:
    value, low, high, unit = figure["value"], figure["low"], figure["high"], figure["unit"]
    between = "" if low is None or high is None else f"{_said(low, unit)} to {_said(high, unit)}"
    name = figure["name"][:1].upper() + figure["name"][1:]
    if value is None:
        return Drawn(name, "undefined", "", None, None, 0.0, 0.0, 0.0, href)
    text = _said(value, unit)
    if unit == "share" and figure["of"] is not None:
        text += f" of {count(figure['of'])}"
    places = Scale(0.0) if unit == "share" else on
    if between or unit in _COEFFICIENTS:
        left, right = (places.place(value if one is None else one) for one in (low, high))
        at, width = places.place(value), round(right - left, 2)
        return Drawn(name, text, between, None, at, left, width, places.place(0.0), href)
    return Drawn(name, text, "", _bar(value, unit, groups), None, 0.0, 0.0, 0.0, href)


def _bar(value: float, unit: str, groups: float) -> float | None:
    """Percent of all that a counted figure is; None where it is of nothing."""
    if unit == "share":
        return round(100 * value, 2)
    if unit == "groups":
        return round(100 * value / groups, 2)
    if found := re.fullmatch(r"of (\d+) defect classes", unit):
        return round(100 * value / (int(found[1]) or 1), 2)
    return None


def _said(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.1f}\u00a0%"
    if unit in _COEFFICIENTS:
        return f"{value:.2f}"
    return f"{count(int(value))} {unit.removesuffix('s') if value == 1 else unit}"


def _lack(lack: Mapping[str, Any], here: str) -> Lack:
    code = lack["code"]
    step, href = _STEPS.get(code, _DRAFT if code.endswith(("-missing", "hard-negative")) else ("", ""))
    return Lack(
        lack["what"], _ADVICE.get(code, lack["advice"].replace("`", "")), step, href.format(here=here)
    )


def _led(places: Sequence[tuple[str, str]], text: str, here: str) -> str:
    for pattern, href in places:
        if found := re.fullmatch(pattern, text):
            return href.format(*(quote(part, safe="%") for part in found.groups()), here=here)
    return ""
