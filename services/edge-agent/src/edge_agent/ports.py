"""What the handlers need of the world."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from edge_agent.domain.decision import Rules, Scored

WAITING: Final = "waiting"
DELIVERED: Final = "delivered"
SET_ASIDE: Final = "set-aside"
TAKEN_OUT: Final = "taken-out"


@dataclass(frozen=True, slots=True)
class Taken:
    """One image as it goes into the queue.

    Attributes:
        identity: What makes it unique at its station.
        metadata: As JSON in ASCII.
        decision: As JSON.
        taken_at: ISO 8601, UTC.
    """

    line: str
    station: str
    identity: str
    sha256: str
    media_type: str
    metadata: str
    traceparent: str
    decision: str
    taken_at: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """The agent's own record of one image, from its decision to what the plant answered.

    Attributes:
        seq: Its number; grows in the order of acceptance.
        state: `waiting`, `delivered`, `set-aside` (the plant refused it; a person looks) or `taken-out` (a person
            took it).
        answer: What the plant said, as JSON.
    """

    seq: int
    line: str
    station: str
    sha256: str
    size: int
    media_type: str
    metadata: dict[str, Any]
    traceparent: str
    decision: dict[str, Any]
    taken_at: str
    state: str
    answer: dict[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """As it is listed and written."""
        return {
            "seq": self.seq,
            "line": self.line,
            "station": self.station,
            "trigger_id": self.metadata.get("trigger_id"),
            "sha256": self.sha256,
            "trace_id": self.traceparent.split("-")[1],
            "taken_at": self.taken_at,
            "decision": self.decision,
            "state": self.state,
            "answer": self.answer,
        }


@dataclass(frozen=True, slots=True)
class Fill:
    """How full the queue is: images that wait, images set aside, bytes of both, and the limit."""

    waiting: int
    set_aside: int
    held_bytes: int
    most_bytes: int


class Full(Exception):
    """There is no room for another image; `str` is a sentence that says which limit was reached."""


class Queue(Protocol):
    """Images that the plant does not have yet, durable. Every method raises Unavailable when the disk fails."""

    def find(self, line: str, station: str, identity: str) -> Record | None:
        """The record of an image that was taken before."""

    def check_room(self, size: int) -> None:
        """Raises Full when an image of this size would not be taken."""

    def add(self, taken: Taken) -> tuple[Record, bool]:
        """Take an image, or find that it had been taken: False then. Durable when it returns.

        Raises:
            Full: Nothing was taken.
        """

    def heads(self) -> list[Record]:
        """The oldest waiting image of each station, oldest first."""

    def image(self, seq: int) -> bytes | None:
        """The bytes of an image that is still held."""

    def delivered(self, seq: int, answer: dict[str, Any]) -> None:
        """The plant has it: its bytes go."""

    def set_aside(self, seq: int, answer: dict[str, Any]) -> None:
        """The plant refused it: its bytes stay until a person decides, and the next ones go on."""

    def fill(self) -> Fill:
        """How full it is."""

    def records(self, after: int, most: int, state: str | None = None) -> Sequence[Record]:
        """Records with larger numbers, in order."""


class Plant(Protocol):
    """capture-ingest, from far away."""

    def send(self, record: Record, data: bytes) -> dict[str, Any]:
        """Hand an image over; returns the receipt once the plant has it durably.

        Raises:
            Invalid: The plant will never take it.
            Unavailable: Anything else; send it again.
        """


class Network(Protocol):
    """A release that scores one image at a time, from any thread."""

    @property
    def rules(self) -> Rules:
        """What the release says about its own numbers."""

    def score(self, data: bytes) -> Scored:
        """Never raises for an image: what cannot be scored is `refused`."""


class Journal(Protocol):
    """A line for each decision, for programs beside the agent."""

    def write(self, record: Record) -> None:
        """Never raises: the queue holds the record."""
