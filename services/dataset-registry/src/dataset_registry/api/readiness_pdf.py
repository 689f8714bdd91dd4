"""The readiness package as a PDF: for a file, a mail, a wall. The same package gives the same bytes."""

from __future__ import annotations

from datetime import UTC
from typing import Final

from fpdf import FPDF
from fpdf.enums import XPos, YPos

from dataset_registry.api.readiness_fonts import Letters
from dataset_registry.api.readiness_shapes import Readiness, ReadinessAnswer, ReadinessFigure
from dataset_registry.api.readiness_words import VERDICTS, interval, newest, value

_MARGIN, _LINE = 18.0, 5.0
_WIDTHS: Final = (76.0, 38.0, 32.0, 28.0)
"""Of the columns name, value, interval and bar, in mm; together the width between the margins."""
_INK, _FAINT, _RULE = (23, 32, 28), (86, 99, 93), (200, 208, 203)
_LINK, _INTERVAL = (14, 74, 160), (150, 188, 232)
_COLOURS: Final = {"ready": (20, 101, 47), "not-ready": (163, 21, 31), "not-proven": (122, 77, 0)}


def pdf(package: Readiness, base: str) -> bytes:
    """The document.

    Args:
        base: Where the API is reached; evidence links to it.
    """
    return bytes(_Pages(package, base.rstrip("/")).output())


