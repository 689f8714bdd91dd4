"""A snapshot becomes a signed release whose graph computes what the head computes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from andon_chassis.bus.memory import MemoryBus
from andon_chassis.codec import Codec, MemorySchemaRegistry
from andon_chassis.objects import IMAGES, MemoryObjectStore
from andon_vision import Preprocessing, prepare
from andon_vision.release_bundle import (
    BundleRefused,
    ReleaseBundle,
    load_public_key,
    make_keys,
    parse_bundle,
    read_bundle,
    unpack_bundle,
)
from trainer.adapters.features import FeatureCache, FeatureExtractor, open_session
from trainer.adapters.fitting import TrainingSet, fit_head
from trainer.adapters.images import ImageStore, load_dataset
from trainer.adapters.publishing import publish
from trainer.adapters.release_graph import HeatScale, build_release, choose_scale
from trainer.domain.calibration import Platt
from trainer.domain.head import ClassHead, Head, Linear
from trainer.domain.snapshot import HOLDOUT, ImagePlace, Row, Snapshot, SnapshotError
from trainer.main import main
from trainer.training import Outcome, Plan, gather, train_classification
from trainer.workshop import Report, Workshop

from .conftest import part, workshop

TrainOn = Callable[..., tuple[Outcome, Path]]

SPEC = Preprocessing(96, 96)


def reading(extractor: FeatureExtractor, reader: ImageStore | None = None) -> Workshop:
    """A workshop in which nothing is written."""
    return workshop(Path("unused"), extractor, Path("unused"), Path("unused"), reader=reader)


@pytest.fixture(scope="module")
def extractor(backbone: Path, tmp_path_factory: pytest.TempPathFactory) -> FeatureExtractor:
    return FeatureExtractor(
        backbone, SPEC, FeatureCache(tmp_path_factory.mktemp("cache") / "features.sqlite")
    )


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def run(
    plates: Path, backbone: Path, extractor: FeatureExtractor, keys: tuple[Path, Path]
) -> Callable[[Path], Outcome]:
    def once(folder: Path) -> Outcome:
        snapshot = load_dataset(str(plates))
        return train_classification(
            snapshot, Plan("plates", SPEC), workshop(backbone, extractor, keys[0], folder)
        )

    return once


@pytest.fixture(scope="module")
def released(
    run: Callable[[Path], Outcome], tmp_path_factory: pytest.TempPathFactory, keys: tuple[Path, Path]
) -> tuple[Path, ReleaseBundle]:
    folder = tmp_path_factory.mktemp("release") / "plates"
    run(folder)
    return folder, read_bundle(folder, load_public_key(keys[1]))


def test_scratches_are_found_on_plates_never_seen(released: tuple[Path, ReleaseBundle]) -> None:
    metrics = released[1].description["metrics"]
    assert metrics["auroc"]["value"] > 0.95
    assert metrics["accuracy"]["low"] <= metrics["accuracy"]["value"] <= metrics["accuracy"]["high"]
    assert released[1].description["dataset"]["images"]["validation"] >= 12


def test_training_again_gives_the_same_release(
    run: Callable[[Path], Outcome], released: tuple[Path, ReleaseBundle], tmp_path: Path
) -> None:
    assert run(tmp_path / "again").release == released[1].release


def with_more(plates: Path, folder: Path, **classes: int) -> Path:
    """The plates, and so many with round marks of each of these classes."""
    shutil.copytree(plates, folder)
    for at, (name, count) in enumerate(sorted(classes.items())):
        (folder / name).mkdir()
        for number in range(count):
            marked = part(1000 * (at + 1) + number, scratched=False)
            cv2.circle(marked, (30 + 5 * number, 60 - 4 * number), 9 + 4 * at, 255, -1)
            assert cv2.imwrite(str(folder / name / f"{number}.png"), marked)
    return folder


@pytest.fixture
def train_on(backbone: Path, extractor: FeatureExtractor, keys: tuple[Path, Path], tmp_path: Path) -> TrainOn:
    def once(folder: Path, report: Report = print) -> tuple[Outcome, Path]:
        out, snapshot = tmp_path / "out", load_dataset(str(folder))
        bench = workshop(backbone, extractor, keys[0], out, report=report)
        return train_classification(snapshot, Plan("rare", SPEC), bench), out

    return once


def test_a_class_with_one_image_is_left_out_and_named(
    plates: Path, train_on: TrainOn, tmp_path: Path
) -> None:
    """In the middle of the alphabet and at its end: each column of the release is a class that it knows."""
    said: list[str] = []
    outcome, folder = train_on(with_more(plates, tmp_path / "rare", hole=8, rust=1, stain=1), said.append)
    assert outcome.classes == ("hole", "scratch")
    assert outcome.left_out == {"rust": 1, "stain": 1}
    assert any(text.startswith("rust is not learned") and "Add images" in text for text in said)
    (probabilities,) = open_session(folder / "model.onnx", 1).run(
        ["class_probabilities"], {"image": np.zeros((1, 96, 96, 3), np.uint8)}
    )
    assert probabilities.shape == (1, 2)
    description = json.loads((folder / "bundle.json").read_text())
    assert description["classes"] == ["hole", "scratch"]
    assert description["dataset"]["classes_left_out"] == outcome.left_out


def test_a_class_with_a_few_images_is_learned(plates: Path, train_on: TrainOn, tmp_path: Path) -> None:
    outcome, _ = train_on(with_more(plates, tmp_path / "few", hole=3))
    assert (outcome.classes, outcome.left_out) == (("hole", "scratch"), {})


def test_what_cannot_be_learned_at_all_is_named(plates: Path, train_on: TrainOn, tmp_path: Path) -> None:
    folder = with_more(plates, tmp_path / "none", hole=1)
    shutil.rmtree(folder / "scratch")
    with pytest.raises(SnapshotError, match="hole: 1"):
        train_on(folder)
    shutil.rmtree(folder / "hole")
    with pytest.raises(SnapshotError, match="there are none"):
        train_on(folder)
    shutil.copytree(plates / "scratch", folder / "scratch")
    shutil.rmtree(folder / "good")
    with pytest.raises(SnapshotError, match="tell scratch apart from"):
        train_on(folder)


def test_too_few_independent_good_parts_are_named() -> None:
    features = np.random.default_rng(3).normal(0, 1, (1, 20, 4)).astype(np.float32)
    defect = np.array([False] * 10 + [True] * 10)
    names = tuple(("crack",) * int(shows) for shows in defect)
    data = TrainingSet(features, defect, names, np.ones(20), [0] * 10 + list(range(1, 11)))
    with pytest.raises(SnapshotError, match="no defect"):
        fit_head(data, ("crack",))


def test_heat_map_points_at_the_scratch(released: tuple[Path, ReleaseBundle], plates: Path) -> None:
    session = open_session(released[0] / "model.onnx", 1)
    near, far = [], []
    for path in sorted((plates / "scratch").iterdir()):
        picture = prepare(path.read_bytes(), SPEC)
        score, _, heat = session.run(
            ["defect_score", "class_probabilities", "heat_map"], {"image": picture[None]}
        )
        assert score.shape == (1,) and heat.shape == (1, 12, 12) and heat.dtype == np.uint8
        blocks = picture[..., 0].reshape(12, 8, 12, 8).min(axis=(1, 3)) < 60
        near.append(heat[0][blocks].mean())
        far.append(heat[0][~blocks].mean())
    assert np.mean(near) > 1.5 * np.mean(far)


def test_bytes_decide_alone_what_the_model_sees(released: tuple[Path, ReleaseBundle], plates: Path) -> None:
    """One image alone and the same image in a batch, read twice, give the same answer."""
    session = open_session(released[0] / "model.onnx", 1)
    files = sorted((plates / "good").iterdir())[:6]
    batch = np.stack([prepare(path.read_bytes(), released[1].preprocessing) for path in files])
    (together,) = session.run(["defect_score"], {"image": batch})
    alone = [session.run(["defect_score"], {"image": picture[None]})[0][0] for picture in batch]
    np.testing.assert_allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("kind", ["binary", "softmax", "sigmoid", "only-defects"])
def test_graph_computes_what_the_head_computes(backbone: Path, kind: str) -> None:
    random = np.random.default_rng(8)
    classes = ("a", "b", "c") if kind != "binary" else ("a",)

    def linear(columns: int) -> Linear:
        weights = random.normal(0, 0.02, (columns, 2768)).astype(np.float32)
        return Linear(weights, random.normal(0, 1, columns).astype(np.float32))

    defect = None if kind == "only-defects" else linear(1)
    mode = "sigmoid" if kind == "sigmoid" else "softmax"
    calibrations = (
        tuple(Platt(0.5 + n, 0.1 * n) for n in range(3)) if mode == "sigmoid" else (Platt(0.7, 0.0),)
    )
    class_head = ClassHead(linear(3), "sigmoid" if kind == "sigmoid" else "softmax", calibrations)
    head = Head(
        classes, defect, Platt(0.8, -0.3) if defect else None, None if kind == "binary" else class_head
    )
    images = random.integers(0, 256, (3, 64, 96, 3), dtype=np.uint8)
    (features,) = open_session(backbone, 1).run(["features"], {"image": images})
    model = build_release(onnx.load(str(backbone)), head, 96, 64, HeatScale(-1.0, 2.0), raw=True)
    session = open_session(model.SerializeToString(), 1)
    score, probabilities, heat, attribution = session.run(None, {"image": images})
    np.testing.assert_allclose(score, head.defect_probability(features), atol=1e-4)
    np.testing.assert_allclose(probabilities, head.class_probabilities(features), atol=1e-4)
    assert heat.shape == (3, 8, 12)
    np.testing.assert_array_equal(heat, ((attribution + 1.0) * (255 / 2.0)).clip(0, 255).astype(np.uint8))
    if defect is not None:
        shares = attribution.mean(axis=(1, 2)) + defect.bias[0]
        np.testing.assert_allclose(shares, defect(features)[:, 0], atol=0.15)


def test_heat_scale_spans_from_good_to_clearest_defect() -> None:
    maps = np.zeros((4, 10, 10), np.float32)
    maps[2:, 5, 5] = 8.0
    scale = choose_scale(maps, np.array([False, False, True, True]))
    assert scale.base == 0.0 and scale.span == pytest.approx(8.0)


def test_classes_with_several_names_on_one_image_get_their_own_probability() -> None:
    random = np.random.default_rng(9)
    features = random.normal(0, 1, (400, 8)).astype(np.float32)
    names = tuple(
        tuple(name for name, column in (("open", 0), ("short", 1)) if row[column] > 0) or ("spur",)
        for row in features
    )
    data = TrainingSet(features[None], np.ones(400, bool), names, np.ones(400), list(range(400)))
    head, probabilities = fit_head(data, ("open", "short", "spur"))
    assert probabilities is None and head.defect is None
    assert head.classes_head is not None and head.classes_head.mode == "sigmoid"
    called = head.class_probabilities(features)[:, :2] > 0.5
    truth = features[:, :2] > 0
    assert (called == truth).mean() > 0.9
    fewer, _ = fit_head(data, ("open", "short"))
    assert fewer.class_probabilities(features).shape == (400, 2), (
        "rows of a class that is left out teach no class"
    )


def test_the_holdout_is_never_opened(plates: Path, extractor: FeatureExtractor) -> None:
    snapshot = load_dataset(str(plates))
    guarded = tuple(
        Row(row.id, row.image, row.classes, row.is_defect, split=HOLDOUT if number % 4 == 0 else None)
        for number, row in enumerate(snapshot.rows)
    )
    opened: list[str] = []

    class Watching(ImageStore):
        def read(self, place: object) -> bytes:  # type: ignore[override]
            opened.append(str(place))
            return super().read(place)  # type: ignore[arg-type]

    material = gather(Snapshot("guarded", guarded), Plan("x", SPEC), reading(extractor, Watching()))
    assert len(opened) == len(material.rows) == sum(row.split is None for row in guarded)


def test_near_duplicates_stay_on_one_side(plates: Path, extractor: FeatureExtractor, tmp_path: Path) -> None:
    for path in [*sorted((plates / "good").iterdir())[:20], *sorted((plates / "scratch").iterdir())[:10]]:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        assert picture is not None
        folder = tmp_path / path.parent.name
        folder.mkdir(exist_ok=True)
        for exposure in (0.8, 1.0):
            assert cv2.imwrite(
                str(folder / f"{path.stem}-{exposure}.png"), (picture * exposure).astype(np.uint8)
            )
    material = gather(load_dataset(str(tmp_path)), Plan("x", SPEC), reading(extractor))
    sides: dict[str, set[str]] = {}
    for row, side in zip(material.rows, material.parts, strict=True):
        sides.setdefault(row.id.rsplit("-", 1)[0], set()).add(side)
    assert all(len(parts) == 1 for parts in sides.values())


def test_features_are_remembered(backbone: Path, plates: Path, tmp_path: Path) -> None:
    images = [path.read_bytes() for path in sorted((plates / "good").iterdir())[:5]]
    file = tmp_path / "features.sqlite"
    first = FeatureExtractor(backbone, SPEC, FeatureCache(file)).features(images)
    again = FeatureExtractor(backbone, SPEC, FeatureCache(file))
    again._session = None  # the second run must not need the network
    np.testing.assert_array_equal(again.features(images), first)


def test_published_bundle_is_complete_and_announced(
    released: tuple[Path, ReleaseBundle], keys: tuple[Path, Path]
) -> None:
    folder, bundle = released
    objects, bus, codec = MemoryObjectStore(), MemoryBus(), Codec(MemorySchemaRegistry())
    record = publish(bundle, folder, objects, codec, bus.producer())
    (message,) = bus.messages("model.trained")
    announced = codec.decode(message).data
    assert announced == record and announced.release == bundle.release
    files = unpack_bundle(objects.get(announced.bundle))
    assert parse_bundle(files, load_public_key(keys[1])).release == bundle.release


def test_command_line_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["snapshot", "--dataset", str(tmp_path / "none"), "--out", str(tmp_path / "s.json")]) == 1
    assert "no folder" in capsys.readouterr().err


def test_command_line_makes_and_verifies(
    plates: Path, released: tuple[Path, ReleaseBundle], keys: tuple[Path, Path], tmp_path: Path
) -> None:
    manifest = tmp_path / "snapshot.json"
    assert main(["snapshot", "--dataset", str(plates), "--out", str(manifest)]) == 0
    assert load_dataset(str(manifest)).hash == json.loads(manifest.read_text())["hash"]
    assert main(["verify", "--bundle", str(released[0]), "--key", str(keys[1])]) == 0
    stranger = make_keys(tmp_path / "stranger")[1]
    assert main(["verify", "--bundle", str(released[0]), "--key", str(stranger)]) == 1


def test_changed_image_files_are_noticed(plates: Path, tmp_path: Path) -> None:
    snapshot = load_dataset(str(plates))
    place = snapshot.rows[0].image
    assert place.path is not None
    changed = tmp_path / "changed.png"
    changed.write_bytes(Path(place.path).read_bytes() + b"\0")
    store = ImageStore()
    with pytest.raises(SnapshotError, match="has changed"):
        store.read(type(place)(path=str(changed), sha256=place.sha256))
    with pytest.raises(SnapshotError, match="no object store"):
        store.read(type(place)(bucket="images", key="ab/cd", sha256="0" * 64, size_bytes=1))


def test_images_are_read_from_the_object_store(plates: Path) -> None:
    data = next((plates / "good").iterdir()).read_bytes()
    objects = MemoryObjectStore()
    ref = objects.put(IMAGES, data, "image/png")
    assert ImageStore(objects).read(ImagePlace(**ref.to_avro())) == data
    with pytest.raises(SnapshotError, match="size_bytes"):
        ImageStore(objects).read(ImagePlace(bucket=ref.bucket, key=ref.key, sha256=ref.sha256))


def test_tampered_release_is_refused(
    released: tuple[Path, ReleaseBundle], keys: tuple[Path, Path], tmp_path: Path
) -> None:
    for path in released[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    network = bytearray((tmp_path / "model.onnx").read_bytes())
    network[1_000_000] ^= 0xFF
    (tmp_path / "model.onnx").write_bytes(bytes(network))
    with pytest.raises(BundleRefused, match=r"model\.onnx"):
        read_bundle(tmp_path, load_public_key(keys[1]))
