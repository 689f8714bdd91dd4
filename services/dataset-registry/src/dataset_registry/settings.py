"""Settings of the registry, beside those of every service."""

from __future__ import annotations

from typing import Literal

from andon_chassis.settings import ServiceSettings
from andon_vision.opencv import DEFAULT_PIXELS
from pydantic import Field


class Settings(ServiceSettings):
    """Attributes:
    sign_in: "required": who uses the API signs in, and is who the session says. "on-trust": everybody is who they say
        they are and may do everything; for tests, and for a registry that nobody else can reach.
    people: Where names are taken on trust, roles by name, JSON; only a `qa-owner` adjudicates.
    owners: Who stands behind a role that owns actions, JSON; a role that is not in it owns them itself.
    claim_minutes: How long a labeling task stays with the person who took it, or saved a draft of it last.
    image_cache_bytes: Images, and views of images, kept in memory for people who look at the same ones; twice.
    max_image_bytes, max_image_pixels: What a decoder may be given to cut it into tiles, as on the ways in.
    """

    service: str = "dataset-registry"
    patience_ms: float = 200.0
    sign_in: Literal["required", "on-trust"] = "required"
    people: dict[str, list[str]] = Field(default={"qa-owner": ["qa-owner"]})
    owners: dict[str, str] = Field(default={})
    claim_minutes: float = Field(default=15.0, gt=0)
    image_cache_bytes: int = 12_000_000
    max_image_bytes: int = 64 * 1024 * 1024
    max_image_pixels: int = DEFAULT_PIXELS
