"""What the audit knows of one station: its limits by product variant, its recent images."""

from __future__ import annotations

from collections.abc import Mapping

from quality_audit.domain.duplicates import RecentImages, Seen
from quality_audit.domain.limits import ABSOLUTE, Learner, LearningSettings, Limits

VARIANTS_MOST = 100
"""Product variants of one station with limits of their own. Where a serial number is sent as the variant, each part
would be one.
"""


class StationMemory:
    """Grows with every audited image of the station, in their order.

    Limits are kept for each product variant: a new variant starts with the absolute limits instead of being
    called blurred or dark because it does not look like the old one. Of more than `VARIANTS_MOST`, the one that
    was accepted longest ago starts again.
    """

    def __init__(self, learning: LearningSettings, recent: int) -> None:
        self._learning = learning
        self._learners: dict[str | None, Learner] = {}
        self.recent = RecentImages(recent)

    def limits(self, variant: str | None) -> Limits:
        """The limits in force for a variant."""
        learner = self._learners.get(variant)
        return learner.limits if learner else ABSOLUTE

    def accept(self, variant: str | None, capture_id: str, measures: Mapping[str, float]) -> None:
        """Learn from an accepted image."""
        # Taken out and put in again: the order of the dict is that of the last accepted images.
        learner = self._learners.pop(variant, None) or Learner(self._learning)
        self._learners[variant] = learner
        if len(self._learners) > VARIANTS_MOST:
            del self._learners[next(iter(self._learners))]
        learner.accept(capture_id, measures)

    def remember(self, seen: Seen) -> Seen | None:
        """Gives the image that is forgotten for this one."""
        return self.recent.add(seen)
