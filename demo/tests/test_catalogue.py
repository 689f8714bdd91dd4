"""Groups of near duplicates: the same part under another light belongs together, sister parts do not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from andon_demo.catalogue import load_parts


def _sister(seed: int) -> npt.NDArray[np.uint8]:
    """Parts of one kind: the same layout, each with its own grain."""
    rng = np.random.default_rng(seed)
    picture = np.full((96, 96), 120.0)
    picture[30:34], picture[62:66] = 40, 40
    picture += cv2.GaussianBlur(rng.normal(0, 60, (96, 96)), (0, 0), 5) * 4
    return picture.clip(0, 255).astype(np.uint8)


def _write(folder: Path, name: str, pixels: npt.NDArray[np.generic]) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), pixels.clip(0, 255).astype(np.uint8))


def test_exposures_of_one_part_share_a_group_and_sisters_do_not(tmp_path: Path) -> None:
    for part in range(6):
        for exposure, gain in enumerate((1.0, 0.7, 0.5)):
            _write(tmp_path / "set", f"free/{part}-{exposure}.png", _sister(part) * gain)
    parts = load_parts(str(tmp_path / "set"), tmp_path / "cache")
    groups = {p.name: p.group for p in parts}
    assert len(set(groups.values())) == 6
    assert all(groups[f"{n}-0.png"] == groups[f"{n}-1.png"] == groups[f"{n}-2.png"] for n in range(6))


def test_the_second_time_comes_from_the_cache_until_a_file_changes(tmp_path: Path) -> None:
    for part in range(4):
        _write(tmp_path / "set", f"good/{part}.png", _sister(part))
    _write(tmp_path / "set", "crack/9.png", _sister(9))
    first = load_parts(str(tmp_path / "set"), tmp_path / "cache")
    assert load_parts(str(tmp_path / "set"), tmp_path / "cache") == first
    assert len(list((tmp_path / "cache").iterdir())) == 1
    _write(tmp_path / "set", "good/3.png", _sister(0))
    again = load_parts(str(tmp_path / "set"), tmp_path / "cache")
    assert len({p.group for p in again}) == len({p.group for p in first}) - 1


def test_labels_come_from_folders_and_what_cannot_be_decoded_is_left_out(tmp_path: Path) -> None:
    _write(tmp_path / "set", "good/1.png", _sister(1))
    _write(tmp_path / "set", "crack/2.png", _sister(2))
    (tmp_path / "set" / "crack" / "3.png").write_bytes(b"no image")
    parts = {p.name: p for p in load_parts(str(tmp_path / "set"), tmp_path / "cache")}
    assert set(parts) == {"good/1.png", "crack/2.png"}
    assert (parts["good/1.png"].label, parts["good/1.png"].is_defect) == ("normal", False)
    assert (parts["crack/2.png"].label, parts["crack/2.png"].is_defect) == ("crack", True)
