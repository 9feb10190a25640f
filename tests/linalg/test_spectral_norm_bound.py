"""Bounds on norms: never below the truth, hardly above it."""

import math
from fractions import Fraction

import pytest
import torch

from modular_manifolds import Stiefel
from modular_manifolds.linalg import row_norm_bound, spectral_norm_bound

TIGHT = 1e-9


def hadamard(order):
    matrix = torch.ones(1, 1, dtype=torch.float64)
    while len(matrix) < order:
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix


def exceeds_all_singular_values(bound, x):
    """Whether bound^2 I - x^T x is positive definite, by elimination in exact arithmetic."""
    rows = [[Fraction(entry) for entry in row] for row in x.double().tolist()]
    n = len(rows[0])
    left = [[Fraction(bound) ** 2 * (i == j) - sum(r[i] * r[j] for r in rows) for j in range(n)] for i in range(n)]
    for k in range(n):
        if left[k][k] <= 0:
            return False
        for i in range(k + 1, n):
            factor = left[i][k] / left[k][k]
            left[i] = [a - factor * b for a, b in zip(left[i], left[k], strict=True)]
    return True


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 4), (6, 3)])
def test_is_proved_in_exact_arithmetic(shape, dtype):
    generator = torch.Generator().manual_seed(0)
    for scale in (1e-6, 1.0, 1e3):
        x = (torch.randn(shape, dtype=torch.float64, generator=generator) * scale).to(dtype)
        bound = float(spectral_norm_bound(x))
        assert exceeds_all_singular_values(bound, x)
        assert not exceeds_all_singular_values(bound * (1 - TIGHT), x)


def test_is_proved_for_nearly_equal_and_for_nearly_vanishing_singular_values():
    generator = torch.Generator().manual_seed(1)
    for gap in (0.0, 1e-16, 1e-12, 1e-8):
        stiefel = Stiefel().random((6, 4), dtype=torch.float64, generator=generator)
        for sigma in ([1, 1 - gap, 1, 1 - gap], [1, gap, 0, gap]):
            x = stiefel * torch.tensor(sigma, dtype=torch.float64)
            bound = float(spectral_norm_bound(x))
            assert exceeds_all_singular_values(bound, x)
            assert not exceeds_all_singular_values(bound * (1 - TIGHT), x)


@pytest.mark.parametrize("exponent", [-1074, -1040, -100, 0, 100, 1000])
@pytest.mark.parametrize(
    ("x", "squared"),
    [
        (hadamard(1), 1),
        (hadamard(64), 64),
        (hadamard(64)[:, :9], 64),
        (torch.ones(7, 11, dtype=torch.float64), 77),
        (torch.diag(torch.tensor([3.0, 5.0, 1.0], dtype=torch.float64)), 25),
        (torch.tensor([[3.0, 4.0], [4.0, -3.0]], dtype=torch.float64), 25),
        (torch.tensor([[1.0, 1.0]], dtype=torch.float64), 2),
    ],
)
def test_known_singular_values_at_every_scale(x, squared, exponent):
    bound = Fraction(float(spectral_norm_bound(x * 2.0**exponent))) / Fraction(2) ** exponent
    assert bound**2 >= squared
    if exponent > -1022:
        assert bound <= math.sqrt(squared) * (1 + TIGHT)
    else:  # a subnormal number has few digits; the next but one is close enough
        assert bound <= math.sqrt(squared) + 2


@pytest.mark.parametrize("norm_bound", [spectral_norm_bound, row_norm_bound])
def test_what_a_sum_of_squares_loses_is_made_up_for(norm_bound):
    """A million squares, each below half a unit in the last place of the one that the sum may start with."""
    x = torch.full((1 << 20, 1), 0.99 * 2.0**-27, dtype=torch.float64)
    x[0] = 1
    x = x.mT if norm_bound is row_norm_bound else x
    squared = 1 + (x.numel() - 1) * Fraction(0.99 * 2.0**-27) ** 2
    assert Fraction(float(norm_bound(x))) ** 2 >= squared


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (30, 30), (3, 40, 15), (2, 2, 15, 40), (10, 3072)])
def test_agrees_with_the_singular_values(shape, scale, dtype):
    x = (torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) * scale).to(dtype)
    expected = torch.linalg.svdvals(x.double())[..., 0]
    bound = spectral_norm_bound(x)
    assert bound.dtype == torch.float64
    assert bound.shape == shape[:-2]
    excess = bound / expected - 1
    assert excess.min() > 0
    assert excess.max() < TIGHT


