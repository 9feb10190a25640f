"""Exponential and logarithm between skew-symmetric matrices and rotations."""

import math

import pytest
import torch
from scipy.linalg import expm
from torch import Tensor

from modular_manifolds.linalg import rotation_exp, rotation_log

PI = math.pi


def turning(angles: list[float], n: int, seed: int = 0) -> Tensor:
    """A skew matrix that turns orthogonal planes of n-space by these angles."""
    basis, _ = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))
    a = torch.zeros(n, n, dtype=torch.float64)
    for i, angle in enumerate(angles):
        a[2 * i + 1, 2 * i] = angle
    a = basis @ (a - a.mT) @ basis.mT
    return (a - a.mT) / 2


def orthogonality(q: Tensor) -> float:
    return (q.mT @ q - torch.eye(q.shape[-1], dtype=q.dtype)).abs().max().item()


@pytest.mark.parametrize("length", [1e-12, 0.01, 0.04, 1.0, 30.0, 1e4])
@pytest.mark.parametrize("n", [2, 3, 8])
def test_exp(n, length):
    a = turning([length / (i + 1) for i in range(n // 2)], n)
    q = rotation_exp(a)
    assert torch.allclose(q, torch.from_numpy(expm(a.numpy())), atol=1e-14 * max(1.0, length))
    assert orthogonality(q) < 5e-15
    assert torch.linalg.det(q).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("angles", "n"),
    [
        ([], 4),
        ([1.0, 0.5], 5),
        ([1e-9, 3e-5, 1e-3], 6),
        ([2.5, 2.5, 2.5], 6),
        ([PI / 2, PI / 2, PI / 2 + 1e-9], 6),
        ([PI / 2 - 1e-7, PI / 2 + 1e-7, PI / 2 + 1e-14], 7),
        ([PI - 1e-6, 0.3], 5),
        ([PI - 1e-10, 1e-10, 1.0], 7),
        ([PI - 1e-3, 2.0, PI - 1e-2], 7),
    ],
    ids=str,
)
def test_log_is_the_inverse_of_exp(angles, n):
    a = turning(angles, n)
    assert torch.allclose(rotation_log(rotation_exp(a)), a, atol=5e-14)


@pytest.mark.parametrize(
    "angles",
    [
        [PI],
        [PI, 0.2, 1.0],
        [PI, PI, 1e-3],
        [PI, PI, PI],
        [PI - 1e-10, PI - 2e-10, 0.2],
        [PI - 1e-13, PI - 2e-13, PI],
        [PI, PI, 2.0, 1.8],
        [PI - 3e-13, PI - 3e-12, 2.0],
    ],
    ids=str,
)
@pytest.mark.parametrize("odd", [0, 1])
def test_log_of_half_turns_is_a_shortest_one(angles, odd):
    """Which is not unique, or not to be told apart from one that is."""
    for seed in range(10):
        a = turning(angles, 2 * len(angles) + odd, seed)
        q = torch.from_numpy(expm(a.numpy()))
        log = rotation_log(q)
        assert torch.equal(log, -log.mT)
        assert torch.allclose(rotation_exp(log), q, atol=1e-13)
        assert log.norm().item() == pytest.approx(a.norm().item(), rel=1e-14)


def test_log_of_exact_half_turns_in_float32():
    q = torch.stack([torch.diag(torch.tensor(d)) for d in ([-1.0, -1, 1, 1], [-1.0, 1, -1, 1], [-1.0, -1, -1, -1])])
    log = rotation_log(q)
    assert log.dtype == torch.float32
    assert torch.allclose(rotation_exp(log), q, atol=1e-6)
    assert torch.allclose(log.flatten(1).norm(dim=1), PI * torch.tensor([2.0, 2.0, 4.0]).sqrt())


def test_batches_empties_and_scalars():
    assert rotation_exp(torch.zeros(0, 3, 3)).shape == rotation_log(torch.zeros(0, 3, 3)).shape == (0, 3, 3)
    assert rotation_exp(torch.zeros(2, 0, 0)).shape == rotation_log(torch.zeros(2, 0, 0)).shape == (2, 0, 0)
    assert torch.equal(rotation_exp(torch.zeros(1, 1)), torch.ones(1, 1))
    assert torch.equal(rotation_log(torch.ones(1, 1)), torch.zeros(1, 1))
    a = torch.stack([turning([1.0, 3.0], 4), turning([0.0, PI - 1e-8], 4)])
    q = rotation_exp(a)
    assert torch.allclose(q, torch.stack([rotation_exp(each) for each in a]), atol=1e-15)
    assert torch.allclose(rotation_log(q), torch.stack([rotation_log(each) for each in q]), atol=1e-13)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_stays_in_its_own_matrix(bad):
    a = torch.stack([turning([1.0], 3), turning([2.0], 3)])
    q = rotation_exp(a)
    a[0, 1, 2], q[0, 1, 2] = bad, bad
    for result in (rotation_exp(a), rotation_log(q)):
        assert result[0].isnan().all()
        assert result[1].isfinite().all()
