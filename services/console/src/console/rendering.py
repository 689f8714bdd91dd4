"""Templates, and the files that go with them; a file's address changes with its content, so browsers keep it."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from fastapi.responses import HTMLResponse

from console import modules, visitors
from console.domain import board, conformity, people, regions, words
from console.domain.large import is_large
from console.domain.story import story

HERE = Path(__file__).parent
STATIC = HERE / "static"


@cache
def environment() -> jinja2.Environment:
    """Everything is escaped; an unknown name is an error, never an empty place."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        static=static_url,
        shares=board.shares,
        gaps=board.gaps,
        pulse=board.pulse,
        over_takt=board.over_takt,
        overlay=regions.overlay,
        is_large=is_large,
        module=modules.address,
        proofs=words.proofs,
        known=words.context,
        ruled=conformity.ruled,
        deviating=conformity.deviating,
        unproven=conformity.unproven,
        story=story,
        DISPOSITIONS=words.DISPOSITIONS,
        may=visitors.may,
        titles=people.titles,
        ROLES=people.ROLES,
        present=visitors.present,
    )
    made.filters.update(
        disposition=words.disposition,
        sentence=words.sentence,
        decider=words.decider,
        percent=words.percent,
        ms=words.milliseconds,
        latency=words.latency,
        count=words.count,
        clock=_clock,
    )
    made.tests["later_than"] = lambda moment, other: moment is not None and moment > other
    return made


def message(status: int, title: str, text: str, again: int | None = None) -> HTMLResponse:
    """A page with a few words, when the page that was asked for cannot be shown.

    Args:
        again: It tries again by itself after so many seconds.
    """
    return HTMLResponse(render("message.html", title=title, text=text, again=again), status)


def away() -> HTMLResponse:
    """The page for when the registry does not answer."""
    text = "The registry does not answer. The line goes on without it; this page tries again by itself."
    return message(503, "One moment", text, again=3)


def render(template: str, **values: Any) -> str:
    """A template with its values."""
    return environment().get_template(template).render(**values)


@cache
def static_url(name: str) -> str:
    """Address of a static file with the hash of its content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def _clock(moment: datetime | str | None) -> str:
    """The time of day, UTC; the page's script turns it into the reader's own."""
    if moment is None:
        return "–"
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return moment.strftime("%H:%M:%S")
