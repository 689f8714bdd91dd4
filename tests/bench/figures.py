"""Where the benchmarks write their figures, and what is wanted of them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build/bench"

_written: dict[str, dict[str, Any]] = {}
"""What this run has measured so far: a file never mixes the figures of two runs."""


@dataclass(frozen=True)
class Target:
    """What a figure should reach.

    Attributes:
        measured: The figure, in the unit of the limit.
        limit: What it is held to.
        better: `higher` or `lower`.
    """

    measured: float
    limit: float
    better: str

    @property
    def met(self) -> bool:
        return self.measured >= self.limit if self.better == "higher" else self.measured <= self.limit

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "ratio_to_limit": self.measured / self.limit, "met": self.met}


def at_least(measured: float, limit: float) -> Target:
    """The figure should not be lower."""
    return Target(measured, limit, "higher")


def at_most(measured: float, limit: float) -> Target:
    """The figure should not be higher."""
    return Target(measured, limit, "lower")


def write(name: str, figures: Mapping[str, Any], targets: Mapping[str, Target]) -> None:
    """Add figures to build/bench/<name>.json, with what is wanted of them, and print it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    known = _written.setdefault(name, {"targets": {}})
    known |= figures
    known["targets"] |= {what: target.as_json() for what, target in targets.items()}
    known["machine"] = {"cores": len(os.sched_getaffinity(0)), "python": platform.python_version()}
    known["measured_at"] = datetime.now(UTC).isoformat(timespec="seconds")
    known["code"] = _code()
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(known, indent=1) + "\n")
    print(f"\n{path}:\n{json.dumps(known, indent=1)}")


def verdicts() -> list[str]:
    """One line for each target of this run."""
    return [
        f"{'met' if t['met'] else 'MISSED':>7}  {name}.json  {what}: {t['measured']:.4g} "
        f"({'at least' if t['better'] == 'higher' else 'at most'} {t['limit']:g})"
        for name, figures in sorted(_written.items())
        for what, t in figures["targets"].items()
    ]


def _code() -> str:
    """Which version of the code was measured."""
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"
