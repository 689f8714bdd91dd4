"""How each line and station is doing."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from dataset_registry.api.context import Context
from dataset_registry.api.shapes import LineState, Page, Person
from dataset_registry.domain.lines import RATE_MINUTES, line_states


def router(context: Context) -> APIRouter:
    """Routes under /v1/lines and /v1/people."""
    routes = APIRouter(prefix="/v1", tags=["lines"])

    @routes.get("/lines", response_model=Page[LineState])
    def read_lines() -> dict[str, object]:
        """The state of all lines and stations, from counts: cheap enough to ask every second."""
        now = context.clock.now()
        with context.sessions() as session:
            views = session.views
            total, recent = views.tallies(now - timedelta(minutes=RATE_MINUTES))
            stations, deployments = views.stations(), views.deployments()
            places = {(row["line"], row["station"]) for row in (*total, *stations) if row["station"]}
            last = views.last_captures(sorted(places))
        return {"items": line_states(total, recent, stations, last, deployments, now)}

    @routes.get("/people", response_model=Page[Person])
    def read_people() -> dict[str, object]:
        """Who has which role, until people log in."""
        return {
            "items": [{"name": name, "roles": list(roles)} for name, roles in sorted(context.people.items())]
        }

    return routes
