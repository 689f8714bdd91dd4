"""The watched folder: pairs, indexes, half-written files, several instances, and a death at any line."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from andon_chassis import telemetry
from andon_chassis.errors import Unavailable
from capture_ingest.adapters import folder as folder_module
from capture_ingest.adapters.folder import FolderSettings, WatchedFolder
from capture_ingest.adapters.memory import MemoryLedger
from capture_ingest.handlers import Receipt, Submission
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


@pytest.mark.parametrize("name", ["..", "n" * 300 + ".png", "a\0b.png", "tief/bild.png"])
def test_a_row_that_names_no_file_is_refused_and_ends_nothing(
    plant: Plant, tmp_path: Path, name: str
) -> None:
    drop(tmp_path / "0.png", png(0))
    write_index(tmp_path, [(name, "t1"), ("0.png", "t0")])
    assert watch(plant, tmp_path).look() == 1
    answers = [(r["image"], r.get("reason", r["status"])) for r in results(tmp_path, "refused")]
    assert answers == [(name, "invalid-index"), ("0.png", "recorded")]


def test_a_long_name_of_many_bytes_can_be_put_away(plant: Plant, tmp_path: Path) -> None:
    drop_pair(tmp_path, "検" * 80, 1)
    assert watch(plant, tmp_path).look() == 1
    assert len(results(tmp_path, "processed")) == 1


def test_a_place_that_somebody_removed_is_made_again(plant: Plant, tmp_path: Path) -> None:
    watched = watch(plant, tmp_path)
    watched.look()
    (tmp_path / "processed").rmdir()
    drop_pair(tmp_path, "p1", 1)
    assert watched.look() == 1 and len(results(tmp_path, "processed")) == 1


class Trouble:
    """Makes a method of Path fail for some file names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, error: int) -> None:
        self.names: set[str] = set()
        works = getattr(Path, method)

        def fails(path: Path, *args: Any) -> Any:
            if path.name in self.names:
                raise OSError(error, os.strerror(error), str(path))
            return works(path, *args)

        monkeypatch.setattr(Path, method, fails)


