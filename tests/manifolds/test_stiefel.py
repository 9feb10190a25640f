"""Closed forms of the Stiefel manifold, against singular vectors in float64."""

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import Stiefel

SHAPES = [(5, 5), (9, 4), (4, 9), (6, 1), (2, 8, 3)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def polar(x: Tensor) -> Tensor:
    u, _, vt = torch.linalg.svd(x, full_matrices=False)
    return u @ vt


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_project_is_the_polar_factor(shape):
    x = normal(*shape)
    assert torch.allclose(Stiefel(0.7).project(x), 0.7 * polar(x), atol=1e-13)


@pytest.mark.parametrize(("m", "n"), [(8, 8), (12, 5), (5, 12)])
@pytest.mark.parametrize("rank", [0, 1, 3, 4])
def test_project_completes_a_rank_deficient_matrix(m, n, rank):
    """What x determines is kept: the distance to x is that of its singular values to the radius."""
    x = normal(m, rank) @ normal(rank, n, seed=1)
    y = Stiefel(2.0).project(x)
    nearest = (torch.linalg.svdvals(x) - 2).norm()
    assert Stiefel(2.0).violation(y) < 1e-14
    assert (x - y).norm().item() == pytest.approx(nearest.item(), rel=1e-12)
    assert torch.equal(y, Stiefel(2.0).project(x))
    assert torch.allclose(y, Stiefel(2.0).project(torch.stack([normal(m, n), x]))[1], atol=1e-13)


@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_project_does_not_depend_on_one_completion(dtype, slack):
    """The completion of zero is what other null spaces are completed with: here it vanishes between two of them."""
    left = Stiefel().project(torch.zeros(6, 6, dtype=torch.float64))[:, :1]
    x = normal(6, 6)
    x[:, 1] = 0
    x = x - left @ (left.mT @ x)
    assert Stiefel().violation(Stiefel().project(x.to(dtype))) < slack


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_to_tangent_splits_inside_and_outside_the_span(shape):
    """W skew(W^T G) + (I - W W^T) G, an equal form of the projection for a tall W with W^T W = I."""
    x, g = Stiefel(3.0).random(shape, dtype=torch.float64), normal(*shape)
    w, h = (x / 3, g) if shape[-2] >= shape[-1] else (x.mT / 3, g.mT)
    inside = w.mT @ h
    expected = w @ (inside - inside.mT) / 2 + h - w @ inside
    expected = expected if shape[-2] >= shape[-1] else expected.mT
    assert torch.allclose(Stiefel(3.0).to_tangent(x, g), expected, atol=1e-13)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_retract_is_the_polar_factor_of_the_sum(shape):
    x = Stiefel(3.0).random(shape, dtype=torch.float64)
    u = Stiefel(3.0).to_tangent(x, normal(*shape))
    assert torch.linalg.svdvals(x + u).min() >= 3 - 1e-12
    assert torch.allclose(Stiefel(3.0).retract(x, u), 3 * polar(x + u), atol=1e-12)


@pytest.mark.parametrize(("m", "n"), [(3, 3), (4, 2), (2, 4)])
def test_random_is_uniform(m, n):
    """Every row or column along the longer axis is uniform on a sphere, and a square x has either orientation."""
    generator = torch.Generator().manual_seed(0)
    x = Stiefel(2.0).random((20000, m, n), generator=generator, dtype=torch.float64) / 2
    d = max(m, n)
    assert x.mean(0).abs().max() < 0.02
    assert (x.pow(2).mean(0) - 1 / d).abs().max() < 0.01
    assert (x.pow(4).mean(0) - 3 / (d * (d + 2))).abs().max() < 0.01
    if m == n:
        assert torch.linalg.det(x).sign().mean().abs() < 0.04


def test_violation_is_the_worst_entry_of_the_gram_matrix():
    x = torch.tensor([[1.0, 0.0], [0.0, 1.5], [0.0, 0.0]])
    assert Stiefel().violation(x).item() == pytest.approx(1.25)
    assert Stiefel().violation(x.mT).item() == pytest.approx(1.25)
    assert Stiefel(2.0).violation(2 * x).item() == pytest.approx(1.25)
    skewed = torch.tensor([[1.0, 0.6], [0.0, 0.8]])
    assert Stiefel().violation(skewed).item() == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("shape", "dimension"), [((5, 5), 10), ((9, 4), 26), ((4, 9), 26), ((6, 1), 5), ((1, 1), 0), ((3, 9, 4), 78)]
)
def test_dimension(shape, dimension):
    assert Stiefel().dimension(shape) == dimension
