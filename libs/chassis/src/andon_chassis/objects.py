"""Claim checks: big things lie in the object store under their content hash; events carry a reference.

The object is stored before the event is sent, so an event never points at nothing. A reader checks size and hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
from collections import OrderedDict
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import structlog
from andon_events.records import ObjectRef
from obstore.exceptions import BaseError, InvalidPathError
from obstore.store import S3Store

from andon_chassis.errors import Invalid, Unavailable

HASH = re.compile("[0-9a-f]{64}")
log = structlog.get_logger()

IMAGES, DERIVED, MODELS, DATASETS, HOLDOUT = "images", "derived", "models", "datasets", "holdout"
BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
OURS = frozenset({IMAGES, DERIVED, MODELS, DATASETS, HOLDOUT})
CONNECT_TIMEOUT = timedelta(seconds=2)


def object_ref(bucket: str, data: bytes, media_type: str) -> ObjectRef:
    """The reference that `data` has, wherever and whenever it is stored."""
    sha256 = hashlib.sha256(data).hexdigest()
    return ObjectRef(
        bucket=bucket,
        key=f"{sha256[:2]}/{sha256}",
        sha256=sha256,
        media_type=media_type,
        size_bytes=len(data),
    )


def verify(ref: ObjectRef, data: bytes) -> bytes:
    """Give the data back, or raise Invalid("wrong-hash") when they are not what the reference says."""
    if len(data) != ref.size_bytes or hashlib.sha256(data).hexdigest() != ref.sha256:
        raise Invalid(
            "wrong-hash",
            f"{ref.bucket}/{ref.key} is not what was stored; look for a writer outside Andonloop or a failing disk.",
        )
    return data


class ObjectStore(Protocol):
    """Content-addressed store."""

    def put(self, bucket: str, data: bytes, media_type: str) -> ObjectRef:
        """Store the bytes durably; storing the same bytes again changes nothing. Raises Unavailable."""

    def get(self, ref: ObjectRef) -> bytes:
        """The verified bytes. Raises Invalid ("missing-object", "wrong-hash") or Unavailable."""

    def ping(self) -> None:
        """Raise Unavailable when the store does not answer."""


class S3ObjectStore:
    """Any store with the standard S3 API, by the object_store client (native code outside the GIL, thread-safe)."""

    def __init__(self, endpoint: str, access_key: str, secret_key: str, *, timeout_s: float = 10.0) -> None:
        self._endpoint = endpoint
        self._access_key = access_key
        self._secret_key = secret_key
        self._timeout = timedelta(seconds=timeout_s)
        self._buckets: dict[str, S3Store] = {}

    def put(self, bucket: str, data: bytes, media_type: str) -> ObjectRef:
        ref = object_ref(bucket, data, media_type)
        try:
            self._bucket(bucket).put(
                ref.key, data, attributes={"Content-Type": media_type}, use_multipart=False
            )
        except (
            BaseError,
            OSError,
        ) as error:  # a bucket that is missing is the plant's fault, never the image's
            raise Unavailable("object store", _said(error)) from error
        return ref

    def get(self, ref: ObjectRef) -> bytes:
        where = f"{ref.bucket}/{ref.key}"
        if not BUCKET_NAME.fullmatch(ref.bucket):
            raise Invalid("missing-object", f"{where} is nowhere: that is no name of a bucket.")
        try:
            data = self._bucket(ref.bucket).get(ref.key).bytes().to_bytes()
        except (InvalidPathError, ValueError) as error:
            raise Invalid("missing-object", f"{where} is nowhere: {_said(error)}") from error
        except FileNotFoundError as error:
            # Only the store knows what it does not have; any other 404 comes from something in front of it. And one of
            # our own buckets that is gone says nothing about one image.
            gone = "NoSuchKey" in str(error) or ("NoSuchBucket" in str(error) and ref.bucket not in OURS)
            if gone:
                raise Invalid(
                    "missing-object", f"{where} does not exist; check the bucket's retention."
                ) from error
            raise Unavailable("object store", _said(error)) from error
        except (BaseError, OSError) as error:
            raise Unavailable("object store", _said(error)) from error
        return verify(ref, data)

    def ping(self) -> None:
        try:
            self._bucket(IMAGES).head("ping")
        except FileNotFoundError:
            pass  # it answered
        except (BaseError, OSError) as error:
            raise Unavailable("object store", _said(error)) from error

    def _bucket(self, name: str) -> S3Store:
        if name not in self._buckets:
            self._buckets[name] = S3Store(
                name,
                endpoint=self._endpoint,
                region="us-east-1",
                access_key_id=self._access_key,
                secret_access_key=self._secret_key,
                virtual_hosted_style_request=False,
                client_options={
                    "allow_http": self._endpoint.startswith("http://"),
                    "connect_timeout": CONNECT_TIMEOUT,
                    "timeout": self._timeout,
                },
                retry_config={"max_retries": 1, "retry_timeout": self._timeout},
            )
        return self._buckets[name]


def _said(error: Exception) -> str:
    """The client's message without the listing of its internals."""
    return str(error).split("\n\nDebug source", 1)[0]


