"""The script of the demo: which image is taken when, where, of what, and what goes wrong on purpose.

Pure and seeded: the same parts, number and seed give the same script, so that two runs can be compared.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from andon_demo.parts import Part, variants


class Play(StrEnum):
    """What is played into one shot. Everything else in the stream is the image as it is."""

    BLURRED = "blurred"
    OVER_EXPOSED = "over-exposed"
    UNDER_EXPOSED = "under-exposed"
    CROPPED = "cropped"
    DARK = "dark-station"
    NEW_VARIANT = "new-variant"
    TRUNCATED = "truncated"
    WRONG_TYPE = "wrong-type"
    DUPLICATE = "duplicate"
    RETRY = "retry"
    CONFLICT = "conflicting-retry"


SPOILED = (Play.BLURRED, Play.OVER_EXPOSED, Play.UNDER_EXPOSED, Play.CROPPED)
"""The camera delivers an image that shows less than it should."""

REFUSED = (Play.TRUNCATED, Play.WRONG_TYPE, Play.CONFLICT)
"""What capture-ingest has to refuse."""

_EXTRA = (Play.TRUNCATED, Play.WRONG_TYPE, Play.DUPLICATE, Play.RETRY, Play.CONFLICT)

SHARES: Mapping[Play, float] = {
    Play.BLURRED: 0.012,
    Play.OVER_EXPOSED: 0.010,
    Play.UNDER_EXPOSED: 0.010,
    Play.CROPPED: 0.010,
    Play.TRUNCATED: 0.008,
    Play.WRONG_TYPE: 0.003,
    Play.DUPLICATE: 0.015,
    Play.RETRY: 0.010,
    Play.CONFLICT: 0.003,
}
"""Share of all images that a play gets, at least one each."""

CLEAN_UNTIL = 0.15
"""Until here nothing is spoiled: the stations' limits are measured from images they accept."""
DARK_FROM, DARK_WORST, DARK_UNTIL = 0.42, 0.62, 0.80
DARKEST = 0.42
NEW_VARIANT_FROM, NEW_VARIANT_UNTIL = 0.30, 0.62
NEW_VARIANT_EVERY = 3
"""While the new variant arrives, every so many parts at that station are of it."""
STALL_AT = 0.70

OPERATORS = ("a.kraus", "b.osei", "c.lindqvist", "d.moreau", "e.tanaka")
SUPPLIERS = ("Halden Wafer", "Norsol", "Jade Silicon")


@dataclass(frozen=True, slots=True)
class Station:
    """A station of the demo plant.

    Attributes:
        validated: Variants the model may decide on; empty for any.
    """

    line: str
    name: str
    camera: str
    validated: tuple[str, ...] = ()
    standard: str = "cs-1"

    @property
    def key(self) -> str:
        return f"{self.line}/{self.name}"


