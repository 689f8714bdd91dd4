"""Triton over gRPC: asks for scores, loads and unloads releases.

A release's files travel inside the load request, so Triton and this service share no folder: one protocol, the same on
one machine and in a cluster. See docs/decisions for why.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from andon_chassis.errors import Unavailable
from andon_vision.regions import Region
from andon_vision.release_bundle import ReleaseBundle
from tritonclient.grpc import MAX_GRPC_MESSAGE_SIZE, InferenceServerClient, InferInput, InferResult
from tritonclient.utils import InferenceServerException

from inference.domain.scoring import Scored, refused
from inference.ports import LoadFailed, ModelDied, ModelFailed
from inference.serving import ServingLimits, model_config, model_files

TRITON = "triton"
_DEAD_PROCESS = "is not healthy"
CHANNEL = [
    ("grpc.max_send_message_length", MAX_GRPC_MESSAGE_SIZE),
    ("grpc.max_receive_message_length", MAX_GRPC_MESSAGE_SIZE),
    # By default a client that found nobody some times looks again after up to two minutes; a line cannot wait for that.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]
_ABSENT = ("StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED")
_UNKNOWN_MODEL = ("unknown model", "is not ready", "not found")


class ReleaseLost(Unavailable):
    """Triton runs, but does not know the release any more: it was restarted."""

    def __init__(self, release: str, detail: str) -> None:
        super().__init__(TRITON, detail)
        self.release = release


class ReleaseDied(ModelDied):
    """One of the processes that run the release died. Triton calls it ready and never starts it again."""

    def __init__(self, release: str, detail: str) -> None:
        super().__init__(TRITON, detail)
        self.release = release


class TritonServer:
    """One Triton, or several behind one address.

    Args:
        address: host:port of the gRPC endpoint.
        infer_timeout_s: Longest wait for the answer to one request.
        load_timeout_s: Longest wait for a release to load.
    """

    def __init__(self, address: str, *, infer_timeout_s: float = 20.0, load_timeout_s: float = 120.0) -> None:
        self._client = InferenceServerClient(address.split("://")[-1], channel_args=CHANNEL)
        self._infer_timeout_s = infer_timeout_s
        self._load_timeout_s = load_timeout_s

    def ping(self) -> None:
        """Raises Unavailable when Triton does not answer."""
        try:
            self._client.is_server_live(client_timeout=2.0)
        except InferenceServerException as error:
            raise Unavailable(TRITON, str(error)) from error

    def is_loaded(self, release: str) -> bool:
        """Whether a release can be asked. Raises Unavailable."""
        try:
            return bool(self._client.is_model_ready(release, client_timeout=2.0))
        except InferenceServerException as error:
            raise Unavailable(TRITON, str(error)) from error

    def load(
        self, bundle: ReleaseBundle, files: dict[str, bytes], public_key: bytes, limits: ServingLimits
    ) -> None:
        """Makes Triton verify and serve a release. Raises Unavailable, and LoadFailed when Triton cannot do it."""
        folder = {f"file:{path}": data for path, data in model_files(files, public_key).items()}
        try:
            self._client.load_model(
                bundle.release,
                config=model_config(bundle, limits),
                files=folder,
                client_timeout=self._load_timeout_s,
            )
        except InferenceServerException as error:
            kind = Unavailable if str(error.status()) in _ABSENT else LoadFailed
            raise kind(TRITON, f"{bundle.release} was not loaded: {error}") from error

    def unload(self, release: str) -> None:
        """Lets a release finish what it was asked and go. Raises Unavailable."""
        try:
            self._client.unload_model(release, client_timeout=self._load_timeout_s)
        except InferenceServerException as error:
            raise Unavailable(TRITON, str(error)) from error

    def submit(self, bundle: ReleaseBundle, images: Sequence[bytes]) -> Future[list[Scored]]:
        """Starts scoring; see `ports.Scorer`."""
        future: Future[list[Scored]] = Future()
        tensor = InferInput("IMAGE", [len(images), 1], "BYTES")
        tensor.set_data_from_numpy(np.array(images, dtype=np.object_).reshape(-1, 1))

        def answered(result: InferResult | None, error: InferenceServerException | None) -> None:
            if error is not None or result is None:
                future.set_exception(_sorted(bundle.release, error))
                return
            try:
                future.set_result(_answers(result))
            except Exception as broken:  # the callback's thread would swallow it
                future.set_exception(broken)

        try:
            self._client.async_infer(bundle.release, [tensor], answered, client_timeout=self._infer_timeout_s)
        except InferenceServerException as error:
            future.set_exception(_sorted(bundle.release, error))
        return future

    def close(self) -> None:
        """Closes the channel."""
        self._client.close()


def _sorted(release: str, error: InferenceServerException | None) -> Exception:
    text = str(error)
    if any(words in text.lower() for words in _UNKNOWN_MODEL):
        return ReleaseLost(release, text)
    if _DEAD_PROCESS in text:
        return ReleaseDied(release, text)
    if error is not None and str(error.status()) == "StatusCode.INTERNAL":
        return ModelFailed(text)
    return Unavailable(TRITON, text)


def _column(result: InferResult, name: str) -> Any:
    values = result.as_numpy(name)
    if values is None:
        raise RuntimeError(f"the release's model gave no {name}")
    return values


def _answers(result: InferResult) -> list[Scored]:
    """The rows of one response."""
    statuses = _column(result, "STATUS").ravel()
    scores, classes = _column(result, "DEFECT_SCORE").ravel(), _column(result, "CLASS_PROBABILITIES")
    heat, times = _column(result, "HEAT_MAP"), _column(result, "MODEL_MS").ravel()
    regions = _column(result, "REGIONS").ravel()
    answers = []
    for row, status in enumerate(statuses):
        reason = status.decode() if isinstance(status, bytes) else str(status)
        if reason:
            answers.append(refused(reason))
            continue
        probabilities = tuple(float(value) for value in classes[row])
        seen = tuple(Region.from_json(item) for item in json.loads(regions[row]))
        answers.append(Scored(float(scores[row]), probabilities, heat[row], float(times[row]), regions=seen))
    return answers
