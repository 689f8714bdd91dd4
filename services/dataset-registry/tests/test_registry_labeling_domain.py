"""The rules of the labeling room: what an annotation must be, when two agree, what is worth labeling first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dataset_registry.adapters.shapes_json import annotation_from_json, annotation_to_json
from dataset_registry.domain.annotations import (
    Ambiguity,
    Annotation,
    Box,
    Geometry,
    KeyPoints,
    Mask,
    Origin,
    Polygon,
    Shape,
    Verdict,
)
from dataset_registry.domain.labeling_agreement import compared, consensus, matched
from dataset_registry.domain.labeling_checks import Guide, ImageSize, checked
from dataset_registry.domain.labeling_priority import (
    Evidence,
    Surroundings,
    disagreement,
    priorities,
    priority,
    rarity,
    uncertainty,
)
from dataset_registry.domain.labeling_proposals import of_model, to_confirm
from dataset_registry.domain.refusals import Refused

GUIDE = Guide.of(
    "t1",
    {
        "classes": [
            {"name": "good", "severity": "minor", "is_defect": False},
            {"name": "stain", "severity": "minor", "is_defect": True, "region_rule": "classify"},
            {"name": "crack", "severity": "critical", "is_defect": True, "region_rule": "segment"},
            {"name": "scratch", "severity": "minor", "is_defect": True},
            {"name": "chip", "severity": "major", "is_defect": True, "region_rule": "box"},
        ]
    },
)
SIZE = ImageSize(100, 80, 0.5)
TRIANGLE = Polygon((((10.0, 10.0), (40.0, 10.0), (10.0, 40.0)),))
SQUARE_MASK = Mask(80, 100, "bl01n10o0Q3")


def shape(class_name: str = "scratch", geometry: Geometry | None = None, shape_id: str = "s1") -> Shape:
    return Shape(shape_id, class_name, geometry or Box(10, 10, 20, 20))


def labeled(*shapes: Shape, classes: tuple[str, ...] = ()) -> Annotation:
    return Annotation(Verdict.LABELED, classes, shapes)


def reasons(annotation: Annotation, guide: Guide = GUIDE) -> list[str]:
    """Of the problems for which it is refused."""
    with pytest.raises(Refused) as refused:
        checked(annotation, guide, SIZE)
    problems = refused.value.more["problems"]
    assert isinstance(problems, list)
    assert refused.value.reason == problems[0]["reason"]
    assert all(problem["advice"] for problem in problems)
    return [problem["reason"] for problem in problems]


class TestChecked:
    def test_it_is_measured_and_bears_the_version(self) -> None:
        kept = checked(labeled(shape(geometry=Box(-0.3, 10, 20.3, 20))), GUIDE, SIZE)
        assert kept.taxonomy_version == "t1"
        assert kept.shapes[0].geometry == Box(0, 10, 20, 20)
        assert dict(kept.shapes[0].measurements)["width_mm"] == 10

    def test_all_problems_are_said_together(self) -> None:
        wrong = labeled(
            shape("nothing", Box(90, 10, 20, 20), "a"),
            replace(shape(shape_id="b"), confirmed=False, origin=Origin.MODEL),
            shape("good", shape_id="c"),
            shape("stain", shape_id="d"),
            classes=("dust",),
        )
        assert reasons(replace(wrong, taxonomy_version="t0")) == [
            "other-taxonomy-version",
            "unknown-class",
            "unknown-class",
            "outside-image",
            "proposal-not-confirmed",
            "good-shape",
            "shape-kind-not-allowed",
        ]

    def test_a_confirmed_proposal_keeps_its_origin(self) -> None:
        kept = checked(labeled(replace(shape(), origin=Origin.MODEL)), GUIDE, SIZE)
        assert (kept.shapes[0].origin, kept.shapes[0].confirmed) == (Origin.MODEL, True)

    @pytest.mark.parametrize(
        ("class_name", "geometry", "allowed"),
        [
            ("crack", TRIANGLE, True),
            ("crack", Box(10, 10, 20, 20), False),
            ("crack", KeyPoints((("a", (1.0, 1.0)),)), True),
            ("chip", Box(10, 10, 20, 20), True),
            ("chip", TRIANGLE, False),
            ("stain", Box(10, 10, 20, 20), False),
            ("scratch", TRIANGLE, True),
        ],
    )
    def test_a_region_rule_holds_where_the_taxonomy_has_one(
        self, class_name: str, geometry: Geometry, allowed: bool
    ) -> None:
        annotation = labeled(shape(class_name, geometry))
        if allowed:
            assert checked(annotation, GUIDE, SIZE).shapes
        else:
            assert reasons(annotation) == ["shape-kind-not-allowed"]

    @pytest.mark.parametrize(
        ("annotation", "reason"),
        [
            (Annotation(Verdict.LABELED), "nothing-said"),
            (Annotation(Verdict.LABELED, ("good", "stain")), "good-and-defect"),
            (Annotation(Verdict.LABELED, ("good",), (shape(),)), "good-and-defect"),
            (Annotation(Verdict.UNUSABLE, ("stain",)), "marks-on-unusable"),
            (Annotation(Verdict.AMBIGUOUS), "ambiguity-without-reason"),
            (Annotation(Verdict.AMBIGUOUS, ambiguity=Ambiguity("because")), "ambiguity-without-reason"),
            (Annotation(Verdict.AMBIGUOUS, ambiguity=Ambiguity("other", "", "dust")), "unknown-class"),
            (
                Annotation(Verdict.LABELED, ("stain",), ambiguity=Ambiguity("other")),
                "ambiguity-beside-verdict",
            ),
            (labeled(shape(), shape()), "shape-twice"),
        ],
    )
    def test_what_does_not_go_together(self, annotation: Annotation, reason: str) -> None:
        assert reasons(annotation) == [reason]

    def test_before_a_taxonomy_was_published_any_class_is_taken(self) -> None:
        assert checked(labeled(shape("whatever")), Guide(), SIZE).taxonomy_version is None

    def test_the_class_of_an_image_is_its_most_severe_one(self) -> None:
        assert GUIDE.image_class(labeled(shape("scratch"), shape("crack"), classes=("chip",))) == "crack"
        assert GUIDE.image_class(labeled(shape("scratch"), classes=("stain",))) == "stain", (
            "the first of equals"
        )
        assert GUIDE.image_class(labeled(classes=("good",))) == "good"
        assert Guide().image_class(labeled(shape("dent"))) == "dent"


class TestJson:
    def test_there_and_back(self) -> None:
        said = Annotation(
            Verdict.AMBIGUOUS,
            ("stain",),
            (
                replace(shape(), instance=3, measurements=(("a_px", 1.0),)),
                shape("crack", TRIANGLE, "s2"),
                shape("crack", SQUARE_MASK, "s3"),
                replace(
                    shape(
                        "scratch",
                        KeyPoints((("end", (3.0, 4.0)), ("start", (1.0, 2.0))), (("start", "end"),)),
                        "s4",
                    ),
                    origin=Origin.MODEL,
                    confirmed=False,
                ),
            ),
            Ambiguity("boundary", "where does it end?", "crack"),
            "t1",
        )
        assert annotation_from_json(annotation_to_json(said)) == said


class TestAgreement:
    def test_the_same_classes_and_places(self) -> None:
        left = labeled(shape(geometry=Box(10, 10, 20, 20)), shape("crack", TRIANGLE, "s2"))
        right = labeled(shape("crack", TRIANGLE, "x"), shape(geometry=Box(12, 10, 20, 20), shape_id="y"))
        comparison = compared(left, right, 100, 80)
        assert comparison.agrees
        assert comparison.score == 1.0

    @pytest.mark.parametrize(
        ("other", "score"),
        [
            (labeled(shape("chip")), 0.0),
            (labeled(shape(geometry=Box(60, 50, 20, 20))), 0.5),
            (labeled(shape(), shape(geometry=Box(60, 50, 20, 20), shape_id="s2")), (1.0 + 2 / 3) / 2),
            (labeled(classes=("good",)), 0.0),
            (Annotation(Verdict.UNUSABLE), 0.0),
            (labeled(shape(geometry=Box(20, 10, 20, 20))), 0.5),
        ],
    )
    def test_what_differs(self, other: Annotation, score: float) -> None:
        comparison = compared(labeled(shape()), other, 100, 80)
        assert not comparison.agrees
        assert comparison.score == pytest.approx(score)

    def test_a_class_of_the_image_and_of_a_shape_count_alike(self) -> None:
        assert compared(labeled(classes=("stain",)), labeled(classes=("stain",)), 100, 80).agrees
        assert not compared(labeled(classes=("scratch",)), labeled(shape("scratch")), 100, 80).agrees

    def test_doubts_agree_whatever_their_reason(self) -> None:
        left = Annotation(Verdict.AMBIGUOUS, ambiguity=Ambiguity("boundary"))
        right = Annotation(Verdict.AMBIGUOUS, ambiguity=Ambiguity("other"))
        assert compared(left, right, 100, 80).agrees

    def test_each_shape_is_matched_once_and_the_best_first(self) -> None:
        left = [
            shape(geometry=Box(10, 10, 20, 20), shape_id="a"),
            shape(geometry=Box(12, 10, 20, 20), shape_id="b"),
        ]
        right = [
            shape(geometry=Box(12, 10, 20, 20), shape_id="x"),
            shape(geometry=Box(10, 10, 20, 20), shape_id="y"),
        ]
        assert sorted(matched(left, right, 100, 80)) == [(0, 1), (1, 0)]
        assert matched(left, right[:1], 100, 80) == [(1, 0)]

    def test_key_points_are_the_same_when_they_are_near(self) -> None:
        def line(end: float) -> Shape:
            points = (("end", (end, 10.0)), ("start", (10.0, 10.0)))
            return shape("crack", KeyPoints(points, (("start", "end"),)))

        assert compared(labeled(line(90)), labeled(line(93)), 100, 80).agrees
        assert not compared(labeled(line(90)), labeled(line(80)), 100, 80).agrees

    def test_the_answer_that_is_most_like_the_others_is_taken(self) -> None:
        answers = [labeled(shape(geometry=Box(10 + x, 10, 20, 20))) for x in (-3, 0, 3)]
        assert consensus(answers, 100, 80) == 1
        assert consensus([answers[0], answers[0]], 100, 80) == 0
        assert consensus([*answers, labeled(classes=("good",))], 100, 80) is None


class TestPriority:
    def test_one_strong_signal_is_enough_and_more_add_to_it(self) -> None:
        assert priority(None, None, None, None) == (0.0, "nothing speaks for it in particular")
        uncertain = priority(1.0, None, None, 0.0)
        assert uncertain == (0.6, "uncertain 1.00")
        assert priority(1.0, None, None, 0.5).value == pytest.approx(0.7)
        assert priority(0.9, 1.0, 0.05, 0.2).reason == "disagreement 1.00, uncertain 0.90, rare class 0.20"
        assert priority(1.0, 1.0, 1.0, 1.0).value < 1.0

    @pytest.mark.parametrize(
        ("score", "expected"), [(0.5, 1.0), (0.3, 1.0), (0.175, 0.5), (0.0, 0.0), (0.95, 0.2)]
    )
    def test_uncertainty_falls_with_the_distance_from_the_band(self, score: float, expected: float) -> None:
        found = uncertainty(Evidence(defect_score=score, pass_below=0.3, reject_from=0.75))
        assert found == pytest.approx(0.0 if score == 0.0 else expected)

    def test_nothing_is_known_without_a_score(self) -> None:
        assert uncertainty(Evidence()) is None
        assert disagreement(Evidence()) is None
        assert rarity(Evidence(predicted_class="crack"), {}) is None

    def test_people_who_differ_count_more_than_one_who_overruled_the_model(self) -> None:
        assert disagreement(Evidence(disputed=True, overruled=True)) == 1.0
        assert 0.0 < (disagreement(Evidence(overruled=True)) or 0.0) < 1.0

    def test_a_class_is_rare_below_an_even_share(self) -> None:
        counts = {"good": 90, "crack": 10}
        assert rarity(Evidence(predicted_class="crack"), counts) == pytest.approx(0.8)
        assert rarity(Evidence(predicted_class="good"), counts) == 0.0
        assert rarity(Evidence(predicted_class="dent"), counts) == 1.0

    def test_the_image_that_looks_like_nothing_labeled_comes_first(self) -> None:
        around = Surroundings({}, np.array([0b1111, 1 << 63], np.uint64))
        images = {
            "same": Evidence(perceptual_hash=0b1111),
            "near": Evidence(perceptual_hash=0b1110),
            "new": Evidence(perceptual_hash=0xFFFF_FFFF),
            "unknown": Evidence(),
        }
        found = priorities(images, around)
        ranked = sorted(images, key=lambda name: -found[name].value)
        assert ranked[:2] == ["new", "near"]
        assert (found["new"].reason, found["same"].value, found["unknown"].value) == ("novel 1.00", 0.0, 0.0)


REGION = {"class_name": "crack", "x": 12.0, "y": 30.5, "width": 40.0, "height": 6.0, "score": 0.8}


class TestProposals:
    def test_each_region_is_an_unconfirmed_shape(self) -> None:
        outline = [12.0, 33.0, 52.0, 30.5, 52.0, 36.5]
        points = {"start": [12.0, 33.0], "end": [52.0, 33.0]}
        seen = of_model([REGION, REGION | {"outline": outline}, REGION | {"key_points": points}], "crack")
        assert seen is not None
        assert [(s.origin, s.confirmed) for s in seen.shapes] == [(Origin.MODEL, False)] * 3
        assert [type(s.geometry) for s in seen.shapes] == [Box, Polygon, KeyPoints]
        assert reasons(seen, Guide()) == ["proposal-not-confirmed"] * 3

    def test_a_class_alone_or_nothing(self) -> None:
        assert of_model([], None) is None
        assert of_model([], "good") == Annotation(Verdict.LABELED, ("good",))

    def test_an_earlier_label_must_be_confirmed_anew(self) -> None:
        assert [s.confirmed for s in to_confirm(labeled(shape())).shapes] == [False]
