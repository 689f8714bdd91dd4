"""The crew works through the API alone: each review gets the people it wants, disputes their owner, actions a proof."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from andon_demo.crew import KEEP_EVERY, Crew
from andon_demo.parts import Part
from andon_demo.people import QA_OWNER
from andon_demo.registry_api import ApiError


class _Registry:
    """dataset-registry as its people see it, in memory."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reviews: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.actions: dict[str, dict[str, Any]] = {}
        self.closed: dict[str, dict[str, Any]] = {}
        self.taxonomies: list[str] = []

    def ask(self, number: int, wanted: int) -> None:
        self.reviews[f"r{number}"] = {
            "review_id": f"r{number}",
            "answers_wanted": wanted,
            "state": "open",
            "context": {"part_id": f"SN-{number}"},
        }

    def open_action(self, action_id: str, kind: str, signal: str) -> None:
        self.actions[action_id] = {
            "action_id": action_id,
            "kind": kind,
            "title": kind,
            "owner": "d.okafor",
            "signal": {"kind": signal, "evidence": ["c1", "c2"]},
        }

    def get(self, path: str, **query: Any) -> Any:
        with self.lock:
            if path == "/v1/actions":
                return {"items": [a for i, a in self.actions.items() if i not in self.closed]}
            name = query.get("not_answered_by")
            items = [r for r in self.reviews.values() if r["state"] == query["state"]]
            return {
                "items": [
                    r for r in items if name not in [a["reviewer"] for a in self.answers[r["review_id"]]]
                ]
            }

    def put(self, path: str, body: dict[str, Any]) -> Any:
        self.taxonomies.append(path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        with self.lock:
            if path == "/v1/datasets/snapshots":
                return {"hash": "a" * 64, "items": 5}
            _, _, what, identity, command = path.split("/")
            if what == "actions":
                self.closed[identity] = body
                return {}
            return self._answered(self.reviews[identity], command, body)

    def _answered(self, review: dict[str, Any], command: str, body: dict[str, Any]) -> Any:
        expected = "disputed" if command == "adjudication" else "open"
        if review["state"] != expected:
            raise ApiError(f"POST answered 409: the review is {review['state']}")
        given = self.answers[review["review_id"]]
        given.append(body)
        if command == "adjudication":
            review["state"] = "completed"
        elif len(given) == review["answers_wanted"]:
            review["state"] = "completed" if len({a["verdict"] for a in given}) == 1 else "disputed"
        return review


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("andon_demo.crew.POLL_S", 0.01)
    monkeypatch.setattr("andon_demo.crew.ACTION_POLL_S", 0.01)


def _part(number: int) -> Part:
    doubt = 1 / 3 if number % 2 else 0.0
    return Part(f"{number}.png", Path(f"{number}.png"), "normal", doubt, "poly", "cell", number)


def _until(condition: Any, crew: Crew) -> None:
    done = threading.Event()
    for _ in range(2000):
        crew.check()
        if condition():
            return
        done.wait(0.005)
    raise AssertionError("it did not come about")


def _crew(registry: _Registry, lamp_replaced: Any = lambda: True) -> Crew:
    truth = {f"SN-{n}": (_part(n), None) for n in range(200)}
    return Crew(lambda name: registry, truth, ["crack"], 1, lamp_replaced)  # type: ignore[arg-type,return-value]


def test_all_reviews_are_answered_by_as_many_different_people_as_wanted() -> None:
    registry = _Registry()
    for number in range(60):
        registry.ask(number, 1 + number % 2)
    crew = _crew(registry)
    crew.start()
    _until(lambda: all(r["state"] == "completed" for r in registry.reviews.values()), crew)
    crew.stop()
    disputed = 0
    for number in range(60):
        names = [a["reviewer"] for a in registry.answers[f"r{number}"]]
        assert len(set(names)) == len(names)
        people = [name for name in names if name != QA_OWNER]
        assert len(people) == 1 + number % 2
        disputed += QA_OWNER in names
    assert 0 < disputed < 30
    assert crew.trouble == []


def test_actions_are_closed_with_proof_or_left_open_with_a_reason() -> None:
    registry = _Registry()
    for number in range(KEEP_EVERY):
        registry.open_action(f"a{number}", "add-good-examples", "false-reject-spike")
    registry.open_action("variant", "variant-evaluation-batch", "new-variant")
    registry.open_action("guide", "update-guide-and-relabel", "reviewer-disagreement")
    registry.open_action("score", "adjust-deployment", "score-drift")
    registry.open_action("slow", "adjust-deployment", "slow-decision")
    crew = _crew(registry)
    crew.start()
    _until(lambda: len(registry.closed) + len(crew.left_open) == len(registry.actions), crew)
    crew.stop()
    assert set(crew.left_open) == {f"a{KEEP_EVERY - 1}", "variant"}
    assert registry.closed["a0"]["proof"] == {"dataset_version": "a" * 64, "samples_added": "2"}
    assert registry.taxonomies == ["/v1/taxonomies/demo-2"]
    assert "not the model" in registry.closed["score"]["note"]
    assert registry.closed["slow"]["outcome"] == "no-action"
    done = [body for body in registry.closed.values() if body["outcome"] == "done"]
    assert len(done) == len(registry.closed) - 1
    assert all(body["proof"] for body in done)
    assert all(body["note"] for body in registry.closed.values())


def test_the_light_is_not_called_mended_before_it_is() -> None:
    registry = _Registry()
    registry.open_action("light", "restore-capture-standard", "capture-drift")
    registry.open_action("other", "add-good-examples", "false-reject-spike")
    mended = threading.Event()
    crew = _crew(registry, mended.is_set)
    crew.start()
    _until(lambda: "other" in registry.closed, crew)
    assert "light" not in registry.closed
    mended.set()
    _until(lambda: "light" in registry.closed, crew)
    crew.stop()
