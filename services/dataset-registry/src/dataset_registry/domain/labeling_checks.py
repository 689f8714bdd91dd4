"""What an annotation must be before it is taken: sound shapes, classes of one taxonomy version, no proposal that nobody
confirmed. Everything that is wrong is said at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dataset_registry.domain.annotations import (
    AMBIGUITIES,
    Annotation,
    Box,
    Geometry,
    KeyPoints,
    Mask,
    Polygon,
    Shape,
    Verdict,
)
from dataset_registry.domain.geometry import Flaw, Problem, fitted
from dataset_registry.domain.measurements import measured
from dataset_registry.domain.refusals import Because, Refused
from dataset_registry.domain.taxonomy import UNPUBLISHED

_KIND_OF: Mapping[type, str] = {Box: "box", Polygon: "polygon", Mask: "mask", KeyPoints: "key-points"}
_ALLOWED: Mapping[str, frozenset[str]] = {
    "classify": frozenset(),
    "box": frozenset({"box", "key-points"}),
    "segment": frozenset({"polygon", "mask", "key-points"}),
    "zone": frozenset({"box", "polygon", "key-points"}),
}
"""Kinds of shape by a class's region rule; key points measure what another shape marks."""
_SEVERITIES = ("critical", "major", "minor", "monitor-only")


class ClassRule(NamedTuple):
    """What a taxonomy version says of one class.

    Attributes:
        region_rule: classify, box, segment or zone; None where the taxonomy does not say.
    """

    is_defect: bool
    severity: str
    region_rule: str | None


@dataclass(frozen=True, slots=True)
class Guide:
    """The taxonomy version that a batch is labeled under.

    Attributes:
        version: None before the first one was published; then any class name is taken.
        classes: In the order of the document.
        good_class: Of these; asked for with each shape of an import, so it is looked for once.
    """

    version: str | None = None
    classes: Mapping[str, ClassRule] = field(default_factory=dict)
    good_class: str = field(init=False)

    def __post_init__(self) -> None:
        good = (name for name, rule in self.classes.items() if not rule.is_defect)
        object.__setattr__(self, "good_class", next(good, UNPUBLISHED.good_class))

    @staticmethod
    def of(version: str, document: Mapping[str, Any]) -> Guide:
        """The guide in a published taxonomy document."""
        return Guide(
            version,
            {
                row["name"]: ClassRule(row["is_defect"], row["severity"], row.get("region_rule"))
                for row in document["classes"]
            },
        )

    def knows(self, class_name: str) -> bool:
        return self.version is None or class_name in self.classes

    def image_class(self, annotation: Annotation) -> str:
        """The most severe class of a labeled annotation, the first in the taxonomy among equals; else the good one."""
        names = list(self.classes)

        def rank(name: str) -> tuple[int, int, str]:
            rule = self.classes.get(name)
            return (
                _SEVERITIES.index(rule.severity) if rule else len(_SEVERITIES),
                names.index(name) if rule else 0,
                name,
            )

        defects = classes_of(annotation) - {self.good_class}
        return min(defects, key=rank, default=self.good_class)


class ImageSize(NamedTuple):
    """What shapes are held against.

    Attributes:
        mm_per_pixel: None where the station's scale is not known.
    """

    width: int
    height: int
    mm_per_pixel: float | None = None


def classes_of(annotation: Annotation) -> frozenset[str]:
    """Of the image as a whole and of its shapes."""
    return frozenset(annotation.classes) | {shape.class_name for shape in annotation.shapes}


def checked(given: Annotation, guide: Guide, image: ImageSize) -> Annotation:
    """The annotation as it is kept: under the guide's version, shapes inside the image, measured here. Raises Refused
    with all its problems."""
    problems = [*_of_the_whole(given, guide), *_of_classes(given, guide)]
    shapes = list[Shape]()
    for shape in given.shapes:
        problems += _of_one(shape, guide)
        try:
            geometry = fitted(shape.geometry, image.width, image.height)
        except Flaw as flaw:
            problems.append(Problem(flaw.reason, flaw.advice, shape.shape_id))
        else:
            sizes = measured(geometry, image.mm_per_pixel)
            shapes.append(
                Shape(  # not by `replace`, which takes three times as long; an import does nothing more often
                    shape.shape_id,
                    shape.class_name,
                    geometry,
                    shape.instance,
                    shape.origin,
                    shape.confirmed,
                    sizes,
                )
            )
    if problems:
        raise _refused(problems)
    classes = tuple(dict.fromkeys(given.classes))
    return Annotation(given.verdict, classes, tuple(shapes), given.ambiguity, guide.version)


