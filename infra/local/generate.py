"""Runs every generator of the checkout; with ``--check`` only says which results are stale.

    python infra/local/generate.py [--check]

A service that publishes a contract has a module `openapi` or `contract` that writes it and knows ``--check``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def generators() -> list[list[str]]:
    """The commands, each writing what it owns."""
    found = [["schemas/generate.py"], ["-m", "andon_local.compose"], ["-m", "andon_local.images"]]
    for module in sorted(
        [*ROOT.glob("services/*/src/*/openapi.py"), *ROOT.glob("services/*/src/*/contract.py")]
    ):
        if "--check" in module.read_text():
            found.append(["-m", f"{module.parent.name}.{module.stem}"])
    return [*found, ["libs/registry-client/generate.py"]]  # last: it is made from a contract


def main() -> int:
    """Run them all, also after one has failed; returns the worst exit code."""
    worst = 0
    for command in generators():
        done = subprocess.run(
            [sys.executable, *command, *sys.argv[1:]], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            print(f"{' '.join(command)}\n{done.stdout}{done.stderr}", end="")
        worst = max(worst, done.returncode)
    return worst


if __name__ == "__main__":
    raise SystemExit(main())
