"""Which release decides where: a table that only grows by replacing itself, so readers need no lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple


class Place(NamedTuple):
    """A scope of the plant; None stands for any line or any station."""

    line: str | None
    station: str | None


@dataclass(frozen=True, slots=True)
class Assignment:
    """The release that decides in a place since a moment.

    `previous` goes on deciding while `release` is being loaded; a rollback has none, because what was withdrawn may
    not decide a single part more.
    """

    release: str
    since: datetime
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What to ask for one capture: the release that decides, and those that only watch."""

    active: str
    shadows: tuple[str, ...] = ()


def _places(line: str, station: str) -> tuple[Place, ...]:
    """Where an assignment for this station may stand, the closest first."""
    return (Place(line, station), Place(line, None), Place(None, None))


@dataclass(frozen=True, slots=True)
class ReleaseTable:
    """All assignments."""

    active: Mapping[Place, Assignment] = field(default_factory=dict)
    shadow: Mapping[Place, Assignment] = field(default_factory=dict)

    def released(self, place: Place, release: str, mode: str, at: datetime) -> ReleaseTable:
        """The table after `model.released`; an event older than what is known of its place changes nothing."""
        if mode == "shadow":
            return replace(self, shadow=_newer(self.shadow, place, Assignment(release, at)))
        known = self.active.get(place)
        previous = known.release if known and known.release != release else None
        active = _newer(self.active, place, Assignment(release, at, previous))
        # A shadow that was promoted watches no longer.
        shadow = {
            where: item
            for where, item in self.shadow.items()
            if not (where == place and item.release == release)
        }
        return ReleaseTable(active, shadow)

    def rolled_back(self, place: Place, release: str, at: datetime) -> ReleaseTable:
        """The table after `model.rolled-back`."""
        return replace(self, active=_newer(self.active, place, Assignment(release, at)))

    def choose(self, line: str, station: str, ready: Callable[[str], bool]) -> Choice | None:
        """The releases for a station of which `ready` is true; None when no release can decide there now."""
        assignment = next(
            (self.active[place] for place in _places(line, station) if place in self.active), None
        )
        if assignment is None:
            return None
        candidates = [name for name in (assignment.release, assignment.previous) if name is not None]
        active = next((name for name in candidates if ready(name)), None)
        if active is None:
            return None
        watching = next(
            (self.shadow[place] for place in _places(line, station) if place in self.shadow), None
        )
        if watching is None or watching.release == active or not ready(watching.release):
            return Choice(active)
        return Choice(active, (watching.release,))

    def wanted(self, ready: Callable[[str], bool]) -> frozenset[str]:
        """The releases that should be loaded: all that decide or watch, and those that stand in for them meanwhile."""
        names = {item.release for table in (self.active, self.shadow) for item in table.values()}
        stand_ins = {
            item.previous
            for item in self.active.values()
            if item.previous is not None and not ready(item.release)
        }
        return frozenset(names | stand_ins)


def _newer(
    table: Mapping[Place, Assignment], place: Place, assignment: Assignment
) -> dict[Place, Assignment]:
    """`table` with the assignment, unless it holds a later one: the two topics are read independently."""
    known = table.get(place)
    if known is not None and known.since > assignment.since:
        return dict(table)
    return {**table, place: assignment}
