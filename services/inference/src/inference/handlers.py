"""One batch of audited captures: fetch, score, draw, and say what came out."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event, Outcome, event
from andon_chassis.objects import DERIVED
from andon_events.records import CaptureAudited, InferenceCompleted, ObjectRef, Region
from andon_vision import frame_of
from andon_vision.release_bundle import ReleaseBundle
from prometheus_client import Counter

from inference.domain.releases import Place
from inference.domain.scoring import Scored, Verdict, judge, refused
from inference.ports import Drawer, ModelDied, ModelFailed, Objects, Releases, Scorer

INFERENCES = Counter("andon_inferences_total", "Images scored, or not", ["line", "station", "status"])
ACCEPTED, SCORED, UNSCORABLE = "accepted", "scored", "unscorable"
NO_RELEASE, MODEL_FAILED = "no-release", "model-failed"
# Once among others, then twice alone: an innocent image is cleared at its first time alone.
DEATHS_UNTIL_GUILTY = 3

_Images = Mapping[str, tuple[bytes | Invalid, float]]
"""By event id: the encoded image, or why it can never be had, with the milliseconds it took."""


@dataclass(slots=True)
class _Work:
    """One capture on its way through a batch, with one release (so a shadow is a work of its own)."""

    source: Event[Any]
    bundle: ReleaseBundle | None
    shadow: bool
    scored: Scored | None = None
    timings: dict[str, float] = field(default_factory=dict)
    heat_map: Future[ObjectRef] | None = None

    @property
    def release(self) -> str:
        """The release's name; a word that is no release where none could decide."""
        return self.bundle.release if self.bundle else NO_RELEASE

    @property
    def identity(self) -> str:
        """The capture and the release."""
        return f"{self.source.id} {self.release}"

    @property
    def capture(self) -> CaptureAudited:
        data: CaptureAudited = self.source.data
        return data


@dataclass(frozen=True, slots=True)
class _Question:
    """Works that went to the model together."""

    chunk: Sequence[_Work]
    answers: Future[list[Scored]]
    asked_at: float


@dataclass(frozen=True, slots=True)
class Limits:
    """How images are sent to the model, and what is waited for.

    Attributes:
        chunk: Most images in one request to the model.
        requests: Requests that a batch is spread over before its chunks grow: all copies of the model start at once,
            and while the line is slow no image waits for the others of its chunk.
        wait_s: How long the first captures of a station wait for its release.
        heat_maps: Which heat maps are stored: of suspect images, of all, of none.
    """

    chunk: int = 8
    requests: int = 4
    wait_s: float = 20.0
    heat_maps: str = "suspect"

    def chunk_of(self, images: int) -> int:
        """How many of so many images go into one request."""
        return min(self.chunk, max(1, math.ceil(images / self.requests)))


