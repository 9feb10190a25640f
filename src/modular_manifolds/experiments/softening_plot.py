"""The figures of a comparison of constraints."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from modular_manifolds.experiments.comparison import Finished
from modular_manifolds.experiments.constraints import FREE, MANIFOLD_STEP, PROJECTED, Raw
from modular_manifolds.experiments.plots import PLAIN_NUMBERS, finish, learning_rates, legend_below, open_axes
from modular_manifolds.experiments.reports import Cell, Figure, Table
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.summary import Spread, best_by_method
from modular_manifolds.experiments.svg import INK
from modular_manifolds.experiments.trace import Movement

Moved = Mapping[Run, Movement]

_LOOKS: Mapping[str, dict[str, Any]] = {
    FREE: {"color": "#7c8594", "marker": "P", "linestyle": "-"},
    PROJECTED: {"color": "#0d9488", "marker": "^", "linestyle": "--"},
    MANIFOLD_STEP: {"color": "#3b82f6", "marker": "o", "linestyle": "--"},
}


def draw(finished: Finished, moved: Moved) -> tuple[Figure, ...]:
    """Of a trained comparison and how its weights moved."""
    lr = best_by_method(finished.results.values())[FREE].lr
    return (
        _distances(finished, lr, effective=False),
        _distances(finished, lr, effective=True),
        _scan(finished, "accuracy", "test accuracy (%)", lambda run: finished.results[run].test_accuracy),
        _scan(finished, "reversals", "share of steps that turn round", lambda run: moved[run].reversals),
        _scan(finished, "swing", "swing: cosine of changes of σ", lambda run: moved[run].swing),
        _scan(finished, "turn", "turn: cosine of changes of W_eff", lambda run: moved[run].turn),
    )


def _distances(finished: Finished, lr: float, *, effective: bool) -> Figure:
    what = "W_eff" if effective else "W"
    caption = f"First layer, learning rate {lr:g}: mean over the seeds. Logarithmic axes."
    table = finished.comparison.table
    curves: dict[str, list[float]] = {}
    with open_axes() as (figure, axes):
        for method, constraint in table.items():
            if not isinstance(constraint, Raw):
                continue
            d = _first_layer(finished, runs_of(finished, method, lr))
            shrink = 1.0 if constraint.kappa is None else constraint.kappa * d**2 / (1 + constraint.kappa * d**2)
            curve = (d * shrink if effective else d).mean(0)
            curves[method] = curve[1:].tolist()
            if curve.max() > 0:
                steps = np.arange(1, len(curve))  # before the first, weights are where they were put
                axes.plot(steps, curve[1:], **{**_style(method, table), "marker": ""})
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(PLAIN_NUMBERS)
        axes.set_xlabel("step")
        axes.set_ylabel(f"distance of {what}")
        legend_below(figure, axes)
        rows = zip(*curves.values(), strict=True)
        data = Table(("step", *curves), tuple((step, *row) for step, row in enumerate(rows, start=1)))
        return finish(f"distance-{what}", f"Distance of {what}", caption, figure, data)


def _scan(finished: Finished, name: str, label: str, measure: Callable[[Run], float]) -> Figure:
    table = finished.comparison.table
    rows: list[tuple[Cell, ...]] = []
    with open_axes() as (figure, axes):
        for method in table:
            lrs = sorted({run.lr for run in finished.results if run.method == method})
            spreads = [Spread.of(map(measure, runs_of(finished, method, lr))) for lr in lrs]
            rows += [(method, lr, spread.mean, spread.std) for lr, spread in zip(lrs, spreads, strict=True)]
            if not all(np.isnan(spread.mean) for spread in spreads):
                means, errors = [spread.mean for spread in spreads], [spread.std for spread in spreads]
                axes.errorbar(lrs, means, yerr=errors, capsize=2, **_style(method, table))
        if name != "accuracy":
            axes.axhline(0.5 if name == "reversals" else 0.0, color=INK, linewidth=0.6, linestyle=":")
        learning_rates(axes, (run.lr for run in finished.results))
        axes.set_ylabel(label)
        legend_below(figure, axes)
        caption = "Mean over the seeds; bars show one standard deviation."
        data = Table(("constraint", "lr", label, "standard deviation"), tuple(rows))
        return finish(name, f"{label[0].upper()}{label[1:]}, against learning rate", caption, figure, data)


def _first_layer(finished: Finished, runs: Iterable[Run]) -> NDArray[np.float64]:
    return np.stack([finished.store.weights(run)["distance"][:, 0].double().numpy() for run in runs])


def runs_of(finished: Finished, method: str, lr: float) -> list[Run]:
    """Of one constraint and learning rate, a seed each."""
    return [run for run in finished.results if (run.method, run.lr) == (method, lr)]


def _style(method: str, table: Mapping[str, Any]) -> dict[str, Any]:
    if method in _LOOKS:
        return {"label": method, "markersize": 4.5, "linewidth": 1.4, **_LOOKS[method]}
    soft = [name for name in table if name not in _LOOKS]
    colour = colormaps["plasma"](0.25 + 0.55 * soft.index(method) / max(len(soft) - 1, 1))
    return {"label": method, "color": colour, "marker": "s", "markersize": 3.5, "linewidth": 1.4}
