"""The first readiness question: are image conditions repeatable?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dataset_registry.domain.readiness import Answer, Evidence, Missing, count, portion, share
from dataset_registry.domain.standards import gaps

CONTEXT: Final = ("line", "station", "camera", "part_number", "batch", "shift", "operator")
"""What each image should say of itself; its time is always known."""
MOST_DEVIATING: Final = 0.05


@dataclass(frozen=True, slots=True)
class Station:
    """A station that images of the version are from.

    Attributes:
        standard: Its document in force; None when none was published.
        locked: Somebody vouches for the standard in force.
    """

    line: str
    station: str
    images: int
    standard: Mapping[str, object] | None
    locked: bool


@dataclass(frozen=True, slots=True)
class Capture:
    """How the images were taken.

    Attributes:
        lacks: Images by field of `CONTEXT` that they do not say.
        captures: Images that came over the line; the rest was imported.
        deviating: Of these, rejected or doubted by the audit, or otherwise than the standard says.
    """

    images: int
    lacks: Mapping[str, int]
    stations: Sequence[Station]
    captures: int
    deviating: int


def capture(known: Capture) -> Answer:
    """Are image conditions repeatable?"""
    silent = {name: lack for name, lack in known.lacks.items() if lack}
    figures = [count("images", known.images), count("of these captured on the line", known.captures)]
    figures += [
        portion(f"say their {name.replace('_', ' ')}", known.images - known.lacks.get(name, 0), known.images)
        for name in CONTEXT
    ]
    figures.append(share("captures that deviate from their standard", known.deviating, known.captures))

    def missing() -> Iterator[Missing]:
        if "station" in silent:
            yield Missing(
                "no-station",
                f"{silent.pop('station')} of {known.images} images name no station: nothing says under what light and"
                " lens they were taken.",
                "Take images at a station with a published capture standard; an import names its own in `context`.",
            )
        if silent:
            said = ", ".join(f"{name.replace('_', ' ')} ({lack})" for name, lack in silent.items())
            yield Missing(
                "context-missing",
                f"Images do not say their {said}.",
                "Send it with each capture, or in `context` of the import.",
            )
        for at in known.stations:
            name = f"{at.line}/{at.station}"
            if at.standard is None:
                yield Missing(
                    "no-standard",
                    f"{name} has no capture standard.",
                    f"PUT /v1/stations/{name} publishes one.",
                )
                continue
            if open_ := gaps(at.standard):
                said = ", ".join(open_)
                yield Missing(
                    "standard-gaps", f"The standard of {name} leaves open: {said}.", "Fill them in."
                )
            if not at.locked:
                yield Missing(
                    "standard-unlocked",
                    f"Nobody vouches for the standard of {name}.",
                    "Let a QA owner lock it.",
                )
        if not known.captures:
            yield Missing(
                "no-captures",
                "No image came over the line, so no audit has held one against a standard.",
                "Add images of the line itself, audited as they come.",
                shown=False,
            )
        elif known.deviating > MOST_DEVIATING * known.captures:
            yield Missing(
                "deviations",
                f"{known.deviating} of {known.captures} captures deviate from their standard; at most"
                f" {MOST_DEVIATING:.0%} should.",
                "Look at the deviations by reason, and repair the station before more is labeled.",
            )

    evidence = tuple(
        Evidence(f"Deviations of {at.line}/{at.station}", f"/v1/stations/{at.line}/{at.station}/deviations")
        for at in known.stations
    )
    return Answer(
        "capture-repeatable",
        "Are image conditions repeatable?",
        tuple(figures),
        evidence or (Evidence("Stations", "/v1/stations"),),
        tuple(missing()),
    )
