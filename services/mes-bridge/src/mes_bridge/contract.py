"""Writes what a receiver or sender of webhooks programs against, from the code and the Avro schema:

python -m mes_bridge.contract            write contracts/openapi/mes-bridge.json and contracts/webhooks/*.json
python -m mes_bridge.contract --check    fail when one is stale
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from andon_chassis.clock import SystemClock
from andon_events import topics

from mes_bridge.adapters.office import Office
from mes_bridge.adapters.signature import Keyring
from mes_bridge.api import make_app
from mes_bridge.domain.finding import KINDS, MOST_CHARACTERS

CONTRACTS = Path(__file__).parents[4] / "contracts"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

PRIMITIVES = {
    "string": {"type": "string"},
    "double": {"type": "number"},
    "int": {"type": "integer"},
    "long": {"type": "integer"},
    "boolean": {"type": "boolean"},
}

Json = Any


def from_avro(schema: Json, known: dict[str, Json]) -> Json:
    """The JSON Schema of what an Avro schema's values look like in a webhook's body."""
    if isinstance(schema, list):
        return {"anyOf": [{"type": "null"} if one == "null" else from_avro(one, known) for one in schema]}
    if isinstance(schema, str):
        return (
            {"$ref": f"#/$defs/{schema.split('.')[-1]}"} if schema not in PRIMITIVES else PRIMITIVES[schema]
        )
    kind = schema["type"]
    if kind == "array":
        return {"type": "array", "items": from_avro(schema["items"], known)}
    if kind == "map":
        return {"type": "object", "additionalProperties": from_avro(schema["values"], known)}
    if schema.get("logicalType") == "timestamp-micros":
        return {"type": "string", "format": "date-time"}
    if kind == "record":
        fields = schema["fields"]
        known[schema["name"]] = {
            "type": "object",
            "description": schema.get("doc", ""),
            "required": [field["name"] for field in fields],
            "properties": {
                field["name"]: {**from_avro(field["type"], known), "description": field["doc"]}
                for field in fields
            },
        }
        return {"$ref": f"#/$defs/{schema['name']}"}
    return PRIMITIVES[kind]


def disposition_schema() -> Json:
    """The body of an outgoing webhook. Receivers must ignore fields and values that they do not know."""
    known: dict[str, Json] = {}
    data = from_avro(json.loads(topics.DISPOSITION_DECIDED.schema), known)
    return {
        "$schema": DIALECT,
        "title": "disposition.decided",
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"const": "disposition.decided"},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it was decided."},
            "data": data,
        },
        "$defs": known,
    }


def finding_schema() -> Json:
    """The body of an incoming finding."""
    text = {"type": ["string", "null"], "maxLength": MOST_CHARACTERS}
    return {
        "$schema": DIALECT,
        "title": "finding",
        "type": "object",
        "required": ["kind", "capture_id"],
        "properties": {
            "kind": {"enum": list(KINDS), "description": "What the plant found out."},
            "capture_id": {
                "type": "string",
                "format": "uuid",
                "description": "As delivered with the disposition.",
            },
            "class_name": {**text, "description": "Defect class found."},
            "reported_by": {**text, "description": "Who says so: a person, a station, a customer."},
            "note": {**text, "description": "Free text."},
            "found_at": {
                "type": ["string", "null"],
                "format": "date-time",
                "description": "When it was found, with time zone; at most 5 minutes ahead. Without it: now.",
            },
        },
    }


def documents() -> dict[Path, str]:
    """Every file of the contract, by its path below contracts/."""

    class NoDesk(Office):
        def __init__(self) -> None:
            """Only the routes are looked at."""

    openapi = make_app(NoDesk(), Keyring([]), SystemClock()).openapi()
    made = {
        "openapi/mes-bridge.json": openapi,
        "webhooks/disposition.schema.json": disposition_schema(),
        "webhooks/finding.schema.json": finding_schema(),
    }
    return {
        Path(name): json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, document in made.items()
    }


def main(arguments: list[str]) -> int:
    """Write the contract, or with --check compare it; gives the exit status."""
    stale = []
    for name, text in documents().items():
        path = CONTRACTS / name
        if path.is_file() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if stale and "--check" in arguments:
        print(f"stale: {', '.join(map(str, stale))}; run `python -m mes_bridge.contract`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
