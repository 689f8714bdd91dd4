"""Test runs of one checkout share an instance: the first finds it empty, the last stops it."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from andon_local import layout, runtime, testing


def another_run(folder: Path, entered: Event, leave: Event) -> None:
    layout.instances_dir = lambda: folder  # type: ignore[assignment]
    with testing._shared("test"):
        entered.set()
        leave.wait(60)


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
    spawn = multiprocessing.get_context("fork")
    entered, leave = spawn.Event(), spawn.Event()
    other = spawn.Process(target=another_run, args=(tmp_path, entered, leave))
    other.start()
    assert entered.wait(60)
    with testing._shared("test"):
        assert calls == []
    assert calls == []

    with testing._shared("test"):
        leave.set() if end == "leaves" else other.kill()
        other.join(60)
    assert calls == ["stop test"]
