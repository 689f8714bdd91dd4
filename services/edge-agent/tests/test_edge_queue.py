"""The queue: whole or not at all, bounded, in order."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from andon_chassis.errors import Unavailable
from edge_agent.adapters.queue import SqliteQueue
from edge_agent.ports import SET_ASIDE, Full, Taken


def taken(trigger: str, station: str = "S1", data: bytes = b"image") -> Taken:
    return Taken(
        line="L1",
        station=station,
        identity=f"trigger:{trigger}",
        sha256=hashlib.sha256(data).hexdigest(),
        media_type="image/png",
        metadata=json.dumps({"line": "L1", "station": station, "trigger_id": trigger}),
        traceparent=f"00-{'a' * 32}-{'b' * 16}-01",
        decision=json.dumps({"kind": "pass"}),
        taken_at="2026-01-01T00:00:00+00:00",
        data=data,
    )


def opened(folder: Path, **limits: Any) -> SqliteQueue:
    return SqliteQueue(folder / "queue.sqlite", **{"most_bytes": 1000, **limits})


def test_a_commit_reaches_the_disk(tmp_path: Path) -> None:
    queue = opened(tmp_path)
    assert queue._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert queue._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_what_was_taken_is_there_after_a_restart(tmp_path: Path) -> None:
    record, created = opened(tmp_path).add(taken("1"))  # never closed
    again, created_again = opened(tmp_path).add(taken("1"))
    assert created and not created_again and again == record
    assert opened(tmp_path).image(record.seq) == b"image"


def test_an_image_leaves_with_the_plants_answer_and_its_record_stays(tmp_path: Path) -> None:
    queue = opened(tmp_path)
    record, _ = queue.add(taken("1"))
    queue.delivered(record.seq, {"capture_id": "c1"})
    assert queue.image(record.seq) is None and queue.heads() == []
    (kept,) = queue.records(0, 10)
    assert (kept.state, kept.answer, kept.decision) == ("delivered", {"capture_id": "c1"}, {"kind": "pass"})
    assert queue.add(taken("1"))[1] is False, "a camera that asks again gets the same answer"


def test_the_oldest_of_each_station_comes_first(tmp_path: Path) -> None:
    queue = opened(tmp_path)
    for trigger, station in (("1", "S2"), ("2", "S1"), ("3", "S2"), ("4", "S1")):
        queue.add(taken(trigger, station))
    assert [head.metadata["trigger_id"] for head in queue.heads()] == ["1", "2"]
    queue.delivered(queue.heads()[0].seq, {})
    assert [head.metadata["trigger_id"] for head in queue.heads()] == ["2", "3"]


def test_a_full_queue_refuses_the_new_and_keeps_the_old(tmp_path: Path) -> None:
    queue = opened(tmp_path, most_bytes=100)
    first, _ = queue.add(taken("1", data=b"x" * 60))
    with pytest.raises(Full, match="holds"):
        queue.add(taken("2", data=b"y" * 60))
    with pytest.raises(Full):
        queue.check_room(41)
    queue.check_room(40)
    assert queue.image(first.seq) == b"x" * 60
    queue.delivered(first.seq, {})
    assert queue.add(taken("2", data=b"y" * 60))[1]


def test_what_was_set_aside_still_counts(tmp_path: Path) -> None:
    queue = opened(tmp_path, most_bytes=100)
    record, _ = queue.add(taken("1", data=b"x" * 60))
    queue.set_aside(record.seq, {"reason": "trigger-conflict"})
    assert (queue.fill().waiting, queue.fill().set_aside, queue.fill().held_bytes) == (0, 1, 60)
    assert queue.heads() == [] and queue.image(record.seq) == b"x" * 60
    with pytest.raises(Full):
        queue.check_room(60)
    assert queue.send_again() == 1 and queue.heads()[0].seq == record.seq


def test_the_disk_keeps_room_for_others(tmp_path: Path) -> None:
    with pytest.raises(Full, match="MB free"):
        opened(tmp_path, free_bytes=1 << 60).check_room(1)


def test_a_full_disk_is_said_and_leaves_nothing_half(tmp_path: Path) -> None:
    queue = opened(tmp_path, most_bytes=1 << 30)
    (pages,) = queue._db.execute("PRAGMA page_count").fetchone()
    queue._db.execute(f"PRAGMA max_page_count = {pages + 10}")
    with pytest.raises(Full, match="disk is full"):
        queue.add(taken("1", data=b"x" * 1_000_000))
    assert queue.records(0, 10) == [] and queue.fill().held_bytes == 0
    assert queue.add(taken("2", data=b"small"))[1]


def test_the_records_of_what_the_plant_has_are_bounded(tmp_path: Path) -> None:
    queue = opened(tmp_path, most_records=10)
    kept, _ = queue.add(taken("kept"))
    queue.set_aside(kept.seq, {})
    for number in range(30):
        queue.delivered(queue.add(taken(str(number)))[0].seq, {})
    assert len(queue.records(0, 100)) == 11
    assert queue.records(0, 100)[0].state == SET_ASIDE


def test_pages_are_used_again(tmp_path: Path) -> None:
    queue = opened(tmp_path, most_bytes=1 << 30)

    def through(number: int) -> int:
        queue.delivered(queue.add(taken(str(number), data=b"x" * 500_000))[0].seq, {})
        (pages,) = queue._db.execute("PRAGMA page_count").fetchone()
        return int(pages)

    first = [through(number) for number in range(5)][-1]
    assert [through(number) for number in range(5, 30)][-1] <= first + 2


def test_a_broken_file_is_the_disks_fault(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite").write_bytes(b"no database" * 1000)
    with pytest.raises(Unavailable, match="disk"):
        opened(tmp_path)


def test_a_transaction_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    queue = opened(tmp_path)
    queue._db.execute("CREATE TRIGGER broken BEFORE INSERT ON images BEGIN SELECT RAISE(FAIL, 'torn'); END")
    with pytest.raises(Unavailable):
        queue.add(taken("1"))
    assert opened(tmp_path).records(0, 10) == []
    assert isinstance(queue._db, sqlite3.Connection) and not queue._db.in_transaction
