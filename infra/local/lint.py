"""All checks that need no running system, each with its own verdict; exit code 1 when one fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def packages() -> list[str]:
    """Every package of the checkout, as `-p` options for mypy."""
    patterns = ("libs/*/src/*", "schemas/python/src/*", "services/*/src/*", "infra/local/src/*", "demo/src/*")
    found = {
        path.name for pattern in patterns for path in ROOT.glob(pattern) if (path / "__init__.py").exists()
    }
    return [option for name in sorted(found) for option in ("-p", name)]


def checks() -> dict[str, list[str]]:
    """What is run, by name."""
    return {
        "ruff check": [str(BIN / "ruff"), "check", "."],
        "ruff format": [str(BIN / "ruff"), "format", "--check", "."],
        "mypy --strict": [str(BIN / "mypy"), *packages()],
        "room rules": [str(BIN / "lint-imports")],
        "generated files": [sys.executable, "infra/local/generate.py", "--check"],
    }


def main() -> int:
    """Run all checks, two at a time; print what each said only when it failed."""
    sources = os.pathsep.join(
        str(path)
        for pattern in ("libs/*/src", "schemas/python/src", "services/*/src", "infra/local/src", "demo/src")
        for path in sorted(ROOT.glob(pattern))
    )
    environment = {**os.environ, "MYPYPATH": sources}

    def run(item: tuple[str, list[str]]) -> bool:
        name, command = item
        started = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        verdict = "ok" if done.returncode == 0 else "FAILED"
        text = f"{verdict:>6}  {name} ({time.monotonic() - started:.1f} s)"
        if done.returncode != 0:
            text += "\n" + done.stdout + done.stderr
        print(text, flush=True)
        return done.returncode == 0

    with ThreadPoolExecutor(max_workers=2) as pool:
        return 0 if all(list(pool.map(run, checks().items()))) else 1


if __name__ == "__main__":
    raise SystemExit(main())
