"""Data, bundles and networks that cannot be used: each refusal says what is wrong and what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import (
    DESCRIPTION,
    load_public_key,
    make_keys,
    read_bundle,
)
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.images import load_dataset
from trainer.anomaly import train_anomaly
from trainer.domain.contradictions import check_labels, doubtful_labels
from trainer.domain.snapshot import ImagePlace, Row, Snapshot, SnapshotError
from trainer.training import Outcome, Plan, gather, train_classification

from .conftest import part, workshop

SPEC = Preprocessing(96, 96)
TrainOn = Callable[..., Outcome]


@pytest.fixture(scope="module")
def extractor(backbone: Path) -> FeatureExtractor:
    return FeatureExtractor(backbone, SPEC, FeatureCache(None))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def train_on(backbone: Path, extractor: FeatureExtractor, keys: tuple[Path, Path], tmp_path: Path) -> TrainOn:
    def once(snapshot: Snapshot, said: list[str], plan: Plan | None = None) -> Outcome:
        bench = workshop(backbone, extractor, keys[0], tmp_path / "out", report=said.append)
        return train_classification(snapshot, plan or Plan("bad", SPEC), bench)

    return once


def written(folder: Path, name: str, picture: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(folder / name), picture)
    return folder / name


class TestOneGroupHoldsAllDefects:
    def grouped(self, plates: Path) -> Snapshot:
        rows = [
            replace(row, group="one bad batch" if row.is_defect else "")
            for row in load_dataset(str(plates)).rows
        ]
        return Snapshot("grouped", tuple(rows))

    def test_a_class_of_one_batch_is_not_learned(self, plates: Path, train_on: TrainOn) -> None:
        with pytest.raises(SnapshotError, match=r"scratch: 1.*add images of other parts"):
            train_on(self.grouped(plates), [])

    def test_good_parts_are_learned_and_the_calibration_says_what_it_is(
        self,
        plates: Path,
        backbone: Path,
        extractor: FeatureExtractor,
        keys: tuple[Path, Path],
        tmp_path: Path,
    ) -> None:
        bench = workshop(backbone, extractor, keys[0], tmp_path / "out")
        train_anomaly(self.grouped(plates), Plan("batch", SPEC), bench)
        description = json.loads((tmp_path / "out" / DESCRIPTION).read_text())
        assert "too few defects" in description["calibration"]["method"]


def test_images_of_mixed_sizes_and_depths_are_one_dataset(train_on: TrainOn, tmp_path: Path) -> None:
    """Eight and sixteen bits, grey and colour, small and large, in several formats."""
    forms: tuple[tuple[str, Callable[[np.ndarray], np.ndarray]], ...] = (
        ("png", lambda plate: plate),
        ("png", lambda plate: plate.astype(np.uint16) * 257),
        ("bmp", lambda plate: cv2.cvtColor(plate, cv2.COLOR_GRAY2BGR)),
        ("tif", lambda plate: cv2.resize(plate, (170, 130))),
        ("jpg", lambda plate: cv2.resize(plate, (64, 80))),
    )
    for seed in range(80):
        scratched = seed % 8 in (0, 3, 6)
        ending, form = forms[seed % len(forms)]
        folder = tmp_path / "mixed" / ("scratch" if scratched else "good")
        written(folder, f"{seed:03}.{ending}", form(part(seed, scratched)))
    outcome = train_on(load_dataset(str(tmp_path / "mixed")), [])
    assert outcome.metrics["auroc"].value > 0.85


class TestContradictingLabels:
    def test_the_same_image_under_two_labels_is_refused_and_named(
        self, plates: Path, train_on: TrainOn, tmp_path: Path
    ) -> None:
        folder = Path(shutil.copytree(plates, tmp_path / "torn"))
        twice = sorted((folder / "good").iterdir())[3]
        shutil.copy(twice, folder / "scratch" / "again.png")
        with pytest.raises(SnapshotError, match="labelled differently") as refused:
            train_on(load_dataset(str(folder)), [])
        text = str(refused.value)
        assert (
            f"good/{twice.name} is good" in text
            and "scratch/again.png is scratch" in text
            and "one row" in text
        )

    def test_the_same_image_twice_under_one_label_is_no_contradiction(self) -> None:
        rows = [Row(f"r{n}", ImagePlace(path=f"{n}"), ("crack",), True) for n in range(2)]
        check_labels(rows, ["a", "a"])
        with pytest.raises(SnapshotError, match=r"r0 is crack, r1 is hole"):
            check_labels([rows[0], replace(rows[1], classes=("hole",))], ["a", "a"])

    def test_many_contradictions_are_counted(self) -> None:
        rows = [Row(f"r{n}", ImagePlace(path=f"{n}"), ("crack",) * (n % 2), bool(n % 2)) for n in range(10)]
        with pytest.raises(SnapshotError, match="and 2 more"):
            check_labels(rows, [str(n // 2) for n in range(10)])

    def test_near_duplicates_of_two_labels_are_reported(
        self, plates: Path, train_on: TrainOn, keys: tuple[Path, Path], tmp_path: Path
    ) -> None:
        folder = Path(shutil.copytree(plates, tmp_path / "near"))
        source = sorted((folder / "good").iterdir())[5]
        picture = cv2.imread(str(source), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        written(folder / "scratch", "darker.png", (picture * 0.9).astype(np.uint8))
        said: list[str] = []
        train_on(load_dataset(str(folder)), said)
        (told,) = [text for text in said if "near-duplicate" in text]
        assert f"good/{source.name}" in told and "scratch/darker.png" in told and "Look at them" in told
        bundle = read_bundle(tmp_path / "out", load_public_key(keys[1]))
        assert bundle.description["dataset"]["doubtful_labels"] == [told]

    def test_a_picture_may_differ_from_its_template(self) -> None:
        board, bare = ImagePlace(path="board.png"), ImagePlace(path="bare.png")
        rows = [Row("board", board, ("open",), True, template=bare), Row("bare", bare, (), False)]
        assert doubtful_labels(rows, [7, 6], 6) == ""
        assert "1 pairs" in doubtful_labels([replace(rows[0], template=None), rows[1]], [7, 6], 6)


def test_a_dataset_of_broken_files_is_named(
    backbone: Path, extractor: FeatureExtractor, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    for number in range(30):
        folder = tmp_path / "broken" / ("good" if number % 2 else "crack")
        file = written(folder, f"{number}.png", part(number, False))
        if number >= 10:
            file.write_bytes(file.read_bytes()[:200] + bytes([number]))
    bench = workshop(backbone, extractor, keys[0], tmp_path / "out")
    with pytest.raises(SnapshotError, match=r"10 usable images are too few.*20 could not be decoded"):
        gather(load_dataset(str(tmp_path / "broken")), Plan("x", SPEC), bench)
