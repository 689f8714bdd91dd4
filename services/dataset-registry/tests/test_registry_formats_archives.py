"""An archive that means harm, or is damaged, does none and says so."""

from __future__ import annotations

import io
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from dataset_registry.domain.interchange import Unreadable
from dataset_registry.formats.archives import Limits, opened

from .test_registry_formats_bad_input import BOX, LIMITS, as_file, coco, found, picture, problem, zipped


def refused(folder: Path, data: bytes, limits: Limits = LIMITS) -> str:
    """Why the archive is not even opened."""
    with pytest.raises(Unreadable) as caught:
        found(folder, data, limits=limits)
    return caught.value.problem.reason


class TestArchives:
    @pytest.mark.parametrize(
        "name", ["../up.json", "/etc/passwd", "a/../../b.json", "C:/x.json", "..\\up.json", "\\\\x\\y"]
    )
    def test_no_name_leads_out_of_it(self, tmp_path: Path, name: str) -> None:
        assert refused(tmp_path, zipped({name: b"[]"})) == "path-outside-archive"

    def test_no_member_of_a_tar_file_leads_out_of_it(self, tmp_path: Path) -> None:
        for name, kind, to in (
            ("../up.json", tarfile.REGTYPE, ""),
            ("link", tarfile.SYMTYPE, "/etc/passwd"),
            ("hard", tarfile.LNKTYPE, "../x"),
            ("device", tarfile.CHRTYPE, ""),
        ):
            held = io.BytesIO()
            with tarfile.open(fileobj=held, mode="w:gz") as made:
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, to
                made.addfile(member)
            wanted = "path-outside-archive" if kind == tarfile.REGTYPE else "link-in-archive"
            assert refused(tmp_path, held.getvalue()) == wanted
        assert not (tmp_path / "up.json").exists()

    def test_no_link_is_followed(self, tmp_path: Path) -> None:
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as made:
            link = zipfile.ZipInfo("labels.json")
            link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
            made.writestr(link, "/etc/passwd")
        assert refused(tmp_path, held.getvalue()) == "link-in-archive"
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "labels.json").symlink_to("/etc/passwd")
        with pytest.raises(Exception, match="link-in-archive"), opened(folder):
            pass

    def test_bombs_are_refused_before_they_are_unpacked(self, tmp_path: Path) -> None:
        bomb = zipped({"labels.json": b" " * (64 << 20)})
        tracemalloc.start()
        assert refused(tmp_path, bomb) == "archive-bomb"
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1 << 20
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w:gz") as made:
            member = tarfile.TarInfo("labels.json")
            member.size = 64 << 20
            made.addfile(member, io.BytesIO(b" " * member.size))
        assert refused(tmp_path, held.getvalue()) == "archive-bomb"
        assert refused(tmp_path, zipped({"a": b"1", "b": b"2"}), Limits(members=1)) == "too-many-files"
        assert refused(tmp_path, zipped({"a": b"12"}), Limits(member_bytes=1)) == "archive-too-large"
        assert refused(tmp_path, zipped({"a": b"1", "b": b"2"}), Limits(total_bytes=1)) == "archive-too-large"

    def test_what_a_desktop_leaves_beside_the_files_is_passed_over(self, tmp_path: Path) -> None:
        files = as_file(coco(BOX)) | {
            "__MACOSX/._instances.json": b"\0\5",
            "a/.DS_Store": b"\0",
            "._b.json": b"\0",
        }
        (image,) = found(tmp_path, files)
        assert image.image.name == "a.png"

    def test_a_cut_off_archive_says_so(self, tmp_path: Path) -> None:
        data = zipped(as_file(coco(BOX)) | {"images/a.png": picture()})
        assert refused(tmp_path, data[: len(data) // 2]) == "truncated-archive"
        held = io.BytesIO()
        with tarfile.open(fileobj=held, mode="w:gz") as made:
            member = tarfile.TarInfo("labels.json")
            member.size = 1000
            made.addfile(member, io.BytesIO(np.random.default_rng(0).bytes(1000)))
        assert refused(tmp_path, held.getvalue()[:500]) == "truncated-archive"

    def test_a_damaged_member_says_so(self, tmp_path: Path) -> None:
        data = bytearray(zipped(as_file(coco(BOX))))
        at = data.index(b"instances.json") + len("instances.json") + 20
        data[at : at + 8] = b"\0" * 8
        assert problem(tmp_path, bytes(data), "coco").reason == "truncated-archive"

    def test_an_archive_of_nothing_known_says_what_is_known(self, tmp_path: Path) -> None:
        unknown = problem(tmp_path, {"notes.txt": b"hello"})
        assert unknown.reason == "unknown-format" and "label-studio" in unknown.advice
        assert problem(tmp_path, {"notes.txt": b"hello", "b.txt": b""}, "coco").reason == "nothing-to-read"
