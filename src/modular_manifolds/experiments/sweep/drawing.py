"""The figures of a sweep, each with the numbers it was drawn from."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from modular_manifolds.experiments.plots import PLAIN_NUMBERS, finish, legend_below, open_axes
from modular_manifolds.experiments.reports import Figure, Table
from modular_manifolds.experiments.svg import INK
from modular_manifolds.experiments.sweep.findings import Curve, Findings
from modular_manifolds.experiments.sweep.formats import WeightFormat
from modular_manifolds.experiments.sweep.trial import Inside

# Colours stand out against a white and a near-black page alike; AdamW and Muon, which the others are measured against,
# are grey and orange wherever they stand.
_COLORS = ("#3b82f6", "#a855f7", "#0d9488", "#e11d6f", "#84a016", "#0891b2", "#b45309", "#6366f1")
_MARKERS = ("o", "D", "^", "v", "P", "X", "<", ">")
_KNOWN = {"adamw": {"color": "#7c8594", "marker": "s"}, "muon": {"color": "#e07a1f", "marker": "s"}}

Row = tuple[str | float | int | None, ...]


class Looks:
    """A colour and a marker for every method of a sweep."""

    def __init__(self, methods: Sequence[str]) -> None:
        others = [method for method in methods if method not in _KNOWN]
        looks = zip(cycle(_COLORS), islice(cycle(_MARKERS), len(others)), strict=False)
        self._looks: dict[str, dict[str, Any]] = {
            **_KNOWN,
            **{method: {"color": c, "marker": m} for method, (c, m) in zip(others, looks, strict=False)},
        }

    def line(self, method: str) -> dict[str, Any]:
        """With markers."""
        return {"label": method, "linewidth": 1.5, "markersize": 4, **self._looks[method]}

    def bare(self, method: str) -> dict[str, Any]:
        """Without."""
        return {"label": method, "linewidth": 1.4, "color": self.color(method)}

    def color(self, method: str) -> str:
        """Of everything that is the method's."""
        color: str = self._looks[method]["color"]
        return color


def against_lr(findings: Findings, weights: WeightFormat, looks: Looks) -> Figure:
    """The score over the learning rates, each method at its best weight decay; crosses where a seed diverged."""
    measure, rows = findings.measure, list[Row]()
    accuracy = bool(measure.unit)
    with open_axes((6.4, 4.0)) as (canvas, axes):
        best = findings.best_of(weights)
        for method, curve in best.items():
            finite = [lr for lr in curve.outcomes if math.isfinite(curve.cost(lr))]
            means = [measure.shown(curve.cost(lr)) for lr in finite]
            errors = [curve.spread(lr).std for lr in finite]
            axes.errorbar(finite, means, yerr=errors, capsize=2, **looks.line(method))
            for lr, outcomes in curve.outcomes.items():
                diverged, cost = sum(one.diverged for one in outcomes), curve.cost(lr)
                shown = measure.shown(cost) if math.isfinite(cost) else None
                std = curve.spread(lr).std if math.isfinite(cost) else None
                rows.append((method, lr, shown, std, diverged, len(outcomes)))
                if diverged:
                    edge = 0.02 if accuracy else 0.98
                    axes.plot(lr, edge, "x", color=looks.color(method), transform=axes.get_xaxis_transform())
        _scores(axes, findings, list(best.values()))
        _log_x(axes, "learning rate")
        axes.set_ylabel(f"{measure.name}{' (%)' if accuracy else ''}")
        legend_below(canvas, axes)
        caption = (
            f"Mean over the seeds, bars show one standard deviation. Crosses on the {'lower' if accuracy else 'upper'} "
            "edge: learning rates at which a seed diverged."
        )
        columns = ("method", "learning rate", measure.name, "standard deviation", "diverged", "seeds")
        table = Table(columns, tuple(rows))
        return _done(
            f"against-lr-{weights}", f"{measure.name} against learning rate, {weights}", caption, canvas, table
        )


def good_ranges(findings: Findings, weights: WeightFormat, looks: Looks) -> Figure:
    """Bars over the learning rates that are good, with their widths."""
    rows: list[Row] = []
    best = findings.best_of(weights)
    with open_axes((6.4, 1.2 + 0.32 * len(best))) as (canvas, axes):
        for i, (method, curve) in enumerate(best.items()):
            found = curve.good
            tried = list(curve.outcomes)
            axes.plot([tried[0], tried[-1]], [i, i], color=looks.color(method), linewidth=1, alpha=0.5)
            if found is not None:
                axes.plot(
                    [found.low, found.high], [i, i], color=looks.color(method), linewidth=9, solid_capstyle="butt"
                )
                axes.annotate(found.text, (found.high, i), (6, 5), textcoords="offset points", color=INK, fontsize=8)
            axes.plot(curve.best, i, "o", color=INK, markersize=3.5)
            rows.append(
                (method, curve.best, *((None, None, None) if found is None else (found.low, found.high, found.width)))
            )
        axes.set_yticks(range(len(best)), list(best))
        axes.set_ylim(len(best) - 0.4, -0.7)
        axes.grid(visible=False, axis="y")
        _log_x(axes, "learning rate")
        caption = (
            f"Thick: {findings.measure.goodness}, interpolated between the rates tried (thin line); the dot is the "
            "best of them, the number the largest over the smallest good rate. ≥: good up to an end of what was tried."
        )
        table = Table(("method", "best", "from", "to", "width"), tuple(rows))
        return _done(f"good-range-{weights}", f"How wide the good range is, {weights}", caption, canvas, table)


