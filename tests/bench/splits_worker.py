"""Splits a made-up plant's images in a process of its own, so that its peak of memory is that of the work alone.

    python tests/bench/splits_worker.py IMAGES CHECKED

Every image has a burst of near-duplicates with up to six other bits, one part has several images, and one hash in a
hundred is shared by many images (a dark frame). Prints one JSON line.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import combinations

import numpy as np
from dataset_registry.domain.leakage import leakage
from dataset_registry.domain.neighbours import Hashes, distinct, near_pairs
from dataset_registry.domain.samples import NEIGHBOUR, Sample
from dataset_registry.domain.splits import Plan, split

BURST, DISTANCE = 4, 6
START = datetime(2026, 1, 1, tzinfo=UTC)


def hashes(count: int, chance: np.random.Generator) -> Hashes:
    """Bursts of hashes that differ in up to six bits, and one in a hundred that many share."""
    first = chance.integers(0, 2**64, -(-count // BURST), dtype=np.uint64)
    values = np.repeat(first, BURST)[:count]
    for _ in range(DISTANCE // 2):
        values ^= np.uint64(1) << chance.integers(0, 64, count, dtype=np.uint64)
    values[chance.random(count) < 0.01] = first[0]
    return values


def similar(count: int, chance: np.random.Generator) -> Hashes:
    """Twenty motifs with twelve bits of noise, as one camera over one product gives them: an index helps little."""
    values = chance.integers(0, 2**64, 20, dtype=np.uint64)[chance.integers(0, 20, count)]
    for _ in range(12):
        values = values ^ (np.uint64(1) << chance.integers(0, 64, count, dtype=np.uint64))
    return values


def samples(values: Hashes, chance: np.random.Generator) -> list[Sample]:
    """One image for each hash; a part has two images, a batch 200."""
    classes = chance.choice(["good", "crack", "scratch", "pore"], len(values), p=[0.9, 0.06, 0.03, 0.01])
    return [
        Sample(
            id=f"{index:08d}",
            content=f"{index:064x}",
            classes=(str(name),),
            is_defect=name != "good",
            station=f"line-a/cell-{index % 4}",
            captured_at=START + timedelta(seconds=30 * index),
            batch=f"b{index // 200}",
            part=f"p{index // 2}",
            perceptual_hash=int(value),
        )
        for index, (name, value) in enumerate(zip(classes, values, strict=True))
    ]


def main() -> None:
    images, checked = map(int, sys.argv[1:3])
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    chance = np.random.default_rng(6)
    found, _ = distinct(hashes(checked, chance))
    started = time.perf_counter()
    portions = list(near_pairs(found, DISTANCE))
    indexed_s = time.perf_counter() - started
    pairs = {
        (min(i, j), max(i, j))
        for portion in portions
        for i, j in zip(portion.left.tolist(), portion.right.tolist(), strict=True)
    }
    started = time.perf_counter()
    brute = {
        (i, j)
        for (i, a), (j, b) in combinations(enumerate(found.tolist()), 2)
        if (a ^ b).bit_count() <= DISTANCE
    }
    brute_s = time.perf_counter() - started

    plant = samples(hashes(images, chance), chance)
    plan = Plan(keys=("part", NEIGHBOUR), distance=DISTANCE)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    divided = split(plant, plan)
    split_s = time.perf_counter() - started
    report = leakage(plant, divided.parts, plan.distance, plan.block_s)
    both_s = time.perf_counter() - started
    started = time.perf_counter()
    alike = samples(similar(images, chance), chance)
    crowded = split(alike, plan)
    leakage(alike, crowded.parts, plan.distance, plan.block_s)
    alike_s = time.perf_counter() - started
    started = time.perf_counter()
    careless = leakage(
        plant, chance.choice(["train", "holdout"], images).tolist(), plan.distance, plan.block_s
    )
    careless_s = time.perf_counter() - started
    proofs = {leak.kind: leak.pairs for leak in report.leaks}
    print(
        json.dumps(
            {
                "images": images,
                "groups": len(set(divided.groups)),
                "split_s": split_s,
                "split_and_report_s": both_s,
                "split_and_report_of_images_all_alike_s": alike_s,
                "groups_of_images_all_alike": len(set(crowded.groups)),
                "report_of_a_careless_split_s": careless_s,
                "pairs_across_parts": proofs["part"] + proofs[NEIGHBOUR] + proofs["content"],
                "pairs_across_parts_of_a_careless_split": {leak.kind: leak.pairs for leak in careless.leaks},
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                "peak_memory_before_bytes": before * 1024,
                "checked": len(found),
                "pairs_of_brute_force": len(brute),
                "pairs_missed": len(brute - pairs),
                "pairs_too_many": len(pairs - brute),
                "brute_force_s": brute_s,
                "times_as_fast_as_brute_force": brute_s / indexed_s,
            }
        )
    )


if __name__ == "__main__":
    main()
