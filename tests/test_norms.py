"""What every norm promises, and each value against an independent formula. A new norm joins NORMS and FORMULAS."""

import dataclasses
import pickle
from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modular_manifolds.norms import Frobenius, MaxColumn, MaxEntry, MaxRow, Norm, RMSOperator, Spectral

NORMS = [Frobenius(), Spectral(), RMSOperator(), MaxRow(), MaxColumn(), MaxEntry()]
SHAPES = [(1, 1), (6, 1), (1, 6), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4)]
EMPTY = [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0)]
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-6}

every_norm = pytest.mark.parametrize("norm", NORMS, ids=str)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
few_examples = settings(derandomize=True, deadline=None, database=None, max_examples=15)
shapes = st.tuples(st.integers(1, 7), st.integers(1, 7))
seeds = st.integers(0, 2**31)


def normal(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def inner(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() * y.double()).sum((-2, -1))


def rows(u: Tensor) -> list[float]:
    """Lengths of the rows of one matrix."""
    return [sqrt(sum(float(entry) ** 2 for entry in row)) for row in u]


def singular_values(u: Tensor) -> Tensor:
    return torch.linalg.svdvals(u.double())


FORMULAS = {
    Frobenius: (lambda u: sqrt(sum(r**2 for r in rows(u))), lambda u: sqrt(sum(r**2 for r in rows(u)))),
    Spectral: (lambda u: singular_values(u).max(), lambda u: singular_values(u).sum()),
    RMSOperator: (
        lambda u: singular_values(u).max() * sqrt(u.shape[1] / u.shape[0]),
        lambda u: singular_values(u).sum() * sqrt(u.shape[0] / u.shape[1]),
    ),
    MaxRow: (lambda u: max(rows(u)) / sqrt(u.shape[1]), lambda u: sum(rows(u)) * sqrt(u.shape[1])),
    MaxColumn: (lambda u: max(rows(u.mT)) / sqrt(u.shape[0]), lambda u: sum(rows(u.mT)) * sqrt(u.shape[0])),
    MaxEntry: (
        lambda u: max(abs(float(entry)) for row in u for entry in row),
        lambda u: sum(abs(float(entry)) for row in u for entry in row),
    ),
}
"""Norm and dual norm of one matrix, written without the norm's code."""


@every_norm
@every_shape
@every_dtype
def test_values(norm, shape, dtype):
    u = normal(shape, dtype=dtype)
    for result, formula in zip((norm(u), norm.dual(u)), FORMULAS[type(norm)], strict=True):
        assert result.dtype == dtype
        assert result.shape == shape[:-2]
        expected = torch.tensor([float(formula(one)) for one in u.reshape(-1, *shape[-2:])], dtype=torch.float64)
        assert torch.allclose(result.double().flatten(), expected, rtol=TOLERANCE[dtype])
    assert torch.equal(norm(u), norm.norm(u))


@every_norm
@every_shape
@every_dtype
def test_lmo_attains_the_dual_norm_on_the_unit_ball(norm, shape, dtype):
    g = normal(shape, dtype=dtype)
    a = norm.lmo(g)
    assert a.dtype == dtype
    assert a.shape == shape
    assert torch.allclose(norm(a), torch.ones(shape[:-2], dtype=dtype), rtol=TOLERANCE[dtype])
    assert torch.allclose(-inner(g, a), norm.dual(g).double(), rtol=TOLERANCE[dtype])


@every_norm
@every_shape
@every_dtype
@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1e10, 1e30])
def test_every_scale_is_alike(norm, shape, dtype, scale):
    u = normal(shape, dtype=dtype)
    for length in (norm, norm.dual):
        result = (length(u * scale).double() / scale).to(dtype)
        assert torch.allclose(result, length(u), rtol=TOLERANCE[dtype])
    assert torch.allclose(norm.lmo(u * scale), norm.lmo(u), atol=3 * TOLERANCE[dtype])


@every_norm
@every_shape
@every_dtype
def test_zero(norm, shape, dtype):
    zero = torch.zeros(shape, dtype=dtype)
    assert torch.equal(norm(zero), zero[..., 0, 0])
    assert torch.equal(norm.dual(zero), zero[..., 0, 0])
    assert torch.equal(norm.lmo(zero), zero)


@every_norm
@every_dtype
def test_lmo_is_zero_where_the_gradient_leaves_it_free(norm, dtype):
    g = torch.zeros(6, 4, dtype=dtype)
    g[:3, :2] = normal((3, 2), dtype=dtype)
    a = norm.lmo(g)
    assert torch.equal(a[3:], torch.zeros_like(a[3:]))
    assert torch.equal(a[:, 2:], torch.zeros_like(a[:, 2:]))
    assert -inner(g, a).item() == pytest.approx(norm.dual(g).item(), rel=TOLERANCE[dtype])


