"""What the MES stand-in writes down about each delivery, and how it behaves. Pure."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Mood(StrEnum):
    """How the MES takes one attempt."""

    ACKNOWLEDGE = "acknowledge"
    ERROR = "error"
    SILENT = "silent"
    """Nothing is kept and no answer comes in time."""
    ANSWER_LOST = "answer-lost"
    """The delivery is kept, but its answer comes too late: the sender has to try again and we have to
    notice.
    """


def mood_of(seed: int, key: str, attempt: int, share: float) -> Mood:
    """Mood for the n-th attempt (from 1) of a delivery: `share` of first attempts go wrong, some go wrong
    twice.
    """
    chance = random.Random(f"{seed}/{key}/{attempt}").random()
    if attempt > 2 or chance >= share / (1 if attempt == 1 else 4):
        return Mood.ACKNOWLEDGE
    wrong = (Mood.ERROR, Mood.ERROR, Mood.ERROR, Mood.ERROR, Mood.SILENT, Mood.ANSWER_LOST)
    return wrong[random.Random(f"{seed}/{key}/{attempt}/how").randrange(len(wrong))]


@dataclass(slots=True)
class Entry:
    """Everything that came under one idempotency key."""

    key: str
    disposition_id: str
    capture_id: str
    revision: int
    kind: str
    part_id: str | None
    body_sha256: str
    attempts: int = 0
    kept: int = 0
    acknowledged: int = 0
    again_after_acknowledged: int = 0
    changed_content: bool = False


@dataclass(slots=True)
class Book:
    """All deliveries by idempotency key, and what was turned away."""

    entries: dict[str, Entry] = field(default_factory=dict)
    turned_away: Counter[str] = field(default_factory=Counter)
    moods: Counter[str] = field(default_factory=Counter)

    def arrived(self, key: str, body: bytes, disposition: dict[str, Any]) -> Entry:
        """Write down an attempt with a good signature."""
        digest = hashlib.sha256(body).hexdigest()
        entry = self.entries.get(key)
        if entry is None:
            entry = Entry(
                key=key,
                disposition_id=str(disposition["disposition_id"]),
                capture_id=str(disposition["capture_id"]),
                revision=int(disposition.get("revision", 1)),
                kind=str(disposition["kind"]),
                part_id=(disposition.get("context") or {}).get("part_id"),
                body_sha256=digest,
            )
            self.entries[key] = entry
        entry.attempts += 1
        entry.changed_content |= entry.body_sha256 != digest
        return entry

    def settle(self, entry: Entry, mood: Mood) -> None:
        """Write down how the attempt ended. Keeping twice is what the idempotency key prevents."""
        self.moods[mood] += 1
        if entry.acknowledged:
            entry.again_after_acknowledged += 1
        if mood in (Mood.ACKNOWLEDGE, Mood.ANSWER_LOST) and not entry.kept:
            entry.kept += 1
        if mood is Mood.ACKNOWLEDGE:
            entry.acknowledged += 1

    def summary(self) -> dict[str, Any]:
        """What an auditor needs, as JSON."""
        return {
            "entries": [
                {
                    "key": e.key,
                    "disposition_id": e.disposition_id,
                    "capture_id": e.capture_id,
                    "revision": e.revision,
                    "kind": e.kind,
                    "attempts": e.attempts,
                    "kept": e.kept,
                    "acknowledged": e.acknowledged,
                    "again_after_acknowledged": e.again_after_acknowledged,
                    "changed_content": e.changed_content,
                }
                for e in self.entries.values()
            ],
            "turned_away": dict(self.turned_away),
            "moods": dict(self.moods),
        }


def finding_for(kind: str, defective: bool, seed: int, capture_id: str) -> str | None:
    """What the plant finds out later about a part that was passed or rejected; it does not find
    everything.
    """
    chance = random.Random(f"{seed}/finding/{capture_id}").random()
    if kind == "pass" and defective and chance < 0.85:
        return "escape"
    if kind == "reject" and not defective and chance < 0.9:
        return "false-reject"
    return None
