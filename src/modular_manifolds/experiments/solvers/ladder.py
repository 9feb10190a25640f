"""The solvers that are compared: one problem, Stiefel x spectral, answered from roughly to exactly."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from modular_manifolds import Geometry, Spectral, Stiefel
from modular_manifolds.baselines import ADMM, DualAscent, FixedPoint, OneStep, StiefelSpectralSolver
from modular_manifolds.experiments.methods import Method
from modular_manifolds.linalg import Precision, spectral_norm, sym
from modular_manifolds.lmo import Solver

REFERENCE = "exact"
"""What the others are compared with."""

_LARGE = 16_384
"""Entries from which a published solver gets the bfloat16 products that it was published with."""


@dataclass(frozen=True)
class TangentGradient(StiefelSpectralSolver):
    """The Riemannian gradient at unit spectral norm: steepest under another norm than the one asked for."""

    def maximise(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
    ) -> Float[Tensor, "*b m n"]:
        """G - W sym(W^T G), over its largest singular value."""
        tangent = g - w @ sym(w.mT @ g)
        length = spectral_norm(tangent)[..., None, None]
        return tangent / length.masked_fill(length == 0, 1.0)


@dataclass(frozen=True)
class ScaledDualAscent(DualAscent):
    """Dual ascent on G / ||G||_2, the size that its published step suits."""

    def maximise(
        self, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision
    ) -> Float[Tensor, "*b m n"]:
        """As of `DualAscent`, for the scaled G: the direction sought is the same."""
        length = spectral_norm(g)[..., None, None]
        return super().maximise(w, g / length.masked_fill(length == 0, 1.0), precision)


@dataclass(frozen=True)
class Rung:
    """A solver, or None for the closed form in `precision`; `label` is short enough for a figure."""

    summary: str
    label: str
    solver: Solver | None = None
    precision: Precision = "exact"
    slow: bool = False
    """Whether it may be given fewer seeds than the others."""

    def geometry(self, m: int, n: int) -> Geometry:
        """For an (m, n) weight; small matrices always have products in their own precision, as in `compare`."""
        if self.solver is None:
            return Geometry(Stiefel(), Spectral(), precision=self.precision)
        precision: Precision = "fast" if m * n > _LARGE else "exact"
        return Geometry(Stiefel(), Spectral(), solver=self.solver, precision=precision)

    @property
    def method(self) -> Method:
        """As something to train with."""
        return Method(self.summary, lrs=(), geometry=self.geometry)


def _ascent(ascents: int, kind: type[DualAscent] = DualAscent) -> Rung:
    # the direction comes before the ascent in every step of the published loop, so that its last ascent is not used
    scaled = ", scaled" if kind is ScaledDualAscent else ""
    steps = "1 ascent" if ascents == 1 else f"{ascents} ascents"
    summary = f"dual ascent, {steps} of the multiplier and one matrix sign more" + (scaled and ", of G / ||G||_2")
    return Rung(summary, steps + scaled, kind(steps=ascents + 1), slow=ascents >= 10)


LADDER: Mapping[str, Rung] = {
    "tangent-gradient": Rung("the gradient's tangent part, scaled to unit norm", "tangent gradient", TangentGradient()),
    "one-step": Rung("msign of the tangent gradient, which is dual ascent with 0 ascents", "one step", OneStep()),
    **{f"ascent-{ascents}": _ascent(ascents) for ascents in (1, 3, 10, 30, 100)},
    **{f"scaled-ascent-{ascents}": _ascent(ascents, ScaledDualAscent) for ascents in (10, 100)},
    "admm": Rung("ADMM as published, 10 steps of two matrix signs", "ADMM", ADMM(), slow=True),
    "fixed-point": Rung("Su's fixed point as published, 20 steps", "fixed point", FixedPoint(), slow=True),
    "fast": Rung("closed form, within 5 % of steepest descent", "fast", precision="fast"),
    "balanced": Rung("closed form, within 1 %", "balanced", precision="balanced"),
    REFERENCE: Rung("closed form, within 0.01 %", "exact"),
}
