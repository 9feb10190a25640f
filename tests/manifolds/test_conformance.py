"""The library's conformance suite on every manifold, and each set written down once more without the manifold's code.

A new manifold joins MANIFOLDS and `broken_constraint`.
"""

import dataclasses

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import (
    DGram,
    DoublyStochastic,
    Euclidean,
    FixedRank,
    Grassmann,
    LowRankFactors,
    Manifold,
    Oblique,
    Product,
    SpectralBall,
    SpectralBand,
    SpectralSphere,
    Sphere,
    Stiefel,
    SymmetricPositiveDefinite,
)
from modular_manifolds.testing import manifold_checks
from modular_manifolds.testing.shapes import corner_shapes

MANIFOLDS = [
    Euclidean(),
    Sphere(),
    Sphere(2.5),
    Oblique("rows"),
    Oblique("columns", 0.3),
    Stiefel(),
    Stiefel(3.0),
    Grassmann(0.7),
    SpectralSphere(2.0),
    SpectralBall(0.5),
    SpectralBand(0.5, 2.0),
    DGram(),
    SymmetricPositiveDefinite(),
    SymmetricPositiveDefinite("euclidean"),
    DoublyStochastic(),
    FixedRank(1),
    FixedRank(2),
    LowRankFactors(3),
    Product(Stiefel(), 2),
    Product((Sphere(), SpectralBall(), Stiefel(2.0)), (1, 2, 3)),
    Product((Oblique("rows"), SymmetricPositiveDefinite()), (2, 3), "columns"),
]
FULL_RANK = [(7, 3), (7, 1), (6, 2), (2, 3, 8, 2)]
"""Shapes in which both factors of LowRankFactors(3) can have full rank; in others its metric is degenerate."""

every_manifold = pytest.mark.parametrize("manifold", MANIFOLDS, ids=str)
every_radius = pytest.mark.parametrize("manifold", [m for m in MANIFOLDS if hasattr(m, "radius")], ids=str)


@every_manifold
@pytest.mark.parametrize("check", manifold_checks.values(), ids=str)
def test_keeps_its_promises(manifold, check):
    check.run(manifold, FULL_RANK if isinstance(manifold, LowRankFactors) else None, examples=4)


def point(manifold: Manifold, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return manifold.random(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def hollow(x: Tensor) -> Tensor:
    """Without the diagonal."""
    return x - torch.diag_embed(x.diagonal(dim1=-2, dim2=-1))


def broken_constraint(manifold: Manifold, x: Tensor) -> Tensor:
    """What is zero on the manifold alone, written without its code."""
    tall = x if x.shape[-2] >= x.shape[-1] else x.mT
    singular = torch.linalg.svdvals(x)
    match manifold:
        case Euclidean() | LowRankFactors():
            return 0 * x
        case Sphere(radius):
            return x.square().sum((-2, -1)) - radius**2
        case Oblique("rows", radius):
            return x.square().sum(-1) - radius**2
        case Oblique("columns", radius):
            return x.square().sum(-2) - radius**2
        case Stiefel(radius) | Grassmann(radius):
            return tall.mT @ tall - radius**2 * torch.eye(tall.shape[-1], dtype=x.dtype)
        case SpectralSphere(radius):
            return singular[..., 0] - radius
        case SpectralBall(radius):
            return (singular - radius).clamp(min=0)
        case SpectralBand(low, high):
            return singular - singular.clamp(low, high)
        case DGram():
            return hollow(tall.mT @ tall)
        case SymmetricPositiveDefinite():
            return torch.stack([(x - x.mT).abs().amax((-2, -1)), -torch.linalg.eigvalsh(x)[..., 0].clamp(max=0)])
        case DoublyStochastic():
            return torch.cat([x.sum(-1) - 1, x.sum(-2) - 1, x.flatten(-2).clamp(max=0)], -1)
        case FixedRank(rank):
            return torch.cat([singular[..., rank:], (singular[..., rank - 1 : rank] == 0).to(x.dtype)], -1)
        case Product():
            blocks = zip(manifold.factors, manifold.blocks.cut(x), strict=True)
            return torch.cat([broken_constraint(factor, block).flatten() for factor, block in blocks])
    raise NotImplementedError(f"write down the constraint of {manifold}")


@every_manifold
def test_constraint_holds(manifold):
    """At random points, projections and retractions."""
    for shape in corner_shapes(manifold):
        x, y = point(manifold, shape), manifold.project(2 * point(manifold, shape, 1) + 0.3)
        u = manifold.to_tangent(x, y)
        for z in (x, y, manifold.retract(x, u)):
            assert broken_constraint(manifold, z).abs().max() <= 1e-12 * max(1.0, float(z.norm()))


@every_manifold
def test_random_points_by_default(manifold):
    shape = corner_shapes(manifold)[0]
    torch.manual_seed(0)
    first = manifold.random(shape)
    assert first.dtype == torch.get_default_dtype()
    assert not torch.equal(first, manifold.random(list(shape)))
    torch.manual_seed(0)
    assert torch.equal(first, manifold.random(torch.Size(shape)))


@pytest.mark.parametrize("manifold", [Euclidean(), Sphere(), Oblique(), Stiefel()], ids=str)
def test_random_points_on_the_meta_device(manifold):
    assert manifold.random((5, 3), device="meta").device.type == "meta"


@every_manifold
def test_dimension_of_what_is_no_matrix(manifold):
    with pytest.raises(ValueError, match="two axes"):
        manifold.dimension((4,))


@every_radius
@pytest.mark.parametrize("r", [1e-6, 1e6])
def test_violation_is_relative_to_the_radius(manifold, r):
    x = point(manifold, (5, 4)) / manifold.radius
    off = dataclasses.replace(manifold, radius=1.0).violation(1.01 * x)
    assert torch.allclose(dataclasses.replace(manifold, radius=r).violation(1.01 * r * x), off, rtol=1e-9)


@every_radius
@pytest.mark.parametrize("radius", [0.0, -1.0, float("inf"), float("nan")])
def test_radius_must_be_positive_and_finite(manifold, radius):
    with pytest.raises(ValueError, match=f"radius must be positive and finite, got {radius}"):
        dataclasses.replace(manifold, radius=radius)


def test_no_two_are_equal():
    assert len({*MANIFOLDS}) == len(MANIFOLDS)
    assert all([other == manifold for other in MANIFOLDS].count(True) == 1 for manifold in MANIFOLDS)
