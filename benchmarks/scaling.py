"""How the seconds of a step grow with the sides of a matrix and the number of matrices."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from benchmarks import step
from benchmarks.methods import METHODS
from benchmarks.numbers import significant
from benchmarks.tables import titled
from benchmarks.workloads import Gradients, parse

DEFAULT_METHODS = ",".join(name for name in METHODS if name.startswith(("muon", "manifold-muon")))
_CAPTION = (
    "Milliseconds of a step, and in brackets the exponent e of the power law size^e that fits them best (least squares "
    "of logarithms); ± the largest error of that fit."
)


@dataclass(frozen=True)
class Axis:
    """What grows, while all else stays.

    Args:
        name: n (both sides of a square), m (rows, at a fixed number of columns) or batch (at a fixed shape).
        template: of the names of its workloads.
        sizes: ascending.
    """

    name: str
    template: str
    sizes: tuple[int, ...]

    def workload(self, size: int) -> str:
        return self.template.format(size)


AXES: tuple[Axis, ...] = (
    Axis("n", "{0}x{0}", (128, 256, 512, 1024)),
    Axis("m", "{0}x256", (256, 512, 1024, 2048, 4096)),
    Axis("batch", "{0}x128x128", (1, 4, 16, 64)),
)


class Fit(NamedTuple):
    """seconds = constant * size ** exponent, of least squares in logarithms.

    Args:
        error: the largest relative error of the law on the sizes that were measured.
    """

    exponent: float
    constant: float
    error: float


@dataclass(frozen=True)
class Curve:
    """One method along one axis."""

    axis: Axis
    method: str
    rows: tuple[step.Row, ...]
    fit: Fit


def fit(sizes: Sequence[float], seconds: Sequence[float]) -> Fit:
    """The power law through at least two points."""
    x, y = [log(size) for size in sizes], [log(second) for second in seconds]
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    offset = mean_y - slope * mean_x
    errors = [abs(b - offset - slope * a) for a, b in zip(x, y, strict=True)]
    return Fit(slope, exp(offset), exp(max(errors)) - 1)


def measure(
    axes: Sequence[Axis], methods: Sequence[str], rounds: int, device: torch.device, console: Console
) -> list[Curve]:
    """Every method along every axis; at each size all methods take turns."""
    curves = []
    for axis in axes:
        workloads = [parse(axis.workload(size)) for size in axis.sizes]
        rows = step.measure(workloads, methods, rounds, Gradients.GAUSSIAN, device, console)
        for method in dict.fromkeys(row.method for row in rows):
            own = tuple(row for row in rows if row.method == method)
            curves.append(Curve(axis, method, own, fit(axis.sizes, [row.seconds.median for row in own])))
    return curves


def report(curves: Sequence[Curve], device: torch.device) -> dict[str, Any]:
    """Plain data for JSON: the rows of `step`, with their place on an axis, and the fits."""
    rows = [row for curve in curves for row in curve.rows]
    places = [{"axis": curve.axis.name, "size": size} for curve in curves for size in curve.axis.sizes]
    stepped = step.report(rows, Gradients.GAUSSIAN, device)
    return {
        **stepped,
        "benchmark": "scaling",
        "rows": [{**place, **row} for place, row in zip(places, stepped["rows"], strict=True)],
        "fits": [{"axis": curve.axis.name, "method": curve.method, **curve.fit._asdict()} for curve in curves],
    }


def tables(curves: Sequence[Curve], device: torch.device) -> list[Table]:
    """One for every axis, with a column for every size."""
    result = []
    for axis in dict.fromkeys(curve.axis for curve in curves):
        table = titled(f"Growth with {axis.name}", device, _CAPTION)
        table.add_column("method", no_wrap=True)
        for size in axis.sizes:
            table.add_column(axis.workload(size), justify="right")
        table.add_column("exponent", justify="right", no_wrap=True)
        for curve in curves:
            if curve.axis == axis:
                milliseconds = (significant(1e3 * row.seconds.median) for row in curve.rows)
                table.add_row(curve.method, *milliseconds, f"{curve.fit.exponent:.2f} ± {curve.fit.error:.0%}")
        result.append(table)
    return result
