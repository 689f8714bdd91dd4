"""Every operation of the API holds its contract, whatever it is sent.

Each gets random requests, right and wrong ones, and a share of all that stand at the edge of what is allowed.
`EXAMPLES=300 make test TESTS=services/dataset-registry/tests/test_registry_schemathesis.py` looks longer, and at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import pytest
import schemathesis
from andon_chassis.codec import Codec
from dataset_registry.openapi import contract
from hypothesis import settings
from schemathesis import checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.parameters import ParameterLocation
from schemathesis.generation.meta import TestPhase
from schemathesis.specs.openapi import checks as of_openapi
from starlette.types import ASGIApp, Receive, Scope, Send

from .conftest import Registry, capture, own_database, review
from .dataset_room import cut, label
from .labeling_room import Room
from .test_registry_imports import five, send

EXAMPLES = int(os.environ.get("EXAMPLES") or 0)
SHARE = 1 if EXAMPLES else 6
CONFIG = {"seed": 7, "generation": {"max-examples": EXAMPLES or 4, "deterministic": True}}
CHECKS = [
    checks.not_a_server_error,
    of_openapi.status_code_conformance,
    of_openapi.content_type_conformance,
    of_openapi.response_headers_conformance,
    of_openapi.response_schema_conformance,
    of_openapi.negative_data_rejection,
    of_openapi.missing_required_header,
]
FORM = "POST /v1/imports"

PARTED = {"keys": ["part"], "shares": {"train": 0.6, "test": 0.2, "holdout": 0.2}}


class App:
    """Is the API as soon as a test has begun one: tests are collected before there is a database."""

    begun: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.begun(scope, receive, send)


app = App()
document = json.loads(contract())
for operation in (one for path in document["paths"].values() for one in path.values()):
    operation.pop("security", None)  # names are taken on trust here; what the door says has tests of its own
schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(CONFIG))
schema.app = app


@dataclass(frozen=True)
class Begun:
    """A registry that has one of everything.

    Attributes:
        known: What is in it, by the names of path parameters and fields.
        headers: What every request says.
    """

    known: Mapping[str, Any]
    headers: Mapping[str, str]


@pytest.fixture(scope="module")
def begun(infra: Any, codec: Codec) -> Iterator[Begun]:
    with own_database(infra, codec) as database:
        registry = Registry(database, codec)
        room = Room(registry)
        images = room.captured(3)
        registry.take(*(registry.decided(trigger) for trigger in "123"))
        registry.take(registry.requested("1"), registry.signal("s"), registry.trained("r1"))
        label(registry, 10, 40)
        registry.http.post("/v1/accounts", json={"name": "lea"})
        draft = registry.http.post("/v1/taxonomy-drafts", json={"created_by": "olga"})
        known = {
            "action_id": registry.get("/v1/actions")["items"][0]["action_id"],
            "batch_id": room.batch(images),
            "capture_id": capture("1"),
            "class_name": "crack",
            "draft_id": draft.json()["draft_id"],
            "hash": cut(registry, split=PARTED)["hash"],
            "image_id": images[0],
            "images": images,
            "import_id": send(registry, five())["import_id"],
            "label_id": registry.get("/v1/labels")["items"][0]["label_id"],
            "line": "line-a",
            "name": "lea",
            "person": "ben",
            "release": "r1",
            "review_id": review("1"),
            "station": "cell-1",
            "task_id": room.next("ben")["task_id"],
            "taxonomy_version": "t1",
        }
        app.begun = registry.http.app
        yield Begun(known, {})


@schema.parametrize()
@settings(deadline=None)
def test_every_operation_holds_its_contract(case: schemathesis.Case, begun: Begun) -> None:
    meta = case.meta
    if meta.phase.name is TestPhase.FUZZING:
        acquaint(case, begun.known)
    elif crc32(repr((case.path_parameters, case.query, case.headers, case.body)).encode()) % SHARE:
        return
    if not meta.is_negative_at(ParameterLocation.HEADER) and case.headers:
        case.headers.pop("Idempotency-Key", None)  # most would only hear that it belongs to another
    # What was to be wrong and was left as it is, is right. In a form everything is text: what is wrong by its type is
    # right once it has been sent.
    untouched = meta.phase.name is TestPhase.FUZZING and not meta.phase.data.mutations
    passed_over = [of_openapi.negative_data_rejection] if untouched or case.operation.label == FORM else []
    case.call_and_validate(headers=dict(begun.headers), checks=CHECKS, excluded_checks=passed_over)


def acquaint(case: schemathesis.Case, known: Mapping[str, Any]) -> None:
    """Have a case speak of things that there are, where it is not meant to be wrong."""
    if not case.meta.is_negative_at(ParameterLocation.PATH):
        case.path_parameters = {**case.path_parameters, **_common(case.path_parameters, known)}
    if case.meta.generation.mode.is_positive:
        case.body = _acquainted(case.body, known)


def _common(given: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    return {name: known[name] for name in given if name in known}


def _acquainted(value: Any, known: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {name: _acquainted(one, known) for name, one in value.items()} | _common(value, known)
    if isinstance(value, list):
        return [_acquainted(one, known) for one in value]
    return value
