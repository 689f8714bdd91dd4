"""Reads a PyTorch `.pth` weight file without PyTorch, because PyPI's torch is gigabytes and we need 18 MB of floats.

Only the legacy layout (one pickle stream followed by raw storages) is read. The unpickler knows three names and
refuses every other one, so a weight file cannot run code here.
"""

from __future__ import annotations

import collections
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class WeightFileError(ValueError):
    """The file is not a legacy PyTorch weight file that this reader understands."""


@dataclass(slots=True)
class _Storage:
    """A flat block of numbers whose bytes follow after the pickles."""

    dtype: np.dtype[Any]
    size: int
    data: npt.NDArray[Any] | None = None


@dataclass(slots=True)
class _StridedView:
    """A tensor as PyTorch stores it: a window into a storage, not necessarily contiguous."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self) -> npt.NDArray[Any]:
        data = self.storage.data
        if data is None:
            raise WeightFileError("a tensor points at a storage that the file does not contain")
        step = data.itemsize
        view = np.lib.stride_tricks.as_strided(
            data[self.offset :], shape=self.shape, strides=tuple(stride * step for stride in self.strides)
        )
        return np.ascontiguousarray(view)


class _StorageType:
    """Stands in for `torch.FloatStorage` and its sisters."""

    def __init__(self, name: str) -> None:
        self.dtype = _DTYPES[name]


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_rest: object
) -> _StridedView:
    return _StridedView(storage, offset, tuple(shape), tuple(strides))


class _TensorUnpickler(pickle.Unpickler):
    def __init__(self, stream: IO[bytes], storages: dict[str, _Storage]) -> None:
        super().__init__(stream)
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _DTYPES:
            return _StorageType(name)
        raise WeightFileError(f"weight file asks for {module}.{name}, which is refused")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, size = pid[:5]
        if kind != "storage":
            raise WeightFileError(f"unknown persistent object {kind!r}")
        return self._storages.setdefault(str(key), _Storage(storage_type.dtype, int(size)))


def _plain_pickle(stream: IO[bytes]) -> Any:
    """One pickle of plain values; any class in it is refused."""
    return _TensorUnpickler(stream, {}).load()


def read_weights(path: Path) -> dict[str, npt.NDArray[Any]]:
    """All tensors of a legacy `.pth` file by name, as contiguous arrays. Raises `WeightFileError`."""
    storages: dict[str, _Storage] = {}
    with path.open("rb") as stream:
        if _plain_pickle(stream) != _MAGIC or _plain_pickle(stream) != _PROTOCOL:
            raise WeightFileError(f"{path.name} is not a legacy PyTorch weight file")
        if not _plain_pickle(stream).get("little_endian"):
            raise WeightFileError(f"{path.name} was written on a big-endian machine")
        tensors = _TensorUnpickler(stream, storages).load()
        for key in _plain_pickle(stream):
            storage = storages[key]
            (size,) = np.frombuffer(stream.read(8), dtype="<i8")
            if size != storage.size:
                raise WeightFileError(f"storage {key} holds {size} numbers, expected {storage.size}")
            payload = stream.read(int(size) * storage.dtype.itemsize)
            storage.data = np.frombuffer(payload, dtype=storage.dtype)
            if storage.data.size != size:
                raise WeightFileError(f"{path.name} ends early")
    return {name: view.read() for name, view in tensors.items()}
