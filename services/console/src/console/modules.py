"""The ES modules of the pages that draw on a canvas: browsers keep them as one set."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

MODULES = Path(__file__).parent / "static" / "annotate"


@cache
def modules() -> tuple[str, tuple[str, ...]]:
    """A version that changes with any of them, and their names: scripts that import each other are of one version."""
    files = sorted(MODULES.glob("*.js"))
    digest = hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files))
    return digest.hexdigest()[:12], tuple(file.name for file in files)


def address(name: str = "") -> str:
    """Where a module is; without a name, where all of them are."""
    return f"/annotate/modules/{modules()[0]}/{name}".rstrip("/")
