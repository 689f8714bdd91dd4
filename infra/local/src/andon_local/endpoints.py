"""The addresses of an instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Endpoints:
    """Where each component and service of an instance answers, all on the loopback address.

    With ``behind_proxies`` the addresses lead through toxiproxy, so that a test can cut them.
    """

    ports: Mapping[str, int]
    behind_proxies: bool = False

    def address(self, name: str) -> str:
        """host:port of a named port."""
        return f"{HOST}:{self.ports[name]}"

    def _reach(self, direct: str, proxied: str) -> str:
        return self.address(proxied if self.behind_proxies else direct)

    @property
    def kafka(self) -> str:
        """Bootstrap server, host:port."""
        return self._reach("kafka", "kafka-proxy")

    @property
    def registry(self) -> str:
        """Base URL of the schema registry's Confluent-compatible API."""
        return f"http://{self._reach('registry', 'registry-proxy')}/apis/ccompat/v7"

    @property
    def postgres(self) -> str:
        """host:port."""
        return self._reach("postgres", "postgres-proxy")

    @property
    def s3(self) -> str:
        """Base URL of the object store."""
        return f"http://{self._reach('minio', 'minio-proxy')}"

    @property
    def triton(self) -> str:
        """gRPC, host:port."""
        return self._reach("triton-grpc", "triton-proxy")

    @property
    def triton_http(self) -> str:
        """Base URL of Triton's HTTP API; never behind a proxy."""
        return f"http://{self.address('triton-http')}"

    @property
    def mqtt(self) -> str:
        """host:port."""
        return self.address("mosquitto")

    @property
    def toxiproxy(self) -> str:
        """Base URL of toxiproxy's API."""
        return f"http://{self.address('toxiproxy')}"

    def http(self, service: str, replica: int = 1) -> str:
        """Base URL of a service's HTTP port."""
        return f"http://{self.address(http_port_name(service, replica))}"

    def http_port(self, service: str, replica: int = 1) -> int:
        """The port a service's HTTP server listens on."""
        return self.ports[http_port_name(service, replica)]

    @property
    def direct(self) -> Endpoints:
        """The same instance, past the proxies."""
        return Endpoints(self.ports)


def program_name(service: str, replica: int = 1) -> str:
    """What the supervisor calls a replica of a service."""
    return service if replica == 1 else f"{service}-{replica}"


def http_port_name(service: str, replica: int = 1) -> str:
    """The name under which the HTTP port of a replica is remembered."""
    return f"http-{program_name(service, replica)}"
