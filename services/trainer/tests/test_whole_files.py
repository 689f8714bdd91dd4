"""A file is there with all its bytes or as it was before, whoever else writes it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from trainer.adapters.whole_files import whole_file, written_whole


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    file = tmp_path / "models" / "backbone.onnx"
    with whole_file(file) as one, whole_file(file) as other:
        one.write(b"one")
        other.write(b"the other")
        assert not file.exists()
    assert file.read_bytes() == b"one", "the writer that ended last"
    assert list(file.parent.iterdir()) == [file]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(b"before")
    with pytest.raises(ZeroDivisionError), whole_file(file) as stream:
        stream.write(b"half of")
        _ = 1 / 0
    assert file.read_bytes() == b"before" and list(tmp_path.iterdir()) == [file]


def test_two_runs_may_make_the_same_file_at_once(tmp_path: Path) -> None:
    """As two runs of `models` make the backbone, under names that do not vary."""
    both = Barrier(2)

    def write(folder: Path) -> Path:
        partial = folder / "backbone.partial"
        partial.write_bytes(b"weights")
        both.wait(timeout=20)
        return partial.replace(folder / "backbone.onnx")

    with ThreadPoolExecutor(2) as pool:
        made = list(pool.map(lambda _: written_whole(write, tmp_path), range(2)))
    assert made == [tmp_path / "backbone.onnx"] * 2 == [*tmp_path.iterdir()] * 2
    assert made[0].read_bytes() == b"weights"