@every_norm
@every_shape
def test_lmo_is_no_worse_than_any_direction(norm, shape):
    """Hölder's inequality, on directions at random and on ones close to the best."""
    g = normal(shape)
    best, dual = norm.lmo(g), norm.dual(g)
    for size in (1e-6, 1e-2, 1e6):
        for seed in range(20):
            u = best + size * normal(shape, seed)
            assert (inner(g, u).abs() <= dual * norm(u) * (1 + 1e-12)).all()


@every_norm
@few_examples
@given(shape=shapes, seed=seeds, factor=st.floats(-1e20, 1e20), dtype=st.sampled_from([*TOLERANCE]))
def test_homogeneity(norm, shape, seed, factor, dtype):
    u = normal(shape, seed, dtype)
    for length in (norm, norm.dual):
        assert length(factor * u).item() == pytest.approx(abs(factor) * length(u).item(), rel=TOLERANCE[dtype])


@every_norm
@few_examples
@given(shape=shapes, seed=seeds, exponent=st.floats(-20, 20), dtype=st.sampled_from([*TOLERANCE]))
def test_triangle_inequality(norm, shape, seed, exponent, dtype):
    u, v = normal(shape, seed, dtype), 10**exponent * normal(shape, seed + 1, dtype)
    for length in (norm, norm.dual):
        assert length(u + v) <= (length(u) + length(v)) * (1 + TOLERANCE[dtype])


@every_norm
@few_examples
@given(shape=shapes, seed=seeds, exponent=st.floats(-20, 20), dtype=st.sampled_from([*TOLERANCE]))
def test_hoelder_inequality(norm, shape, seed, exponent, dtype):
    g, u = normal(shape, seed, dtype), 10**exponent * normal(shape, seed + 1, dtype)
    assert inner(g, u).abs() <= norm.dual(g).double() * norm(u).double() * (1 + TOLERANCE[dtype])


@every_norm
@every_dtype
def test_batched_equals_looped(norm, dtype):
    g = normal((2, 3, 6, 4), dtype=dtype)
    g[0, 1] = 0
    g[1, 1] *= 1e20
    for operation in (norm, norm.dual, norm.lmo):
        looped = torch.stack([torch.stack([operation(one) for one in row]) for row in g])
        assert torch.allclose(operation(g), looped, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@every_norm
def test_equal_singular_values(norm):
    """Orthonormal matrices, on which torch.linalg.svdvals fails in float32."""
    u = torch.linalg.qr(normal((200, 150)))[0].float()
    dual = FORMULAS[type(norm)][1](u)
    assert norm.dual(u).item() == pytest.approx(float(dual), rel=1e-5)
    assert -inner(u, norm.lmo(u)).item() == pytest.approx(float(dual), rel=1e-5)


def test_rms_operator_is_the_largest_gain_in_root_mean_square():
    u = normal((6, 4))

    def rms(x: Tensor) -> Tensor:
        return x.square().mean(0).sqrt()

    inputs = torch.cat([normal((4, 1000), 1), torch.linalg.svd(u).Vh[0, :, None]], -1)
    gains = rms(u @ inputs) / rms(inputs)
    assert RMSOperator().norm(u).item() == pytest.approx(gains.max().item(), rel=1e-12)
    assert gains.argmax() == 1000


@pytest.mark.parametrize("norm", [Spectral(), RMSOperator()], ids=str)
def test_fast_precision_is_about_right(norm):
    g = normal((30, 20), dtype=torch.float32)
    a = norm.lmo(g, "fast")
    assert norm(a) <= 1.02
    assert -inner(g, a) >= 0.98 * norm.dual(g)


@every_norm
def test_bfloat16_in_kind(norm):
    u = normal((6, 4), dtype=torch.bfloat16)
    for result, exact in ((norm(u), norm(u.double())), (norm.dual(u), norm.dual(u.double()))):
        assert result.dtype == torch.bfloat16
        assert result.item() == pytest.approx(exact.item(), rel=2e-2)
    assert norm.lmo(u).dtype == torch.bfloat16
    assert torch.allclose(norm.lmo(u).double(), norm.lmo(u.double()), atol=2e-2)


@every_norm
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty_tensors(norm, shape):
    u = torch.zeros(shape)
    assert torch.equal(norm(u), torch.zeros(shape[:-2]))
    assert torch.equal(norm.dual(u), torch.zeros(shape[:-2]))
    assert norm.lmo(u).shape == shape


@every_norm
def test_nan_is_passed_on(norm):
    g = normal((4, 3))
    g[1, 1] = torch.nan
    assert norm(g).isnan()
    assert norm.lmo(g).isnan().any()


@every_norm
def test_arguments_are_left_alone(norm):
    g = normal((4, 3))
    for operation in (norm, norm.dual, norm.lmo):
        operation(g).fill_(7.0)
        assert torch.equal(g, normal((4, 3)))


@every_norm
def test_norms_are_values(norm):
    twin: Norm = pickle.loads(pickle.dumps(norm))
    assert twin == norm
    assert hash(twin) == hash(norm)
    assert eval(repr(norm)) == norm
    assert [other == norm for other in NORMS].count(True) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        norm.radius = 2.0
