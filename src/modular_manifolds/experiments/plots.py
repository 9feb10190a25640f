"""The figures of the report."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.results import Epoch, singular_values
from modular_manifolds.experiments.summary import Group, Spread
from modular_manifolds.experiments.svg import INK, STYLE, to_svg

# Each stands out against both a white and a near-black page.
_COLOURS = ("#3b82f6", "#e07a1f", "#0d9488", "#a855f7", "#e11d6f", "#7c8594")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_WIDTH, _HEIGHT = 4.6, 3.4
_BINS = 60


@dataclass(frozen=True)
class Plot:
    """A figure ready for the page: `drawing` is one <svg> element."""

    name: str
    title: str
    caption: str
    drawing: str


def loss_curves(best: Mapping[str, Group]) -> list[Plot]:
    """Train and test loss by epoch, each method at its best learning rate."""
    return [
        _curve("train-loss", "Train loss", best, lambda epoch: epoch.train_loss),
        _curve("test-loss", "Test loss", best, lambda epoch: epoch.test_loss),
    ]


def accuracy_against_lr(groups: Mapping[str, list[Group]]) -> Plot:
    """Test accuracy over the learning rates tried."""
    caption = "Mean over the seeds; bars show one standard deviation."
    with _axes() as (figure, axes):
        for method, by_lr in groups.items():
            accuracy = [group.test_accuracy for group in by_lr]
            axes.errorbar(
                [group.lr for group in by_lr],
                [spread.mean for spread in accuracy],
                yerr=[spread.std for spread in accuracy],
                capsize=2.5,
                **_style(method),
            )
        axes.set_xscale("log")
        axes.set_xlabel("learning rate")
        axes.set_ylabel("test accuracy (%)")
        _legend_below(figure, axes)
        return _plot("accuracy", "Test accuracy against learning rate", caption, figure)


def step_time(best: Mapping[str, Group]) -> Plot:
    """Time of one optimizer step of every method."""
    caption = "Mean time inside optimizer.step(), all layers together; logarithmic axis."
    times = {method: group.step_milliseconds for method, group in best.items()}
    with _axes() as (figure, axes):
        for row, (method, time) in enumerate(times.items()):
            axes.barh(row, time, color=_style(method)["color"], height=0.62)
            axes.annotate(f" {time:.3g}", (time, row), va="center", color=INK)
        axes.set_xscale("log")
        axes.set_xlim(min(times.values()) / 3, max(times.values()) * 3)
        axes.set_yticks(range(len(times)), list(times))
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("ms per step")
        return _plot("step-time", "Optimizer time", caption, figure)


def singular_value_histograms(weights: Mapping[str, Mapping[str, Tensor]]) -> list[Plot]:
    """One figure a layer, one row a method, of the weights by method and layer name."""
    layers = next(iter(weights.values()))
    return [
        _histograms(layer, {method: trained[layer] for method, trained in weights.items()})
        for layer in layers
    ]


def _curve(name: str, title: str, best: Mapping[str, Group], measure: Callable[[Epoch], float]) -> Plot:
    with _axes() as (figure, axes):
        for method, group in best.items():
            epochs = [epoch.epoch for epoch in group.results[0].curve]
            spreads = [
                Spread.of(measure(result.curve[epoch]) for result in group.results) for epoch in epochs
            ]
            mean = np.array([spread.mean for spread in spreads])
            std = np.array([spread.std for spread in spreads])
            style = _style(method)
            axes.plot(epochs, mean, **style)
            axes.fill_between(epochs, mean - std, mean + std, color=style["color"], alpha=0.15, linewidth=0)
        axes.set_yscale("log")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("epoch")
        axes.set_ylabel("cross-entropy")
        _legend_below(figure, axes)
        caption = "Each method at its best learning rate: mean over the seeds, one standard deviation shaded."
        return _plot(name, title, caption, figure)


def _histograms(layer: str, weights: Mapping[str, Tensor]) -> Plot:
    spectra = {method: singular_values(weight).numpy() for method, weight in weights.items()}
    finite = np.concatenate([sigma[np.isfinite(sigma)] for sigma in spectra.values()] + [np.ones(1)])
    bins = np.linspace(0, 1.05 * finite.max(), _BINS + 1)
    with _axes() as (figure, axes):
        for row, (method, sigma) in enumerate(spectra.items()):
            counts, _ = np.histogram(sigma, bins)
            base = len(spectra) - 1 - row
            heights = base + 0.85 * counts / max(counts.max(), 1)
            axes.stairs(heights, bins, baseline=base, fill=True, color=_style(method)["color"])
        axes.set_yticks(range(len(spectra)), list(spectra)[::-1])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(-0.05, len(spectra))
        axes.set_xlabel("singular value")
        rows, columns = next(iter(weights.values())).shape
        title = f"Singular values of {layer} ({rows} × {columns})"
        caption = "At each method's best learning rate, first seed; every row is scaled to its own peak."
        return _plot(f"singular-values-{layer}", title, caption, figure)


@contextmanager
def _axes() -> Iterator[tuple[Figure, Axes]]:
    with rc_context(STYLE):
        figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
        yield figure, figure.add_subplot()


def _style(method: str) -> dict[str, str]:
    index = list(METHODS).index(method)
    return {"label": method, "color": _COLOURS[index], "marker": _MARKERS[index]}


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))


def _plot(name: str, title: str, caption: str, figure: Figure) -> Plot:
    return Plot(name, title, caption, to_svg(figure, name, title))
