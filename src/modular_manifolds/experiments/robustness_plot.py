"""The figures of robustness: what is certified and what is left under attack, against radius and clean accuracy."""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modular_manifolds.experiments.methods import SCALED
from modular_manifolds.experiments.plots import open_axes
from modular_manifolds.experiments.robustness import Measured, fraction
from modular_manifolds.experiments.robustness_table import by_method
from modular_manifolds.experiments.svg import INK

# Colours stand out against a white and a near-black page alike.
_COLORS = ("#3b82f6", "#e07a1f", "#0d9488", "#a855f7", "#e11d6f", "#7c8594", "#84a016", "#b45309")
_SIZE = (5.4, 3.8)
_OPEN: dict[str, Any] = {"linestyle": "--", "linewidth": 1.2, "markerfacecolor": "none"}


def draw(measured: Sequence[Measured]) -> Figure:
    """A line for what is certified of a method, and one for what is left under attack."""
    with open_axes(_SIZE) as (figure, axes):
        for i, (method, runs) in enumerate(by_method(measured).items()):
            _attacked(axes, method, runs, _COLORS[i % len(_COLORS)])
            _certified(axes, method, runs, _COLORS[i % len(_COLORS)])
        axes.set_xlim(0, 255 * measured[0].curve_step * (len(measured[0].curve) - 1))
        axes.set_ylim(bottom=0)
        axes.set_xlabel("Euclidean radius, in 255ths of a pixel's range")
        axes.set_ylabel("test accuracy (%)")
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def draw_trade_off(measured: Sequence[Measured]) -> Figure:
    """Over the clean accuracy, at the smallest radius; methods that differ in their manifold's radius are joined."""
    families: dict[str, list[Sequence[Measured]]] = {}
    for method, runs in by_method(measured).items():
        families.setdefault(method.partition(SCALED)[0], []).append(runs)
    with open_axes(_SIZE) as (figure, axes):
        for i, (family, members) in enumerate(families.items()):
            color, rows = _COLORS[i % len(_COLORS)], [trade_off(runs) for runs in members]
            clean, certified, attacked = (list(column) for column in zip(*rows, strict=True))
            axes.plot(clean, certified, "o-", color=color, label=f"{family}, certified")
            axes.plot(clean, attacked, "o", color=color, label=f"{family}, under attack", **_OPEN)
            for (x, y, _), member in zip(rows, members, strict=True):
                label = f"×{member[0].method.partition(SCALED)[2] or 1}" if len(members) > 1 else ""
                axes.annotate(label, (x, y), (8, -3), textcoords="offset points", color=INK, fontsize=8)
        axes.margins(x=0.1, y=0.1)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("clean test accuracy (%)")
        axes.set_ylabel(f"accuracy at {fraction(min(at.radius for at in measured[0].at))} (%)")
        figure.legend(loc="outside lower center", ncols=2)
        return figure


def trade_off(runs: Sequence[Measured]) -> tuple[float, float, float]:
    """Of one method: clean accuracy, and at the smallest radius what is certified and what is left; seeds' means."""
    at = [min(run.at, key=lambda at: at.radius) for run in runs]
    return (
        fmean(run.accuracy for run in runs),
        fmean(one.certified for one in at),
        fmean(one.attacked for one in at),
    )


def _certified(axes: Axes, method: str, runs: Sequence[Measured], color: str) -> None:
    curves = np.array([run.curve for run in runs])
    radii = 255 * runs[0].curve_step * np.arange(curves.shape[1])
    axes.plot(radii, curves.mean(0), color=color, label=f"{method}, certified")
    axes.fill_between(radii, curves.min(0), curves.max(0), color=color, alpha=0.2, linewidth=0)


def _attacked(axes: Axes, method: str, runs: Sequence[Measured], color: str) -> None:
    radii = [0.0, *(255 * at.radius for at in runs[0].at)]
    accuracy = np.array([[run.accuracy, *(at.attacked for at in run.at)] for run in runs])
    order = np.argsort(radii)
    line = accuracy.mean(0)[order]
    axes.plot(np.array(radii)[order], line, "o--", color=color, linewidth=1.2, label=f"{method}, under attack")
