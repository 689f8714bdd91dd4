"""Which release decides where: a table that only grows by replacing itself, so readers need no lock."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

ACTIVE, CANARY, SHADOW = "active", "canary", "shadow"
MODES = (ACTIVE, CANARY, SHADOW)

Ready = Callable[[str], bool]


class Place(NamedTuple):
    """A scope of the plant; None stands for any line or any station."""

    line: str | None
    station: str | None

    def around(self) -> Iterator[Place]:
        """Where something that concerns this place may stand, the closest first."""
        if self.station is not None:
            yield self
        if self.line is not None:
            yield Place(self.line, None)
        yield Place(None, None)


@dataclass(frozen=True, slots=True)
class Assignment:
    """The release that decides in a place since a moment.

    Attributes:
        stand_ins: What decided here before, the latest first. The first of them that is loaded decides while `release`
            is not.
        after_withdrawal: True after a rollback: nothing stands in, because what was withdrawn may not decide a single
            part more.
        follows: True after a rollback to nothing of this place's own: `release` is what was withdrawn, and what is
            around decides.
    """

    release: str
    since: datetime
    stand_ins: tuple[str, ...] = ()
    after_withdrawal: bool = False
    follows: bool = False

    @property
    def candidates(self) -> tuple[str, ...]:
        """Who may decide, the best first."""
        return () if self.follows else (self.release, *self.stand_ins)

    def bars(self, other: Assignment) -> str | None:
        """The release that a wider assignment may not let decide here, because it was withdrawn here later."""
        return self.release if self.follows and self.since > other.since else None


@dataclass(frozen=True, slots=True)
class Trial:
    """A release beside the one that decides; with share 0 it was withdrawn."""

    release: str
    since: datetime
    share: float = 1.0

    def takes(self, capture_id: str) -> bool:
        """Whether a capture is in this release's share: the same for every replay, and for every larger share."""
        digest = hashlib.sha256(f"{self.release} {capture_id}".encode()).digest()
        return int.from_bytes(digest[:8]) < self.share * 2**64


@dataclass(frozen=True, slots=True)
class Choice:
    """What to ask for one capture: the release that decides, and those that only watch."""

    deciding: str
    shadows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseTable:
    """All assignments and trials.

    Nothing here depends on the order in which the two topics are read, nor on events that compaction has removed: a
    later event of a place and mode replaces an earlier one, and a canary counts only while it is newer than what
    decides around it.
    """

    active: Mapping[Place, Assignment] = field(default_factory=dict)
    canary: Mapping[Place, Trial] = field(default_factory=dict)
    shadow: Mapping[Place, Trial] = field(default_factory=dict)

    def released(
        self,
        place: Place,
        release: str,
        mode: str,
        at: datetime,
        share: float = 1.0,
        stand_ins: Sequence[str] = (),
    ) -> ReleaseTable:
        """The table after `model.released`; an event older than what is known of its place changes nothing."""
        if mode == CANARY:
            return replace(self, canary=_newer(self.canary, place, Trial(release, at, share)))
        if mode == SHADOW:
            return replace(self, shadow=_newer(self.shadow, place, Trial(release, at)))
        known = self.active.get(place)
        before = tuple(stand_ins) or (known.candidates if known else ())
        assignment = Assignment(release, at, tuple(name for name in before if name != release))
        # A shadow that was promoted watches no longer.
        shadow = {
            where: trial
            for where, trial in self.shadow.items()
            if not (where == place and trial.release == release)
        }
        return replace(self, active=_newer(self.active, place, assignment), shadow=shadow)

    def rolled_back(
        self, place: Place, release: str, withdrawn: str, mode: str, at: datetime, follows: bool = False
    ) -> ReleaseTable:
        """The table after `model.rolled-back`: `release` decides here, `withdrawn` no more.

        With `follows`, `release` only tells what decides around this place now; a later promotion there reaches in.
        """
        if mode == CANARY:
            return replace(self, canary=_newer(self.canary, place, Trial(withdrawn, at, 0.0)))
        if mode == SHADOW:
            return replace(self, shadow=_newer(self.shadow, place, Trial(withdrawn, at, 0.0)))
        decides = withdrawn if follows else release
        assignment = Assignment(decides, at, after_withdrawal=True, follows=follows)
        return replace(self, active=_newer(self.active, place, assignment))

    def choose(self, place: Place, capture_id: str, ready: Ready) -> Choice | None:
        """The releases for a capture of which `ready` is true; None when no release can decide there now."""
        deciding = self._deciding(place, ready)
        if deciding is None:
            return None
        canary = self._canary(place)
        if canary is not None and canary.takes(capture_id) and ready(canary.release):
            deciding = canary.release
        watching = next((self.shadow[where] for where in place.around() if where in self.shadow), None)
        if (
            watching is None
            or not watching.share
            or watching.release == deciding
            or not ready(watching.release)
        ):
            return Choice(deciding)
        return Choice(deciding, (watching.release,))

    def wanted(self, ready: Ready, refused: Collection[str] = ()) -> tuple[str, ...]:
        """The releases that should be loaded, the most urgent first.

        All that decide or watch, those that stand in for them meanwhile, and for each place the one before: so a
        rollback waits for nothing.
        """
        ranks = [
            [name for name in assignment.candidates if name not in refused]
            for assignment in self.active.values()
        ]
        deciding = [names[0] for names in ranks if names]
        standing_in = [next((name for name in names if ready(name)), None) for names in ranks]
        before = [names[1] for names in ranks if len(names) > 1]
        trials = [trial.release for place in self.canary if (trial := self._canary(place))]
        trials += [trial.release for trial in self.shadow.values() if trial.share]
        names = dict.fromkeys(
            [*sorted(deciding), *(name for name in standing_in if name), *sorted(trials), *sorted(before)]
        )
        return tuple(name for name in names if name not in refused)

    def _deciding(self, place: Place, ready: Ready) -> str | None:
        """Who decides where no canary does. A wider place's release keeps on until a closer one's first is loaded."""
        withdrawn: list[Assignment] = []
        for where in place.around():
            assignment = self.active.get(where)
            if assignment is None:
                continue
            if assignment.follows:
                withdrawn.append(assignment)
                continue
            barred = {closer.bars(assignment) for closer in withdrawn}
            name = next((name for name in assignment.candidates if ready(name) and name not in barred), None)
            if name is not None or assignment.stand_ins or assignment.after_withdrawal:
                return name
        return None

    def _canary(self, place: Place) -> Trial | None:
        """The closest canary, unless something was assigned or rolled back around it since."""
        closest: Trial | None = None
        for where in place.around():
            closest = closest or self.canary.get(where)
            assignment = self.active.get(where)
            if assignment is None:
                continue
            if closest is not None and closest.since <= assignment.since:
                closest = None
            if not assignment.follows:
                return closest if closest is not None and closest.share > 0 else None
        return None


class _Dated(Protocol):
    @property
    def since(self) -> datetime: ...


_Entry = TypeVar("_Entry", bound=_Dated)


def _newer(table: Mapping[Place, _Entry], place: Place, entry: _Entry) -> dict[Place, _Entry]:
    """`table` with the entry, unless it holds a later one: the two topics are read independently."""
    known = table.get(place)
    if known is not None and known.since > entry.since:
        return dict(table)
    return {**table, place: entry}
