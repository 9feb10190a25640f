"""The figure of a study of tightness: bound over largest stretch against depth, and accuracy beside it."""

from math import isfinite
from statistics import fmean, median
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from modular_manifolds.experiments.svg import INK, STYLE
from modular_manifolds.experiments.tightness import Findings, Measured
from modular_manifolds.experiments.tightness_networks import MODULAR_MLP, TOWER, TRAINED
from modular_manifolds.experiments.tightness_table import by_family

# Colours stand out against a white and a near-black page alike.
_COLORS = ("#3b82f6", "#e07a1f", "#0d9488", "#e11d6f")
_OTHERS = {MODULAR_MLP: ("#7c8594", "D"), TOWER: ("#a855f7", "^")}


def draw(findings: Findings) -> Figure:
    """Ratios on the left, what the trained networks can do on the right."""
    groups = by_family(findings)
    depths = sorted({specimen.depth for specimen in findings})
    looks = _looks(list(groups))
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.0), layout="constrained")
        ratios, accuracies = figure.subplots(1, 2, width_ratios=(3, 2))
        ratios.axhline(1, color=INK, linewidth=0.8)
        for family, by_depth in groups.items():
            _line(ratios, {depth: [m.ratio for m in by_depth[depth]] for depth in by_depth}, family, looks[family])
            if family.endswith(TRAINED):
                _accuracy(accuracies, by_depth, looks[family])
        ratios.set_yscale("log")
        ratios.yaxis.set_major_locator(LogLocator(base=10, numticks=12))
        ratios.yaxis.set_minor_locator(NullLocator())
        ratios.set_title("proved bound / largest stretch found")
        accuracies.set_title("test accuracy, trained (%)")
        accuracies.set_ylim(0, 102)
        for axes in (ratios, accuracies):
            axes.set_xscale("log")
            axes.set_xticks(depths, list(map(str, depths)))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xlabel("depth (weight matrices)")
        handles, labels = ratios.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return figure


def _looks(names: list[str]) -> dict[str, dict[str, Any]]:
    """A colour a method: full lines for what it trained, dashed ones for where it started."""
    methods = list(dict.fromkeys(name.rpartition(",")[0] for name in names if name not in _OTHERS))
    looks: dict[str, dict[str, Any]] = {}
    for name in names:
        if name in _OTHERS:
            color, marker = _OTHERS[name]
            looks[name] = {"color": color, "marker": marker, "linestyle": ":", "linewidth": 1.2, "markersize": 3.5}
        else:
            color = _COLORS[methods.index(name.rpartition(",")[0]) % len(_COLORS)]
            looks[name] = {"color": color, "marker": "o", "linestyle": "-" if name.endswith(TRAINED) else "--"}
    return looks


def _line(axes: Axes, by_depth: dict[int, list[float]], name: str, look: dict[str, Any]) -> None:
    """Through the medians, a small dot a seed; where nothing was found there is nothing to draw."""
    middles = {depth: median(values) for depth, values in by_depth.items()}
    shown = {depth: middle for depth, middle in sorted(middles.items()) if isfinite(middle)}
    axes.plot(list(shown), list(shown.values()), label=name, **look)
    dots = [(depth, value) for depth, values in by_depth.items() for value in values if isfinite(value)]
    axes.plot([x for x, _ in dots], [y for _, y in dots], "o", color=look["color"], markersize=2.5, alpha=0.55)


def _accuracy(axes: Axes, by_depth: dict[int, list[Measured]], look: dict[str, Any]) -> None:
    accuracy = {depth: [m.test_accuracy for m in measured] for depth, measured in sorted(by_depth.items())}
    axes.plot(list(accuracy), [fmean(values) for values in accuracy.values()], **look)
    for depth, values in accuracy.items():
        axes.plot([depth] * len(values), values, "o", color=look["color"], markersize=2.5, alpha=0.55)
