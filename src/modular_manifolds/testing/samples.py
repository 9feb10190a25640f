"""Points, tangent vectors and gradients of a case."""

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.linalg import length, normalise
from modular_manifolds.manifolds import Manifold
from modular_manifolds.testing.case import Case


def inner(x: Float[Tensor, "*b m n"], y: Float[Tensor, "*b m n"]) -> Float[Tensor, "*b"]:
    """Frobenius inner product in float64."""
    return (x.double() * y.double()).sum((-2, -1))


def size(x: Float[Tensor, "*b m n"]) -> float:
    """The largest Frobenius norm in a batch; 0 for none."""
    return float(length(x.detach().double()).max()) if x.numel() else 0.0


def interior(case: Case[Manifold], number: int = 0) -> Float[Tensor, "*b m n"]:
    """A random point."""
    generator = torch.Generator().manual_seed(1000 * case.seed + number)
    return case.subject.random(case.shape, generator=generator, dtype=case.dtype)


def point(case: Case[Manifold], number: int = 0) -> Float[Tensor, "*b m n"]:
    """A random point, which for two seeds in three has some singular values on the boundary, if there is one."""
    return to_boundary(case.subject, interior(case, number), case.seed + number)


def to_boundary(manifold: Manifold, x: Float[Tensor, "*b m n"], seed: int) -> Float[Tensor, "*b m n"]:
    """A point made from x, with some singular values at an upper bound, at a lower one, or left alone by turns."""
    factor = (2.0, 0.5, 1.0)[seed % 3]
    return manifold.project(factor * x) if manifold.conic and factor != 1 else x


def numbers(manifold: Manifold) -> tuple[int, ...]:
    """Of the points at which to look for an order of convergence, the best of which counts.

    One; but three where there is a boundary, all inside or all on it: the kink of one nearby looks like a low order.
    """
    return (0, 3, 6) if manifold.conic else (0,)


def tangent(case: Case[Manifold], x: Float[Tensor, "*b m n"], number: int = 1) -> Float[Tensor, "*b m n"]:
    """A tangent vector at x, as long as x in the Frobenius norm; zero where there is no other."""
    v = case.subject.to_tangent(x, case.gaussian(number, x.shape))
    if case.subject.dimension(x.shape) == 0:
        return torch.zeros_like(v)
    return normalise(v) * length(x)


def flat(manifold: Manifold, x: Float[Tensor, "*b m n"], u: Float[Tensor, "*b m n"]) -> bool:
    """Whether the metric at x is the Frobenius inner product."""
    return torch.equal(manifold.whiten(x, u), u)


def normal_gradient(manifold: Manifold, x: Float[Tensor, "*b m n"], g: Float[Tensor, "*b m n"]) -> Tensor:
    """A gradient, made from any g, against which no tangent direction at x decreases: minus the normal part of g.

    Zero where that is only rounding.
    """
    normal = g - manifold.to_tangent(x, g)
    normal = normal - manifold.to_tangent(x, normal)
    return -normal.masked_fill(length(normal) <= 1e-6 * length(g), 0.0)
