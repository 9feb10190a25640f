"""The optimizers that are measured: ours, torch's and geoopt's, and published solvers of the same problem."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import geoopt
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import modular_manifolds as mm
from benchmarks.muon_fp32 import Float32Muon
from benchmarks.steppers import Layout, OptimizerStepper, OrthogonalStepper, Stepper
from benchmarks.workloads import GPT2, Workload
from modular_manifolds.baselines import ADMM, DualAscent, OneStep
from modular_manifolds.linalg import GAP, Precision
from modular_manifolds.lmo import Solver

REFERENCE = "muon"
REFERENCE_FP32 = "muon-fp32"


class Promise(NamedTuple):
    """The largest gap and tangency that a precision may have."""

    gap: float
    tangency: float


PROMISES: Mapping[Precision, Promise] = {precision: Promise(gap, tangency=1e-4) for precision, gap in GAP.items()}
"""By precision, for float32 weights."""

Start = Callable[[Sequence[Tensor], Sequence[Tensor], float], Stepper]


@dataclass(frozen=True)
class Method:
    """A way to step weights.

    Args:
        start: from weights, gradients and a learning rate.
        norm: the one whose steepest descent is sought, in which the gap is measured.
        promise: what the precision in use promises.
        slow: takes part in two rounds only, unwarmed, and on a whole network only if asked.
    """

    start: Start
    norm: mm.Norm = mm.Spectral()  # noqa: RUF009
    promise: Promise | None = None
    slow: bool = False

    def keeps(self, gap: float, tangency: float) -> bool | None:
        """Whether these keep the promise; None where there is none."""
        return None if self.promise is None else gap <= self.promise.gap and tangency <= self.promise.tangency


def _optimizer(build: Callable[[list[nn.Parameter], float], Optimizer], layout: Layout = Layout()) -> Start:  # noqa: B008
    def start(weights: Sequence[Tensor], gradients: Sequence[Tensor], lr: float) -> Stepper:
        return OptimizerStepper(lambda ps: build(ps, lr), layout, weights, gradients)

    return start


def _manifold_muon(precision: Precision) -> Method:
    return Method(
        _optimizer(lambda ps, lr: mm.ManifoldMuon(ps, lr=lr, precision=precision)), promise=PROMISES[precision]
    )


def _geometry(geometry: mm.Geometry) -> Start:
    return _optimizer(lambda ps, lr: mm.ModularOptimizer([{"params": ps, "geometry": geometry}], lr=lr))


def _solved_by(solver: Solver) -> Start:
    """Manifold Muon with a published solver, its direction in bfloat16 as published.

    It lands by the float32 polar factor, as the library does for any solver; the blog's code lands in bfloat16,
    which is cheaper and rounds W itself.
    """
    return _geometry(mm.Geometry(mm.Stiefel(), mm.Spectral(), solver=solver, precision="fast"))


def _geoopt(optimizer: Callable[..., Optimizer]) -> Start:
    """As it ships, SGD without momentum, on EuclideanStiefel: the faster of geoopt's two, without wide matrices."""

    def build(ps: list[nn.Parameter], lr: float) -> Optimizer:
        on_manifold = []
        for p in ps:
            on_manifold.append(geoopt.ManifoldParameter(p.detach(), manifold=geoopt.EuclideanStiefel()))
            on_manifold[-1].grad = p.grad
        return optimizer(on_manifold, lr=lr)

    return _optimizer(build, Layout(tall=True))


_MATRICES = Layout(single=True)

METHODS: Mapping[str, Method] = {
    REFERENCE: Method(_optimizer(lambda ps, lr: torch.optim.Muon(ps, lr=lr), _MATRICES)),
    REFERENCE_FP32: Method(_optimizer(lambda ps, lr: Float32Muon(ps, lr=lr), _MATRICES)),
    "adamw": Method(_optimizer(lambda ps, lr: torch.optim.AdamW(ps, lr=lr))),
    **{
        "manifold-muon" if precision == "exact" else f"manifold-muon-{precision}": _manifold_muon(precision)
        for precision in get_args(Precision)
    },
    "stiefel-frobenius": Method(_geometry(mm.Geometry(mm.Stiefel(), mm.Frobenius())), norm=mm.Frobenius()),
    "one-step": Method(_solved_by(OneStep())),
    "dual-ascent": Method(_solved_by(DualAscent()), slow=True),
    "admm": Method(_solved_by(ADMM()), slow=True),
    "geoopt-sgd": Method(_geoopt(geoopt.optim.RiemannianSGD), norm=mm.Frobenius()),
    "geoopt-adam": Method(_geoopt(geoopt.optim.RiemannianAdam), norm=mm.Frobenius()),
    "orthogonal": Method(OrthogonalStepper, norm=mm.Frobenius(), slow=True),
}


def chosen(workload: Workload, names: Sequence[str] | None) -> list[str]:
    """The methods to run, the reference among them: those named, or all that take part without being asked."""
    if names is None:
        names = [name for name, method in METHODS.items() if not method.slow or workload != GPT2]
    return list(dict.fromkeys([REFERENCE, *names]))
