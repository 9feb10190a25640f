"""The methods that are compared: where each keeps the weights, and the optimizer that trains them."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.distributed import ProcessGroup
from torch.optim import Optimizer

import modular_manifolds as mm
from modular_manifolds import Geometry, Spectral, Sphere, Stiefel
from modular_manifolds.norms import Frobenius

_LARGE = 16_384


@dataclass(frozen=True)
class Method:
    """One row of the table below: the `geometry` of an (out, in) weight, or an `optimizer` as torch ships it."""

    summary: str
    lrs: tuple[float, ...]
    geometry: Callable[[int, int], Geometry] | None = None
    optimizer: Callable[..., Optimizer] | None = None

    def momentum(self, requested: float) -> float:
        """The momentum in force: `requested` on a manifold, else the shipped default (AdamW's first beta)."""
        if self.geometry is not None:
            return requested
        defaults = self._shipped_defaults()
        return float(defaults["momentum"] if "momentum" in defaults else defaults["betas"][0])

    def settings(self, shapes: Iterable[tuple[int, int]], requested_momentum: float) -> str:
        """Everything but the learning rate that decides what happens to weights of `shapes`, as one line."""
        if self.geometry is not None:
            geometries = dict.fromkeys(repr(self.geometry(*shape)) for shape in shapes)
            return f"{', '.join(geometries)}, momentum={requested_momentum:g}"
        defaults = {name: value for name, value in self._shipped_defaults().items() if name != "lr"}
        return ", ".join(f"{name}={value!r}" for name, value in defaults.items() if value not in (None, False))

    def place(self, model: nn.Module) -> None:
        """Put the weights where the method keeps them: projected onto its manifold, if it has one."""
        if self.geometry is not None:
            with torch.no_grad():
                for weight in model.parameters():
                    weight.copy_(self.geometry(*weight.shape).manifold.project(weight))

    def build(self, model: nn.Module, lr: float, momentum: float, group: ProcessGroup | None = None) -> Optimizer:
        """The optimizer of every weight of `model`, which must be where `place` puts it.

        Ranks of `group` hold the same weights: on a manifold each solves its share of them, others step all of them.
        """
        if self.geometry is None:
            assert self.optimizer is not None
            return self.optimizer(model.parameters(), lr=lr)
        groups = [
            {"params": [(name, weight)], "geometry": self.geometry(*weight.shape)}
            for name, weight in model.named_parameters()
        ]
        return mm.ModularOptimizer(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, process_group=group)

    def _shipped_defaults(self) -> Mapping[str, Any]:
        assert self.optimizer is not None
        return self.optimizer([nn.Parameter(torch.zeros(1, 1))]).defaults


def _dual_ascent(m: int, n: int) -> Geometry:
    # In the precision that is faster for a matrix of this size: bfloat16 products only pay in large ones.
    precision: mm.linalg.Precision = "fast" if m * n > _LARGE else "exact"
    return Geometry(Stiefel(), Spectral(), solver=mm.baselines.DualAscent(), precision=precision)


METHODS: Mapping[str, Method] = {
    "manifold-muon": Method(
        "Stiefel manifold, steepest descent under the spectral norm, solved exactly in closed form",
        lrs=(0.03, 0.1, 0.3),
        geometry=lambda m, n: Geometry(Stiefel(), Spectral()),
    ),
    "dual-ascent": Method(
        "the same problem solved by the blog's 100 steps of dual ascent",
        lrs=(0.03, 0.1, 0.3),
        geometry=_dual_ascent,
    ),
    "spel": Method(
        "the same problem answered in one step, msign of the tangent gradient",
        lrs=(0.03, 0.1, 0.3),
        geometry=lambda m, n: Geometry(Stiefel(), Spectral(), solver=mm.baselines.OneStep()),
    ),
    "sphere-muon": Method(
        "only the Frobenius norm of every matrix held, at the Stiefel manifold's own; steepest descent under the "
        "spectral norm",
        lrs=(0.03, 0.1, 0.3),
        geometry=lambda m, n: Geometry(Sphere(radius=math.sqrt(min(m, n))), Spectral(), precision="balanced"),
    ),
    "hypersphere": Method(
        "only the Frobenius norm of every matrix held, at the Stiefel manifold's own; steepest descent under it",
        lrs=(0.1, 0.3, 1.0),
        geometry=lambda m, n: Geometry(Sphere(radius=math.sqrt(min(m, n))), Frobenius()),
    ),
    "muon": Method(
        "torch.optim.Muon as shipped, on every matrix, weights free",
        lrs=(0.01, 0.03, 0.1),
        optimizer=torch.optim.Muon,
    ),
    "adamw": Method(
        "torch.optim.AdamW as shipped, weights free",
        lrs=(0.001, 0.003, 0.01),
        optimizer=torch.optim.AdamW,
    ),
}

SCALED = "@"
"""Between a method's name and what its radii are multiplied with."""


def method_of(name: str) -> Method:
    """The method that a name stands for: one of the table, or, as `manifold-muon@2`, one with scaled manifolds.

    Radii, and with them the learning rates of its grid, are as many times those of the table: the angles stay.

    Raises:
        KeyError: the table has no such method.
        ValueError: the number is not positive, or the method's manifolds have no radius.
    """
    known, scaled, number = name.partition(SCALED)
    method = METHODS[known]
    if not scaled:
        return method
    try:
        factor = float(number)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise ValueError(f"{name}: {number!r} is no positive number to scale radii with")
    if method.geometry is None:
        raise ValueError(f"{name}: the weights of {known} are free and have no radius")
    return replace(
        method,
        summary=f"{method.summary}; radii times {factor:g}",
        lrs=tuple(factor * lr for lr in method.lrs),
        geometry=partial(_scaled, method.geometry, factor),
    )


def _scaled(geometry: Callable[[int, int], Geometry], factor: float, m: int, n: int) -> Geometry:
    unscaled = geometry(m, n)
    manifold: Any = unscaled.manifold
    return replace(unscaled, manifold=replace(manifold, radius=factor * manifold.radius))
