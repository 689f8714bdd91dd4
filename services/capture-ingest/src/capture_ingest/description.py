"""What the API's description says beside what FastAPI can see: bodies are read raw."""

from __future__ import annotations

from typing import Any

from andon_events.standards import NUMBERS, SETTINGS

Schema = dict[str, Any]

_TEXT: Schema = {"type": ["string", "null"]}
_METADATA: Schema = {
    "type": "object",
    "required": ["line", "station"],
    "description": "Unknown names are ignored and named in the answer; missing ones are named and counted.",
    "properties": {
        "line": {"type": "string"},
        "station": {"type": "string"},
        "camera": _TEXT,
        "part_number": _TEXT,
        "part_id": _TEXT,
        "product_variant": _TEXT,
        "customer": {**_TEXT, "description": "Whom the part is for."},
        "batch": _TEXT,
        "shift": _TEXT,
        "operator": _TEXT,
        "supplier": _TEXT,
        "material": _TEXT,
        "origin": {"enum": ["production", "lab"]},
        "capture_standard_version": _TEXT,
        "trigger_id": {**_TEXT, "description": "The station's own id of the trigger; tells a repeat."},
        "captured_at": {**_TEXT, "format": "date-time", "description": "With an offset."},
        "settings": {
            "type": ["object", "null"],
            "description": "How the image was taken, for the capture standard to be held against. In flat metadata"
            " (MQTT properties, columns of an index) each name stands alone: settings.lens.",
            "properties": {
                name: {"type": ["number", "string", "null"]} if name in NUMBERS else _TEXT
                for name in SETTINGS
            },
        },
    },
}
_RECEIPT: Schema = {
    "type": "object",
    "required": ["capture_id", "sha256", "status", "missing", "ignored"],
    "properties": {
        "capture_id": {"type": "string", "format": "uuid"},
        "sha256": {"type": "string"},
        "status": {"enum": ["recorded", "already-recorded"]},
        "missing": {"type": "array", "items": {"type": "string"}},
        "ignored": {"type": "array", "items": {"type": "string"}},
    },
}
_RESULT: Schema = {
    "type": "object",
    "required": ["http_status", "status"],
    "properties": {
        **_RECEIPT["properties"],
        "http_status": {"type": "integer"},
        "status": {"enum": ["recorded", "already-recorded", "refused"]},
        "reason": {"type": "string"},
        "advice": {"type": "string"},
    },
}
_PROBLEM: Schema = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
_IMAGE: Schema = {"type": "string", "format": "binary"}


def _answer(description: str, schema: Schema, kind: str = "application/json") -> Schema:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _refusal(description: str) -> Schema:
    return _answer(description, _PROBLEM, "application/problem+json")


def _form(image: Schema, metadata: Schema) -> Schema:
    properties = {"image": image, "metadata": metadata}
    return {"schema": {"type": "object", "required": ["image", "metadata"], "properties": properties}}


_AGAIN = _refusal("Send the same request again; nothing was lost.")

CAPTURE: Schema = {
    "parameters": [
        {
            "name": "Andon-Metadata",
            "in": "header",
            "description": "Metadata as a JSON object, when the body is the image itself.",
            "content": {"application/json": {"schema": _METADATA}},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            **{f"image/{kind}": {"schema": _IMAGE} for kind in ("png", "jpeg", "bmp", "tiff")},
            "multipart/form-data": _form(_IMAGE, _METADATA),
        },
    },
}

CAPTURE_ANSWERS: dict[int | str, Schema] = {
    201: _answer("Recorded: image and event are durable.", _RECEIPT),
    200: _answer("The same capture was recorded before.", _RECEIPT),
    408: _refusal("The body took too long."),
    409: _refusal("The same trigger was recorded with another image."),
    413: _refusal("Too many bytes or pixels."),
    415: _refusal("Not an image of a supported format."),
    422: _refusal("Damaged image or unusable metadata."),
    503: _AGAIN,
}

BATCH: Schema = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": _form(
                {"type": "array", "items": _IMAGE}, {"type": "array", "items": _METADATA}
            )
        },
    }
}

BATCH_ANSWERS: dict[int | str, Schema] = {
    207: _answer(
        "One result for each image, in order.",
        {"type": "object", "properties": {"results": {"type": "array", "items": _RESULT}}},
    ),
    413: _refusal("Too many bytes or images."),
    415: _refusal("Not a form."),
    422: _refusal("Damaged form."),
    503: _AGAIN,
}
