"""HTTP: findings come in, systems that pull read the feed, people look after what is stuck."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol
from uuid import UUID

from andon_chassis.clock import Clock
from andon_chassis.http import TRACED, Problem
from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from mes_bridge.adapters.signature import BadSignature, Keyring
from mes_bridge.domain.cursor import InvalidCursor, read_cursor, write_cursor
from mes_bridge.domain.delivery import OVERTAKEN
from mes_bridge.domain.finding import MalformedFinding
from mes_bridge.handlers import ReusedWebhookId, UnknownCapture

FINDING_BYTES = 64 * 1024

Limit = Annotated[int, Query(ge=1, le=1000)]


class Desk(Protocol):
    """What the API needs done; see `adapters.office.Office`."""

    def finding(self, webhook_id: str, body: bytes) -> tuple[bool, dict[str, Any]]: ...

    def feed(self, after: int, limit: int, line: str | None) -> list[tuple[int, dict[str, Any]]]: ...

    def deliveries(
        self, state: str, endpoint: str | None, after: int, limit: int
    ) -> list[dict[str, Any]]: ...

    def retry(self, delivery_id: str) -> str | None: ...

    def retry_all(self, endpoint: str | None) -> int: ...

    def abandon(self, delivery_id: str, by: str, note: str) -> str | None: ...

    def endpoints(self) -> list[dict[str, Any]]: ...


class RetryAll(BaseModel):
    """Which stuck deliveries to try again; none named: all."""

    endpoint: str | None = None


class Abandon(BaseModel):
    """Who gives a delivery up, and why."""

    by: str = Field(min_length=1, max_length=200)
    note: str = Field(min_length=1, max_length=4000)


def make_app(desk: Desk, keyring: Keyring, clock: Clock) -> FastAPI:
    """The HTTP API of the mes-bridge."""
    app = FastAPI(title="Andonloop mes-bridge", version="1", docs_url=None, redoc_url=None, telemetry=TRACED)

    @app.post(
        "/v1/findings", status_code=201, responses={200: {"description": "The same finding came before."}}
    )
    async def findings(request: Request) -> JSONResponse:
        """The plant found out later: signed as in contracts/webhooks.md, idempotent by webhook-id."""
        body = await _read(request)
        try:
            webhook_id = keyring.verify(request.headers, body, clock.now())
            is_new, result = await run_in_threadpool(desk.finding, webhook_id, body)
        except BadSignature as error:
            raise Problem(401, error.reason, error.advice) from error
        except MalformedFinding as error:
            raise Problem(422, "malformed-finding", str(error)) from error
        except UnknownCapture as error:
            raise Problem(
                404,
                "unknown-capture",
                f"No disposition of capture {error} has reached this bridge. Use the capture_id of the disposition "
                "that was delivered; if the part was inspected only now, send the same finding again in a minute.",
            ) from error
        except ReusedWebhookId as error:
            raise Problem(
                409,
                "webhook-id-reused",
                f"{error} came before with another body; a new finding needs a new id.",
            ) from error
        return JSONResponse(result, 201 if is_new else 200)

    @app.get("/v1/dispositions")
    def dispositions(after: str = "", limit: Limit = 100, line: str | None = None) -> dict[str, Any]:
        """The feed, for systems that pull: ask again with `next`; it skips nothing and stays good for ever."""
        start = _position(after)
        rows = desk.feed(start, limit, line)
        return {
            "items": [data for _, data in rows],
            "next": write_cursor(rows[-1][0] if rows else start),
            "more": len(rows) == limit,
        }

    @app.get("/v1/deliveries")
    def deliveries(
        state: Literal["pending", "delivered", "stuck", "abandoned"] = "stuck",
        endpoint: str | None = None,
        after: str = "",
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """Deliveries in a state, oldest first; `holds_up` counts the later ones of the part that wait for it."""
        start = _position(after)
        rows = desk.deliveries(state, endpoint, start, limit)
        return {
            "items": [{key: value for key, value in row.items() if key != "position"} for row in rows],
            "next": write_cursor(rows[-1]["position"] if rows else start),
            "more": len(rows) == limit,
        }

    @app.post("/v1/deliveries/retry")
    def retry_all(which: RetryAll) -> dict[str, int]:
        """Try all stuck deliveries again, for instance after an endpoint was mended."""
        return {"released": desk.retry_all(which.endpoint)}

    @app.post("/v1/deliveries/{delivery_id}/retry")
    def retry(delivery_id: UUID) -> dict[str, str]:
        """Try a stuck or abandoned delivery again, under the same webhook-id; none that a later one has overtaken."""
        before = _known(delivery_id, desk.retry(str(delivery_id)))
        if before == "delivered":
            raise Problem(
                409, "already-delivered", "It was acknowledged. To read it again, use GET /v1/dispositions."
            )
        if before == OVERTAKEN:
            raise Problem(
                409,
                OVERTAKEN,
                "A later decision about this part has arrived, or is on its way; this one would overwrite it. "
                "To read it, use GET /v1/dispositions; if it is stuck, give it up.",
            )
        return {"delivery_id": str(delivery_id), "state": "pending"}

    @app.post("/v1/deliveries/{delivery_id}/abandon")
    def abandon(delivery_id: UUID, who: Abandon) -> dict[str, str]:
        """Give a stuck delivery up, with a name and a reason; later ones of its part go on."""
        before = _known(delivery_id, desk.abandon(str(delivery_id), who.by, who.note))
        if before not in {"stuck", "abandoned"}:
            raise Problem(409, "not-stuck", f"The delivery is {before}; only what is stuck can be given up.")
        return {"delivery_id": str(delivery_id), "state": "abandoned"}

    @app.get("/v1/endpoints")
    def endpoints() -> dict[str, Any]:
        """How each endpoint is doing."""
        return {"items": desk.endpoints()}

    return app


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > FINDING_BYTES:
            raise Problem(413, "too-large", f"A finding has at most {FINDING_BYTES} bytes.")
    return bytes(body)


def _position(cursor: str) -> int:
    try:
        return read_cursor(cursor)
    except InvalidCursor as error:
        raise Problem(
            400, "invalid-cursor", "Use `next` of an earlier answer, or leave `after` out."
        ) from error


def _known(delivery_id: UUID, state: str | None) -> str:
    if state is None:
        raise Problem(404, "unknown-delivery", f"There is no delivery {delivery_id}.")
    return state
