"""How plots look in pages for people: colours, style, and a figure as SVG text that takes the page's fonts.

Leans on matplotlib, which nothing else here does: who draws depends on it.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import Any

import matplotlib as mpl

mpl.use("svg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

GOOD, BAD, DOUBT, INK, FAINT, BLUE = "#0f9d76", "#d64545", "#d9912b", "#1f2937", "#9aa5b5", "#2f6fdb"

STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "andonloop",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#c6cfdb",
    "axes.labelcolor": "#4b5768",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "xtick.color": "#6b7787",
    "ytick.color": "#6b7787",
    "axes.grid": True,
    "grid.color": "#e8edf3",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
"""For `plt.rc_context`, around all that draws."""


def svg_of(figure: Figure) -> str:
    """The figure as an `<svg>` element, as wide as it was drawn and narrower where the page is; closes the figure."""
    figure.tight_layout()
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", bbox_inches="tight", pad_inches=0.05, metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Ids must differ between the plots of one page.
    mark = "p" + hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'id="([^"]+)"', rf'id="{mark}\1"', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{mark}", text)
    size = r'<svg ([^>]*?)width="([^"]+)" height="[^"]+"'
    return re.sub(size, r'<svg \1style="width: 100%; max-width: \2"', text, count=1)
