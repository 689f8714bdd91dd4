"""What the audit knows of one station: its standard, its limits by product variant, its recent images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quality_audit.domain.duplicates import RecentImages, Seen
from quality_audit.domain.limits import Learner, LearningSettings


@dataclass(frozen=True, slots=True)
class Standard:
    """The part of a capture standard that a file alone can violate; None and empty stand for any."""

    width: int | None = None
    height: int | None = None
    media_types: Sequence[str] = ()

    def violations(self, width: int, height: int, media_type: str) -> list[str]:
        """Reason codes."""
        wrong_size = (self.width or width, self.height or height) != (width, height)
        wrong_type = bool(self.media_types) and media_type not in self.media_types
        return ["wrong-resolution"] * wrong_size + ["wrong-format"] * wrong_type


class StationMemory:
    """Grows with every audited image of the station, in their order.

    Limits are kept for each product variant: a new variant starts with the absolute limits instead of being
    called blurred or dark because it does not look like the old one.
    """

    def __init__(self, learning: LearningSettings, recent: int) -> None:
        self._learning = learning
        self._learners: dict[str | None, Learner] = {}
        self.recent = RecentImages(recent)

    def learner(self, variant: str | None) -> Learner:
        """The limits for a variant."""
        if variant not in self._learners:
            self._learners[variant] = Learner(self._learning)
        return self._learners[variant]

    def remember(self, seen: Seen) -> Seen | None:
        """Gives the image that is forgotten for this one."""
        return self.recent.add(seen)
