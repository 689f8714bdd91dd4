"""Settings of the registry, beside those of every service."""

from __future__ import annotations

from andon_chassis.settings import ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """Attributes:
    people: Roles by name, JSON. People who are not in it may answer reviews; only a `qa-owner` adjudicates.
    owners: Who stands behind a role that owns actions, JSON; a role that is not in it owns them itself.
    claim_minutes: How long a labeling task stays with the person who took it, or saved a draft of it last.
    image_cache_bytes: Images, and views of images, kept in memory for people who look at the same ones; twice.
    """

    service: str = "dataset-registry"
    patience_ms: float = 200.0
    people: dict[str, list[str]] = Field(default={"qa-owner": ["qa-owner"]})
    owners: dict[str, str] = Field(default={})
    claim_minutes: float = Field(default=15.0, gt=0)
    image_cache_bytes: int = 12_000_000