@pytest.mark.parametrize("kind", ["random", "stiefel", "low rank", "hadamard", "graded"])
def test_large_matrices(kind):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1024, 1024, dtype=torch.float64, generator=generator)
    if kind == "stiefel":
        x = torch.linalg.qr(x).Q
    elif kind == "low rank":
        x = x[:, :3] @ x[:3]
    elif kind == "hadamard":
        x = hadamard(1024)
    elif kind == "graded":
        x = x * torch.logspace(0, -20, 1024, dtype=torch.float64)
    bound = spectral_norm_bound(x)
    direction = torch.randn(1024, 1, dtype=torch.float64, generator=generator)
    for _ in range(30):  # power iteration: below the truth, always
        direction = x.mT @ (x @ direction)
        direction /= direction.norm()
    assert (x @ direction).norm() / direction.norm() <= bound
    assert 0 < bound / torch.linalg.svdvals(x)[0] - 1 < TIGHT


def test_one_matrix_of_a_batch_is_like_the_matrix_alone():
    x = torch.randn(4, 6, 5) * torch.tensor([1e-20, 1.0, 1e20, 0.0])[:, None, None]
    for norm_bound in (spectral_norm_bound, row_norm_bound):
        alone = torch.stack([norm_bound(each) for each in x])
        torch.testing.assert_close(norm_bound(x), alone, rtol=TIGHT, atol=0)


@pytest.mark.parametrize("norm_bound", [spectral_norm_bound, row_norm_bound])
def test_zero_empty_and_overflow(norm_bound):
    assert norm_bound(torch.zeros(3, 4, 2)).tolist() == [0, 0, 0]
    assert norm_bound(torch.zeros(0, 4, 3)).shape == (0,)
    assert norm_bound(torch.zeros(2, 0, 3)).tolist() == [0, 0]
    assert norm_bound(torch.zeros(2, 3, 0)).tolist() == [0, 0]
    assert norm_bound(torch.full((4, 4), 1.7e308, dtype=torch.float64)) == math.inf


@pytest.mark.parametrize("norm_bound", [spectral_norm_bound, row_norm_bound])
def test_parameters_are_measured_without_a_graph(norm_bound):
    assert not norm_bound(torch.nn.Parameter(torch.ones(2, 2))).requires_grad


@pytest.mark.parametrize("norm_bound", [spectral_norm_bound, row_norm_bound])
def test_bad_input_is_refused(norm_bound):
    with pytest.raises(ValueError, match="matrix"):
        norm_bound(torch.ones(3))
    with pytest.raises(TypeError, match="floating-point"):
        norm_bound(torch.ones(2, 2, dtype=torch.int32))
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match=r"head of shape \(2, 2\)"):
            norm_bound(torch.full((2, 2), bad), name="head")


def test_a_wrong_eigensolver_gives_a_worse_bound_and_never_a_false_one(monkeypatch):
    x = torch.randn(2, 20, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    truth, frobenius = torch.linalg.svdvals(x)[..., 0], torch.linalg.matrix_norm(x)
    right = torch.linalg.eigh

    def wrong(change):
        def solver(gram):
            values, vectors = right(gram)
            return change(values, vectors)

        return solver

    def fail(values, vectors):
        raise torch.linalg.LinAlgError("did not converge")

    changes = [
        lambda values, vectors: (values * 0.5, vectors),
        lambda values, vectors: (values, vectors * 0.9),
        lambda values, vectors: (values, vectors * 1.1),
        lambda values, vectors: (values, vectors + 0.01),
        lambda values, vectors: (values * 0, vectors),
        lambda values, vectors: (values * 0.25, vectors * 2),
        lambda values, vectors: (values * torch.nan, vectors),
        lambda values, vectors: (values, vectors * 1e200),
        fail,
    ]
    for change in changes:
        monkeypatch.setattr(torch.linalg, "eigh", wrong(change))
        bound = spectral_norm_bound(x)
        assert (bound > truth).all()
        assert (bound <= frobenius * (1 + TIGHT)).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_the_longest_row_in_exact_arithmetic(dtype):
    generator = torch.Generator().manual_seed(5)
    for shape in ((1, 1), (1, 300), (300, 1), (7, 300)):
        for exponent in (-140, 0, 120):
            x = (torch.randn(shape, dtype=torch.float64, generator=generator) * 2.0**exponent).to(dtype)
            longest = max(sum(Fraction(entry) ** 2 for entry in row) for row in x.double().tolist())
            bound = Fraction(float(row_norm_bound(x)))
            assert longest <= bound**2 <= longest * (1 + Fraction(1, 10**12))


def test_rows_of_very_different_lengths():
    x = torch.tensor([[1e-300, 1e-300], [3e200, 4e200], [0.0, 0.0]], dtype=torch.float64)
    assert float(row_norm_bound(x)) == pytest.approx(5e200, rel=1e-12)
    assert Fraction(float(row_norm_bound(x))) ** 2 >= Fraction(3e200) ** 2 + Fraction(4e200) ** 2
