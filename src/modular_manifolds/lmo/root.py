"""Manifolds whose tangent space is one hyperplane, {A : <Theta, A> = 0}: a convex problem in one variable.

By duality, the steepest of the tangent unit ball is as steep as

    min over lambda of phi(lambda) = ||G + lambda Theta||_dual,    phi' = f(lambda) = <Theta, A(lambda)>,

where A(lambda) is the norm's own LMO at G + lambda Theta, with the sign that ascends. f is monotone, and its zero is
sought between two values of lambda at which it is negative and positive (for the spectral sphere: Su 2025,
kexue.fm/archives/11241, and SSO, arXiv 2601.08393, which bisect).

Two things make a handful of LMOs enough. The mean of the two A with the weights that cancel f is tangent, and attains
what the two supporting lines do where they cross: its gap is quadratic in the distance between the lambdas, and zero
where phi has a kink there, as it has at every lambda that makes a singular value zero. And the next lambda is that
crossing and the minimum of the cubic through both values and slopes by turns: one is exact at a kink, the other fast
where phi is smooth.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from modular_manifolds.linalg import Precision, drop_rounding, normalise, readable
from modular_manifolds.lmo.table import bounds, directions
from modular_manifolds.manifolds import Manifold, SpectralSphere, Sphere
from modular_manifolds.norms import Norm

EVALUATIONS = 12
"""LMOs at most; about five are taken, and eight but for the worst conditioned gradients."""

TOLERANCE: Mapping[Precision, float] = {"exact": 8e-7, "balanced": 2e-3, "fast": 1e-2}
"""Relative gap at which to stop: of what each precision promises, what its LMOs do not need."""

GROWTH = 4.0
"""Of the step that looks for a second side."""


class Point(NamedTuple):
    """What is known at one lambda."""

    at: Float[Tensor, "*b 1 1"]
    slope: Float[Tensor, "*b 1 1"]
    value: Float[Tensor, "*b 1 1"]
    a: Float[Tensor, "*b m n"]
    known: Bool[Tensor, "*b 1 1"]


@directions.register(
    Sphere,
    Norm,
    kind="root",
    cost="about 5 of the norm's LMOs, at most 12",
    source="weak duality in one variable; kexue.fm/archives/11241",
)
@directions.register(
    SpectralSphere,
    Norm,
    kind="root",
    cost="about 5 of the norm's LMOs, at most 12; 1 eigh",
    source="kexue.fm/archives/11241; SSO, arXiv 2601.08393",
)
def hyperplane(
    manifold: Sphere | SpectralSphere,
    norm: Norm,
    w: Float[Tensor, "*b m n"],
    g: Float[Tensor, "*b m n"],
    precision: Precision,
) -> Float[Tensor, "*b m n"]:
    """Minus the mean of the two A on either side of the zero of f for which <Theta, A> = 0."""
    left, right = _bracket(norm, _normal(manifold, w), g, precision, EVALUATIONS)
    return -_mean(norm, _normal(manifold, w), left, right)


@bounds.register(Sphere, Norm)
@bounds.register(SpectralSphere, Norm)
def hyperplane_bound(
    manifold: Manifold, norm: Norm, w: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]
) -> Float[Tensor, "*b"]:
    """The smallest ||G + lambda Theta||_dual seen: each of them is an upper bound."""
    normal = _normal(manifold, w)
    left, right = _bracket(norm, normal, g, "exact", 3 * EVALUATIONS)
    g = g - normal * _inner(normal, g)
    return torch.minimum(norm.dual(g + left.at * normal), norm.dual(g + right.at * normal))


def _normal(manifold: Manifold, w: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b m n"]:
    """Theta, of Frobenius norm 1."""
    return manifold.leading(w) if isinstance(manifold, SpectralSphere) else normalise(w)


def _bracket(
    norm: Norm, normal: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"], precision: Precision, evaluations: int
) -> tuple[Point, Point]:
    """The nearest points found on the left and on the right of the zero of f."""
    tangent = g - normal * _inner(normal, g)
    g = drop_rounding(tangent - normal * _inner(normal, tangent), g)

    def evaluate(at: Float[Tensor, "*b 1 1"]) -> Point:
        a = -norm.lmo(g + at.to(g.dtype) * normal, precision)
        slope = _inner(normal, a, torch.float64)
        return Point(at, slope, _inner(g, a, torch.float64) + at * slope, a, torch.ones_like(at, dtype=torch.bool))

    point = evaluate(torch.zeros(*g.shape[:-2], 1, 1, dtype=torch.float64, device=g.device))
    nowhere = point._replace(known=torch.zeros_like(point.known))
    left = _where(point.slope <= 0, point, nowhere)
    right = _where(point.slope >= 0, point, nowhere)
    size = _inner(point.a, point.a, torch.float64)
    step = -2 * point.slope * point.value / size.masked_fill(size == 0, 1.0)
    for turn in range(evaluations - 1):
        solved = _gap(left, right) <= TOLERANCE[precision]
        # the only device on which looking at a result costs nothing
        if readable(g) and bool(solved.all()):
            break
        inside = _crossing(left, right) if turn % 2 else _cubic_minimum(left, right)
        middle = (left.at + right.at) / 2
        inside = torch.where((left.at < inside) & (inside < right.at), inside, middle)
        at = torch.where(left.known & right.known, inside, point.at + step)
        step = step * GROWTH
        point = evaluate(at)
        # what is solved stays as it is, so that the others of a batch make no difference
        left = _where((point.slope <= 0) & ~(left.known & (left.at > at)) & ~solved, point, left)
        right = _where((point.slope >= 0) & ~(right.known & (right.at < at)) & ~solved, point, right)
    return _where(left.known, left, right), _where(right.known, right, left)


def _mean(norm: Norm, normal: Float[Tensor, "*b m n"], left: Point, right: Point) -> Float[Tensor, "*b m n"]:
    """The tangent mean of both A. Where only one side was found, the tangent part of that one, shortened to fit."""
    rise = right.slope - left.slope
    share = torch.where(rise > 0, right.slope / rise.masked_fill(rise == 0, 1.0), 0.5)
    a = left.a + (1 - share).to(left.a.dtype) * (right.a - left.a)
    a = a - normal * _inner(normal, a)
    return a / norm(a)[..., None, None].clamp(min=1.0)


def _gap(left: Point, right: Point) -> Float[Tensor, "*b 1 1"]:
    """What the mean of both A attains less than the smaller value of phi, relative to it."""
    top = torch.minimum(left.value, right.value)
    gap = top - (left.value + left.slope * (_crossing(left, right) - left.at))
    solved = (left.slope == 0) & left.known | (right.slope == 0) & right.known
    gap = torch.where(left.known & right.known, gap / top.masked_fill(top == 0, 1.0), torch.inf)
    return gap.masked_fill(solved, 0.0)


def _crossing(left: Point, right: Point) -> Float[Tensor, "*b 1 1"]:
    """Where the two supporting lines cross."""
    rise = right.slope - left.slope
    width = right.at - left.at
    return left.at + (right.slope * width - (right.value - left.value)) / rise.masked_fill(rise == 0, 1.0)


def _cubic_minimum(left: Point, right: Point) -> Float[Tensor, "*b 1 1"]:
    """Minimum of the cubic with both values and slopes (Nocedal & Wright 2006, eq. 3.59)."""
    width = right.at - left.at
    chord = (right.value - left.value) / width.masked_fill(width == 0, 1.0)
    mean = left.slope + right.slope - 3 * chord
    root = (mean.square() - left.slope * right.slope).clamp(min=0).sqrt()
    bottom = right.slope - left.slope + 2 * root
    return right.at - width * (right.slope + root - mean) / bottom.masked_fill(bottom == 0, 1.0)


def _where(condition: Bool[Tensor, "*b 1 1"], this: Point, other: Point) -> Point:
    return Point(*(torch.where(condition, x, y) for x, y in zip(this, other, strict=True)))


def _inner(x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"], dtype: torch.dtype | None = None) -> Tensor:
    return (x.to(dtype or x.dtype) * y.to(dtype or y.dtype)).sum((-2, -1), keepdim=True)
