"""Turns a folder of inspection images, or the ELPV package, into one plain list that training and the demo share.

Three layouts are understood: the `elpv-dataset` package ("elpv"), a folder with an `index.csv`, and a folder with one
sub-folder per class, where `normal`, `good` or `free` is the good one.
"""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ELPV: Final = "elpv"
GOOD_FOLDERS: Final = frozenset({"normal", "good", "free"})
_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})


class SourceError(ValueError):
    """A source cannot be used; the text says what is wrong and what would help."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image with what its owner knows about it.

    `classes` are its defect classes, empty for a good part. `defect_probability` is 0 to 1 where experts disagreed and
    0 or 1 elsewhere. `group` names images of the same physical part ("" when unknown): they must never be split.
    `annotation` is the file that says where the defects are; `template` a picture of the same place without a defect.
    """

    path: Path
    classes: tuple[str, ...]
    is_defect: bool
    defect_probability: float
    product: str
    variant: str
    station_hint: str
    group: str
    annotation: Path | None = None
    template: Path | None = None

    def read(self) -> bytes:
        """The encoded image."""
        return self.path.read_bytes()


def load_source(source: str | Path) -> list[SourceImage]:
    """All images of "elpv" or of a folder, in a fixed order. Raises `SourceError`."""
    if str(source) == ELPV:
        return list(_elpv())
    folder = Path(source)
    if not folder.is_dir():
        raise SourceError(f"There is no folder {folder}; give a folder of images or the word {ELPV}.")
    images = list(_indexed(folder) if (folder / "index.csv").is_file() else _foldered(folder))
    if not images:
        raise SourceError(f"{folder} has neither an index.csv nor one sub-folder of images per class.")
    return images


def _elpv() -> Iterator[SourceImage]:
    """Solar cells in electroluminescence; experts gave each a defect probability of 0, 1/3, 2/3 or 1."""
    # The package is found, not imported: importing it needs Pillow and would load every image.
    spec = importlib.util.find_spec("elpv_dataset")
    if spec is None or spec.origin is None:
        raise SourceError(
            "The package elpv-dataset is not installed here; install it or name a folder of images."
        )
    data = Path(spec.origin).parent / "data"
    for line in (data / "labels.csv").read_text("utf-8").splitlines():
        name, text, kind = line.split()
        probability = float(text)
        defect = probability > 0.5
        yield SourceImage(
            path=data / name,
            classes=("defective-cell",) if defect else (),
            is_defect=defect,
            defect_probability=probability,
            product="solar-cell",
            variant=kind,
            station_hint=kind,
            group="",
        )


def _indexed(folder: Path) -> Iterator[SourceImage]:
    """A folder with `index.csv`; a template, where one is named, is a good image of the same part."""
    seen: set[Path] = set()
    # Spreadsheets put a byte order mark before the first column's name; without one this is plain UTF-8.
    with (folder / "index.csv").open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows, start=2):
        if not row.get("image") or row.get("label") not in ("normal", "defect"):
            raise SourceError(
                f"{folder / 'index.csv'}, line {number}: needs an image and a label normal or defect."
            )
        template = row.get("template_file") or ""
        group = template if template else ""
        told = _inside(folder, row.get("annotation_file") or "", number)
        for name, defect in ((row["image"], row["label"] == "defect"), (template, False)):
            path = _inside(folder, name, number)
            if path is None or path in seen:
                continue
            seen.add(path)
            classes = (
                tuple(part for part in (row.get("defect_classes") or "").split(";") if part) if defect else ()
            )
            yield SourceImage(
                path=path,
                classes=classes or (("defect",) if defect else ()),
                is_defect=defect,
                defect_probability=float(defect),
                product=row.get("product") or folder.name,
                variant=row.get("product") or folder.name,
                station_hint=row.get("station_hint") or "",
                group=group,
                annotation=told if name == row["image"] else None,
                template=_inside(folder, template, number),
            )


def _inside(folder: Path, name: str, number: int) -> Path | None:
    """The file that a row names; None for no name. A row may not point outside its folder."""
    if not name:
        return None
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        raise SourceError(f"{folder / 'index.csv'}, line {number}: {name} is not a file in this folder.")
    return path


def _foldered(folder: Path) -> Iterator[SourceImage]:
    """One sub-folder per class. PNG masks that lie beside a picture of the same name are not images of parts."""
    for sub in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(path for path in sub.rglob("*") if path.suffix.lower() in _SUFFIXES)
        pictures = {path.with_suffix("") for path in files if path.suffix.lower() in (".jpg", ".jpeg")}
        defect = sub.name.lower() not in GOOD_FOLDERS
        for path in files:
            if path.suffix.lower() == ".png" and path.with_suffix("") in pictures:
                continue
            yield SourceImage(
                path=path,
                classes=(sub.name,) if defect else (),
                is_defect=defect,
                defect_probability=float(defect),
                product=folder.name,
                variant=folder.name,
                station_hint="",
                group="",
            )
