"""The limit: decode, audit and inference in one process, no bus, no store, on both cores.

    python tests/bench/limit.py RELEASE_FOLDER PUBLIC_KEY IMAGES REPEATS

Two threads, each with its own single-threaded network session, exactly what Triton is given. Prints one JSON line.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from andon_vision import DecodeLimits
from andon_vision.preprocess import prepare
from andon_vision.release_bundle import load_public_key, read_bundle
from andon_vision.sources import load_source
from load import under_control
from quality_audit.adapters.vision import looker
from quality_audit.domain.measures import measure

THREADS = 2
BATCH = 8
OUTPUTS = ["defect_score", "class_probabilities", "heat_map"]


def main() -> None:
    folder, key, count, repeats = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    bundle = read_bundle(folder, load_public_key(key))
    images = under_control(load_source("elpv"))[:count]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    sessions = [
        onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        for _ in range(THREADS)
    ]
    look, limits = looker(DecodeLimits()), DecodeLimits()

    def work(thread: int) -> None:
        mine = images[thread::THREADS]
        for start in range(0, len(mine), BATCH):
            batch = mine[start : start + BATCH]
            for data in batch:
                measure(look(data).grey)
            pixels = np.stack([prepare(data, bundle.preprocessing, limits) for data in batch])
            sessions[thread].run(OUTPUTS, {"image": pixels})

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))  # warm
        started, cpu = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            list(pool.map(work, range(THREADS)))
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    done = repeats * len(images)
    print(json.dumps({"images_per_s": done / seconds, "cpu_ms_per_image": 1e3 * cpu / done}))


if __name__ == "__main__":
    main()
