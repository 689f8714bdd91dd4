"""100,000 images split without a leak, and the report that says so, on one core: build/bench/splits.json.

The same run compares the neighbours of 5,000 images with those that comparing all with all finds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .figures import at_most, write

WORKER = Path(__file__).with_name("splits_worker.py")
IMAGES, CHECKED = 100_000, 5_000


def test_splits() -> None:
    command = [sys.executable, str(WORKER), str(IMAGES), str(CHECKED)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(done.stdout)
    assert figures["pairs_across_parts"] == figures["pairs_missed"] == figures["pairs_too_many"] == 0
    write(
        "splits",
        figures,
        {
            "split and report": at_most(figures["split_and_report_s"], 60),
            "peak memory in bytes": at_most(figures["peak_memory_bytes"], 2_000_000_000),
            "the same, of images all alike": at_most(figures["split_and_report_of_images_all_alike_s"], 60),
        },
    )
