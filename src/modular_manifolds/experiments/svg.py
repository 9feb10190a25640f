"""Matplotlib figures as SVG that follows its page: the width, the font, light or dark colours."""

import io
import re
from typing import Any
from xml.sax.saxutils import quoteattr

from matplotlib import rc_context
from matplotlib.figure import Figure

INK = "#0b0c0d"
"""Text and axes; becomes the CSS variable --ink."""
FAINT = "#cfd0d1"
"""Grid lines; becomes the CSS variable --faint."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
}
"""Settings under which a figure for `to_svg` is drawn (`matplotlib.rc_context`)."""

_THEME = (
    "<style>:root{--ink:#1c2128;--faint:#d5dae1;background:#fff}"
    "@media(prefers-color-scheme:dark){:root{--ink:#dde3ea;--faint:#39424d;background:#181c22}}</style>"
)


def to_svg(figure: Figure, name: str, description: str) -> str:
    """The figure as one <svg> element to put into a page; `name` keeps its ids apart from other figures'."""
    buffer = io.StringIO()
    with rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.DOTALL)
    drawing = drawing.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    label = f'role="img" aria-label={quoteattr(description)}'
    return re.sub(r'^<svg ([^>]*?)width="[^"]*" height="[^"]*"|^<svg ', rf"<svg {label} \1", drawing, count=1)


def standalone(drawing: str) -> str:
    """A drawing of `to_svg` as a file of its own, with colours for light and dark."""
    return drawing.replace(">", f">{_THEME}", 1)