class MemoryObjectStore:
    """The honest in-memory twin for tests."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], bytes] = {}

    def put(self, bucket: str, data: bytes, media_type: str) -> ObjectRef:
        ref = object_ref(bucket, data, media_type)
        self.objects[bucket, ref.key] = data
        return ref

    def get(self, ref: ObjectRef) -> bytes:
        try:
            data = self.objects[ref.bucket, ref.key]
        except KeyError:
            raise Invalid("missing-object", f"{ref.bucket}/{ref.key} does not exist.") from None
        return verify(ref, data)

    def ping(self) -> None: ...


class CachedObjectStore:
    """Remembers the last bytes read; content addresses never go stale.

    Args:
        store: The store behind.
        capacity_bytes: Upper bound of what is kept.
    """

    def __init__(self, store: ObjectStore, capacity_bytes: int) -> None:
        self._store = store
        self._capacity = capacity_bytes
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def put(self, bucket: str, data: bytes, media_type: str) -> ObjectRef:
        return self._store.put(bucket, data, media_type)

    def get(self, ref: ObjectRef) -> bytes:
        with self._lock:
            if ref.sha256 in self._held:
                self._held.move_to_end(ref.sha256)
                return self._held[ref.sha256]
        data = self._store.get(ref)
        with self._lock:
            if ref.sha256 not in self._held:
                self._held[ref.sha256] = data
                self._size += len(data)
            while self._size > self._capacity:
                self._size -= len(self._held.popitem(last=False)[1])
        return data

    def ping(self) -> None:
        self._store.ping()


class NodeObjectStore:
    """Keeps the images written or read lately in a folder that all services of a machine share.

    An image is written once and read by several services within the next second; what lies under a content hash can
    never be out of date. Every read is verified, so a torn or foreign file is only a miss. The store itself stays the
    one truth: a put is done when the store has it. Other objects have no second reader and are not kept.

    Args:
        store: The store behind.
        folder: Shared among the services of one machine; may be emptied at any time.
        capacity_bytes: The oldest files go when there is more than this; each writer looks whenever it has added an
            eighth.
    """

    def __init__(self, store: ObjectStore, folder: Path, capacity_bytes: int) -> None:
        self._store = store
        self._folder = folder
        self._capacity = capacity_bytes
        self._unswept = capacity_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, bucket: str, data: bytes, media_type: str) -> ObjectRef:
        ref = self._store.put(bucket, data, media_type)
        if bucket == IMAGES:
            self._keep(ref, data)
        return ref

    def get(self, ref: ObjectRef) -> bytes:
        # What an event says is no path until it is a hash.
        if ref.bucket != IMAGES or not HASH.fullmatch(ref.sha256):
            return self._store.get(ref)
        try:
            return verify(ref, self._file(ref).read_bytes())
        except (OSError, ValueError, Invalid):
            data = self._store.get(ref)
            self._keep(ref, data)
            return data

    def ping(self) -> None:
        self._store.ping()

    def _file(self, ref: ObjectRef) -> Path:
        return self._folder / ref.sha256

    def _keep(self, ref: ObjectRef, data: bytes) -> None:
        """Nobody depends on it: a full disk or a folder that went away costs speed, nothing else."""
        if len(data) > self._capacity / 8:
            return
        unfinished = self._folder / f".{ref.sha256}.{os.getpid()}.{threading.get_ident()}"
        try:
            unfinished.write_bytes(data)
            unfinished.replace(self._file(ref))
        except OSError as error:
            log.warning("object-cache", error=str(error))
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            self._unswept = self._capacity  # full, perhaps: make room for the next
        self._unswept += len(data)
        if self._unswept > self._capacity / 8:
            self._unswept = 0
            with contextlib.suppress(OSError):
                self._sweep()

    def _sweep(self) -> None:
        entries: list[tuple[float, int, str]] = []
        for entry in os.scandir(self._folder):
            # Others write here as well: a file that was being written a moment ago has its final name by now.
            with contextlib.suppress(FileNotFoundError):
                known = entry.stat()
                entries.append((known.st_mtime, known.st_size, entry.path))
        excess = sum(size for _, size, _ in entries) - self._capacity
        for _, size, path in sorted(entries):
            if excess <= 0:
                return
            Path(path).unlink(missing_ok=True)
            excess -= size
