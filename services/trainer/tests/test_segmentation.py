"""Masks teach which pixel shows what; graph and decoder agree, and the runner finds and measures the regions.

The release here learns from a version of the dataset registry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from andon_chassis.objects import MemoryObjectStore
from andon_vision import Preprocessing
from andon_vision.release_bundle import load_public_key, make_keys, read_bundle
from andon_vision.runner import ReleaseRunner
from trainer.adapters.features import FeatureCache, FeatureExtractor, open_session
from trainer.adapters.heads import FrozenMaps, Schedule
from trainer.adapters.images import ImageStore, load_dataset
from trainer.adapters.masks import labels_of
from trainer.adapters.segmentation_graph import build_segmentation_release
from trainer.adapters.segmentation_head import LEVELS, PLANES, Decoder, answers_of
from trainer.adapters.segmentation_learning import Segmenter, shares_of
from trainer.domain.calibration import Platt
from trainer.domain.guarantees import NOT_ENOUGH, Wish
from trainer.domain.snapshot import ImagePlace, Row, SnapshotError
from trainer.segmentation import train_segmentation
from trainer.training import Outcome, Plan

from .conftest import part, workshop
from .registry_version import blemished, kind_of, write_version

SPEC = Preprocessing(96, 96)
CLASSES = ("crack", "stain")
QUICK = Schedule(epochs=12, batch=8, rate=1e-2, average=0.9)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MemoryObjectStore]:
    """A version of the dataset registry, and the store that holds its images."""
    objects = MemoryObjectStore()
    return write_version(tmp_path_factory.mktemp("version") / "manifest.json", objects), objects


@pytest.fixture(scope="module")
def released(
    plant: tuple[Path, MemoryObjectStore], backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ReleaseRunner, Outcome]:
    home, (manifest, objects) = tmp_path_factory.mktemp("segmentation"), plant
    private, public = make_keys(home / "keys")
    extractor = FeatureExtractor(backbone, SPEC, FeatureCache(None))
    bench = workshop(backbone, extractor, private, home / "tiles", reader=ImageStore(objects))
    wishes = (Wish("crack", 0.5), Wish("crack", 0.01, 0.95))
    plan = Plan("tiles", SPEC, measure=("crack",), mm_per_pixel=0.05, synthetic_share=0.7, guarantees=wishes)
    outcome = train_segmentation(load_dataset(str(manifest)), plan, bench, QUICK)
    bundle = read_bundle(bench.folder, load_public_key(public))
    files = {path.name: path.read_bytes() for path in bench.folder.iterdir()}
    return ReleaseRunner(bundle, files, all_regions=True), outcome


def test_a_release_names_the_version_that_it_learned_from(
    plant: tuple[Path, MemoryObjectStore], released: tuple[ReleaseRunner, Outcome]
) -> None:
    description = released[0].bundle.description["dataset"]
    assert description["hash"] == hashlib.sha256(plant[0].read_bytes()).hexdigest()
    assert description["images"] == {"train": 28, "validation": 8}
    assert released[1].classes == CLASSES


def test_defects_are_drawn_where_they_are(released: tuple[ReleaseRunner, Outcome]) -> None:
    runner, outcome = released
    assert outcome.metrics["dice"].value > 0.5
    plate, mask = blemished(100, "stain")
    (reading,) = runner.read([cv2.imencode(".png", plate)[1].tobytes()])
    stain = next(region for region in reading.regions if region.class_name == "stain")
    drawn = np.zeros_like(mask)
    ring = np.array(stain.outline, np.int32).reshape(-1, 1, 2)
    cv2.fillPoly(drawn, [ring], 255)
    common = np.logical_and(drawn, mask).sum()
    assert common / np.logical_or(drawn, mask).sum() > 0.5
    assert stain.measurements == {}


def test_synthetic_pictures_are_counted_by_class_in_the_description(
    released: tuple[ReleaseRunner, Outcome],
) -> None:
    made = released[0].bundle.description["dataset"]["synthetic"]
    assert set(made) == {"stain"} and 1 <= made["stain"] <= 12


def test_a_guarantee_is_kept_by_the_threshold_or_refused(released: tuple[ReleaseRunner, Outcome]) -> None:
    description = released[0].bundle.description
    given, refused = description["guarantees"]
    assert given["class"] == "crack" and given["bound"] <= 0.5
    assert description["thresholds"]["pass_below"] <= given["threshold"]
    assert released[1].thresholds.pass_below == description["thresholds"]["pass_below"]
    assert refused["verdict"] == NOT_ENOUGH and refused["parts"] == given["parts"] > 0


def test_a_crack_is_measured_in_pixels_and_millimetres(released: tuple[ReleaseRunner, Outcome]) -> None:
    plate, _ = blemished(101, "crack")
    (reading,) = released[0].read([cv2.imencode(".png", plate)[1].tobytes()])
    crack = next(region for region in reading.regions if region.class_name == "crack")
    assert crack.measurements["length_mm"] == pytest.approx(0.05 * crack.measurements["length_px"])
    assert {"start", "end", "centre", "widest"} == set(crack.key_points)


def test_the_graph_computes_what_the_decoder_computes(backbone: Path, tmp_path: Path) -> None:
    import jax

    model, decoder = onnx.load(str(backbone)), Decoder(len(CLASSES))
    maps = FrozenMaps(model, LEVELS, tmp_path)
    pictures = np.random.default_rng(5).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    given = dict(zip(LEVELS, maps.run(pictures), strict=True))
    given[PLANES] = (pictures.astype(np.float32) - 127.0) / 128.0
    parameters = decoder.init(jax.random.key(0), {name: jnp.asarray(value) for name, value in given.items()})
    platt = Platt(0.7, 1.3)
    graph = build_segmentation_release(model, Segmenter(decoder, parameters), platt, 96, 64, len(CLASSES))
    names = ["defect_score", "class_probabilities", "heat_map", "masks"]
    found = open_session(graph.SerializeToString(), threads=1).run(names, {"image": pictures})
    wanted = answers_of(decoder, parameters, platt)(*(given[name] for name in (*LEVELS, PLANES)))
    np.testing.assert_allclose(found[0], wanted[0], atol=1e-4)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-4)
    for drawn, told in zip(found[2:], wanted[2:], strict=True):
        assert drawn.shape == told.shape and drawn.dtype == np.uint8
        assert np.abs(drawn.astype(int) - np.asarray(told).astype(int)).max() <= 1


def test_masks_that_an_index_names_teach_the_same_as_areas(tmp_path: Path) -> None:
    """The crack to the pixel; a stain's polygon follows the disc but for its edge."""
    lines = ["image,label,defect_classes,annotation_file,template_file"]
    for seed in (1, 2, 3):
        kind, name = kind_of(seed), f"{seed}_mask.png" if kind_of(seed) != "good" else ""
        picture, mask = (part(seed, False), None) if not name else blemished(seed, kind)
        assert cv2.imwrite(str(tmp_path / f"{seed}.png"), picture)
        assert mask is None or cv2.imwrite(str(tmp_path / name), mask)
        lines.append(f"{seed}.png,{'defect' if name else 'normal'},{kind if name else ''},{name},")
    (tmp_path / "index.csv").write_text("\n".join(lines))
    named = {row.id.rpartition("/")[2]: row for row in load_dataset(str(tmp_path)).rows}
    labels = {seed: labels_of(named[f"{seed}.png"], ImageStore(), (96, 96), CLASSES) for seed in (1, 2, 3)}
    np.testing.assert_array_equal(labels[1], blemished(1, "crack")[1] // 255)
    np.testing.assert_array_equal(labels[2], blemished(2, "stain")[1] // 255 * 2)
    assert not labels[3].any() and named["3.png"].mask is None


class TestMasks:
    @staticmethod
    def row(folder: Path, mask: npt.NDArray[np.uint8] | None, classes: Sequence[str]) -> Row:
        place = None
        if mask is not None:
            assert cv2.imwrite(str(folder / "mask.png"), mask)
            place = ImagePlace(path=str(folder / "mask.png"))
        return Row("tile-7", ImagePlace(path="tile.png"), tuple(classes), bool(classes), mask=place)

    def test_one_class_takes_every_bright_value_and_several_are_numbered(self, tmp_path: Path) -> None:
        one = self.row(tmp_path, np.array([[0, 30, 200]], np.uint8), ["stain"])
        assert labels_of(one, ImageStore(), (1, 3), CLASSES).tolist() == [[0, 0, 2]]
        both = self.row(tmp_path, np.array([[0, 1, 2]], np.uint8), ["stain", "crack"])
        assert labels_of(both, ImageStore(), (1, 3), CLASSES).tolist() == [[0, 2, 1]]

    def test_what_does_not_fit_is_named(self, tmp_path: Path) -> None:
        wide = self.row(tmp_path, np.zeros((2, 9), np.uint8), ["stain"])
        with pytest.raises(SnapshotError, match="mask of tile-7 is 9 x 2 pixels, its image 4 x 4"):
            labels_of(wide, ImageStore(), (4, 4), CLASSES)
        with pytest.raises(SnapshotError, match="tile-7 is a defect without a mask"):
            labels_of(self.row(tmp_path, None, ["stain"]), ImageStore(), (4, 4), CLASSES)
        odd = self.row(tmp_path, np.full((4, 4), 9, np.uint8), ["stain", "crack"])
        with pytest.raises(SnapshotError, match="holds the value 9, but the image has 2 classes"):
            labels_of(odd, ImageStore(), (4, 4), CLASSES)

    def test_a_good_image_needs_no_mask(self, tmp_path: Path) -> None:
        assert not labels_of(self.row(tmp_path, None, []), ImageStore(), (4, 4), CLASSES).any()

    def test_a_cell_on_the_edge_is_shared(self) -> None:
        labels = np.zeros((8, 8), np.uint8)
        labels[:, 2:4] = 1
        shares = shares_of(labels, 1)
        assert shares.shape == (2, 2, 2)
        assert shares[0, 0].tolist() == [128, 128] and shares[0, 1].tolist() == [255, 0]
