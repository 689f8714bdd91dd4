"""Whatever is sent, the answer is a problem that says what is wrong, and never an error of the server."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from andon_chassis import http
from andon_chassis.codec import Codec
from andon_chassis.database import Database
from andon_chassis.health import Health
from dataset_registry.adapters.pictures import Pictures
from dataset_registry.adapters.session import sessions
from dataset_registry.api import create_app
from dataset_registry.api.context import Context
from dataset_registry.domain.accounts import Principal, Role
from dataset_registry.openapi import contract
from fastapi.testclient import TestClient
from httpx import Response

from .conftest import Registry

CONTRACT = json.loads(contract())
JSON = "application/json"
NO_JSON = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1e400",
    "half of it": b'{"note": ',
    "no UTF-8": b'{"note": "\xff\xfe"}',
    "UTF-16": '{"note": "x"}'.encode("utf-16"),
    "deep lists": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "a number too long": b'{"note": ' + b"9" * 5_000 + b"}",
    "no number": b'{"note": NaN, "share": Infinity, "limit": -Infinity}',
    "half a character": b'{"note": "\\ud800", "\\udfff": 1}',
    "a NUL": b'{"note": "\\u0000", "\\u0000": 1}',
    "a name twice": b'{"note": 1, "note": []}',
}


class Everybody:
    """Knows one token; who has it may do everything."""

    def principal(self, token: str) -> Principal | None:
        return Principal("olga", "Olga", frozenset(Role)) if token == "t0" else None


@pytest.fixture(scope="module")
def registry(registry_database: Database, codec: Codec) -> Registry:
    """Nothing is put into it here, so it need not be emptied each time."""
    return Registry(registry_database, codec)


@pytest.fixture(scope="module")
def asked(registry: Registry) -> TestClient:
    """The API where people sign in: the door and the routes both read what is sent."""
    opened = sessions(registry.database)
    pictures = Pictures(registry.objects, 0, registry.pyramids)
    app = create_app(Context(opened, registry.objects, pictures, registry.clock, {}, identity=Everybody()))
    http.install(app, Health(registry.clock))
    return TestClient(app, headers={"Authorization": "Bearer t0"})


def operations(takes: str) -> Iterator[tuple[str, str]]:
    """Method and address of all that take a body of this kind."""
    for path, methods in CONTRACT["paths"].items():
        for method, said in methods.items():
            if takes in said.get("requestBody", {}).get("content", {}):
                names = {"name": "olga", "hash": "0" * 64, "version": "t1"}
                given = {p["name"] for p in said.get("parameters", ()) if p["in"] == "path"}
                yield method, path.format(**{name: names.get(name, str(UUID(int=1))) for name in given})


def is_problem(answer: Response, *statuses: int) -> bool:
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert set(body) >= {"type", "title", "status", "detail"} and body["status"] == answer.status_code
    return answer.status_code in (statuses or (400, 422))


@pytest.mark.parametrize("content", NO_JSON.values(), ids=NO_JSON)
def test_a_body_that_is_none_is_refused_everywhere(asked: TestClient, content: bytes) -> None:
    for method, path in operations(JSON):
        headers = {"Content-Type": JSON, "If-Match": '"1"'}
        answer = asked.request(method, path, content=content, headers=headers)
        assert is_problem(answer, 400, 403, 422), (method, path, answer.text)


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/xml", "application/json; charset=x", ";", ""]
)
def test_a_body_of_another_kind_is_refused_everywhere(asked: TestClient, media_type: str) -> None:
    for method, path in operations(JSON):
        headers = {"Content-Type": media_type, "If-Match": '"1"'}
        answer = asked.request(method, path, content=b"<a/>", headers=headers)
        assert is_problem(answer, 400, 403, 422), (method, path, answer.text)


@pytest.mark.parametrize(
    "media_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=x",
        JSON,
        "text/csv",
    ],
)
@pytest.mark.parametrize(
    "content", [b"", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n\r\n--x--", b"{}"]
)
def test_a_form_that_is_none_is_refused(asked: TestClient, media_type: str, content: bytes) -> None:
    answer = asked.post("/v1/imports", content=content, headers={"Content-Type": media_type})
    assert is_problem(answer), answer.text


NUMBERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a sampling plan": (
        "post",
        "/v1/batches",
        {"name": "b", "created_by": "o", "review": {"plan": "fraction", "fraction": "?"}},
    ),
    "an AQL": (
        "post",
        "/v1/batches",
        {"name": "b", "created_by": "o", "review": {"plan": "iso2859", "aql": "?", "level": "II"}},
    ),
    "a threshold": (
        "put",
        "/v1/policies/p9",
        {"bands": [{"severity": "major", "pass_below": 0.1, "reject_from": "?"}]},
    ),
    "a share of captures": ("post", "/v1/releases/r1/promote", {"mode": "canary", "share": "?"}),
    "a part of a version": (
        "post",
        "/v1/datasets/snapshots",
        {"split": {"shares": {"train": 0.5, "holdout": "?"}}},
    ),
    "a length": ("put", "/v1/stations/a/b", {"capture_standard_version": "c1", "distance_mm": "?"}),
    "a corner": (
        "post",
        f"/v1/tasks/{UUID(int=1)}/annotations",
        {
            "person": "o",
            "annotation": {
                "verdict": "labeled",
                "shapes": [{"shape_id": "s", "class_name": "c", "kind": "box", "box": [0, 0, 1, "?"]}],
            },
        },
    ),
    "what came with a label": (
        "post",
        "/v1/labels",
        {
            "approved_by": "o",
            "labels": [{"capture_id": str(UUID(int=1)), "class_name": "c", "context": {"deep": ["?"]}}],
        },
    ),
}


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize(("method", "path", "body"), NUMBERS.values(), ids=NUMBERS)
def test_a_number_that_is_none_is_refused(
    registry: Registry, method: str, path: str, body: dict[str, Any], number: str
) -> None:
    content = json.dumps(body).replace('"?"', number)
    headers = {"Content-Type": JSON, "If-Match": '"1"'}
    answer = registry.http.request(method, path, content=content, headers=headers)
    assert is_problem(answer, 422) and answer.json()["errors"], answer.text


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")


CURSORS = {
    "a word": "frog",
    "another alphabet": "é" * 8,
    "no JSON": base64.urlsafe_b64encode(b"\xff\xff").decode(),
    "a number": cursor(1),
    "deep": base64.urlsafe_b64encode(b"[" * 290).decode(),
    "no moment": cursor("yesterday", "1"),
    "no zone": cursor("2026-01-01T00:00:00", "1"),
    "no name": cursor("2026-01-01T00:00:00+00:00", 1),
    "a NUL": cursor("2026-01-01T00:00:00+00:00", "\0"),
    "half a character": cursor("2026-01-01T00:00:00+00:00", "\ud800"),
    "too long": "A" * 401,
}


@pytest.mark.parametrize("text", CURSORS.values(), ids=CURSORS)
def test_a_cursor_that_was_not_given_here_is_refused_everywhere(registry: Registry, text: str) -> None:
    for path, methods in CONTRACT["paths"].items():
        asked = {parameter["name"] for parameter in methods.get("get", {}).get("parameters", ())}
        if "cursor" in asked and "{" not in path:
            assert is_problem(registry.http.get(path, params={"cursor": text})), path


@pytest.mark.parametrize(
    "moment", ["0", "1.5", "1e9", "now", "2026-13-01T00:00:00Z", "2026-05-04T08:15:00", "9999999-01-01", "\0"]
)
@pytest.mark.parametrize("path", ["/v1/captures", "/v1/audit", "/v1/stations/a/b/deviations"])
def test_a_moment_is_written_out_with_its_zone(registry: Registry, path: str, moment: str) -> None:
    assert is_problem(registry.http.get(path, params={"since": moment}))
    for edge in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59+14:00", "0001-01-01T00:00:00+14:00"):
        assert registry.http.get(path, params={"until": edge, "since": edge}).status_code == 200


def test_a_method_that_is_not_there_says_which_are(registry: Registry) -> None:
    answer = registry.http.delete("/v1/lines")
    assert is_problem(answer, 405) and answer.headers["allow"] == "GET"
    assert is_problem(registry.http.get("/v1/nothing"), 404)


def test_every_answer_is_in_the_contract_and_every_refusal_a_problem() -> None:
    for path, methods in CONTRACT["paths"].items():
        for method, said in methods.items():
            answers = said["responses"]
            assert answers["4XX"]["$ref"] == "#/components/responses/Refused", (method, path)
            for status, answer in answers.items():
                kinds = answer.get("content", {})
                if status[0] == "4" and "$ref" not in answer:
                    assert list(kinds) == ["application/problem+json"], (method, path, status)
                assert all(kind["schema"] for kind in kinds.values()), (method, path, status)
                assert kinds or "$ref" in answer or status in ("204", "304"), (method, path, status)


def test_every_word_that_a_caller_gives_has_bounds() -> None:
    for path, methods in CONTRACT["paths"].items():
        for method, said in methods.items():
            for parameter in said.get("parameters", ()):
                shapes = parameter["schema"].get("anyOf", [parameter["schema"]])
                words = [shape for shape in shapes if shape.get("type") == "string"]
                bounds = {"maxLength", "pattern", "format", "enum"}
                assert all(bounds & set(word) for word in words), (method, path, parameter["name"])
