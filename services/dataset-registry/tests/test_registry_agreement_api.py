"""Agreement over HTTP: blind answers of reviews and of consensus batches."""

from __future__ import annotations

import pytest

from .conftest import Registry, capture, review
from .labeling_room import Room, box, marked


class TestOverHttp:
    def test_blind_answers_of_reviews(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        registry.take(*(registry.requested(str(n), answers=2) for n in range(4)))
        for n, (one, other) in enumerate(
            [("crack", "crack"), ("crack", "scratch"), ("good", "good"), ("good", "good")]
        ):
            for person, name in (("ada", one), ("ben", other)):
                verdict = {"verdict": "good"} if name == "good" else {"verdict": "defect", "class_name": name}
                assert registry.answer(str(n), person, **verdict).status_code == 200
        body = {"reviewer": "olga", "verdict": "defect", "class_name": "scratch"}
        assert registry.http.post(f"/v1/reviews/{review('1')}/adjudication", json=body).status_code == 200
        found = registry.get("/v1/agreement", by="class")
        assert (found["images"], found["people"]) == (4, ["ada", "ben"])
        assert found["percent"]["value"] == 0.75
        assert found["percent"]["low"] <= 0.75 <= found["percent"]["high"]
        (pair,) = found["pairs"]
        assert pair["cohen"]["value"] == pytest.approx(1 - 0.25 / 0.625)
        assert pair["weighted"]["value"] > pair["cohen"]["value"], (
            "a scratch is nearer to a crack than to good"
        )
        assert found["regions"] is None
        assert {s["name"]: s["percent"]["value"] for s in found["slices"]} == {
            "crack": 0.75,
            "good": 1.0,
            "scratch": 0.75,
        }
        assert registry.get("/v1/agreement", **{"class": "good"})["percent"]["value"] == 1.0

    def test_an_open_review_says_nothing(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        registry.take(registry.requested("1", answers=2))
        registry.answer("1", "ada", "good")
        found = registry.get("/v1/agreement", by="reviewer")
        assert (found["images"], found["percent"]["value"], found["slices"]) == (0, None, [])

    def test_consensus_batches_with_marks(self, registry: Registry) -> None:
        room = Room(registry)
        batch = room.batch(room.captured(2), mode="consensus", answers_wanted=2)
        places = {"ada": (10, 10, 40, 20), "ben": (10, 10, 40, 25)}
        for person, at in places.items():
            first = room.next(person)
            room.said(first, person, marked(box("crack", at)))
            room.said(room.next(person), person, {"verdict": "labeled", "classes": ["good"]})
        found = registry.get("/v1/agreement", batch_id=batch, by="reviewer")
        assert (found["images"], found["percent"]["value"]) == (2, 1.0)
        assert found["regions"]["overlap"] == {"value": 0.8, "low": 0.8, "high": 0.8, "units": 1}
        assert found["regions"]["detection"]["value"] == 1.0
        assert found["regions"]["alpha"]["value"] == 1.0
        assert [s["name"] for s in found["slices"]] == ["ada / ben"]
        assert registry.get("/v1/agreement", batch_id=capture("other"))["images"] == 0
