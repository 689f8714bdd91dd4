"""Writes contracts/openapi/capture-ingest.json, or says that it is stale:
`python -m capture_ingest.contract [--check]`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from andon_chassis.contract import document, keep

from capture_ingest.api import UploadLimits, create_app
from capture_ingest.handlers import Admission

DEFAULT = Path(__file__).parents[4] / "contracts" / "openapi" / "capture-ingest.json"


def contract() -> str:
    """The OpenAPI document of this version, as text."""
    app = create_app(cast(Admission, None), UploadLimits())  # nothing is admitted while it is described
    return document(app)


def main(arguments: list[str] | None = None) -> int:
    """Write the contract; with --check only compare. Gives the exit status."""
    return keep(contract(), DEFAULT, "python -m capture_ingest.contract", arguments)


if __name__ == "__main__":
    raise SystemExit(main())
