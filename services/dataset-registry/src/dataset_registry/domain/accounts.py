"""Accounts: who may sign in, how long they stay signed in, and how guessing is slowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from dataset_registry.domain.refusals import Because, Refused, invalid

IDLE = timedelta(hours=12)
"""Who does nothing for so long is signed out."""
LONGEST = timedelta(days=7)
"""After so long everybody signs in again."""
SEEN_EVERY = timedelta(minutes=1)
"""How exactly it is kept when somebody was seen last: not each request writes."""

SHORTEST_PASSWORD = 12
_FEWEST_DIFFERENT = 6
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,58}[a-z0-9])?")

_FREE = {"pair": 3, "account": 20, "address": 50}
"""Wrong passwords that cost no waiting: for an account from one address, for an account, from an address."""
_LONGEST_WAIT_S = {"pair": 300.0, "account": 60.0, "address": 10.0}
"""What many share - an account under attack, an address behind which a whole hall sits - must stay usable."""
FAILURES_KEPT = timedelta(days=1)


class Role(StrEnum):
    """What somebody is at the plant."""

    LABELER = "labeler"
    REVIEWER = "reviewer"
    QA_OWNER = "qa-owner"
    DATA_LEAD = "data-lead"
    ML_LEAD = "ml-lead"
    OPERATOR = "operator"
    ENGINEER = "engineer"
    MLOPS = "mlops"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who stands behind a request, wherever they are known from.

    Attributes:
        name: What records call them.
        expires_at: When they have to sign in again; None for what stays valid.
    """

    name: str
    display_name: str
    roles: frozenset[Role]
    machine: bool = False
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may sign in.

    Attributes:
        password: Its hash; None where there is none to sign in with.
        machine: A program: it has tokens and no password.
    """

    name: str
    display_name: str
    password: str | None
    roles: frozenset[Role]
    machine: bool
    disabled: bool

    def principal(self, expires_at: datetime | None = None) -> Principal:
        """What a request of this account is."""
        return Principal(self.name, self.display_name, self.roles, self.machine, expires_at)


def name_of(text: str) -> str:
    """The one way in which a name is written. Raises Refused when it can be none."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise invalid(
            "name-unsuitable",
            "A name has up to 60 letters a-z, digits, dots, dashes and underscores, and begins and ends with a letter"
            " or digit.",
        )
    return name


def check_password(name: str, password: str) -> None:
    """Raises Refused when it is too easy to guess."""
    if len(password) < SHORTEST_PASSWORD:
        raise _weak(f"It needs at least {SHORTEST_PASSWORD} characters; four words are easy to remember.")
    if len(set(password)) < _FEWEST_DIFFERENT:
        raise _weak("It repeats the same few characters.")
    if name in password.lower():
        raise _weak("The name is part of it.")


def _weak(advice: str) -> Refused:
    return invalid("password-weak", advice)


def session_end(created_at: datetime, last_seen_at: datetime) -> datetime:
    """When a session ends if nobody is seen any more."""
    return min(last_seen_at + IDLE, created_at + LONGEST)


def subjects(name: str, address: str) -> dict[str, int]:
    """What wrong passwords are counted for, and how many each of them has free."""
    return {
        f"pair {name} {address}": _FREE["pair"],
        f"account {name}": _FREE["account"],
        f"address {address}": _FREE["address"],
    }


def pardoned(counted: Iterable[str]) -> list[str]:
    """For which of these a right password makes up for all wrong ones: not for an address, or somebody with an account
    could go on guessing that of another."""
    return [subject for subject in counted if not subject.startswith("address ")]


def wait_s(failures: Mapping[str, tuple[int, datetime]], free: Mapping[str, int], now: datetime) -> float:
    """How long the next password has to wait, in seconds: nothing at first, then twice as long each time.

    Args:
        failures: By subject, how many in a row and when the last one was.
        free: By subject, how many cost nothing.
    """
    waits = (
        last + timedelta(seconds=_delay_s(subject, count - free[subject])) - now
        for subject, (count, last) in failures.items()
        if now - last < FAILURES_KEPT
    )
    return max((wait.total_seconds() for wait in waits), default=0.0)


def _delay_s(subject: str, beyond: int) -> float:
    """Seconds after so many wrong passwords more than are free."""
    most = _LONGEST_WAIT_S[subject.split(" ", 1)[0]]
    return 0.0 if beyond < 0 else min(2.0 ** min(beyond, 20), most)


def wrong() -> Refused:
    """The same for a name that nobody has, a wrong password, and an account that is disabled."""
    return Refused(
        Because.NOBODY, "sign-in-failed", "Name and password do not fit. Ask an admin for a new password."
    )


def slowed(seconds: float) -> Refused:
    """Too many wrong passwords."""
    rest = max(1, round(seconds))
    return Refused(
        Because.SLOWED,
        "sign-in-slowed",
        f"Too many wrong passwords; try again in {rest} s.",
        retry_after_s=rest,
    )
