"""What a person asks for or does, in terms of the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from console.domain import board
from console.domain.card import card as card_of
from console.domain.models import MAIN, MODES, beside, duties, figures
from console.domain.words import figure, moment
from console.ports import Json, RefusedByRegistry, Registry


@dataclass(frozen=True, slots=True)
class Badges:
    """What waits for people, for the navigation."""

    reviews: int
    disputed: int
    actions: int


QUEUE, AROUND = 20, 14
"""Reviews that are asked for at once, and how many of them are shown."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person is in the queue.

    Attributes:
        at: Id of a review; "" for the first one of the part that the cursor opens.
        cursor: Opens a part of the queue; "" for its beginning.
    """

    at: str = ""
    cursor: str = ""

    @property
    def query(self) -> str:
        """As a query string."""
        return urlencode({name: value for name, value in (("at", self.at), ("cursor", self.cursor)) if value})


@dataclass(frozen=True, slots=True)
class Desk:
    """A review to answer, and what comes after it.

    Attributes:
        review: None when nothing waits whose image is here.
        capture: Its capture with all evidence; None with the review.
        queue: The reviews around it, the most urgent first.
        following: The one after it; None at the end of the queue.
        cursor: Opens the part of the queue that is shown.
        note: Why this is not the review that was asked for.
    """

    review: Json | None
    capture: Json | None
    queue: Sequence[Json]
    following: Place | None
    cursor: str = ""
    note: str | None = None
    defects: Sequence[Json] = field(default=())


async def lines(registry: Registry, now: datetime) -> list[Json]:
    """The state of all lines, each station with its light."""
    lines, deployments = await asyncio.gather(registry.get("/v1/lines"), registry.get("/v1/deployments"))
    found = lines["items"]
    for line in found:
        for station in line["stations"]:
            station["beside"] = beside(line["line"], station["station"], deployments["items"])
            station["last_capture_at"] = moment(station["last_capture_at"])
            station["light"] = board.light(station, now)
    return list(found)


def badges(found: Sequence[Json]) -> Badges:
    """What waits on all lines together."""
    return Badges(*(sum(line[name] for line in found) for name in ("in_review", "disputed", "open_actions")))


async def captures(registry: Registry, limit: int, **wanted: str | None) -> Json:
    """A page of captures, the last first."""
    return await registry.get("/v1/captures", limit=limit, **wanted)


async def capture(registry: Registry, capture_id: str) -> Json:
    """A capture with its history."""
    return await registry.get(f"/v1/captures/{capture_id}")


async def actions(registry: Registry, state: str, limit: int = 50) -> list[Json]:
    """Actions with their signals, figures in words."""
    found = (await registry.get("/v1/actions", state=state, limit=limit))["items"]
    for action in found:
        action["due_at"] = moment(action["due_at"])
        signal = action["signal"]
        for name in ("measured", "expected", "threshold"):
            signal[f"{name}_text"] = figure(signal[name], signal["unit"])
    return list(found)


async def reviews(registry: Registry, state: str, limit: int = 20) -> list[Json]:
    """Reviews, the most urgent first."""
    return _dated((await registry.get("/v1/reviews", state=state, limit=limit))["items"])


def _dated(found: Sequence[Json]) -> list[Json]:
    for review in found:
        review["due_at"] = moment(review["due_at"])
    return list(found)


async def desk(registry: Registry, state: str, person: str | None, here: Place) -> Desk:
    """The review to show, without those this person has answered: the one asked for when it still waits, else the
    most urgent, and then with a word about it.
    """
    page, taxonomies = await asyncio.gather(
        registry.get("/v1/reviews", state=state, limit=QUEUE, not_answered_by=person, cursor=here.cursor),
        registry.get("/v1/taxonomies"),
    )
    queue, note = _dated(page["items"]), None
    if not queue and here.cursor:  # the end was reached meanwhile: begin again
        return await desk(registry, state, person, Place(here.at))
    if here.at and all(review["review_id"] != here.at for review in queue):
        asked, note = await _asked_for(registry, state, here.at)
        queue = [*asked, *queue]
    wanted = next((i for i, review in enumerate(queue) if review["review_id"] == here.at), 0)
    number, found = await _first_with_image(registry, queue, wanted)
    if found is None:
        return Desk(None, None, queue, None, note=note)
    if here.at and number != wanted and note is None:
        note = "The image of that review is still on its way."
    return Desk(
        queue[number],
        found,
        _around(queue, number),
        _following(queue, number, here.cursor, page["next_cursor"]),
        here.cursor,
        note,
        [c for c in (taxonomies["items"] or [{"classes": []}])[0]["classes"] if c["is_defect"]],
    )


_SINCE = {
    "completed": "That review is done.",
    "disputed": "In that review the answers differ, it goes to the QA owner.",
    "open": "That review is not disputed.",
}


async def _asked_for(registry: Registry, state: str, review_id: str) -> tuple[list[Json], str | None]:
    """A review that is not in this part of the queue, when it waits all the same; else what became of it."""
    try:
        review = await registry.get(f"/v1/reviews/{review_id}")
    except RefusedByRegistry as refused:
        if refused.status != 404:
            raise
        return [], "That review is not known here."
    return (_dated([review]), None) if review["state"] == state else ([], _SINCE[review["state"]])


async def _first_with_image(registry: Registry, queue: Sequence[Json], start: int) -> tuple[int, Json | None]:
    """The number and capture of the first review from here on, and then from the top, whose capture is here."""
    for number in (*range(start, len(queue)), *range(start)):
        try:
            return number, await capture(registry, queue[number]["capture_id"])
        except RefusedByRegistry as refused:
            if refused.status != 404:
                raise
    return start, None


def _following(queue: Sequence[Json], number: int, cursor: str, next_cursor: str | None) -> Place | None:
    if number + 1 < len(queue):
        return Place(queue[number + 1]["review_id"], cursor)
    return Place(cursor=next_cursor) if next_cursor else None


def _around(queue: Sequence[Json], number: int) -> Sequence[Json]:
    start = max(0, min(number - AROUND // 2, len(queue) - AROUND))
    return queue[start : start + AROUND]


async def models(registry: Registry, cursor: str = "") -> Json:
    """A page of releases, those that decide first, then the last trained; each with its duties and main figures."""
    page, deployments = await asyncio.gather(
        registry.get("/v1/releases", limit=50, cursor=cursor), registry.get("/v1/deployments")
    )
    found = [_with_duties(release, deployments["items"]) for release in page["items"]]
    order = [*MODES]
    found.sort(key=lambda model: order.index(model["duties"][0].mode) if model["duties"] else len(order))
    return {"items": found, "next_cursor": page["next_cursor"]}


async def model(registry: Registry, release: str) -> Json:
    """A release with its duties, and with its card, or with the reason why it has none."""
    at = f"/v1/releases/{quote(release, safe='')}"
    found, deployments = await asyncio.gather(registry.get(at), registry.get("/v1/deployments"))
    made = _with_duties(found, deployments["items"])
    try:
        described = await registry.get(found["card_url"]) if found["card_url"] else None
    except RefusedByRegistry as refused:
        return made | {"card": None, "missing": refused.advice}
    missing = "Its description was not published with it. Publish the bundle again: trainer publish."
    return made | {"card": described and card_of(described), "missing": missing}


def _with_duties(release: Json, deployments: Sequence[Json]) -> Json:
    main = figures(release["metrics"])[:MAIN]
    return release | {"duties": duties(release["release"], deployments), "main": main}


async def people(registry: Registry) -> list[Json]:
    """Who is known, with roles."""
    return list((await registry.get("/v1/people"))["items"])


def qa_owners(known: Sequence[Json]) -> list[str]:
    """Who may adjudicate."""
    return [one["name"] for one in known if "qa-owner" in one["roles"]]


async def answer(
    registry: Registry,
    review_id: str,
    person: str,
    verdict: str,
    class_name: str,
    note: str,
    key: str,
    *,
    final: bool,
) -> Json:
    """Give a blind answer, or with `final` the QA owner's word."""
    body: dict[str, Any] = {"reviewer": person, "verdict": verdict}
    body |= {name: value for name, value in (("class_name", class_name), ("note", note)) if value.strip()}
    command = "adjudication" if final else "answers"
    return await registry.post(f"/v1/reviews/{review_id}/{command}", body, key)


async def close_action(
    registry: Registry, action_id: str, person: str, outcome: str, proof: dict[str, str], note: str, key: str
) -> Json:
    """Close an action with its proof, or with the reason for doing nothing."""
    given = (
        {name: value.strip() for name, value in proof.items() if value.strip()} if outcome == "done" else {}
    )
    body = {"outcome": outcome, "proof": given, "note": note, "closed_by": person}
    return await registry.post(f"/v1/actions/{action_id}/close", body, key)
