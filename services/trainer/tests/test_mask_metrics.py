"""Dice and IoU of masks: two libraries count alike, figures follow by hand, and a measured crack is compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.metrics import contingency_table
from sklearn.metrics import f1_score, jaccard_score
from trainer.adapters.mask_metrics import overlap
from trainer.domain.crack_errors import Crack, crack_figures, errors
from trainer.domain.segmentation import dice_of, dice_of_images, dice_of_shown, iou_of, mean_of_classes


def test_scikit_image_counts_the_same_pixels_and_scikit_learn_has_the_same_figures() -> None:
    random = np.random.default_rng(8)
    actual = random.integers(0, 4, (5, 20, 30)).astype(np.uint8)
    noise = random.integers(0, 4, actual.shape)
    predicted = np.where(random.random(actual.shape) < 0.7, actual, noise).astype(np.uint8)
    counts = np.stack([overlap(*pair, 3) for pair in zip(predicted, actual, strict=True)])
    for row, drawn, said in zip(counts, actual, predicted, strict=True):
        table = contingency_table(drawn, said).toarray()
        assert row[:, 0].tolist() == table.diagonal()[1:].tolist()
        assert row[:, 1].tolist() == table.sum(axis=0)[1:].tolist()
        assert row[:, 2].tolist() == table.sum(axis=1)[1:].tolist()
    flat = (actual.ravel(), predicted.ravel())
    np.testing.assert_allclose(dice_of(counts), f1_score(*flat, labels=[1, 2, 3], average=None))
    np.testing.assert_allclose(iou_of(counts), jaccard_score(*flat, labels=[1, 2, 3], average=None))


def test_by_hand() -> None:
    actual = np.array([[1, 1, 0, 2]], np.uint8)
    predicted = np.array([[1, 0, 2, 2]], np.uint8)
    counts = overlap(predicted, actual, 2)[np.newaxis]
    assert counts[0].tolist() == [[1, 1, 2], [1, 2, 1]]
    assert dice_of(counts).tolist() == pytest.approx([2 / 3, 2 / 3])
    assert iou_of(counts).tolist() == pytest.approx([1 / 2, 1 / 2])


def test_large_defects_do_not_hide_small_ones_in_the_mean_over_images() -> None:
    counts = np.array([[[100, 100, 100]], [[0, 0, 4]]])
    assert dice_of(counts)[0] == pytest.approx(200 / 204)
    assert dice_of_images(counts)[0] == pytest.approx(0.5)


def test_a_false_alarm_on_a_good_image_counts_only_where_all_images_do() -> None:
    counts = np.array([[[10, 10, 10]], [[0, 20, 0]]])
    assert dice_of(counts)[0] == pytest.approx(20 / 40)
    assert dice_of_shown(counts)[0] == 1.0
    assert dice_of_images(counts)[0] == 1.0


def test_a_class_that_nobody_saw_has_no_figure_and_no_part_in_the_mean() -> None:
    nothing = np.zeros((2, 1, 3), np.int64)
    assert np.isnan(dice_of(nothing))[0] and np.isnan(dice_of_images(nothing))[0]
    assert mean_of_classes(np.array([0.5, np.nan, 0.7])) == pytest.approx(0.6)
    assert math.isnan(mean_of_classes(np.array([np.nan])))


def test_errors_of_a_measured_crack() -> None:
    actual = Crack(length=50.0, width=4.0, centre=(10.0, 20.0), angle=-88.0)
    predicted = Crack(length=45.0, width=5.0, centre=(13.0, 16.0), angle=89.0)
    assert errors(predicted, actual).tolist() == pytest.approx([1, 5, 0.1, 1, 5, 3])
    rows = np.stack([errors(predicted, actual), errors(None, actual), np.full(6, np.nan)])
    figures = crack_figures(rows)
    assert figures["cracks_found"] == 0.5
    assert figures["crack_angle_error_deg"] == pytest.approx(3.0)
    assert math.isnan(crack_figures(rows[1:])["crack_length_error_px"])
