"""What a model points at on its way to people, and what a release says of itself, on real PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

from andon_chassis.testing import CRACK
from andon_events import records as r

from .conftest import Registry, capture, review

CARD = {"release": "r1", "metrics": {"auroc": {"value": 0.9, "low": 0.85, "high": 0.94}}}


def page(registry: Registry, name: str, text: str) -> r.ReleaseReport:
    return r.ReleaseReport(name=name, object=registry.objects.put("models", text.encode(), "text/html"))


def card(registry: Registry) -> r.ObjectRef:
    return registry.objects.put("models", json.dumps(CARD).encode(), "application/json")


class TestRegions:
    def test_a_capture_shows_what_the_deciding_release_pointed_at(self, registry: Registry) -> None:
        registry.take(registry.captured("1"), registry.decided("1", "reject"))
        assert registry.get(f"/v1/captures/{capture('1')}")["regions"] == [CRACK.to_avro()]

    def test_they_stay_when_a_person_decides_otherwise(self, registry: Registry) -> None:
        registry.take(registry.captured("1"), registry.decided("1", "reject"))
        registry.take(registry.decided("1", "pass", revision=2))
        shown = registry.get(f"/v1/captures/{capture('1')}")
        assert (shown["disposition"]["kind"], len(shown["regions"])) == ("pass", 1)

    def test_a_capture_that_nothing_decided_has_none(self, registry: Registry) -> None:
        registry.take(registry.captured("1"))
        assert registry.get(f"/v1/captures/{capture('1')}")["regions"] == []

    def test_a_review_carries_them(self, registry: Registry) -> None:
        registry.take(registry.requested("1"))
        assert registry.get(f"/v1/reviews/{review('1')}")["regions"] == [CRACK.to_avro()]


class TestDocuments:
    def test_a_release_without_documents_says_so(self, registry: Registry) -> None:
        registry.take(registry.trained("r1"))
        release = registry.get("/v1/releases/r1")
        assert (release["card_url"], release["reports"]) == (None, [])
        assert registry.http.get("/v1/releases/r1/card").status_code == 404
        assert registry.http.get("/v1/releases/r1/reports/card").status_code == 404
        assert registry.http.get("/v1/releases/none/card").json()["title"] == "unknown-release"

    def test_the_card_and_the_pages_are_given_back_as_published(self, registry: Registry) -> None:
        pages = [page(registry, "evaluation", "<h1>Measured</h1>"), page(registry, "card", "<h1>Card</h1>")]
        registry.take(registry.trained("r1", card=card(registry), reports=pages))
        (release,) = registry.get("/v1/releases")["items"]
        assert [report["name"] for report in release["reports"]] == ["card", "evaluation"]
        assert registry.get(release["card_url"]) == CARD
        answer = registry.http.get(release["reports"][1]["url"])
        assert (answer.text, answer.headers["content-type"]) == (
            "<h1>Measured</h1>",
            "text/html; charset=utf-8",
        )

    def test_a_page_can_do_nothing_in_a_browser(self, registry: Registry) -> None:
        registry.take(registry.trained("r1", reports=[page(registry, "card", "<script>alert(1)</script>")]))
        headers = registry.http.get("/v1/releases/r1/reports/card").headers
        assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
        assert "script" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"

    def test_pages_that_follow_later_join_those_that_are_there(self, registry: Registry) -> None:
        self.announce(registry, "card", "one")
        registry.take(registry.trained("r1", card=card(registry)))
        self.announce(registry, "evaluation", "two")
        self.announce(registry, "card", "one, mended")
        (release,) = registry.get("/v1/releases")["items"]
        assert [report["name"] for report in release["reports"]] == ["card", "evaluation"]
        assert registry.http.get("/v1/releases/r1/reports/card").text == "one, mended"
        assert registry.get("/v1/releases/r1/card") == CARD

    def test_one_batch_may_announce_a_release_twice(self, registry: Registry) -> None:
        registry.take(
            registry.trained("r1", reports=[page(registry, "card", "one")]),
            registry.trained("r2"),
            registry.trained("r1", card=card(registry), reports=[page(registry, "evaluation", "two")]),
        )
        release = registry.get("/v1/releases/r1")
        assert (len(release["reports"]), release["card_url"]) == (2, "/v1/releases/r1/card")
        assert registry.get("/v1/releases/r2")["reports"] == []

    def test_a_page_that_the_store_lost_is_gone(self, registry: Registry) -> None:
        lost = page(registry, "card", "one")
        registry.objects.objects.clear()
        registry.take(registry.trained("r1", reports=[lost]))
        answer = registry.http.get("/v1/releases/r1/reports/card")
        assert (answer.status_code, answer.json()["title"]) == (410, "missing-object")

    def announce(self, registry: Registry, name: str, text: str) -> Any:
        return registry.take(registry.trained("r1", reports=[page(registry, name, text)]))
