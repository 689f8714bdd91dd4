"""The readiness package as a PDF: what it says, its links and structure, in any script, and always the same bytes."""

from __future__ import annotations

import re
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from dataset_registry.api import readiness_fonts
from dataset_registry.api.readiness_pdf import pdf
from dataset_registry.api.readiness_shapes import Readiness

from .conftest import Registry
from .dataset_room import cut, label

BASE = "http://registry:8010/"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
TEXT = re.compile(rb"\(((?:[^()\\]|\\.)*)\) Tj", re.DOTALL)


def streams(document: bytes) -> list[bytes]:
    """What is drawn, page by page, and whatever else is compressed."""
    found = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", document, re.DOTALL)
    return [zlib.decompress(one) for one in found if one[:1] == b"\x78"]


def words(document: bytes) -> str:
    """All text that is written in the built-in font, in its order."""
    said = b" ".join(piece for stream in streams(document) for piece in TEXT.findall(stream))
    return re.sub(r"\\([()\\])", r"\1", said.decode("latin-1"))


def figure(name: str, value: float | None, **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": "share", "low": None, "high": None, "of": None} | more


def package(classes: str = "crack", figures: int = 3) -> Readiness:
    """One that has something of everything."""
    link = {"title": "Stations", "href": "/v1/stations"}
    lack = {"code": "no-standard", "what": "line-a/cell-1 has none.", "advice": "Publish one.", "shown": True}
    measured = [
        figure("alpha", 0.44, unit="alpha", low=-0.1, high=0.92, of=60),
        figure("deviating", 0.031, low=0.01, high=0.08, of=231),
        figure("undefined here", None),
        *(figure(f"of class {classes} {number}", 12, unit="groups") for number in range(figures)),
    ]
    answer = {"key": "k", "verdict": "not-ready", "figures": measured, "evidence": [link], "missing": [lack]}
    ready = answer | {"verdict": "ready", "missing": [], "question": "Are splits protected?"}
    asked = [answer | {"question": "Are image conditions repeatable?"}, ready]
    return Readiness.model_validate(
        {
            "dataset": "c0ffee" * 10 + "abcd",
            "purpose": "Magnetic tiles",
            "images": 1344,
            "newest_record": datetime(2026, 3, 1, 12, tzinfo=UTC),
            "verdict": "not-ready",
            "answers": asked,
        }
    )


@pytest.fixture
def built_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where no package of fonts is installed."""
    monkeypatch.setattr(readiness_fonts, "installed", lambda font: None)


@pytest.fixture
def dejavu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A font with many letters, but without Chinese ones."""
    files = FONTS / "DejaVuSans.ttf", FONTS / "DejaVuSans-Bold.ttf"
    monkeypatch.setattr(
        readiness_fonts, "installed", lambda font: files if font is readiness_fonts.TEXT else None
    )


@pytest.mark.usefixtures("built_in")
class TestDocument:
    def test_it_says_what_the_page_says(self) -> None:
        said = words(pdf(package(), BASE))
        for text in (
            "1. Are image conditions repeatable?",
            "Not ready",
            "line-a/cell-1 has none.",
            "Publish one.",
            "3.1% of 231",
            "1.0% to 8.0%",
            "-0.100 to 0.920",
            "undefined",
            "Nothing is missing.",
            "Magnetic tiles",
            "c0ffee" * 10,
            "2026-03-01 12:00:00 UTC",
        ):
            assert text in said, text

    def test_evidence_is_linked_to_where_it_lies(self) -> None:
        assert pdf(package(), BASE).count(b"/URI (http://registry:8010/v1/stations)") == 2

    def test_readers_are_told_its_title_language_and_chapters(self) -> None:
        made = pdf(package(), BASE)
        assert b"/Lang (en)" in made
        assert b"/Title (Readiness of dataset c0ffeec0ffee)" in made
        chapters = re.findall(rb"/Title \(([^)]*)\)", made)
        assert b"2. Are splits protected?" in chapters

    def test_a_long_table_goes_on_with_its_heads_and_every_page_has_its_number(self) -> None:
        made = pdf(package(figures=60), BASE)
        pages = made.count(b"/Type /Page\n")
        said = " ".join(words(made).split())
        assert pages > 3
        assert said.count("95 % interval") > 2
        assert all(f"Page {number} of {pages}" in said for number in range(1, pages + 1))

    def test_letters_that_cannot_be_drawn_are_named(self) -> None:
        said = words(pdf(package("裂纹 graffiò Ölfleck – \u202eabc"), BASE))
        assert "[U+88C2][U+7EB9] graffiò" in said
        assert "Ölfleck - [U+202E]abc" in said

    def test_what_a_name_holds_cannot_break_out_of_the_text(self) -> None:
        said = words(pdf(package("a) Tj (b\\ \x00\r\n endstream"), BASE))
        assert "a) Tj (b\\ " in said

    def test_the_same_records_give_the_same_bytes(self) -> None:
        assert pdf(package(), BASE) == pdf(package(), BASE)


@pytest.mark.usefixtures("dejavu")
class TestOtherScripts:
    def test_letters_of_an_installed_font_are_embedded(self) -> None:
        made = pdf(package("Łuszczenie трещина ρωγμή 裂"), BASE)
        assert made.count(b"/ToUnicode") == 2
        assert made == pdf(package("Łuszczenie трещина ρωγμή 裂"), BASE)
        # Who copies or hears the text gets letters, not numbers of glyphs.
        mapped = b"".join(streams(made)) + made
        assert all(f"<{ord(letter):04X}>".encode() in mapped for letter in "Łтρ")


def test_whoever_asks_for_a_pdf_gets_one(registry: Registry) -> None:
    registry.publish_taxonomy()
    label(registry, 0, 8)
    at = f"/v1/datasets/{cut(registry, shapes=True)['hash']}/readiness"
    accepted = registry.http.get(at, headers={"Accept": "application/pdf"})
    assert accepted.headers["content-type"] == "application/pdf"
    assert accepted.headers["content-disposition"].startswith('inline; filename="readiness-')
    registry.clock.advance(86_400)
    assert registry.http.get(at, params={"as": "pdf"}).content == accepted.content
    newest = registry.get(at)["newest_record"]
    registry.publish_taxonomy("t2")
    assert registry.get(at)["newest_record"] > newest
    assert registry.http.get(at, params={"as": "pdf"}).content != accepted.content
