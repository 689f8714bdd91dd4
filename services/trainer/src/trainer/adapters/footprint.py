"""What a release costs to run: time for an image and memory, in a process that holds nothing else.

The module is its own program: `python -m trainer.adapters.footprint BUNDLE KEY IMAGES` prints the measured `Footprint`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from andon_vision.release_bundle import bundle_files, load_public_key, read_bundle
from andon_vision.runner import ReleaseRunner

IMAGES = 60
"""So many images are timed; more change the median little."""
LONGEST_S = 300


@dataclass(frozen=True, slots=True)
class Footprint:
    """One image after the other on one thread, from encoded bytes to regions; the first is not counted."""

    images: int
    p50_ms: float
    p95_ms: float
    start_ms: float
    peak_memory_mb: float

    def to_json(self) -> dict[str, float]:
        return {name: round(value, 2) for name, value in asdict(self).items()}


def footprint(bundle: Path, key: Path, images: Sequence[bytes]) -> Footprint:
    """Of the release in the folder `bundle`, on the first of these images. Raises `OSError` when it does not run."""
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(images[:IMAGES]):
            (Path(folder) / f"{number:04}").write_bytes(data)
        command = [sys.executable, "-m", __spec__.name, str(bundle), str(key), folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST_S, check=False)
    if done.returncode != 0:
        raise OSError(f"the release could not be timed: {done.stderr.strip()[-500:]}")
    return Footprint(**json.loads(done.stdout))


def _measure(bundle: Path, key: Path, images: Path) -> Footprint:
    began = time.perf_counter()
    runner = ReleaseRunner(read_bundle(bundle, load_public_key(key)), bundle_files(bundle), threads=1)
    pictures = [path.read_bytes() for path in sorted(images.iterdir())]
    runner.read(pictures[:1])
    started = time.perf_counter()
    taken = []
    for picture in pictures:
        before = time.perf_counter()
        runner.read([picture])
        taken.append(1000 * (time.perf_counter() - before))
    median, late = np.quantile(taken, [0.5, 0.95])
    return Footprint(len(taken), float(median), float(late), 1000 * (started - began), _peak_memory_mb())


def _peak_memory_mb() -> float:
    """Of this program alone: getrusage would still count the parent that it was started from."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text("utf-8"))
    return int(found[1]) / 1024 if found else float("nan")


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(*map(Path, sys.argv[1:4])))))
