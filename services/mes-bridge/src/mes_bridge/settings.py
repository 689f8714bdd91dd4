"""Settings of the mes-bridge."""

from __future__ import annotations

from urllib.parse import urlsplit

from andon_chassis.settings import ServiceSettings
from pydantic import BaseModel, Field, field_validator


class Endpoint(BaseModel):
    """One receiver of dispositions.

    Attributes:
        url: Where to POST to.
        secret: Shared secret, `whsec_` and base64; two of them while one is being replaced; none: the common one.
        lines: Production lines it gets dispositions of; empty for all.
        concurrency: Attempts under way at once.
        timeout_s: Seconds an attempt may take; none: the common one.
    """

    url: str = Field(pattern=r"^https?://")
    secret: str | list[str] = ""
    lines: tuple[str, ...] = ()
    concurrency: int = Field(default=8, ge=1, le=64)
    timeout_s: float | None = Field(default=None, gt=0)

    @field_validator("url")
    @classmethod
    def has_a_host(cls, url: str) -> str:
        if not urlsplit(url).hostname:
            raise ValueError("the URL names no host")
        return url


class Settings(ServiceSettings):
    """Environment variables with the prefix ANDON_.

    Attributes:
        mes_endpoints: JSON, name to endpoint.
        webhook_secret: Common secret: signs for endpoints without one of their own, and is accepted on findings.
        mes_timeout_s: Seconds an attempt may take.
        mes_retry_first_s: Delay after the first failed attempt, in seconds; it doubles from there.
        mes_retry_most_s: Longest delay, in seconds.
        mes_give_up_after_s: Age at which a delivery that still fails is put on the stuck list, in seconds.
        mes_poll_s: Seconds between two looks for due deliveries while there are none.
    """

    service: str = "mes-bridge"
    mes_endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    webhook_secret: str = ""
    mes_timeout_s: float = 10.0
    mes_retry_first_s: float = 1.0
    mes_retry_most_s: float = 300.0
    mes_give_up_after_s: float = 86_400.0
    mes_poll_s: float = 0.05

    def secrets_of(self, endpoint: Endpoint) -> list[str]:
        """The secrets that sign for an endpoint."""
        own = [endpoint.secret] if isinstance(endpoint.secret, str) else endpoint.secret
        return [secret for secret in own if secret] or [s for s in [self.webhook_secret] if s]

    def inbound_secrets(self) -> list[str]:
        """The secrets that are accepted on findings: those of every endpoint, and the common one."""
        secrets = [s for endpoint in self.mes_endpoints.values() for s in self.secrets_of(endpoint)]
        return sorted({*secrets, *([self.webhook_secret] if self.webhook_secret else [])})
