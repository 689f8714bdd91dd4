"""What the published contract says of all operations alike: how they refuse, and how they answer a repeat."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from dataset_registry.api.shapes import Problem
from dataset_registry.domain.audit_chain import names_in
from dataset_registry.domain.rights import OPEN

REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "What was asked is refused, and nothing was changed."},
    503: {
        "model": Problem,
        "description": "Something that is needed cannot be reached; send the same again.",
    },
}
REPEATABLE = {"x-repeatable": True}
"""Of a POST without an `Idempotency-Key`: sent twice it is done once."""
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_NAMES = {"4XX": "Refused", "503": "Unavailable"}
_REPLAYED = {
    "description": "`true` where this is the answer of an earlier request with the same `Idempotency-Key`.",
    "schema": {"type": "string", "const": "true"},
}


def publish(app: FastAPI) -> None:
    """Have the app's OpenAPI document say it."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        return app.openapi_schema or _completed(made())

    app.openapi = openapi  # type: ignore[method-assign]


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    components = document["components"]
    components["responses"] = {
        _NAMES[str(status)]: {"description": said["description"], "content": _PROBLEM}
        for status, said in REFUSALS.items()
    }
    for operation in (one for path in document["paths"].values() for one in path.values()):
        _answers(operation)
        if operation["operationId"] in OPEN:
            operation["security"] = []
        for content in operation.get("requestBody", {}).get("content", {}).values():
            _actor(components["schemas"][content["schema"]["$ref"].rpartition("/")[2]])
    return document


def _answers(operation: dict[str, Any]) -> None:
    """Problems are problems in every answer, said once; commands tell whether they were repeated."""
    repeatable = any(given["name"] == "Idempotency-Key" for given in operation.get("parameters", ()))
    answers = operation["responses"]
    for status, answer in answers.items():
        if status in _NAMES:
            answers[status] = {"$ref": f"#/components/responses/{_NAMES[status]}"}
        elif status.startswith("4"):
            answer["content"] = _PROBLEM
        elif repeatable:
            answer.setdefault("headers", {})["Idempotent-Replayed"] = _REPLAYED


def _actor(schema: dict[str, Any]) -> None:
    """Who is signed in need not say who they are; where names are taken on trust they must."""
    names = names_in(schema["properties"])
    for name in names:
        schema["properties"][name].setdefault("description", "Who is signed in, when left out.")
    schema["required"] = [name for name in schema.get("required", ()) if name not in names]
    if not schema["required"]:
        del schema["required"]
