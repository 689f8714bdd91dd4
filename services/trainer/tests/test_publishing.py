"""What `trainer publish` hands over: bundle, description, pages, and one event that names them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from andon_chassis.bus.memory import MemoryBus
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.errors import Invalid
from andon_chassis.objects import MemoryObjectStore
from andon_events.records import ModelTrained
from andon_vision import Preprocessing
from andon_vision.release_bundle import (
    DESCRIPTION,
    ReleaseBundle,
    load_private_key,
    load_public_key,
    make_keys,
    read_bundle,
    write_bundle,
)
from trainer.adapters.publishing import publish

DESCRIBED = {
    "task": "classification",
    "trained_at": "2026-03-01T12:00:00+00:00",
    "classes": ["crack"],
    "preprocessing": Preprocessing(64, 64).to_json(),
    "dataset": {"hash": "d1"},
    "metrics": {"auroc": {"value": 0.9, "low": 0.8, "high": 0.95}},
    "thresholds": {"pass_below": 0.2, "reject_from": 0.7},
}


class Plant:
    """An object store and a bus in memory, and a bundle to hand over."""

    def __init__(self, folder: Path) -> None:
        private, public = make_keys(folder / "keys")
        self.folder = folder / "bundle"
        write_bundle(self.folder, "r", DESCRIBED, {"model.onnx": b"graph"}, load_private_key(private))
        self.bundle: ReleaseBundle = read_bundle(self.folder, load_public_key(public))
        self.objects, self.bus = MemoryObjectStore(), MemoryBus()
        self.codec = Codec(MemorySchemaRegistry())

    def publish(self, *pages: Path) -> ModelTrained:
        return publish(self.bundle, self.folder, self.objects, self.codec, self.bus.producer(), pages)

    def announced(self) -> list[str]:
        return [self.codec.decode(message).id for message in self.bus.messages("model.trained")]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    return Plant(tmp_path)


def page(folder: Path, name: str, text: str = "<h1>Measured</h1>") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_the_description_goes_along_as_it_was_signed(plant: Plant) -> None:
    record = plant.publish()
    assert record.card is not None
    assert plant.objects.get(record.card) == (plant.folder / DESCRIPTION).read_bytes()
    assert json.loads(plant.objects.get(record.card))["metrics"] == DESCRIBED["metrics"]
    assert record.reports == []


def test_pages_are_called_by_their_files(plant: Plant, tmp_path: Path) -> None:
    record = plant.publish(page(tmp_path, "card.html"), page(tmp_path, "evaluation.html", "<p>Plots</p>"))
    assert [report.name for report in record.reports] == ["card", "evaluation"]
    assert plant.objects.get(record.reports[1].object) == b"<p>Plots</p>"
    assert {report.object.media_type for report in record.reports} == {"text/html"}


def test_a_repeat_is_the_same_event_and_a_new_page_is_another(plant: Plant, tmp_path: Path) -> None:
    plant.publish()
    plant.publish()
    plant.publish(page(tmp_path, "evaluation.html"))
    first, again, later = plant.announced()
    assert first == again != later


@pytest.mark.parametrize(
    ("names", "reason"), [(("a/card.html", "b/card.html"), "page-twice"), (("card.pdf",), "no-html")]
)
def test_what_is_no_page_of_its_own_is_refused(
    plant: Plant, tmp_path: Path, names: tuple[str, ...], reason: str
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
    with pytest.raises(Invalid, match=reason):
        plant.publish(*(page(tmp_path, name) for name in names))
    assert plant.announced() == []
