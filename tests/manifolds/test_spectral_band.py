"""The band between two singular values; what it shares with the ball is tested in `test_singular_values.py`."""

import math

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import NoClosedFormError, SpectralBand

SHAPES = [(1, 1), (6, 1), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4)]
BAND = SpectralBand(0.5, 2.0)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, math.inf), (math.nan, 1)]
)
def test_bounds_must_be_ordered(low, high):
    with pytest.raises(ValueError, match=r"0 < low < high < inf, got low"):
        SpectralBand(low, high)


def test_project_against_brute_force():
    """Over all 2 x 2 matrices R(a) diag(s, t) R(b) with s, t in the band, of either orientation."""
    angles = torch.linspace(0, 2 * torch.pi, 91, dtype=torch.float64)[:-1]
    turn = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], -1).unflatten(-1, (2, 2))
    s = torch.linspace(0.5, 2.0, 16, dtype=torch.float64)
    values = torch.cartesian_prod(s, torch.cat([s, -s]))
    left = turn[:, None] @ torch.diag_embed(values)
    for seed in range(3):
        x = 1.5 * normal(2, 2, seed=seed)
        y = BAND.project(x)
        best = min((left @ r - x).square().sum((-2, -1)).min().sqrt().item() for r in turn)
        assert BAND.violation(y) < 1e-14
        assert (x - y).norm() <= best + 1e-12
        assert (x - y).norm() >= best - 0.15


@pytest.mark.parametrize(("m", "n"), [(8, 8), (12, 5), (5, 12)])
@pytest.mark.parametrize("rank", [0, 1, 3])
def test_project_completes_a_rank_deficient_matrix(m, n, rank):
    x = normal(m, rank) @ normal(rank, n, seed=1)
    y = BAND.project(x)
    s = torch.linalg.svdvals(x)
    assert BAND.violation(y) < 1e-14
    assert torch.allclose((x - y).norm(), (s - s.clamp(0.5, 2.0)).norm())
    assert torch.equal(y, BAND.project(x))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_retract_has_slope_two_at_both_boundaries(shape):
    x = BAND.project(3 * normal(*shape))
    for sign in (1, -1):
        u = BAND.to_tangent(x, sign * normal(*shape, seed=1))
        errors = [(BAND.retract(x, t * u) - x - t * u).norm() for t in (1e-2, 1e-3)]
        assert errors[0] < 1e-13 or math.log10(errors[0] / errors[1]) > 1.9


def test_geodesics():
    x, u = BAND.random((4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64), 1e-3 * normal(4, 3)
    assert torch.equal(BAND.exp(x, u), x + u)
    for missing in (lambda: BAND.log(x, x), lambda: BAND.distance(x, x), lambda: BAND.transport(x, u, u)):
        with pytest.raises(NoClosedFormError, match=r"SpectralBand\(low=0.5, high=2.0\)"):
            missing()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 0), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
def test_random_points_are_inside_and_differ(shape, dtype, slack):
    x = BAND.random(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    assert x.dtype == dtype
    assert BAND.violation(x).max() <= slack
    assert not torch.equal(x, BAND.random(shape, generator=torch.Generator().manual_seed(1), dtype=dtype))


def test_random_singular_vectors_are_uniform():
    x = BAND.random((20000, 3, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert x.mean(0).abs().max() < 0.02
    covariance = torch.einsum("kij,klm->ijlm", x, x).reshape(6, 6) / len(x)
    assert (covariance - covariance.diagonal().mean() * torch.eye(6)).abs().max() < 0.02


@pytest.mark.parametrize(
    ("values", "violation"), [((1.0, 0.5), 0.0), ((2.5, 1.0), 0.25), ((2.0, 0.4), 0.2), ((3.0, 0.0), 1)]
)
def test_violation_is_relative_to_the_bound_that_is_crossed(values, violation):
    assert BAND.violation(torch.diag(torch.tensor(values))).item() == pytest.approx(violation, abs=1e-6)


def test_dimension():
    assert BAND.conic
    assert BAND.dimension((3, 4, 2)) == 24
