"""The classes in force, as far as reviews and labels need them."""

from __future__ import annotations

from dataclasses import dataclass

from dataset_registry.domain.refusals import invalid


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Attributes:
    version: None before the first one was published; then any class name is taken.
    """

    version: str | None
    good_class: str
    defects: tuple[str, ...]

    def allows_defect(self, class_name: str) -> bool:
        return class_name in self.defects if self.version else class_name != self.good_class

    def only_defect_class(self) -> str:
        """The class of a defect that nobody named. Raises Refused when there is more than one to choose
        from."""
        if not self.defects:
            return "defect"
        if len(self.defects) > 1:
            raise invalid("class-missing", f"Say which defect it is: {', '.join(self.defects)}.")
        return self.defects[0]

    def is_defect(self, class_name: str) -> bool:
        return class_name != self.good_class


UNPUBLISHED = Taxonomy(version=None, good_class="good", defects=())
"""Before anyone published a taxonomy."""


def model_verdict(proposed_class: str | None, defect_score: float | None, taxonomy: Taxonomy) -> str | None:
    """good or defect, as the model had it; None when it was not asked."""
    if proposed_class is not None and (
        proposed_class == taxonomy.good_class or proposed_class in taxonomy.defects
    ):
        return "defect" if taxonomy.is_defect(proposed_class) else "good"
    if defect_score is not None:
        return "defect" if defect_score >= 0.5 else "good"
    return None
