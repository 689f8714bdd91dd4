"""A command that is refused, and why: the one way in which the rules say no to a person."""

from __future__ import annotations

from enum import Enum


class Because(Enum):
    """What kind of no it is; the HTTP layer gives each its status."""

    UNKNOWN = "unknown"
    CONFLICT = "conflict"
    FORBIDDEN = "forbidden"
    INVALID = "invalid"
    INCOMPLETE = "incomplete"
    STALE = "stale"
    NOBODY = "nobody"
    SLOWED = "slowed"


class Refused(Exception):
    """The command cannot be carried out as it stands; nothing was changed.

    Args:
        because: Kind of refusal.
        reason: Stable code, lower-case with dashes.
        advice: What the person can do about it, as a colleague would say it.
        more: Further fields of the answer, JSON.
    """

    def __init__(self, because: Because, reason: str, advice: str, **more: object) -> None:
        super().__init__(f"{reason}: {advice}")
        self.because = because
        self.reason = reason
        self.advice = advice
        self.more = more


def unknown(what: str, name: str, advice: str) -> Refused:
    """Nothing of that name is known."""
    return Refused(
        Because.UNKNOWN, f"unknown-{what.replace(' ', '-')}", f"No {what} {name} is known here; {advice}"
    )


def conflict(reason: str, advice: str) -> Refused:
    """The state of things does not allow it (any more)."""
    return Refused(Because.CONFLICT, reason, advice)


def forbidden(reason: str, advice: str, **more: object) -> Refused:
    """Somebody else may do this."""
    return Refused(Because.FORBIDDEN, reason, advice, **more)


def invalid(reason: str, advice: str) -> Refused:
    """What was asked makes no sense."""
    return Refused(Because.INVALID, reason, advice)


def stale(reason: str, advice: str, **more: object) -> Refused:
    """Somebody else has changed it since it was read."""
    return Refused(Because.STALE, reason, advice, **more)
