"""What every route needs, and how every command runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from andon_chassis.clock import Clock
from andon_chassis.objects import ObjectStore
from fastapi import Header, Query, Response
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from dataset_registry.api import door
from dataset_registry.api.shapes import Published
from dataset_registry.domain import audit_chain
from dataset_registry.domain.refusals import unknown
from dataset_registry.handlers.commands import Reply, fingerprint, once
from dataset_registry.ports import Pictures, Row, Session, Sessions
from dataset_registry.ports_accounts import Identity

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        description="Any unique word; send it again with a repeat, and nothing happens twice.",
    ),
]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=400, description="next_cursor of the page before.")]
Sought = Annotated[
    str | None, Query(max_length=400, pattern=r"^[^\x00]*$", description="Exactly this; all when left out.")
]
FILE = {"schema": {"type": "string", "format": "binary"}}
PUBLISHED: dict[int | str, dict[str, Any]] = {
    200: {"model": Published, "description": "It was in force already."},
    201: {"model": Published, "description": "It is in force now."},
}


@dataclass(frozen=True, slots=True)
class Context:
    """Where the API gets things from.

    Attributes:
        people: Roles by name, where names are taken on trust.
        claim_minutes: How long a task stays with the person who took it, or saved a draft of it last.
        identity: Knows who sends a request; None where names are taken on trust.
    """

    sessions: Sessions
    objects: ObjectStore
    pictures: Pictures
    clock: Clock
    people: Mapping[str, Sequence[str]]
    claim_minutes: float = 15.0
    identity: Identity | None = None

    def roles(self, name: str) -> Sequence[str]:
        """The roles of who acts; the door has seen to it that the name is theirs."""
        who = door.principal()
        return sorted(who.roles) if who else self.people.get(name, ())

    def command(
        self,
        key: str | None,
        name: str,
        body: BaseModel,
        shape: type[BaseModel],
        work: Callable[[Session], tuple[int, Any]],
    ) -> Response:
        """Run a command in one transaction, once for each idempotency key; what was done stands in the audit trail.

        Args:
            name: The command in one word, then what it is about, so that a key cannot answer for another one; the
                trail knows it by these two.
            shape: What the answer promises.
            work: Does it; gives status and answer.
        """

        def reply(session: Session) -> Reply:
            status, answer = work(session)
            return Reply(status, jsonable_encoder(shape.model_validate(answer)))

        sent = body.model_dump(mode="json")
        with self.sessions() as session:
            done = once(session.book, key, fingerprint(name, sent), lambda: reply(session))
            if not done.repeated:  # last of all: others who write wait from here to the commit
                now = self.clock.now()
                who = door.principal()
                actor = who.name if who else None
                session.trail.append(audit_chain.entry(now, name, sent, done.status, done.body, actor))
        headers = {"Idempotent-Replayed": "true"} if done.repeated else None
        return JSONResponse(done.body, done.status, headers=headers)


def found(row: Row | None, what: str, name: object, advice: str) -> Row:
    """The row, or Refused when there is none."""
    if row is None:
        raise unknown(what, str(name), advice)
    return row


def publication(is_new: bool) -> tuple[int, dict[str, bool]]:
    """Status and answer of what puts a version in force: made now, or there already."""
    return 201 if is_new else 200, {"published": is_new}
