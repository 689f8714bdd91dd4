"""A station changes over to another kind of model: its regions travel from Triton into the evidence of dispositions.

Last in this folder: the books of the others count every part of the plant, and these parts are not in its plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_demo.observer import Observer
from andon_demo.parts import Part
from andon_events import records as r
from andon_local import layout
from andon_vision import Preprocessing
from andon_vision.release_bundle import load_public_key, pack_bundle, read_bundle
from andon_vision.runner import ReleaseRunner
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.heads import Schedule
from trainer.adapters.images import ImageStore
from trainer.domain.snapshot import ImagePlace, LabelledBox, Row, Snapshot
from trainer.segmentation import train_segmentation
from trainer.template import train_template
from trainer.training import Outcome, Plan
from trainer.workshop import Workshop

from .conftest import Faulty
from .shift import LINE, PILOT, Shift

KNOWN, SHOWN = 24, 4
"""Good cells that a release learns from, and that pass the camera."""
SIDE = 30
INKS = {"dot": 255, "pit": 0}
"""A bright and a dark square, as no solar cell has one."""
SEGMENTED, COMPARED = Preprocessing(192, 192), Preprocessing(300, 300)
QUICK = Schedule(epochs=12, batch=8, rate=1e-2, average=0.9)

Pixels = npt.NDArray[np.uint8]


def grey(part: Part) -> Pixels:
    return np.asarray(cv2.imread(str(part.path), cv2.IMREAD_GRAYSCALE), np.uint8)


def spoiled(picture: Pixels, kind: str, seed: int) -> tuple[Pixels, LabelledBox]:
    """The cell with a square on it, and where."""
    x, y = (int(at) for at in np.random.default_rng(seed).integers(40, 220, 2))
    drawn = picture.copy()
    drawn[y : y + SIDE, x : x + SIDE] = INKS[kind]
    return drawn, LabelledBox(kind, x, y, SIDE, SIDE)


@pytest.fixture(scope="module")
def good(faulty: Faulty) -> list[Part]:
    """Good cells that never pass the cameras otherwise, each of a group of its own."""
    found = {part.group: part for part in faulty.split.training if not part.is_defect}
    assert len(found) >= KNOWN + 2 * SHOWN
    return list(found.values())


@pytest.fixture(scope="module")
def squares(good: list[Part], tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    """Cells with boxes, masks and the cell as it was; every third is left as it was."""
    folder = tmp_path_factory.mktemp("squares")

    def kept(name: str, picture: Pixels) -> ImagePlace:
        cv2.imwrite(str(folder / name), picture)
        return ImagePlace(path=str(folder / name))

    rows = []
    for seed, part in enumerate(good[:KNOWN]):
        cell, kind = grey(part), (*INKS, "")[seed % 3]
        template = kept(f"{seed}-template.png", cell)
        if not kind:
            rows.append(Row(part.name, template, (), False, group=str(seed), template=template))
            continue
        picture, box = spoiled(cell, kind, seed)
        mask = kept(f"{seed}-mask.png", (picture != cell).astype(np.uint8) * 255)
        image = kept(f"{seed}.png", picture)
        rows.append(
            Row(part.name, image, (kind,), True, group=str(seed), boxes=(box,), mask=mask, template=template)
        )
    return Snapshot("squares", tuple(rows))


@pytest.fixture
def shift(faulty: Faulty, tmp_path: Path) -> Iterator[Shift]:
    endpoints = faulty.plant.instance.endpoints
    observer = Observer(endpoints.kafka, endpoints.registry)
    observer.start()
    yield Shift(faulty, iter(()), observer, tmp_path)
    observer.stop()


def segment(snapshot: Snapshot, workshop: Workshop) -> Outcome:
    return train_segmentation(
        snapshot, Plan("squares", SEGMENTED, near_duplicate_bits=0), workshop, schedule=QUICK
    )


def compare(snapshot: Snapshot, workshop: Workshop) -> Outcome:
    return train_template(snapshot, Plan("squares", COMPARED, near_duplicate_bits=0), workshop)


@pytest.mark.parametrize(
    ("learn", "first"), [(segment, KNOWN), (compare, 0)], ids=["segmentation", "template"]
)
def test_its_regions_reach_the_evidence(
    shift: Shift,
    good: list[Part],
    squares: Snapshot,
    tmp_path: Path,
    learn: Callable[[Snapshot, Workshop], Outcome],
    first: int,
) -> None:
    """A segmentation is shown cells that it never saw, a comparison those whose templates it has."""
    keys, backbone = layout.runtime_dir() / "keys", layout.runtime_dir() / "cache/demo/backbone/backbone.onnx"
    folder = tmp_path / "bundle"
    workshop = Workshop(
        ImageStore(),
        FeatureExtractor(backbone, SEGMENTED, FeatureCache(None)),
        backbone,
        keys / "release.key",
        folder,
        tmp_path / "work",
        datetime.now(UTC),
        print,
    )
    release = learn(squares, workshop).release
    bundle = read_bundle(folder, load_public_key(keys / "release.pub"))
    shift.announce(release, pack_bundle(folder), bundle.description)
    shift.promote(release, scope={"line": LINE, "station": PILOT})
    try:
        shift.wait(lambda: shift.said("inference", release, "release.loaded"), "the release in Triton")
        passed: dict[str, tuple[bytes, LabelledBox]] = {}
        for seed, part in enumerate(good[first : first + SHOWN]):
            picture, box = spoiled(grey(part), [*INKS][seed % 2], 900 + seed)
            data = cv2.imencode(".png", picture)[1].tobytes()
            passed[shift.shoot(PILOT, part, data)] = data, box
        shift.wait(lambda: len(shift.decided()) == len(passed), "a disposition of every capture")
    finally:
        shift.roll_back(release)

    runner = ReleaseRunner(bundle, {path.name: path.read_bytes() for path in folder.iterdir()})
    found = 0
    for capture_id, decision in shift.decided().items():
        data, box = passed[capture_id]
        [reading] = runner.read([data])
        evidence = decision.evidence
        assert evidence.model_release == release
        assert evidence.defect_score == pytest.approx(reading.defect_score, abs=1e-3)
        assert [region.class_name for region in evidence.regions] == [
            region.class_name for region in reading.regions
        ]
        found += any(
            region.class_name == box.class_name and lies_on(region, box) for region in evidence.regions
        )
    assert found >= SHOWN - 1


def lies_on(region: r.Region, box: LabelledBox) -> bool:
    """Whether the region's middle is on the square."""
    x, y = region.x + region.width / 2, region.y + region.height / 2
    return box.x <= x <= box.x + box.width and box.y <= y <= box.y + box.height
