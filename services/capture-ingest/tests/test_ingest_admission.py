"""The one admission: identity, order, group commit, what happens when something is away."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from andon_chassis.consuming import Batching
from andon_chassis.errors import Invalid, Unavailable
from andon_chassis.events import Event, deterministic_id
from andon_chassis.objects import MemoryObjectStore
from andon_events.records import CaptureRecorded, ObjectRef
from capture_ingest.adapters.memory import MemoryLedger
from capture_ingest.handlers import AdmissionSettings, Receipt, Submission
from capture_ingest.ports import Filed, StationDefaults
from ingest_support import Plant, bomb, metadata, plant, png


def admit(plant: Plant, data: bytes, said: dict[str, Any], via: str = "http") -> Receipt:
    return plant.admission.submit(Submission(data, said, via)).result(5)


def test_a_capture_is_stored_filed_and_published_with_what_is_known(plant: Plant) -> None:
    data = png()
    receipt = admit(plant, data, metadata("t-1", captured_at=plant.clock.now().isoformat()))
    (recorded,) = plant.recorded
    assert receipt.created and receipt.missing == ()
    assert receipt.capture_id == deterministic_id("capture", "L1", "S1", "t-1") == recorded.capture_id
    assert plant.store.objects["images", recorded.image.object.key] == data
    assert (recorded.image.width, recorded.image.height, recorded.image.channels) == (8, 8, 1)
    assert recorded.image.object.media_type == "image/png"
    assert (recorded.context.camera, recorded.context.batch) == ("cam-1", "B7")
    assert recorded.trigger_id == "t-1" and recorded.received_via == "http"
    (event,) = plant.ledger.published
    assert (event.topic, event.key, event.time) == ("capture.recorded", "L1/S1", recorded.captured_at)


def test_the_same_trigger_with_the_same_image_is_the_same_capture(plant: Plant) -> None:
    first, second = (admit(plant, png(), metadata("t-1")) for _ in range(2))
    assert (first.created, second.created) == (True, False)
    assert first.capture_id == second.capture_id
    assert len(plant.recorded) == 1


def test_the_same_trigger_with_another_image_is_a_conflict_and_the_first_stays(plant: Plant) -> None:
    admit(plant, png(1), metadata("t-1"))
    with pytest.raises(Invalid) as caught:
        admit(plant, png(2), metadata("t-1"))
    assert caught.value.reason == "trigger-conflict"
    assert len(plant.recorded) == 1


def test_without_a_trigger_the_content_is_the_identity_at_each_station(plant: Plant) -> None:
    receipts = [
        admit(plant, png(1), metadata()),
        admit(plant, png(1), metadata()),
        admit(plant, png(2), metadata()),
        admit(plant, png(1), metadata(station="S2")),
    ]
    assert [r.created for r in receipts] == [True, False, True, True]
    assert len(plant.store.objects) == 2  # the same content is one object


def test_the_station_fills_in_what_is_known_of_it(plant: Plant) -> None:
    plant.stations["L1", "S1"] = StationDefaults("cam-9", "cs-4")
    receipt = admit(plant, png(), {"line": "L1", "station": "S1"})
    (recorded,) = plant.recorded
    assert (recorded.context.camera, recorded.context.capture_standard_version) == ("cam-9", "cs-4")
    assert recorded.assumed == ["camera", "capture_standard_version"]
    assert set(receipt.missing) == {
        "part_number",
        "product_variant",
        "batch",
        "shift",
        "origin",
        "captured_at",
    }


def test_customer_and_settings_travel_as_they_were_said(plant: Plant) -> None:
    plant.stations["L1", "S1"] = StationDefaults("cam-9", "cs-4")
    said = metadata(camera="cam-1", customer="ACME", settings={"exposure_us": 4000, "lens": "25 mm"})
    admit(plant, png(), said)
    (recorded,) = plant.recorded
    assert (recorded.context.customer, recorded.context.camera) == ("ACME", "cam-1")
    assert recorded.settings == {"exposure_us": "4000", "lens": "25 mm"}
    assert "camera" not in recorded.assumed


def test_a_clock_that_is_ahead_refuses_nothing_and_is_named(plant: Plant) -> None:
    receipt = admit(plant, png(), metadata(captured_at="2099-01-01T00:00:00+00:00"))
    (recorded,) = plant.recorded
    assert receipt.missing == ("captured_at",)
    assert recorded.captured_at == recorded.received_at == plant.clock.now()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"trigger;exposure\n1;2\n", "not-an-image"),
        (b"GIF89a" + b"\0" * 30, "unsupported-format"),
        (png()[:-20], "truncated"),
        (bomb(), "too-many-pixels"),
        (png() + b"\0" * 200_000, "too-large"),
    ],
)
def test_what_is_no_usable_image_is_refused_and_leaves_nothing(
    plant: Plant, data: bytes, reason: str
) -> None:
    with pytest.raises(Invalid) as caught:
        admit(plant, data, metadata())
    assert caught.value.reason == reason
    assert plant.store.objects == {} and plant.recorded == []


def test_unusable_metadata_are_refused_before_anything_is_stored(plant: Plant) -> None:
    with pytest.raises(Invalid) as caught:
        admit(plant, png(), {"station": "S1"})
    assert caught.value.reason == "missing-line"
    assert plant.store.objects == {}


class SlowStore(MemoryObjectStore):
    """Lets some images wait until told."""

    def __init__(self, slow: bytes) -> None:
        super().__init__()
        self._slow = slow
        self.go = threading.Event()

    def put(self, bucket: str, data: bytes, media_type: str) -> ObjectRef:
        if data == self._slow:
            assert self.go.wait(10)
        return super().put(bucket, data, media_type)


def test_a_station_keeps_its_order_and_holds_up_no_other() -> None:
    store = SlowStore(png(1))
    with plant(store) as made:
        slow = made.admission.submit(Submission(png(1), metadata("a"), "http"))
        behind = made.admission.submit(Submission(png(2), metadata("b"), "http"))
        other = made.admission.submit(Submission(png(3), metadata("c", station="S2"), "http"))
        assert other.result(5).created
        assert not slow.done() and not behind.done()
        store.go.set()
        assert slow.result(5).created and behind.result(5).created
        assert [r.trigger_id for r in made.recorded] == ["c", "a", "b"]


class PatienceCounted(Batching):
    """Counts how often a batch was waited for."""

    def patience_s(self, last: int) -> float:
        counted.append(last)
        return super().patience_s(last)


counted: list[int] = []


def test_one_that_waits_for_a_slow_one_is_not_looked_at_in_a_loop() -> None:
    store = SlowStore(png(1))
    with plant(store) as made:
        made.admission._settings = AdmissionSettings(PatienceCounted(200, 0.001), 4)
        slow = made.admission.submit(Submission(png(1), metadata("a"), "http"))
        behind = made.admission.submit(Submission(png(2), metadata("b"), "http"))
        while not store.objects:
            threading.Event().wait(0.001)
        counted.clear()
        for _ in range(3):  # turns of the filing thread
            turned = made.health._beats["admission"]
            while made.health._beats["admission"] == turned:
                threading.Event().wait(0.001)
        assert counted == []
        store.go.set()
        assert slow.result(5).created and behind.result(5).created


def test_a_refused_image_does_not_block_those_behind_it() -> None:
    with plant() as made:
        refused = made.admission.submit(Submission(b"no image", metadata("a"), "http"))
        assert admit(made, png(2), metadata("b")).created
        assert isinstance(refused.exception(5), Invalid)


class HeldLedger(MemoryLedger):
    """Its first transaction takes as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Event()
        self.go = threading.Event()

    def file(self, captures: Sequence[Event[CaptureRecorded]]) -> list[Filed]:
        self.started.set()
        assert self.go.wait(10)
        return super().file(captures)


