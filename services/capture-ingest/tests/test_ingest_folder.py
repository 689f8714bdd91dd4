"""The watched folder: pairs, indexes, half-written files, several instances, and a death at any line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from andon_chassis.errors import Unavailable
from capture_ingest.adapters import folder as folder_module
from capture_ingest.adapters.folder import FolderSettings, WatchedFolder
from capture_ingest.adapters.memory import MemoryLedger
from ingest_support import Plant, metadata, plant, png


def drop(path: Path, data: bytes, age_s: float = 60.0) -> None:
    """A file that was written a while ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    then = time.time() - age_s
    os.utime(path, (then, then))


def drop_pair(root: Path, name: str, seed: int, **said: Any) -> None:
    drop(root / f"{name}.png", png(seed))
    drop(root / f"{name}.json", json.dumps(metadata(name, **said)).encode())


def watch(plant: Plant, root: Path, instance: str = "one", **settings: Any) -> WatchedFolder:
    watched = WatchedFolder(
        FolderSettings(root=root, instance=instance, **settings), plant.admission, plant.health
    )
    watched.open().close()  # makes the places; nobody holds the lock, as if the instance had died
    return watched


def results(root: Path, place: str) -> list[dict[str, Any]]:
    return [
        image
        for item in sorted((root / place).iterdir())
        for image in json.loads((item / "result.json").read_text())["images"]
    ]


def inbox(root: Path) -> list[str]:
    """Files nobody has taken."""
    places = {".claimed", "processed", "refused"}
    return sorted(
        str(p.relative_to(root))
        for p in root.rglob("*")
        if p.is_file() and p.relative_to(root).parts[0] not in places
    )


def test_an_image_and_its_sidecar_are_taken_in_together(plant: Plant, tmp_path: Path) -> None:
    drop_pair(tmp_path, "p1", 1, batch="B9")
    assert watch(plant, tmp_path).look() == 1
    (recorded,) = plant.recorded
    assert (recorded.trigger_id, recorded.context.batch, recorded.received_via) == ("p1", "B9", "folder")
    (item,) = (tmp_path / "processed").iterdir()
    assert {p.name for p in item.iterdir()} == {"p1.png", "p1.json", "result.json"}
    assert results(tmp_path, "processed")[0]["capture_id"] == recorded.capture_id
    assert inbox(tmp_path) == []


def test_what_is_refused_lies_apart_with_its_reason(plant: Plant, tmp_path: Path) -> None:
    drop(tmp_path / "bad.png", b"no image")
    drop(tmp_path / "bad.json", json.dumps(metadata("t")).encode())
    drop(tmp_path / "odd.png", png())
    drop(tmp_path / "odd.json", b"{broken")
    watch(plant, tmp_path).look()
    assert {r["image"]: r["reason"] for r in results(tmp_path, "refused")} == {
        "bad.png": "not-an-image",
        "odd.png": "invalid-metadata",
    }
    assert plant.recorded == [] and inbox(tmp_path) == []


def test_half_written_and_half_delivered_files_are_left_alone(plant: Plant, tmp_path: Path) -> None:
    drop(tmp_path / "new.png", png(1)[:20], age_s=0.0)
    drop(tmp_path / "new.json", b"{}")
    drop(tmp_path / "alone.png", png(2))
    drop(tmp_path / "other.png", png(3))
    drop(tmp_path / "other.json", b"{", age_s=0.0)
    drop(tmp_path / "early.json", json.dumps(metadata("t")).encode())
    assert watch(plant, tmp_path).look() == 0
    assert len(inbox(tmp_path)) == 6 and plant.recorded == []
    drop(tmp_path / "early.png", png(4))
    assert watch(plant, tmp_path).look() == 1


def test_folders_name_line_and_station_and_a_sidecar_may_be_optional(plant: Plant, tmp_path: Path) -> None:
    drop(tmp_path / "L7" / "S3" / "x.png", png(1))
    drop(tmp_path / "L7" / "S4" / "x.png", png(2))
    drop(tmp_path / "L7" / "S4" / "x.json", b'{"station": "S9"}')
    watch(plant, tmp_path, sidecar_required=False, orphan_s=10.0).look()
    assert {(r.context.line, r.context.station) for r in plant.recorded} == {("L7", "S3"), ("L7", "S9")}
    assert "camera" in plant.recorded[0].missing


def write_index(root: Path, rows: list[tuple[str, str]], age_s: float = 60.0) -> None:
    lines = ["image,line,station,trigger_id,batch"]
    lines += [f"{image},L1,S1,{trigger},B1" for image, trigger in rows]
    drop(root / "lot.index.csv", "\n".join(lines).encode(), age_s)


