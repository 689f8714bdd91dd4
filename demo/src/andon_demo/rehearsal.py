"""A run that never happened, complete enough to make both reports from it: a seeded stand-in for the whole
system.

For tests, and to look at the page while changing it: `python -m andon_demo.rehearsal <folder>` writes one
there.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from andon_chassis.events import deterministic_id
from andon_chassis.objects import MemoryObjectStore
from andon_events import records as r
from andon_events.topics import TOPIC_OF

from andon_demo.books import balance
from andon_demo.cameras import Answer
from andon_demo.ledger import Ledger
from andon_demo.parts import GOOD, Part, split_parts
from andon_demo.pictures import upload_of
from andon_demo.report.page import render
from andon_demo.run import Release, Run, facts_of
from andon_demo.scenario import Play, Shot, write_plan


def unseen_parts(
    count: int, *, variants: tuple[str, ...] = ("poly", "mono"), group_size: int = 1
) -> list[Part]:
    """Parts without files: a third defective, every sixth in doubt, variants in turn."""
    return [
        Part(
            name=f"images/{number:05d}.png",
            path=Path(f"/nowhere/{number:05d}.png"),
            label="crack" if number % 3 == 0 else GOOD,
            doubt=(1.0 if number % 2 else 2 / 3) if number % 3 == 0 else (0.0 if number % 4 else 1 / 3),
            variant=variants[number % len(variants)],
            product="cell",
            group=number // group_size,
        )
        for number in range(count)
    ]


DESCRIPTION: dict[str, Any] = {
    "task": "classification",
    "classes": ["crack"],
    "metrics": {
        "recall": {"value": 0.8, "low": 0.7, "high": 0.88},
        "auroc": {"value": 0.93, "low": 0.89, "high": 0.96},
    },
    "chosen_by_validation": {"anomaly": 0.87, "classification": 0.93},
    "thresholds": {"pass_below": 0.25, "reject_from": 0.7},
    "calibration": {"method": "platt, out-of-fold"},
    "dataset": {
        "name": "painted",
        "hash": "0" * 64,
        "images": {"train": 60, "validation": 20},
        "groups": 80,
        "variants": ["mono", "poly"],
        "classes_left_out": {"stain": 1},
    },
    "licence": "none is needed",
    "files": {"model.onnx": "f" * 64},
}
"""What the release of this run says of itself."""

START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)


def painted_parts(folder: Path, count: int) -> list[Part]:
    """Small grey images with texture, and a dark scratch across the defective ones."""
    rng = np.random.default_rng(1)
    parts = []
    for number in range(count):
        doubt = (0.0, 0.0, 0.0, 1 / 3, 1.0, 2 / 3)[number % 6]
        pixels = (
            (rng.normal(120, 18, (64, 64)) + 20 * np.sin(np.arange(64) / 5)).clip(0, 255).astype(np.uint8)
        )
        if doubt > 0.5:
            cv2.line(pixels, (int(rng.integers(0, 20)), 5), (60, int(rng.integers(30, 63))), 20, 2)
        path = folder / f"{number:05d}.png"
        cv2.imwrite(str(path), pixels)
        label = "crack" if doubt > 0.5 else GOOD
        parts.append(Part(path.name, path, label, doubt, ("poly", "mono")[number % 2], "cell", number))
    return parts


class Factory:
    """Plays all services at once, in memory."""

    def __init__(self, folder: Path, images: int, seed: int = 3) -> None:
        self.store = MemoryObjectStore()
        self.ledger = Ledger()
        self.answers: list[Answer] = []
        self.entries: list[dict[str, Any]] = []
        self.findings: list[dict[str, str]] = []
        self._rng = random.Random(seed)
        self._heat = cv2.imencode(".png", (np.hypot(*np.indices((16, 16))) * 10).astype(np.uint8))[
            1
        ].tobytes()
        parts = painted_parts(folder, int(images * 1.6))
        self.split = split_parts(parts, 0.3, seed)
        self.plan = write_plan(self.split.stream, images, seed)
        for shot in self.plan.shots:
            self._present(shot)
        self._signals()
        self.left_open = {
            action: "left open: still being worked on"
            for action in self.ledger.actions_opened
            if action not in self.ledger.actions_closed
        }

    def run(self, change: Callable[[Ledger], None] | None = None) -> Run:
        """The finished run; `change` may damage the ledger first."""
        if change:
            change(self.ledger)
        mes = {
            "entries": self.entries,
            "turned_away": {},
            "moods": {"acknowledge": len(self.entries), "error": 3, "silent": 1, "answer-lost": 1},
            "findings": {"sent": self.findings, "waiting": 0, "refused": []},
        }
        expected = frozenset({"capture-drift", "new-variant"})
        return Run(
            source="painted test parts",
            plan=self.plan,
            split=self.split,
            answers=self.answers,
            ledger=self.ledger,
            mes=mes,
            books=balance(facts_of(self.plan, self.answers, self.ledger, mes, expected, self.left_open)),
            release=Release(
                "cls-0123456789ab",
                {"auroc": 0.93, "precision": 0.9, "recall": 0.8},
                0.25,
                0.7,
                description=DESCRIPTION,
            ),
            components={"kafka": "4.1.0", "postgres": "18", "triton": "2.51.0"},
            played=["Everything: this run is synthetic."],
            left_open=self.left_open,
            seconds={"setup": 12.3, "train": 4.5, "stream": 33.0},
            throughput=41.2,
            stall=(START + timedelta(seconds=20), START + timedelta(seconds=26)),
            expected=expected,
            takt_ms=1500,
        )

    def fetch(self, ref: r.ObjectRef) -> bytes | None:
        return self.store.get(ref)

    def _present(self, shot: Shot) -> None:
        at = START + timedelta(seconds=shot.number / 10)
        refusal = {
            Play.TRUNCATED: (422, "truncated"),
            Play.WRONG_TYPE: (415, "not-an-image"),
            Play.CONFLICT: (409, "trigger-conflict"),
        }
        capture_id = deterministic_id("capture", shot.station.line, shot.station.name, shot.trigger_id)
        if shot.play in refusal:
            self.answers.append(Answer(shot, refusal[shot.play][0], None, refusal[shot.play][1], 0.01))
            return
        self.answers.append(Answer(shot, 200 if shot.play is Play.RETRY else 201, capture_id, None, 0.01))
        if shot.play is Play.RETRY:
            return
        data, media = upload_of(shot)
        image = r.ImageRef(
            object=self.store.put("images", data, media), width=64, height=64, channels=1, bit_depth=8
        )
        context = r.CaptureContext(**shot.metadata)
        when: dict[str, Any] = {
            "capture_id": capture_id,
            "context": context,
            "image": image,
            "captured_at": at,
            "received_at": at,
        }
        missing = [name for name in ("operator", "supplier", "batch") if name not in shot.metadata]
        self._apply(
            r.CaptureRecorded(trigger_id=shot.trigger_id, missing=missing, received_via="http", **when)
        )
        spoiled = {
            Play.DUPLICATE: "duplicate",
            Play.BLURRED: "blurred",
            Play.CROPPED: "cropped",
            Play.UNDER_EXPOSED: "under-exposed",
            Play.OVER_EXPOSED: "over-exposed",
        }
        reason = spoiled.get(shot.play) if shot.play else None
        if shot.play is Play.DARK and shot.light < 0.5:
            reason = "under-exposed"
        verdict = "rejected" if reason else "accepted"
        measures = {"brightness": 120.0 * shot.light + self._rng.gauss(0, 3)}
        self._apply(
            r.CaptureAudited(
                verdict=verdict,
                reasons=[reason] if reason else [],
                measures=measures,
                audited_at=at + timedelta(milliseconds=30),
                **when,
            )
        )
        score = None
        if not reason:
            score = min(0.99, max(0.01, self._rng.gauss(0.2 + 0.6 * shot.part.doubt, 0.17)))
            self._apply(self._inference(when, score, at))
        self._decide(shot, when, score, reason, at)

    def _inference(self, when: dict[str, Any], score: float, at: datetime) -> r.InferenceCompleted:
        return r.InferenceCompleted(
            status="scored",
            release="cls-0123456789ab",
            predicted_class="crack" if score >= 0.5 else GOOD,
            defect_score=score,
            scores={"crack": score, GOOD: 1 - score},
            heat_map=self.store.put("derived", self._heat, "image/png"),
            regions=[r.Region(class_name="crack", x=8.0, y=8.0, width=24.0, height=12.0, score=score or 0.0)],
            timings_ms={"model": 20.0},
            completed_at=at + timedelta(milliseconds=90),
            **when,
        )

    def _decide(
        self, shot: Shot, when: dict[str, Any], score: float | None, reason: str | None, at: datetime
    ) -> None:
        capture_id = when["capture_id"]
        kind = (
            "route-to-reviewer"
            if score is not None and 0.25 <= score < 0.7
            else "hold"
            if reason
            else "reject"
            if score and score >= 0.7
            else "pass"
        )
        if shot.play is Play.NEW_VARIANT:
            kind = "route-to-reviewer"
        latency = timedelta(
            milliseconds=self._rng.lognormvariate(5, 0.4) + (4000 if 180 < shot.number < 260 else 0)
        )
        first = deterministic_id("disposition", capture_id, "1")
        evidence = r.Evidence(
            audit_verdict="rejected" if reason else "accepted", policy_version="demo", defect_score=score
        )
        self._disposition(1, None, kind, "policy", evidence, at + latency, when)
        if kind != "route-to-reviewer":
            return
        review = deterministic_id("review", capture_id)
        done = at + timedelta(seconds=4)
        self._apply(
            r.ReviewRequested(
                review_id=review, disposition_id=first, answers_wanted=1, due_at=done, requested_at=at, **when
            )
        )
        verdict = "defect" if shot.part.is_defect else "good"
        completed = {k: v for k, v in when.items() if k not in ("image", "received_at")}
        self._apply(
            r.ReviewCompleted(
                review_id=review,
                verdict=verdict,
                answers=[],
                agreed=True,
                decided_by="r.alvarez",
                completed_at=done,
                **completed,
            )
        )
        corrected = r.Evidence(audit_verdict="accepted", policy_version="demo", review_id=review)
        self._disposition(
            2, first, "reject" if shot.part.is_defect else "pass", "person:r.alvarez", corrected, done, when
        )

    def _disposition(
        self,
        revision: int,
        corrects: str | None,
        kind: str,
        by: str,
        evidence: r.Evidence,
        at: datetime,
        when: dict[str, Any],
    ) -> None:
        disposition = deterministic_id("disposition", when["capture_id"], str(revision))
        self._apply(
            r.DispositionDecided(
                disposition_id=disposition,
                revision=revision,
                corrects=corrects,
                kind=kind,
                reasons=[],
                decided_by=by,
                evidence=evidence,
                decided_at=at,
                **when,
            )
        )
        key = deterministic_id("delivery", "mes", disposition)
        self.entries.append(
            {
                "key": key,
                "disposition_id": disposition,
                "capture_id": when["capture_id"],
                "revision": revision,
                "kind": kind,
                "attempts": 1,
                "kept": 1,
                "acknowledged": 1,
                "again_after_acknowledged": 0,
                "changed_content": False,
            }
        )
        self._apply(
            r.MesDelivered(
                delivery_id=key,
                disposition_id=disposition,
                capture_id=when["capture_id"],
                context=when["context"],
                endpoint="mes",
                attempts=1,
                status_code=200,
                delivered_at=at,
            )
        )

    def _signals(self) -> None:
        captures = list(self.ledger.captures)
        for kind, action, where, closed in (
            ("capture-drift", "restore-capture-standard", self.plan.dark_station, True),
            ("new-variant", "variant-evaluation-batch", self.plan.poly_only, False),
        ):
            at = START + timedelta(seconds=18)
            scope = r.Scope(line=where.line, station=where.name)
            signal = deterministic_id("signal", kind)
            self._apply(
                r.SignalRaised(
                    signal_id=signal,
                    kind=kind,
                    scope=scope,
                    window_start=at,
                    window_end=at,
                    measured=61.0,
                    expected=120.0,
                    threshold=96.0,
                    unit="grey",
                    sample_size=40,
                    evidence=captures[:6],
                    suspected_cause="capture",
                    explanation="The median brightness fell from 120 to 61.",
                    raised_at=at,
                )
            )
            self._apply(
                r.ActionOpened(
                    action_id=deterministic_id("action", signal),
                    signal_id=signal,
                    kind=action,
                    title=kind,
                    scope=scope,
                    suspected_cause="capture",
                    evidence=[],
                    owner="qa-owner",
                    due_at=at,
                    opened_at=at,
                )
            )
            if closed:
                self._apply(
                    r.ActionClosed(
                        action_id=deterministic_id("action", signal),
                        signal_id=signal,
                        kind=action,
                        outcome="done",
                        proof={"capture_standard_version": "cs-2"},
                        note="Lamp replaced.",
                        closed_by="e.berg",
                        closed_at=at,
                    )
                )

    def _apply(self, data: Any) -> None:
        topic = TOPIC_OF[type(data)].name
        self.ledger.apply(topic, deterministic_id(topic, repr(data)), data)


def main() -> int:
    """Write a page to look at."""
    if len(sys.argv) != 2:
        print("usage: python -m andon_demo.rehearsal <folder>")
        return 2
    folder = Path(sys.argv[1])
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    factory = Factory(folder / "parts", images=600)
    (folder / "report.html").write_text(render(factory.run(), factory.fetch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
