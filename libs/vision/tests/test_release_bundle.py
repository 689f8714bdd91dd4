"""A bundle is what was signed, or it is refused."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from andon_vision.release_bundle import (
    BundleRefused,
    load_private_key,
    load_public_key,
    make_keys,
    pack_bundle,
    parse_bundle,
    read_bundle,
    unpack_bundle,
    write_bundle,
)

DESCRIPTION: dict[str, Any] = {
    "task": "classification",
    "classes": ["crack"],
    "preprocessing": {"width": 32, "height": 32, "fit": "stretch", "interpolation": "area"},
    "thresholds": {"pass_below": 0.1, "reject_from": 0.6},
    "trained_at": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return make_keys(tmp_path / "keys")


@pytest.fixture
def folder(tmp_path: Path, keys: tuple[Path, Path]) -> Path:
    target = tmp_path / "bundle"
    write_bundle(target, "tiles", DESCRIPTION, {"model.onnx": b"network"}, load_private_key(keys[0]))
    return target


def test_what_was_written_is_read(folder: Path, keys: tuple[Path, Path]) -> None:
    bundle = read_bundle(folder, load_public_key(keys[1]))
    assert bundle.release.startswith("tiles-") and len(bundle.release) == len("tiles-") + 12
    assert bundle.classes == ("crack",)
    assert [bundle.band(score) for score in (0.0, 0.1, 0.59, 0.6)] == [
        "pass",
        "uncertain",
        "uncertain",
        "defect",
    ]


def test_the_id_follows_the_content_and_not_the_clock(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    key = load_private_key(keys[0])
    later = {**DESCRIPTION, "trained_at": "2027-01-01T00:00:00+00:00"}
    first = write_bundle(tmp_path / "a", "tiles", DESCRIPTION, {"model.onnx": b"network"}, key)
    assert write_bundle(tmp_path / "b", "tiles", later, {"model.onnx": b"network"}, key) == first
    assert write_bundle(tmp_path / "c", "tiles", DESCRIPTION, {"model.onnx": b"other"}, key) != first


@pytest.mark.parametrize("name", ["model.onnx", "bundle.json", "bundle.sig"])
def test_one_changed_byte_is_refused(folder: Path, keys: tuple[Path, Path], name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))
    with pytest.raises(BundleRefused):
        read_bundle(folder, load_public_key(keys[1]))


def test_a_changed_threshold_is_refused(folder: Path, keys: tuple[Path, Path]) -> None:
    description = json.loads((folder / "bundle.json").read_bytes())
    description["thresholds"]["pass_below"] = 0.9
    (folder / "bundle.json").write_text(json.dumps(description))
    with pytest.raises(BundleRefused, match="altered"):
        read_bundle(folder, load_public_key(keys[1]))


def test_another_signer_an_added_file_and_a_missing_file_are_refused(
    folder: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    stranger = load_public_key(make_keys(tmp_path / "stranger")[1])
    with pytest.raises(BundleRefused, match="another key"):
        read_bundle(folder, stranger)
    own = load_public_key(keys[1])
    (folder / "extra.py").write_bytes(b"print()")
    with pytest.raises(BundleRefused, match="not those that were signed"):
        read_bundle(folder, own)
    (folder / "extra.py").unlink()
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleRefused, match="not those that were signed"):
        read_bundle(folder, own)


def test_packing_is_reproducible_and_reversible(folder: Path, keys: tuple[Path, Path]) -> None:
    packed = pack_bundle(folder)
    assert packed == pack_bundle(folder)
    files = unpack_bundle(packed)
    assert set(files) == {"model.onnx", "bundle.json", "bundle.sig"}
    assert parse_bundle(files, load_public_key(keys[1])).classes == ("crack",)


@pytest.mark.parametrize("name", ["../escape", "deep/file", ".hidden"])
def test_an_archive_with_other_than_plain_files_is_refused(name: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(BundleRefused, match="may not hold"):
        unpack_bundle(buffer.getvalue())
    with pytest.raises(BundleRefused, match="not a tar"):
        unpack_bundle(b"PK\x03\x04 something else entirely" * 40)


def test_keys_are_made_once_and_kept_private(tmp_path: Path) -> None:
    private, public = make_keys(tmp_path)
    before = private.read_bytes(), public.read_bytes()
    assert make_keys(tmp_path) == (private, public)
    assert (private.read_bytes(), public.read_bytes()) == before
    assert private.stat().st_mode & 0o077 == 0
    with pytest.raises(ValueError, match=r"PEM|key"):
        load_public_key(private)
