"""Where the benchmarks write their figures."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "build/bench"


def write(name: str, figures: dict[str, Any]) -> None:
    """Add figures to build/bench/<name>.json and print the file."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    figures = {**known, **figures, "machine": machine}
    path.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\n{path}:\n{json.dumps(figures, indent=1)}")
