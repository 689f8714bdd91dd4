"""Which marks of several people on one image mean the same place.

Greedy by falling overlap: of all pairs of marks by different people the one that overlaps most is joined first, and a
place never takes two marks of one person. With an overlap above one half and marks that do not overlap their own
neighbours this is the best assignment as well; unlike that one it also works for three people and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from dataset_registry.domain.annotations import KeyPoints, Shape
from dataset_registry.domain.geometry import overlap

LEAST_OVERLAP: Final = 0.5
"""Intersection over union from which on two marks mean the same place."""


@dataclass(frozen=True, slots=True)
class Places:
    """What people marked on one image.

    Attributes:
        marks: For each place the mark of each person, None where there is none; shape (places, people).
        overlaps: Of each pair of marks that were joined, by the two people: (person, person, intersection over union).
    """

    marks: list[list[Shape | None]]
    overlaps: list[tuple[int, int, float]]


def places(
    people: Sequence[Sequence[Shape]], width: int, height: int, least: float = LEAST_OVERLAP
) -> Places:
    """Join the marks of several people on an image of this size; key points are no areas and are left out."""
    areas = [
        (person, shape)
        for person, shapes in enumerate(people)
        for shape in shapes
        if not isinstance(shape.geometry, KeyPoints)
    ]
    found = sorted(
        (-likeness, i, j)
        for (i, (one, a)), (j, (other, b)) in combinations(enumerate(areas), 2)
        if one != other and (likeness := overlap(a.geometry, b.geometry, width, height)) >= least
    )
    place_of = {i: {person: i} for i, (person, _) in enumerate(areas)}
    for _, i, j in found:
        if place_of[i] is not place_of[j] and not place_of[i].keys() & place_of[j].keys():
            joined = place_of[i] | place_of[j]
            place_of |= dict.fromkeys(joined.values(), joined)
    different = {id(place): place for place in place_of.values()}.values()
    marks = [
        [areas[place[person]][1] if person in place else None for person in range(len(people))]
        for place in different
    ]
    overlaps = [
        (areas[i][0], areas[j][0], -likeness) for likeness, i, j in found if place_of[i] is place_of[j]
    ]
    return Places(marks, overlaps)
