"""The figure of a transfer study: loss against learning rate, a panel for every method, a line for every network."""

from math import isfinite, log2

from matplotlib import colormaps, rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator, NullFormatter

from modular_manifolds.experiments.plots import PLAIN_NUMBERS
from modular_manifolds.experiments.svg import INK, STYLE
from modular_manifolds.experiments.transfer_findings import Family, Findings

_COLORS = colormaps["plasma"]
_DARKEST, _LIGHTEST = 0.2, 0.8
"""Of the colours, those that stand out against a white and a near-black page alike."""


def draw(findings: Findings) -> Figure:
    """A row of panels for every sweep."""
    sweeps, methods = findings.sweeps, findings.methods
    with rc_context(STYLE):
        figure = Figure(figsize=(0.7 + 2.7 * len(methods), 0.4 + 2.6 * len(sweeps)), layout="constrained")
        rows = figure.subplots(len(sweeps), len(methods), sharex="col", sharey="row", squeeze=False)
        for sweep, row in zip(sweeps, rows, strict=True):
            for method, axes in zip(methods, row, strict=True):
                _panel(axes, findings.families[sweep, method], f"{method} by {sweep}")
            _scale(row[0], [findings.families[sweep, method] for method in methods], findings.chance)
            row[0].set_ylabel("training loss")
            row[-1].legend(title=str(sweep), loc="center left", bbox_to_anchor=(1, 0.5))
        for axes in rows[-1]:
            axes.set_xlabel("learning rate, power of 2")
        return figure


def _panel(axes: Axes, family: Family, title: str) -> None:
    """A line a network, its best learning rate marked."""
    last = max(len(family.curves) - 1, 1)
    for i, (size, curve) in enumerate(family.curves.items()):
        color = _COLORS(_DARKEST + (_LIGHTEST - _DARKEST) * i / last)
        losses = {log2(lr): curve.train_loss(lr) for lr in curve.outcomes}
        finite = {x: loss for x, loss in losses.items() if isfinite(loss)}
        axes.plot(list(finite), list(finite.values()), color=color, marker=".", markersize=4, label=str(size))
        best = log2(curve.best)
        axes.plot(best, losses[best], "o", color=color, markersize=7, markeredgecolor=INK, markeredgewidth=0.8)
    axes.set_title(f"{title}: moves {2**family.shift}×" if family.shift else f"{title}: stays")
    axes.xaxis.set_major_locator(MultipleLocator(2))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))


def _scale(axes: Axes, families: list[Family], chance: float) -> None:
    """From the lowest loss of a row to that of a guess, on a logarithmic axis where that is far."""
    curves = [curve for family in families for curve in family.curves.values()]
    losses = [loss for curve in curves for lr in curve.outcomes if isfinite(loss := curve.train_loss(lr))]
    low, high = min(losses, default=chance), min(max(losses, default=chance), chance)
    if high > 10 * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(low / 1.3, high)
    else:
        axes.set_ylim(low - 0.06 * (high - low), high)
