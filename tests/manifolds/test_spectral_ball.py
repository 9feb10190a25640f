"""The ball of the spectral norm; what it shares with the band is tested in `test_singular_values.py`."""

import math

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import SpectralBall, SpectralSphere

SHAPES = [(1, 1), (6, 1), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4)]
BALL = SpectralBall(1.7)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return BALL.random(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_project_is_nearest(shape):
    """y is nearest in a convex set iff <x - y, z - y> <= 0 for all z in it: the largest is the dual norm's."""
    x = 2 * normal(*shape)
    y = BALL.project(x)
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    assert torch.allclose(y, u * s.clamp(max=1.7).unsqueeze(-2) @ vh, atol=1e-13)
    worst = 1.7 * torch.linalg.svdvals(x - y).sum(-1) - ((x - y) * y).sum((-2, -1))
    assert worst.abs().max() < 1e-12


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_flat_inside(shape):
    x, y, v = 0.9 * random(*shape), 0.9 * random(*shape, seed=1), normal(*shape, seed=2)
    u = BALL.log(x, y)
    assert torch.allclose(BALL.exp(x, u), y)
    assert torch.allclose(BALL.retract(x, u), y, atol=1e-14)
    assert torch.equal(BALL.to_tangent(x, v), v)
    assert torch.equal(BALL.transport(x, u, v), v)
    assert torch.allclose(BALL.distance(x, y), (y - x).flatten(-2).norm(dim=-1))


def test_retract_is_the_second_order_one_along_the_boundary():
    """Against a geodesic of the boundary, the rotations by which a multiple of an orthogonal matrix turns."""
    o, k = torch.linalg.qr(normal(5, 5)).Q, normal(5, 5, seed=1)
    k = k - k.mT
    x, u = 1.7 * o, 1.7 * o @ k
    assert torch.allclose(BALL.to_tangent(x, u), u, atol=1e-13)
    errors = [(BALL.retract(x, t * u) - 1.7 * o @ torch.matrix_exp(t * k)).norm() for t in (1e-2, 1e-3)]
    assert math.log10(errors[0] / errors[1]) > 2.9


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_retract_has_slope_two_at_the_boundary(shape):
    x = SpectralSphere(1.7).random(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = BALL.to_tangent(x, normal(*shape, seed=5))
    errors = [(BALL.retract(x, t * u) - x - t * u).norm() for t in (1e-2, 1e-3)]
    assert errors[0] < 1e-13 or math.log10(errors[0] / errors[1]) > 1.9


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (2, 2), (1, 3)])
def test_random_is_uniform_in_volume(shape):
    """Against points drawn uniformly from the cube of entries in [-1, 1], those outside the ball thrown away."""
    generator = torch.Generator().manual_seed(0)
    cube = 2 * torch.rand(150000, *shape, generator=generator, dtype=torch.float64) - 1
    inside = cube[torch.linalg.svdvals(cube)[:, 0] <= 1]
    x = SpectralBall().random((40000, *shape), generator=generator, dtype=torch.float64)
    assert SpectralBall().violation(x).max() < 1e-14
    for statistic in (
        lambda x: torch.linalg.svdvals(x)[:, 0],
        lambda x: torch.linalg.svdvals(x)[:, -1],
        lambda x: x[:, 0, 0].abs(),
    ):
        levels = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
        quantiles = [torch.quantile(statistic(points), levels) for points in (x, inside)]
        assert (quantiles[0] - quantiles[1]).abs().max() < 0.015


@pytest.mark.parametrize(("m", "n"), [(12, 8), (8, 12), (40, 3)])
def test_from_gaussian_is_invariant_under_rotations_and_about_as_long_as_uniform_points(m, n):
    generator = torch.Generator().manual_seed(0)
    g = torch.randn(300, m, n, generator=generator, dtype=torch.float64)
    x, uniform = BALL.from_gaussian(g), BALL.random((300, m, n), generator=generator, dtype=torch.float64)
    assert BALL.violation(x).max() == 0
    assert x.square().mean() == pytest.approx(uniform.square().mean().item(), rel=0.3)
    left, right = torch.linalg.qr(normal(m, m)).Q, torch.linalg.qr(normal(n, n)).Q
    assert torch.allclose(BALL.from_gaussian(left @ g @ right), left @ x @ right, atol=1e-13)


@pytest.mark.parametrize(("factor", "violation"), [(0.0, 0.0), (0.5, 0.0), (1.0, 0.0), (1.25, 0.25)])
def test_violation_is_what_sticks_out(factor, violation):
    assert BALL.violation(1.7 * factor * torch.eye(3, 2)).item() == pytest.approx(violation, abs=1e-6)


def test_the_rest():
    assert BALL.conic
    assert BALL.dimension((3, 4, 2)) == 24
    assert random(3, 2, dtype=torch.bfloat16).dtype == torch.bfloat16
    assert SpectralBall().random((3, 2)).dtype == torch.get_default_dtype()
    for shape in [(0, 3), (3, 0), (0, 4, 3), (2, 3, 0)]:
        assert random(*shape).shape == BALL.from_gaussian(torch.zeros(shape)).shape == shape
    x = random(3, 2)
    assert BALL.project(x).data_ptr() != x.data_ptr()
    assert BALL.transport(x, x, x).data_ptr() != x.data_ptr()
