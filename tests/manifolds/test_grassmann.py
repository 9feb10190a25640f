"""Closed forms of the manifold of subspaces, against principal angles known or computed elsewhere."""

import math

import pytest
import torch
from scipy.linalg import subspace_angles
from torch import Tensor

from modular_manifolds.manifolds import Grassmann, Stiefel


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def point(*shape: int, seed: int = 0, radius: float = 1.0) -> Tensor:
    return Grassmann(radius).random(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tilted(angles: list[float], m: int) -> tuple[Tensor, Tensor]:
    """Two subspaces of m-space with these principal angles, in bases that show none of it."""
    n = len(angles)
    turns = torch.tensor(angles, dtype=torch.float64)
    y = torch.cat([torch.diag(turns.cos()), torch.diag(turns.sin())])
    y = torch.nn.functional.pad(y, (0, 0, 0, m - 2 * n))
    ambient, here, there = point(m, m), point(n, n, seed=1), point(n, n, seed=2)
    return ambient[:, :n] @ here, ambient @ y @ there


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (2, 3, 6, 2)], ids=str)
def test_points_are_those_of_the_stiefel_manifold(shape):
    x, u = point(*shape, radius=0.7), 3 * normal(*shape, seed=1)
    assert torch.equal(Grassmann(0.7).project(u), Stiefel(0.7).project(u))
    assert torch.equal(Grassmann(0.7).violation(u), Stiefel(0.7).violation(u))
    u = Grassmann(0.7).to_tangent(x, u)
    assert torch.equal(Grassmann(0.7).retract(x, u), Stiefel(0.7).retract(x, u))
    assert torch.allclose(Stiefel(0.7).to_tangent(x, u), u, atol=1e-14)


def test_tangents_do_not_turn_the_basis():
    x = torch.eye(3, 2)
    g = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    horizontal = torch.tensor([[0.0, 0.0], [0.0, 0.0], [5.0, 6.0]])
    assert torch.equal(Grassmann().to_tangent(x, g), horizontal)
    assert torch.equal(Grassmann().to_tangent(x.mT, g.mT), horizontal.mT)


@pytest.mark.parametrize(
    ("shape", "dimension"), [((5, 5), 0), ((9, 4), 20), ((4, 9), 20), ((6, 1), 5), ((1, 1), 0), ((3, 9, 4), 60)]
)
def test_dimension(shape, dimension):
    assert Grassmann().dimension(shape) == dimension


@pytest.mark.parametrize(
    "angles",
    [
        [0.0, 0.0],
        [1e-12, 1e-9, 1e-5],
        [0.3, 0.3, 0.3 + 1e-9],
        [0.5, 1.0, 1.5],
        [math.pi / 2],
        [math.pi / 2, math.pi / 2, 0.2],
        [math.pi / 2 - 1e-9, math.pi / 2 - 1e-12, 0.0],
    ],
    ids=str,
)
def test_distance_and_log_resolve_all_principal_angles(angles):
    x, y = tilted(angles, 2 * len(angles) + 1)
    expected = math.dist(angles, [0.0] * len(angles))
    assert Grassmann().distance(x, y).item() == pytest.approx(expected, rel=1e-14, abs=2e-15)
    assert Grassmann().distance(y, x).item() == pytest.approx(expected, rel=1e-14, abs=2e-15)
    u = Grassmann().log(x, y)
    assert torch.allclose(torch.linalg.svdvals(u), torch.tensor(angles).double().sort().values.flip(0), atol=1e-7)
    assert (x.mT @ u).abs().max() < 1e-14
    assert Grassmann().distance(Grassmann().exp(x, u), y) < 3e-15


@pytest.mark.parametrize(("m", "n"), [(9, 3), (5, 4), (8, 4)])
def test_distance_is_that_of_the_principal_angles(m, n):
    x, y = point(m, n, radius=3.0), point(m, n, seed=1, radius=3.0)
    expected = 3 * torch.from_numpy(subspace_angles(x.numpy(), y.numpy())).norm()
    assert Grassmann(3.0).distance(x, y).item() == pytest.approx(expected.item(), rel=1e-13)
    assert Grassmann(3.0).distance(x.mT, y.mT).item() == pytest.approx(expected.item(), rel=1e-13)


def test_distance_is_between_subspaces():
    x, y = point(2, 8, 3), point(2, 8, 3, seed=1)
    turn, ambient = point(3, 3, seed=2), point(8, 8, seed=3)
    d = Grassmann().distance(x, y)
    assert torch.allclose(Grassmann().distance(x @ turn, y), d, rtol=1e-13)
    assert torch.allclose(Grassmann().distance(ambient @ x, ambient @ y), d, rtol=1e-13)
    assert Grassmann().distance(x, x @ turn).max() < 3e-15


def test_exp_is_a_rotation_in_the_plane_of_every_principal_direction():
    x, u = torch.eye(5, 2, dtype=torch.float64), torch.zeros(5, 2, dtype=torch.float64)
    u[2, 0], u[4, 1] = 0.3, 2.0
    expected = torch.zeros(5, 2, dtype=torch.float64)
    expected[0, 0], expected[2, 0] = math.cos(0.3), math.sin(0.3)
    expected[1, 1], expected[4, 1] = math.cos(2), math.sin(2)
    assert torch.allclose(Grassmann().exp(x, u), expected, atol=1e-15)
    full_turn = torch.zeros_like(u)
    full_turn[3] = torch.tensor([0.6, 0.8], dtype=torch.float64) * math.pi
    assert Grassmann().distance(x, Grassmann().exp(x, full_turn)) < 1e-15  # back in the same subspace


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_exp_and_transport_of_little_rank(rank):
    """Equal to the formulas of Edelman, Arias & Smith, 2.65 and 2.68, with the null directions left out."""
    x = point(7, 3)
    u = Grassmann().to_tangent(x, normal(7, rank, seed=1) @ normal(rank, 3, seed=2))
    v = Grassmann().to_tangent(x, normal(7, 3, seed=3))
    left, t, right = torch.linalg.svd(u, full_matrices=False)
    left, t, right = left[:, :rank], t[:rank], right.mT[:, :rank]
    turned = x @ right * t.cos() @ right.mT + left * t.sin() @ right.mT + x - x @ right @ right.mT
    moved = v + (-x @ right * t.sin() + left * (t.cos() - 1)) @ left.mT @ v
    assert torch.allclose(Grassmann().exp(x, u), turned, atol=1e-14)
    assert torch.allclose(Grassmann().transport(x, u, v), moved, atol=1e-14)


def test_float32_with_all_angles_equal():
    """The float32 routine for singular values fails on the like."""
    x = point(256, 128).float()
    u = Grassmann().to_tangent(x, point(256, 128, seed=1).float())
    y = Grassmann().exp(x, u)
    assert Grassmann().violation(y) < 2e-6
    assert Grassmann().distance(x, x) < 2e-5
    assert torch.allclose(Grassmann().log(x, y), u, atol=2e-6)


def test_random_is_uniform():
    """The projector onto a uniform n-dimensional subspace of m-space has mean n / m I."""
    x = Grassmann(2.0).random((20000, 4, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2
    assert ((x @ x.mT).mean(0) - torch.eye(4) / 2).abs().max() < 0.01
