"""How a client of Kafka proves who it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

MECHANISM = "SCRAM-SHA-512"


@dataclass(frozen=True, slots=True)
class KafkaLogin:
    """A user's name and password.

    Attributes:
        ca_file: Certificates of the authorities that may vouch for a broker; without it nothing is encrypted.
    """

    username: str
    password: str
    ca_file: Path | None = None

    def config(self) -> dict[str, Any]:
        """As librdkafka wants it."""
        config = {
            "security.protocol": "SASL_SSL" if self.ca_file else "SASL_PLAINTEXT",
            "sasl.mechanism": MECHANISM,
            "sasl.username": self.username,
            "sasl.password": self.password,
        }
        return config | ({"ssl.ca.location": str(self.ca_file)} if self.ca_file else {})