def test_an_index_brings_many_images(plant: Plant, tmp_path: Path) -> None:
    for n in range(5):
        drop(tmp_path / f"{n}.png", png(n))
    write_index(tmp_path, [(f"{n}.png", f"t{n}") for n in range(5)])
    assert watch(plant, tmp_path, sidecar_required=False).look() == 1
    assert [r.trigger_id for r in plant.recorded] == ["t0", "t1", "t2", "t3", "t4"]
    assert inbox(tmp_path) == [] and len(results(tmp_path, "processed")) == 5


def test_an_index_waits_for_its_images_and_then_names_the_missing(plant: Plant, tmp_path: Path) -> None:
    drop(tmp_path / "0.png", png(0))
    write_index(tmp_path, [("0.png", "t0"), ("1.png", "t1"), ("../etc/2.png", "t2")], age_s=5.0)
    watched = watch(plant, tmp_path, orphan_s=30.0)
    assert watched.look() == 0
    write_index(tmp_path, [("0.png", "t0"), ("1.png", "t1"), ("../etc/2.png", "t2")], age_s=60.0)
    assert watched.look() == 1
    answers = {r["image"]: r.get("reason", r["status"]) for r in results(tmp_path, "refused")}
    assert answers == {"0.png": "recorded", "1.png": "missing-image", "../etc/2.png": "invalid-index"}


class AwayLedger(MemoryLedger):
    """PostgreSQL while it is down."""

    away = True

    def file(self, captures: Any) -> Any:
        if self.away:
            raise Unavailable("postgresql", "connection refused")
        return super().file(captures)


def test_while_a_dependency_is_away_files_wait(tmp_path: Path) -> None:
    ledger = AwayLedger()
    drop_pair(tmp_path, "p1", 1)
    with plant(ledger=ledger) as made:
        watched = watch(made, tmp_path)
        assert watched.look() == 0
        assert list((tmp_path / "refused").iterdir()) == []
        ledger.away = False
        assert watched.look() == 1
        assert len(made.recorded) == 1


def test_two_instances_share_a_folder_without_taking_anything_twice(plant: Plant, tmp_path: Path) -> None:
    for n in range(30):
        drop_pair(tmp_path, f"p{n:02}", n)
    one, two = (
        WatchedFolder(FolderSettings(root=tmp_path, instance=name, most=4), plant.admission, plant.health)
        for name in ("one", "two")
    )
    with one.open(), two.open():
        while inbox(tmp_path):
            one.look()
            two.look()
    assert sorted(r.trigger_id for r in plant.recorded) == [f"p{n:02}" for n in range(30)]
    assert len(results(tmp_path, "processed")) == 30


def test_the_claims_of_the_dead_are_adopted_and_those_of_the_living_are_not(
    plant: Plant, tmp_path: Path
) -> None:
    drop_pair(tmp_path, "p1", 1)
    dead = watch(plant, tmp_path, instance="dead")
    dead._claim()
    assert inbox(tmp_path) == []
    living = WatchedFolder(FolderSettings(root=tmp_path, instance="dead"), plant.admission, plant.health)
    with living.open():
        assert watch(plant, tmp_path, instance="other").look() == 0
    assert watch(plant, tmp_path, instance="other").look() == 1
    assert len(plant.recorded) == 1


class Killed(BaseException):
    """What kill -9 is to a process, without ending the test's."""


def killed_at(number: int, work: Callable[[], object]) -> bool:
    """Run work, but stop it at the n-th line of the folder's module; True when it came that far."""
    count = 0

    def trace(frame: FrameType, what: str, value: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename != folder_module.__file__:
            return None
        if what == "line":
            count += 1
            if count == number:
                raise Killed
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except Killed:
        return True
    finally:
        sys.settrace(previous)
    return False


@pytest.mark.parametrize("kind", ["pair", "index", "orphan"])
def test_a_death_at_any_line_loses_nothing_and_doubles_nothing(tmp_path: Path, kind: str) -> None:
    settings: dict[str, Any] = {"sidecar_required": kind != "orphan", "orphan_s": 10.0}
    line = 0
    came_so_far = True
    with plant() as made:
        while came_so_far:
            line += 1
            root = tmp_path / str(line)
            trigger = f"{kind}-{line}"
            if kind == "pair":
                drop_pair(root, trigger, line)
            elif kind == "index":
                drop(root / "a.png", png(line))
                write_index(root, [("a.png", trigger)])
            else:
                drop(root / trigger / "S1" / "a.png", png(line))
            first = watch(made, root, instance="first", **settings)
            came_so_far = killed_at(line, first.look)
            second = watch(made, root, instance="second", **settings)
            while second.look():
                continue
            assert inbox(root) == []
            assert [r["status"] for r in results(root, "processed")] in (["recorded"], ["already-recorded"])
            assert results(root, "refused") == []
        filed = [r.trigger_id or r.context.line for r in made.recorded]
    assert filed == [f"{kind}-{n}" for n in range(1, line + 1)]
    assert line > 60  # it really was stopped at many lines
