"""Settings of the console, beside those of every service."""

from __future__ import annotations

from andon_chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Attributes:
    registry_api_url: Base URL of dataset-registry; the console talks to nothing else.
    """

    service: str = "console"
    registry_api_url: str = "http://127.0.0.1:8080"
