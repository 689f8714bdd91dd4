"""The pages over HTTP: headers, origins, proxied images, refusals."""

from __future__ import annotations

import html
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from .conftest import ForwardClock, StandIn, identity

PAGES = ["/", "/review", "/disputes", "/captures", "/actions", "/actions?state=closed"]


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_whole_when_there_is_nothing_and_when_there_is_much(
    client: httpx.Client, registry: StandIn, path: str
) -> None:
    registry.stations.clear()
    assert client.get(path).status_code == 200
    registry.stations.update({("line-a", "cell-1"): True, ("line-z", "new"): False})
    for number in range(60):
        registry.add_capture(str(number), "reject", None)
    registry.add_review("open")
    registry.add_review("disputed", "disputed")
    registry.add_action("one")
    registry.add_action(
        "two", state="closed", outcome="done", closed_by="dana", closed_at=registry._time(1), note="n"
    )
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", [*PAGES, "/no-such-page", "/static/app.css"])
def test_every_answer_is_protected(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://elsewhere.example"}, {"Origin": "null"}]
)
def test_commands_from_elsewhere_are_refused(
    client: httpx.Client, registry: StandIn, headers: dict[str, str]
) -> None:
    review = registry.add_review("1")
    client.cookies.set("andon_reviewer", "ada")
    answer = client.post(f"/reviews/{review}/answer", data={"verdict": "good", "key": "k"}, headers=headers)
    assert answer.status_code == 403
    assert registry.commands == []


def test_an_answer_needs_somebody(client: httpx.Client, registry: StandIn) -> None:
    review = registry.add_review("1")
    answer = client.post(f"/reviews/{review}/answer", data={"verdict": "good", "key": "k"})
    assert answer.status_code == 303
    assert "Say%20who%20you%20are" in answer.headers["set-cookie"]
    assert "Say who you are" in client.get(answer.headers["location"]).text
    assert "Say who you are first" not in client.get("/review").text, "it is said once"
    assert registry.commands == []


def test_an_answer_goes_to_the_registry_with_its_key(client: httpx.Client, registry: StandIn) -> None:
    review = registry.add_review("1")
    client.cookies.set("andon_reviewer", "J%C3%BCrgen")
    form = {"class_name": "crack", "note": "left edge", "key": "k-1"}
    assert client.post(f"/reviews/{review}/answer", data=form).status_code == 303
    body = {"reviewer": "Jürgen", "verdict": "defect", "class_name": "crack", "note": "left edge"}
    assert registry.commands == [(f"/v1/reviews/{review}/answers", body, "k-1")]


def shown(page: str) -> str:
    """Whose review a desk asks about."""
    (review_id,) = re.findall(r'action="/reviews/([^/]+)/', page)
    assert page.count(" data-full") == 1
    return str(review_id)


def test_a_link_to_a_review_far_down_the_queue_opens_that_review(
    client: httpx.Client, registry: StandIn
) -> None:
    reviews = [registry.add_review(str(number)) for number in range(30)]
    page = client.get(f"/review?at={reviews[27]}").text
    assert shown(page) == reviews[27]
    assert f"/captures/{identity('27')}/image" in page
    assert "another part" not in page


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": "completed"}, "That review is done. This is another part."),
        ({"state": "disputed"}, "goes to the QA owner. This is another part."),
        (None, "That review is not known here. This is another part."),
    ],
)
def test_a_review_that_waits_no_more_is_not_silently_another_one(
    client: httpx.Client, registry: StandIn, change: dict[str, Any] | None, said: str
) -> None:
    asked, other = registry.add_review("asked"), registry.add_review("other")
    if change is None:
        del registry.reviews[0]
    else:
        registry.reviews[0] |= change
    page = client.get(f"/review?at={asked}").text
    assert shown(page) == other
    assert said in page


def test_later_goes_through_the_whole_queue(client: httpx.Client, registry: StandIn) -> None:
    reviews = [registry.add_review(str(number)) for number in range(45)]
    seen, address = list[str](), "/review"
    while address:
        page = client.get(address).text
        seen.append(shown(page))
        assert 'aria-current="true"' in page
        later = re.findall(r'href="([^"]+)" data-key="s"', page)
        address = "/review" + html.unescape(later[0]) if later else ""
    assert seen == reviews


