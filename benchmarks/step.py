"""Time of one optimizer step beside `torch.optim.Muon`, and how good a direction that step took."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.optim import Optimizer

import modular_manifolds as mm
from benchmarks.hardware import describe
from benchmarks.muon_fp32 import Float32Muon
from benchmarks.timing import Run, Spread, interleaved, ratios, spread
from modular_manifolds.baselines import DualAscent, OneStep
from modular_manifolds.lmo import Solver

REFERENCE = "muon"
SHAPES = ((512, 512), (1024, 1024), (2048, 512), (768, 3072))
LR = 1e-3


@dataclass(frozen=True)
class Method:
    """An optimizer of one weight, by learning rate.

    Args:
        build: from a parameter and a learning rate.
        products: what the matrix products of the direction are computed in.
        slow: takes part in two rounds only, unwarmed.
    """

    build: Callable[[nn.Parameter, float], Optimizer]
    products: str
    slow: bool = False


def _solved_by(solver: Solver) -> Callable[[nn.Parameter, float], Optimizer]:
    """Manifold Muon with a published solver, its direction in bfloat16 as published.

    It lands by the float32 polar factor, as the library does for any solver; the blog's code lands in bfloat16,
    which is cheaper and rounds W itself.
    """
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral(), solver=solver, precision="fast")
    return lambda p, lr: mm.ModularOptimizer([{"params": [p], "geometry": geometry}], lr=lr)


METHODS: Mapping[str, Method] = {
    REFERENCE: Method(lambda p, lr: torch.optim.Muon([p], lr=lr), "bf16"),
    "muon-fp32": Method(lambda p, lr: Float32Muon([p], lr=lr), "fp32"),
    "manifold-muon": Method(lambda p, lr: mm.ManifoldMuon([p], lr=lr), "fp32"),
    "manifold-muon-fast": Method(lambda p, lr: mm.ManifoldMuon([p], lr=lr, precision="fast"), "bf16"),
    "one-step": Method(_solved_by(OneStep()), "bf16"),
    "dual-ascent": Method(_solved_by(DualAscent()), "bf16", slow=True),
    "adamw": Method(lambda p, lr: torch.optim.AdamW([p], lr=lr), "none"),
}
DEFAULT_METHODS = tuple(name for name, method in METHODS.items() if not method.slow)


@dataclass(frozen=True)
class Row:
    """One method on one shape.

    Args:
        ratio: of its seconds to the reference's in the same round.
        gap: what the tangent part of its direction, at unit spectral norm, lacks to the optimum, relative to it.
        tangency: length of what its direction sticks out of the tangent space, over its length.
    """

    shape: tuple[int, int]
    method: str
    products: str
    seconds: Spread
    ratio: Spread
    rounds: int
    gap: float
    tangency: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            **vars(self),
            "shape": list(self.shape),
            "seconds": self.seconds._asdict(),
            "ratio": self.ratio._asdict(),
        }


def measure(
    shapes: Sequence[tuple[int, int]], methods: Sequence[str], rounds: int, device: torch.device, console: Console
) -> list[Row]:
    """Every method on every shape; ratios are to `muon`, or to the first method where that is not among them."""
    rows = []
    for shape in shapes:
        with console.status(f"{shape[0]} x {shape[1]}"):
            rows += _measure_shape(shape, methods, rounds, device)
    return rows


def _measure_shape(shape: tuple[int, int], methods: Sequence[str], rounds: int, device: torch.device) -> list[Row]:
    generator = torch.Generator().manual_seed(0)
    w = mm.Stiefel().random(shape, generator=generator).to(device)
    g = torch.randn(shape, generator=generator).to(device)
    runs = {
        name: Run(_ready(METHODS[name], w, g, LR).step, min(rounds, 2), warm_up=False)
        if METHODS[name].slow
        else Run(_ready(METHODS[name], w, g, LR).step, rounds)
        for name in methods
    }
    seconds = interleaved(runs, device)
    reference = seconds[REFERENCE if REFERENCE in seconds else methods[0]]
    rows = []
    for name, sample in seconds.items():
        gap, tangency = certify(METHODS[name], w, g)
        method = METHODS[name]
        ratio = ratios(sample, reference)
        rows.append(Row(shape, name, method.products, spread(sample), ratio, len(sample), gap, tangency))
    return rows


def _ready(method: Method, w: Tensor, g: Tensor, lr: float) -> Optimizer:
    """An optimizer of its own copy of w, with the gradient in place."""
    parameter = nn.Parameter(w.clone())
    parameter.grad = g.clone()
    return method.build(parameter, lr)


def certify(method: Method, w: Tensor, g: Tensor, lr: float = 0.1) -> tuple[float, float]:
    """Relative gap and tangency of the direction in which the optimizer really moved W; see `Row`.

    The direction is half the difference between the steps for G and -G: weight decay and the curvature of the
    landing, the same for both, cancel.
    """
    ends = []
    for gradient in (g, -g):
        optimizer = _ready(method, w, gradient, lr)
        optimizer.step()
        ends.append(optimizer.param_groups[0]["params"][0].detach().double())
    a = ends[0] - ends[1]
    geometry = mm.Geometry(mm.Stiefel(), mm.Spectral())
    tangent = geometry.manifold.to_tangent(w.double(), a)
    gap = geometry.certificate(w, g, tangent / geometry.norm(tangent)).gap
    off = torch.linalg.matrix_norm(a - tangent) / torch.linalg.matrix_norm(a)
    return float(gap), float(off)


def report(rows: Sequence[Row], device: torch.device) -> dict[str, Any]:
    """Plain data for JSON."""
    return {
        "benchmark": "step",
        "hardware": describe(device),
        "dtype": "float32",
        "problem": "uniform W on Stiefel, Gaussian G, seed 0",
        "reference": REFERENCE if any(row.method == REFERENCE for row in rows) else rows[0].method,
        "rows": [row.to_dict() for row in rows],
    }


def table(rows: Sequence[Row], device: torch.device) -> Table:
    """Ratios, with quartiles in brackets, in 80 columns."""
    hardware = describe(device)
    reference = REFERENCE if any(row.method == REFERENCE for row in rows) else rows[0].method
    result = Table(
        title=f"One step, float32 weights, on {hardware['device']} ({hardware['cpu']}, {hardware['threads']} threads)",
        box=box.SIMPLE_HEAD,
        caption_justify="left",
        caption="Quartiles in brackets. Gap: what the step's tangent part, at unit spectral norm, "
        "lacks to steepest descent. Tangency: the share of the step off the tangent space.",
    )
    result.add_column("method", no_wrap=True)
    for column in ("ms", f"x {reference}", "gap", "tangency"):
        result.add_column(column, justify="right", no_wrap=True)
    for i, row in enumerate(rows):
        if i == 0 or rows[i - 1].shape != row.shape:
            result.add_section()
            result.add_row(f"[bold]{row.shape[0]} x {row.shape[1]}[/]")
        result.add_row(
            row.method,
            _three_digits(1e3 * row.seconds.median),
            f"{_three_digits(row.ratio.median)} [dim]({row.ratio.lower:.3g}-{row.ratio.upper:.3g})[/]",
            f"{row.gap:.1e}",
            f"{row.tangency:.1e}",
        )
    return result


def _three_digits(x: float) -> str:
    """Three significant digits, and no exponent for large numbers."""
    return f"{x:.3g}" if x < 1000 else f"{x:.0f}"
