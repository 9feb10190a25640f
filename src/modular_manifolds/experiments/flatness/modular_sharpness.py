"""Modular sharpness: how fast the slope of the loss can change along an update of unit modular norm."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from modular_manifolds.experiments.flatness.curvature import Curvature
from modular_manifolds.geometry import Geometry
from modular_manifolds.modular import Plan

_TOLERANCE = 1e-4
_CANCELLED = 1e-6
_SHARES = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Of the old direction in the new one, beside 1 of the steepest."""


class Sharpest(NamedTuple):
    """The best that was found, a lower bound; `norm` is the modular norm of the direction, 1 up to rounding."""

    value: float
    norm: float
    products: int


def modular_sharpness(
    curvature: Curvature,
    plan: Plan,
    starts: list[Float[Tensor, " n"]],
    steps: int,
    on_step: Callable[[float], None] = lambda value: None,
) -> Sharpest:
    """The largest d^2/dt^2 of the loss at t = 0, along the geodesic that leaves with velocity u, over all tangent
    directions u with plan.norm(u) = 1.

    A generalised power method: from u towards the direction a of unit norm that has the largest inner product with
    Hess u. Where the value is a convex function of u, a is no worse than u (Journee, Nesterov, Richtarik & Sepulchre
    2010); as it need not be, the best of some mixtures (s u + a) / norm(s u + a) is taken. The maximum is not found
    for certain: the result is a lower bound.

    Args:
        curvature: of the loss, on its manifolds.
        plan: norms and budgets of the parameters; its manifolds do not matter.
        starts: directions to begin from, each for `steps` products at most.
        steps: see there.
        on_step: told the best value after every product.
    """
    names = list(curvature.manifolds)
    geometries = [replace_manifold(plan[name].geometry, curvature.manifolds[name]) for name in names]

    def norm(u: Float[Tensor, " n"]) -> float:
        return float(plan.norm(dict(zip(names, curvature.parts(u), strict=True))))

    def steepest(slope: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        places = zip(geometries, names, curvature.weights, curvature.parts(slope), strict=True)
        return curvature.flat([plan[name].budget * geometry.lmo(w, -part) for geometry, name, w, part in places])

    best, products = Sharpest(-inf, 0.0, 0), 0
    for start in starts:
        u = curvature.to_tangent(start)
        u = u / norm(u)
        slope = curvature.along_manifolds(u)
        value = float(u @ slope)
        for _ in range(steps - 1):
            a = steepest(slope)
            change = curvature.along_manifolds(a)
            products += 1
            mixed = [(share * u + a, share * slope + change) for share in _SHARES]
            lengths = [norm(v) for v, _ in mixed]
            # where a is opposite to u, they cancel
            values = [
                float(v @ hv) / size**2 if size > _CANCELLED else -inf
                for (v, hv), size in zip(mixed, lengths, strict=True)
            ]
            highest = max(values)
            on_step(max(value, highest, best.value))
            if highest - value <= _TOLERANCE * abs(value):
                break
            chosen = values.index(highest)
            (v, hv), size = mixed[chosen], lengths[chosen]
            u, slope, value = v / size, hv / size, highest
        products += 1
        if value > best.value:
            best = Sharpest(value, norm(u), 0)
    return best._replace(products=products)


def replace_manifold(geometry: Geometry, manifold: object) -> Geometry:
    """The same norm on another manifold, with the table's own direction."""
    return replace(geometry, manifold=manifold, solver=None)  # type: ignore[arg-type]