class ScoreCaptures:
    """The stream step from `capture.audited` to `inference.completed`."""

    def __init__(
        self,
        releases: Releases,
        scorer: Scorer,
        objects: Objects,
        draw: Drawer,
        now: Callable[[], datetime],
        workers: ThreadPoolExecutor,
        limits: Limits | None = None,
    ) -> None:
        self._releases = releases
        self._scorer = scorer
        self._objects = objects
        self._draw = draw
        self._now = now
        self._workers = workers
        self._limits = limits or Limits()
        self._deaths: Tally[str] = Tally()
        self._without: dict[Place, datetime] = {}

    def handle(self, events: Sequence[Event[Any]]) -> Sequence[Outcome]:
        """One outcome for each event. Raises Unavailable when the store, Triton or a release is not there yet."""
        works: dict[str, list[_Work]] = {}
        waiting: list[Unavailable] = []
        for e in events:
            if e.data.verdict == ACCEPTED:
                try:
                    works[e.id] = self._assign(e)
                except Unavailable as error:
                    waiting.append(error)  # look at all of them: places without a release wait side by side
        if waiting:
            raise waiting[0]
        self._score([work for chosen in works.values() for work in chosen])
        return [[self._completed(work) for work in works.get(e.id, ())] for e in events]

    def _assign(self, e: Event[CaptureAudited]) -> list[_Work]:
        """The works of one capture; waits, by raising Unavailable, while its station may still get a release.

        A place waits once, from its first capture without a release on: if each capture waited anew, a station that is
        being set up would hold up every other one.
        """
        context = e.data.context
        place = Place(context.line, context.station)
        choice = self._releases.table.choose(
            place, e.data.capture_id, lambda release: self._releases.loaded(release) is not None
        )
        if choice is not None:
            self._without.pop(place, None)
        else:
            now = self._now()
            waited = (now - self._without.setdefault(place, now)).total_seconds()
            if waited < self._limits.wait_s:
                raise Unavailable("model release", f"none can decide at {place.line}/{place.station} yet")
            # Waiting for ever would hold up every other station of this partition; the router asks a person.
            return [_Work(e, None, False, refused(NO_RELEASE))]
        return [
            _Work(e, self._loaded(name), name != choice.deciding)
            for name in (choice.deciding, *choice.shadows)
        ]

    def _loaded(self, release: str) -> ReleaseBundle:
        """Kept with each work, so that a batch is judged by one state of the plant whatever happens meanwhile."""
        bundle = self._releases.loaded(release)
        if bundle is None:
            raise Unavailable("triton", f"{release} has just been unloaded")
        return bundle

    def _score(self, works: Sequence[_Work]) -> None:
        """Fetches, scores and draws all works of a batch, each as soon as its inputs are there."""
        open_works = [work for work in works if work.scored is None]
        fetched = {work.source.id: work for work in open_works}
        images = dict(zip(fetched, self._workers.map(self._fetch, fetched.values()), strict=True))
        asked = [self._ask(chunk, images) for chunk in self._chunks(open_works, images)]
        died = [error for question in asked if (error := self._settle(question, images))]
        if died:
            raise died[0]
        # Whoever was there when the model died goes alone now, one after the other: the next death names the guilty.
        for work in open_works:
            if work.scored is None and (error := self._settle(self._ask([work], images), images)):
                raise error

    def _chunks(self, works: Sequence[_Work], images: _Images) -> Iterator[list[_Work]]:
        """The works to send together, by release; without those that have no image and those under suspicion."""
        by_release: dict[str, list[_Work]] = defaultdict(list)
        for work in works:
            data, work.timings["fetch"] = images[work.source.id]
            if isinstance(data, Invalid):
                work.scored = refused(data.reason)
            elif self._deaths[work.identity] >= DEATHS_UNTIL_GUILTY:
                work.scored = refused(MODEL_FAILED)
            elif not self._deaths[work.identity]:
                by_release[work.release].append(work)
        for group in by_release.values():
            yield from _slices(group, self._limits.chunk_of(len(group)))

    def _settle(self, question: _Question, images: _Images) -> ModelDied | None:
        """Waits for the answers to a question and notes them; gives the error when the model died meanwhile."""
        chunk = question.chunk
        try:
            answers = self._answers(question, images)
        except ModelDied as error:
            self._deaths.update(work.identity for work in chunk)
            return error
        waited = (time.perf_counter() - question.asked_at) * 1e3
        for work, scored in zip(chunk, answers, strict=True):
            work.scored = scored
            work.timings |= {"model": scored.model_ms, "triton": waited}
            self._deaths.pop(work.identity, None)
            self._draw_later(work, scored)
        return None

    def _answers(self, question: _Question, images: _Images) -> list[Scored]:
        """The answers; where the model broke, the images are tried alone to find the one that breaks it."""
        try:
            return question.answers.result()
        except ModelFailed:
            return [self._alone(work, images) for work in question.chunk]

    def _alone(self, work: _Work, images: _Images) -> Scored:
        """One image by itself. The second attempt is for an image that only shared a broken process."""
        for _ in range(2):
            with contextlib.suppress(ModelFailed):
                return self._ask([work], images).answers.result()[0]
        return refused(MODEL_FAILED)

    def _fetch(self, work: _Work) -> tuple[bytes | Invalid, float]:
        """The image, or why it can never be had, with the milliseconds it took."""
        started = time.perf_counter()
        data: bytes | Invalid
        try:
            data = self._objects.get(work.capture.image.object)
        except Invalid as error:
            data = error
        return data, (time.perf_counter() - started) * 1e3

    def _ask(self, chunk: Sequence[_Work], images: _Images) -> _Question:
        """Starts scoring works of one release."""
        bundle = chunk[0].bundle
        assert bundle is not None
        encoded = [data for data, _ in (images[work.source.id] for work in chunk) if isinstance(data, bytes)]
        return _Question(chunk, self._scorer.submit(bundle, encoded), time.perf_counter())

    def _draw_later(self, work: _Work, scored: Scored) -> None:
        """Starts storing the heat map where somebody will want to see it."""
        if work.bundle is None or scored.heat_map is None or work.shadow or self._limits.heat_maps == "none":
            return
        suspect = work.bundle.band(scored.defect_score) != "pass"
        if suspect or self._limits.heat_maps == "all":
            work.heat_map = self._workers.submit(self._store_heat_map, work, scored)

    def _store_heat_map(self, work: _Work, scored: Scored) -> ObjectRef:
        started = time.perf_counter()
        image = work.capture.image
        assert scored.heat_map is not None and work.bundle is not None
        shown = frame_of(image.width, image.height, work.bundle.preprocessing).cut(scored.heat_map)
        ref = self._objects.put(DERIVED, self._draw(shown, image.width, image.height), "image/png")
        work.timings["store"] = (time.perf_counter() - started) * 1e3
        return ref

    def _completed(self, work: _Work) -> Event[InferenceCompleted]:
        capture, scored = work.capture, work.scored
        assert scored is not None
        heat_map = work.heat_map.result() if work.heat_map else None
        verdict = judge(work.bundle, scored) if work.bundle and not scored.refused else None
        status = SCORED if verdict else UNSCORABLE
        INFERENCES.labels(capture.context.line, capture.context.station, status).inc()
        return event(
            InferenceCompleted(
                capture_id=capture.capture_id,
                context=capture.context,
                image=capture.image,
                status=status,
                status_reason=scored.refused,
                release=work.release,
                shadow=work.shadow,
                predicted_class=verdict.predicted_class if verdict else None,
                defect_score=verdict.defect_score if verdict else None,
                scores=verdict.scores if verdict else {},
                regions=_regions(verdict, scored),
                heat_map=heat_map,
                band=verdict.band if verdict else None,
                timings_ms=work.timings,
                completed_at=self._now(),
                captured_at=capture.captured_at,
                received_at=capture.received_at,
            ),
            source="inference",
            key=work.source.key,
            time=work.source.time,
            cause=work.source.id,
            kind=f"shadow {work.release}" if work.shadow else "",
        )


def _slices(works: Sequence[_Work], size: int) -> Iterable[list[_Work]]:
    return (list(works[start : start + size]) for start in range(0, len(works), size))


def _regions(verdict: Verdict | None, scored: Scored) -> list[Region]:
    """Where the model points, for images that do not simply pass."""
    if verdict is None or verdict.band == "pass":
        return []
    return [
        Region(
            class_name=seen.class_name,
            x=seen.x,
            y=seen.y,
            width=seen.width,
            height=seen.height,
            score=seen.score,
            outline=list(seen.outline),
            measurements=dict(seen.measurements),
            key_points={name: list(point) for name, point in seen.key_points.items()},
        )
        for seen in scored.regions
    ]