def test_an_answer_goes_on_where_the_person_was(client: httpx.Client, registry: StandIn) -> None:
    reviews = [registry.add_review(str(number)) for number in range(25)]
    client.cookies.set("andon_reviewer", "ada")
    page = client.get(f"/review?at={reviews[19]}").text
    form = dict(re.findall(r'<input type="hidden" name="(key|following|cursor)" value="([^"]*)">', page))
    sent = {"verdict": "good", **form}
    answer = client.post(f"/reviews/{reviews[19]}/answer", data=sent, follow_redirects=True)
    assert shown(answer.text) == reviews[20]


def test_the_end_of_the_queue_is_its_beginning_when_all_there_was_done(
    client: httpx.Client, registry: StandIn
) -> None:
    review = registry.add_review("1")
    assert shown(client.get("/review?cursor=20").text) == review


def test_a_review_whose_image_is_on_its_way_holds_up_no_other(
    client: httpx.Client, registry: StandIn, clock: ForwardClock
) -> None:
    early, other = registry.add_review("early"), registry.add_review("other")
    kept = registry.captures
    registry.captures = [c for c in kept if c["capture_id"] != identity("early")]
    assert shown(client.get("/review").text) == other
    page = client.get(f"/review?at={early}").text
    assert shown(page) == other
    assert "still on its way. This is another part." in page
    registry.captures = []
    empty = client.get("/review")
    assert empty.status_code == 200
    assert "still on their way" in empty.text
    assert 'data-reload-when="/parts/desk/open"' in empty.text
    before = client.get("/parts/desk/open")
    registry.captures = kept
    after = client.get("/parts/desk/open", headers={"If-None-Match": before.headers["etag"]})
    assert (after.status_code, after.text) == (200, early), "the empty desk notices that an image came"


def test_a_refusal_is_told_in_the_registrys_words(client: httpx.Client, registry: StandIn) -> None:
    review = registry.add_review("1")
    registry.refuse = (409, "already-answered", "ada has answered this review.")
    client.cookies.set("andon_reviewer", "ada")
    answer = client.post(
        f"/reviews/{review}/answer", data={"verdict": "good", "key": "k"}, follow_redirects=True
    )
    assert "ada has answered this review." in answer.text


