"""The figure of `distributed`: seconds of a step against ranks, a panel for every model and sharding."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from benchmarks.figures import check_suffix, write_figure
from modular_manifolds.experiments.plots import PLAIN_NUMBERS
from modular_manifolds.experiments.svg import STYLE

_LINES = {
    "rows": ("sums over rows", "#e11d6f", "s", "-"),
    "owners": ("owners", "#3b82f6", "o", "-"),
    "chosen": ("the optimizer's choice", "#16a34a", "x", ":"),
    "muon": ("Muon at owners", "#7c8594", "^", "-"),
}
"""Label, colour, mark and line of each method."""

_TITLES = {"rows": "sharded over all ranks", "hybrid": "hybrid, copies of {shard} ranks"}


def write_plot(report: Mapping[str, Any], out: Path) -> None:
    """The figure of a simulation, as SVG or PNG by the suffix of `out`.

    Raises:
        ValueError: the suffix is another one.
    """
    check_suffix(out)
    description = "Simulated seconds of an optimizer step against the number of ranks, a panel for every model."
    write_figure(_draw(report), description, out)


def _draw(report: Mapping[str, Any]) -> Figure:
    models, rows = report["models"], report["rows"]
    shardings = list(dict.fromkeys(row["sharding"] for row in rows))
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 2.5 * len(shardings) + 0.5), layout="constrained")
        panels = figure.subplots(len(shardings), len(models), sharex=True, sharey=True, squeeze=False)
        for sharding, line in zip(shardings, panels, strict=True):
            for (name, model), axes in zip(models.items(), line, strict=True):
                own = [row for row in rows if (row["model"], row["sharding"]) == (name, sharding)]
                _panel(axes, own)
                axes.set_title(f"{model['name']}\n{_TITLES[sharding].format(**model)}", fontsize=8.5)
        figure.supxlabel("ranks", fontsize=9)
        figure.supylabel("seconds of a step, simulated", fontsize=9)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
        return figure


def _panel(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for route, (label, color, mark, line) in _LINES.items():
        own = [row for row in rows if row["route"] == route]
        ranks, seconds = [row["ranks"] for row in own], [row["seconds"] for row in own]
        axes.plot(ranks, seconds, line, color=color, marker=mark, label=label, markersize=3.5)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator([8, 64, 512, 4096]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
    axes.yaxis.set_minor_formatter(NullFormatter())
