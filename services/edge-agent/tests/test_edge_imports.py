"""What is in the process of the agent, and what is not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

LOCK = Path(__file__).parents[3] / "requirements" / "services" / "edge-agent.txt"
OURS = {"edge_agent", "andon_chassis", "andon_vision"}

AS_ON_THE_BOX = """
import json, sys
absent = set(json.loads(sys.argv[1]))
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}: it is not on the box", name=name)
sys.meta_path.insert(0, Absent())
import edge_agent.main
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


def locked() -> set[str]:
    return {plain(name) for name in re.findall(r"^([\w.-]+)==", LOCK.read_text(), re.MULTILINE)}


def loaded(code: str, *arguments: str) -> set[str]:
    """Top-level modules after the whole program was imported."""
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


def test_neither_kafka_nor_triton_is_in_the_process() -> None:
    code = "import edge_agent.main, json, sys; print(json.dumps([n.partition('.')[0] for n in sys.modules]))"
    modules = loaded(code)
    assert "onnxruntime" in modules
    assert not modules & {"confluent_kafka", "aiokafka", "faust", "tritonclient", "grpc", "andon_events"}


def test_it_runs_with_what_its_lock_file_installs() -> None:
    # Of the chassis only the code is installed: a module of it that needs more must be noticed here.
    absent = [
        module
        for module, homes in packages_distributions().items()
        if module not in OURS and not {plain(home) for home in homes} & locked()
    ]
    assert {"confluent_kafka", "tritonclient", "pydantic", "fastapi"} <= set(absent)
    assert "onnxruntime" in loaded(AS_ON_THE_BOX, json.dumps(absent))
