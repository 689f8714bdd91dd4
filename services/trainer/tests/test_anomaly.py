"""Good parts alone teach what is normal; the release's graph computes what the domain computes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from andon_vision import Preprocessing, decode_image, prepare_pixels
from andon_vision.release_bundle import load_public_key, make_keys, read_bundle
from trainer.adapters.anomaly_graph import build_anomaly_release
from trainer.adapters.features import FeatureCache, FeatureExtractor, open_session
from trainer.adapters.images import load_dataset
from trainer.adapters.localising import LEVELS, count_heat
from trainer.adapters.maps import MapExtractor, even_light
from trainer.adapters.neighbours import IndexedMemory
from trainer.adapters.networks import network_file
from trainer.adapters.release_graph import HeatScale
from trainer.anomaly import (
    ANOMALY,
    Candidate,
    Grid,
    Method,
    Parts,
    choose,
    cross_validate,
    fit_anomaly,
    train_anomaly,
)
from trainer.domain.anomaly import (
    GAUSSIAN,
    MEMORY,
    fit_gaussians,
    fit_memory,
    greedy_coreset,
    joined,
    neighbourhood_means,
    platt_of_normals,
    softened,
    softening,
    thresholds_of_normals,
    top_mean,
    upsampled,
)
from trainer.domain.calibration import Platt
from trainer.domain.localisation import per_region_overlap, pixel_auroc
from trainer.domain.metrics import auroc
from trainer.domain.snapshot import SnapshotError
from trainer.training import Outcome, Plan

from .conftest import part, workshop

SPEC = Preprocessing(96, 96)

SMALL = Grid((SPEC,), (Method(GAUSSIAN, ("level10",)), Method(MEMORY, ("level10",))), (0.0, 0.1))


def blemished(seed: int) -> npt.NDArray[np.uint8]:
    """A plate with a dark blob somewhere inside."""
    plate = part(seed, scratched=False)
    across, down = np.random.default_rng(seed).integers(25, 70, 2)
    cv2.circle(plate, (int(across), int(down)), 9, 30, -1)
    return plate


def write_plates(folder: Path, good: int, bad: int) -> Path:
    for name, count in (("good", good), ("blob", bad)):
        for number in range(count):
            seed = number if name == "good" else 500 + number
            picture = part(seed, scratched=False) if name == "good" else blemished(seed)
            (folder / name).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(folder / name / f"{number:03}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plates(tmp_path_factory.mktemp("blobs"), 48, 16)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


def train_on(
    dataset: Path, backbone: Path, key: Path, folder: Path, grid: Grid = SMALL
) -> tuple[Outcome, list[str]]:
    said: list[str] = []
    extractor = FeatureExtractor(backbone, SPEC, FeatureCache(None))
    snapshot = load_dataset(str(dataset))
    plan = Plan("blobs", SPEC)
    bench = workshop(backbone, extractor, key, folder, report=said.append)
    outcome = train_anomaly(snapshot, plan, bench, grid)
    return outcome, said


@pytest.fixture(scope="module")
def released(
    blobs: Path, backbone: Path, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("release") / "blobs"
    return folder, train_on(blobs, backbone, keys[0], folder)[0]


def pictures(paths: Sequence[Path]) -> npt.NDArray[np.uint8]:
    return np.stack([prepare_pixels(decode_image(path.read_bytes()).pixels, SPEC) for path in paths])


def test_blobs_are_found_though_no_blob_was_learned(released: tuple[Path, Outcome]) -> None:
    outcome = released[1]
    assert outcome.task == ANOMALY and outcome.classes == (ANOMALY,)
    assert outcome.metrics["auroc"].value > 0.9


def test_the_bundle_says_what_was_chosen_and_serves_as_any_other(
    released: tuple[Path, Outcome], keys: tuple[Path, Path], blobs: Path
) -> None:
    bundle = read_bundle(released[0], load_public_key(keys[1]))
    description = bundle.description
    assert (bundle.release, bundle.classes) == (released[1].release, (ANOMALY,))
    assert description["task"] == ANOMALY and description["method"] in (GAUSSIAN, MEMORY)
    assert description["layers"] == ["level10"]
    assert len(description["chosen_by"]["tried"]) == 4
    assert description["dataset"]["learned_from"] < 48
    assert "defects" in description["calibration"]["method"]
    session = open_session(released[0] / "model.onnx", 1)
    paths = [*sorted((blobs / "good").iterdir())[:5], *sorted((blobs / "blob").iterdir())[:5]]
    scores, classes, heat = session.run(None, {"image": pictures(paths)})
    assert scores.shape == (10,) and classes.shape == (10, 1) and heat.shape == (10, 12, 12)
    assert heat.dtype == np.uint8
    np.testing.assert_array_equal(classes[:, 0], scores)
    assert scores[5:].mean() > scores[:5].mean() + 0.3


def test_the_heat_map_points_at_the_blob(released: tuple[Path, Outcome], blobs: Path) -> None:
    paths = sorted((blobs / "blob").iterdir())
    images = pictures(paths)
    (heat,) = open_session(released[0] / "model.onnx", 1).run(["heat_map"], {"image": images})
    near = images[..., 0].reshape(-1, 12, 8, 12, 8).min(axis=(2, 4)) < 45
    # A position is 32 pixels, a third of these images' side.
    assert np.mean(heat[near]) > 1.4 * np.mean(heat[~near])


def test_training_again_gives_the_same_release(
    released: tuple[Path, Outcome], blobs: Path, backbone: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    assert train_on(blobs, backbone, keys[0], tmp_path)[0].release == released[1].release


@pytest.mark.parametrize(
    "method",
    [
        Method(GAUSSIAN, ("level14",)),
        Method(GAUSSIAN, ("level10", "level14")),
        Method(GAUSSIAN, ("level10", "level15"), "lite2"),
        Method(MEMORY, ("level14",)),
        Method(MEMORY, ("level10", "level14"), "lite1"),
    ],
    ids=str,
)
def test_the_graph_computes_what_the_domain_computes(blobs: Path, tmp_path: Path, method: Method) -> None:
    backbone, layers = network_file(tmp_path, method.backbone), method.layers
    paths = sorted((blobs / "good").iterdir())
    data = [path.read_bytes() for path in paths]
    maps = MapExtractor(backbone, layers).maps(data, SPEC)
    candidate = Candidate(SPEC, method, 0.2)
    model = fit_anomaly(candidate, {name: values[:30] for name, values in maps.items()}, Platt(0.8, -1.2))
    distances = model.positions.distances(joined(maps, layers))
    expected = model.calibration(top_mean(distances, 0.2))
    graph = build_anomaly_release(onnx.load(str(backbone)), model, 96, 96, HeatScale(0.5, 2.0), raw=True)
    found = open_session(graph.SerializeToString(), 1).run(None, {"image": pictures(paths)})
    score, _, heat, attribution = found
    # The domain's maps were kept in 16 bits.
    np.testing.assert_allclose(score, expected, atol=5e-3)
    np.testing.assert_allclose(attribution, upsampled(distances, 12, 12), atol=2e-2)
    np.testing.assert_array_equal(
        heat, ((attribution - np.float32(0.5)) * np.float32(255 / 2.0)).clip(0, 255).astype(np.uint8)
    )


def test_another_exposure_of_the_same_part_scores_alike(backbone: Path) -> None:
    plate = part(3, scratched=False)
    darker = (plate * 0.6 + 10).astype(np.uint8)
    model = even_light(onnx.load(str(backbone)))
    (features,) = open_session(model.SerializeToString(), 1).run(
        ["features"], {"image": np.repeat(np.stack([plate, darker])[..., None], 3, axis=3)}
    )
    assert np.corrcoef(features)[0, 1] > 0.99


def test_good_parts_alone_get_an_honest_note(backbone: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    outcome, _ = train_on(write_plates(tmp_path / "good-only", 40, 0), backbone, keys[0], tmp_path / "out")
    description = json.loads((tmp_path / "out" / "bundle.json").read_text())
    assert "not a probability" in description["calibration"]["method"]
    assert len(description["chosen_by"]["tried"]) == 1 and "auroc" not in outcome.metrics
    assert 0 < outcome.thresholds.pass_below <= outcome.thresholds.reject_from <= 1


def test_too_few_good_parts_are_named(backbone: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="too few to learn what is normal"):
        train_on(write_plates(tmp_path / "few", 12, 14), backbone, keys[0], tmp_path / "out")
    with pytest.raises(SnapshotError, match="multiple of 32"):
        Grid(inputs=(Preprocessing(100, 96),))


def test_images_of_one_good_part_count_once() -> None:
    parts = Parts(np.zeros(40, bool), tuple(number // 8 for number in range(40)))
    with pytest.raises(SnapshotError, match="40 images of 5 independent"):
        choose(lambda backbone, spec: {}, parts, SMALL)


def test_cross_validation_scores_each_image_once(blobs: Path, backbone: Path) -> None:
    snapshot, plan = load_dataset(str(blobs)), Plan("x", SPEC)
    extractor = FeatureExtractor(backbone, SPEC, FeatureCache(None))
    grid = Grid((SPEC,), (Method(GAUSSIAN, ("level10",)),), (0.0,))
    bench = workshop(backbone, extractor, Path("unused"), Path("unused"))
    found = cross_validate(snapshot, plan, bench, grid)
    assert found["images"] == 64 and len(found["chosen"]) == 5
    assert found["figures"]["auroc"]["value"] > 0.9
    assert found["auroc_by_class"]["blob"] > 0.9


def test_a_gaussian_is_the_mahalanobis_distance() -> None:
    random = np.random.default_rng(1)
    maps = random.normal(0, [1, 4, 0.5], (60, 2, 2, 3)).astype(np.float32)
    field = fit_gaussians(maps, ridge=0.2, softness=0)
    at = maps[:, 1, 0]
    spread = np.sqrt(((maps - maps.mean(axis=0)) ** 2).mean(axis=(0, 1, 2)))
    scaled = (at - at.mean(axis=0)) / spread
    covariance = 0.8 * scaled.T @ scaled / 60 + 0.2 * np.eye(3)
    expected = np.sqrt(np.einsum("nc,cd,nd->n", scaled, np.linalg.inv(covariance), scaled) / 3)
    np.testing.assert_allclose(field.distances(maps)[:, 1, 0], expected, rtol=1e-3)


def test_a_softened_position_looks_beside_it_and_loses_nothing() -> None:
    rows = softening(6, 2, 0.7)
    assert rows.shape == (3, 6)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-6)
    near = np.exp(-0.5 / 0.7**2)
    far = np.exp(-2 / 0.7**2)
    np.testing.assert_allclose(rows[0] * (1 + near + far) * 2, [1, 1, near, near, far, far], rtol=1e-5)
    maps = np.zeros((1, 4, 2, 3), np.float32)
    maps[0, 0, 0] = 8.0
    whole = softened(maps, softening(4, 2, 0), softening(2, 2, 0))
    np.testing.assert_array_equal(whole[0, :, 0, 0], [2.0, 0.0])


def test_index_and_memory_agree_and_tell_the_odd_patch() -> None:
    random = np.random.default_rng(2)
    maps = random.normal(0, 1, (30, 4, 5, 6)).astype(np.float32)
    memory = fit_memory(maps, size=80)
    odd = random.normal(0, 1, (6, 4, 5, 6)).astype(np.float32)
    odd[:, 2, 2] += 9
    found = IndexedMemory(memory, pays_from=0).distances(odd)
    np.testing.assert_allclose(found, memory.distances(odd), atol=1e-3)
    np.testing.assert_array_equal(IndexedMemory(memory, pays_from=0).distances(odd), found)
    scores = top_mean(memory.distances(np.concatenate([maps, odd])), 0.0)
    assert auroc(scores, np.arange(36) >= 30) > 0.95


def test_a_coreset_takes_the_far_points_first() -> None:
    points = np.array([[0, 0], [0.1, 0], [10, 0], [0, 7], [0.2, 0.1]], np.float32)
    chosen = greedy_coreset(points, 3)
    assert {2, 3} <= set(chosen.tolist()) and len(set(chosen.tolist())) == 3
    assert len(set(greedy_coreset(points, 99).tolist())) == 5


def test_neighbours_are_averaged_without_the_border() -> None:
    maps = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    means = neighbourhood_means(maps)
    assert means[0, 1, 1, 0] == 4.0
    assert means[0, 0, 0, 0] == np.mean([0, 1, 3, 4])
    assert means[0, 2, 1, 0] == np.mean([3, 4, 5, 6, 7, 8])


def test_scores_without_defects_are_ranks() -> None:
    scores = np.linspace(0, 1, 101)
    platt = platt_of_normals(scores)
    np.testing.assert_allclose(platt(np.array([0.5, 0.99])), [0.02, 0.5], atol=1e-6)
    limits = thresholds_of_normals(scores, platt)
    assert limits.pass_below < limits.reject_from


def test_overlap_by_region_is_that_computed_by_hand() -> None:
    good, covered = np.array([6.0, 2.0, 1.0, 1.0]), np.array([0.5, 0.5, 0.0, 1.0])
    # From hot to cold: false 0.1, 0.2, 0.4, 1; mean overlap of two regions 0.5, 0.5, 0.75, 1.
    by_hand = (0.1 * 0.25 + 0.1 * 0.5 + 0.1 * (0.5 + 0.625) / 2) / 0.3
    assert per_region_overlap(good, covered, 2) == pytest.approx(by_hand)
    assert np.isnan(per_region_overlap(good, covered, 0))
    # Two defective pixels: one hotter than 9.5 of ten good ones, one than 7.
    assert pixel_auroc(good, np.array([0.0, 1.0, 0.0, 1.0])) == pytest.approx((7 + 9.5) / 20)


def test_heat_is_counted_by_pixel_and_by_region() -> None:
    heat = np.array([[0, 1], [0, 1]], np.float32)
    mask = np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]], bool)
    counts = count_heat(heat, mask)
    assert counts.regions == 2 and counts.good.sum() == 9 and counts.bad.sum() == 3
    assert counts.bad[0] == 1 and counts.bad[-1] == 2
    assert counts.covered[0] == 1 and counts.covered[-1] == 1
    assert np.isnan(pixel_auroc(counts.good, np.zeros(LEVELS)))
