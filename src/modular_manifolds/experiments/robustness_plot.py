"""The figure of robustness: certified accuracy and accuracy under attack, against the radius."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from modular_manifolds.experiments.plots import open_axes
from modular_manifolds.experiments.robustness import Measured
from modular_manifolds.experiments.robustness_table import by_method

# Colours stand out against a white and a near-black page alike.
_COLORS = ("#3b82f6", "#e07a1f", "#0d9488", "#a855f7", "#e11d6f", "#7c8594")
_SIZE = (5.4, 3.8)


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
