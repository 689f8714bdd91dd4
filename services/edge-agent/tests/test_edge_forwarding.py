"""From the queue to the plant, whatever the plant does."""

from __future__ import annotations

from pathlib import Path

import pytest
from andon_chassis.clock import FakeClock
from andon_chassis.errors import Unavailable
from andon_chassis.health import Health
from edge_agent.adapters.plant import HttpPlant
from edge_agent.adapters.queue import SqliteQueue
from edge_agent.handlers import Forwarder
from edge_agent.ports import SET_ASIDE
from edge_support import FakePlant
from test_edge_queue import opened, taken


class Box:
    """A queue and its forwarder, on a clock that stands still."""

    def __init__(self, folder: Path, url: str) -> None:
        self.clock = FakeClock()
        self.queue: SqliteQueue = opened(folder)
        self.plant = HttpPlant(url, timeout_s=5)
        self.forwarder = Forwarder(self.queue, self.plant, self.clock, Health(self.clock))

    def add(self, *triggers: str, station: str = "S1") -> None:
        for trigger in triggers:
            self.queue.add(taken(trigger, station, data=f"image {station} {trigger}".encode()))

    def turns(self, count: int = 10, seconds: float = 20.0) -> int:
        left = 0
        for _ in range(count):
            left += self.forwarder.turn()
            self.clock.advance(seconds)
        return left


@pytest.fixture
def box(tmp_path: Path, plant: FakePlant) -> Box:
    return Box(tmp_path, plant.url)


def triggers(plant: FakePlant, station: str = "S1") -> list[str]:
    return [trigger for _, at, trigger in plant.order if at == station]


def test_each_stations_images_arrive_in_order(box: Box, plant: FakePlant) -> None:
    box.add("1", "2", "3")
    box.add("8", "9", station="S2")
    box.turns()
    assert (triggers(plant), triggers(plant, "S2")) == (["1", "2", "3"], ["8", "9"])
    assert plant.traces[0] == f"00-{'a' * 32}-{'b' * 16}-01"
    assert {record.state for record in box.queue.records(0, 10)} == {"delivered"}


@pytest.mark.parametrize("trouble", ["away", "500", "portal", "proxy", "lose"])
def test_whatever_is_not_the_plants_word_lets_nothing_go(box: Box, plant: FakePlant, trouble: str) -> None:
    box.add("1", "2")
    plant.mode = lambda station: trouble
    assert box.turns() == 0
    assert box.queue.fill().waiting == 2
    with pytest.raises(Unavailable):
        box.forwarder.probe()
    plant.mode = lambda station: "ok"
    assert box.turns() == 2
    assert triggers(plant) == ["1", "2"]
    box.forwarder.probe()


def test_nobody_listening_is_waited_for(tmp_path: Path) -> None:
    box = Box(tmp_path, "http://127.0.0.1:9")
    box.add("1")
    assert box.turns(3) == 0 and box.queue.fill().waiting == 1


def test_a_station_in_trouble_holds_up_no_other(box: Box, plant: FakePlant) -> None:
    plant.mode = lambda station: "500" if station == "S1" else "ok"
    box.add("1", "2")
    box.add("8", "9", station="S2")
    box.turns()
    assert (triggers(plant), triggers(plant, "S2")) == ([], ["8", "9"])


def test_pauses_grow_and_are_bounded(box: Box, plant: FakePlant) -> None:
    box.add("1")
    asked = 0

    def count(station: str) -> str:
        nonlocal asked
        asked += 1
        return "500"

    plant.mode = count
    box.turns(1000, seconds=0.1)  # a hundred seconds
    assert 8 <= asked <= 25


def test_what_the_plant_refuses_is_set_aside_and_the_next_goes_on(box: Box, plant: FakePlant) -> None:
    box.add("1")
    plant.mode = lambda station: "refuse"
    box.turns(1)
    plant.mode = lambda station: "ok"
    box.add("2")
    box.turns()
    (aside,) = box.queue.records(0, 10, SET_ASIDE)
    assert aside.answer == {"reason": "trigger-conflict", "advice": "a sentence"}
    assert box.queue.image(aside.seq) == b"image S1 1" and triggers(plant) == ["2"]
    box.queue.send_again()
    box.turns()
    assert triggers(plant) == ["2", "1"]


def test_bytes_that_the_disk_changed_are_not_sent(box: Box, plant: FakePlant) -> None:
    box.add("1")
    box.queue._db.execute("UPDATE images SET data = ?", (b"rotten",))
    box.turns()
    (aside,) = box.queue.records(0, 10, SET_ASIDE)
    assert aside.answer is not None and aside.answer["reason"] == "damaged-on-disk"
    assert plant.order == []


def test_dying_between_the_answer_and_its_record_sends_again(
    box: Box, plant: FakePlant, monkeypatch: pytest.MonkeyPatch
) -> None:
    box.add("1")

    def die(seq: int, answer: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(box.queue, "delivered", die)
        box.forwarder.turn()
    assert len(plant.order) == 1 and box.queue.fill().waiting == 1
    box.turns()
    assert (len(plant.order), plant.again, box.queue.fill().waiting) == (1, 1, 0)


def test_a_disk_that_fails_is_waited_for(box: Box, plant: FakePlant, monkeypatch: pytest.MonkeyPatch) -> None:
    box.add("1")

    def fail(seq: int, answer: object) -> None:
        raise Unavailable("disk", "I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(box.queue, "delivered", fail)
        assert box.forwarder.turn() == 0
    assert box.turns() == 1 and plant.again == 1
