"""Writes each service's Dockerfile: one shape for all, from what its pyproject.toml says it needs.

python -m andon_local.images            write them
python -m andon_local.images --check    fail when one is stale
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from string import Template

from andon_local import layout

_LIBRARIES = {"events": "schemas/python", "local": "infra/local"}

_TEMPLATE = Template(
    """\
# Made by `make generate` from this service's pyproject.toml. Do not edit.
# Build from the root of the repository: docker build -f services/$service/Dockerfile .
FROM python:3.11-slim AS build
WORKDIR /build
COPY requirements/services/$service.txt requirements.txt
RUN python -m venv /opt/app && /opt/app/bin/pip install --no-cache-dir --require-hashes -r requirements.txt
$copies
RUN /opt/app/bin/pip install --no-cache-dir --no-deps \\
    $sources

FROM python:3.11-slim
RUN useradd --uid 10001 --no-create-home andon && mkdir /state /models && chown andon /state /models
COPY --from=build /opt/app /opt/app
USER 10001
ENV ANDON_HTTP_HOST=0.0.0.0 ANDON_HTTP_PORT=8080 ANDON_STATE_DIR=/state PYTHONUNBUFFERED=1
VOLUME /state
EXPOSE 8080
$health
ENTRYPOINT ["/opt/app/bin/python", "-m", "$module"]
"""
)

_HEALTH = """\
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \\
    CMD ["/opt/app/bin/python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz')"]
"""
# A job runs to its end: whether it is alive is its exit code's business.
_JOBS = {"trainer"}


def main() -> int:
    """Entry point; returns the exit code."""
    wanted = {file: render(file.parent) for file in dockerfiles()}
    if "--check" in sys.argv[1:]:
        stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
        for path in stale:
            print(f"{path.relative_to(layout.root())} is stale: run `make generate`")
        return 1 if stale else 0
    for path, text in wanted.items():
        path.write_text(text)
    return 0


def dockerfiles() -> list[Path]:
    """One for each service that can be built."""
    projects = (layout.root() / "services").glob("*/pyproject.toml")
    return sorted(project.with_name("Dockerfile") for project in projects)


def render(service: Path) -> str:
    """The Dockerfile of the service in this folder."""
    project = tomllib.loads((service / "pyproject.toml").read_text())
    sources = [*_workspace(service), f"services/{service.name}"]
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return _TEMPLATE.substitute(
        service=service.name,
        module=Path(packages[0]).name,
        copies="\n".join(f"COPY {source} {source}" for source in sources),
        sources=" ".join(f"./{source}" for source in sources),
        health="HEALTHCHECK NONE" if service.name in _JOBS else _HEALTH.rstrip(),
    )


def _workspace(folder: Path) -> list[str]:
    """The libraries a package needs, each after those it needs itself; of a bare one nothing but its own code."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    told = project.get("tool", {}).get("andonloop", {})
    found: list[str] = []
    for name in told.get("workspace", []):
        place = _place(name.partition("[")[0])  # its extras concern the lock file only
        found += [*_workspace(layout.root() / place), place]
    found += [_place(name) for name in told.get("bare", [])]
    return list(dict.fromkeys(found))


def _place(library: str) -> str:
    """Where a library lies."""
    return _LIBRARIES.get(library, f"libs/{library}")


if __name__ == "__main__":
    raise SystemExit(main())
