"""Letters for the PDF. What a plant calls its classes may be in any script; what no font here can draw is named."""

from __future__ import annotations

import unicodedata
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

from fpdf import FPDF
from fpdf.fonts import TTFFont


class Font(NamedTuple):
    """Files of a font in a package of fonts.

    Attributes:
        bold: The same as `regular` where the package has no bold one.
    """

    package: str
    regular: str
    bold: str


TEXT: Final = Font("font_source_sans_pro", "files/SourceSansPro-Regular.ttf", "files/SourceSansPro-Bold.ttf")
"""Latin, Greek and Cyrillic."""
FURTHER: Final = Font("pylopdf_fonts_zh_cn", "NotoSansSC-Regular.otf", "NotoSansSC-Regular.otf")
"""Chinese and kana; large, so it is read only when something needs it."""
_BUILT_IN: Final = "helvetica"
"""In every reader, for Western European languages; taken where the others are not installed."""
_WESTERN: Final = frozenset(chr(code) for code in (*range(0x20, 0x7F), *range(0xA0, 0x100)))
_PLAIN: Final = str.maketrans(
    {"–": "-", "—": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "„": '"', "…": "..."}
)
"""Signs that the built-in font lacks, and what a typewriter writes for them."""


class Letters:
    """The fonts of one document.

    Args:
        text: All that will be written in it, or more.
    """

    def __init__(self, document: FPDF, text: str) -> None:
        self._document = document
        self._family, self._known = _BUILT_IN, _WESTERN
        if files := installed(TEXT):
            self._family, self._known = "text", _added(document, "text", *files)
            if not self._known.issuperset(_clean(text)) and (files := installed(FURTHER)):
                self._known |= _added(document, "further", *files)
                document.set_fallback_fonts(["further"])

    def use(self, size: float, *, bold: bool) -> None:
        """Write with it from now on."""
        self._document.set_font(self._family, "B" if bold else "", size)

    def held(self, text: str) -> str:
        """The text as it can be drawn: a letter that no font has becomes its number, as [U+88C2]."""
        clean = _clean(text) if self._family != _BUILT_IN else _clean(text).translate(_PLAIN)
        return "".join(letter if self._shows(letter) else f"[U+{ord(letter):04X}]" for letter in clean)

    def _shows(self, letter: str) -> bool:
        """A sign that only moves others about, as one that turns the direction, is none."""
        return letter in self._known and unicodedata.category(letter) != "Cf"


def installed(font: Font) -> tuple[Path, Path] | None:
    """Its regular and bold file; None where its package is not installed."""
    spec = find_spec(font.package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / font.regular, Path(spec.origin).parent / font.bold


def _added(document: FPDF, family: str, regular: Path, bold: Path) -> frozenset[str]:
    document.add_font(family, "", regular)
    document.add_font(family, "B", bold)
    font = document.fonts[family]
    return frozenset(map(chr, font.cmap)) if isinstance(font, TTFFont) else frozenset()


def _clean(text: str) -> str:
    """In composed form, and with blanks for what moves a typewriter's carriage."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in composed)
