"""The figure of `step`: a bar for every method and workload, as long as its ratio to Muon."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.figures import check_suffix, write_figure
from benchmarks.numbers import significant
from benchmarks.workloads import GPT2
from modular_manifolds.experiments.plots import PLAIN_NUMBERS
from modular_manifolds.experiments.svg import INK, STYLE

_COLUMNS = 2
_COLORS = {"this library": "#3b82f6", "others": "#7c8594", "its precision's promise broken": "#e11d6f"}

Report = Mapping[str, Any]
Row = Mapping[str, Any]


def write_plot(report: Report, out: Path) -> None:
    """The figure of a result of `step`, as SVG or PNG by the suffix of `out`.

    Raises:
        ValueError: the suffix is another one.
    """
    check_suffix(out)
    description = "Time of one optimizer step over torch.optim.Muon's, by method, a panel for every shape."
    write_figure(_draw(report), description, out)


def _draw(report: Report) -> Figure:
    reference = report["reference"]
    rows = [row for row in report["rows"] if row["method"] != reference]
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = ceil(len(workloads) / _COLUMNS)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, lines * (0.5 + 0.155 * len(methods)) + 0.5), layout="constrained")
        panels = list(figure.subplots(lines, _COLUMNS, sharex=True, sharey=True, squeeze=False).flat)
        for workload, axes in zip(workloads, panels, strict=False):
            _panel(axes, [row for row in rows if row["workload"] == workload], methods)
            axes.set_title(_title(workload))
            axes.tick_params(labelbottom=True)
        for axes in panels[len(workloads) :]:
            axes.set_visible(False)
        _scale(panels[0], rows)
        figure.supxlabel("seconds of a step over those of torch.optim.Muon", fontsize=9)
        meanings = {_meaning(row) for row in rows}
        handles = [Patch(color=color, label=what) for what, color in _COLORS.items() if what in meanings]
        figure.legend(handles=handles, loc="outside upper right", ncols=len(handles))
        return figure


def _title(workload: str) -> str:
    if workload == GPT2.name:
        return "GPT-2 124M, all hidden matrices"
    *batch, m, n = workload.split("x")
    return f"{' × '.join(batch)} of {m} × {n}" if batch else f"{m} × {n}"


def _panel(axes: Axes, rows: Sequence[Row], methods: Sequence[str]) -> None:
    """Bars that begin at 1, the first method on top; what was left out stays empty."""
    by_method = {row["method"]: row for row in rows}
    for place, method in enumerate(methods):
        if method not in by_method:
            _write(axes, "not run", place)
            continue
        ratio = by_method[method]["ratio"]["median"]
        axes.barh(place, ratio - 1, left=1, height=0.72, color=_COLORS[_meaning(by_method[method])])
        _write(axes, significant(ratio, 2), place, ratio)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def _write(axes: Axes, text: str, place: int, ratio: float = 1) -> None:
    """At the end of a bar."""
    side, offset = ("left", 3) if ratio >= 1 else ("right", -3)
    axes.annotate(text, (ratio, place), (offset, 0), textcoords="offset points", va="center", ha=side, fontsize=7.5)


def _meaning(row: Row) -> str:
    if row["promise_kept"] is False:
        return "its precision's promise broken"
    return "this library" if row["method"].startswith(("manifold-muon", "stiefel")) else "others"


def _scale(axes: Axes, rows: Sequence[Row]) -> None:
    """Logarithmic, with room for the numbers at both ends."""
    medians = [row["ratio"]["median"] for row in rows]
    axes.set_xscale("log")
    axes.set_xlim(min([*medians, 0.5]) / 6, max([*medians, 2]) * 4)
    axes.xaxis.set_major_locator(LogLocator(numticks=9))
    axes.xaxis.set_major_formatter(PLAIN_NUMBERS)
    axes.xaxis.set_minor_formatter(NullFormatter())
