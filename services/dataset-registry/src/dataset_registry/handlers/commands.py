"""What all commands share: the repeat of a command gets the first one's answer and changes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dataset_registry.domain.refusals import invalid
from dataset_registry.ports import AnswerBook, Row


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command answers.

    Attributes:
        status: HTTP status.
        body: JSON.
        repeated: True when it is the stored answer of an earlier one.
    """

    status: int
    body: Row
    repeated: bool = False


def fingerprint(command: str, body: Any) -> str:
    """Tells one command from another, so that a key cannot answer for something else."""
    text = json.dumps([command, body], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def once(book: AnswerBook, key: str | None, print_: str, work: Callable[[], Reply]) -> Reply:
    """Do the work, or give the answer that its first time got. Raises Refused when the key was used for other
    work."""
    if key is None:
        return work()
    if book.claim(key):
        reply = work()
        book.write(key, print_, reply.status, reply.body)
        return reply
    known, status, body = book.read(key)
    if known != print_:
        raise invalid(
            "idempotency-key-reused", "This Idempotency-Key belongs to another request; make a new one."
        )
    return Reply(status, body, repeated=True)
