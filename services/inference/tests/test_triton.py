"""Against the real Triton: it verifies, decodes, scores, survives bad images, and sees exactly what training saw."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from andon_chassis.errors import Unavailable
from andon_local.testing import Infra
from andon_vision import prepare
from andon_vision.release_bundle import make_keys
from inference.adapters.triton import ReleaseLost, TritonServer
from inference.ports import ModelFailed
from inference.serving import HEAT_CELL, ServingLimits
from inference.testing import SignedRelease

Signed = Callable[[str], SignedRelease]
LIMITS = ServingLimits(instances=1)


@pytest.fixture(scope="module")
def triton(infra: Infra) -> Iterator[TritonServer]:
    server = TritonServer(infra.triton)
    yield server
    server.close()


@pytest.fixture(scope="module")
def served(triton: TritonServer, signed: Signed) -> Iterator[SignedRelease]:
    """An echo release that Triton serves."""
    release = signed("echo")
    triton.load(release.bundle, release.files, release.public_key.read_bytes(), LIMITS)
    yield release
    triton.unload(release.bundle.release)


def pictures() -> list[bytes]:
    """Grey and colour, 8 and 16 bits, every format, larger and smaller than the model's input."""
    random = np.random.default_rng(11)
    encoded = []
    for height, width in ((70, 50), (16, 16), (9, 40), (201, 301)):
        grey = random.integers(0, 256, (height, width), dtype=np.uint8)
        colour = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        for picture, suffix in (
            (grey, ".png"),
            (colour, ".png"),
            (colour, ".jpg"),
            (grey, ".bmp"),
            (colour, ".tiff"),
            (grey.astype(np.uint16) * 200, ".png"),
        ):
            encoded.append(cv2.imencode(suffix, picture)[1].tobytes())
    return encoded


def shown(release: SignedRelease, data: bytes) -> npt.NDArray[np.float32]:
    return prepare(data, release.bundle.preprocessing).astype(np.float32).ravel()


def test_serving_and_training_see_the_same_pixels(triton: TritonServer, served: SignedRelease) -> None:
    images, spec = pictures(), served.bundle.preprocessing
    for start in range(0, len(images), 8):
        batch = images[start : start + 8]
        for data, scored in zip(batch, triton.submit(served.bundle, batch).result(30), strict=True):
            np.testing.assert_array_equal(
                np.array(scored.class_probabilities, np.float32), shown(served, data)
            )
            assert scored.heat_map is not None and scored.heat_map.shape == (
                spec.height // HEAT_CELL,
                spec.width // HEAT_CELL,
            )
            assert scored.model_ms > 0


def test_a_bad_image_gets_a_status_and_its_neighbours_their_scores(
    triton: TritonServer, served: SignedRelease
) -> None:
    good = pictures()[0]
    first, torn, foreign, last = triton.submit(
        served.bundle, [good, good[:60], b"line,station", good]
    ).result(30)
    assert (torn.refused, foreign.refused) == ("truncated", "not-an-image")
    assert first.refused is None and first.defect_score == last.defect_score


def test_an_image_that_breaks_the_network_is_told_from_an_absent_triton(
    triton: TritonServer, served: SignedRelease
) -> None:
    good = pictures()[0]
    white = cv2.imencode(".png", np.full((20, 20), 255, np.uint8))[1].tobytes()
    with pytest.raises(ModelFailed):
        triton.submit(served.bundle, [good, white]).result(30)
    assert triton.submit(served.bundle, [good]).result(30)[0].refused is None


def test_many_requests_at_once_all_get_their_own_answer(triton: TritonServer, served: SignedRelease) -> None:
    images = pictures() * 8
    futures = [triton.submit(served.bundle, [data]) for data in images]
    for data, future in zip(images, futures, strict=True):
        (scored,) = future.result(60)
        np.testing.assert_array_equal(np.array(scored.class_probabilities, np.float32), shown(served, data))


def test_releases_lie_side_by_side_and_go_one_by_one(
    triton: TritonServer, served: SignedRelease, signed: Signed
) -> None:
    other = signed("other")
    triton.load(other.bundle, other.files, other.public_key.read_bytes(), LIMITS)
    assert triton.is_loaded(other.bundle.release) and triton.is_loaded(served.bundle.release)
    triton.unload(other.bundle.release)
    deadline = time.monotonic() + 20
    while triton.is_loaded(other.bundle.release):
        assert time.monotonic() < deadline, "Triton did not unload the release"
    with pytest.raises(ReleaseLost):
        triton.submit(other.bundle, [pictures()[0]]).result(30)
    assert triton.is_loaded(served.bundle.release)


def test_triton_itself_refuses_a_tampered_release(
    triton: TritonServer, signed: Signed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    release = signed("tampered")
    network = bytearray(release.files["model.onnx"])
    network[len(network) // 2] ^= 1
    with pytest.raises(Unavailable, match="not the file that was signed"):
        files = {**release.files, "model.onnx": bytes(network)}
        triton.load(release.bundle, files, release.public_key.read_bytes(), LIMITS)
    stranger = make_keys(tmp_path_factory.mktemp("stranger"))[1]
    with pytest.raises(Unavailable, match="signature does not match"):
        triton.load(release.bundle, release.files, stranger.read_bytes(), LIMITS)
    assert not triton.is_loaded(release.bundle.release)


def test_nobody_listening_is_unavailable(signed: Signed) -> None:
    absent = TritonServer("127.0.0.1:9", infer_timeout_s=2.0)
    with pytest.raises(Unavailable):
        absent.ping()
    with pytest.raises(Unavailable):
        absent.submit(signed("echo").bundle, [b"image"]).result(10)
    absent.close()
