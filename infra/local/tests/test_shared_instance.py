"""Test runs of one checkout share an instance: the first finds it empty, the last stops it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from andon_local import layout, runtime, testing

# Not forked from here: other tests have started the threads of libraries that do not survive it.
ANOTHER_RUN = """
import sys
from pathlib import Path
from andon_local import layout, runtime, testing
layout.instances_dir = lambda: Path(sys.argv[1])
runtime.remove = runtime.stop = lambda name: None
with testing._shared("test"):
    print("entered", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    monkeypatch.setattr(layout, "instances_dir", lambda: tmp_path)
    monkeypatch.setattr(runtime, "remove", lambda name: made.append(f"remove {name}"))
    monkeypatch.setattr(runtime, "stop", lambda name: made.append(f"stop {name}"))
    return made


def test_a_run_of_its_own_starts_empty_and_leaves_nothing(calls: list[str]) -> None:
    with testing._shared("test"):
        assert calls == ["remove test"]
    assert calls == ["remove test", "stop test"]


@pytest.mark.parametrize("end", ["leaves", "is killed"])
def test_a_run_beside_another_neither_clears_nor_stops_it(calls: list[str], tmp_path: Path, end: str) -> None:
    command = [sys.executable, "-c", ANOTHER_RUN, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "entered\n"
        with testing._shared("test"):
            assert calls == []
        assert calls == []

        with testing._shared("test"):
            if end == "leaves":
                other.communicate("\n", timeout=60)
            else:
                other.kill()
                other.wait(60)
        assert calls == ["stop test"]
