"""The model card in the report, and what the model points at on the report's pictures."""

from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest
from andon_demo.rehearsal import DESCRIPTION, Factory
from andon_demo.report.card import card_of
from andon_demo.report.page import render
from andon_demo.report.thumbnails import LINE, thumbnail
from andon_events.records import Region

BOX = Region(class_name="crack", x=20.0, y=30.0, width=40.0, height=20.0, score=0.9)


def test_the_card_answers_what_people_ask() -> None:
    card = card_of(DESCRIPTION)
    assert card is not None
    assert [(line.name, line.value) for line in card.figures] == [("AUROC", 0.93), ("recall", 0.8)]
    facts = dict(card.facts)
    assert facts["chosen by validation AUROC"] == "classification 0.930, anomaly 0.870"
    assert facts["data"] == "painted: 60 to learn from, 20 to validate, 80 independent groups"
    assert facts["thresholds"] == "passes below 0.25, rejected from 0.7"
    assert card.limits[0].startswith("stain was left out; independent images to learn it from: 1")
    assert any("better of two" in text for text in card.limits)


def test_little_is_known_of_little() -> None:
    assert card_of({}) is None
    card = card_of({"task": "anomaly"})
    assert card is not None and card.figures == () and dict(card.facts)["task"] == "anomaly"


def test_the_report_shows_the_card(tmp_path_factory: pytest.TempPathFactory) -> None:
    factory = Factory(tmp_path_factory.mktemp("parts"), images=120)
    page = render(factory.run(), factory.fetch)
    for text in ("The model card", "0.890 to 0.960", "stain was left out", "f" * 64):
        assert text in page


@pytest.mark.parametrize("outline", [[], [20.0, 30.0, 60.0, 30.0, 60.0, 50.0, 20.0, 50.0]])
def test_a_region_is_drawn_where_it_is(outline: list[float]) -> None:
    image = cv2.imencode(".png", np.zeros((100, 100, 3), np.uint8))[1].tobytes()
    region = Region(
        **{name: getattr(BOX, name) for name in ("class_name", "x", "y", "width", "height", "score")},
        outline=outline,
    )
    uri = thumbnail(image, side=200, regions=[region])
    assert uri is not None
    pixels = cv2.imdecode(np.frombuffer(base64.b64decode(uri.split(",")[1]), np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    bright = pixels[:, :, 2] > 100
    assert (
        bright[60, 42:118].all() and bright[62:98, 120].all()
    )  # the upper and the right side, twice as large
    assert not bright[66:94, 46:114].any() and LINE[2] == 255
