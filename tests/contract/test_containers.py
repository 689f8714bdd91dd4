"""The compose file and the Dockerfiles are valid by the tools that people check them with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from andon_local import compose, images, layout
from andon_local.components import components, required, services
from andon_local.provision import TRAINING_KEY

# The Go module that compose itself is built from carries the specification's schema.
COMPOSE_GO = "github.com/compose-spec/compose-go/v2@v2.16.2"


@pytest.fixture(scope="module")
def compose_file() -> dict[str, Any]:
    loaded = yaml.safe_load((layout.root() / "infra" / "compose" / "compose.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_the_compose_file_follows_the_compose_specification(
    compose_file: dict[str, Any], tmp_path: Path
) -> None:
    # Outside the checkout: the command must not look for a go.mod above it.
    answer = subprocess.run(
        ["go", "mod", "download", "-json", COMPOSE_GO],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    schema = json.loads((Path(json.loads(answer.stdout)["Dir"]) / "schema" / "compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    problems = [error.message for error in validator.iter_errors(compose_file)]
    assert problems == []
    broken = {**compose_file, "services": {"kafka": {"imag": "apache/kafka"}}}
    assert list(validator.iter_errors(broken))


def test_it_holds_every_component_and_every_service(compose_file: dict[str, Any]) -> None:
    assert set(compose_file["services"]) == {*required(), *services(), "provision", "trainer"}
    for name, entry in compose_file["services"].items():
        for needed in entry.get("depends_on", {}):
            assert needed in compose_file["services"], name
    for name in required():
        image = compose_file["services"][name].get("image")
        version = components()[name].version
        if image is not None and name != "minio":  # its images are named by date, its modules by commit
            tag = image.partition(":")[2]
            assert f"{tag}.".startswith(f"{version}."), name
            assert re.fullmatch(r"\d+(\.\d+)+", tag), f"{name}: an exact version, or two machines differ"


def test_it_holds_no_secret_and_asks_for_each(compose_file: dict[str, Any]) -> None:
    text = (layout.root() / "infra" / "compose" / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+):\?", text))
    assert asked == set(compose.variables().values())
    for entry in compose_file["services"].values():
        for key, value in entry.get("environment", {}).items():
            if (
                re.search(r"PASSWORD|SECRET|ACCESS_KEY", key) and value != TRAINING_KEY
            ):  # a name, not a secret
                assert str(value).startswith("${"), key


def test_the_trainer_waits_until_somebody_runs_it(compose_file: dict[str, Any]) -> None:
    profiles = {
        name: entry["profiles"] for name, entry in compose_file["services"].items() if "profiles" in entry
    }
    assert profiles == {"trainer": ["tools"]}
    told = compose_file["services"]["trainer"]["environment"]
    inference = compose_file["services"]["inference"]["environment"]
    for name in ("KAFKA_BOOTSTRAP", "REGISTRY_URL", "S3_ENDPOINT"):
        assert told[f"ANDON_{name}"] == inference[f"ANDON_{name}"]
    provision = compose_file["services"]["provision"]["environment"]
    assert told["ANDON_S3_ACCESS_KEY"] == TRAINING_KEY
    assert (
        told["ANDON_S3_SECRET_KEY"]
        == provision["ANDON_S3_TRAINING_SECRET"]
        != inference["ANDON_S3_SECRET_KEY"]
    )


def test_no_container_is_given_the_key_that_signs_releases(compose_file: dict[str, Any]) -> None:
    for name, entry in compose_file["services"].items():
        mounted = [volume for volume in entry.get("volumes", []) if "keys" in volume]
        assert all(volume.startswith("./keys/release.pub:") for volume in mounted), name


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("mes-bridge", "ANDON_MES_ENDPOINTS"),
        ("dataset-registry", "ANDON_OWNERS"),
        ("console", "ANDON_HTTPS"),
    ],
)
def test_a_plant_can_name_its_mes_and_its_people_in_the_env_file(
    compose_file: dict[str, Any], service: str, name: str
) -> None:
    # No value of its own: what .env says is passed on, and where it says nothing the service's default stands.
    environment = compose_file["services"][service]["environment"]
    assert name in environment and environment[name] is None
    assert f"\n# {name}=" in compose.render_example()


def test_whoever_uses_it_signs_in(compose_file: dict[str, Any]) -> None:
    for service in ("dataset-registry", "console"):
        assert "ANDON_SIGN_IN" not in compose_file["services"][service]["environment"], (
            "the default: required"
        )


def test_every_service_can_be_built(compose_file: dict[str, Any]) -> None:
    built = {entry["build"]["dockerfile"] for entry in compose_file["services"].values() if "build" in entry}
    for dockerfile in built:
        assert (layout.root() / dockerfile).is_file(), dockerfile
    for name in services():
        assert (layout.root() / "requirements" / "services" / f"{name}.txt").is_file(), name


def test_what_a_dockerfile_copies_is_there() -> None:
    for dockerfile in {*compose.dockerfiles(), *images.dockerfiles()}:
        for source in re.findall(r"^COPY (?!--from)(\S+) ", dockerfile.read_text(), flags=re.MULTILINE):
            assert (layout.root() / source).exists(), f"{dockerfile}: {source}"


def test_dockerfiles_pass_the_linter() -> None:
    files = [str(path) for path in sorted({*compose.dockerfiles(), *images.dockerfiles()})]
    hadolint = Path(sys.executable).with_name("hadolint")
    linted = subprocess.run([str(hadolint), *files], capture_output=True, text=True, check=False)
    assert linted.returncode == 0, linted.stdout
    assert len(files) >= len(services())


def test_locked_requirements_hold_hashes_and_no_addresses() -> None:
    locks = [
        *(layout.root() / "requirements").rglob("*.txt"),
        *(layout.root() / "k8s").rglob("requirements.txt"),
    ]
    assert layout.root() / "k8s" / "triton" / "requirements.txt" in locks
    for lock in sorted(locks):
        lines = lock.read_text().splitlines()
        assert not [line for line in lines if "://" in line or line.startswith("-")], lock
        pinned = [line for line in lines if re.match(r"[A-Za-z0-9]", line)]
        assert pinned and all("==" in line and line.endswith("\\") for line in pinned), lock
        assert sum("--hash=sha256:" in line for line in lines) >= len(pinned), lock
