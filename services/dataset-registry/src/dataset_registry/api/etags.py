"""Versions that travel as entity tags."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Header

from dataset_registry.api.shapes import Problem
from dataset_registry.domain.refusals import invalid

STALE: dict[int | str, dict[str, Any]] = {
    412: {"model": Problem, "description": "Somebody has changed it since: `If-Match` names another version."}
}
ETAG = {
    "ETag": {"description": "Changes whenever this does.", "required": True, "schema": {"type": "string"}}
}
TAGGED: dict[int | str, dict[str, Any]] = {200: {"headers": ETAG}}
IfMatch = Annotated[
    str,
    Header(
        alias="If-Match",
        max_length=40,
        description="The ETag that it was read with.",
        json_schema_extra={"pattern": r'^(W/)?"?[0-9]{1,9}"?$'},
    ),
]

IfNoneMatch = Annotated[
    str | None,
    Header(alias="If-None-Match", max_length=1000, description="The ETag of what the caller has."),
]


def tag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def version_in(text: str) -> int:
    """The number in an entity tag: "3", W/"3" or 3. Raises Refused."""
    number = text.strip().removeprefix("W/").strip('"')
    if not number.isascii() or not number.isdecimal() or len(number) > 9:
        raise invalid("unreadable-version", 'If-Match names a version, such as "3", as its ETag does.')
    return int(number)
