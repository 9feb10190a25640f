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
    """The least norm.dual(g + n), in whitened coordinates, that is found over n normal to the manifold at w.

    By weak duality no tangent a with norm(a) <= 1 has a larger -<g, a>, whichever n is: <n, a> is 0 for all of those,
    or negative at a boundary, where n is in the polar of the tangent cone. Only the norm's dual enters into the bound.
    Its maximiser is the slope that leads the search, taken of the dual norm smoothed by a multiple of the square of a
    (`to_ball`), the less the closer the end is.

    Args:
        geometry: of one metric, norm and tangent projection; its directions are not used.
        w: one weight, in float64.
        g: one gradient.
        iterations: of L-BFGS, for each amount of smoothing; ten times as many of projected descent at a boundary.
    """
    manifold, norm = geometry.manifold, geometry.norm

    def normal(h: Tensor) -> Tensor:
        return h - manifold.to_tangent(w, h)

    def dual(n: Tensor) -> Tensor:
        return norm.dual(manifold.unwhiten(w, g + n))

    start = manifold.unwhiten(w, g)
    unit = float(start.norm()) / max(float(norm.lmo(start).norm()), 1e-300)
    n = normal(-g)
    best = torch.minimum(dual(n), dual(0 * n))
    for smoothing in SMOOTHING if unit > 0 else ():
        smoothed = _smoothed(geometry, w, g, smoothing * unit)
        if manifold.conic:
            n = descend(smoothed, normal, n, smoothing * unit, 10 * iterations)
        else:
            n = normal(minimise(smoothed, normal, n, iterations))
        before, best = best, torch.minimum(best, dual(n))
        if before - best <= SETTLED * best and smoothing < 1e-2:
            break
    return best


Smooth = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A function that returns its value and its slope."""


def _smoothed(geometry: Geometry, w: Tensor, g: Tensor, weight: float) -> Smooth:
    """The maximum of <a, y> - weight |a|^2 / 2 over the ball, as a function of n, where y is g + n whitened."""
    manifold, norm = geometry.manifold, geometry.norm

    def value_and_slope(n: Tensor) -> tuple[Tensor, Tensor]:
        y = manifold.unwhiten(w, g + n)
        try:
            a = norm.to_ball(y / weight)
            value = (y * a).sum() - weight * a.square().sum() / 2
        except NotImplementedError:
            a = -norm.lmo(y)
            value = (y * a).sum()
        return value, manifold.unwhiten(w, a)

    return value_and_slope


def minimise(function: Smooth, onto: Callable[[Tensor], Tensor], start: Tensor, iterations: int) -> Tensor:
    """Where L-BFGS ends on function(onto(x)), for an orthogonal projection onto a space."""
    x = start.clone().requires_grad_()
    solver = torch.optim.LBFGS(
        [x], max_iter=iterations, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        with torch.no_grad():
            value, slope = function(onto(x))
            x.grad = onto(slope).contiguous()
        return value

    solver.step(closure)  # type: ignore[no-untyped-call]
    return x.detach()


def descend(function: Smooth, onto: Callable[[Tensor], Tensor], start: Tensor, step: float, iterations: int) -> Tensor:
    """Where projected descent ends on a convex cone, accelerated and restarted (O'Donoghue & Candes 2015)."""
    x, ahead, t = start, start, 1.0
    for _ in range(iterations):
        slope = function(ahead)[1]
        before, x = x, onto(ahead - step * slope)
        moved = x - before
        if float(moved.norm()) <= 1e-13 * float(x.norm()):
            break
        uphill = float((slope * moved).sum()) > 0
        t, last = (1.0, 1.0) if uphill else ((1 + (1 + 4 * t * t) ** 0.5) / 2, t)
        ahead = x + (last - 1) / t * moved
    return x