@pytest.mark.parametrize("name", ["held.png", "held.json"])
def test_a_file_that_another_program_holds_is_waited_for(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trouble = Trouble(monkeypatch, "read_bytes", errno.EACCES)
    trouble.names = {name}
    drop_pair(tmp_path, "held", 1)
    drop_pair(tmp_path, "other", 2)
    watched = watch(plant, tmp_path)
    assert watched.look() == 1
    assert [r.trigger_id for r in plant.recorded] == ["other"]
    assert folder_module.STUCK._value.get() == 1
    trouble.names = set()
    assert watched.look() == 1
    assert [r.trigger_id for r in plant.recorded] == ["other", "held"]
    assert folder_module.STUCK._value.get() == 0 and results(tmp_path, "refused") == []


def test_a_file_nobody_may_read_is_refused_in_the_end(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trouble(monkeypatch, "read_bytes", errno.EACCES).names = {"secret.png"}
    drop(tmp_path / "secret.png", png(1))
    drop(tmp_path / "0.png", png(0))
    write_index(tmp_path, [("secret.png", "t1"), ("0.png", "t0")])
    assert watch(plant, tmp_path, orphan_s=0.0).look() == 1
    answers = {r["image"]: r.get("reason", r["status"]) for r in results(tmp_path, "refused")}
    assert answers == {"secret.png": "unreadable-file", "0.png": "recorded"}
    assert len(list((tmp_path / "refused").rglob("secret.png"))) == 1


def test_a_sidecar_that_is_a_folder_is_refused_at_once(plant: Plant, tmp_path: Path) -> None:
    drop(tmp_path / "p.png", png(1))
    (tmp_path / "p.json").mkdir()
    os.utime(tmp_path / "p.json", (0, 0))
    assert watch(plant, tmp_path).look() == 1
    assert [r["reason"] for r in results(tmp_path, "refused")] == ["unreadable-file"]


def test_a_share_that_does_not_answer_condemns_no_file(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble(monkeypatch, "read_bytes", errno.EIO)
    trouble.names = {"p1.png", folder_module.LOCK}
    drop_pair(tmp_path, "p1", 1)
    watched = watch(plant, tmp_path, orphan_s=0.0)
    assert watched.look() == 0
    assert results(tmp_path, "refused") == []
    trouble.names = set()
    assert watched.look() == 1 and len(plant.recorded) == 1


def test_a_file_that_cannot_be_moved_holds_up_no_other(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble(monkeypatch, "rename", errno.EBUSY)
    trouble.names = {"a.png"}
    drop_pair(tmp_path, "a", 1)
    drop_pair(tmp_path, "b", 2)
    watched = watch(plant, tmp_path)
    assert watched.look() == 1
    assert inbox(tmp_path) == ["a.json", "a.png"]
    trouble.names = set()
    assert watched.look() == 1 and len(plant.recorded) == 2


def eventually(what: Callable[[], bool]) -> None:
    for _ in range(1000):
        if what():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it never came true")


def test_a_share_that_goes_away_ends_nothing_and_is_taken_up_again(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trouble = Trouble(monkeypatch, "iterdir", errno.ESTALE)
    unavailable = telemetry.UNAVAILABLE.labels("watched folder")
    settings = FolderSettings(root=tmp_path, instance="one", every_s=0.01)
    watched = WatchedFolder(settings, plant.admission, plant.health)
    stop = threading.Event()
    thread = threading.Thread(target=watched.run, args=(stop,))
    thread.start()
    try:
        drop_pair(tmp_path, "before", 1)
        eventually(lambda: len(plant.recorded) == 1)
        trouble.names = {folder_module.CLAIMED}
        eventually(lambda: bool(unavailable._value.get() == 1))
        drop_pair(tmp_path, "after", 2)
        trouble.names = set()
        eventually(lambda: len(plant.recorded) == 2)
        assert thread.is_alive()
        eventually(lambda: bool(unavailable._value.get() == 0))
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.parametrize("written", [b"", b"image,line,station\n"])
def test_an_index_that_is_not_flushed_yet_is_left_to_its_writer(
    plant: Plant, tmp_path: Path, written: bytes
) -> None:
    drop(tmp_path / "a.png", png(1))
    drop(tmp_path / "lot.index.csv", written, age_s=5.0)
    watched = watch(plant, tmp_path)
    assert watched.look() == 0
    assert "lot.index.csv" in inbox(tmp_path)
    write_index(tmp_path, [("a.png", "t1")], age_s=5.0)
    assert watched.look() == 1
    assert [r.trigger_id for r in plant.recorded] == ["t1"]


def test_an_index_that_stays_empty_is_put_aside_and_not_deleted(plant: Plant, tmp_path: Path) -> None:
    drop(tmp_path / "lot.index.csv", b"image,line,station\n")
    assert watch(plant, tmp_path).look() == 1
    assert [r["reason"] for r in results(tmp_path, "refused")] == ["empty-index"]
    assert len(list((tmp_path / "refused").rglob("lot.index.csv"))) == 1


def test_a_claim_is_only_swept_away_when_it_holds_nothing(plant: Plant, tmp_path: Path) -> None:
    watched = watch(plant, tmp_path)
    mine = tmp_path / ".claimed" / "one"
    (mine / "came-to-nothing" / "L1").mkdir(parents=True)
    drop(mine / "odd" / "p1.json", b"{}")
    assert watched.look() == 1
    assert [r["reason"] for r in results(tmp_path, "refused")] == ["no-image"]
    assert len(list((tmp_path / "refused").rglob("p1.json"))) == 1
    assert [p.name for p in mine.iterdir()] == [folder_module.LOCK]


class CountingAdmission:
    """Counts the images that it was given and nobody has asked for the answer of."""

    def __init__(self) -> None:
        self.held = self.most_held = 0

    def submit(self, submission: Submission) -> Future[Receipt]:
        self.held += 1
        self.most_held = max(self.most_held, self.held)
        admission = self

        class Answer(Future[Receipt]):
            def result(self, timeout: float | None = None) -> Receipt:
                admission.held -= 1
                return Receipt("id", "sha", True, (), ())

        return Answer()


def test_a_long_index_is_not_read_into_memory_as_a_whole(plant: Plant, tmp_path: Path) -> None:
    admission: Any = CountingAdmission()
    for n in range(20):
        drop(tmp_path / f"{n}.png", png(n))
    write_index(tmp_path, [(f"{n}.png", f"t{n}") for n in range(20)])
    watched = WatchedFolder(FolderSettings(root=tmp_path, instance="one", most=4), admission, plant.health)
    with watched.open():
        assert watched.look() == 1
    assert len(results(tmp_path, "processed")) == 20
    assert admission.most_held == 4


def test_a_long_index_stops_where_a_dependency_is_away(tmp_path: Path) -> None:
    class AwayLedger(MemoryLedger):
        def file(self, captures: Sequence[Any]) -> Any:
            self.transactions.append(len(captures))
            raise Unavailable("postgresql", "connection refused")

    ledger = AwayLedger()
    for n in range(20):
        drop(tmp_path / f"{n}.png", png(n))
    write_index(tmp_path, [(f"{n}.png", f"t{n}") for n in range(20)])
    with plant(ledger=ledger) as made:
        assert watch(made, tmp_path, most=4).look() == 0
    assert sum(ledger.transactions) == 4


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
