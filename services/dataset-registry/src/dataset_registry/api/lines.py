"""How each line and station is doing."""

from __future__ import annotations

from fastapi import APIRouter

from dataset_registry.api.context import Context
from dataset_registry.api.shapes import LineState, Page, Person
from dataset_registry.domain.lines import line_states, recently


def router(context: Context) -> APIRouter:
    """Routes under /v1/lines and /v1/people."""
    routes = APIRouter(prefix="/v1", tags=["lines"])

    @routes.get("/lines", response_model=Page[LineState])
    def read_lines() -> dict[str, object]:
        """The state of all lines and stations, from counts: cheap enough to ask every second."""
        now = context.clock.now()
        with context.sessions() as session:
            views = session.views
            total, recent = views.tallies(*recently(now))
            stations, deployments = views.stations(), views.deployments()
            places = {(row["line"], row["station"]) for row in (*total, *stations) if row["station"]}
            last = views.last_captures(sorted(places))
        return {"items": line_states(total, recent, stations, last, deployments, now)}

    @routes.get("/people", response_model=Page[Person])
    def read_people() -> dict[str, object]:
        """Who has which role."""
        if context.identity is None:
            known = [{"name": name, "roles": [*roles]} for name, roles in sorted(context.people.items())]
            return {"items": known}
        with context.sessions() as session:
            return {"items": session.accounts.people()}

    return routes
