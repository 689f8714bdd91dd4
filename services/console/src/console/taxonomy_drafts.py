"""A taxonomy that is being written, and its publication.

A draft is saved as a whole, but edited class by class: who changes another class is in nobody's way, and who changes
the same one is shown both before anything is replaced.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid4

from andon_chassis.errors import Unavailable
from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from console.domain import taxonomy_pages as pages
from console.ports import Json, RefusedByRegistry, Registry

Page = Callable[..., Awaitable[Response]]
Who = Callable[[Request], str | None]
Back = Callable[[str, str], Response]

NOBODY = "Say who you are first."
TAXONOMY = "/quality/taxonomy"
_STALE = 412


def router(registry: Registry, page: Page, who: Who, back: Back) -> APIRouter:
    """Routes under /taxonomy/drafts; what they take is told in governance_pages."""
    routes = APIRouter(prefix="/taxonomy/drafts")
    _drafts(routes, registry, page, who, back)
    _publication(routes, registry, page, who, back)
    return routes


def _drafts(routes: APIRouter, registry: Registry, page: Page, who: Who, back: Back) -> None:
    @routes.post("")
    async def begin(request: Request) -> Response:
        form, person = await form_of(request), who(request)
        if person is None:
            return back(TAXONOMY, NOBODY)
        body = {"title": form.get("title", "").strip(), "created_by": person}
        draft = await registry.post("/v1/taxonomy-drafts", body, form.get("key") or str(uuid4()))
        return RedirectResponse(f"{TAXONOMY}/drafts/{draft['draft_id']}", 303)

    @routes.get("/{draft_id}")
    async def draft(request: Request, draft_id: UUID) -> Response:
        found = await registry.get(_draft(draft_id))
        return await page("taxonomy_draft.html", request, draft=found, key=str(uuid4()), pages=pages)

    @routes.post("/{draft_id}/discard")
    async def discard(request: Request, draft_id: UUID) -> Response:
        form, person = await form_of(request), who(request)
        here = f"{TAXONOMY}/drafts/{draft_id}"
        if person is None:
            return back(here, NOBODY)
        try:
            await change(registry, "POST", f"{_draft(draft_id)}/discard", {"discarded_by": person}, form)
        except RefusedByRegistry as refused:
            said = (
                "Somebody has changed the draft meanwhile; look at it again."
                if refused.status == _STALE
                else ""
            )
            return back(here, said or refused.advice)
        return back(TAXONOMY, "The draft is put away.")

    @routes.post("/{draft_id}/rules")
    async def rules(request: Request, draft_id: UUID) -> Response:
        """Add a severity rule, or take one out; what others changed meanwhile stays."""
        form, person = await form_of(request), who(request)
        here = f"{TAXONOMY}/drafts/{draft_id}"
        if person is None:
            return back(here, NOBODY)
        draft = await registry.get(_draft(draft_id))
        gone, known = form.get("remove"), draft["document"]["rules"]
        kept = [rule for rule in known if pages.fingerprint(rule) != gone]
        document = {**draft["document"], "rules": kept if gone else [*known, pages.rule_from_form(form)]}
        body = {"document": document, "saved_by": person}
        try:
            await change(registry, "PUT", _draft(draft_id), body, {**form, "version": draft["version"]})
        except RefusedByRegistry as refused:
            return back(here, refused.advice)
        return back(here, "The rule is taken out." if gone else "The rule is added.")

    async def editor(
        request: Request, draft: Json, entry: Mapping[str, Any], place: dict[str, str], **more: Any
    ) -> Response:
        based_on = draft["based_on"]
        before = (await registry.get(version_at(based_on)))["classes"] if based_on else []
        values = {"conflict": [], "refused": None, **more}
        return await page(
            "taxonomy_class.html",
            request,
            draft=draft,
            entry=entry,
            place=place,
            origins=[one["name"] for one in before],
            key=str(uuid4()),
            pages=pages,
            **values,
        )

    @routes.get("/{draft_id}/classes/{index}")
    async def edit(request: Request, draft_id: UUID, index: int) -> Response:
        """A class of the draft; the one after the last is a new one."""
        draft = await registry.get(_draft(draft_id))
        classes = draft["document"]["classes"]
        entry = classes[index] if 0 <= index < len(classes) else pages.EMPTY
        place = {"index": str(index), "opened": entry["name"], "seen": pages.fingerprint(entry)}
        return await editor(request, draft, entry, place)

    @routes.post("/{draft_id}/classes/{index}")
    async def save(request: Request, draft_id: UUID, index: int) -> Response:
        form, person = await form_of(request), who(request)
        merged = [str(name) for name in (await request.form()).getlist("merged_from")]
        draft = await registry.get(_draft(draft_id))
        classes = list(draft["document"]["classes"])
        at = pages.place_of(classes, index, form.get("opened", "")) if form.get("opened") else len(classes)
        now = classes[at] if at < len(classes) else pages.EMPTY
        typed = pages.from_form(form, now, merged)
        place = {"index": str(at), "opened": now["name"], "seen": pages.fingerprint(now)}
        if person is None:
            return await editor(request, draft, typed, place, refused=NOBODY)
        if form.get("seen") != pages.fingerprint(now):
            answer = await editor(request, draft, typed, place, conflict=pages.differences(now, typed))
            answer.status_code = _STALE
            return answer
        classes[at : at + 1] = [] if "remove" in form else [typed]
        body = {"document": {**draft["document"], "classes": classes}, "saved_by": person}
        try:
            await change(registry, "PUT", _draft(draft_id), body, {**form, "version": draft["version"]})
        except RefusedByRegistry as refused:
            answer = await editor(request, draft, typed, place, refused=refused.advice)
            answer.status_code = refused.status
            return answer
        name = typed["name"] or "The class"
        said = f"{name} is taken out." if "remove" in form else f"{name} is saved."
        return back(f"{TAXONOMY}/drafts/{draft_id}", said)


def _publication(routes: APIRouter, registry: Registry, page: Page, who: Who, back: Back) -> None:
    async def shown(
        request: Request, draft_id: UUID, typed: Mapping[str, str], refused: str | None
    ) -> Response:
        draft, found = await asyncio.gather(
            registry.get(_draft(draft_id)), registry.get(f"{_draft(draft_id)}/comparison")
        )
        classes = draft["document"]["classes"]
        problems = [
            (pages.flaw_place(flaw["where"], classes), flaw["what"])
            for flaw in draft["problems"]
            if flaw["blocking"]
        ]
        return await page(
            "taxonomy_comparison.html",
            request,
            comparison=found,
            rows=pages.rows(found),
            draft=draft,
            problems=problems,
            typed=typed,
            refused=refused,
            key=str(uuid4()),
        )

    @routes.get("/{draft_id}/comparison")
    async def compare(request: Request, draft_id: UUID) -> Response:
        return await shown(request, draft_id, {}, None)

    @routes.post("/{draft_id}/rebase")
    async def rebase(request: Request, draft_id: UUID) -> Response:
        """Another version came into force since the draft was begun; from now on it changes that one."""
        form, person = await form_of(request), who(request)
        here = f"{TAXONOMY}/drafts/{draft_id}/comparison"
        if person is None:
            return back(here, NOBODY)
        draft = await registry.get(_draft(draft_id))
        body = {"document": draft["document"], "based_on": form.get("based_on"), "saved_by": person}
        try:
            await change(registry, "PUT", _draft(draft_id), body, form)
        except RefusedByRegistry as refused:
            return back(here, refused.advice)
        return back(here, f"It now changes {form.get('based_on')}.")

    @routes.post("/{draft_id}/publication")
    async def publish(request: Request, draft_id: UUID) -> Response:
        form, person = await form_of(request), who(request)
        if person is None:
            return await shown(request, draft_id, form, NOBODY)
        decisions = [
            {
                "class_name": name,
                "relabel": form[f"relabel-{at}"],
                "reason": form.get(f"reason-{at}", "").strip(),
            }
            for at in range(len(form))
            if (name := form.get(f"class-{at}")) and f"relabel-{at}" in form
        ]
        body = {
            "version": form.get("name", "").strip(),
            "decisions": decisions,
            "note": form.get("note", "").strip(),
            "published_by": person,
        }
        try:
            done = await change(registry, "POST", f"{_draft(draft_id)}/publication", body, form)
        except RefusedByRegistry as refused:
            stale = "Somebody changed the draft while you compared it. Below is how it looks now."
            text = stale if refused.status == _STALE else refused.advice
            answer = await shown(request, draft_id, form, text)
            answer.status_code = refused.status
            return answer
        queued = f" {done['images']} images wait to be labeled again." if done["batch_id"] else ""
        return back(f"{TAXONOMY}/versions/{quote(done['version'], safe='')}", f"It is in force.{queued}")


async def form_of(request: Request) -> dict[str, str]:
    """The texts of a form; of boxes that share a name, the last."""
    return {name: value for name, value in (await request.form()).items() if isinstance(value, str)}


async def change(
    registry: Registry,
    method: str,
    path: str,
    body: Json,
    form: Mapping[str, Any],
    more: Mapping[str, str] | None = None,
) -> Json:
    """Carry out a command on the version that the form names, with more headers. Raises RefusedByRegistry,
    Unavailable."""
    headers = {"Idempotency-Key": str(form.get("key") or uuid4()), **(more or {})}
    if form.get("version"):
        headers["If-Match"] = f'"{form["version"]}"'
    answer = await registry.relay(method, path, body, headers, {})
    if answer.status >= 500:
        raise Unavailable("dataset-registry", f"it answered {answer.status}")
    found: Json = json.loads(answer.body)
    if answer.status >= 400:
        raise RefusedByRegistry(
            answer.status, found.get("title", "refused"), found.get("detail", "No reason given.")
        )
    return found


def version_at(version: str) -> str:
    """Where a published taxonomy lies in the registry."""
    return f"/v1/taxonomies/{quote(version, safe='')}"


def _draft(draft_id: UUID) -> str:
    return f"/v1/taxonomy-drafts/{draft_id}"
