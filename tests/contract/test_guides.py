"""What the guides tell people to type fits what the services take."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from andon_local import layout
from trainer.main import parser

FIRST_STATION = layout.root() / "docs" / "guides" / "first-station.md"
FIGURES = {"PASS_BELOW": "0.2", "REJECT_FROM": "0.8", "RELEASE": "first-0123", "DATA": "elpv"}


def commands(guide: Path) -> str:
    """Everything in the guide's code blocks, with the shell's variables filled in and long lines joined."""
    text = "\n".join(re.findall(r"^```\n(.*?)^```", guide.read_text(), re.DOTALL | re.MULTILINE))
    for name, value in FIGURES.items():
        text = text.replace(f"${name}", value)
    return text.replace("\\\n", " ")


def requests(guide: Path) -> list[tuple[str, str, Any]]:
    """Method, path and body of what `put` and `post` send."""
    found = re.findall(r"""^(put|post) (\S+) ('[^']*'|"(?:\\"|[^"])*")""", commands(guide), re.MULTILINE)
    return [(method, shlex.split(path)[0], json.loads(shlex.split(body)[0])) for method, path, body in found]


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    loaded = json.loads((layout.root() / "contracts" / "openapi" / "dataset-registry.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_every_request_of_the_first_station_fits_the_contract(contract: dict[str, Any]) -> None:
    sent = requests(FIRST_STATION)
    assert [path.split("/")[2] for _, path, _ in sent] == ["taxonomies", "stations", "policies", "releases"]
    for method, path, body in sent:
        (route,) = [
            route for route in contract["paths"] if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route), path)
        ]
        schema = contract["paths"][route][method]["requestBody"]["content"]["application/json"]["schema"]
        jsonschema.validate(body, {**schema, "components": contract["components"]})


def test_every_call_of_the_trainer_is_one_it_understands() -> None:
    lines = re.findall(r"python -m trainer (.*?)(?: > .*)?$", commands(FIRST_STATION), re.MULTILINE)
    asked = [parser().parse_args(shlex.split(line)).command for line in lines]
    assert asked == ["backbone", "train", "publish"]


def test_the_metadata_of_the_first_image_are_known_to_the_ingest() -> None:
    from capture_ingest.domain.metadata import CONTEXT_FIELDS

    (text,) = re.findall(r"'metadata=(\{.*?\})'", commands(FIRST_STATION))
    assert set(json.loads(text)) <= {*CONTEXT_FIELDS, "trigger_id"}
