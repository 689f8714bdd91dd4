"""The demo from nothing to its report, small: every part of the system in one run, and the books must balance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from andon_demo.rehearsal import painted_parts
from andon_demo.report.check import problems_of
from andon_local import layout, runtime

INSTANCE = "demo-e2e"


@pytest.fixture(autouse=True, scope="module")
def _clean() -> Iterator[None]:
    yield
    runtime.remove(INSTANCE)


def _demo(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "andon_demo", "--out", str(out), "--instance", INSTANCE, *arguments]
    return subprocess.run(
        command, cwd=layout.root(), capture_output=True, text=True, timeout=540, check=False
    )


def _processes() -> list[str]:
    """Command lines of what still runs for the demo's instance."""
    folder = str(layout.instances_dir() / INSTANCE)
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
            if process.pid != os.getpid() and folder in line:
                found.append(line)
        except (psutil.Error, OSError):
            continue
    return found


def _traces() -> dict[str, list[dict[str, Any]]]:
    """The spans that all services of the instance wrote down, by trace."""
    traces: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for file in (layout.instances_dir() / INSTANCE / "logs").glob("*.traces.jsonl*"):
        for line in file.read_text().splitlines():
            span = json.loads(line)
            traces[span["trace_id"]].append(span)
    return traces


def _check_traces(report: dict[str, Any]) -> None:
    """One trace joins what all services did about a capture, from the camera's request to the MES."""
    traces = _traces()
    through = {id_: {span["service"] for span in spans} for id_, spans in traces.items()}
    way = {"capture-ingest", "quality-audit", "inference", "review-router", "mes-bridge"}
    whole = [traces[id_] for id_, services in through.items() if way <= services]
    assert len(whole) == report["inferences"] > 0
    for spans in whole:
        known = {span["span_id"] for span in spans}
        assert [span["name"] for span in spans if span["parent_id"] not in known] == ["capture"]
        assert len({span["attributes"]["capture_id"] for span in spans if span["name"] == "capture"}) == 1
    # A person's answer, and a signal with the action that it leads to, belong to a capture's trace as well.
    for more in ({"dataset-registry", "mes-bridge"}, {"feedback-collector", "dataset-registry"}):
        assert any({"capture-ingest", *more} <= services for services in through.values()), more


def _painted_folder(folder: Path, count: int) -> Path:
    """A set as a user may have it: one sub-folder per class, in a folder with a space in its name."""
    flat = folder / "flat"
    flat.mkdir(parents=True)
    data = folder / "my parts"
    for part in painted_parts(flat, count):
        target = data / ("free" if part.label == "normal" else part.label) / part.name
        target.parent.mkdir(parents=True, exist_ok=True)
        part.path.rename(target)
    return data


def test_a_small_demo_balances_its_books_and_keeps_the_contract_of_its_report(tmp_path: Path) -> None:
    done = _demo(tmp_path / "out", "--images", "120")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert problems_of(report) == []
    assert report["images_sent"] == 120
    assert (report["lost"], report["duplicated"]) == (0, 0)
    assert report["refused"] == {"not-an-image": 1, "trigger-conflict": 1, "truncated": 1}
    assert report["audit"]["rejected"]["duplicate"] >= 2
    assert report["reviews"]["requested"] == report["reviews"]["completed"] > 0
    assert report["mes"]["acknowledged"] == report["mes"]["deliveries"] > report["captures_recorded"]
    assert report["signals"].get("new-variant") == 1
    assert sum(kind["opened"] for kind in report["actions"].values()) == sum(report["signals"].values())
    page = (tmp_path / "out" / "report.html").read_text()
    assert "The books balance." in page and "The model card" in page
    assert _processes() == []
    _check_traces(report)


def test_it_runs_on_a_folder_of_the_users_own(tmp_path: Path) -> None:
    data = _painted_folder(tmp_path, 150)
    done = _demo(tmp_path / "out", "--data", str(data), "--images", "60", "--rate", "20")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert problems_of(report) == []
    assert report["images_sent"] == 60
    assert report["model"]["auroc"] is not None
    assert "their metadata only" in " ".join(report["played"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "/no/such/folder"], "no folder"),
        (["--images", "3"], "at least 20"),
        (["--rate", "0"], "more than 0"),
    ],
)
def test_what_cannot_be_run_is_said_at_once(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = _demo(tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert words in done.stdout + done.stderr
    assert _processes() == []