@dataclass(frozen=True, slots=True)
class Shot:
    """One upload.

    Attributes:
        number: Place in the stream, from 0.
        metadata: What the camera sends with it; what is missing is left out.
        play: What is played in, if anything.
        light: Gain of the light, 1.0 as it should be.
        repeats: Number of the shot whose trigger or image this one repeats.
    """

    number: int
    part: Part
    station: Station
    trigger_id: str
    metadata: Mapping[str, str]
    play: Play | None = None
    light: float = 1.0
    repeats: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole script.

    Attributes:
        stall_at: Number of the shot at which the model server is stopped for a while.
        invented_variant: The second variant exists in the metadata only, because the images have just one.
    """

    stations: tuple[Station, ...]
    shots: tuple[Shot, ...]
    dark_station: Station
    poly_only: Station
    new_variant: str
    invented_variant: bool
    stall_at: int
    seed: int
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """Images sent: every shot but the retries, which send the same image of the same trigger again."""
        return sum(shot.play is not Play.RETRY for shot in self.shots)

    def count(self, play: Play) -> int:
        return sum(shot.play is play for shot in self.shots)


def most_images(parts: int) -> int:
    """How many images `parts` parts can give, without showing one twice as if it were new."""
    return int(parts / (1 - _extra_share()))


def _extra_share() -> float:
    return sum(SHARES[play] for play in _EXTRA if play is not Play.RETRY)


def write_plan(parts: Sequence[Part], images: int, seed: int) -> Plan:
    """Write the script for about `images` images (never more than the parts allow).

    Raises:
        ValueError: with advice, when there are too few parts to play anything.
    """
    images = min(images, most_images(len(parts)))
    if images < 20:
        raise ValueError(
            f"{images} images are too few for a demo; give at least 20 parts beside the training ones."
        )
    rng = random.Random(seed)
    known = variants(parts)
    invented = len(known) < 2
    usual, new = known[0], known[1] if not invented else f"{known[0]}-b"
    stations = (
        Station("line-a", "cell-1", "cam-a1"),
        Station("line-a", "cell-2", "cam-a2"),
        Station("line-b", "cell-1", "cam-b1", validated=tuple(v for v in known if v != new)),
        Station("line-b", "cell-2", "cam-b2"),
    )
    counts = {play: max(1, round(share * images)) for play, share in SHARES.items()}
    extras = sum(counts[play] for play in _EXTRA if play is not Play.RETRY)
    shown = min(images - extras, len(parts))
    script = _Script(rng, stations, usual, new, invented)
    base = script.lay_out(_drawn(parts, shown, rng))
    shots = _with_extras(_spoiled(base, counts, rng), counts, rng)
    return Plan(
        stations=stations,
        shots=tuple(shots),
        dark_station=stations[1],
        poly_only=stations[2],
        new_variant=new,
        invented_variant=invented,
        stall_at=int(STALL_AT * len(shots)),
        seed=seed,
        left_out={"parts": len(parts) - shown},
    )


def _drawn(parts: Sequence[Part], count: int, rng: random.Random) -> list[Part]:
    """A random choice in random order."""
    return rng.sample(sorted(parts, key=lambda part: part.name), count)


class _Script:
    """Gives each part its station and its papers."""

    def __init__(
        self, rng: random.Random, stations: tuple[Station, ...], usual: str, new: str, invented: bool
    ) -> None:
        self._rng = rng
        self._stations = stations
        self._usual = usual
        self._new = new
        self._invented = invented
        self._triggers = Counter[str]()
        self._visits = 0

    def lay_out(self, parts: list[Part]) -> list[Shot]:
        waiting: deque[Part] = deque(parts)
        shots: list[Shot] = []
        total = len(parts)
        while waiting:
            when = len(shots) / total
            station = self._stations[len(shots) % len(self._stations)]
            part, is_new = self._next_part(waiting, station, when)
            if part is None:
                station = self._rng.choice([s for s in self._stations if not s.validated])
                part = waiting.popleft()
            shots.append(self._shot(len(shots), part, station, when, is_new))
        return shots

    def _next_part(self, waiting: deque[Part], station: Station, when: float) -> tuple[Part | None, bool]:
        """The part that comes to a station, and whether it is of the new variant."""
        if not station.validated:
            return waiting.popleft(), False
        self._visits += NEW_VARIANT_FROM <= when < NEW_VARIANT_UNTIL
        comes_new = NEW_VARIANT_FROM <= when < NEW_VARIANT_UNTIL and self._visits % NEW_VARIANT_EVERY == 1
        wanted = self._new if comes_new and not self._invented else None
        for index, part in enumerate(waiting):
            if part.variant == wanted or (wanted is None and part.variant in station.validated):
                del waiting[index]
                return part, comes_new
        return None, False

    def _shot(self, number: int, part: Part, station: Station, when: float, is_new: bool) -> Shot:
        self._triggers[station.key] += 1
        count = self._triggers[station.key]
        light = light_at(when) if station.key == self._stations[1].key else 1.0
        play = Play.NEW_VARIANT if is_new else Play.DARK if light < 1.0 else None
        variant = self._new if is_new else part.variant
        return Shot(
            number=number,
            part=part,
            station=station,
            trigger_id=f"{station.camera}-{count:06d}",
            metadata=self._papers(number, part, station, variant, when),
            play=play,
            light=light,
        )

    def _papers(self, number: int, part: Part, station: Station, variant: str, when: float) -> dict[str, str]:
        """Metadata as a plant has them: complete mostly, and with the gaps every plant has."""
        rng = self._rng
        lot = int(when * 8) + 1
        papers = {
            "line": station.line,
            "station": station.name,
            "camera": station.camera,
            "part_number": f"{part.product}-{variant}",
            "part_id": f"SN-{number:06d}",
            "product_variant": variant,
            "batch": f"{station.line[-1].upper()}{lot:03d}",
            "shift": "early" if when < 0.5 else "late",
            "operator": OPERATORS[(int(when * 4) + self._stations.index(station)) % len(OPERATORS)],
            "supplier": SUPPLIERS[(lot + len(station.line)) % len(SUPPLIERS)],
            "material": variant,
            "origin": "production",
            "capture_standard_version": station.standard,
        }
        for name, chance in (
            ("operator", 0.06),
            ("supplier", 0.10 if station.line == "line-b" else 0.02),
            ("batch", 0.02),
        ):
            if rng.random() < chance:
                del papers[name]
        return papers


def light_at(when: float) -> float:
    """Gain of the ageing lamp at a moment of the stream (0 to 1): it fades, stays dark, and is replaced."""
    if when < DARK_FROM or when >= DARK_UNTIL:
        return 1.0
    faded = min(1.0, (when - DARK_FROM) / (DARK_WORST - DARK_FROM))
    return 1.0 - faded * (1.0 - DARKEST)


def _spoiled(shots: list[Shot], counts: Mapping[Play, int], rng: random.Random) -> list[Shot]:
    """Spoil some shots after the clean start that have nothing else played in."""
    free = [shot.number for shot in shots if shot.number >= CLEAN_UNTIL * len(shots) and shot.play is None]
    for play in SPOILED:
        for number in rng.sample(free, min(counts[play], len(free))):
            free.remove(number)
            shots[number] = _change(shots[number], play=play)
    return shots


def _with_extras(shots: list[Shot], counts: Mapping[Play, int], rng: random.Random) -> list[Shot]:
    """Add the shots that are no new parts: broken uploads before the good one, twins and repeats behind
    it.
    """
    plain = [
        s.number for s in shots if s.play is None and CLEAN_UNTIL * len(shots) <= s.number < len(shots) - 10
    ]
    before: dict[int, list[Shot]] = {}
    behind: dict[int, list[Shot]] = {}
    for play in _EXTRA:
        for number in rng.sample(plain, min(counts[play], len(plain))):
            plain.remove(number)
            original = shots[number]
            if play in (Play.TRUNCATED, Play.WRONG_TYPE):
                before.setdefault(number, []).append(_change(original, play=play))
            elif play is Play.DUPLICATE:
                twin = _change(original, play=play, trigger_id=f"{original.trigger_id}-again", repeats=number)
                behind.setdefault(min(number + 4 * rng.randint(1, 2), len(shots) - 1), []).append(twin)
            else:
                later = number if play is Play.RETRY else min(number + 9, len(shots) - 1)
                behind.setdefault(later, []).append(_change(original, play=play, repeats=number))
    ordered: list[Shot] = []
    place_of: dict[int, int] = {}
    for shot in shots:
        ordered.extend(before.get(shot.number, []))
        place_of[shot.number] = len(ordered)
        ordered.append(shot)
        ordered.extend(behind.get(shot.number, []))
    return [
        _change(shot, number=place, repeats=None if shot.repeats is None else place_of[shot.repeats])
        for place, shot in enumerate(ordered)
    ]


def _change(
    shot: Shot,
    *,
    number: int | None = None,
    play: Play | None = None,
    trigger_id: str | None = None,
    repeats: int | None = None,
) -> Shot:
    return Shot(
        number=shot.number if number is None else number,
        part=shot.part,
        station=shot.station,
        trigger_id=trigger_id or shot.trigger_id,
        metadata=shot.metadata,
        play=play or shot.play,
        light=shot.light,
        repeats=repeats,
    )
