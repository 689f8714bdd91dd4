"""Backbones to choose among: what they are made from, where they halve the image, and that the choice is by data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from andon_vision import Preprocessing
from trainer.adapters.maps import MapExtractor
from trainer.adapters.networks import MODULES, network_file, strides_of
from trainer.anomaly import Grid, Maps, Method, Parts, choose
from trainer.domain.anomaly import GAUSSIAN, USUAL

SPEC = Preprocessing(96, 96)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("networks")
    return {name: network_file(folder, name) for name in MODULES}


@pytest.mark.parametrize("name", MODULES)
def test_the_strides_are_those_of_the_maps(networks: dict[str, Path], name: str) -> None:
    strides = strides_of(onnx.load(str(networks[name])))
    levels = [level for level in strides if level != "head"]
    picture = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    encoded = bytes(cv2.imencode(".png", picture)[1])
    maps = MapExtractor(networks[name], levels, threads=1).maps([encoded], SPEC)
    assert {level: 96 // found.shape[1] for level, found in maps.items()} == {
        level: strides[level] for level in levels
    }
    assert strides["head"] == 32


def test_a_file_that_is_there_is_not_written_again(networks: dict[str, Path]) -> None:
    before = networks[USUAL].stat().st_mtime_ns
    assert network_file(networks[USUAL].parent, USUAL) == networks[USUAL]
    assert networks[USUAL].stat().st_mtime_ns == before
    assert not list(networks[USUAL].parent.glob("*.partial"))


def test_the_backbone_that_ranks_better_out_of_fold_is_taken() -> None:
    """Defects stand out in what one backbone sees and not in what the other does."""
    random = np.random.default_rng(3)
    defect = np.arange(60) % 3 == 0
    noise = random.normal(0, 1, (60, 4, 4, 6)).astype(np.float16)
    seen = noise.copy()
    seen[defect, 1, 2] += 8
    shown: dict[str, Maps] = {"lite0": {"level10": noise}, "lite2": {"level14": seen}}
    grid = Grid((SPEC,), (Method(GAUSSIAN, ("level10",)), Method(GAUSSIAN, ("level14",), "lite2")), (0.0,))
    found = choose(lambda name, spec: shown[name], Parts(defect, tuple(range(60))), grid)
    assert found.candidate.method.backbone == "lite2" and found.quality > 0.95
    assert [cell["backbone"] for cell in found.tried] == ["lite0", "lite2"]
    assert grid.with_usual_backbone().backbones() == (USUAL,)
