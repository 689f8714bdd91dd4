"""Which release decides, and which is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from andon_vision import DecodeLimits
from andon_vision.release_bundle import make_keys, pack_bundle
from edge_agent.adapters.release import ReleaseRefused, Releases
from edge_support import Release, make_release


def releases(place: Path, key: Path, home: Path) -> Releases:
    return Releases(place, key, home / "kept", DecodeLimits())


def altered(release: Release, home: Path) -> Path:
    copy = home / "altered"
    shutil.copytree(release.folder, copy)
    model = bytearray((copy / "model.onnx").read_bytes())
    model[len(model) // 2] ^= 1
    (copy / "model.onnx").write_bytes(model)
    return copy


def test_a_folder_and_a_tar_file_hold_the_same_release(release: Release, tmp_path: Path) -> None:
    packed = tmp_path / "release.tar"
    packed.write_bytes(pack_bundle(release.folder))
    found = {
        releases(p, release.public_key, tmp_path).open().network.rules.release
        for p in (release.folder, packed)
    }
    assert len(found) == 1


def test_a_wrong_signature_is_refused_and_the_text_says_what_to_do(release: Release, tmp_path: Path) -> None:
    stranger = make_keys(tmp_path / "stranger")[1]
    with pytest.raises(ReleaseRefused) as refused:
        releases(release.folder, stranger, tmp_path).open()
    assert "signature does not match" in str(refused.value)
    assert "ANDON_RELEASE_KEY" in str(refused.value) and str(release.folder) in str(refused.value)


def test_an_altered_network_is_refused(release: Release, tmp_path: Path) -> None:
    with pytest.raises(ReleaseRefused, match="not the file that was signed"):
        releases(altered(release, tmp_path), release.public_key, tmp_path).open()


@pytest.mark.parametrize("content", [None, b"", b"not a tar file" * 100])
def test_a_place_without_a_release_is_named(release: Release, tmp_path: Path, content: bytes | None) -> None:
    place = tmp_path / "release.tar"
    if content is not None:
        place.write_bytes(content)
    with pytest.raises(ReleaseRefused, match=r"release\.tar"):
        releases(place, release.public_key, tmp_path).open()


def test_a_key_that_is_none_is_named(release: Release, tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text("hello")
    with pytest.raises(ReleaseRefused, match=r"release\.pub"):
        releases(release.folder, tmp_path / "key.pub", tmp_path).open()


def test_the_last_release_that_ran_goes_on_deciding(release: Release, tmp_path: Path) -> None:
    before = releases(release.folder, release.public_key, tmp_path).open()
    after = releases(altered(release, tmp_path), release.public_key, tmp_path).open()
    assert after.network.rules.release == before.network.rules.release
    assert "not the file that was signed" in after.trouble and before.trouble == ""


def test_one_copy_is_kept_and_only_of_what_ran(tmp_path: Path) -> None:
    first, second = make_release(tmp_path, "first"), make_release(tmp_path, "second")
    broken = make_release(tmp_path, "broken", model=b"no network")
    for release in (first, second):
        assert releases(release.folder, release.public_key, tmp_path).open().trouble == ""
    opened = releases(broken.folder, broken.public_key, tmp_path).open()
    assert opened.network.rules.release.startswith("second") and "onnxruntime" in opened.trouble
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_a_kept_copy_is_verified_as_well(release: Release, tmp_path: Path) -> None:
    releases(release.folder, release.public_key, tmp_path).open()
    stranger = make_keys(tmp_path / "stranger")[1]
    with pytest.raises(ReleaseRefused, match="signature does not match"):
        releases(release.folder, stranger, tmp_path).open()


@pytest.mark.parametrize("command", ["run", "verify"])
def test_the_program_ends_with_the_sentence(release: Release, tmp_path: Path, command: str) -> None:
    environment = {
        **os.environ,
        "ANDON_BUNDLE": str(release.folder),
        "ANDON_RELEASE_KEY": str(make_keys(tmp_path / "stranger")[1]),
        "ANDON_STATE_DIR": str(tmp_path / "state"),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "edge_agent", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "signature does not match" in ended.stderr and "Traceback" not in ended.stderr
