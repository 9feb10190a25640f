"""What came of a comparison of constraints: the printed tables, and the figures."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray
from rich.table import Table

from modular_manifolds.experiments.comparison import Finished
from modular_manifolds.experiments.constraints import FREE, MANIFOLD_STEP, PROJECTED, Raw
from modular_manifolds.experiments.files import write_atomically
from modular_manifolds.experiments.plots import PLAIN_NUMBERS, Plot, finish, legend_below, open_axes
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.summary import Spread, best_by_method
from modular_manifolds.experiments.svg import INK, standalone
from modular_manifolds.experiments.trace import Movement

Moved = Mapping[Run, Movement]

_LOOKS: Mapping[str, dict[str, Any]] = {
    FREE: {"color": "#7c8594", "marker": "P", "linestyle": "-"},
    PROJECTED: {"color": "#0d9488", "marker": "^", "linestyle": "--"},
    MANIFOLD_STEP: {"color": "#3b82f6", "marker": "o", "linestyle": "--"},
}


def best_table(finished: Finished, moved: Moved) -> Table:
    """Every constraint at its best learning rate."""
    table = Table(
        title="best learning rate of each constraint (by mean test accuracy)",
        caption="d: distance to the manifold at the end; reversals: share of steps at which it turns round; "
        "cosines of successive changes, swing: of W's singular values, turn: of W_eff",
    )
    table.add_column("constraint", no_wrap=True)
    for heading in ("lr", "test %", "train %", "d(W)", "d(W_eff)", "reversals", "swing", "turn"):
        table.add_column(heading, justify="right", no_wrap=True)
    for method, group in best_by_method(finished.results.values()).items():
        runs = _runs(finished, method, group.lr)
        table.add_row(
            method,
            f"{group.lr:g}",
            group.test_accuracy.text(2),
            group.spread("train_accuracy").text(2),
            *(_mean(moved, runs, name) for name in ("distance", "effective_distance", "reversals", "swing", "turn")),
        )
    return table


def scan_table(finished: Finished, moved: Moved) -> Table:
    """Reversals, by learning rate, and what they come with."""
    lrs = sorted({run.lr for run in finished.results})
    table = Table(title="by learning rate: reversals of d(W) | test accuracy, %")
    table.add_column("constraint", no_wrap=True)
    for lr in lrs:
        table.add_column(f"{lr:g}", justify="right")
    for method in finished.comparison.methods:
        cells = []
        for lr in lrs:
            runs = _runs(finished, method, lr)
            accuracy = Spread.of(finished.results[run].test_accuracy for run in runs)
            cells.append(f"{_mean(moved, runs, 'reversals')} | {accuracy.mean:.1f}")
        table.add_row(method, *cells)
    return table


def draw(finished: Finished, moved: Moved) -> list[Path]:
    """Write plots/*.svg; their paths."""
    lr = best_by_method(finished.results.values())[FREE].lr
    drawn = [
        _distances(finished, lr, effective=False),
        _distances(finished, lr, effective=True),
        _scan(finished, "accuracy", "test accuracy (%)", lambda run: finished.results[run].test_accuracy),
        _scan(finished, "reversals", "share of steps that turn round", lambda run: moved[run].reversals),
        _scan(finished, "swing", "swing: cosine of changes of σ", lambda run: moved[run].swing),
        _scan(finished, "turn", "turn: cosine of changes of W_eff", lambda run: moved[run].turn),
    ]
    paths = [finished.comparison.out / "plots" / f"{plot.name}.svg" for plot in drawn]
    for path, plot in zip(paths, drawn, strict=True):
        write_atomically(path, standalone(plot.drawing).encode())
    return paths


def _distances(finished: Finished, lr: float, *, effective: bool) -> Plot:
    what = "W_eff" if effective else "W"
    caption = f"First layer, learning rate {lr:g}: mean over the seeds. Logarithmic axes."
    table = finished.comparison.table
    with open_axes() as (figure, axes):
        for method, constraint in table.items():
            if not isinstance(constraint, Raw):
                continue
            d = _first_layer(finished, _runs(finished, method, lr))
            shrink = 1.0 if constraint.kappa is None else constraint.kappa * d**2 / (1 + constraint.kappa * d**2)
            curve = (d * shrink if effective else d).mean(0)
            if curve.max() > 0:
                steps = np.arange(1, len(curve))  # before the first, weights are where they were put
                axes.plot(steps, curve[1:], **{**_style(method, table), "marker": ""})
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(PLAIN_NUMBERS)
        axes.set_xlabel("step")
        axes.set_ylabel(f"distance of {what}")
        legend_below(figure, axes)
        return finish(f"distance-{what}", f"Distance of {what}", caption, figure)


def _scan(finished: Finished, name: str, label: str, measure: Callable[[Run], float]) -> Plot:
    table = finished.comparison.table
    with open_axes() as (figure, axes):
        for method in table:
            lrs = sorted({run.lr for run in finished.results if run.method == method})
            spreads = [Spread.of(map(measure, _runs(finished, method, lr))) for lr in lrs]
            if not all(np.isnan(spread.mean) for spread in spreads):
                means, errors = [spread.mean for spread in spreads], [spread.std for spread in spreads]
                axes.errorbar(lrs, means, yerr=errors, capsize=2, **_style(method, table))
        if name != "accuracy":
            axes.axhline(0.5 if name == "reversals" else 0.0, color=INK, linewidth=0.6, linestyle=":")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(PLAIN_NUMBERS)
        axes.set_xlabel("learning rate")
        axes.set_ylabel(label)
        legend_below(figure, axes)
        caption = "Mean over the seeds; bars show one standard deviation."
        return finish(name, f"{label[0].upper()}{label[1:]}, against learning rate", caption, figure)


def _first_layer(finished: Finished, runs: Iterable[Run]) -> NDArray[np.float64]:
    return np.stack([finished.store.weights(run)["distance"][:, 0].double().numpy() for run in runs])


def _runs(finished: Finished, method: str, lr: float) -> list[Run]:
    return [run for run in finished.results if (run.method, run.lr) == (method, lr)]


def _mean(moved: Moved, runs: Iterable[Run], name: str) -> str:
    """Of one field of the runs' movements; a dash where it is not defined."""
    mean = Spread.of(getattr(moved[run], name) for run in runs).mean
    return "-" if np.isnan(mean) else f"{mean:.2g}"


def _style(method: str, table: Mapping[str, Any]) -> dict[str, Any]:
    if method in _LOOKS:
        return {"label": method, "markersize": 4.5, "linewidth": 1.4, **_LOOKS[method]}
    soft = [name for name in table if name not in _LOOKS]
    colour = colormaps["plasma"](0.1 + 0.7 * soft.index(method) / max(len(soft) - 1, 1))
    return {"label": method, "color": colour, "marker": "s", "markersize": 3.5, "linewidth": 1.4}
