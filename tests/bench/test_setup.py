"""How long a newcomer waits: build/bench/setup.json."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from .figures import ROOT, at_most, write

SETUP_S, FIRST_DISPOSITION_S = 12 * 60.0, 40.0
CACHES = ("XDG_CACHE_HOME", "XDG_DATA_HOME", "GOPATH", "GOCACHE", "GOMODCACHE")
ENVIRONMENTS = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "ANDON_ROOT", "MAKEFLAGS", "MFLAGS", "MAKELEVEL")
FIRST = re.compile(rb"First disposition")


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """What is committed, in a new folder."""
    clone = tmp_path / "a new folder"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    return clone


def test_setup_of_a_fresh_clone_with_empty_caches(fresh: Path, tmp_path: Path) -> None:
    home = Path.home()
    env = {name: value for name, value in os.environ.items() if name not in (*CACHES, *ENVIRONMENTS)}
    env |= {"HOME": str(tmp_path / "home"), "PYENV_ROOT": env.get("PYENV_ROOT", str(home / ".pyenv"))}
    (tmp_path / "home").mkdir()
    seconds = timed(["make", "setup"], fresh, env)
    shutil.rmtree(fresh)
    subprocess.run(
        ["chmod", "-R", "u+w", str(tmp_path / "home")], check=True
    )  # Go's module cache is read-only
    write("setup", {"setup_s": seconds}, {"set-up of a fresh clone, s": at_most(seconds, SETUP_S)})


def test_a_later_demo_shows_its_first_disposition_soon() -> None:
    """The first run of the two may still have to train."""
    env = {name: value for name, value in os.environ.items() if name not in ENVIRONMENTS}
    for _ in range(2):
        seconds = until_first_disposition(env)
    write(
        "setup",
        {"first_disposition_s": seconds},
        {"first disposition of a later demo, s": at_most(seconds, FIRST_DISPOSITION_S)},
    )


def timed(command: list[str], folder: Path, env: Mapping[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, f"{command} ended with {done.returncode}"
    return time.monotonic() - began


def until_first_disposition(env: Mapping[str, str]) -> float:
    """Seconds from `make demo` to the line that tells of the first disposition; the demo runs to its end."""
    began = time.monotonic()
    demo = subprocess.Popen(["make", "demo", "IMAGES=60"], cwd=ROOT, env=env, stdout=subprocess.PIPE)
    assert demo.stdout is not None
    seconds = 0.0
    for line in demo.stdout:
        if not seconds and FIRST.search(line):
            seconds = time.monotonic() - began
    assert demo.wait() == 0, "the demo's books do not balance"
    assert seconds, "the demo told of no disposition"
    return seconds