def _refused(problems: list[Problem]) -> Refused:
    first = problems[0]
    more = f" And {len(problems) - 1} more; see problems." if len(problems) > 1 else ""
    return Refused(
        Because.INVALID,
        first.reason,
        first.advice + more,
        problems=[
            {"reason": problem.reason, "advice": problem.advice, "shape_id": problem.shape_id}
            for problem in problems
        ],
    )


def _of_the_whole(given: Annotation, guide: Guide) -> Iterator[Problem]:
    if given.taxonomy_version not in (None, guide.version):
        yield Problem(
            "other-taxonomy-version",
            f"This work is done under taxonomy {guide.version}, not {given.taxonomy_version}; load the task again and"
            " choose classes from its palette.",
        )
    ids = [shape.shape_id for shape in given.shapes]
    for twice in sorted({name for name in ids if ids.count(name) > 1}) if len(set(ids)) < len(ids) else ():
        yield Problem("shape-twice", f"Two shapes are named {twice}; each has a name of its own.", twice)
    if given.verdict is Verdict.AMBIGUOUS:
        if given.ambiguity is None or given.ambiguity.reason not in AMBIGUITIES:
            yield Problem("ambiguity-without-reason", f"Say why: {', '.join(AMBIGUITIES)}.")
        return
    if given.ambiguity is not None:
        yield Problem(
            "ambiguity-beside-verdict",
            f"A reason for doubt goes with ambiguous only, not with {given.verdict}.",
        )
    if given.verdict is Verdict.UNUSABLE and (given.classes or given.shapes):
        yield Problem(
            "marks-on-unusable",
            "Nobody can tell anything from an unusable image; remove its classes and shapes.",
        )
    if given.verdict is Verdict.LABELED and not given.classes and not given.shapes:
        yield Problem("nothing-said", f"Say {guide.good_class}, or mark what is wrong.")


def _of_classes(given: Annotation, guide: Guide) -> Iterator[Problem]:
    proposed = given.ambiguity.proposed_class if given.ambiguity else None
    for name in dict.fromkeys((*given.classes, *((proposed,) if proposed else ()))):
        if not guide.knows(name):
            yield _unknown(name, guide, None)
    if guide.good_class in given.classes and len(classes_of(given)) > 1:
        yield Problem(
            "good-and-defect",
            f"{guide.good_class} stands alone; remove it, or remove what is marked as a defect.",
        )


def _of_one(shape: Shape, guide: Guide) -> Iterator[Problem]:
    name = shape.class_name
    if not shape.confirmed:
        yield Problem(
            "proposal-not-confirmed",
            f"{shape.shape_id} is a proposal that nobody has confirmed; confirm it, or remove it.",
            shape.shape_id,
        )
    if not guide.knows(name):
        yield _unknown(name, guide, shape.shape_id)
        return
    if name == guide.good_class:
        yield Problem(
            "good-shape",
            f"{name} is said of a whole image; remove the shape, or choose its defect.",
            shape.shape_id,
        )
    rule = guide.classes[name].region_rule if name in guide.classes else None
    kind = kind_of(shape.geometry)
    allowed = _ALLOWED.get(rule) if rule else None
    if allowed is not None and kind not in allowed:
        how = (
            f"marked by {' or '.join(sorted(allowed))}" if allowed else "said of the whole image, not marked"
        )
        yield Problem(
            "shape-kind-not-allowed",
            f"{name} is {how} (taxonomy {guide.version}), not by {kind}.",
            shape.shape_id,
        )


def kind_of(geometry: Geometry) -> str:
    """box, polygon, mask or key-points."""
    return _KIND_OF[type(geometry)]


def _unknown(name: str, guide: Guide, shape_id: str | None) -> Problem:
    return Problem(
        "unknown-class",
        f"{name} is no class of taxonomy {guide.version}; choose one of {', '.join(guide.classes)}.",
        shape_id,
    )
