"""A finding: what the plant found out later about a part that had its disposition."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

KINDS: Final = ("escape", "false-reject", "customer-return", "operator-override", "hold-released")
MOST_CHARACTERS: Final = 4000
FUTURE_TOLERANCE: Final = timedelta(minutes=5)


class MalformedFinding(ValueError):
    """The body is no finding; the message tells the sender what to change."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding as its sender wrote it. `found_at` is when the plant found out, UTC."""

    kind: str
    capture_id: str
    reported_by: str
    found_at: datetime
    class_name: str | None = None
    note: str | None = None


def read_finding(body: bytes, now: datetime) -> Finding:
    """Read a finding from JSON. Raises MalformedFinding."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError) as error:  # brackets in brackets end Python's stack
        raise MalformedFinding("The body is not JSON.") from error
    if not isinstance(raw, dict):
        raise MalformedFinding("The body must be a JSON object.")
    kind = _required(raw, "kind")
    if kind not in KINDS:
        raise MalformedFinding(f"kind must be one of {', '.join(KINDS)}.")
    return Finding(
        kind=kind,
        capture_id=_identity(_required(raw, "capture_id")),
        reported_by=_text(raw, "reported_by") or "unknown",
        found_at=_moment(_text(raw, "found_at"), now),
        class_name=_text(raw, "class_name"),
        note=_text(raw, "note"),
    )


def _required(raw: dict[str, Any], name: str) -> str:
    value = _text(raw, name)
    if not value:
        raise MalformedFinding(f"{name} is missing.")
    return value


def _text(raw: dict[str, Any], name: str) -> str | None:
    value = raw.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise MalformedFinding(f"{name} must be a text.")
    if len(value) > MOST_CHARACTERS or "\0" in value:
        raise MalformedFinding(f"{name} must have at most {MOST_CHARACTERS} characters, none of them U+0000.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise MalformedFinding(f"{name} holds half of a surrogate pair, which is no character.") from error
    return value


def _identity(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise MalformedFinding("capture_id must be the UUID that came with the disposition.") from error


def _moment(text: str | None, now: datetime) -> datetime:
    if not text:
        return now
    try:
        written = datetime.fromisoformat(text)
        found_at = written.astimezone(UTC) if written.tzinfo else None
    except (ValueError, OverflowError) as error:  # in UTC it may lie before the year 1
        raise MalformedFinding(
            "found_at must be a time as in ISO 8601, 2026-01-31T07:30:00+01:00."
        ) from error
    if found_at is None:
        raise MalformedFinding("found_at must say its time zone: 2026-01-31T07:30:00+01:00, or Z.")
    if found_at > now + FUTURE_TOLERANCE:
        raise MalformedFinding("found_at lies in the future. Is the sender's clock right?")
    return found_at
