"""Time of one Riemannian SGD or Adam step on the Stiefel manifold beside geoopt's, and how far both drift off it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

import geoopt
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.optim import Optimizer

import modular_manifolds as mm
from benchmarks.hardware import describe
from benchmarks.timing import Run, Spread, interleaved, ratios, spread

SHAPES = ((512, 512), (2048, 512))
STEPS = 100


@dataclass(frozen=True)
class Method:
    """One optimizer in both libraries: the arguments mean the same to each.

    Args:
        ours, theirs: its class here and in geoopt.
        settings: what both are called with.
    """

    ours: Callable[..., Optimizer]
    theirs: Callable[..., Optimizer]
    settings: Mapping[str, float]


METHODS: Mapping[str, Method] = {
    "sgd": Method(mm.RiemannianSGD, geoopt.optim.RiemannianSGD, {"lr": 0.1}),
    "sgd-momentum": Method(mm.RiemannianSGD, geoopt.optim.RiemannianSGD, {"lr": 0.1, "momentum": 0.9}),
    "adam": Method(mm.RiemannianAdam, geoopt.optim.RiemannianAdam, {"lr": 1e-2}),
}


class Side(NamedTuple):
    """One library's part in a row.

    Args:
        seconds: one step.
        violation: largest entry of |W^T W - I| after the last step (W W^T for a wide W).
        frobenius: the Frobenius norm of that matrix.
        attained: <T, W> over its maximum on the manifold, the nuclear norm of T.
    """

    seconds: Spread
    violation: float
    frobenius: float
    attained: float


@dataclass(frozen=True)
class Row:
    """One optimizer on one shape.

    Args:
        speedup: geoopt's seconds over ours, step by step.
    """

    shape: tuple[int, int]
    method: str
    ours: Side
    geoopt: Side
    speedup: Spread
    steps: int

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        sides = {
            name: {**side._asdict(), "seconds": side.seconds._asdict()}
            for name, side in (("ours", self.ours), ("geoopt", self.geoopt))
        }
        return {**vars(self), **sides, "shape": list(self.shape), "speedup": self.speedup._asdict()}


class Problem:
    """Maximise <T, W> from gradients as noisy as they are long, the same ones for every optimizer."""

    def __init__(self, shape: tuple[int, int], device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.start = mm.Stiefel().random(shape, generator=generator).contiguous().to(device)
        target = torch.randn(shape, generator=generator)
        self.target = (target / torch.linalg.matrix_norm(target, 2)).to(device)

    def draw(self, p: nn.Parameter, generator: torch.Generator) -> None:
        """Give p a fresh gradient. T and the noise both have spectral norm 1, the noise nearly so."""
        noise = torch.randn(self.target.shape, generator=generator, device=p.device)
        p.grad = noise / sum(map(sqrt, self.target.shape)) - self.target

    def run(self, optimizer: Optimizer, steps: int) -> Run:
        """Steps of this optimizer's one parameter, each with a gradient drawn beforehand, untimed."""
        (p,) = optimizer.param_groups[0]["params"]
        generator = torch.Generator(p.device).manual_seed(1)
        return Run(optimizer.step, steps, warm_up=False, prepare=lambda: self.draw(p, generator))

    def judge(self, optimizer: Optimizer, seconds: Sequence[float]) -> Side:
        """Where the optimizer has brought its parameter."""
        (p,) = optimizer.param_groups[0]["params"]
        w = p.detach().double()
        w, target = (w, self.target) if w.shape[0] >= w.shape[1] else (w.mT, self.target.mT)
        error = (w.mT @ w - torch.eye(w.shape[1], dtype=w.dtype, device=w.device)).abs()
        attained = (target * w).sum() / torch.linalg.matrix_norm(target.double(), "nuc")
        return Side(spread(seconds), float(error.max()), float(error.norm()), float(attained))


def measure(
    shapes: Sequence[tuple[int, int]], methods: Sequence[str], steps: int, device: torch.device, console: Console
) -> list[Row]:
    """Every method on every shape: `steps` of each library's steps, in turns."""
    rows = []
    for shape in shapes:
        problem = Problem(shape, device)
        for name in methods:
            with console.status(f"{name}, {shape[0]} x {shape[1]}"):
                rows.append(_measure(problem, shape, name, steps, device))
    return rows


def _measure(problem: Problem, shape: tuple[int, int], name: str, steps: int, device: torch.device) -> Row:
    method = METHODS[name]
    here = nn.Parameter(problem.start.clone())
    # EuclideanStiefel is the faster of geoopt's two, and has the metric of ours; it takes no wide matrices
    there = geoopt.ManifoldParameter(problem.start.clone(), manifold=geoopt.EuclideanStiefel())
    optimizers = {
        "ours": method.ours([here], **method.settings),
        "geoopt": method.theirs([there], **method.settings),
    }
    seconds = interleaved({side: problem.run(o, steps) for side, o in optimizers.items()}, device)
    sides = {side: problem.judge(o, seconds[side]) for side, o in optimizers.items()}
    return Row(shape, name, sides["ours"], sides["geoopt"], ratios(seconds["geoopt"], seconds["ours"]), steps)


def report(rows: Sequence[Row], device: torch.device) -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        "benchmark": "riemannian",
        "hardware": describe(device),
        "geoopt": f"{geoopt.__version__}, EuclideanStiefel",
        "dtype": "float32",
        "problem": "maximise <T, W> from a uniform W on Stiefel; Gaussian T of spectral norm 1; every gradient with "
        "fresh Gaussian noise of spectral norm about 1; seeds 0 and 1",
        "settings": {row.method: dict(METHODS[row.method].settings) for row in rows},
        "rows": [row.to_dict() for row in rows],
    }


def table(rows: Sequence[Row], device: torch.device) -> Table:
    """Both sides of every row, with quartiles of the speedup in brackets, in 80 columns."""
    hardware = describe(device)
    result = Table(
        title=f"One step, float32 weights, on {hardware['device']} ({hardware['cpu']}, {hardware['threads']} threads)",
        box=box.SIMPLE_HEAD,
        caption_justify="left",
        caption=f"geoopt {geoopt.__version__}, EuclideanStiefel. Quartiles in brackets. Violation: largest entry of "
        f"|W^T W - I|, and its Frobenius norm, after {rows[0].steps} steps.",
    )
    result.add_column("method", no_wrap=True)
    for column in ("ms", "geoopt", "times faster", "violation", "geoopt"):
        result.add_column(column, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        if i == 0 or rows[i - 1].shape != row.shape:
            result.add_section()
            result.add_row(f"[bold]{row.shape[0]} x {row.shape[1]}[/]")
        result.add_row(
            row.method,
            *(f"{1e3 * side.seconds.median:.3g}" for side in (row.ours, row.geoopt)),
            f"{row.speedup.median:.2f} [dim]({row.speedup.lower:.2f}-{row.speedup.upper:.2f})[/]",
            *(f"{side.violation:.0e} {side.frobenius:.0e}" for side in (row.ours, row.geoopt)),
        )
    return result
