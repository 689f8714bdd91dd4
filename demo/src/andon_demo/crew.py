"""The crew at work: reviewers, the QA owner and the owners of actions, each in a thread, all through the API."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from zlib import crc32

from andon_demo.parts import Part
from andon_demo.people import QA_OWNER, REVIEWERS, Answer, Reviewer, adjudicate, judge
from andon_demo.registry_api import ApiError, RegistryApi
from andon_demo.scenario import Play
from andon_demo.settings import CLEARER_TAXONOMY, taxonomy

POLL_S = 0.4
ACTION_POLL_S = 1.5
SAME_CAUSE = "slow-decision"
KEEP_EVERY = 4
"""Of the actions of one kind, every so many-th stays open: work takes longer than a demo."""


_ADJUSTED: dict[str, tuple[dict[str, object], str]] = {
    "slow-decision": (
        {"deployment_change": "model server restarted, its health check tightened"},
        "Decisions had waited for the model server.",
    ),
    "score-drift": (
        {"deployment_change": "release confirmed; scores had followed the light, which is mended"},
        "The images had changed, not the model.",
    ),
}
"""Proof and note for what was changed in the deployment, by kind of signal."""


class Crew:
    """Starts the people and stops them.

    Args:
        api: The registry as a person of this name uses it.
        truth: Part and play by part_id: what the experts say about what lies under the camera.
        defects: The defect classes people know.
        lamp_replaced: Says whether the dark station's lamp has been replaced by now.
    """

    def __init__(
        self,
        api: Callable[[str], RegistryApi],
        truth: Mapping[str, tuple[Part, Play | None]],
        defects: list[str],
        seed: int,
        lamp_replaced: Callable[[], bool],
    ) -> None:
        self._api = api
        self._truth = truth
        self._defects = defects
        self._seed = seed
        self._lamp_replaced = lamp_replaced
        self._stop = threading.Event()
        self._going_home = threading.Event()
        self.left_open: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.trouble: list[str] = []
        self._failure: BaseException | None = None
        self._seen: Counter[str] = Counter()
        self._clearer = False
        jobs: list[tuple[str, Callable[[], None], float]] = [
            (person.name, partial(self._review, person), POLL_S) for person in REVIEWERS
        ]
        jobs += [(QA_OWNER, self._adjudicate, POLL_S), ("owners", self._act, ACTION_POLL_S)]
        self._threads = [
            threading.Thread(target=self._work, args=(name, work, pause), name=name, daemon=True)
            for name, work, pause in jobs
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def check(self) -> None:
        """Raise what stopped one of the crew."""
        if self._failure is not None:
            raise RuntimeError("one of the played people cannot work") from self._failure

    def _work(self, name: str, work: Callable[[], None], pause: float) -> None:
        while not self._stop.wait(pause):
            try:
                work()
            except ApiError as error:
                self.trouble.append(f"{name}: {error}")
            except BaseException as error:
                self._failure = error
                return

    def _review(self, person: Reviewer) -> None:
        """Answer what is open and mine: each review has its own first person, and a shared one the
        next as well.
        """
        page = self._api(person.name).get("/v1/reviews", state="open", not_answered_by=person.name, limit=200)
        mine = [item for item in page["items"] if person in _reviewers_of(item)]
        for item in mine:
            if self._stop.is_set():
                return
            part, play = self._truth[item["context"]["part_id"]]
            self._answer(
                f"/v1/reviews/{item['review_id']}/answers",
                person.name,
                judge(person, part, play, self._defects, self._seed),
            )

    def _adjudicate(self) -> None:
        for item in self._api(QA_OWNER).get("/v1/reviews", state="disputed", limit=200)["items"]:
            part, play = self._truth[item["context"]["part_id"]]
            path = f"/v1/reviews/{item['review_id']}/adjudication"
            self._answer(path, QA_OWNER, adjudicate(part, play, self._defects))

    def _answer(self, path: str, name: str, answer: Answer) -> None:
        body: dict[str, object] = {"reviewer": name, "verdict": answer.verdict}
        if answer.class_name is not None:
            body["class_name"] = answer.class_name
        if answer.note is not None:
            body["note"] = answer.note
        try:
            self._api(name).post(path, body)
            self.answers[name] += 1
        except ApiError as error:
            if " answered 409" not in str(error):  # settled meanwhile, for instance by its deadline
                raise

    def _act(self) -> None:
        """Close what was done, with its proof; leave open what a demo cannot do."""
        for action in self._api(QA_OWNER).get("/v1/actions", state="open", limit=200)["items"]:
            if action["action_id"] in self.left_open:
                continue
            if action["kind"] == "restore-capture-standard" and not self._lamp_replaced():
                continue
            why = self._why_open(action)
            if why:
                self.left_open[action["action_id"]] = why
                continue
            outcome, (proof, note) = "done", self._proof(action)
            if action["signal"]["kind"] == SAME_CAUSE and self._seen[action["kind"]] > 1:
                # One model server stood still, and each of its stations said so.
                outcome, proof, note = (
                    "no-action",
                    {},
                    "The same cause as at the first station, mended there.",
                )
            self._api(action["owner"]).post(
                f"/v1/actions/{action['action_id']}/close",
                {"outcome": outcome, "proof": proof, "note": note, "closed_by": action["owner"]},
            )

    def _why_open(self, action: dict[str, Any]) -> str | None:
        kind = action["kind"]
        self._seen[kind] += 1
        if kind == "variant-evaluation-batch":
            return "left open: the controlled batch of the new variant has still to be made"
        if self._seen[kind] % KEEP_EVERY == 0:
            return "left open: still being worked on when the demo ended"
        return None

    def _proof(self, action: dict[str, Any]) -> tuple[dict[str, object], str]:
        match action["kind"]:
            case "restore-capture-standard":
                return {
                    "capture_standard_version": "cs-1"
                }, "Lamp replaced, brightness is back at the standard."
            case "adjust-deployment":
                return _ADJUSTED.get(action["signal"]["kind"], _ADJUSTED["slow-decision"])
            case "update-guide-and-relabel":
                if not self._clearer:
                    clearer = taxonomy(self._defects, clearer=True)
                    self._api(QA_OWNER).put(f"/v1/taxonomies/{CLEARER_TAXONOMY}", clearer)
                    self._clearer = True
                return {"taxonomy_version": CLEARER_TAXONOMY}, "The definition now says what to do in doubt."
            case _:
                snapshot = self._api(action["owner"]).post(
                    "/v1/datasets/snapshots",
                    {"purpose": action["title"][:200], "created_by": action["owner"]},
                )
                proof: dict[str, object] = {"dataset_version": snapshot["hash"]}
                if snapshot["items"]:
                    proof["samples_added"] = str(
                        min(snapshot["items"], max(1, len(action["signal"]["evidence"])))
                    )
                return proof, "Reviewed examples are part of this dataset version."


def _reviewers_of(review: dict[str, Any]) -> tuple[Reviewer, ...]:
    first = crc32(review["review_id"].encode()) % len(REVIEWERS)
    wanted = min(int(review["answers_wanted"]), len(REVIEWERS))
    return tuple(REVIEWERS[(first + n) % len(REVIEWERS)] for n in range(wanted))
