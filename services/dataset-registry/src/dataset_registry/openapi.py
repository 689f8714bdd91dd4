"""Writes contracts/openapi/dataset-registry.json, or says that it is stale: `python -m
dataset_registry.openapi [--check]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from andon_chassis.clock import FakeClock
from andon_chassis.contract import document, keep
from andon_chassis.objects import MemoryObjectStore
from andon_vision.decode import DEFAULT_LIMITS

from dataset_registry.adapters.pictures import Pictures
from dataset_registry.adapters.pyramids import Pyramids
from dataset_registry.api import create_app
from dataset_registry.api.context import Context

DEFAULT = Path(__file__).parents[4] / "contracts" / "openapi" / "dataset-registry.json"


def contract() -> str:
    """The OpenAPI document of this version, as text."""

    def closed() -> Any:
        raise RuntimeError("the contract is written without a database")

    store, clock = MemoryObjectStore(), FakeClock()
    pyramids = Pyramids(closed, store, clock, DEFAULT_LIMITS)
    context = Context(closed, store, Pictures(store, 0, pyramids), clock, {})
    return document(create_app(context))


def main(arguments: list[str] | None = None) -> int:
    """Write the contract; with --check only compare. Gives the exit status."""
    return keep(contract(), DEFAULT, "python -m dataset_registry.openapi", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
