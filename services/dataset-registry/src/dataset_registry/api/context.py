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

from dataset_registry.domain.refusals import unknown
from dataset_registry.handlers.commands import Reply, fingerprint, once
from dataset_registry.ports import Pictures, Row, Session, Sessions

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


@dataclass(frozen=True, slots=True)
class Context:
    """Where the API gets things from.

    Attributes:
        people: Roles by name.
    """

    sessions: Sessions
    objects: ObjectStore
    pictures: Pictures
    clock: Clock
    people: Mapping[str, Sequence[str]]

    def command(
        self,
        key: str | None,
        name: str,
        body: BaseModel,
        shape: type[BaseModel],
        work: Callable[[Session], tuple[int, Any]],
    ) -> Response:
        """Run a command in one transaction, once for each idempotency key.

        Args:
            name: The command and what it is about, so that a key cannot answer for another one.
            shape: What the answer promises.
            work: Does it; gives status and answer.
        """

        def reply(session: Session) -> Reply:
            status, answer = work(session)
            return Reply(status, jsonable_encoder(shape.model_validate(answer)))

        with self.sessions() as session:
            print_ = fingerprint(name, body.model_dump(mode="json"))
            done = once(session.book, key, print_, lambda: reply(session))
        headers = {"Idempotent-Replayed": "true"} if done.repeated else None
        return JSONResponse(done.body, done.status, headers=headers)


def found(row: Row | None, what: str, name: object, advice: str) -> Row:
    """The row, or Refused when there is none."""
    if row is None:
        raise unknown(what, str(name), advice)
    return row
