"""One optimizer, and the ways to hold its weights near the Stiefel manifold: not at all, softly, or exactly."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import nn
from torch.distributed import ProcessGroup
from torch.optim import Optimizer

import modular_manifolds as mm
from modular_manifolds import Geometry, Spectral, Stiefel
from modular_manifolds.experiments.methods import METHODS, Method

STIEFEL = Stiefel()

FREE, PROJECTED, MANIFOLD_STEP = "free", "projected", "manifold-step"

OPTIMIZERS: Mapping[str, Method] = {
    "muon": METHODS["muon"],
    "adamw": METHODS["adamw"],
    "sgd": Method(
        "torch.optim.SGD as shipped, which has no momentum, weights free",
        lrs=(0.01, 0.03, 0.1),
        optimizer=torch.optim.SGD,
    ),
}


class Start(StrEnum):
    """Where raw weights begin: as the network is initialised, or at the nearest points of the manifold."""

    INIT = "init"
    MANIFOLD = "manifold"


@dataclass(frozen=True)
class Raw(Method):
    """The optimizer on raw weights that nothing holds, except a soft constraint for a `kappa` that is not None."""

    kappa: float | None = None
    start: Start = Start.MANIFOLD

    def settings(self, shapes: Iterable[tuple[int, int]], requested_momentum: float) -> str:
        """As of any method, with the constraint before it."""
        return f"kappa={self.kappa}, start={self.start}, {super().settings(shapes, requested_momentum)}"

    def place(self, model: nn.Module) -> None:
        """Put the weights where they start, and constrain them."""
        if self.start is Start.MANIFOLD:
            project(model)
        if self.kappa is not None:
            for layer in model.modules():
                if isinstance(layer, nn.Linear):
                    mm.soften(layer, "weight", STIEFEL, self.kappa)


@dataclass(frozen=True)
class Projected(Method):
    """The optimizer, with every weight replaced after every step by the nearest point of the manifold."""

    def settings(self, shapes: Iterable[tuple[int, int]], requested_momentum: float) -> str:
        """As of any method, with the constraint before it."""
        return f"projected onto {STIEFEL}, {super().settings(shapes, requested_momentum)}"

    def place(self, model: nn.Module) -> None:
        """Put the weights on the manifold."""
        project(model)

    def build(self, model: nn.Module, lr: float, momentum: float, group: ProcessGroup | None = None) -> Optimizer:
        """The optimizer, whose step ends on the manifold."""
        optimizer = super().build(model, lr, momentum, group)
        optimizer.register_step_post_hook(lambda *_: project(model))
        return optimizer


@torch.no_grad()
def project(model: nn.Module) -> None:
    """Put every weight onto the Stiefel manifold. Unlike `project_`, lets a diverged run go on with its NaN."""
    for weight in model.parameters():
        weight.copy_(STIEFEL.project(weight))


def constraints(optimizer: str, kappas: Iterable[float], start: Start) -> Mapping[str, Method]:
    """The methods to compare, by name: `optimizer` is one of OPTIMIZERS."""
    shipped, lrs = OPTIMIZERS[optimizer].optimizer, OPTIMIZERS[optimizer].lrs
    return {
        FREE: Raw(f"{optimizer}, weights free", lrs, optimizer=shipped, start=start),
        **{
            soft(kappa): Raw(f"{optimizer} on raw weights", lrs, optimizer=shipped, kappa=kappa, start=start)
            for kappa in sorted(kappas, reverse=True)
        },
        PROJECTED: Projected(f"{optimizer}, then the nearest point, step by step", lrs, optimizer=shipped),
        MANIFOLD_STEP: Method(
            "steepest descent along the manifold, with the optimizer's momentum",
            lrs,
            geometry=lambda m, n: Geometry(STIEFEL, Spectral()),
        ),
    }


def soft(kappa: float) -> str:
    """Name of the soft constraint."""
    return f"kappa-{kappa:g}"
