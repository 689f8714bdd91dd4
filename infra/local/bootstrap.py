"""Makes the Python environment everything else runs in, with nothing but a stock Python 3.11 or later.

    python3 infra/local/bootstrap.py        -> .runtime/venv

Does nothing when the environment is there and the lock file has not changed. Standard library only.
"""

from __future__ import annotations

import glob
import hashlib
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".runtime" / "venv"
STAMP = ENVIRONMENT / ".complete"
BOOTSTRAP = ROOT / "requirements" / "bootstrap.txt"
LOCK = ROOT / "requirements" / "dev.txt"
SOURCES = ("libs/*/src", "schemas/python/src", "services/*/src", "infra/local/src", "demo/src")


def main() -> int:
    """Entry point; returns the exit code."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        found = ".".join(map(str, sys.version_info[:3]))
        print(
            f"python3 is {found}; 3.11, 3.12 or 3.13 is needed. Set PYTHON=<path> for another one.",
            file=sys.stderr,
        )
        return 1
    link_sources_if_ready()
    key = hashlib.sha256(BOOTSTRAP.read_bytes() + LOCK.read_bytes() + sys.version.encode()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == key:
        return 0
    started = time.monotonic()
    print("Python environment: making .runtime/venv", flush=True)
    STAMP.unlink(missing_ok=True)
    python = ENVIRONMENT / "bin" / "python"
    if not works(python):
        venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(ENVIRONMENT)
    try:
        run(
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            BOOTSTRAP,
        )
        print("Python environment: installing the locked packages", flush=True)
        run(
            ENVIRONMENT / "bin" / "uv",
            "pip",
            "install",
            "-q",
            "--require-hashes",
            "--python",
            python,
            "-r",
            LOCK,
        )
    except subprocess.CalledProcessError as error:
        print(f"the Python environment could not be made (exit code {error.returncode})", file=sys.stderr)
        return 1
    link_sources()
    STAMP.write_text(key)
    print(f"Python environment: ready in {time.monotonic() - started:.1f} s", flush=True)
    return 0


def works(python: Path) -> bool:
    """Whether the environment is usable; one whose making was interrupted is not."""
    if not python.exists():
        return False
    probe = "import pip, sys; sys.exit(sys.prefix == sys.base_prefix)"
    return subprocess.run([str(python), "-c", probe], capture_output=True, check=False).returncode == 0


def run(*command: object) -> None:
    """Run a command without this Python's own settings; raises CalledProcessError."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment.setdefault("UV_LINK_MODE", "copy")
    subprocess.run([str(part) for part in command], check=True, env=environment)


def link_sources_if_ready() -> None:
    """New packages appear in the checkout while the environment stays."""
    if STAMP.exists():
        link_sources()


def link_sources() -> None:
    """Put the source folder of every package of the checkout on the environment's path."""
    folders = sorted(folder for pattern in SOURCES for folder in glob.glob(str(ROOT / pattern)))
    for packages in ENVIRONMENT.glob("lib/python3*/site-packages"):
        (packages / "andonloop.pth").write_text("".join(f"{folder}\n" for folder in folders))


if __name__ == "__main__":
    raise SystemExit(main())
