"""The audit trail: entries in one chain, each with the hash of the one before, so that nothing past changes unseen.

An entry's hash is the SHA-256 of three lines in UTF-8: its sequence, the hash of the entry before, and its content
as canonical JSON. Who changes an entry must change every later one too, and the end of the chain, which others know
from an export.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

START = "0" * 64
"""Stands for the hash before the first entry."""

UNNAMED = "unnamed"

_ROOM = 1000
"""Characters of a command's body that are kept whole; of a longer one a summary is kept, and always its hash."""
_TEXT_ROOM = 120
_FIELDS = 20


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that somebody did, before it has its place in the chain.

    Attributes:
        actor: Who.
        action: What, in one word: the command.
        subject: What it was done to.
        detail: Canonical JSON.
    """

    at: datetime
    actor: str
    action: str
    subject: str
    detail: str

    @property
    def content(self) -> str:
        """What is hashed, as canonical JSON."""
        return canonical(asdict(self) | {"at": self.at.astimezone(UTC).isoformat(timespec="microseconds")})


@dataclass(frozen=True, slots=True)
class Link:
    """An entry in its place."""

    sequence: int
    entry: Entry
    previous_hash: str
    hash: str


class End(NamedTuple):
    """Where a chain ended at some time; before the first entry that is 0 and START."""

    sequence: int
    hash: str


class Break(NamedTuple):
    """The first place at which a chain is not what it was.

    Attributes:
        sequence: Of the row that is wrong or missing.
        what: What is wrong, in words.
    """

    sequence: int
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What came of following a chain.

    Attributes:
        end: Of the part that is sound.
        broken: None when all of it is.
    """

    end: End
    broken: Break | None


def canonical(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def hash_of(sequence: int, previous_hash: str, entry: Entry) -> str:
    """The hash that an entry has in its place."""
    return hashlib.sha256(f"{sequence}\n{previous_hash}\n{entry.content}".encode()).hexdigest()


def verify(links: Iterable[Link], end: End, known: Iterable[End] = ()) -> Verification:
    """Follow a chain from its start to the first row that is wrong.

    Args:
        links: By sequence.
        end: Where the chain says it ends.
        known: Where earlier exports ended; these must still be in it.
    """
    expected = dict(known)
    last = End(0, START)
    for link in links:
        what = _flaw(link, last, expected.pop(link.sequence, link.hash))
        if what:
            return Verification(last, Break(last.sequence + 1, what))
        last = End(link.sequence, link.hash)
    missing = max([end.sequence, *expected], default=0)
    if missing > last.sequence:
        what = f"{_rows(last.sequence + 1, missing)} gone: the trail had reached {missing}"
        return Verification(last, Break(last.sequence + 1, what))
    if end != last:
        return Verification(last, Break(last.sequence, "the recorded end of the trail is another one"))
    return Verification(last, None)


def entry(
    at: datetime,
    command: str,
    body: Mapping[str, Any],
    status: int,
    answer: Mapping[str, Any],
    actor: str | None = None,
) -> Entry:
    """The entry of a command that was carried out.

    Args:
        actor: Who is signed in; None where the body's word for it is taken.
        command: The command in one word, then what it is about.
        body: As it was sent, JSON.
        answer: What it answered; what it made is named there.
    """
    action, _, subject = command.partition(" ")
    made = {name: answer[name] for name in sorted(answer) if _names_something(name, answer[name])}
    detail = {
        "body": _short(body),
        "body_sha256": hashlib.sha256(canonical(body).encode()).hexdigest(),
        "made": made,
        "status": status,
    }
    return Entry(
        at, actor or actor_of(body), action, subject or next(iter(made.values()), ""), canonical(detail)
    )


def actor_of(body: Mapping[str, Any]) -> str:
    """Who sent a command: its `person`, `reviewer`, `by`, or whatever ends in `_by`."""
    named = names_in(body)
    return next((body[name] for name in named if isinstance(body[name], str) and body[name]), UNNAMED)


def names_in(fields: Iterable[str]) -> list[str]:
    """Which fields of a body say who sent it."""
    known = set(fields)
    return [
        *(name for name in ("person", "reviewer", "by") if name in known),
        *sorted(name for name in known if name.endswith("_by")),
    ]


def _flaw(link: Link, last: End, known_hash: str) -> str | None:
    if link.sequence != last.sequence + 1:
        return f"{_rows(last.sequence + 1, link.sequence - 1)} gone: {link.sequence} follows {last.sequence}"
    if link.previous_hash != last.hash:
        return f"it was appended to another entry {last.sequence} than the one that stands before it"
    if link.hash != hash_of(link.sequence, link.previous_hash, link.entry):
        return "its content is not what was hashed when it was appended"
    if link.hash != known_hash:
        return "it has another hash than the export says"
    return None


def _rows(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


def _short(body: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(canonical(body)) <= _ROOM:
        return body
    kept = sorted(body)[:_FIELDS]
    return {name: _summary(body[name]) for name in kept}


def _summary(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _TEXT_ROOM else f"{value[:_TEXT_ROOM]}…"
    if isinstance(value, dict):
        return f"{len(value)} fields"
    return f"{len(value)} items" if isinstance(value, list) else value


def _names_something(name: str, value: Any) -> bool:
    return isinstance(value, str) and (name.endswith("_id") or name in ("hash", "release", "version"))
