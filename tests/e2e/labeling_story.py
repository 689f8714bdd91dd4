"""What the chapters of the labeling story share."""

from __future__ import annotations

from dataclasses import dataclass, field

from .labeling_story_data import Material, Picture
from .labeling_story_room import Deed, choose
from .labeling_story_world import People, World

FIRST, SECOND = "guide-1", "guide-2"


@dataclass
class Story:
    """What the chapters hand on.

    Attributes:
        said: By image of the blind batch, the class that each of the two gave.
        answers: How many answers were given through the console.
    """

    world: World
    people: People
    given: Material
    batches: dict[str, str] = field(default_factory=dict)
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    answers: int = 0
    versions: list[str] = field(default_factory=list)

    def key(self, class_name: str) -> str:
        """The digit of a class; "" where it has none."""
        names = [one["name"] for one in self.given.classes if one["is_defect"]]
        number = names.index(class_name) + 1
        return str(number) if number < 10 else ""

    def draw_with(self, class_name: str) -> Deed:
        """Draw with a class from now on; a chosen mark becomes of it."""
        return choose(self.key(class_name), class_name)

    @property
    def doubtful(self) -> Picture:
        """About this one the guide does not decide."""
        return self.given.single.pictures[1]

    def of_split_class(self) -> list[Picture]:
        """What has a label of the class that is divided."""
        there = [picture for one in self.given.sets for picture in one.of(self.given.split)]
        return [picture for picture in there if picture != self.doubtful]
