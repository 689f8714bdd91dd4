"""A board is compared with its template however it lies and whatever the light, and with no other board's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_vision import Preprocessing
from andon_vision.difference_parts import pieces
from andon_vision.difference_shape import NAMES
from andon_vision.errors import ImageRefused
from andon_vision.preprocess import frame_of
from andon_vision.regions import BOXES, read_regions
from andon_vision.registration import register
from andon_vision.template import (
    NO_TEMPLATE,
    Described,
    TemplateSpec,
    compare,
    find_differences,
    plane_of,
)
from andon_vision.template_library import TemplateLibrary, pack_templates

Pixels = npt.NDArray[np.uint8]
SIDE = 320
SPEC = TemplateSpec(margin=(4.0, 4.0, 4.0, 4.0))
SMUDGE = (140, 60, 152, 70)
"""Where `smudged` puts a dark spot: left, top, right, bottom."""


def board(seed: int) -> Pixels:
    """Pads and traces, dark on bright, (320, 320)."""
    random = np.random.default_rng(seed)
    picture = np.full((SIDE, SIDE), 230, np.uint8)
    for _ in range(9):
        x, y = (int(value) for value in random.integers(10, SIDE - 60, 2))
        cv2.rectangle(
            picture, (x, y), (x + int(random.integers(15, 50)), y + int(random.integers(15, 40))), 30, -1
        )
    for at in random.integers(10, SIDE - 10, 6).tolist():
        cv2.line(picture, (0, at), (SIDE, int(at + random.integers(-40, 40))), 30, 5)
    cv2.rectangle(picture, (120, 40), (172, 90), 230, -1)
    return picture


def smudged(picture: Pixels) -> Pixels:
    """The board with a spot of copper where none belongs."""
    spoiled = picture.copy()
    left, top, right, bottom = SMUDGE
    spoiled[top:bottom, left:right] = 30
    return spoiled


def moved(picture: Pixels, right: float, down: float, degrees: float) -> Pixels:
    matrix = cv2.getRotationMatrix2D((SIDE / 2, SIDE / 2), degrees, 1.0) + np.array(
        [[0, 0, right], [0, 0, down]]
    )
    return np.asarray(
        cv2.warpAffine(picture, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def dimmed(picture: Pixels) -> Pixels:
    """Half as much light, less of it on the right, and a sensor's noise."""
    light = 0.5 * np.linspace(1.1, 0.8, SIDE)
    noise = np.random.default_rng(1).normal(0.0, 3.0, picture.shape)
    return np.clip(picture * light + 25.0 + noise, 0, 255).astype(np.uint8)


def certain(described: Described) -> npt.NDArray[np.float32]:
    """Calls each difference the first of two classes when copper is missing, the second when there is too much."""
    light = described[:, 0] > 0
    return np.column_stack([np.full(len(light), 0.1), 0.9 * light, 0.9 * ~light]).astype(np.float32)


@pytest.mark.parametrize(
    "seen",
    [
        lambda picture: picture,
        lambda picture: moved(picture, 5.0, -4.0, 0.0),
        lambda picture: moved(picture, 1.6, 2.3, 1.0),
        lambda picture: moved(picture, -3.0, 2.0, -1.0),
        dimmed,
        lambda picture: dimmed(moved(picture, -4.0, 3.0, 0.7)),
        lambda picture: np.where(picture > 127, 255, 0).astype(np.uint8),
    ],
    ids=["as it is", "shifted", "turned", "turned back", "dim", "dim, shifted, turned", "binarised"],
)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_good_board_has_no_difference_and_a_smudge_is_one(
    seen: Callable[[Pixels], Pixels], seed: int
) -> None:
    template = board(seed)
    assert len(find_differences(seen(template), [template], SPEC).boxes) == 0
    found = compare(seen(smudged(template)), [template], SPEC, 2, certain)
    assert len(found.boxes) == 1
    assert found.boxes[0, 5] == 1
    centre = (found.boxes[0, :2] + found.boxes[0, 2:4]) / 2
    assert np.abs(centre - [146, 65]).max() < 10
    assert found.defect_score == pytest.approx(0.9)


def test_a_template_is_brought_to_the_picture_with_less_than_half_a_pixel_to_spare() -> None:
    template = board(4)
    picture = moved(template, 2.5, -3.25, 0.6)
    found = register(plane_of(picture), plane_of(template))
    assert found.correlation > 0.98
    before = np.abs(plane_of(picture) - plane_of(template)).mean()
    assert np.abs(found.picture - found.template)[found.known].mean() < before / 5
    # What came in over the border is nowhere in the template.
    assert not found.known.all()
    assert found.known.mean() > 0.95


def test_another_boards_template_is_refused_with_a_reason() -> None:
    with pytest.raises(
        ImageRefused, match=r"correlates by .*90% and 0.80 are needed.*add the defect-free picture"
    ) as refused:
        find_differences(board(1), [board(2), board(3)], SPEC)
    assert refused.value.reason == NO_TEMPLATE
    with pytest.raises(ImageRefused, match="there is none for it"):
        find_differences(board(1), [], SPEC)
    with pytest.raises(ImageRefused, match=r"covers [78]\d% of the picture"):
        find_differences(moved(board(1), 60.0, 10.0, 0.0), [board(1)], SPEC)
    blank = np.full((SIDE, SIDE), 200, np.uint8)
    with pytest.raises(ImageRefused, match=NO_TEMPLATE):
        find_differences(blank, [board(1)], SPEC)


