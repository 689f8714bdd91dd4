"""What a person asks for or does, in terms of the registry."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from console.domain import board
from console.domain.words import figure, moment
from console.ports import Json, Registry


@dataclass(frozen=True, slots=True)
class Badges:
    """What waits for people, for the navigation."""

    reviews: int
    disputed: int
    actions: int


@dataclass(frozen=True, slots=True)
class Desk:
    """A review to answer, and what comes after it.

    Attributes:
        review: None when nothing waits.
        capture: Its capture with all evidence; None while it is on its way.
        queue: The reviews around it, the most urgent first.
        following: Id of the one after it.
    """

    review: Json | None
    capture: Json | None
    queue: Sequence[Json]
    following: str | None
    defects: Sequence[Json] = field(default=())


async def lines(registry: Registry, now: datetime) -> list[Json]:
    """The state of all lines, each station with its light."""
    found = (await registry.get("/v1/lines"))["items"]
    for line in found:
        for station in line["stations"]:
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


async def reviews(registry: Registry, state: str, limit: int = 20, person: str | None = None) -> list[Json]:
    """Reviews, the most urgent first, without those this person has answered."""
    found = (await registry.get("/v1/reviews", state=state, limit=limit, not_answered_by=person))["items"]
    for review in found:
        review["due_at"] = moment(review["due_at"])
    return list(found)


async def desk(registry: Registry, state: str, person: str | None, at: str | None) -> Desk:
    """The review to show: the one asked for when it still waits, else the most urgent."""
    queue, taxonomies = await asyncio.gather(
        reviews(registry, state, person=person), registry.get("/v1/taxonomies")
    )
    if not queue:
        return Desk(None, None, (), None)
    place = next((i for i, review in enumerate(queue) if review["review_id"] == at), 0)
    review = queue[place]
    following = queue[place + 1]["review_id"] if place + 1 < len(queue) else None
    return Desk(
        review,
        await capture(registry, review["capture_id"]),
        queue,
        following,
        [c for c in (taxonomies["items"] or [{"classes": []}])[0]["classes"] if c["is_defect"]],
    )


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
