"""Runs the frozen backbone over images once and remembers the features, so that training again takes seconds."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from andon_vision import ImageRefused, Preprocessing, decode_image, perceptual_hash, prepare_pixels

from trainer.adapters.backbone import FEATURES

BATCH = 16
VIEWS: dict[str, Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]] = {
    "as-is": lambda picture: picture,
    "mirrored": lambda picture: picture[:, ::-1],
    "upside-down": lambda picture: picture[::-1],
    "turned": lambda picture: picture[::-1, ::-1],
}


def open_session(model: Path | bytes, threads: int) -> onnxruntime.InferenceSession:
    """An onnxruntime session on the CPU whose threads sleep instead of spinning while they wait."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class FeatureCache:
    """Vectors by content: image hash, backbone hash, preprocessing and view."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False)
        self._db.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, value BLOB NOT NULL)")

    def get(self, key: bytes) -> bytes | None:
        row = self._db.execute("SELECT value FROM vectors WHERE key = ?", (key,)).fetchone()
        return None if row is None else bytes(row[0])

    def put(self, items: Iterable[tuple[bytes, bytes]]) -> None:
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", items)

    def close(self) -> None:
        self._db.close()


class FeatureExtractor:
    """Features and perceptual hashes of images under one preprocessing.

    Args:
        backbone: The ONNX file.
        preprocessing: How images become the backbone's input.
        cache: Where vectors are remembered.
        output: Which of the backbone's outputs is read.
        threads: Threads of the runtime.
        progress: Called with the number of images finished each time a batch is.
    """

    def __init__(
        self,
        backbone: Path,
        preprocessing: Preprocessing,
        cache: FeatureCache,
        *,
        output: str = FEATURES,
        threads: int = 2,
        progress: Callable[[int], None] = lambda count: None,
    ) -> None:
        self._session = open_session(backbone, threads)
        self._preprocessing = preprocessing
        self._cache = cache
        self._progress = progress
        self._output = output
        spec = json.dumps(preprocessing.to_json(), sort_keys=True).encode()
        self._salt = hashlib.sha256(backbone.read_bytes()).digest() + spec
        if output != FEATURES:
            self._salt += output.encode()

    def _key(self, sha256: bytes, view: str) -> bytes:
        return hashlib.sha256(self._salt + view.encode() + sha256).digest()

    def hashes(self, images: Sequence[bytes]) -> list[int | None]:
        """Perceptual hash of each image; None for one that is refused."""
        found: list[int | None] = []
        fresh: list[tuple[bytes, bytes]] = []
        for data in images:
            key = hashlib.sha256(b"phash" + hashlib.sha256(data).digest()).digest()
            known = self._cache.get(key)
            if known is None:
                try:
                    known = perceptual_hash(decode_image(data).pixels).to_bytes(8, "big")
                except ImageRefused:
                    found.append(None)
                    continue
                fresh.append((key, known))
            found.append(int.from_bytes(known, "big"))
        self._cache.put(fresh)
        return found

    def features(self, images: Sequence[bytes], view: str = "as-is") -> npt.NDArray[np.float32]:
        """(images, features). Raises `ImageRefused` for an image that cannot be decoded."""
        keys = [self._key(hashlib.sha256(data).digest(), view) for data in images]
        vectors = [self._cache.get(key) for key in keys]
        missing = [index for index, vector in enumerate(vectors) if vector is None]
        known = len(images) - len(missing)
        if known:
            self._progress(known)
        with ThreadPoolExecutor(1) as preparing:
            chunks = list(_chunks(missing, BATCH))
            ready = preparing.map(
                lambda chunk: self._prepare([images[index] for index in chunk], view), chunks
            )
            for chunk, batch in zip(chunks, ready, strict=True):
                (result,) = self._session.run([self._output], {"image": batch})
                rows = [row.astype("<f4").tobytes() for row in result]
                self._cache.put(zip((keys[index] for index in chunk), rows, strict=True))
                for index, row in zip(chunk, rows, strict=True):
                    vectors[index] = row
                self._progress(len(chunk))
        return np.stack([np.frombuffer(vector or b"", "<f4") for vector in vectors])

    def _prepare(self, images: Sequence[bytes], view: str) -> npt.NDArray[np.uint8]:
        turn = VIEWS[view]
        return np.stack(
            [turn(prepare_pixels(decode_image(data).pixels, self._preprocessing)) for data in images]
        )


def _chunks(items: Iterable[int], size: int) -> Iterator[list[int]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
