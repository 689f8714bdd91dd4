"""Shapes: what is refused, where they lie, what they measure; run lengths against the library that everybody has."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dataset_registry.domain import run_lengths
from dataset_registry.domain.annotations import Box, Geometry, KeyPoints, Mask, Polygon
from dataset_registry.domain.geometry import Flaw, area, bounds, first_crossing, fitted, overlap, rasterised
from dataset_registry.domain.measurements import measured
from pycocotools import mask as coco

WIDTH, HEIGHT = 100, 80
SQUARE = ((10.0, 10.0), (30.0, 10.0), (30.0, 30.0), (10.0, 30.0))
HOLE = ((15.0, 15.0), (25.0, 15.0), (25.0, 25.0), (15.0, 25.0))
ISLAND = ((18.0, 18.0), (22.0, 18.0), (22.0, 22.0), (18.0, 22.0))
BOW_TIE = ((10.0, 10.0), (30.0, 30.0), (30.0, 10.0), (10.0, 30.0))


def painted(left: int, top: int, right: int, bottom: int) -> Mask:
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[top:bottom, left:right] = True
    return Mask(HEIGHT, WIDTH, run_lengths.encode(pixels))


def circle(points: int, radius: float = 30.0) -> tuple[tuple[float, float], ...]:
    angles = np.linspace(0.0, 2.0 * math.pi, points, endpoint=False)
    return tuple((50.0 + radius * math.cos(a), 40.0 + radius * math.sin(a)) for a in angles)


class TestRunLengths:
    def test_as_the_common_library_writes_and_reads_them(self) -> None:
        random = np.random.default_rng(7)
        for _ in range(200):
            height, width = random.integers(1, 60, 2)
            pixels = random.random((height, width)) < random.random()
            theirs = coco.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode()
            assert run_lengths.encode(pixels) == theirs
            assert (run_lengths.decode(theirs, height, width) == pixels).all()

    @pytest.mark.parametrize("full", [True, False])
    def test_a_mask_of_one_value_and_a_large_one(self, full: bool) -> None:
        for shape in ((1, 1), (3, 5), (2000, 3000)):
            pixels = np.full(shape, full)
            theirs = coco.encode(np.asfortranarray(pixels, np.uint8))["counts"].decode()
            assert run_lengths.encode(pixels) == theirs
            assert (run_lengths.decode(theirs, *shape) == pixels).all()

    def test_the_extent_is_that_of_the_pixels(self) -> None:
        random = np.random.default_rng(5)
        for _ in range(200):
            height, width = random.integers(1, 12, 2)
            pixels = random.random((height, width)) < random.random() ** 3
            found = run_lengths.extent(run_lengths.encode(pixels), height, width)
            if not pixels.any():
                assert found is None
                continue
            rows, columns = np.nonzero(pixels)
            assert found == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)

    @pytest.mark.parametrize(
        ("counts", "what"),
        [
            ("", "its runs have 0 pixels, the image has 8000"),
            ("`", "ends in the middle of a number"),
            ("1\u2028", "does not occur"),
            ("11", "its runs have 2 pixels"),
            ("oooooooo1", "longer than any image"),
            ("O1", "negative"),
        ],
    )
    def test_broken_ones(self, counts: str, what: str) -> None:
        with pytest.raises(run_lengths.BrokenRuns, match=what):
            run_lengths.decode(counts, HEIGHT, WIDTH)


class TestRefused:
    @pytest.mark.parametrize(
        ("geometry", "reason"),
        [
            (Box(90, 10, 20, 10), "outside-image"),
            (Box(-0.6, 10, 20, 10), "outside-image"),
            (Box(200, 200, 5, 5), "outside-image"),
            (Box(10, 10, 0, 10), "empty-box"),
            (Box(30, 30, -10, -10), "empty-box"),
            (Box(100.2, 10, 0.2, 10), "empty-box"),
            (Polygon(()), "too-few-points"),
            (Polygon(((),)), "too-few-points"),
            (Polygon((SQUARE[:2],)), "too-few-points"),
            (Polygon(((SQUARE[0], SQUARE[1], SQUARE[0]),)), "too-few-points"),
            (Polygon((BOW_TIE,)), "polygon-crosses-itself"),
            (Polygon((SQUARE, tuple((x + 10, y + 10) for x, y in SQUARE))), "polygon-crosses-itself"),
            (Polygon((((10, 10), (20, 20), (30, 30)),)), "no-area"),
            (Polygon((((10, 10), (120, 10), (10, 30)),)), "outside-image"),
            (Mask(WIDTH, HEIGHT, painted(1, 1, 5, 5).counts), "mask-of-another-size"),
            (Mask(HEIGHT, WIDTH, "oops!"), "broken-mask"),
            (Mask(HEIGHT, WIDTH, run_lengths.encode(np.zeros((HEIGHT, WIDTH), bool))), "empty-mask"),
            (KeyPoints(()), "key-points-unclear"),
            (KeyPoints((("a", (1, 1)), ("a", (2, 2)))), "key-points-unclear"),
            (KeyPoints((("a", (1, 1)),), (("a", "b"),)), "unknown-key-point"),
            (KeyPoints((("a", (1, 81)),)), "outside-image"),
        ],
    )
    def test_with_a_reason_and_advice(self, geometry: Geometry, reason: str) -> None:
        with pytest.raises(Flaw) as refused:
            fitted(geometry, WIDTH, HEIGHT)
        assert refused.value.reason == reason
        assert refused.value.advice.endswith(".")

    def test_the_advice_says_where_an_outline_crosses_itself(self) -> None:
        with pytest.raises(Flaw, match=r"near \(20, 20\)"):
            fitted(Polygon((BOW_TIE,)), WIDTH, HEIGHT)

    def test_rings_that_only_touch_are_sound(self) -> None:
        eight = ((10.0, 10.0), (20.0, 20.0), (30.0, 10.0), (30.0, 30.0), (20.0, 20.0), (10.0, 30.0))
        for rings in ((SQUARE, HOLE, ISLAND), (eight,), (circle(4000),), ((*SQUARE, SQUARE[-1], SQUARE[0]),)):
            assert fitted(Polygon(rings), WIDTH, HEIGHT) == Polygon(rings)

    def test_one_crossing_among_thousands_of_points_is_found(self) -> None:
        points = list(circle(3000))
        points[1500], points[1501] = points[1501], points[1500]
        crossing = first_crossing((tuple(points),))
        assert crossing is not None
        assert math.dist(crossing, (20.0, 40.0)) < 0.5

    def test_a_random_walk_crosses_where_two_of_its_lines_meet(self) -> None:
        """Against the plain check of each line with each other."""
        random = np.random.default_rng(3)
        for points in (4, 5, 7, 9):
            for _ in range(60):
                ring = [tuple(map(float, point)) for point in random.random((points, 2)) * 70]
                lines = list(zip(ring, ring[1:] + ring[:1], strict=True))
                expected = any(_cross(*a, *b) for i, a in enumerate(lines) for b in lines[i + 1 :])
                assert (first_crossing((tuple(ring),)) is not None) == expected


def _cross(
    a: tuple[float, float], b: tuple[float, float], c: tuple[float, float], d: tuple[float, float]
) -> bool:
    def turn(p: tuple[float, float], q: tuple[float, float], r: tuple[float, float]) -> float:
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return turn(a, b, c) * turn(a, b, d) < 0 and turn(c, d, a) * turn(c, d, b) < 0


class TestFitted:
    def test_half_a_pixel_outside_is_moved_to_the_edge(self) -> None:
        assert fitted(Box(-0.5, 0, 100.9, 80.4), WIDTH, HEIGHT) == Box(0, 0, 100, 80)
        ring = ((-0.4, 10.0), (100.5, 10.0), (50.0, 80.2))
        assert fitted(Polygon((ring,)), WIDTH, HEIGHT) == Polygon((((0, 10), (100, 10), (50, 80)),))
        assert fitted(KeyPoints((("a", (100.3, 5.0)),)), WIDTH, HEIGHT) == KeyPoints((("a", (100.0, 5.0)),))

    def test_what_is_inside_stays_as_it_is(self) -> None:
        for geometry in (Box(0, 0, 100, 80), Polygon((SQUARE,)), painted(0, 0, 100, 80)):
            assert fitted(geometry, WIDTH, HEIGHT) == geometry


class TestExtent:
    def test_area(self) -> None:
        assert area(Box(1, 2, 3, 4)) == 12
        assert area(Polygon((SQUARE,))) == 400
        assert area(Polygon((SQUARE, HOLE))) == 300
        assert area(Polygon((SQUARE, HOLE, ISLAND))) == 316
        assert area(painted(10, 10, 30, 20)) == 200
        assert area(KeyPoints((("a", (1, 1)),))) == 0

    def test_bounds(self) -> None:
        assert bounds(Polygon((SQUARE, HOLE))) == Box(10, 10, 20, 20)
        assert bounds(painted(3, 4, 9, 6)) == Box(3, 4, 6, 2)
        assert bounds(KeyPoints((("a", (1, 2)), ("b", (4, 8))))) == Box(1, 2, 3, 6)

    def test_a_polygon_with_a_hole_is_filled_by_the_even_odd_rule(self) -> None:
        pixels = rasterised(Polygon((SQUARE, HOLE)), WIDTH, HEIGHT)
        expected = np.zeros((HEIGHT, WIDTH), bool)
        expected[10:30, 10:30] = True
        expected[15:25, 15:25] = False
        assert (pixels == expected).all()

    def test_a_circle_covers_its_area(self) -> None:
        assert rasterised(Polygon((circle(200),)), WIDTH, HEIGHT).sum() == pytest.approx(
            math.pi * 900, rel=0.01
        )

    @pytest.mark.parametrize(
        ("left", "right", "expected"),
        [
            (Box(0, 0, 10, 10), Box(5, 0, 10, 10), 1 / 3),
            (Box(0, 0, 10, 10), Box(50, 0, 10, 10), 0.0),
            (Box(10, 10, 20, 20), Polygon((SQUARE,)), 1.0),
            (Polygon((SQUARE,)), Polygon((SQUARE, HOLE)), 0.75),
            (painted(10, 10, 30, 30), Polygon((SQUARE,)), 1.0),
            (painted(10, 10, 30, 30), painted(10, 10, 30, 20), 0.5),
            (Box(0, 0, 10, 10), KeyPoints((("a", (1, 1)),)), 0.0),
        ],
    )
    def test_overlap(self, left: Geometry, right: Geometry, expected: float) -> None:
        assert overlap(left, right, WIDTH, HEIGHT) == pytest.approx(expected)
        assert overlap(right, left, WIDTH, HEIGHT) == pytest.approx(expected)

    def test_overlap_in_a_large_image_is_taken_on_a_coarser_grid(self) -> None:
        left = Polygon((((0, 0), (4000, 0), (4000, 3000), (0, 3000)),))
        right = Polygon((((2000, 0), (8000, 0), (8000, 3000), (2000, 3000)),))
        assert overlap(left, right, 8000, 6000) == pytest.approx(0.25, abs=0.01)


class TestMeasured:
    def test_a_box_in_pixels_and_millimetres(self) -> None:
        assert dict(measured(Box(10, 20, 30, 40), 0.1)) == {
            "width_px": 30,
            "height_px": 40,
            "area_px2": 1200,
            "centre_x_px": 25,
            "centre_y_px": 40,
            "width_mm": 3,
            "height_mm": 4,
            "area_mm2": 12,
        }
        assert not any(name.endswith(("_mm", "_mm2")) for name, _ in measured(Box(10, 20, 30, 40), None))

    def test_a_polygon_and_a_mask(self) -> None:
        assert dict(measured(Polygon((SQUARE, HOLE)), 0.5))["area_mm2"] == 75
        assert dict(measured(painted(10, 10, 30, 20), None))["area_px2"] == 200

    def test_a_joined_pair_has_length_centre_and_angle(self) -> None:
        crack = KeyPoints((("start", (10, 40)), ("end", (40, 0))), (("start", "end"),))
        found = dict(measured(crack, 0.2))
        assert (found["length_px"], found["length_mm"], found["start-end_length_px"]) == (50, 10, 50)
        assert (found["centre_x_px"], found["centre_y_px"]) == (25, 20)
        assert found["angle_deg"] == pytest.approx(math.degrees(math.atan2(40, 30)), abs=1e-3)

    def test_the_longest_of_several_is_the_length_and_the_shortest_the_width(self) -> None:
        points = (("a", (0.0, 0.0)), ("b", (60.0, 0.0)), ("c", (30.0, 0.0)), ("d", (30.0, 8.0)))
        found = dict(measured(KeyPoints(points, (("a", "b"), ("c", "d"))), None))
        assert (found["length_px"], found["width_px"], found["c-d_length_px"]) == (60, 8, 8)
        assert (found["angle_deg"], found["c-d_angle_deg"]) == (0, 90)

    def test_points_without_lines_measure_nothing(self) -> None:
        assert measured(KeyPoints((("a", (1, 1)),)), 0.1) == ()
