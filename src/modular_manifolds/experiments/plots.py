"""The figures of a comparison, and what all figures have in common."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from torch import Tensor

from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.methods import METHODS, SCALED
from modular_manifolds.experiments.reports import Cell, Figure, Table
from modular_manifolds.experiments.results import Epoch, singular_values
from modular_manifolds.experiments.summary import Group, Spread
from modular_manifolds.experiments.svg import INK, STYLE, standalone, to_svg

# One a method, in the order of the table of methods. Colours stand out against a white and a near-black page
# alike; the first three often coincide, so later ones leave the earlier ones visible.
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": "#3b82f6", "marker": "o", "linestyle": "-", "linewidth": 3.4, "markersize": 7},
    {"color": "#e07a1f", "marker": "s", "linestyle": "--", "linewidth": 1.8, "markersize": 4.5},
    {"color": "#0d9488", "marker": "^", "linestyle": ":", "linewidth": 1.8, "markersize": 3.5},
    {"color": "#5f9e2f", "marker": "X", "linestyle": "-", "linewidth": 1.4, "markersize": 4.5},
    {"color": "#a855f7", "marker": "D", "linestyle": "-", "linewidth": 1.4, "markersize": 3.5},
    {"color": "#e11d6f", "marker": "v", "linestyle": "-", "linewidth": 1.4, "markersize": 4.5},
    {"color": "#7c8594", "marker": "P", "linestyle": "-", "linewidth": 1.4, "markersize": 4.5},
)
SIZE = (4.2, 3.2)
_NARROW_SIZE = (3.4, 2.6)
_BINS = 60
_FEW = 7
"""Ticks that there is room for."""
_PIXELS_PER_INCH = 150
PLAIN_NUMBERS = FuncFormatter(lambda value, _: f"{value:g}")


def loss_curves(best: Mapping[str, Group]) -> list[Figure]:
    """Train and test loss by epoch, each method at its best learning rate."""
    return [
        _curve("train-loss", "Train loss", best, lambda epoch: epoch.train_loss),
        _curve("test-loss", "Test loss", best, lambda epoch: epoch.test_loss),
    ]


def accuracy_against_lr(groups: Mapping[str, list[Group]]) -> Figure:
    """Test accuracy over the learning rates tried."""
    caption = "Mean over the seeds; bars show one standard deviation."
    with open_axes() as (figure, axes):
        for method, by_lr in groups.items():
            accuracy = [group.test_accuracy for group in by_lr]
            axes.errorbar(
                [group.lr for group in by_lr],
                [spread.mean for spread in accuracy],
                yerr=[spread.std for spread in accuracy],
                capsize=2.5,
                **_style(method),
            )
        learning_rates(axes, [group.lr for by_lr in groups.values() for group in by_lr])
        axes.set_ylabel("test accuracy (%)")
        legend_below(figure, axes)
        data = Table(
            ("method", "lr", "test accuracy (%)", "standard deviation", "seeds"),
            tuple(
                (group.method, group.lr, spread.mean, spread.std, spread.count)
                for by_lr in groups.values()
                for group in by_lr
                for spread in [group.test_accuracy]
            ),
        )
        return finish("accuracy", "Test accuracy against learning rate", caption, figure, data)


def step_time(best: Mapping[str, Group]) -> Figure:
    """Time of one optimizer step of every method."""
    caption = "Mean time inside optimizer.step(), all layers together; logarithmic axis."
    times = {method: group.step_milliseconds for method, group in best.items()}
    with open_axes() as (figure, axes):
        for row, (method, time) in enumerate(times.items()):
            label = best[method].step_time
            axes.barh(row, time, color=_style(method)["color"], height=0.62)
            axes.annotate(label, (time, row), (4, 0), textcoords="offset points", va="center", color=INK)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(PLAIN_NUMBERS)
        axes.set_xlim(min(times.values()) / 3, max(times.values()) * 3)
        axes.set_yticks(range(len(times)), list(times))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("ms per step")
        data = Table(("method", "ms per step"), tuple(times.items()))
        return finish("step-time", "Optimizer time", caption, figure, data)


def singular_value_histograms(weights: Mapping[str, Mapping[str, Tensor]]) -> list[Figure]:
    """One figure a layer, one row a method, of the weights by method and layer name."""
    layers = next(iter(weights.values()))
    return [_histograms(layer, {method: trained[layer] for method, trained in weights.items()}) for layer in layers]


def _curve(name: str, title: str, best: Mapping[str, Group], measure: Callable[[Epoch], float]) -> Figure:
    rows: list[tuple[Cell, ...]] = []
    with open_axes() as (figure, axes):
        for method, group in best.items():
            epochs = [epoch.epoch for epoch in group.results[0].curve]
            spreads = [Spread.of(measure(result.curve[epoch]) for result in group.results) for epoch in epochs]
            mean = np.array([spread.mean for spread in spreads])
            std = np.array([spread.std for spread in spreads])
            rows += [(method, epoch, at.mean, at.std) for epoch, at in zip(epochs, spreads, strict=True)]
            style = _style(method)
            axes.plot(epochs, mean, **style)
            axes.fill_between(epochs, mean - std, mean + std, color=style["color"], alpha=0.15, linewidth=0)
        low, high = axes.dataLim.intervaly
        if high > 10 * low:  # else a logarithmic axis would have next to no labels
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(PLAIN_NUMBERS)
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy")
        legend_below(figure, axes)
        caption = "Each method at its best learning rate: mean over the seeds, one standard deviation shaded."
        data = Table(("method", "epoch", "cross-entropy", "standard deviation"), tuple(rows))
        return finish(name, title, caption, figure, data)


def _histograms(layer: str, weights: Mapping[str, Tensor]) -> Figure:
    spectra = {method: singular_values(weight).numpy() for method, weight in weights.items()}
    finite = np.concatenate([sigma[np.isfinite(sigma)] for sigma in spectra.values()] + [np.ones(1)])
    width = 1.05 * finite.max() / _BINS
    # Singular values of 1, give or take rounding, fall into the middle of a bin.
    bins = np.arange((1 - width / 2) % width - width, 1.05 * finite.max() + width, width)
    with open_axes(_NARROW_SIZE) as (figure, axes):
        for row, (method, sigma) in enumerate(spectra.items()):
            counts, _ = np.histogram(sigma, bins)
            base = len(spectra) - 1 - row
            heights = base + 0.85 * counts / max(counts.max(), 1)
            axes.stairs(heights, bins, baseline=base, fill=True, color=_style(method)["color"])
        axes.set_yticks([row + 0.4 for row in range(len(spectra))], list(spectra)[::-1])
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_ylim(0, len(spectra))
        axes.set_xlim(0, bins[-1])
        axes.xaxis.set_major_locator(MaxNLocator(5, prune="upper"))
        axes.set_xlabel("singular value")
        rows, columns = next(iter(weights.values())).shape
        title = f"{layer.removesuffix('.weight')}, {rows} × {columns}"
        caption = "Singular values at each method's best learning rate, first seed; every row scaled to its own peak."
        numbers = zip(*(sigma[::-1].tolist() for sigma in spectra.values()), strict=True)
        data = Table(("rank", *spectra), tuple((rank, *row) for rank, row in enumerate(numbers, start=1)))
        return finish(f"singular-values-{layer}", title, caption, figure, data, narrow=True)


@contextmanager
def open_axes(size: tuple[float, float] = SIZE) -> Iterator[tuple[Canvas, Axes]]:
    """An empty figure in the report's style."""
    with rc_context(STYLE):
        figure = Canvas(figsize=size, layout="constrained")
        yield figure, figure.add_subplot()


