"""The evaluation report: one self-contained HTML page of sections with tables, plots and example images."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

THUMBNAIL = 132


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the first row is the head."""

    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Picture:
    """An image as a data address, with what is to be said of it."""

    source: str
    caption: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with whatever it holds; `charts` are SVG text made by `evaluation_charts`."""

    title: str
    note: str = ""
    charts: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """All sections of one method or release."""

    name: str
    title: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]


def thumbnail(pixels: npt.NDArray[np.uint8], caption: str) -> Picture:
    """A small picture (height x width x 3, RGB) as JPEG inside the page."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    if not done:
        raise ValueError("the picture could not be written as JPEG")
    return Picture("data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode(), caption)


def render(
    title: str, note: str, summary: Table, chapters: Sequence[Chapter], made: Mapping[str, Any]
) -> str:
    """The page as HTML text without any address outside itself; `made` says by what it was made."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(default=True)
    )
    template = environment.get_template("evaluation_page.html.j2")
    return template.render(title=title, note=note, summary=summary, chapters=chapters, made=made, svg=Markup)
