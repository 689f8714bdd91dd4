"""The command that keeps a service's published OpenAPI document equal to its code."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from fastapi import FastAPI


def document(app: FastAPI) -> str:
    """The OpenAPI document as text; the same code always gives the same bytes."""
    return json.dumps(app.openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def keep(text: str, default: Path, command: str, arguments: list[str] | None = None) -> int:
    """Write the document; with --check only compare. Gives the exit status.

    Args:
        text: The document of this version.
        default: Where it is published.
        command: How a person writes it again, for the advice.
        arguments: Command line; None for the process's own.
    """
    parser = argparse.ArgumentParser(prog=command)
    parser.add_argument("--check", action="store_true", help="fail when the file is stale")
    parser.add_argument("--out", type=Path, default=default)
    given = parser.parse_args(arguments)
    if not given.check:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text)
        return 0
    if given.out.is_file() and given.out.read_text() == text:
        return 0
    print(f"{given.out.name} is stale; run `{command}` and commit it.", file=sys.stderr)
    return 1
