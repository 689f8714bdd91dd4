"""Writes infra/compose/compose.yaml from infra/components.yaml and infra/local/services.yaml.

python -m andon_local.compose            write it
python -m andon_local.compose --check    fail when the file is stale
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from andon_local import layout
from andon_local.components import Component, Service, components, required, services
from andon_local.environment import ADMIN_ROLE, Paths, database_url, service_environment
from andon_local.programs import SINGLE_NODE_KAFKA
from andon_local.provision import TRAINING_KEY, roles

_HTTP_PORT = 8080
# Services people and plants talk to; the others are reached only from beside them.
_PUBLISHED = {"capture-ingest": 8081, "dataset-registry": 8082, "mes-bridge": 8083, "console": 8080}
# Images on their way, for the services that read them next; the cache sweeps itself well before this is full.
_IN_MEMORY = {
    "driver": "local",
    "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": f"size={4 * layout.KEPT_OBJECTS_MB}m,mode=1777"},
}
# Settings that a plant may put in .env. Where .env does not name one, the container is not told of it either, and the
# service's own default stands.
_PASSED_ON = {
    "mes-bridge": ("ANDON_MES_ENDPOINTS",),
    "dataset-registry": ("ANDON_OWNERS",),
    "console": ("ANDON_HTTPS", "FORWARDED_ALLOW_IPS"),
}
# Who signs in comes through the console, which says from where: nothing else reaches the registry from outside.
_FIXED = {"dataset-registry": {"FORWARDED_ALLOW_IPS": "*"}}
# Made by the trainer's command `keys`; only the public half is given to containers.
_KEYS = "./keys/release.pub:/keys/release.pub:ro"
_RELEASE_KEY = "/keys/release.pub"
_COLLECTOR = "OTEL_EXPORTER_OTLP_ENDPOINT"
_OPTIONAL = (
    "",
    "# Optional: a collector that takes OTLP over HTTP; spans go there, beside the trace files in each state volume.",
    f"# {_COLLECTOR}=http://collector:4318",
    "",
    "# Optional: who receives dispositions, as JSON between single quotes; see services/mes-bridge/README.md.",
    """# ANDON_MES_ENDPOINTS='{"mes": {"url": "https://mes.example/dispositions"}}'""",
    "",
    "# Optional: who owns which actions; see services/dataset-registry/README.md.",
    """# ANDON_OWNERS='{"qa-owner": "q.weiss"}'""",
    "",
    "# Optional: people reach the console by https alone, through a proxy at this address.",
    "# ANDON_HTTPS=true",
    "# FORWARDED_ALLOW_IPS=10.0.0.5",
)
# What a container of ours may do to the machine: nothing.
_CONFINED = {
    "read_only": True,
    "tmpfs": ["/tmp"],
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
_HEADER = """\
# Made by `make generate` from infra/components.yaml and infra/local/services.yaml. Do not edit.
#
#   cp infra/compose/.env.example infra/compose/.env      and fill it in
#   make env                                              the Python environment, for the next line
#   .runtime/venv/bin/python -m trainer keys --out infra/compose/keys     whom the plant trusts to release models
#   docker compose -f infra/compose/compose.yaml up --build --wait
#   docker compose -f infra/compose/compose.yaml exec dataset-registry \\
#     python -m dataset_registry.accounts add --name admin --role admin     who signs in first, and adds the others
#
# The trainer runs when somebody asks it to: services/trainer/README.md shows how.
"""


class _Plain(yaml.SafeDumper):
    """Writes what is shared out in full: anchors and aliases make a file hard to read."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@dataclass(frozen=True)
class ContainerAddresses:
    """Containers find each other by name, each on its usual port."""

    kafka: str = "kafka:9092"
    registry: str = "http://registry:8080/apis/ccompat/v7"
    postgres: str = "postgres:5432"
    s3: str = "http://minio:9000"
    triton: str = "triton:8001"

    def http(self, service: str, replica: int = 1) -> str:
        """Base URL of a service; replicas share its name."""
        return f"http://{service}:{_HTTP_PORT}"

    def http_port(self, service: str, replica: int = 1) -> int:
        """The same in every container."""
        return _HTTP_PORT


def main() -> int:
    """Entry point; returns the exit code."""
    target = layout.root() / "infra" / "compose" / "compose.yaml"
    example = target.with_name(".env.example")
    wanted = {target: render(), example: render_example()}
    if "--check" in sys.argv[1:]:
        stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        for path in stale:
            print(f"{path.relative_to(layout.root())} is stale: run `make generate`")
        return 1 if stale else 0
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return 0


def render() -> str:
    """The text of the compose file."""
    body = yaml.dump(document(), Dumper=_Plain, sort_keys=False, width=110, default_flow_style=False)
    return _HEADER + body


def render_example() -> str:
    """The settings the compose file asks for, with nothing secret in it."""
    names = sorted(name for name in variables().values())
    lines = ["# Copy to .env and give each a long random value; ANDON_WEBHOOK_SECRET is whsec_ + base64."]
    return "\n".join([*lines, *(f"{name}=" for name in names), *_OPTIONAL]) + "\n"


def variables() -> dict[str, str]:
    """The environment variable behind each secret."""
    fixed = {
        "postgres": "ANDON_POSTGRES_PASSWORD",
        "s3-access": "ANDON_S3_ACCESS_KEY",
        "s3-secret": "ANDON_S3_SECRET_KEY",
        "s3-training": "ANDON_S3_TRAINING_SECRET",
        "webhook": "ANDON_WEBHOOK_SECRET",
    }
    return {**fixed, **{f"role-{role}": f"ANDON_ROLE_PASSWORD_{role.upper()}" for role in roles()}}


def secrets() -> Mapping[str, str]:
    """References to the secrets; compose refuses to start without a value."""
    return {key: f"${{{name}:?set {name} in .env}}" for key, name in variables().items()}


def document() -> dict[str, Any]:
    """The compose file as plain data."""
    infrastructure = {name: _component(components()[name]) for name in required()}
    deployables = {name: _service(service) for name, service in services().items()}
    volumes: dict[str, Any] = {
        f"{name}-data": None for name in required() if "volume" in components()[name].compose
    }
    volumes |= {f"{name}-state": None for name in (*services(), "trainer")} | {"objects": _IN_MEMORY}
    return {
        "name": "andonloop",
        "services": {**infrastructure, "provision": _provision(), **deployables, "trainer": _trainer()},
        "volumes": volumes,
    }


def _component(component: Component) -> dict[str, Any]:
    compose = component.compose
    source: dict[str, Any] = (
        {"build": {"context": "../..", "dockerfile": compose["build"]}}
        if "build" in compose
        else {"image": compose["image"]}
    )
    own = _COMPONENTS[component.name]()
    data = [f"{component.name}-data:{compose['volume']}"] if "volume" in compose else []
    volumes = [*data, *own.pop("volumes", [])]
    entry = {
        **source,
        "restart": "unless-stopped",
        **own,
        **({"volumes": volumes} if volumes else {}),
        "healthcheck": {
            "test": ["CMD-SHELL", compose["healthcheck"]],
            "interval": "5s",
            "timeout": "5s",
            "retries": 30,
        },
    }
    return entry


def _kafka() -> dict[str, Any]:
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@kafka:9093",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "advertised.listeners": "PLAINTEXT://kafka:9092",
        "log.dirs": "/var/lib/kafka/data",
        **SINGLE_NODE_KAFKA,
    }
    environment = {f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in settings.items()}
    return {"environment": {**environment, "KAFKA_HEAP_OPTS": "-Xms128m -Xmx512m"}}


def _registry() -> dict[str, Any]:
    return {
        "environment": {
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "postgresql",
            "APICURIO_DATASOURCE_URL": "jdbc:postgresql://postgres:5432/registry",
            "APICURIO_DATASOURCE_USERNAME": ADMIN_ROLE,
            "APICURIO_DATASOURCE_PASSWORD": secrets()["postgres"],
            "JAVA_MAX_MEM_RATIO": "50",
        },
        "mem_limit": "640m",
        "depends_on": {"postgres": {"condition": "service_healthy"}},
    }


def _postgres() -> dict[str, Any]:
    environment = {"POSTGRES_USER": ADMIN_ROLE, "POSTGRES_PASSWORD": secrets()["postgres"]}
    return {"environment": {**environment, "POSTGRES_DB": "registry"}, "shm_size": "256mb"}


def _minio() -> dict[str, Any]:
    return {
        "command": ["server", "/data"],
        "environment": {
            "MINIO_ROOT_USER": secrets()["s3-access"],
            "MINIO_ROOT_PASSWORD": secrets()["s3-secret"],
            "MINIO_BROWSER": "off",
        },
    }


def _triton() -> dict[str, Any]:
    return {"environment": {"ANDON_RELEASE_KEY": _RELEASE_KEY}, "shm_size": "256mb", "volumes": [_KEYS]}


_COMPONENTS = {
    "kafka": _kafka,
    "registry": _registry,
    "postgres": _postgres,
    "minio": _minio,
    "triton": _triton,
}


def _provision() -> dict[str, Any]:
    """A job that runs to its end before any service starts."""
    addresses, hidden = ContainerAddresses(), secrets()
    environment = {
        "ANDON_DATABASE_URL": database_url(addresses, hidden, ADMIN_ROLE),
        "ANDON_S3_ENDPOINT": addresses.s3,
        "ANDON_S3_ACCESS_KEY": hidden["s3-access"],
        "ANDON_S3_SECRET_KEY": hidden["s3-secret"],
        "ANDON_S3_TRAINING_SECRET": hidden["s3-training"],
        "ANDON_KAFKA_BOOTSTRAP": addresses.kafka,
        "ANDON_REGISTRY_URL": addresses.registry,
        **{f"ANDON_ROLE_PASSWORD_{role.upper()}": hidden[f"role-{role}"] for role in roles()},
    }
    return {
        "build": {"context": "../..", "dockerfile": "infra/local/Dockerfile"},
        "restart": "on-failure",
        "environment": environment,
        "depends_on": {
            name: {"condition": "service_healthy"} for name in ("kafka", "registry", "postgres", "minio")
        },
    }


def _service(service: Service) -> dict[str, Any]:
    paths = Paths(
        state="/state", traces="/state", objects="/objects", triton_models="/models", release_key=_RELEASE_KEY
    )
    environment = service_environment(service, 1, ContainerAddresses(), secrets(), paths)
    del environment["ANDON_INSTANCE_ID"]  # each replica is named after its container
    del environment["ANDON_STATIC_MEMBER"]  # and a new container has a new name
    environment["ANDON_HTTP_HOST"] = "0.0.0.0"
    environment[_COLLECTOR] = f"${{{_COLLECTOR}:-}}"  # empty: no collector
    settings: dict[str, str | None] = {
        **environment,
        **_FIXED.get(service.name, {}),
        **dict.fromkeys(_PASSED_ON.get(service.name, ())),
    }
    volumes = [f"{service.name}-state:/state"]
    if "minio" in service.needs:
        volumes.append("objects:/objects")
    else:
        del settings["ANDON_OBJECT_CACHE_DIR"], settings["ANDON_OBJECT_CACHE_MB"]
    if "triton" in service.needs:
        volumes += ["triton-data:/models", _KEYS]
    entry: dict[str, Any] = {
        "build": {"context": "../..", "dockerfile": f"services/{service.name}/Dockerfile"},
        "restart": "unless-stopped",
        "environment": settings,
        "volumes": volumes,
        **_CONFINED,
        "stop_grace_period": "15s",
        "depends_on": {
            "provision": {"condition": "service_completed_successfully"},
            **{name: {"condition": "service_healthy"} for name in service.needs},
        },
    }
    if service.name in _PUBLISHED:
        entry["ports"] = [f"127.0.0.1:{_PUBLISHED[service.name]}:{_HTTP_PORT}"]
    return entry


def _trainer() -> dict[str, Any]:
    """A job that people run: `up` passes it by. It signs only with a private key that they mount themselves."""
    addresses, hidden = ContainerAddresses(), secrets()
    return {
        "build": {"context": "../..", "dockerfile": "services/trainer/Dockerfile"},
        "profiles": ["tools"],
        "restart": "no",
        "environment": {
            "ANDON_KAFKA_BOOTSTRAP": addresses.kafka,
            "ANDON_REGISTRY_URL": addresses.registry,
            "ANDON_S3_ENDPOINT": addresses.s3,
            "ANDON_S3_ACCESS_KEY": TRAINING_KEY,
            "ANDON_S3_SECRET_KEY": hidden["s3-training"],
            "ANDON_BACKBONE": "/state/backbone.onnx",
            "ANDON_FEATURE_CACHE": "/state/features.sqlite",
            "ANDON_SIGNING_KEY": "/keys/release.key",
        },
        "volumes": ["trainer-state:/state", _KEYS],
        **_CONFINED,
        "depends_on": {
            "provision": {"condition": "service_completed_successfully"},
            **{name: {"condition": "service_healthy"} for name in ("kafka", "registry", "minio")},
        },
    }


def dockerfiles() -> list[Path]:
    """Every Dockerfile the compose file builds."""
    built = [entry["build"]["dockerfile"] for entry in document()["services"].values() if "build" in entry]
    return [layout.root() / name for name in sorted(built)]


if __name__ == "__main__":
    raise SystemExit(main())
