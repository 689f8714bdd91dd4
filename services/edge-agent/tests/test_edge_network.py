"""The edge's numbers are Triton's numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from andon_vision import DecodeLimits
from andon_vision.release_bundle import load_public_key, read_bundle
from andon_vision.runner import ModelUnusable
from edge_agent.adapters.network import OnnxNetwork
from edge_agent.domain.decision import decide
from edge_support import CLASSES, Release, encoded, png
from inference.serving import model_files

SERVING = Path(__file__).with_name("serving_model.py")


def open_network(release: Release) -> OnnxNetwork:
    bundle = read_bundle(release.folder, load_public_key(release.public_key))
    return OnnxNetwork(bundle, release.files, DecodeLimits())


def pictures() -> list[bytes]:
    """Grey and colour, 8 and 16 bits, every format, larger and smaller than the model's input, and broken ones."""
    random = np.random.default_rng(11)
    found = []
    for height, width in ((70, 50), (16, 16), (9, 40), (201, 301)):
        grey = random.integers(0, 256, (height, width), dtype=np.uint8)
        colour = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        found += [encoded(grey), encoded(colour), encoded(colour, ".jpg"), encoded(grey, ".bmp")]
        found += [encoded(colour, ".tiff"), encoded(grey.astype(np.uint16) * 200)]
    return [*found, found[0][:60], b"line,station"]


def served(release: Release, images: list[bytes], folder: Path) -> dict[str, np.ndarray]:
    """What the model in Triton answers."""
    for name, data in model_files(release.files, release.public_key.read_bytes()).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    arrays = {f"image-{number:03}": np.frombuffer(data, np.uint8) for number, data in enumerate(images)}
    np.savez(folder / "images.npz", **arrays)
    command = [sys.executable, str(SERVING), folder / "1", folder / "images.npz", folder / "answers.npz"]
    subprocess.run([str(part) for part in command], check=True, timeout=120)
    with np.load(folder / "answers.npz") as loaded:
        return dict(loaded)


def test_it_answers_what_tritons_model_answers(release: Release, tmp_path: Path) -> None:
    images = pictures()
    wanted = served(release, images, tmp_path)
    network = open_network(release)
    assert len(wanted["STATUS"]) == len(images)
    for number, data in enumerate(images):
        scored = network.score(data)
        assert (scored.refused or "") == wanted["STATUS"][number, 0]
        if scored.refused:
            continue
        assert scored.defect_score == pytest.approx(float(wanted["DEFECT_SCORE"][number, 0]), abs=1e-5)
        np.testing.assert_allclose(
            scored.class_probabilities, wanted["CLASS_PROBABILITIES"][number], rtol=0, atol=1e-5
        )
        assert scored.heat_map is not None
        np.testing.assert_array_equal(scored.heat_map, wanted["HEAT_MAP"][number])
        assert json.loads(json.dumps(scored.regions)) == json.loads(wanted["REGIONS"][number, 0])


@pytest.mark.parametrize(
    ("brightness", "kind", "reason"),
    [
        (20, "pass", "confident-good"),
        (128, "route-to-reviewer", "uncertain"),
        (230, "reject", "confident-defect"),
    ],
)
def test_the_bundles_thresholds_decide(release: Release, brightness: int, kind: str, reason: str) -> None:
    network = open_network(release)
    decision = decide(network.rules, network.score(png(brightness)))
    assert (decision.kind, decision.reason) == (kind, reason)
    assert set(decision.scores) == {*CLASSES, "normal"}


def test_an_image_that_breaks_the_network_goes_to_a_person(release: Release) -> None:
    network = open_network(release)
    white = encoded(np.full((20, 20), 255, np.uint8))
    assert decide(network.rules, network.score(white)).reason == "model-failed"
    assert network.score(png(20)).refused is None


def test_what_onnxruntime_cannot_run_is_refused(release: Release) -> None:
    bundle = read_bundle(release.folder, load_public_key(release.public_key))
    with pytest.raises(ModelUnusable, match="onnxruntime cannot run"):
        OnnxNetwork(bundle, {"model.onnx": b"no network"}, DecodeLimits())
