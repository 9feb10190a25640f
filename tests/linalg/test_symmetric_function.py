"""Functions of symmetric matrices."""

import pytest
import torch

from modular_manifolds.linalg import apply_to_eigenvalues, eigenpairs


def symmetric(*shape: int) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x + x.mT


def test_polynomials_are_those_of_the_matrix():
    x = symmetric(2, 5, 5)
    assert torch.allclose(apply_to_eigenvalues(x, lambda d: d**3 - 2 * d), x @ x @ x - 2 * x, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_scale_and_dtype(scale):
    x = (symmetric(6, 6) * scale).float()
    y = apply_to_eigenvalues(x, torch.abs)
    assert y.dtype == torch.float32
    assert torch.equal(y, y.mT)
    assert torch.allclose(y.double() @ y.double(), x.double() @ x.double(), atol=1e-5 * scale**2)


def test_only_the_symmetric_part_counts():
    x = symmetric(4, 4)
    skewed = x + torch.triu(torch.ones(4, 4), 1) - torch.tril(torch.ones(4, 4), -1)
    for a, b in zip(eigenpairs(skewed), eigenpairs(x), strict=True):
        assert torch.allclose(a, b, atol=1e-14)


def test_what_is_not_finite_stays_in_its_own_matrix():
    x = symmetric(2, 3, 3)
    x[0, 1, 2] = torch.inf
    y = apply_to_eigenvalues(x, torch.exp)
    assert y[0].isnan().all()
    assert y[1].isfinite().all()


@pytest.mark.parametrize("shape", [(0, 3, 3), (2, 0, 0), (0, 0)])
def test_empty(shape):
    assert apply_to_eigenvalues(torch.zeros(shape), torch.exp).shape == shape
