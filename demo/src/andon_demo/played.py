"""What the report says was played, in sentences with their figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from andon_demo.people import QA_OWNER, REVIEWERS
from andon_demo.scenario import DARKEST, Plan, Play
from andon_demo.settings import MES_SILENCE_S, MES_TIMEOUT_S, ROOM, STALL_S, Windows


def played(
    plan: Plan, windows: Windows, rate: float | None, moods: Mapping[str, int], left_open: int
) -> list[str]:
    """One sentence for each thing that is not as the world made it."""
    n = plan.count
    fast = f"as fast as they are decided, with at most {ROOM} undecided at a time"
    pace = f"at {rate:g} images a second" if rate else fast
    on_paper = "; the variant is in their metadata only, because all images are of one"
    people = ", ".join(person.name for person in REVIEWERS)
    return [
        f"The cameras: images from files, sent {pace}. Lines, stations, parts, batches, shifts, operators and "
        f"suppliers are made up, and some are missing on purpose.",
        f"Spoiled images: {n(Play.BLURRED)} blurred, {n(Play.OVER_EXPOSED)} over-exposed, "
        f"{n(Play.UNDER_EXPOSED)} under-exposed, {n(Play.CROPPED)} cropped.",
        f"Broken uploads: {n(Play.TRUNCATED)} truncated and {n(Play.WRONG_TYPE)} that are no image, each sent "
        f"again whole under the same trigger.",
        f"Repeats: {n(Play.DUPLICATE)} images sent again under a new trigger, {n(Play.RETRY)} uploads tried "
        f"again under the same trigger, {n(Play.CONFLICT)} other images under a used trigger.",
        f"The lamp at {plan.dark_station.key} fades to {DARKEST:.0%} midway and is replaced later: "
        f"{n(Play.DARK)} images were darkened.",
        f"A new variant: {n(Play.NEW_VARIANT)} parts of {plan.new_variant} came to {plan.poly_only.key}, which is "
        f"not validated for it{on_paper if plan.invented_variant else ''}.",
        f"The model server is stopped for {STALL_S:.0f} s while the cameras go on.",
        f"The reviewers {people} and the QA owner {QA_OWNER}: they answer over the real API from the experts' "
        f"labels, slip now and then, disagree where the experts doubted and over the new variant, and need no time "
        f"to look.",
        f"The MES: it verifies signatures and keeps its own book; {moods.get('error', 0)} attempts got a 500, "
        f"{moods.get('silent', 0)} no answer, {moods.get('answer-lost', 0)} an answer that came too late "
        f"({MES_SILENCE_S:.0f} s, while the bridge waits {MES_TIMEOUT_S:.0f} s).",
        "Findings: escapes and false rejects by the experts' labels, some seconds after the disposition; the plant "
        "does not find all of them.",
        f"The owners of actions: they close with proof, over the real API, what a demo can do; {left_open} stay "
        f"open.",
        f"Time: a plant sees in days what is played here in minutes, so signals are judged in windows of "
        f"{windows.window_s:.0f} s.",
    ]
