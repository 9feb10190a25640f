"""Figures as files."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.svg import standalone, to_svg

_PIXELS_PER_INCH = 150


def check_suffix(out: Path) -> None:
    """Raise ValueError for a file that is neither SVG nor PNG."""
    if out.suffix not in (".svg", ".png"):
        raise ValueError(f"{out} is to be .svg or .png")


def write_figure(figure: Figure, description: str, out: Path) -> None:
    """Write a figure as SVG, which says what it shows, or as PNG, by the suffix of `out`.

    Raises:
        ValueError: the suffix is another one.
    """
    check_suffix(out)
    if out.suffix == ".svg":
        write_atomically(out, standalone(to_svg(figure, out.stem, description)).encode())
        return
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_PIXELS_PER_INCH, facecolor="white")
    write_atomically(out, buffer.getvalue())
