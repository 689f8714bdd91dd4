"""Settings of the console, beside those of every service."""

from __future__ import annotations

from typing import Literal

from andon_chassis.settings import ServiceSettings


class Settings(ServiceSettings):
    """Attributes:
    sign_in: "required": people sign in with an account of the registry. "on-trust": everybody is who they say they are;
        the registry must be set alike.
    https: People reach the console by https only (as where an ingress ends it): its cookie goes no other way.
    registry_api_url: Base URL of dataset-registry; the console talks to nothing else.
    """

    service: str = "console"
    sign_in: Literal["required", "on-trust"] = "required"
    https: bool = False
    registry_api_url: str = "http://127.0.0.1:8080"
