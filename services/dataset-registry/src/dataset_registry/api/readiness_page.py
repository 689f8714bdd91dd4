"""The readiness package as one self-contained page, without scripts and readable on paper."""

from __future__ import annotations

from html import escape

from dataset_registry.api.readiness_shapes import Readiness, ReadinessAnswer
from dataset_registry.api.readiness_words import VERDICTS, interval, newest, value

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
code { overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8888; vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.verdict { border: 2px solid; border-radius: .3rem; padding: .1rem .5rem; font-size: .95rem; white-space: nowrap; }
.ready { color: light-dark(#14652f, #7ee29b); }
.not-ready { color: light-dark(#a3151f, #ff9a9a); }
.not-proven { color: light-dark(#7a4d00, #ffcf70); }
@media print { body { margin: 0; max-width: none; font-size: 10.5pt; } section { break-inside: avoid-page; } }
"""


def page(package: Readiness, base: str) -> str:
    """The page as HTML text; the same package gives the same text.

    Args:
        base: Where the API is reached; evidence links to it, also from a page that was saved.
    """
    at = base.rstrip("/")
    parts = "".join(_answer(number, answer, at) for number, answer in enumerate(package.answers, 1))
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Readiness of {package.dataset[:12]}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        f"<h1>Dataset readiness {_badge(package.verdict)}</h1>\n"
        f"<p>Version <code>{escape(package.dataset)}</code>, {package.images} images, for"
        f" {escape(package.purpose)}. The whole is as ready as the worst of its five answers. Figures are computed from"
        f" what is on record, of which the newest is of {newest(package)}; an interval holds with 95 %.</p>\n"
        f"{parts}</main></body>\n</html>\n"
    )


def _answer(number: int, answer: ReadinessAnswer, at: str) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(figure.name)}</th><td class="number">{escape(value(figure))}</td>'
        f'<td class="number">{interval(figure)}</td></tr>\n'
        for figure in answer.figures
    )
    lacks = "".join(
        f"<li>{escape(lack.what)} <strong>{escape(lack.advice)}</strong></li>\n" for lack in answer.missing
    )
    links = ", ".join(
        f'<a href="{escape(at + link.href)}">{escape(link.title)}</a>' for link in answer.evidence
    )
    return (
        f"<section><h2>{number}. {escape(answer.question)} {_badge(answer.verdict)}</h2>\n"
        + (
            f"<p>Missing, and what to do:</p>\n<ul>\n{lacks}</ul>\n"
            if lacks
            else "<p>Nothing is missing.</p>\n"
        )
        + '<table><thead><tr><th scope="col">Figure</th><th scope="col">Value</th><th scope="col">95 % interval</th>'
        f"</tr></thead><tbody>\n{rows}</tbody></table>\n<p>Evidence: {links}</p></section>\n"
    )


def _badge(verdict: str) -> str:
    return f'<span class="verdict {verdict}">{VERDICTS[verdict]}</span>'
