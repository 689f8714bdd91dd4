"""The rendered overlays, by the real kustomize, and what checks them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from andon_local import install
from andon_local.components import components

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = sorted(path.name for path in (ROOT / "k8s" / "overlays").iterdir())

# Modules that carry the CRDs of the operators, at the versions that k8s/README.md names.
CRD_MODULES = {
    "github.com/kedacore/keda/v2@v2.18.1": [
        "config/crd/bases/keda.sh_scaledobjects.yaml",
        "config/crd/bases/keda.sh_triggerauthentications.yaml",
    ],
    "github.com/cloudnative-pg/cloudnative-pg@v1.27.1": [
        "config/crd/bases/postgresql.cnpg.io_clusters.yaml",
        "config/crd/bases/postgresql.cnpg.io_databases.yaml",
    ],
}

Resource = dict[str, Any]


@cache
def tool(name: str) -> Path:
    """The folder of a component, installed when it is missing."""
    install.ensure([name], quiet=True)
    return components()[name].folder


@cache
def build(overlay: str) -> tuple[Resource, ...]:
    """All resources of an overlay."""
    kustomize = tool("kustomize") / "bin" / "kustomize"
    done = subprocess.run(
        [str(kustomize), "build", str(ROOT / "k8s" / "overlays" / overlay)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns"
    return tuple(yaml.safe_load_all(done.stdout))


@pytest.fixture(params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> tuple[Resource, ...]:
    """Each overlay in turn."""
    return build(request.param)


@pytest.fixture
def render() -> Callable[[str], tuple[Resource, ...]]:
    """Renders an overlay by name."""
    return build


@pytest.fixture(scope="session")
def crds(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Resource]:
    """Schemas of custom resources by apiVersion and kind, from the operators' own modules."""
    schemas = {}
    environment = {key: value for key, value in os.environ.items() if key != "GOFLAGS"}
    for module, files in CRD_MODULES.items():
        done = subprocess.run(
            ["go", "mod", "download", "-json", module],
            cwd=tmp_path_factory.mktemp("crds"),
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        folder = Path(json.loads(done.stdout)["Dir"])
        for file in files:
            crd = yaml.safe_load((folder / file).read_text())
            for version in crd["spec"]["versions"]:
                served = f"{crd['spec']['group']}/{version['name']}"
                schemas[served, crd["spec"]["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    return schemas


@pytest.fixture
def strimzi(tmp_path: Path) -> Callable[[list[Resource]], list[str]]:
    """Problems that Strimzi's own model finds in resources."""

    def check(resources: list[Resource]) -> list[str]:
        file = tmp_path / "resources.yaml"
        file.write_text(yaml.safe_dump_all(resources))
        libraries = tool("strimzi-api") / "libs"
        program = Path(__file__).parent / "StrimziCheck.java"
        done = subprocess.run(
            ["java", "-cp", f"{libraries}/*", str(program), str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return check
