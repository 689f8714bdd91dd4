"""A station's capture standard held against one capture (M2.1): what deviates, and what nothing proves.

A standard becomes a list of checks once, when it is published. Each check finds its value in what the capture says or
in its image: a value that breaks it is a deviation, a value that is not there leaves it unproven. Nothing passes
unseen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from andon_events.records import CaptureBound, Deviation
from andon_events.standards import BOUNDED, NUMBERS, PERIODS, TEXTS

from quality_audit.domain.limits import RULES
from quality_audit.domain.verdict import DUPLICATE, NEAR_DUPLICATE, UNPROVEN, UNREADABLE

WRONG_RESOLUTION: Final = "wrong-resolution"
WRONG_FORMAT: Final = "wrong-format"
ALWAYS_REJECT: Final = frozenset({WRONG_RESOLUTION, WRONG_FORMAT})
"""Whatever the rejection rules say: what follows was made for images of this size and kind."""

REASONS: Final[Mapping[str, str]] = {
    "capture_standard_version": "other-standard-version",
    "camera": "other-camera",
    "lens": "other-lens",
    "exposure": "wrong-exposure",
    "lighting": "wrong-lighting",
    "distance_mm": "wrong-distance",
    "angle_deg": "wrong-angle",
    "background": "wrong-background",
    "part_orientation": "wrong-orientation",
    "focus": "out-of-focus",
    "trigger_timing": "wrong-trigger-timing",
    "media_types": WRONG_FORMAT,
    "mm_per_pixel": "wrong-scale",
}
"""The code of a deviation, by the field that it is about."""

_OWN: Final = {(rule.measure, rule.side): rule.reason for rule in RULES}
"""What the audit calls a measure that is too low or too high, by standard or by what it learned."""

_FINDABLE: Final = frozenset(
    {*REASONS.values(), *_OWN.values(), WRONG_RESOLUTION, UNPROVEN, UNREADABLE, DUPLICATE, NEAR_DUPLICATE}
)


@dataclass(frozen=True, slots=True)
class Shot:
    """What a capture says of itself, and what its file and image show.

    Attributes:
        standard_version: That it says it was taken under; None when it does not say.
        camera: None when nobody said it: what was filled in from the standard proves nothing about it.
        texts: Settings in words, by name.
        numbers: Settings and measures, by name.
    """

    standard_version: str | None
    camera: str | None
    width: int
    height: int
    media_type: str
    texts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


class Check(Protocol):
    """One thing that a standard lays down."""

    @property
    def field(self) -> str:
        """Field of the standard."""

    @property
    def what(self) -> str:
        """What is held against it."""

    @property
    def allowed(self) -> str:
        """In words."""

    def found(self, shot: Shot) -> str | None:
        """In words; None when neither capture nor image shows it."""

    def broken(self, shot: Shot) -> str | None:
        """Reason code of the deviation; None when it holds. Only asked of what was found."""


@dataclass(frozen=True, slots=True)
class Named:
    """Camera, version, or a setting in words; case and spacing do not matter."""

    field: str
    wanted: str

    @property
    def what(self) -> str:
        return self.field

    @property
    def allowed(self) -> str:
        return self.wanted

    def found(self, shot: Shot) -> str | None:
        if self.field == "camera":
            return shot.camera
        return (
            shot.standard_version if self.field == "capture_standard_version" else shot.texts.get(self.field)
        )

    def broken(self, shot: Shot) -> str | None:
        same = _folded(self.found(shot) or "") == _folded(self.wanted)
        return None if same else REASONS[self.field]


@dataclass(frozen=True, slots=True)
class Resolution:
    """Pixels; None stands for any."""

    width: int | None
    height: int | None
    field: str = "resolution"
    what: str = "resolution"

    @property
    def allowed(self) -> str:
        return f"{self.width or 'any'} x {self.height or 'any'}"

    def found(self, shot: Shot) -> str | None:
        return f"{shot.width} x {shot.height}"

    def broken(self, shot: Shot) -> str | None:
        same = (self.width or shot.width, self.height or shot.height) == (shot.width, shot.height)
        return None if same else WRONG_RESOLUTION


@dataclass(frozen=True, slots=True)
class Format:
    """Media types of the file."""

    media_types: tuple[str, ...]
    field: str = "media_types"
    what: str = "media_types"

    @property
    def allowed(self) -> str:
        return ", ".join(self.media_types)

    def found(self, shot: Shot) -> str | None:
        return shot.media_type

    def broken(self, shot: Shot) -> str | None:
        return None if shot.media_type in self.media_types else WRONG_FORMAT


@dataclass(frozen=True, slots=True)
class Within:
    """A number between two bounds, which belong to it; an angle as well as it comes back to the same."""

    what: str
    low: float = -math.inf
    high: float = math.inf

    @property
    def field(self) -> str:
        return BOUNDED[self.what]

    @property
    def allowed(self) -> str:
        if self.low == self.high:
            return f"{self.low:.6g}"
        if math.isinf(self.low) or math.isinf(self.high):
            return f"at most {self.high:.6g}" if math.isinf(self.low) else f"at least {self.low:.6g}"
        return f"{self.low:.6g} to {self.high:.6g}"

    def found(self, shot: Shot) -> str | None:
        value = shot.numbers.get(self.what)
        return None if value is None else f"{value:.6g}"

    def broken(self, shot: Shot) -> str | None:
        value = shot.numbers[self.what]
        if self._holds(value) or self._holds(self._turned(value)):
            return None
        return _OWN.get((self.what, "low" if value < self.low else "high"), REASONS[self.field])

    def _holds(self, value: float) -> bool:
        return (
            self.low <= value <= self.high or math.isclose(value, self.low) or math.isclose(value, self.high)
        )

    def _turned(self, value: float) -> float:
        """The same angle, turned by whole turns to the first place from the lower bound on."""
        period = PERIODS.get(self.what)
        if period is None or math.isinf(self.low):
            return value
        return value + math.ceil((self.low - value) / period) * period


@dataclass(frozen=True, slots=True)
class Standard:
    """A capture standard; None and empty stand for what it leaves open.

    Attributes:
        texts: Fields in words, by name.
        numbers: Fields in numbers, by name. Without bounds of its own such a number allows itself only.
        rejecting: Reason codes of its rejection rules.
    """

    version: str = ""
    camera: str | None = None
    width: int | None = None
    height: int | None = None
    media_types: Sequence[str] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    bounds: Sequence[CaptureBound] = ()
    rejecting: frozenset[str] = frozenset()
    checks: tuple[tuple[Check, bool], ...] = field(init=False)
    """Each with whether it is unproven where nothing is found."""
    measured: frozenset[str] = field(init=False)
    """Names of all that is bounded."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "checks", tuple(self._checks()))
        object.__setattr__(self, "measured", frozenset(bound.name for bound in self.bounds))

    def _checks(self) -> Iterator[tuple[Check, bool]]:
        if self.version:
            # Which standard holds is no condition of its own: who does not say is held against the one in force.
            yield Named("capture_standard_version", self.version), False
        if self.camera:
            yield Named("camera", self.camera), True
        if self.width or self.height:
            yield Resolution(self.width, self.height), True
        if self.media_types:
            yield Format(tuple(self.media_types)), True
        known = [bound for bound in self.bounds if bound.name in BOUNDED]
        in_numbers = {BOUNDED[bound.name] for bound in known}
        for name in TEXTS:
            if self.texts.get(name):
                # What is said in numbers is proven by them; the words are for people.
                yield Named(name, self.texts[name]), name not in in_numbers
        for name, value in self.numbers.items():
            if name in NUMBERS and all(bound.name != name for bound in known):
                yield Within(name, value, value), True
        for bound in known:
            low = -math.inf if bound.low is None else bound.low
            yield Within(bound.name, low, math.inf if bound.high is None else bound.high), True

    @property
    def unfindable(self) -> list[str]:
        """Rejection rules that only a person can apply, and bounds that this release does not know."""
        rules = ["rejection_rules"] if self.rejecting - _FINDABLE else []
        return rules + sorted(self.measured - BOUNDED.keys())