def _style(method: str) -> dict[str, Any]:
    return {"label": method, **_LOOKS[list(METHODS).index(method.partition(SCALED)[0])]}


def learning_rates(axes: Axes, lrs: Iterable[float]) -> None:
    """A logarithmic axis with the rates on it that were tried, if they are few, or powers of 10."""
    tried = sorted(set(lrs))
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(PLAIN_NUMBERS)
    axes.xaxis.set_minor_formatter(NullFormatter())
    if len(tried) <= _FEW:
        axes.set_xticks(tried, [f"{lr:g}" for lr in tried])
        axes.set_xticks([], minor=True)
    axes.set_xlabel("learning rate")


def legend_below(figure: Canvas, axes: Axes) -> None:
    """What the lines are, under the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))


def finish(
    name: str, title: str, caption: str, canvas: Canvas, data: Table | None = None, *, narrow: bool = False
) -> Figure:
    """The drawing and the numbers it shows, as they go on the page."""
    return Figure(name, title, caption, to_svg(canvas, name, f"{title}. {caption}"), data, narrow)


def write_files(figure: Figure, canvas: Canvas, out: Path) -> dict[str, Path]:
    """A figure as SVG and as PNG, both called by its name, by what to call them."""
    svg, png = out / f"{figure.name}.svg", out / f"{figure.name}.png"
    write_atomically(svg, standalone(figure.drawing).encode())
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png", dpi=_PIXELS_PER_INCH, facecolor="white")
    write_atomically(png, buffer.getvalue())
    return {"figure": svg, "as PNG": png}
