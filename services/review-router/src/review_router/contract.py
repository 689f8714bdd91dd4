"""Writes contracts/openapi/review-router.json, or says that it is stale:
`python -m review_router.contract [--check]`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from andon_chassis.contract import document, keep

from review_router.api import Archive, make_app

DEFAULT = Path(__file__).parents[4] / "contracts" / "openapi" / "review-router.json"


def contract() -> str:
    """The OpenAPI document of this version, as text."""
    return document(make_app(cast(Archive, None)))  # nothing is looked up while it is described


def main(arguments: list[str] | None = None) -> int:
    """Write the contract; with --check only compare. Gives the exit status."""
    return keep(contract(), DEFAULT, "python -m review_router.contract", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
