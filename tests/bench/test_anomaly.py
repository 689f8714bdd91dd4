"""Nearest patches of good parts by an index against brute force, at equal AUROC: build/bench/anomaly.json."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from andon_vision import Preprocessing
from trainer.adapters.backbone import write_backbone
from trainer.adapters.maps import MapExtractor
from trainer.adapters.neighbours import IndexedMemory
from trainer.domain.anomaly import CORESET, Array, PatchMemory, fit_memory, top_mean
from trainer.domain.metrics import auroc

from .figures import at_least, at_most, write

SIDE, GOOD, ASKED, ROUNDS = 256, 60, 60, 3
LAYER, SHARE = "level10", 0.0


def plate(seed: int, scratched: bool) -> bytes:
    """A brushed metal plate; `scratched` draws a short line that is not easy to tell from the brushing."""
    random = np.random.default_rng(seed)
    pixels = (140 + random.normal(0, 12, (SIDE, SIDE)) + random.normal(0, 20, (SIDE, 1))).astype(np.float32)
    if scratched:
        at = random.integers(20, SIDE - 40, 2)
        end = (int(at[0] + random.integers(4, 14)), int(at[1] + random.integers(8, 20)))
        cv2.line(pixels, (int(at[0]), int(at[1])), end, 0.0, 1)
    return bytes(cv2.imencode(".png", pixels.clip(0, 255).astype(np.uint8))[1].tobytes())


def timed(distances: Callable[[Array], Array], maps: Array) -> tuple[Array, float]:
    """The distances and the seconds they take, the median of several rounds."""
    took = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        found = distances(maps)
        took.append(time.perf_counter() - began)
    return found, statistics.median(took)


def compared(memory: PatchMemory, maps: Array, scratched: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Both ways to search one memory, for the same patches."""
    began = time.perf_counter()
    index = IndexedMemory(memory, pays_from=0)
    build_s = time.perf_counter() - began
    exact, exact_s = timed(memory.distances, maps)
    near, near_s = timed(index.distances, maps)
    aurocs = [auroc(top_mean(found, SHARE), scratched) for found in (exact, near)]
    return {
        "patches": len(memory.patches),
        "queries": float(exact.size),
        "brute_force_s": exact_s,
        "index_s": near_s,
        "index_build_s": build_s,
        "speed_up": exact_s / near_s,
        "auroc_brute_force": aurocs[0],
        "auroc_index": aurocs[1],
        "auroc_apart": abs(aurocs[0] - aurocs[1]),
        "exactly_nearest": float(np.isclose(exact, near, rtol=1e-3, atol=1e-3).mean()),
    }


def test_nearest_patches(tmp_path: Path) -> None:
    extractor = MapExtractor(write_backbone(tmp_path), (LAYER,))
    spec = Preprocessing(SIDE, SIDE)
    good = extractor.maps([plate(seed, False) for seed in range(GOOD)], spec)[LAYER].astype(np.float32)
    scratched = np.arange(ASKED) % 2 == 1
    asked = [plate(1000 + at, bool(bad)) for at, bad in enumerate(scratched)]
    maps = extractor.maps(asked, spec)[LAYER].astype(np.float32)
    cut = fit_memory(good, CORESET)
    coreset = compared(cut, maps, scratched)
    whole = compared(PatchMemory(cut.scale, cut.queries(good)), maps, scratched)
    write(
        "anomaly",
        # A coreset is small enough for brute force (see `PAYS_FROM`); it is here to show that.
        {"layer": LAYER, "image_px": f"{SIDE}x{SIDE}", "coreset": coreset, "whole_memory": whole},
        {
            "search of the whole memory, times faster than brute force": at_least(whole["speed_up"], 3.0),
            "AUROC apart, whole memory": at_most(whole["auroc_apart"], 0.005),
        },
    )