def test_a_comparison_reads_as_boxes_do_in_pixels_of_the_original() -> None:
    template = board(2)
    found = compare(smudged(template), [template], SPEC, 2, certain)
    left, top, right, bottom = SMUDGE
    np.testing.assert_allclose(found.boxes[0, :4], [left - 4, top - 4, right + 4, bottom + 4], atol=1.5)
    assert found.heat_map.shape == (SIDE // 8, SIDE // 8)
    assert found.heat_map[8, 18] == int(0.9 * 255)
    assert found.heat_map[:6].max() == 0
    np.testing.assert_allclose(found.class_probabilities, [0.0, 0.9], atol=1e-6)
    frame = frame_of(2 * SIDE, 2 * SIDE, Preprocessing(SIDE, SIDE))
    spec = {"from": BOXES, "score_from": 0.5, "nms_iou": 0.3}
    [region] = read_regions(found.outputs(), ("missing", "extra"), spec, frame, found.defect_score)
    assert region.class_name == "extra"
    assert region.x == pytest.approx(2 * (left - 4), abs=3)


def test_a_board_without_a_difference_passes_and_the_classifier_is_not_asked() -> None:
    def never(described: Described) -> npt.NDArray[np.float32]:
        raise AssertionError("there is nothing to ask")

    found = compare(board(1), [board(1)], SPEC, 2, never)
    assert found.defect_score < 1e-5
    assert found.boxes.shape == (0, 6)
    assert found.heat_map.max() == 0


def test_pieces_of_one_defect_become_one() -> None:
    template = board(1)
    broken = template.copy()
    broken[60:66, 135:141] = broken[60:66, 145:151] = 30
    assert len(find_differences(broken, [template], SPEC).boxes) == 2
    found = compare(broken, [template], SPEC, 2, certain)
    assert len(found.boxes) == 1
    np.testing.assert_allclose(found.boxes[0, :4], [131, 56, 155, 70], atol=1.5)


def test_only_real_pieces_of_one_kind_belong_together() -> None:
    boxes = np.array([[0, 0, 5, 5], [8, 0, 12, 5], [16, 0, 20, 5], [60, 0, 65, 5]], np.float32)
    light, real = np.ones(4, bool), np.ones(4, bool)
    assert pieces(boxes, light, real, 8.0).tolist() == [0, 0, 0, 1]
    assert pieces(boxes, np.array([True, False, True, True]), real, 8.0).tolist() == [0, 1, 2, 3]
    assert pieces(boxes, light, np.array([True, True, False, True]), 8.0).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("spoil", "ring", "parts"),
    [
        # A trace runs from left to right at rows 98 to 102 of the bare window below.
        (lambda picture: cv2.rectangle(picture, (60, 92), (66, 108), 230, -1), 2, 2),
        (lambda picture: cv2.rectangle(picture, (60, 92), (66, 100), 230, -1), 1, 1),
    ],
    ids=["a break leaves two ends", "a bite leaves one piece"],
)
def test_what_a_difference_parts_is_told_in_numbers(
    spoil: Callable[[Pixels], Pixels], ring: int, parts: int
) -> None:
    template = board(1)
    template[60:140, 30:110] = 230
    template[96:104, 30:110] = 30
    template[60:140, 28:32] = template[60:140, 108:112] = 230
    spoiled = template.copy()
    spoil(spoiled)
    found = find_differences(spoiled, [template], SPEC)
    assert len(found.boxes) == 1
    numbers = dict(zip(NAMES, found.described()[0].tolist(), strict=True))
    assert numbers["step"] > 0.8
    assert numbers["dark pieces at 2 in the picture"] * 2 == ring
    assert numbers["dark parts at 2 in the picture"] * 2 == parts
    assert numbers["dark parts at 2 in the template"] * 2 == 1


def test_a_library_finds_the_template_of_a_board_and_keeps_to_the_named_variant() -> None:
    spec = Preprocessing(SIDE, SIDE)
    pictures = {f"v{seed % 2}/{seed}": board(seed) for seed in range(12)}
    packed = pack_templates(pictures)
    assert packed == pack_templates(pictures)
    library = TemplateLibrary(packed, spec)
    seen = dimmed(moved(smudged(board(5)), 4.0, -3.0, 0.8))
    first = next(library.likeliest(seen))
    np.testing.assert_array_equal(first[..., 0], board(5))
    np.testing.assert_array_equal(next(library.likeliest(seen, "v1")), first)
    np.testing.assert_array_equal(next(library.likeliest(seen, "unheard of")), first)
    with pytest.raises(ImageRefused, match=NO_TEMPLATE):
        find_differences(seen, library.likeliest(seen, "v0"), SPEC)
    assert compare(seen, library.likeliest(seen), SPEC, 2, certain).boxes.shape == (1, 6)
    assert list(TemplateLibrary(pack_templates({}), spec).likeliest(seen)) == []


def test_a_description_is_read_back_and_one_of_another_version_refused() -> None:
    assert TemplateSpec.from_json(SPEC.to_json()) == SPEC
    with pytest.raises(ValueError, match="this version cannot compare"):
        TemplateSpec.from_json(SPEC.to_json() | {"magic": 1})
    with pytest.raises(ValueError, match="this version cannot compare"):
        TemplateSpec.from_json({"from": "boxes"})


def test_a_board_torn_to_pieces_does_not_hold_up_the_line() -> None:
    template = board(1)
    torn = template.copy()
    for y in range(4, SIDE - 4, 10):
        for x in range(4, SIDE - 4, 10):
            torn[y : y + 3, x : x + 3] = 255 - torn[y : y + 3, x : x + 3]
    found = find_differences(torn, [template], replace(SPEC, min_correlation=0.3))
    assert len(found.boxes) == 256
    assert found.parts.max() == 256
