"""Which release decides where, which ones run beside it, and which one comes back when it is withdrawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from dataset_registry.domain.refusals import conflict

ACTIVE, CANARY, SHADOW = "active", "canary", "shadow"
FALLBACKS_KEPT = 5

Row = Mapping[str, Any]
_Change = TypeVar("_Change", bound=Row)


class Place(NamedTuple):
    """A scope in which a release decides; '' stands for any line or any station."""

    line: str
    station: str

    def around(self) -> list[Place]:
        """This place and those that hold it, the narrowest first."""
        wider = [Place(self.line, "")] if self.line and self.station else []
        wider += [Place("", "")] if self.line else []
        return [self, *wider]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One change of the active release in one scope, as it was recorded.

    Attributes:
        release: What decides from then on.
        rolled_back: True when an earlier release came back.
        follows: True when there was none: what decides around this scope decides here again.
    """

    release: str
    rolled_back: bool
    follows: bool = False


class WayBack(NamedTuple):
    """What decides in a scope after a rollback, and whether it does so only because it decides around it."""

    release: str
    follows: bool


def in_force(changes: Iterable[_Change]) -> list[_Change]:
    """Those of the last changes of each scope and mode that still hold.

    A canary ends when what decides around it changes, a shadow when its release is promoted in its scope; a
    rollback ends either. A scope that follows what decides around it has nothing of its own in force.

    Args:
        changes: mode, line, station (None is any), release, rolled_back, follows, sequence.
    """
    last = {(change["mode"], place_of(change)): change for change in changes}
    return [change for (_, place), change in last.items() if _holds(change, place, last)]


def place_of(change: Row) -> Place:
    """Where a change was made."""
    return Place(change["line"] or "", change["station"] or "")


def deciding(held: Iterable[Row], place: Place) -> str | None:
    """The release that decides in a place, canaries aside: that of the narrowest scope that holds it."""
    active = {place_of(change): str(change["release"]) for change in held if change["mode"] == ACTIVE}
    return next((active[where] for where in place.around() if where in active), None)


def decides_in(held: Iterable[_Change], release: str, place: Place) -> list[_Change]:
    """Where within a place a release decides, as the active one or as a canary: the widest scope first."""
    found = [
        change
        for change in held
        if change["release"] == release
        and change["mode"] in (ACTIVE, CANARY)
        and place in place_of(change).around()
    ]
    return sorted(found, key=lambda change: (len(place_of(change).around()), change["mode"] == CANARY))


def fallbacks(history: Sequence[Deployment], release: str) -> list[str]:
    """What may stand in for a release that is promoted now: the latest first, nothing that was withdrawn."""
    earlier = dict.fromkeys(reversed(_standing(history)))
    return [name for name in earlier if name != release][:FALLBACKS_KEPT]


def way_back(history: Sequence[Deployment], withdrawn: str, wider: str | None = None) -> WayBack:
    """What decides again when `withdrawn` is taken back.

    Releases that were rolled back themselves are passed over: after A, B, rollback to A, C, the way back is A.

    Args:
        history: Changes in this scope, the oldest first.
        withdrawn: The release to take back.
        wider: What decides in the next wider scope; it is followed when nothing came before in this one.

    Raises:
        Refused: `withdrawn` does not decide here, or nothing came before it.
    """
    standing = _standing(history)
    if not standing or standing[-1] != withdrawn:
        raise not_deciding(withdrawn, standing[-1] if standing else None)
    earlier = [release for release in standing[:-1] if release != withdrawn]
    if earlier:
        return WayBack(earlier[-1], follows=False)
    if wider is None or wider == withdrawn:
        raise conflict(
            "nothing-to-roll-back-to",
            f"{withdrawn} is the first release in this scope; promote another one instead.",
        )
    return WayBack(wider, follows=True)


def not_deciding(release: str, now: str | None) -> Exception:
    """The refusal to withdraw what has nothing to say."""
    return conflict(
        "release-not-active", f"{release} does not decide in this scope; {now or 'no release'} does."
    )


def _holds(change: Row, place: Place, last: Mapping[tuple[str, Place], Row]) -> bool:
    """Whether a change has not ended."""
    if change["mode"] == ACTIVE:
        return not change["follows"]
    if change["rolled_back"]:
        return False
    if change["mode"] == SHADOW:
        promoted = last.get((ACTIVE, place))
        over = promoted is not None and promoted["release"] == change["release"]
        return not (promoted and over and promoted["sequence"] > change["sequence"])
    for where in place.around():
        active = last.get((ACTIVE, where))
        if active is not None and change["sequence"] < active["sequence"]:
            return False
        if active is not None and not active["follows"]:
            return True
    return False


def _standing(history: Sequence[Deployment]) -> list[str]:
    """The releases that decided one after the other and were not withdrawn, the last of them decides now."""
    standing: list[str] = []
    for change in history:
        if change.rolled_back:
            gone = standing[-1:]
            while standing and standing.pop() != change.release:
                pass
            standing = [release for release in standing if release not in gone]
        if not change.follows:
            standing.append(change.release)
    return standing
