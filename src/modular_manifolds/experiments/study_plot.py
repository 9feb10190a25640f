"""The figure of a study: test accuracy of every geometry, a panel for each layer."""

import math

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from modular_manifolds.experiments.candidates import CANDIDATES, REFERENCE
from modular_manifolds.experiments.study_findings import ALL, Findings, Layer
from modular_manifolds.experiments.svg import FAINT, INK, STYLE

# Colours stand out against a white and a near-black page alike.
_COLORS = {
    "Spectral": "#3b82f6",
    "Frobenius": "#e07a1f",
    "Schatten": "#a855f7",
    "MaxRow": "#0d9488",
    "MaxColumn": "#0d9488",
}
_TOGETHER = "#e11d6f"


def draw(findings: Findings) -> Figure:
    """A panel for each layer, and one for all at once."""
    names = findings.candidates
    with rc_context(STYLE):
        figure = Figure(figsize=(2.4 + 2.1 * len(findings.layers), 1.6 + 0.26 * len(names)), layout="constrained")
        panels = figure.subplots(1, len(findings.layers), sharey=True, squeeze=False)[0]
        for axes, layer in zip(panels, findings.layers, strict=True):
            if layer not in (0, ALL):  # on one scale, layers show how much each of them matters
                axes.sharex(panels[0])
            _panel(axes, findings, layer)
        rows = len(names) + 1
        panels[0].set_yticks(range(rows), [*names, "best of each layer"])
        panels[0].set_ylim(rows - 0.4, -0.6)
        figure.legend(handles=_legend(findings), loc="outside lower center", ncols=6)
        return figure


def _panel(axes: Axes, findings: Findings, layer: Layer) -> None:
    """A row a geometry: a small dot a seed, a large one for their mean."""
    rows = [(CANDIDATES[name], findings.cells[layer, name]) for name in findings.candidates]
    for row, (candidate, cell) in enumerate(rows):
        color = _COLORS[type(candidate.norm).__name__]
        accuracy = [outcome.test_accuracy for outcome in cell.outcomes]
        axes.plot(accuracy, [row] * len(accuracy), "o", color=color, markersize=2.5, alpha=0.55)
        axes.plot([cell.test_accuracy.mean], [row], "o", color=color, markersize=6)
    if layer == ALL:
        accuracy = [outcome.test_accuracy for outcome in findings.together.outcomes]
        axes.plot(accuracy, [len(rows)] * len(accuracy), "o", color=_TOGETHER, markersize=2.5, alpha=0.55)
        axes.plot([findings.together.test_accuracy.mean], [len(rows)], "D", color=_TOGETHER, markersize=6)
    plain = findings.reference.test_accuracy.mean
    axes.axvline(plain, color=INK, linewidth=0.8)
    noise = findings.noise(layer)
    if not math.isnan(noise):
        axes.axvspan(plain - noise, plain + noise, color=FAINT, alpha=0.6, linewidth=0)
    axes.set_title(findings.heading(layer))
    axes.set_xlabel("test accuracy (%)")
    axes.tick_params(axis="y", length=0)


def _legend(findings: Findings) -> list[Line2D]:
    norms = dict.fromkeys(type(CANDIDATES[name].norm).__name__ for name in findings.candidates)
    colors = {
        color: "/".join(norm for norm in norms if _COLORS[norm] == color) for color in map(_COLORS.__getitem__, norms)
    }
    dots = [Line2D([], [], linestyle="", marker="o", color=color, label=label) for color, label in colors.items()]
    line = Line2D([], [], color=INK, linewidth=0.8, label=f"{REFERENCE} at 0.1 everywhere, and the noise around it")
    return [*dots, line]
