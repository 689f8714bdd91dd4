"""Finds the release to decide with: the one that was given when it verifies and runs, else the last one that did."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from andon_vision import DecodeLimits
from andon_vision.release_bundle import (
    DESCRIPTION,
    BundleRefused,
    load_public_key,
    pack_bundle,
    parse_bundle,
    unpack_bundle,
)
from andon_vision.runner import ModelUnusable

from edge_agent.adapters.network import OnnxNetwork


class ReleaseRefused(ValueError):
    """There is no release to decide with; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A network to decide with; `trouble` says why it is not the one that was asked for."""

    network: OnnxNetwork
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Releases:
    """Where releases lie and whom to trust.

    Attributes:
        place: A bundle's folder, or its tar file.
        key: Ed25519 public key (PEM) that signs releases.
        kept: A folder of the agent's own, for the last release that ran.
    """

    place: Path
    key: Path
    kept: Path
    limits: DecodeLimits
    threads: int = 1

    def open(self) -> Opened:
        """Open the release that was given, and keep a copy of it. Raises ReleaseRefused."""
        try:
            files, packed = self._read(self.place)
            network = self._network(files)
        except ReleaseRefused as refused:
            last = self._open_last()
            if last is None:
                raise
            return Opened(last, f"{refused} Deciding with {last.rules.release}, the last release that ran.")
        self._keep(files[DESCRIPTION], packed)
        return Opened(network)

    def check(self) -> OnnxNetwork:
        """Open the release that was given, and nothing else. Raises ReleaseRefused."""
        return self._network(self._read(self.place)[0])

    def _read(self, place: Path) -> tuple[Mapping[str, bytes], bytes]:
        try:
            packed = pack_bundle(place) if place.is_dir() else place.read_bytes()
            return unpack_bundle(packed), packed
        except (OSError, BundleRefused) as error:
            raise ReleaseRefused(
                f"The release at {place} cannot be read: {error}. Set ANDON_BUNDLE to a bundle's folder or tar file."
            ) from error

    def _network(self, files: Mapping[str, bytes]) -> OnnxNetwork:
        try:
            key = load_public_key(self.key)
        except (OSError, ValueError) as error:
            raise ReleaseRefused(
                f"The key at {self.key} cannot be used: {error}. Copy the plant's release.pub there."
            ) from error
        try:
            bundle = parse_bundle(files, key)
            return OnnxNetwork(bundle, files, self.limits, self.threads)
        except (BundleRefused, ModelUnusable, ValueError, KeyError) as error:
            raise ReleaseRefused(
                f"The release at {self.place} is refused: {error}. Fetch it again from the plant, or give "
                f"ANDON_RELEASE_KEY the key that signed it (now {self.key})."
            ) from error

    def _open_last(self) -> OnnxNetwork | None:
        for packed in sorted(self.kept.glob("*.tar")):
            try:
                return self._network(unpack_bundle(packed.read_bytes()))
            except (OSError, ReleaseRefused, BundleRefused):
                continue
        return None

    def _keep(self, description: bytes, packed: bytes) -> None:
        """One copy, whole or not at all: written beside, then renamed, then the one before goes."""
        copy = self.kept / f"{hashlib.sha256(description).hexdigest()[:16]}.tar"
        if not copy.exists():
            self.kept.mkdir(parents=True, exist_ok=True)
            write_durably(copy, packed)
        for other in self.kept.iterdir():
            if other != copy:
                other.unlink()


def write_durably(path: Path, data: bytes) -> None:
    """The file is there with all its bytes, or as it was before."""
    beside = path.with_name(f"{path.name}.partial")
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