def test_what_arrives_during_a_commit_shares_the_next_one() -> None:
    ledger = HeldLedger()
    with plant(ledger=ledger) as made:
        first = made.admission.submit(Submission(png(0), metadata("0"), "http"))
        assert ledger.started.wait(5)
        rest = [
            made.admission.submit(Submission(png(n), metadata(str(n), station=f"S{n}"), "http"))
            for n in range(1, 30)
        ]
        while len(made.store.objects) < 30:
            threading.Event().wait(0.001)
        ledger.go.set()
        assert all(f.result(5).created for f in [first, *rest])
        assert ledger.transactions[0] == 1 and len(ledger.transactions) <= 3


class AwayLedger(MemoryLedger):
    """PostgreSQL while it restarts."""

    away = True

    def file(self, captures: Sequence[Event[CaptureRecorded]]) -> list[Filed]:
        if self.away:
            raise Unavailable("postgresql", "the database system is starting up")
        return super().file(captures)


def test_an_absent_database_is_told_and_the_repeat_works() -> None:
    ledger = AwayLedger()
    with plant(ledger=ledger) as made:
        with pytest.raises(Unavailable):
            admit(made, png(), metadata("a"))
        ledger.away = False
        assert admit(made, png(), metadata("a")).created


def test_stopping_answers_everything_that_was_taken() -> None:
    with plant() as made:
        answers = [made.admission.submit(Submission(png(n), metadata(str(n)), "http")) for n in range(40)]
    assert all(a.result(0).created for a in answers)
    assert len(made.recorded) == 40
    late = made.admission.submit(Submission(png(99), metadata("late"), "http"))
    assert isinstance(late.exception(0), Unavailable)


