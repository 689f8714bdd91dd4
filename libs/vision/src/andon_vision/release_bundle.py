"""A release bundle: the files of one model release, its description, and the signature that ties them together.

    model.onnx   `image` (uint8, N x H x W x 3) -> defect_score, class_probabilities, heat_map
    bundle.json  task, preprocessing, classes, calibration, thresholds, metrics, origins, and the hash of each file
    bundle.sig   Ed25519 signature of bundle.json's bytes, base64

The trainer writes it, Triton and the edge agent read it. On the way it is a plain tar with fixed times and owners, so
that the same release always has the same bytes. Needs the `cryptography` package (extra `bundle`).
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from andon_vision.preprocess import Preprocessing

SCHEMA: Final = "andonloop.release-bundle/1"
DESCRIPTION: Final = "bundle.json"
SIGNATURE: Final = "bundle.sig"
MODEL: Final = "model.onnx"
MEDIA_TYPE: Final = "application/x-tar"
NORMAL: Final = "normal"
_ADVICE: Final = "Fetch the bundle again from where it was published."
_MAX_FILES: Final = 16
_MAX_BYTES: Final = 2 * 1024**3


class BundleRefused(ValueError):
    """A bundle is incomplete, altered, or signed by someone else; the text says which."""


@dataclass(frozen=True, slots=True)
class ReleaseBundle:
    """What the users of a release need to know; the whole description is in `description`.

    `pass_below` and `reject_from` are the release's own thresholds on the calibrated defect probability.
    """

    release: str
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    pass_below: float
    reject_from: float
    description: Mapping[str, Any]

    def band(self, defect_score: float) -> str:
        """`pass`, `uncertain` or `defect`."""
        if defect_score < self.pass_below:
            return "pass"
        return "defect" if defect_score >= self.reject_from else "uncertain"

    def named(
        self, defect_score: float, class_probabilities: Sequence[float]
    ) -> tuple[str, dict[str, float]]:
        """The class that the model calls the part, `normal` below one half, and the probability of each class.

        `class_probabilities` are of `classes`, in this order.
        """
        scores = dict(zip(self.classes, class_probabilities, strict=True))
        likeliest = max(scores, key=lambda name: scores[name], default=NORMAL)
        scores[NORMAL] = 1.0 - defect_score
        return likeliest if defect_score >= 0.5 else NORMAL, scores


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value that is hashed and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def release_id(name: str, description: Mapping[str, Any]) -> str:
    """`<name>-<12 hexadecimal digits>` from everything in the description but its own name and the clock."""
    identity = {key: value for key, value in description.items() if key not in ("release", "trained_at")}
    return f"{name}-{hashlib.sha256(canonical_json(identity)).hexdigest()[:12]}"


def write_bundle(
    folder: Path,
    name: str,
    description: Mapping[str, Any],
    files: Mapping[str, bytes],
    key: Ed25519PrivateKey,
) -> str:
    """Writes a signed bundle into `folder` (made if needed) and returns its release id."""
    hashes = {file: hashlib.sha256(data).hexdigest() for file, data in sorted(files.items())}
    whole: dict[str, Any] = {**description, "schema": SCHEMA, "files": hashes}
    whole["release"] = release_id(name, whole)
    text = json.dumps(whole, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    folder.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (folder / file).write_bytes(data)
    (folder / DESCRIPTION).write_bytes(text)
    (folder / SIGNATURE).write_bytes(base64.b64encode(key.sign(text)) + b"\n")
    return str(whole["release"])


def read_bundle(folder: Path, key: Ed25519PublicKey) -> ReleaseBundle:
    """Checks signature and file hashes, then reads the description. Raises `BundleRefused`."""
    return parse_bundle(bundle_files(folder), key)


def bundle_files(folder: Path) -> dict[str, bytes]:
    """The files of a bundle's folder by name."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def parse_bundle(files: Mapping[str, bytes], key: Ed25519PublicKey) -> ReleaseBundle:
    """The same for files in memory. Files that the description does not name are refused as well."""
    if DESCRIPTION not in files or SIGNATURE not in files:
        raise BundleRefused(f"a bundle needs {DESCRIPTION} and {SIGNATURE}. {_ADVICE}")
    text = files[DESCRIPTION]
    try:
        key.verify(base64.b64decode(files[SIGNATURE], validate=False), text)
    except (InvalidSignature, ValueError) as error:
        raise BundleRefused(
            "the signature does not match: the bundle was altered or another key signed it. "
            f"{_ADVICE} If it is whole, name the public key of whoever signed it."
        ) from error
    description = json.loads(text)
    if description.get("schema") != SCHEMA:
        raise BundleRefused(
            f"the bundle is of schema {description.get('schema')!r}, this version reads {SCHEMA}"
        )
    hashes = description["files"]
    if set(hashes) != set(files) - {DESCRIPTION, SIGNATURE}:
        raise BundleRefused(f"the bundle's files are not those that were signed. {_ADVICE}")
    for file, expected in hashes.items():
        if hashlib.sha256(files[file]).hexdigest() != expected:
            raise BundleRefused(f"{file} is not the file that was signed. {_ADVICE}")
    return _described(description)


def _described(description: Mapping[str, Any]) -> ReleaseBundle:
    thresholds = description["thresholds"]
    return ReleaseBundle(
        release=description["release"],
        preprocessing=Preprocessing.from_json(description["preprocessing"]),
        classes=tuple(description["classes"]),
        pass_below=float(thresholds["pass_below"]),
        reject_from=float(thresholds["reject_from"]),
        description=description,
    )


def pack_bundle(folder: Path) -> bytes:
    """The bundle as one tar file; the same files always give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.iterdir()):
            data = path.read_bytes()
            entry = tarfile.TarInfo(path.name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def unpack_bundle(data: bytes) -> dict[str, bytes]:
    """The files of a packed bundle by name, in memory; nothing but plain files at the top is accepted."""
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for entry in archive:
                if (
                    not entry.isfile()
                    or "/" in entry.name
                    or entry.name.startswith(".")
                    or len(files) >= _MAX_FILES
                ):
                    raise BundleRefused(f"a bundle may not hold {entry.name!r}")
                if entry.size > _MAX_BYTES:
                    raise BundleRefused(f"{entry.name} is too large")
                content = archive.extractfile(entry)
                files[entry.name] = content.read() if content is not None else b""
    except tarfile.TarError as error:
        raise BundleRefused("the bundle is not a tar file") from error
    return files


def make_keys(folder: Path) -> tuple[Path, Path]:
    """Makes a signing key pair in `folder` unless one is there; returns (private, public) paths."""
    private, public = folder / "release.key", folder / "release.pub"
    if not private.exists():
        folder.mkdir(parents=True, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        private.touch(mode=0o600)
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


def load_private_key(path: Path) -> Ed25519PrivateKey:
    """The signing key of a PEM file. Raises `BundleRefused` for another kind of key."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BundleRefused(f"{path.name} is not a private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BundleRefused(f"{path.name} is not an Ed25519 private key")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """The verifying key of a PEM file. Raises `BundleRefused` for another kind of key."""
    return parse_public_key(path.read_bytes())


def parse_public_key(pem: bytes) -> Ed25519PublicKey:
    """The verifying key in PEM bytes. Raises `BundleRefused` for another kind of key."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleRefused(
            "the verifying key is not a public key in PEM; name the signer's release.pub"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise BundleRefused("the verifying key is not an Ed25519 public key")
    return key
