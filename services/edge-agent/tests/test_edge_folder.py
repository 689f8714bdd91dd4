"""The watched folder: nothing is left behind, and nothing is taken twice."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from andon_chassis.clock import SystemClock
from andon_chassis.health import Health
from edge_agent.adapters.folder import FolderSettings, WatchedFolder
from edge_agent.ports import Full
from edge_support import png
from test_edge_api import Box


@pytest.fixture
def box(tmp_path: Path) -> Box:
    (tmp_path / "in").mkdir()
    made = Box(tmp_path)
    made.api.server_close()
    return made


def watched(box: Box, **settings: Any) -> WatchedFolder:
    chosen = FolderSettings(box.folder / "in", **{"settle_s": 0.0, "largest": 20_000, **settings})
    folder = WatchedFolder(chosen, box.intake, Health(SystemClock()))
    (box.folder / "in" / ".taking").mkdir(exist_ok=True)
    return folder


def put(box: Box, name: str, data: bytes, said: object = None, age_s: float = 10) -> Path:
    path = box.folder / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    files = [path]
    if said is not None:
        path.with_suffix(".json").write_text(said if isinstance(said, str) else json.dumps(said))
        files.append(path.with_suffix(".json"))
    for file in files:
        stamp = file.stat().st_mtime - age_s
        os.utime(file, (stamp, stamp))
    return path


def left(box: Box) -> list[str]:
    root = box.folder / "in"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


NOW = threading.Event()


def test_images_are_taken_oldest_first_with_what_is_known_of_them(box: Box) -> None:
    put(box, "b.png", png(20, 1), {"trigger_id": "1"}, age_s=30)
    put(box, "a.PNG", png(20, 2), {"trigger_id": "2"}, age_s=20)
    put(box, "L7/S7/c.png", png(20, 3), age_s=10)
    watched(box).look(NOW)
    records = box.queue.records(0, 10)
    assert [(r.line, r.station, r.metadata.get("trigger_id")) for r in records] == [
        ("L1", "S1", "1"),
        ("L1", "S1", "2"),
        ("L7", "S7", None),
    ]
    assert left(box) == [] and len(box.journal()) == 3


def test_a_file_that_may_still_be_written_is_left_alone(box: Box) -> None:
    put(box, "young.png", png(20), age_s=0)
    put(box, "old.png", png(20, 1), {"a": 1}, age_s=10)
    os.utime(box.folder / "in" / "old.json")
    watched(box, settle_s=5.0).look(NOW)
    assert left(box) == ["old.json", "old.png", "young.png"]


def test_metadata_are_waited_for_where_they_are_wanted(box: Box) -> None:
    put(box, "part.png", png(20))
    folder = watched(box, sidecar_required=True)
    folder.look(NOW)
    assert box.queue.records(0, 10) == []
    put(box, "part.png", png(20), {"trigger_id": "1"})
    folder.look(NOW)
    assert box.queue.records(0, 10)[0].metadata["trigger_id"] == "1"


def test_what_is_refused_lies_aside_with_the_reason(box: Box) -> None:
    put(box, "text.png", b"hello")
    put(box, "part.png", png(20), "{broken")
    put(box, "huge.bmp", b"x" * 20_001)
    watched(box).look(NOW)
    reasons = {
        json.loads(path.read_text())["image"]: json.loads(path.read_text())["reason"]
        for path in (box.folder / "in" / "refused").rglob("result.json")
    }
    assert reasons == {"text.png": "not-an-image", "part.png": "invalid-metadata", "huge.bmp": "too-large"}
    assert all(name.startswith("refused/") for name in left(box)) and len(left(box)) == 7


def test_a_full_queue_leaves_everything_where_it_is(box: Box) -> None:
    taken = 0
    while True:
        path = put(box, f"{taken}.png", png(20, taken, side=80))
        try:
            watched(box).look(NOW)
        except Full:
            break
        taken += 1
    assert taken > 1 and left(box) == [f".taking/{path.name}"]
    box.queue.delivered(1, {})
    watched(box).look(NOW)
    assert left(box) == [] and len(box.queue.records(0, 100)) == taken + 1


@pytest.mark.parametrize("line", ["sidecar claimed", "image claimed", "taken", "image deleted"])
def test_dying_at_any_line_takes_the_image_once(box: Box, line: str) -> None:
    folder = watched(box)
    put(box, "part.png", png(20), {"trigger_id": "1"})
    root, taking = box.folder / "in", box.folder / "in" / ".taking"
    (root / "part.json").rename(taking / "part.json")
    if line != "sidecar claimed":
        (root / "part.png").rename(taking / "part.png")
    if line in ("taken", "image deleted"):
        box.intake.take(png(20), {"trigger_id": "1"}, via="folder")
    if line == "image deleted":
        (taking / "part.png").unlink()
    folder.look(NOW)
    assert [record.metadata["trigger_id"] for record in box.queue.records(0, 10)] == ["1"]
    assert left(box) == []


def test_it_waits_for_a_share_that_is_away(box: Box) -> None:
    folder = watched(box)
    stop = threading.Event()
    (box.folder / "in" / ".taking").rmdir()
    (box.folder / "in").rmdir()
    (box.folder / "in").write_text("not a folder")
    thread = threading.Thread(target=folder.run, args=(stop,))
    thread.start()
    (box.folder / "in").unlink()
    put(box, "part.png", png(20))
    while not box.queue.records(0, 1):
        stop.wait(0.02)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
