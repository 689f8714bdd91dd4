"""What a service is told through its environment, the same for plain processes and containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from andon_local import layout
from andon_local.components import Service
from andon_local.endpoints import program_name

DATABASE = "andonloop"
ADMIN_ROLE = "andon_admin"


class Addresses(Protocol):
    """Where components and services answer, as seen by a service."""

    @property
    def kafka(self) -> str:
        """Bootstrap server, host:port."""

    @property
    def registry(self) -> str:
        """Base URL of the schema registry's Confluent-compatible API."""

    @property
    def postgres(self) -> str:
        """host:port."""

    @property
    def s3(self) -> str:
        """Base URL of the object store."""

    @property
    def triton(self) -> str:
        """gRPC, host:port."""

    def http(self, service: str, replica: int = 1) -> str:
        """Base URL of a service's HTTP port."""

    def http_port(self, service: str, replica: int = 1) -> int:
        """The port the service itself listens on."""


@dataclass(frozen=True)
class Paths:
    """Files and folders a service is given.

    Attributes:
        state: Its own folder to write to.
        traces: Folder of its trace file.
        objects: Folder where all services of the machine keep objects they wrote or read lately.
        triton_models: Triton's model repository.
        release_key: The public key of those whom the plant trusts to release models.
    """

    state: str
    traces: str
    objects: str
    triton_models: str
    release_key: str


def common_environment(
    addresses: Addresses, secrets: Mapping[str, str], paths: Paths, mqtt: str | None
) -> dict[str, str]:
    """Addresses and keys every service is given."""
    environment = {
        "ANDON_KAFKA_BOOTSTRAP": addresses.kafka,
        "ANDON_REGISTRY_URL": addresses.registry,
        "ANDON_S3_ENDPOINT": addresses.s3,
        "ANDON_S3_ACCESS_KEY": secrets["s3-access"],
        "ANDON_S3_SECRET_KEY": secrets["s3-secret"],
        "ANDON_TRITON_URL": addresses.triton,
        "ANDON_TRITON_REPOSITORY": paths.triton_models,
        "ANDON_RELEASE_KEY": paths.release_key,
        # A service is scaled by replicas, not by threads of numeric libraries that fight over the cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # The C library would give each thread an arena of its own and never shrink them: some 25 MB a service.
        "MALLOC_ARENA_MAX": "2",
        "PYTHONUNBUFFERED": "1",
    }
    if mqtt is not None:
        environment["ANDON_MQTT_URL"] = f"mqtt://{mqtt}"
    return environment


def service_environment(
    service: Service,
    replica: int,
    addresses: Addresses,
    secrets: Mapping[str, str],
    paths: Paths,
    mqtt: str | None = None,
) -> dict[str, str]:
    """Everything a replica of a service is told."""
    environment = {
        **common_environment(addresses, secrets, paths, mqtt),
        "ANDON_SERVICE": service.name,
        "ANDON_INSTANCE_ID": f"{service.name}-{replica}",
        "ANDON_STATIC_MEMBER": "true",  # the name survives a restart, so the partitions are taken up at once
        "ANDON_HTTP_PORT": str(addresses.http_port(service.name, replica)),
        "ANDON_STATE_DIR": paths.state,
        "ANDON_OBJECT_CACHE_DIR": paths.objects,
        "ANDON_OBJECT_CACHE_MB": str(layout.KEPT_OBJECTS_MB),
        "ANDON_TRACE_FILE": f"{paths.traces}/{program_name(service.name, replica)}.traces.jsonl",
    }
    if service.database:
        environment["ANDON_DATABASE_URL"] = database_url(addresses, secrets, service.database)
    if "webhook" in service.secrets:
        environment["ANDON_WEBHOOK_SECRET"] = secrets["webhook"]
    for key, other in service.calls.items():
        environment[key] = addresses.http(other)
    for key, value in service.env.items():
        environment[key] = value.replace("{state}", paths.state)
    return environment


def database_url(addresses: Addresses, secrets: Mapping[str, str], role: str) -> str:
    """How a role reaches the database."""
    secret = secrets["postgres" if role == ADMIN_ROLE else f"role-{role}"]
    return f"postgresql://{role}:{secret}@{addresses.postgres}/{DATABASE}"
