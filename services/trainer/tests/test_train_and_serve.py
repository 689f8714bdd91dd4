"""What serving computes is what training computed: the same pixels bit for bit, and the same scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import ReleaseBundle, bundle_files, load_public_key, make_keys, read_bundle
from andon_vision.runner import Reading, ReleaseRunner
from trainer import head_choice, training
from trainer.adapters.features import FeatureCache, FeatureExtractor
from trainer.adapters.images import load_dataset
from trainer.adapters.maxima import RICH, write_with_maxima
from trainer.domain.head import Head
from trainer.domain.metrics import Figure
from trainer.training import Plan, train_classification

from .conftest import part, workshop

SPEC = Preprocessing(96, 64, fit="letterbox")
TOLERANCE = 2e-6
"""Of a probability: the graph and NumPy add up 32-bit products in another order."""

Pixels = npt.NDArray[np.uint8]


class Watched(FeatureExtractor):
    """Keeps what the backbone is shown of each image as it is."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.shown: dict[bytes, Pixels] = {}

    def _prepare(self, images: Sequence[bytes], view: str) -> Pixels:
        batch = super()._prepare(images, view)
        if view == "as-is":
            self.shown |= zip(images, batch, strict=True)
        return batch


@dataclass(frozen=True)
class Trained:
    """A release with the head that training computed with, and what that saw."""

    folder: Path
    bundle: ReleaseBundle
    head: Head
    extractor: Watched

    @property
    def images(self) -> list[bytes]:
        """All that training and validation looked at."""
        return list(self.extractor.shown)

    def served(self) -> tuple[list[Reading], Pixels]:
        """What the runner answers to these images, and what it shows the graph."""
        runner, shown = ReleaseRunner(self.bundle, bundle_files(self.folder)), []
        session = runner._session

        class Watching:
            def run(self, names: Sequence[str] | None, feeds: dict[str, Pixels]) -> Any:
                shown.append(feeds["image"])
                return session.run(names, feeds)

        runner._session = Watching()
        return runner.read(self.images), np.concatenate(shown)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 plates, good, scratched or with a hole: grey and colour, 8 and 16 bits, larger and smaller than the input."""
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(60):
        kind = ("good", "scratch", "good", "hole")[seed % 4]
        plate = part(seed, scratched=kind == "scratch")
        if kind == "hole":
            cv2.circle(plate, (30 + seed % 9, 40), 10, 15, -1)
        colour = cv2.cvtColor(plate, cv2.COLOR_GRAY2BGR)
        picture, ending = (
            (plate, ".png"),
            (cv2.resize(colour, (203, 301), interpolation=cv2.INTER_LINEAR), ".jpg"),
            (plate.astype(np.uint16) * 200, ".png"),
            (cv2.resize(colour, (61, 47), interpolation=cv2.INTER_AREA), ".bmp"),
            (cv2.resize(plate, (40, 90), interpolation=cv2.INTER_AREA), ".tiff"),
        )[seed % 5]
        (folder / kind).mkdir(exist_ok=True)
        assert cv2.imwrite(str(folder / kind / f"{seed:03}{ending}"), picture)
    return folder


@pytest.fixture(scope="module", params=["linear", "kernel"])
def trained(
    request: pytest.FixtureRequest, pictures: Path, backbone: Path, tmp_path_factory: pytest.TempPathFactory
) -> Trained:
    """Either kind of head; a kernel machine is taken because its gain is made to look certain."""
    home, cache = tmp_path_factory.mktemp(request.param), FeatureCache(None)
    private, public = make_keys(home / "keys")
    plain = Watched(backbone, SPEC, cache)
    rich = Watched(write_with_maxima(backbone, home), SPEC, cache, output=RICH)
    shop = workshop(backbone, plain, private, home / "out")
    chosen: list[head_choice.Chosen] = []

    def watched(*args: Any) -> head_choice.Chosen:
        chosen.append(head_choice.choose_head(*args))
        return chosen[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training, "choose_head", watched)
        patched.setattr(head_choice, "ranking_gain", lambda *_: Figure(0.1, 0.05, 0.15))
        kernels = {"rich": lambda _: rich} if request.param == "kernel" else {}
        outcome = train_classification(
            load_dataset(str(pictures)), Plan("plates", SPEC), replace(shop, **kernels)
        )
    bundle = read_bundle(shop.folder, load_public_key(public))
    assert outcome.metrics["auroc"].value > 0.9
    assert bundle.description["head"] == request.param
    assert bundle.description["heat_map"] == {"linear": "exact", "kernel": "first-order"}[request.param]
    return Trained(shop.folder, bundle, chosen[-1].head, rich if kernels else plain)


def test_the_graph_is_shown_what_the_backbone_was_shown(trained: Trained) -> None:
    _, shown = trained.served()
    assert len(trained.images) == 60 and shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, np.stack(list(trained.extractor.shown.values())))


def test_the_scores_are_those_of_the_head(trained: Trained) -> None:
    readings, _ = trained.served()
    features = trained.extractor.features(trained.images)
    wanted = trained.head.defect_probability(features)
    assert wanted.std() > 0.1, "what is always the same would be equal by chance"
    np.testing.assert_allclose([item.defect_score for item in readings], wanted, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(
        [item.class_probabilities for item in readings],
        trained.head.class_probabilities(features),
        rtol=0,
        atol=TOLERANCE,
    )