class _Pages(FPDF):
    """A4, one question after the other."""

    def __init__(self, package: Readiness, base: str) -> None:
        super().__init__(format="A4")
        self._package, self._base = package, base
        self._letters = Letters(self, package.model_dump_json())
        self.set_margin(_MARGIN)
        self.c_margin = 0.0
        self.set_auto_page_break(True, _MARGIN + 6)
        self.set_creation_date(package.newest_record.astimezone(UTC))
        self.set_title(f"Readiness of dataset {package.dataset[:12]}")
        self.set_subject("Five questions, each with figures, evidence, a verdict, and what is missing")
        self.set_lang("en")
        self.set_display_mode("real")
        self.add_page()
        self._front()
        for number, answer in enumerate(package.answers, 1):
            self._answer(number, answer)

    def footer(self) -> None:
        """What the page is of, so that a single sheet is not lost."""
        self.set_y(-_MARGIN)
        self._font(8, colour=_FAINT)
        said = f"Dataset {self._package.dataset[:12]}, newest record {newest(self._package)}"
        self.cell(self.epw - 30, 5, said)
        self.cell(30, 5, f"Page {self.page_no()} of {{nb}}", align="R")

    def _front(self) -> None:
        package = self._package
        self._font(20, bold=True)
        self.start_section("Dataset readiness")
        self._headed("Dataset readiness", package.verdict, 20)
        self.ln(2)
        for name, said in (
            ("Version", package.dataset),
            ("For", package.purpose),
            ("Images", f"{package.images}"),
            ("Newest record", newest(package)),
        ):
            self._font(10, colour=_FAINT)
            self.cell(32, _LINE, name)
            self._font(10)
            self._text(said, self.epw - 32)
        self.ln(2)
        self._font(10)
        self._text(
            "The whole is as ready as the worst of its five answers. Figures are computed from what is on record;"
            " nobody types one in. An interval holds with 95 %."
        )
        self.ln(2)
        for number, answer in enumerate(package.answers, 1):
            self._font(10)
            self.cell(self.epw - 30, _LINE + 1, f"{number}. {answer.question}")
            self._font(10, bold=True, colour=_COLOURS[answer.verdict])
            self.cell(30, _LINE + 1, VERDICTS[answer.verdict], align="R")
            self.ln(_LINE + 1)

    def _answer(self, number: int, answer: ReadinessAnswer) -> None:
        title = f"{number}. {answer.question}"
        self._keep(40)
        self.ln(4)
        self.start_section(title, level=1)
        self._headed(title, answer.verdict, 14)
        self.ln(1)
        if answer.missing:
            self._font(10, bold=True)
            self._text("Missing, and what to do")
            for lack in answer.missing:
                self._keep(3 * _LINE)
                self._font(10)
                self.cell(4, _LINE, "-")
                self._text(lack.what, self.epw - 4)
                self.set_x(_MARGIN + 4)
                self._font(10, bold=True)
                self._text(lack.advice, self.epw - 4)
                self.ln(1)
        else:
            self._font(10)
            self._text("Nothing is missing.")
        self.ln(1)
        self._heads()
        for figure in answer.figures:
            self._row(figure)
        self.ln(2)
        self._keep((len(answer.evidence) + 1) * _LINE)
        self._font(10, bold=True)
        self._text("Evidence")
        for link in answer.evidence:
            self._font(10, colour=_LINK)
            self._text(f"{link.title} ({link.href})", link=self._base + link.href)

    def _headed(self, title: str, verdict: str, size: float) -> None:
        """A heading with its verdict in a box, which says it in words and not by colour alone."""
        said, high = VERDICTS[verdict], 6.4
        self._font(10, bold=True)
        wide = self.get_string_width(said) + 6
        self._font(size, bold=True)
        top = self.get_y()
        self._text(title, self.epw - wide - 4, high=size * 0.45)
        bottom = self.get_y()
        self._font(10, bold=True, colour=_COLOURS[verdict])
        self.set_draw_color(*_COLOURS[verdict])
        self.set_line_width(0.5)
        left = _MARGIN + self.epw - wide
        self.rect(left, top, wide, high, round_corners=True, corner_radius=1.2)
        self.set_xy(left, top)
        self.cell(wide, high, said, align="C")
        self.set_xy(_MARGIN, max(bottom, top + high))

    def _heads(self) -> None:
        self._font(8, colour=_FAINT)
        for name, wide in zip(("Figure", "Value", "95 % interval", ""), _WIDTHS, strict=True):
            self.cell(wide, _LINE, name)
        self.ln(_LINE)

    def _row(self, figure: ReadinessFigure) -> None:
        name, said, between, _ = _WIDTHS
        self._font(9.5)
        texts = ((figure.name, name), (value(figure), said), (interval(figure), between))
        held = [(self._letters.held(text), wide - 2) for text, wide in texts]
        high = max(self._high(text, wide) for text, wide in held)
        if self.will_page_break(high + 1.5):
            self.add_page()
            self._heads()
            self._font(9.5)
        top, left = self.get_y() + 0.7, _MARGIN
        self.set_draw_color(*_RULE)
        self.set_line_width(0.15)
        self.line(_MARGIN, self.get_y(), _MARGIN + self.epw, self.get_y())
        for (text, inner), (_, wide) in zip(held, texts, strict=True):
            self.set_xy(left, top)
            self.multi_cell(inner, _LINE, text, align="L")
            left += wide
        self._bar(figure, left, top + _LINE / 2)
        self.set_xy(_MARGIN, top + high + 0.8)

    def _high(self, text: str, wide: float) -> float:
        found = self.multi_cell(wide, _LINE, text, dry_run=True, output="HEIGHT", align="L")
        return found if isinstance(found, float) else _LINE

    def _bar(self, figure: ReadinessFigure, left: float, middle: float) -> None:
        """The figure as a point and its interval as a bar, on a scale that ends at 1."""
        if figure.value is None or figure.unit not in {"share", "alpha", "kappa", "IoU"}:
            return
        least = -1.0 if min(figure.value, figure.low or 0.0) < 0 else 0.0
        wide = _WIDTHS[3]

        def at(place: float) -> float:
            return left + wide * (min(1.0, max(least, place)) - least) / (1.0 - least)

        self.set_fill_color(*_RULE)
        self.rect(left, middle - 0.2, wide, 0.4, style="F")
        if least < 0:
            self.rect(at(0.0) - 0.1, middle - 1.6, 0.2, 3.2, style="F")
        if figure.low is not None and figure.high is not None:
            self.set_fill_color(*_INTERVAL)
            self.rect(
                at(figure.low), middle - 1.0, max(0.3, at(figure.high) - at(figure.low)), 2.0, style="F"
            )
        self.set_fill_color(*_INK)
        self.circle(at(figure.value), middle, 0.9, style="F")

    def _font(self, size: float, *, bold: bool = False, colour: tuple[int, int, int] = _INK) -> None:
        self._letters.use(size, bold=bold)
        self.set_text_color(*colour)

    def _text(self, said: str, wide: float = 0.0, high: float = _LINE, link: str = "") -> None:
        text = self._letters.held(said)
        self.multi_cell(wide, high, text, align="L", link=link, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _keep(self, high: float) -> None:
        """Begin a page when so much does not fit on this one any more."""
        if self.will_page_break(high):
            self.add_page()
