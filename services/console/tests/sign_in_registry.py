"""A stand-in of the registry where people sign in: accounts, sessions, and who may do what."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from .annotate_registry import LabelingRoom
from .conftest import CONTRACT, validate

PASSWORD = "four words are enough"
READING = ["read_lines", "list_captures", "read_session"]
LABELING = ["annotate", "take_next_task label"]
RIGHTS = {
    "labeler": LABELING,
    "reviewer": [*LABELING, "take_next_task review", "answer_review", "close_action"],
    "qa-owner": [
        *LABELING,
        "take_next_task review",
        "take_next_task adjudicate",
        "answer_review",
        "adjudicate_review",
        "list_audit_entries",
    ],
    "admin": ["list_accounts", "list_audit_entries"],
}
NEEDED = {"/v1/audit": "list_audit_entries", "/v1/accounts": "list_accounts"}


class GuardedRoom(LabelingRoom):
    """Tells nobody anything who does not come with a session's token."""

    def __init__(self) -> None:
        super().__init__()
        people = {"ada": "labeler", "ben": "reviewer", "olga": "qa-owner", "root": "admin"}
        self.accounts = {name: self._account(name, [role]) for name, role in people.items()}
        self.passwords = dict.fromkeys(self.accounts, PASSWORD)
        self.sessions: dict[str, str] = {}
        self.machine_tokens: list[dict[str, Any]] = []
        self.addresses: list[str] = []
        self.app.add_api_route("/{path:path}", self._serve, methods=["PATCH"])

    def sign_in(self, name: str) -> str:
        token = f"andon_s_{name}_{len(self.sessions)}"
        self.sessions[token] = name
        return token

    async def _serve(self, request: Request, path: str) -> Response:
        here = "/" + path
        if self.away:
            return await super()._serve(request, path)
        if (request.method, here) == ("POST", "/v1/sessions"):
            return await self._open(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        name = self.sessions.get(token)
        if name is None or self.accounts[name]["disabled_at"]:
            return _problem(401, "signed-out", "Sign in.")
        rights = self._rights(name)
        needed = next((right for start, right in NEEDED.items() if here.startswith(start)), None)
        if needed and needed not in rights and not here.endswith("/password"):
            return _problem(403, "role-missing", f"{name} may not do this; it is for admin.")
        if here == "/v1/sessions/current":
            if request.method == "DELETE":
                del self.sessions[token]
                return Response(status_code=204)
            return _held(self._who(name), "/v1/sessions/current", "get")
        if here == "/v1/people":
            people = [{"name": one["name"], "roles": one["roles"]} for one in self.accounts.values()]
            return JSONResponse({"items": people, "next_cursor": None})
        if here.startswith("/v1/accounts"):
            return await self._of_accounts(request, here.split("/")[3:])
        return await super()._serve(request, path)

    async def _open(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.addresses.append(request.headers["x-forwarded-for"])
        if self.passwords.get(body["name"]) != body["password"]:
            return _problem(401, "sign-in-failed", "Name and password do not fit.")
        made = self._who(body["name"]) | {"token": self.sign_in(body["name"])}
        return _held(made, "/v1/sessions", "post", 201)

    async def _of_accounts(self, request: Request, parts: list[str]) -> Response:
        raw = await request.body()
        body = json.loads(raw) if raw else {}
        match request.method, parts:
            case "GET", []:
                page = {"items": [*self.accounts.values()], "next_cursor": None}
                return _held(page, "/v1/accounts", "get")
            case "POST", []:
                if body["name"] in self.accounts:
                    return _problem(409, "name-taken", f"There is an account {body['name']} already.")
                self.passwords[body["name"]] = body["password"]
                made = self._account(body["name"], body["roles"], machine=body["machine"])
                self.accounts[body["name"]] = made
                return _held(made, "/v1/accounts", "post", 201)
            case "GET", [name]:
                return _held(self.accounts[name], "/v1/accounts/{name}", "get")
            case "PATCH", [name]:
                changed = {"roles": body["roles"], "disabled_at": self._time(0) if body["disabled"] else None}
                self.accounts[name] |= changed
                return _held(self.accounts[name], "/v1/accounts/{name}", "patch")
            case "POST", [name, "password"]:
                if body.get("current_password") not in (None, self.passwords[name]):
                    return _problem(403, "password-wrong", "The current password is another one.")
                self.passwords[name] = body["password"]
                self.sessions = {token: whose for token, whose in self.sessions.items() if whose != name}
                return JSONResponse(self.accounts[name])
            case "GET", [name, "tokens"]:
                return JSONResponse({"items": self.machine_tokens, "next_cursor": None})
            case "POST", [name, "tokens"]:
                moment = {"created_at": self._time(0), "last_used_at": None, "expires_at": None}
                made = {"token_id": "5f0c8a52-8b7e-4b8e-9d3c-0c5a2f1d7e11", "label": body["label"]}
                self.machine_tokens.append(made | moment | {"created_by": "root", "revoked_at": None})
                return JSONResponse(made | {"token": "andon_t_secret"}, 201)
            case _:
                self.machine_tokens[0]["revoked_at"] = self._time(0)
                return JSONResponse(self.machine_tokens[0])

    def _rights(self, name: str) -> list[str]:
        return sorted(
            {*READING, *(right for role in self.accounts[name]["roles"] for right in RIGHTS.get(role, []))}
        )

    def _who(self, name: str) -> dict[str, Any]:
        account = self.accounts[name]
        return {
            "sign_in": "required",
            "name": name,
            "display_name": account["display_name"],
            "roles": account["roles"],
            "machine": False,
            "rights": self._rights(name),
            "expires_at": self._time(3600),
        }

    def _account(self, name: str, roles: list[str], *, machine: bool = False) -> dict[str, Any]:
        return {
            "name": name,
            "display_name": name.title(),
            "roles": roles,
            "machine": machine,
            "has_password": not machine,
            "created_at": self._time(0),
            "created_by": "root",
            "disabled_at": None,
            "last_seen_at": None,
        }


def _held(answer: dict[str, Any], path: str, method: str, status: int = 200) -> Response:
    """The answer, as the contract has it."""
    said = CONTRACT["paths"][path][method]["responses"][str(status)]
    validate(answer, said["content"]["application/json"]["schema"])
    return JSONResponse(answer, status)


def _problem(status: int, reason: str, advice: str) -> Response:
    return JSONResponse({"title": reason, "status": status, "detail": advice}, status)
