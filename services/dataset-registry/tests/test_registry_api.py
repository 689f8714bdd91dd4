"""The HTTP API on real PostgreSQL: commands once, pages that stay right, refusals with advice."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from andon_chassis.testing import context
from dataset_registry import openapi

from .conftest import PIXELS, Registry, capture, review

PILOT = {"line": "line-a", "station": "cell-1"}


def problem(answer: Any, status: int, reason: str) -> None:
    assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
    assert (answer.status_code, answer.json()["title"]) == (status, reason)
    assert answer.json()["detail"]


class TestReviews:
    def test_a_completed_review_makes_its_event_and_its_label(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        registry.take(
            registry.captured("1"), registry.decided("1", "route-to-reviewer"), registry.requested("1")
        )
        done = registry.answer("1", "ada", "defect", class_name="scratch", note="left edge").json()
        assert (done["state"], done["verdict"], done["class_name"], done["agreed"]) == (
            "completed",
            "defect",
            "scratch",
            True,
        )
        (completed,) = registry.published("review.completed")
        assert (completed.review_id, completed.decided_by, completed.model_verdict) == (
            review("1"),
            "ada",
            "defect",
        )
        assert [a.reviewer for a in completed.answers] == ["ada"]
        (label,) = registry.published("label.approved")
        assert (label.class_name, label.is_defect, label.taxonomy_version, label.approved_by) == (
            "scratch",
            True,
            "t1",
            "ada",
        )
        assert label.image == registry.image
        assert registry.keys("review.completed") == registry.keys("label.approved") == ["line-a/cell-1"]
        assert registry.line()["in_review"] == 0
        assert registry.line()["labelled"] == 1

    def test_an_unusable_image_gives_no_label(self, registry: Registry) -> None:
        registry.take(registry.requested("1"))
        assert registry.answer("1", "ada", "unusable").json()["state"] == "completed"
        assert len(registry.published("review.completed")) == 1
        assert registry.published("label.approved") == []

    def test_answers_are_blind_until_all_are_given(self, registry: Registry) -> None:
        registry.take(registry.requested("1", answers=2))
        first = registry.answer("1", "ada", "defect", class_name="crack").json()
        assert (first["state"], first["answers_given"], first["answers"]) == ("open", 1, [])
        assert registry.published("review.completed") == []
        second = registry.answer("1", "ben", "defect", class_name="crack").json()
        assert [a["reviewer"] for a in second["answers"]] == ["ada", "ben"]
        assert second["agreed"] is True

    def test_a_dispute_goes_to_the_qa_owner(self, registry: Registry) -> None:
        registry.take(registry.requested("1", answers=2))
        registry.answer("1", "ada", "good")
        disputed = registry.answer("1", "ben", "defect", class_name="crack").json()
        assert disputed["state"] == "disputed"
        assert registry.published("review.completed") == []
        assert registry.line()["disputed"] == 1
        problem(registry.answer("1", "eve"), 409, "review-disputed")
        path = f"/v1/reviews/{review('1')}/adjudication"
        problem(registry.http.post(path, json={"reviewer": "eve", "verdict": "good"}), 403, "not-a-qa-owner")
        done = registry.http.post(path, json={"reviewer": "olga", "verdict": "good"}).json()
        assert (done["state"], done["agreed"], done["decided_by"]) == ("completed", False, "olga")
        (completed,) = registry.published("review.completed")
        assert (completed.agreed, completed.decided_by, completed.verdict) == (False, "olga", "good")
        assert len(completed.answers) == 3
        assert registry.line()["disputed"] == registry.line()["in_review"] == 0

    def test_a_review_goes_on_in_the_trace_that_asked_for_it(self, registry: Registry) -> None:
        traceparent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
        registry.take(replace(registry.requested("1"), traceparent=traceparent))
        registry.answer("1", "ada")
        for topic in ("review.completed", "label.approved"):
            (headers,) = registry.headers(topic)
            assert headers["traceparent"].split("-")[1] == "ab" * 16

    def test_nobody_answers_twice(self, registry: Registry) -> None:
        registry.take(registry.requested("1", answers=2))
        registry.answer("1", "ada")
        problem(registry.answer("1", "ada"), 409, "already-answered")

    def test_two_people_at_the_same_moment(self, registry: Registry) -> None:
        """One answer is wanted, eight people give one: one counts, one event, one label."""
        registry.take(registry.requested("1"))
        start, codes = threading.Barrier(8), list[int]()

        def person(name: str) -> None:
            start.wait()
            codes.append(registry.answer("1", name).status_code)

        people = [threading.Thread(target=person, args=(f"p{n}",)) for n in range(8)]
        for thread in people:
            thread.start()
        for thread in people:
            thread.join()
        assert sorted(codes) == [200] + [409] * 7
        assert len(registry.published("review.completed")) == len(registry.published("label.approved")) == 1

    def test_the_queue_leaves_out_what_i_answered(self, registry: Registry) -> None:
        registry.take(registry.requested("1", answers=2), registry.requested("2", answers=2))
        registry.answer("1", "ada")
        (mine,) = registry.get("/v1/reviews", state="open", not_answered_by="ada")["items"]
        assert mine["review_id"] == review("2")
        assert len(registry.get("/v1/reviews", state="open", not_answered_by="ben")["items"]) == 2

    def test_refusals(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        problem(registry.answer("9", "ada"), 404, "unknown-review")
        registry.take(registry.requested("1"))
        problem(registry.answer("1", "ada", "defect", class_name="dent"), 422, "unknown-class")
        problem(registry.answer("1", "ada", "defect"), 422, "class-missing")
        problem(registry.answer("1", "ada", "perhaps"), 422, "invalid-request")
        problem(registry.answer("1", "ada\0"), 422, "invalid-request")
        problem(registry.http.get("/v1/reviews/12"), 422, "invalid-request")
        assert registry.get(f"/v1/reviews/{review('1')}")["answers_given"] == 0


class TestIdempotency:
    def answer(self, registry: Registry, key: str, reviewer: str, trigger: str = "1") -> Any:
        return registry.http.post(
            f"/v1/reviews/{review(trigger)}/answers",
            json={"reviewer": reviewer, "verdict": "good"},
            headers={"Idempotency-Key": key},
        )

    def test_a_repeat_gets_the_same_answer_and_changes_nothing(self, registry: Registry) -> None:
        registry.take(registry.requested("1", answers=2))
        first, again = self.answer(registry, "k1", "ada"), self.answer(registry, "k1", "ada")
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert registry.get(f"/v1/reviews/{review('1')}")["answers_given"] == 1

    def test_a_key_answers_for_one_command_only(self, registry: Registry) -> None:
        registry.take(registry.requested("1", answers=2), registry.requested("2", answers=2))
        self.answer(registry, "k1", "ada")
        problem(self.answer(registry, "k1", "ben"), 422, "idempotency-key-reused")
        problem(self.answer(registry, "k1", "ada", "2"), 422, "idempotency-key-reused")

    def test_a_refused_command_does_not_use_up_its_key(self, registry: Registry) -> None:
        problem(self.answer(registry, "k1", "ada"), 404, "unknown-review")
        registry.take(registry.requested("1"))
        assert self.answer(registry, "k1", "ada").status_code == 200

    def test_repeats_at_the_same_moment(self, registry: Registry) -> None:
        registry.take(registry.requested("1"))
        start, answers = threading.Barrier(6), list[Any]()

        def send() -> None:
            start.wait()
            answers.append(self.answer(registry, "k1", "ada"))

        threads = [threading.Thread(target=send) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [a.status_code for a in answers] == [200] * 6
        assert len({a.text for a in answers}) == 1
        assert len(registry.published("review.completed")) == 1


class TestActions:
    def close(self, registry: Registry, action_id: str, **body: Any) -> Any:
        whole = {"outcome": "done", "note": "added", "closed_by": "dana", **body}
        return registry.http.post(f"/v1/actions/{action_id}/close", json=whole)

    def test_closing_with_proof(self, registry: Registry) -> None:
        registry.take(registry.signal("s"))
        (action,) = registry.get("/v1/actions", state="open")["items"]
        closed = self.close(registry, action["action_id"], proof={"samples_added": "40"})
        assert closed.json()["state"] == "closed"
        (event,) = registry.published("dataset.action-closed")
        assert (event.action_id, event.signal_id, event.outcome, event.proof) == (
            action["action_id"],
            action["signal"]["signal_id"],
            "done",
            {"samples_added": "40"},
        )
        assert registry.get("/v1/actions", state="open")["items"] == []
        line = registry.line()
        assert (line["open_actions"], line["actions_closed"]) == (0, {"add-good-examples": 1})
        problem(self.close(registry, action["action_id"], outcome="no-action"), 409, "action-closed")

    def test_proof_is_looked_up(self, registry: Registry) -> None:
        registry.take(registry.signal("s"), registry.trained("r2"))
        (action,) = registry.get("/v1/actions")["items"]
        identity = action["action_id"]
        problem(self.close(registry, identity), 422, "proof-missing")
        problem(self.close(registry, identity, proof={"release": "r3"}), 422, "proof-not-found")
        problem(self.close(registry, identity, proof={"dataset_version": "abc"}), 422, "proof-not-found")
        assert registry.published("dataset.action-closed") == []
        assert self.close(registry, identity, proof={"release": "r2"}).status_code == 200

    def test_no_action_is_recorded_with_its_reason(self, registry: Registry) -> None:
        registry.take(registry.signal("s"))
        (action,) = registry.get("/v1/actions")["items"]
        problem(self.close(registry, action["action_id"], outcome="no-action", note=" "), 422, "note-missing")
        assert (
            self.close(registry, action["action_id"], outcome="no-action", note="lamp changed").status_code
            == 200
        )
        assert registry.published("dataset.action-closed")[0].outcome == "no-action"

    def test_unknown(self, registry: Registry) -> None:
        problem(self.close(registry, capture("1"), proof={"samples_added": "1"}), 404, "unknown-action")


class TestPages:
    def test_every_row_once_while_rows_arrive(self, registry: Registry) -> None:
        expected = []
        for number in range(23):
            registry.clock.advance(1)
            registry.take(registry.captured(str(number)))
            expected.append(capture(str(number)))
        seen, cursor = list[str](), None
        while True:
            page = registry.get("/v1/captures", limit=5, **({"cursor": cursor} if cursor else {}))
            seen += [c["capture_id"] for c in page["items"]]
            registry.clock.advance(1)
            registry.take(registry.captured(f"late {len(seen)}"))
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert seen == expected[::-1]

    def test_rows_of_the_same_moment_are_not_lost(self, registry: Registry) -> None:
        registry.take(*(registry.captured(str(number)) for number in range(9)))
        first = registry.get("/v1/captures", limit=6)
        rest = registry.get("/v1/captures", limit=6, cursor=first["next_cursor"])
        assert len({c["capture_id"] for c in first["items"] + rest["items"]}) == 9
        assert rest["next_cursor"] is None

    def test_filters(self, registry: Registry) -> None:
        registry.take(
            registry.captured("1", part_id="p1"),
            registry.captured("2", station="cell-2"),
            registry.decided("1", "reject"),
            registry.decided("2", "pass", station="cell-2"),
        )

        def found(**query: str) -> list[str]:
            return [c["capture_id"] for c in registry.get("/v1/captures", **query)["items"]]

        assert found(kind="reject") == found(part_id="p1") == found(station="cell-1") == [capture("1")]
        assert found(line="line-b") == []
        assert len(found(line="line-a")) == 2

    @pytest.mark.parametrize("cursor", ["nonsense", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwKzAwOjAwIiwibm8tdXVpZCJd"])
    def test_a_wrong_cursor_is_named(self, registry: Registry, cursor: str) -> None:
        answer = registry.http.get("/v1/captures", params={"cursor": cursor})
        assert answer.status_code == 422
        assert answer.json()["title"] in {"unreadable-cursor", "unreadable-value"}


class TestImages:
    def test_image_and_heat_map(self, registry: Registry) -> None:
        registry.take(registry.captured("1"), registry.decided("1"))
        detail = registry.get(f"/v1/captures/{capture('1')}")
        image = registry.http.get(detail["image"]["url"])
        assert (image.content, image.headers["content-type"]) == (PIXELS, "image/png")
        assert "immutable" in image.headers["cache-control"]
        assert hashlib.sha256(image.content).hexdigest() == detail["image"]["sha256"]
        again = registry.http.get(detail["image"]["url"], headers={"If-None-Match": image.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert registry.http.get(detail["heat_map_url"]).content == b"\x89PNG heat"

    def test_what_is_not_there(self, registry: Registry) -> None:
        problem(registry.http.get(f"/v1/captures/{capture('1')}/image"), 404, "unknown-capture")
        registry.take(registry.captured("1"))
        problem(registry.http.get(f"/v1/captures/{capture('1')}/heat-map"), 404, "unknown-heat-map")
        registry.objects.objects.clear()
        problem(registry.http.get(f"/v1/captures/{capture('1')}/image"), 410, "missing-object")


class TestViews:
    """Images for people; the original is untouched."""

    def take(self, registry: Registry, pixels: np.ndarray[Any, Any], suffix: str, media_type: str) -> str:
        data = bytes(cv2.imencode(suffix, pixels)[1])
        ref = registry.objects.put("images", data, media_type)
        made = registry.captured("big")
        image = replace(made.data.image, object=ref, height=pixels.shape[0], width=pixels.shape[1])
        registry.take(replace(made, data=replace(made.data, image=image)))
        return f"/v1/captures/{capture('big')}/image"

    def shown(self, registry: Registry, path: str, view: str, media_type: str) -> np.ndarray[Any, Any]:
        answer = registry.http.get(path, params={"view": view})
        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)

    def test_a_large_image_has_a_small_view(self, registry: Registry) -> None:
        pixels = np.random.default_rng(1).integers(0, 255, (900, 1600), np.uint8)
        path = self.take(registry, pixels, ".png", "image/png")
        assert self.shown(registry, path, "thumbnail", "image/jpeg").shape[:2] == (180, 320)
        assert np.array_equal(self.shown(registry, path, "screen", "image/png"), pixels)
        again = registry.http.get(path, params={"view": "thumbnail"})
        assert len(again.content) < 48_000
        known = {"If-None-Match": again.headers["etag"]}
        assert registry.http.get(path, params={"view": "thumbnail"}, headers=known).status_code == 304
        assert registry.http.get(path, params={"view": "screen"}, headers=known).status_code == 200

    def test_what_no_browser_shows_is_shown(self, registry: Registry) -> None:
        pixels = np.zeros((40, 30, 3), np.uint16)
        pixels[:, :, 2] = 0xC800  # red, in OpenCV's order
        path = self.take(registry, pixels, ".tiff", "image/tiff")
        seen = self.shown(registry, path, "screen", "image/png")
        assert (seen.shape, seen[5, 5].tolist()) == ((40, 30, 3), [0, 0, 0xC8])
        assert self.shown(registry, path, "thumbnail", "image/jpeg").shape == (40, 30, 3)
        assert registry.http.get(path).headers["content-type"] == "image/tiff"

    def test_what_is_no_image_says_so(self, registry: Registry) -> None:
        registry.take(registry.captured("1"))
        registry.image = replace(
            registry.image, object=registry.objects.put("images", b"MM\0*broken", "image/tiff")
        )
        registry.take(registry.captured("2"))
        answer = registry.http.get(f"/v1/captures/{capture('2')}/image", params={"view": "screen"})
        assert answer.status_code == 422
        assert answer.json()["detail"]


class TestReference:
    def test_a_station_is_published_when_it_changes(self, registry: Registry) -> None:
        path, body = "/v1/stations/line-a/cell-1", {"capture_standard_version": "1", "takt_ms": 800}
        assert [registry.http.put(path, json=body).status_code for _ in range(2)] == [201, 200]
        assert registry.http.put(path, json=body | {"capture_standard_version": "2"}).status_code == 201
        assert [s.capture_standard_version for s in registry.published("station.published")] == ["1", "2"]
        (station,) = registry.get("/v1/stations")["items"]
        assert (station["capture_standard_version"], station["takt_ms"]) == ("2", 800)
        assert registry.keys("station.published") == ["line-a/cell-1"] * 2

    def test_going_back_to_an_earlier_standard_is_a_change(self, registry: Registry) -> None:
        for version in ("1", "2", "1"):
            registry.http.put("/v1/stations/l/s", json={"capture_standard_version": version})
        assert [s.capture_standard_version for s in registry.published("station.published")] == [
            "1",
            "2",
            "1",
        ]

    def test_a_policy_version_is_immutable(self, registry: Registry) -> None:
        band = {"severity": "major", "pass_below": 0.2, "reject_from": 0.8}
        path, body = "/v1/policies/p1", {"scope": {"line": "line-a"}, "bands": [band]}
        assert [registry.http.put(path, json=body).status_code for _ in range(2)] == [201, 200]
        problem(registry.http.put(path, json={"bands": [band | {"pass_below": 0.3}]}), 409, "version-taken")
        (policy,) = registry.published("policy.published")
        assert (policy.policy_version, policy.scope.line, policy.bands[0].reject_as) == (
            "p1",
            "line-a",
            "reject",
        )
        assert registry.keys("policy.published") == ["line-a/*"]

    def test_senseless_policies_are_refused(self, registry: Registry) -> None:
        band = {"severity": "major", "pass_below": 0.9, "reject_from": 0.8}
        problem(registry.http.put("/v1/policies/p", json={"bands": [band]}), 422, "invalid-request")
        problem(registry.http.put("/v1/policies/p", json={"bands": []}), 422, "invalid-request")
        body = {"bands": [band | {"pass_below": 0.1}], "scope": {"station": "alone"}}
        problem(registry.http.put("/v1/policies/p", json=body), 422, "invalid-request")

    def test_a_taxonomy_has_one_good_class(self, registry: Registry) -> None:
        registry.publish_taxonomy()
        assert registry.published("taxonomy.published")[0].taxonomy_version == "t1"
        classes = [{"name": "crack", "severity": "major", "is_defect": True}]
        problem(registry.http.put("/v1/taxonomies/t2", json={"classes": classes}), 422, "invalid-request")
        assert [t["version"] for t in registry.get("/v1/taxonomies")["items"]] == ["t1"]


class TestReleases:
    def promote(self, registry: Registry, release: str, **body: Any) -> Any:
        return registry.http.post(f"/v1/releases/{release}/promote", json=body)

    def roll_back(self, registry: Registry, release: str, **body: Any) -> Any:
        return registry.http.post(f"/v1/releases/{release}/rollback", json=body)

    def test_promotion_is_an_event_and_happens_once(self, registry: Registry) -> None:
        problem(self.promote(registry, "r1"), 404, "unknown-release")
        registry.take(registry.trained("r1"))
        assert self.promote(registry, "r1", released_by="mo").json() == {"release": "r1", "changed": True}
        assert self.promote(registry, "r1").json() == {"release": "r1", "changed": False}
        (released,) = registry.published("model.released")
        assert (released.release, released.mode, released.released_by) == ("r1", "active", "mo")
        assert released.bundle.bucket == "models"
        assert registry.keys("model.released") == ["active:*/*"]

    def test_rollback_brings_the_one_before(self, registry: Registry) -> None:
        registry.take(registry.trained("r1"), registry.trained("r2"))
        self.promote(registry, "r1")
        self.promote(registry, "r2")
        back = registry.http.post(
            "/v1/releases/r2/rollback", json={"reason": "escapes", "rolled_back_by": "mo"}
        )
        assert back.json() == {"release": "r1", "changed": True}
        (event,) = registry.published("model.rolled-back")
        assert (event.release, event.from_release, event.reason) == ("r1", "r2", "escapes")
        (deployed,) = registry.get("/v1/deployments")["items"]
        assert (deployed["release"], deployed["rolled_back"]) == ("r1", True)
        problem(registry.http.post("/v1/releases/r2/rollback", json={}), 409, "release-not-active")

    def test_a_pilot_station_falls_back_to_what_decides_around_it(self, registry: Registry) -> None:
        registry.take(registry.trained("r1"), registry.trained("r2"), registry.captured("1"))
        pilot = {"line": "line-a", "station": "cell-1"}
        self.promote(registry, "r1")
        self.promote(registry, "r2", scope=pilot)
        assert registry.line()["stations"][0]["active_release"] == "r2"
        back = registry.http.post("/v1/releases/r2/rollback", json={"scope": pilot})
        assert back.json()["release"] == "r1"
        assert registry.published("model.rolled-back")[0].follows is True
        assert registry.line()["stations"][0]["active_release"] == "r1"

    def test_a_pilot_station_that_fell_back_follows_later_promotions_around_it(
        self, registry: Registry
    ) -> None:
        registry.take(*(registry.trained(f"r{n}") for n in (1, 2, 3)), registry.captured("1"))
        pilot = {"line": "line-a", "station": "cell-1"}
        self.promote(registry, "r1")
        self.promote(registry, "r2", scope=pilot)
        self.roll_back(registry, "r2", scope=pilot)
        assert self.deployed(registry) == [("active", None, "r1", 1.0)]
        self.promote(registry, "r3")
        assert registry.line()["stations"][0]["active_release"] == "r3"
        assert self.promote(registry, "r2", scope=pilot).json()["changed"] is True
        assert self.roll_back(registry, "r2", scope=pilot).json()["release"] == "r3"
        self.promote(registry, "r1", mode="canary", scope=pilot, share=0.5)
        self.roll_back(registry, "r3")
        assert self.deployed(registry) == [("active", None, "r1", 1.0)], (
            "what changed around ended the canary"
        )

    def test_promotions_at_the_same_moment_have_one_order(self, registry: Registry) -> None:
        """What is in force, the last event and the last time all name the same release."""
        releases = [f"r{n}" for n in range(6)]
        registry.take(*(registry.trained(release) for release in releases))
        start = threading.Barrier(len(releases))

        def send(release: str) -> None:
            start.wait()
            assert self.promote(registry, release).json()["changed"] is True

        threads = [threading.Thread(target=send, args=(release,)) for release in releases]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (deployed,) = registry.get("/v1/deployments")["items"]
        events = registry.published("model.released")
        assert len(events) == len(releases)
        assert events[-1].release == deployed["release"]
        assert [e.released_at for e in events] == sorted(e.released_at for e in events)

    def test_shadow_does_not_decide(self, registry: Registry) -> None:
        registry.take(registry.trained("r1"), registry.trained("r2"), registry.captured("1"))
        self.promote(registry, "r1")
        self.promote(registry, "r2", mode="shadow")
        assert registry.keys("model.released") == ["active:*/*", "shadow:*/*"]
        assert registry.line()["stations"][0]["active_release"] == "r1"
        self.roll_back(registry, "r2")
        assert [d["release"] for d in registry.get("/v1/deployments")["items"]] == ["r1"]
        assert self.promote(registry, "r2", mode="shadow").json()["changed"] is True
        self.promote(registry, "r2")
        assert [d["mode"] for d in registry.get("/v1/deployments")["items"]] == ["active"]

    def deployed(self, registry: Registry) -> list[tuple[str, str | None, str, float]]:
        """What is in force: mode, station, release, share; the widest scope first."""
        items = sorted(registry.get("/v1/deployments")["items"], key=lambda d: d["station"] or "")
        return [(d["mode"], d["station"], d["release"], d["share"]) for d in items]

    def test_a_canary_decides_a_share_until_it_is_promoted(self, registry: Registry) -> None:
        registry.take(*(registry.trained(release) for release in ("r1", "r2", "r3")), registry.captured("1"))
        self.promote(registry, "r1")
        assert self.promote(registry, "r2", mode="canary", share=0.1, scope=PILOT).json()["changed"] is True
        assert self.promote(registry, "r2", mode="canary", share=0.1, scope=PILOT).json()["changed"] is False
        assert self.promote(registry, "r2", mode="canary", share=0.3, scope=PILOT).json()["changed"] is True
        assert registry.keys("model.released")[1:] == ["canary:line-a/cell-1"] * 2
        assert [e.share for e in registry.published("model.released")] == [1.0, 0.1, 0.3]
        assert registry.line()["stations"][0]["active_release"] == "r1"
        assert self.deployed(registry)[1] == ("canary", "cell-1", "r2", 0.3)
        self.promote(registry, "r2", scope=PILOT)
        assert self.deployed(registry) == [("active", None, "r1", 1.0), ("active", "cell-1", "r2", 1.0)]
        self.promote(registry, "r3", scope=PILOT)
        last = registry.published("model.released")[-1]
        assert [known.release for known in last.fallbacks] == ["r2"]
        assert self.deployed(registry)[1:] == [("active", "cell-1", "r3", 1.0)]

    def test_a_canary_is_withdrawn_by_one_event_that_pins_nothing(self, registry: Registry) -> None:
        registry.take(*(registry.trained(release) for release in ("r1", "r2", "r3")))
        self.promote(registry, "r1")
        self.promote(registry, "r2", mode="canary", share=0.5, scope=PILOT)
        assert self.roll_back(registry, "r2", scope=PILOT).json() == {"release": "r1", "changed": True}
        (event,) = registry.published("model.rolled-back")
        assert (event.release, event.from_release, event.mode) == ("r1", "r2", "canary")
        assert registry.keys("model.rolled-back") == ["canary:line-a/cell-1"]
        assert self.deployed(registry) == [("active", None, "r1", 1.0)]
        problem(self.roll_back(registry, "r2", scope=PILOT), 409, "release-not-active")

    def test_a_withdrawn_release_decides_nowhere_in_the_scope(self, registry: Registry) -> None:
        registry.take(*(registry.trained(release) for release in ("r1", "r2")))
        cell_2 = PILOT | {"station": "cell-2"}
        for scope in ({}, PILOT, cell_2):
            self.promote(registry, "r1", scope=scope)
        for scope in ({}, PILOT):
            self.promote(registry, "r2", scope=scope)
        self.promote(registry, "r2", mode="canary", share=0.5, scope=cell_2)
        assert self.roll_back(registry, "r2").json()["release"] == "r1"
        told = [(e.mode, e.scope.station, e.release) for e in registry.published("model.rolled-back")]
        assert told == [("active", None, "r1"), ("active", "cell-1", "r1"), ("canary", "cell-2", "r1")]
        assert {release for _, _, release, _ in self.deployed(registry)} == {"r1"}

    def test_what_changes_around_a_canary_ends_it(self, registry: Registry) -> None:
        registry.take(*(registry.trained(release) for release in ("r1", "r2", "r3")))
        self.promote(registry, "r1")
        self.promote(registry, "r2", mode="canary", share=0.5, scope=PILOT)
        self.promote(registry, "r3")
        assert self.deployed(registry) == [("active", None, "r3", 1.0)]
        problem(self.roll_back(registry, "r2"), 409, "release-not-active")

    def test_nonsense_is_refused(self, registry: Registry) -> None:
        registry.take(registry.trained("r1"))
        problem(self.promote(registry, "r1", mode="canary", share=0.1), 409, "nothing-decides-here")
        self.promote(registry, "r1")
        problem(self.promote(registry, "r1", mode="canary", share=0.1), 409, "release-decides-already")
        for body in (
            {"mode": "canary"},
            {"mode": "canary", "share": 0},
            {"mode": "canary", "share": 1},
            {"mode": "canary", "share": "a tenth"},
            {"mode": "shadow", "share": 0.1},
            {"share": 0.1},
            {"mode": "quickly"},
        ):
            problem(self.promote(registry, "r1", **body), 422, "invalid-request")
        problem(self.promote(registry, "r1", scope={"class_name": "crack"}), 422, "scope-too-narrow")
        assert len(registry.published("model.released")) == 1


class TestDatasets:
    def snapshot(self, registry: Registry, **body: Any) -> Any:
        return registry.http.post("/v1/datasets/snapshots", json=body)

    def labels(self, registry: Registry, *given: tuple[str, str], by: str = "ada") -> Any:
        labels = [{"capture_id": capture(trigger), "class_name": name} for trigger, name in given]
        return registry.http.post("/v1/labels", json={"approved_by": by, "labels": labels})

    def test_the_same_labels_are_the_same_version(self, registry: Registry) -> None:
        registry.take(*(registry.captured(str(n)) for n in range(4)))
        assert self.labels(registry, ("0", "good"), ("1", "crack")).json() == {"added": 2, "known": 0}
        first, again = self.snapshot(registry), self.snapshot(registry, created_by="somebody else")
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["hash"] == again.json()["hash"]
        assert (first.json()["items"], first.json()["classes"]) == (2, {"crack": 1, "good": 1})
        self.labels(registry, ("2", "good"))
        assert self.snapshot(registry).json()["hash"] != first.json()["hash"]

    def test_the_manifest_is_its_hash(self, registry: Registry) -> None:
        registry.take(registry.captured("0"), registry.captured("1", batch="b7"))
        self.labels(registry, ("0", "good"), ("1", "crack"))
        made = self.snapshot(registry).json()
        manifest = registry.http.get(made["manifest_url"])
        assert hashlib.sha256(manifest.content).hexdigest() == made["hash"]
        items = {item["capture_id"]: item for item in manifest.json()["items"]}
        assert items[capture("1")]["context"]["batch"] == "b7"
        assert items[capture("0")]["image"]["object"] == registry.image.object.to_avro()
        assert made["manifest"]["bucket"] == "datasets"
        assert ("datasets", made["manifest"]["key"]) in registry.objects.objects

    def test_the_latest_label_counts_and_old_ones_stay(self, registry: Registry) -> None:
        registry.take(registry.captured("0"))
        assert self.labels(registry, ("0", "good")).json() == {"added": 1, "known": 0}
        assert self.labels(registry, ("0", "good")).json() == {"added": 0, "known": 1}
        self.labels(registry, ("0", "crack"), by="ben")
        assert self.snapshot(registry).json()["classes"] == {"crack": 1}
        self.labels(registry, ("0", "good"))
        assert self.snapshot(registry).json()["classes"] == {"good": 1}
        assert len(registry.get("/v1/labels")["items"]) == 3
        problem(self.snapshot(registry, filter={"classes": ["crack"]}), 422, "empty-dataset")

    def test_filters(self, registry: Registry) -> None:
        registry.take(
            registry.captured("0", product_variant="mono"), registry.captured("1", product_variant="poly")
        )
        self.labels(registry, ("0", "good"), ("1", "crack"))
        only = self.snapshot(registry, filter={"product_variants": ["poly"], "lines": ["line-a"]}).json()
        assert (only["items"], only["classes"]) == (1, {"crack": 1})
        before = registry.clock.now().isoformat()
        problem(self.snapshot(registry, filter={"approved_before": before}), 422, "empty-dataset")

    def test_labels_for_images_that_never_ran_on_a_line(self, registry: Registry) -> None:
        row = {"capture_id": capture("lab"), "class_name": "good"}
        problem(
            registry.http.post("/v1/labels", json={"approved_by": "ada", "labels": [row]}),
            404,
            "unknown-capture",
        )
        described = row | {
            "image": registry.image.to_avro(),
            "context": context(origin="lab").to_avro(),
        }
        done = registry.http.post("/v1/labels", json={"approved_by": "ada", "labels": [described]})
        assert done.status_code == 201, done.text
        assert registry.published("label.approved")[0].context.origin == "lab"
        assert self.snapshot(registry, filter={"origins": ["lab"]}).json()["items"] == 1

    @pytest.mark.parametrize(
        ("context_changes", "image_changes", "named"),
        [
            ({"station": None}, {}, ["context.station"]),
            ({"line": 5, "camera": "left out"}, {}, ["context.line", "context.camera"]),
            ({}, {"object": "left out"}, ["image.object"]),
            ({}, {"object": {"bucket": "images"}, "width": "wide"}, ["image.object.sha256", "image.width"]),
            ({}, {"width": 10**30, "height": -1}, ["image.width", "image.height"]),
        ],
    )
    def test_an_incomplete_description_is_told_what_is_missing(
        self, registry: Registry, context_changes: Any, image_changes: Any, named: list[str]
    ) -> None:
        def changed(whole: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in {**whole, **changes}.items() if value != "left out"}

        row = {
            "capture_id": capture("lab"),
            "class_name": "good",
            "context": changed(context(origin="lab").to_avro(), context_changes),
            "image": changed(registry.image.to_avro(), image_changes),
        }
        answer = registry.http.post("/v1/labels", json={"approved_by": "ada", "labels": [row]})
        problem(answer, 422, "context-incomplete")
        assert all(name in answer.json()["detail"] for name in named)
        assert registry.get("/v1/labels")["items"] == []

    def test_a_description_that_nobody_can_write_down_is_refused(self, registry: Registry) -> None:
        image, described = registry.image.to_avro(), context().to_avro() | {"operator": "\ud800"}
        row = {"capture_id": capture("lab"), "class_name": "good", "context": described, "image": image}
        body = json.dumps({"approved_by": "ada", "labels": [row]})
        answer = registry.http.post("/v1/labels", content=body, headers={"content-type": "application/json"})
        problem(answer, 422, "invalid-request")

    def test_a_capture_twice_is_a_question(self, registry: Registry) -> None:
        registry.take(registry.captured("0"))
        problem(self.labels(registry, ("0", "good"), ("0", "crack")), 422, "capture-twice")

    def test_unknown_version(self, registry: Registry) -> None:
        problem(registry.http.get(f"/v1/datasets/snapshots/{'0' * 64}"), 404, "unknown-dataset-version")


def test_people(registry: Registry) -> None:
    assert registry.get("/v1/people")["items"][1] == {"name": "olga", "roles": ["qa-owner"]}


def test_the_contract_is_up_to_date() -> None:
    assert openapi.main(["--check"]) == 0
