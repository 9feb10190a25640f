"""An upper bound on what a tangent direction can attain that knows no formula for it."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.geometry import Geometry

SMOOTHING = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Weights of half the square of a, relative to what makes g as long as the ball is wide."""

SETTLED = 1e-8
"""Relative gain from less smoothing at which it is enough."""


def dual_bound(
    geometry: Geometry, w: Float[Tensor, "m n"], g: Float[Tensor, "m n"], iterations: int = 60
) -> Float[Tensor, ""]:
    """The least norm.dual(g + n), in whitened coordinates, that L-BFGS finds over n normal to the manifold at w.

    By weak duality no tangent a with norm(a) <= 1 has a larger -<g, a>, whichever n is: <n, a> >= 0 for all of those.
    Only the norm's dual enters into the bound. Its maximiser is the slope that leads the search, taken of the dual
    norm smoothed by a multiple of the square of a (`to_ball`), the less the closer the end is.

    Args:
        geometry: of one metric, norm and tangent projection; its directions are not used.
        w: one weight, in float64.
        g: one gradient.
        iterations: of L-BFGS, for each amount of smoothing.
    """
    manifold, norm = geometry.manifold, geometry.norm

    def normal(h: Tensor) -> Tensor:
        return manifold.to_tangent(w, h) - h

    def dual(n: Tensor) -> Tensor:
        return norm.dual(manifold.unwhiten(w, g + n))

    start = manifold.unwhiten(w, g)
    unit = float(start.norm()) / max(float(norm.lmo(start).norm()), 1e-300)
    free = torch.zeros_like(g)
    best = torch.minimum(dual(normal(free)), dual(normal(g)))
    for smoothing in SMOOTHING if unit > 0 else ():
        free = minimise(_smoothed(geometry, w, g, normal, smoothing * unit), free, iterations)
        before, best = best, torch.minimum(best, dual(normal(free)))
        if before - best <= SETTLED * best and smoothing < 1e-2:
            break
    return best


def _smoothed(
    geometry: Geometry, w: Tensor, g: Tensor, normal: Callable[[Tensor], Tensor], weight: float
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Value and slope at h of max <a, y> - weight |a|^2 / 2 over the ball, with y = g + normal(h), whitened."""
    manifold, norm = geometry.manifold, geometry.norm

    def value_and_slope(h: Tensor) -> tuple[Tensor, Tensor]:
        y = manifold.unwhiten(w, g + normal(h))
        try:
            a = norm.to_ball(y / weight)
            value = (y * a).sum() - weight * a.square().sum() / 2
        except NotImplementedError:
            a = -norm.lmo(y)
            value = (y * a).sum()
        return value, normal(manifold.unwhiten(w, a))

    return value_and_slope


def minimise(function: Callable[[Tensor], tuple[Tensor, Tensor]], start: Tensor, iterations: int) -> Tensor:
    """Where L-BFGS ends on a function that returns its value and its slope."""
    x = start.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [x], max_iter=iterations, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        with torch.no_grad():
            value, slope = function(x)
            x.grad = slope.contiguous()
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]
    return x.detach()