def test_many_senders_of_the_same_captures_leave_each_once(plant: Plant) -> None:
    def send() -> None:
        for n in range(25):
            admit(plant, png(n), metadata(str(n)))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(r.trigger_id for r in plant.recorded) == sorted(str(n) for n in range(25))


def test_nothing_is_taken_before_somebody_files_it() -> None:
    """HTTP is up before the database is; an upload would be stored and then wait for ever."""
    made = Plant(MemoryObjectStore(), MemoryLedger(), AdmissionSettings(Batching(200, 0.001), 4))
    early = made.admission.submit(Submission(png(), metadata("early"), "http"))
    assert isinstance(early.exception(0), Unavailable)
    assert made.store.objects == {} and "admission" in made.health.is_ready().parts


class BrokenLedger(MemoryLedger):
    """A deploy came before its schemas."""

    def file(self, captures: Sequence[Event[CaptureRecorded]]) -> list[Filed]:
        raise Invalid("schema-not-registered", "Run `python -m andon_chassis.admin ensure`.")


def test_a_fault_of_the_service_is_not_told_as_the_images() -> None:
    """A camera throws away what was refused."""
    made = Plant(MemoryObjectStore(), BrokenLedger(), AdmissionSettings(Batching(200, 0.001), 4))
    ended: list[BaseException] = []

    def run() -> None:
        try:
            made.admission.run(threading.Event())
        except Invalid as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while "admission" in made.health.is_ready().parts:
        threading.Event().wait(0.001)
    answer = made.admission.submit(Submission(png(), metadata("a"), "mqtt"))
    assert isinstance(answer.exception(5), Unavailable)
    thread.join(10)
    assert not thread.is_alive() and ended  # the process ends, to be seen
    late = made.admission.submit(Submission(png(), metadata("b"), "mqtt"))
    assert isinstance(late.exception(5), Unavailable)


class BrokenStore(MemoryObjectStore):
    def put(self, bucket: str, data: bytes, media_type: str) -> ObjectRef:
        raise LookupError("a bug")


def test_a_bug_while_storing_is_not_told_as_the_images_either() -> None:
    with plant(BrokenStore()) as made:
        answer = made.admission.submit(Submission(png(), metadata("a"), "http"))
        assert isinstance(answer.exception(5), Unavailable)