@pytest.mark.parametrize("back", ["//elsewhere.example", "https://elsewhere.example", "javascript:alert(1)"])
def test_nobody_is_sent_elsewhere(client: httpx.Client, back: str) -> None:
    answer = client.post("/who", data={"name": "ada", "back": back})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_images_pass_through_and_stay_cached(client: httpx.Client, registry: StandIn) -> None:
    capture_id = registry.add_capture("1")
    image = client.get(f"/captures/{capture_id}/image")
    assert image.headers["content-type"] == "image/png"
    assert "immutable" in image.headers["cache-control"]
    again = client.get(f"/captures/{capture_id}/image", headers={"If-None-Match": image.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get(f"/captures/{capture_id}/anything").status_code == 404


@pytest.mark.parametrize("part", ["/parts/board", "/parts/captures", "/parts/work", "/parts/badges?at=/"])
def test_live_parts_are_sent_only_when_they_changed(
    client: httpx.Client, registry: StandIn, clock: ForwardClock, part: str
) -> None:
    first = client.get(part)
    assert client.get(part, headers={"If-None-Match": first.headers["etag"]}).status_code == 304
    registry.add_review("new")
    clock.ahead_s += 1
    assert client.get(part, headers={"If-None-Match": first.headers["etag"]}).status_code == 200


def test_a_capture_tells_its_rule_and_how_it_compares_with_its_standard(
    client: httpx.Client, registry: StandIn
) -> None:
    capture = registry.add_capture("ruled", "hold")
    assert "Against the capture standard" not in client.get(f"/captures/{capture}").text
    rule = {
        "product": "8-114",
        "station": None,
        "customer": None,
        "class_name": "crack",
        "disposition": "hold",
    }
    registry.captures[0]["disposition"]["evidence"] |= {
        "taxonomy_version": "t2",
        "disposition_rule": rule,
        "deviations": [
            {
                "reason": "wrong-distance",
                "what": "distance_mm",
                "standard_version": "cs-2",
                "allowed": "178 to 182",
                "found": "190",
            }
        ],
        "unproven": ["lens"],
    }
    page = " ".join(re.sub(r"<[^>]+>", " ", client.get(f"/captures/{capture}").text).split())
    assert "What becomes of the part: hold, by the rule for crack: product 8-114 (taxonomy t2)" in page
    assert "Wrong distance Distance mm 190; standard cs-2 allows 178 to 182" in page
    assert "Not shown Lens" in page


def test_the_board_counts_the_metadata_that_captures_came_without(
    client: httpx.Client, registry: StandIn
) -> None:
    for number in range(3):
        registry.add_capture(str(number), missing=["batch", "operator"] if number else ["batch"])
    registry.add_capture("whole", missing=[], place=("line-b", "cell-1"))
    first, second = re.findall(r"<section.*?</section>", client.get("/parts/board").text, re.DOTALL)
    said = " ".join(re.sub(r"<[^>]+>", "", first).split())
    assert "Captures without batch 3, operator 2" in said
    assert "without" not in second, "nothing is said of a station that knows all"


def test_the_board_names_what_tries_and_watches_beside_what_decides(
    client: httpx.Client, registry: StandIn
) -> None:
    registry.stations[("line-a", "cell-1")] = True
    registry.deploy("bold", mode="canary", place=("line-a", "cell-1"), share=0.1)
    registry.deploy("wide", mode="canary", place=("line-a", None), share=0.5)
    registry.deploy("still", mode="shadow")
    board = html.unescape(client.get("/").text)
    assert "<dt>Canary 10\u00a0%</dt>" in board and "/models/bold" in board
    assert "<dt>Watches</dt>" in board and "/models/still" in board
    assert "/models/wide" not in board, "the narrower scope counts"


def test_many_screens_ask_the_registry_once(
    client: httpx.Client, registry: StandIn, clock: ForwardClock
) -> None:
    client.get("/parts/board")
    asked = registry.asked["/v1/lines"]
    clock.stopped = clock.monotonic()
    with ThreadPoolExecutor(8) as screens:
        answers = list(screens.map(lambda _: client.get("/parts/board").text, range(24)))
    assert len(set(answers)) == 1
    assert registry.asked["/v1/lines"] <= asked + 1


def test_static_files_are_kept_forever_under_their_hash(client: httpx.Client) -> None:
    page = client.get("/").text
    address = page.split('stylesheet" href="')[1].split('"')[0]
    assert "immutable" in client.get(address).headers["cache-control"]


def test_what_is_unknown(client: httpx.Client) -> None:
    assert client.get(f"/captures/{identity('nobody')}").status_code == 404
    assert client.get("/captures/not-a-uuid").status_code == 422


def test_the_registry_is_away(client: httpx.Client, registry: StandIn) -> None:
    registry.away = True
    answer = client.get("/")
    assert answer.status_code == 503
    assert 'http-equiv="refresh"' in answer.text
    assert client.get("/healthz").status_code == 200


def test_text_from_outside_stays_text(client: httpx.Client, registry: StandIn) -> None:
    capture_id = registry.add_capture("1", part_id='<img src=x onerror="alert(1)">')
    page = client.get(f"/captures/{capture_id}").text
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_closing_sends_only_what_fits_the_outcome(client: httpx.Client, registry: StandIn) -> None:
    action = registry.add_action("1")
    client.cookies.set("andon_reviewer", "dana")

    def close(**form: Any) -> dict[str, Any]:
        client.post(f"/actions/{action}/close", data={"note": "so", "key": "k", **form})
        return registry.commands[-1][1]

    assert close(outcome="done", samples_added="12", release=" ")["proof"] == {"samples_added": "12"}
    assert close(outcome="no-action", samples_added="12")["proof"] == {}
