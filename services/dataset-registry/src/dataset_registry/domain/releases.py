"""Which release decides where, and which one comes back when it is withdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataset_registry.domain.refusals import conflict

ACTIVE, SHADOW = "active", "shadow"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One change of the active release in one scope, as it was recorded.

    Attributes:
        release: What decides from then on.
        rolled_back: True when an earlier release came back.
    """

    release: str
    rolled_back: bool


def active(history: Sequence[Deployment]) -> str | None:
    """What decides now. `history` is of one scope, the oldest first."""
    return history[-1].release if history else None


def rollback_target(history: Sequence[Deployment], withdrawn: str, wider: str | None = None) -> str:
    """The release that decides again when `withdrawn` is taken back.

    Releases that were rolled back themselves are passed over, also when the wider scope's came back in their
    place: after A, B, rollback to A, C, the way back is A.

    Args:
        history: Changes in this scope, the oldest first.
        withdrawn: The release to take back.
        wider: What decides in the next wider scope; it comes back when nothing came before in this one.

    Raises:
        Refused: `withdrawn` does not decide here, or nothing came before it.
    """
    standing: list[str] = []
    for change in history:
        if change.rolled_back:
            gone = standing[-1:]
            while standing and standing.pop() != change.release:
                pass
            standing = [release for release in standing if release not in gone]
        standing.append(change.release)
    if not standing or standing[-1] != withdrawn:
        now = standing[-1] if standing else "no release"
        raise conflict("release-not-active", f"{withdrawn} does not decide in this scope; {now} does.")
    earlier = [release for release in (wider, *standing[:-1]) if release not in (None, withdrawn)]
    if not earlier or earlier[-1] is None:
        raise conflict(
            "nothing-to-roll-back-to",
            f"{withdrawn} is the first release in this scope; promote another one instead.",
        )
    return earlier[-1]
