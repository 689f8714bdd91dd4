"""Compiles requirements/*.txt and k8s/triton/requirements.txt: exact versions with hashes, no addresses."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements"
# Not for this checkout's environment but for an official image, which brings a Python of its own.
TRITON_IMAGE, TRITON_IMAGE_PYTHON = ROOT / "k8s" / "triton", "3.12"
UV = Path(sys.executable).parent / "uv"


def main() -> int:
    """Compile all lock files; versions that are locked already are kept where the ranges allow it."""
    upgrade = sys.argv[1:]  # e.g. --upgrade, or -P <package>
    for name in ("bootstrap", "postgres", "triton", "label-studio"):
        extra = ["--no-deps"] if name == "postgres" else []
        compile_lock(REQUIREMENTS / f"{name}.in", REQUIREMENTS / f"{name}.txt", extra + upgrade)
    compile_lock(
        TRITON_IMAGE / "requirements.in",
        TRITON_IMAGE / "requirements.txt",
        upgrade,
        python=TRITON_IMAGE_PYTHON,
    )
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "dev.in"
        wanted.write_text("\n".join(sorted(development())) + "\n")
        compile_lock(wanted, REQUIREMENTS / "dev.txt", upgrade)
        images = {file.parent.name: deployable(file) for file in (ROOT / "services").glob("*/pyproject.toml")}
        images["provision"] = deployable(library_file("local")) | deployable(library_file("chassis"))
        for name, needed in sorted(images.items()):
            wanted = Path(folder) / f"{name}.in"
            wanted.write_text("\n".join(sorted(needed)) + "\n")
            target = REQUIREMENTS / "services" / f"{name}.txt"
            target.parent.mkdir(exist_ok=True)
            compile_lock(wanted, target, ["--constraint", str(REQUIREMENTS / "dev.txt"), *upgrade])
    return 0


def development() -> set[str]:
    """What all packages of the checkout and the tools of the repository need."""
    root = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = set(root["dependency-groups"]["dev"])
    for pattern in ("libs/*", "schemas/python", "services/*", "infra/local", "demo"):
        for file in ROOT.glob(f"{pattern}/pyproject.toml"):
            project = tomllib.loads(file.read_text())
            wanted.update(project["project"].get("dependencies", []))
            wanted.update(*project["project"].get("optional-dependencies", {}).values())
            wanted.update(project.get("dependency-groups", {}).get("dev", []))
    return wanted


def deployable(file: Path, extra: str = "") -> set[str]:
    """What one service needs to run: its own dependencies and those of the libraries it uses, as `name` or
    `name[extra]`."""
    project = tomllib.loads(file.read_text())
    wanted = set(project["project"].get("dependencies", []))
    if extra:
        wanted.update(project["project"]["optional-dependencies"][extra])
    for needed in project.get("tool", {}).get("andonloop", {}).get("workspace", []):
        library, _, chosen = needed.rstrip("]").partition("[")
        wanted |= deployable(library_file(library), chosen)
    return wanted


def library_file(name: str) -> Path:
    """The pyproject.toml of a library of the workspace."""
    places = {"events": "schemas/python", "local": "infra/local"}
    return ROOT / places.get(name, f"libs/{name}") / "pyproject.toml"


def compile_lock(source: Path, target: Path, extra: list[str], *, python: str = "3.11") -> None:
    """One lock file, for this Python and later ones; raises CalledProcessError."""
    print(target.relative_to(ROOT), flush=True)
    command = [
        str(UV),
        "pip",
        "compile",
        "-q",
        "--generate-hashes",
        "--universal",
        "--python-version",
        python,
    ]
    command += [
        "--no-emit-index-url",
        "--no-emit-find-links",
        "--no-annotate",
        "--custom-compile-command",
        "make lock",
    ]
    subprocess.run([*command, *extra, str(source), "-o", str(target)], check=True)


if __name__ == "__main__":
    raise SystemExit(main())
