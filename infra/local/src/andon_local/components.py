"""Reads ``infra/components.yaml`` and ``infra/local/services.yaml`` into plain records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from andon_local import layout


@dataclass(frozen=True)
class Component:
    """A piece of infrastructure the system runs on."""

    name: str
    title: str
    version: str
    install: Mapping[str, Any]
    ports: Mapping[str, int]
    compose: Mapping[str, Any]
    optional: bool

    @property
    def folder(self) -> Path:
        """Where this very version, installed this very way, lies."""
        return layout.tools_dir() / self.name / f"{self.version}-{self._fingerprint()}"

    def _fingerprint(self) -> str:
        """Changes with anything that would make an installed copy wrong."""
        digest = hashlib.sha256(json.dumps([self.version, self.install], sort_keys=True).encode())
        if "requirements" in self.install:
            lock = (layout.root() / self.install["requirements"]).read_text()
            digest.update("".join(line for line in lock.splitlines(True) if "#" not in line).encode())
        return digest.hexdigest()[:10]


@dataclass(frozen=True)
class Service:
    """One deployable of the system."""

    name: str
    module: str
    needs: tuple[str, ...] = ()
    database: str | None = None
    calls: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    replicas: int = 1


@cache
def components() -> Mapping[str, Component]:
    """All components by name."""
    document = yaml.safe_load((layout.root() / "infra" / "components.yaml").read_text())
    return {
        name: Component(
            name=name,
            title=entry["title"],
            version=str(entry["version"]),
            install=entry["install"],
            ports=entry["ports"],
            compose=entry.get("compose", {}),
            optional=bool(entry.get("optional", False)),
        )
        for name, entry in document["components"].items()
    }


@cache
def services() -> Mapping[str, Service]:
    """All services by name."""
    return {
        name: Service(
            name=name,
            module=entry["module"],
            needs=tuple(entry.get("needs", ())),
            database=entry.get("database"),
            calls=dict(entry.get("calls", {})),
            secrets=tuple(entry.get("secrets", ())),
            env={key: str(value) for key, value in entry.get("env", {}).items()},
            replicas=int(entry.get("replicas", 1)),
        )
        for name, entry in _services_document()["services"].items()
    }


@cache
def buckets() -> tuple[str, ...]:
    """The S3 buckets every deployment has."""
    return tuple(_services_document()["buckets"])


@cache
def _services_document() -> Any:
    return yaml.safe_load((layout.root() / "infra" / "local" / "services.yaml").read_text())


def required() -> tuple[str, ...]:
    """The components the system itself needs, in the order of the file."""
    return tuple(name for name, component in components().items() if not component.optional)
