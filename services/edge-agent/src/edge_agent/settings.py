"""Settings of the edge agent: environment variables with the prefix ANDON_.

A plain dataclass: importing the settings library of the other services takes a sixth of the time a start may take.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final


class SettingsError(ValueError):
    """A setting that cannot be used; the text names it."""


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """README.md explains each."""

    bundle: Path = Path("bundle")
    release_key: Path = Path("keys/release.pub")
    ingest_url: str = "http://127.0.0.1:8081"
    ingest_ca_file: Path | None = None
    state_dir: Path = Path(".")
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    line: str = ""
    station: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    folder_settle_s: float = 0.3
    folder_sidecar_required: bool = False
    queue_mb: int = 4096
    min_free_mb: int = 256
    records: int = 200_000
    max_image_bytes: int = 64 * 1024 * 1024
    max_image_pixels: int = 50_000_000
    max_held_bytes: int = 96 * 1024 * 1024
    upload_timeout_s: float = 30.0
    send_timeout_s: float = 30.0
    longest_pause_s: float = 15.0
    model_threads: int = 1
    log_level: str = "INFO"

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> EdgeSettings:
        """From the environment. Raises SettingsError."""
        given: dict[str, Any] = {}
        for setting in fields(cls):
            name = f"ANDON_{setting.name.upper()}"
            text = environment.get(name, "").strip()
            if not text:
                continue
            try:
                given[setting.name] = _READERS[str(setting.type)](text)
            except ValueError as error:
                raise SettingsError(f"{name}={text!r} cannot be used: {error}.") from error
        return cls(**given)

    def defaults(self) -> dict[str, str]:
        """Metadata of the box's station."""
        place = {"line": self.line, "station": self.station}
        return {**self.metadata, **{name: value for name, value in place.items() if value}}


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("say true or false")
    return text.lower() in ("true", "1")


def _positive(read: Callable[[str], float]) -> Callable[[str], float]:
    def checked(text: str) -> float:
        value = read(text)
        if not 0 <= value < float("inf"):
            raise ValueError("it must be a number from 0 on")
        return value

    return checked


def _pairs(text: str) -> dict[str, str]:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise ValueError("it must be a JSON object of texts")
    return value


_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "str": str,
    "Path": Path,
    "Path | None": Path,
    "int": _positive(int),
    "float": _positive(float),
    "bool": _flag,
    "Mapping[str, str]": _pairs,
}