def training_loss(best: Mapping[str, Curve], chance: float, looks: Looks) -> Figure:
    """Over the steps, first seed of each method's best learning rate."""
    curves = {}
    for method, curve in best.items():
        outcome = curve.outcomes[curve.best][0]
        curves[method] = [((i + 1) * outcome.curve_every, loss) for i, loss in enumerate(outcome.train_curve)]
    caption = "Each method at its best learning rate, first seed: means over the steps before each point."
    return _losses("training-loss", "Training loss", caption, curves, chance, looks)


def held_out_loss(best: Mapping[str, Curve], chance: float, looks: Looks) -> Figure:
    """The same of what is held out."""
    curves = {method: list(curve.outcomes[curve.best][0].held_out_curve) for method, curve in best.items()}
    caption = "Each method at its best learning rate, first seed, on an eighth of the held-out text."
    return _losses("held-out-loss", "Held-out loss", caption, curves, chance, looks)


def by_layer(name: str, title: str, label: str, values: Mapping[str, Sequence[float]], looks: Looks) -> Figure:
    """A number a layer, a line a method."""
    with open_axes() as (canvas, axes):
        for method, numbers in values.items():
            axes.plot(range(1, len(numbers) + 1), numbers, **looks.line(method))
        _log_y(axes)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("block")
        axes.set_ylabel(label)
        legend_below(canvas, axes)
        depth = max(map(len, values.values()))
        columns = ("method", *(f"block {i + 1}" for i in range(depth)))
        rows = tuple((method, *numbers, *[None] * (depth - len(numbers))) for method, numbers in values.items())
        caption = "At the end, each method at its best learning rate, first seed."
        return _done(name, title, caption, canvas, Table(columns, rows))


def spectra_over_time(insides: Mapping[str, Inside], looks: Looks) -> list[Figure]:
    """One figure a kind of matrix: the median (solid) and largest (dashed) singular value over the steps."""
    kinds: dict[str, None] = {}
    for inside in insides.values():
        kinds |= dict.fromkeys(_kind(spectrum.name) for spectrum in inside.spectra)
    return [_spectra(kind, insides, looks) for kind in kinds]


def _spectra(kind: str, insides: Mapping[str, Inside], looks: Looks) -> Figure:
    rows: list[Row] = []
    with open_axes((3.4, 2.8)) as (canvas, axes):
        for method, inside in insides.items():
            layers = [spectrum.values for spectrum in inside.spectra if _kind(spectrum.name) == kind]
            if not layers:
                continue
            means = [
                tuple(sum(layer[i][which] for layer in layers) / len(layers) for which in range(3))
                for i in range(len(inside.steps))
            ]
            rows += [(method, step, *mean) for step, mean in zip(inside.steps, means, strict=True)]
            axes.plot(inside.steps, [mean[1] for mean in means], **looks.bare(method))
            axes.plot(inside.steps, [mean[2] for mean in means], color=looks.color(method), linestyle="--", linewidth=1)
        _log_y(axes)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlabel("step")
        axes.set_ylabel("singular value")
        legend_below(canvas, axes)
        caption = "Solid: median; dashed: largest. Mean over the layers."
        table = Table(("method", "step", "smallest", "median", "largest"), tuple(rows))
        return _done(f"singular-values-{kind}", f"Singular values: {kind}", caption, canvas, table, narrow=True)


def _kind(name: str) -> str:
    """blocks.0.attention.query.weight: query."""
    return name.removesuffix(".weight").rpartition(".")[2]


def _losses(
    name: str,
    title: str,
    caption: str,
    curves: Mapping[str, list[tuple[int, float]]],
    chance: float,
    looks: Looks,
) -> Figure:
    with open_axes((6.4, 4.0)) as (canvas, axes):
        for method, points in curves.items():
            axes.plot([step for step, _ in points], [loss for _, loss in points], **looks.bare(method))
        losses = [loss for points in curves.values() for _, loss in points if math.isfinite(loss)]
        low, high = min(losses, default=0.0), min(max(losses, default=chance), 1.1 * chance)
        _log_y(axes)
        if axes.get_yscale() == "log":
            axes.set_ylim(low / 1.3, high)
        elif low < high:
            axes.set_ylim(low - 0.05 * (high - low), high)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("step")
        axes.set_ylabel("cross-entropy")
        legend_below(canvas, axes)
        rows = tuple((method, step, loss) for method, points in curves.items() for step, loss in points)
        return _done(name, title, caption, canvas, Table(("method", "step", "loss"), rows))


def _scores(axes: Axes, findings: Findings, curves: list[Curve]) -> None:
    """Cut what is far worse than every method's best, so that the good ranges can be seen."""
    shown = findings.measure.shown
    costs = [curve.cost(lr) for curve in curves for lr in curve.outcomes if math.isfinite(curve.cost(lr))]
    if not costs:
        return
    least, worst_best = min(costs), max(min(curve.best_cost, max(costs)) for curve in curves)
    room = max(3 * (worst_best - least), 0.15 * least, 1e-3)
    ends = sorted((shown(least - 0.08 * room), shown(min(max(costs), worst_best + room) + 0.03 * room)))
    axes.set_ylim(*ends)


def _log_x(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_major_formatter(PLAIN_NUMBERS)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def _log_y(axes: Axes) -> None:
    """Where the numbers span a decade or more; less would leave a logarithmic axis with next to no labels."""
    low, high = axes.dataLim.intervaly
    if not 0 < 10 * low < high:
        return
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
    axes.yaxis.set_minor_formatter(NullFormatter())


def _done(name: str, title: str, caption: str, canvas: Canvas, table: Table, *, narrow: bool = False) -> Figure:
    title = title[0].upper() + title[1:]
    return Figure(name, title, caption, finish(name, title, caption, canvas).drawing, table, narrow)
