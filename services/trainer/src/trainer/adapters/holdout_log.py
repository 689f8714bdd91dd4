"""The log of holdout readings: one JSON line each, appended under a lock and on the disk before an image is opened."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import datetime
from pathlib import Path

from trainer.domain.holdout import readings


class HoldoutLog:
    """An append-only file. `write` returns how many times that dataset's holdout has now been read."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def write(self, dataset: str, release: str, images: int, purpose: str, now: datetime) -> int:
        """Notes a reading of `images` holdout images that is about to happen."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a+", encoding="utf-8") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.seek(0)
            number = readings((json.loads(line) for line in stream), dataset) + 1
            entry = {
                "at": now.isoformat(),
                "dataset": dataset,
                "release": release,
                "images": images,
                "purpose": purpose,
                "reading": number,
            }
            stream.write(json.dumps(entry) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
        return number
