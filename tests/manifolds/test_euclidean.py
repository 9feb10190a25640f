"""Closed forms of the space without constraint."""

import torch

from modular_manifolds.manifolds import Euclidean

SPACE = Euclidean()


def test_everything_is_the_identity():
    torch.manual_seed(0)
    x, g = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    assert torch.equal(SPACE.project(x), x)
    assert torch.equal(SPACE.to_tangent(x, g), g)
    assert torch.equal(SPACE.retract(x, g), x + g)
    assert torch.equal(SPACE.violation(x), torch.zeros(2))


def test_dimension_counts_the_entries():
    assert SPACE.dimension((2, 4, 3)) == 24


def test_random_is_standard_normal():
    x = SPACE.random((200, 300), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert abs(x.mean()) < 0.02
    assert abs(x.var() - 1) < 0.03
    assert abs(x.pow(4).mean() - 3) < 0.2


def test_geodesics_are_straight():
    torch.manual_seed(0)
    x, y = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    assert torch.equal(SPACE.exp(x, y), x + y)
    assert torch.equal(SPACE.log(x, y), y - x)
    assert torch.allclose(SPACE.distance(x, y), (y - x).flatten(1).norm(dim=1))
    assert torch.equal(SPACE.transport(x, y, y), y)
    assert torch.allclose(SPACE.distance(1e30 * x, 1e30 * y), 1e30 * SPACE.distance(x, y))
