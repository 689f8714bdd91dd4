"""A bundle or network that cannot be trusted or run is refused in words that say what to do, and nothing is logged."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from andon_vision import Preprocessing
from andon_vision.release_bundle import (
    DESCRIPTION,
    MODEL,
    SIGNATURE,
    load_private_key,
    make_keys,
    write_bundle,
)
from onnx import TensorProto, helper
from trainer.adapters.images import load_dataset
from trainer.domain.snapshot import HOLDOUT, Snapshot
from trainer.main import main

SIDE = 32
Alter = Callable[[Path], object]


def network(operator: str = "ReduceMean") -> onnx.ModelProto:
    """Answers every image by the mean of its pixels, with this operator in between."""
    floats = TensorProto.FLOAT
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=floats),
        helper.make_node(operator, ["pixels", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "white"], ["defect_score"]),
        helper.make_node("Unsqueeze", ["defect_score", "one"], ["class_probabilities"]),
        helper.make_node("Slice", ["image", "zeros", "ends", "dims", "steps"], ["corner"]),
        helper.make_node("Squeeze", ["corner", "three"], ["heat_map"]),
    ]
    constants = {
        "axes": np.array([1, 2, 3]),
        "white": np.array(255, np.float32),
        "one": np.array([1]),
        "three": np.array([3]),
        "zeros": np.array([0, 0, 0]),
        "ends": np.array([SIDE, SIDE, 1]),
        "dims": np.array([1, 2, 3]),
        "steps": np.array([8, 8, 1]),
    }
    graph = helper.make_graph(
        nodes,
        "mean",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info("defect_score", floats, ["n"]),
            helper.make_tensor_value_info("class_probabilities", floats, ["n", 1]),
            helper.make_tensor_value_info("heat_map", TensorProto.UINT8, ["n", SIDE // 8, SIDE // 8]),
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_keys(tmp_path_factory.mktemp("keys"))


def release(folder: Path, key: Path, model: bytes) -> Path:
    description = {
        "task": "classification",
        "classes": ["scratch"],
        "preprocessing": Preprocessing(SIDE, SIDE).to_json(),
        "thresholds": {"pass_below": 0.2, "reject_from": 0.6},
        "trained_at": "2026-01-02T00:00:00+00:00",
    }
    write_bundle(folder, "mean", description, {MODEL: model}, load_private_key(key))
    return folder


@pytest.fixture
def bundle(keys: tuple[Path, Path], tmp_path: Path) -> Path:
    return release(tmp_path / "bundle", keys[0], network().SerializeToString())


@pytest.fixture
def evaluate(plates: Path, keys: tuple[Path, Path], tmp_path: Path) -> Callable[[Path], int]:
    """Runs the command on a holdout of all plates."""
    rows = [row.to_json() | {"split": HOLDOUT} for row in load_dataset(str(plates)).rows]
    manifest = tmp_path / "plates.json"
    manifest.write_text(json.dumps({"schema": "andonloop.dataset-snapshot/1", "rows": rows}), "utf-8")

    def run(folder: Path) -> int:
        places = ["--bundle", str(folder), "--key", str(keys[1]), "--dataset", str(manifest)]
        return main(["evaluate", *places, "--log", str(tmp_path / "log"), "--purpose", "a test"])

    return run


def test_the_bundle_of_these_tests_is_good(
    bundle: Path, evaluate: Callable[[Path], int], tmp_path: Path
) -> None:
    assert evaluate(bundle) == 0
    assert (tmp_path / "log").is_file()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-40])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("alter", "words"),
    [
        (lambda folder: cut(folder / DESCRIPTION), "signature does not match"),
        (lambda folder: flip(folder / DESCRIPTION), "signature does not match"),
        (lambda folder: cut(folder / SIGNATURE), "signature does not match"),
        (lambda folder: cut(folder / MODEL), f"{MODEL} is not the file that was signed"),
        (lambda folder: flip(folder / MODEL), f"{MODEL} is not the file that was signed"),
        (lambda folder: (folder / MODEL).unlink(), "not those that were signed"),
        (lambda folder: (folder / "more").touch(), "not those that were signed"),
        (lambda folder: (folder / SIGNATURE).unlink(), f"needs {DESCRIPTION} and {SIGNATURE}"),
    ],
)
def test_an_altered_bundle_is_refused(
    alter: Alter,
    words: str,
    bundle: Path,
    evaluate: Callable[[Path], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    alter(bundle)
    assert evaluate(bundle) == 1
    said = capsys.readouterr().err
    assert words in said and "Fetch the bundle again" in said
    assert not (tmp_path / "log").exists(), "the holdout was not read"


def test_a_bundle_that_someone_else_signed_is_refused(
    keys: tuple[Path, Path],
    evaluate: Callable[[Path], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stranger = make_keys(tmp_path / "stranger")[0]
    folder = release(tmp_path / "theirs", stranger, network().SerializeToString())
    assert evaluate(folder) == 1
    said = capsys.readouterr().err
    assert "another key signed it" in said and "name the public key" in said
    (folder / SIGNATURE).write_bytes(base64.b64encode(b"0" * 64))
    assert evaluate(folder) == 1


@pytest.mark.parametrize("content", ["", "-----BEGIN PUBLIC KEY-----\nnone\n-----END PUBLIC KEY-----\n"])
def test_a_key_file_that_is_none_is_named(
    content: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = tmp_path / "release.pub"
    key.write_text(content, "utf-8")
    assert main(["verify", "--bundle", str(bundle), "--key", str(key)]) == 1
    assert "PEM" in capsys.readouterr().err


def test_a_private_key_does_not_verify(
    bundle: Path, keys: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", "--bundle", str(bundle), "--key", str(keys[0])]) == 1
    assert "PEM" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (network("Frobnicate").SerializeToString(), "Frobnicate"),
        (b"no network at all", "onnxruntime cannot run the network"),
    ],
)
def test_a_signed_network_that_cannot_run_is_refused(
    model: bytes,
    words: str,
    keys: tuple[Path, Path],
    evaluate: Callable[[Path], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert evaluate(release(tmp_path / "odd", keys[0], model)) == 1
    said = capsys.readouterr().err
    assert words in said and "export it again" in said.lower()
    assert not (tmp_path / "log").exists()


def test_a_manifest_without_a_holdout_is_named(
    bundle: Path, keys: tuple[Path, Path], plates: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "open.json"
    manifest.write_text(json.dumps(Snapshot("open", load_dataset(str(plates)).rows).to_json()), "utf-8")
    places = ["--bundle", str(bundle), "--key", str(keys[1]), "--dataset", str(manifest)]
    assert main(["evaluate", *places, "--log", str(tmp_path / "log"), "--purpose", "a test"]) == 1
    assert "freeze one" in capsys.readouterr().err