@dataclass(frozen=True, slots=True)
class Compliance:
    """How a capture compares with its standard.

    Attributes:
        unproven: Fields, settings and measures that the standard lays down and nothing shows.
    """

    deviations: list[Deviation] = field(default_factory=list)
    unproven: list[str] = field(default_factory=list)
    rejects: list[str] = field(default_factory=list)


def compare(standard: Standard, shot: Shot) -> Compliance:
    """Hold a capture against its station's standard in force."""
    result = Compliance(unproven=standard.unfindable)
    for check, needed in standard.checks:
        found = check.found(shot)
        if found is None:
            if needed:
                result.unproven.append(check.what)
            continue
        reason = check.broken(shot)
        if reason is not None:
            rejects = reason in ALWAYS_REJECT or reason in standard.rejecting
            result.deviations.append(
                Deviation(
                    reason=reason,
                    field=check.field,
                    what=check.what,
                    standard_version=standard.version,
                    allowed=check.allowed,
                    found=found,
                    rejects=rejects,
                )
            )
    result.rejects.extend(dict.fromkeys(one.reason for one in result.deviations if one.rejects))
    if result.unproven and UNPROVEN in standard.rejecting:
        result.rejects.append(UNPROVEN)
    return result


def numbers_of(settings: Mapping[str, str]) -> dict[str, float]:
    """Settings in numbers; what is none is as if nobody had said it."""
    found = {}
    for name in NUMBERS.keys() & settings.keys():
        try:
            value = float(settings[name])
        except ValueError:
            continue
        if math.isfinite(value):
            found[name] = value
    return found


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()
