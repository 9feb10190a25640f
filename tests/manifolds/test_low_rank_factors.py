"""LowRankFactors: what a step does to A B^T, whichever pair stands for it."""

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import LowRankFactors, NoClosedFormError
from modular_manifolds.norms import PerBlock, Spectral

M, N, R = 7, 5, 3
PAIR = LowRankFactors(M)
BALL = PerBlock(Spectral(), (M, N))
ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5}

every_dtype = pytest.mark.parametrize("dtype", ROUNDING, ids=str)


def normal(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def spectral(x: Tensor) -> Tensor:
    return torch.linalg.svdvals(x.double())[..., 0]


def inner(x: Tensor, y: Tensor) -> Tensor:
    return (x * y).sum((-2, -1))


def direction(x: Tensor, g: Tensor) -> Tensor:
    """The LMO in the pair's own coordinates."""
    return PAIR.unwhiten(x, BALL.lmo(PAIR.unwhiten(x, g)))


def test_factors_are_the_stacked_parts():
    a, b = normal((2, M, R)), normal((2, N, R), 1)
    x = torch.cat([a, b], -2)
    assert torch.equal(PAIR.factors(x)[0], a)
    assert torch.equal(PAIR.factors(x)[1], b)
    assert torch.allclose(PAIR.as_matrix(x), a @ b.mT)


@every_dtype
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_whitened_parts_measure_what_they_do_to_the_matrix(dtype, scale):
    x, u = scale * normal((2, M + N, R), dtype=dtype), normal((2, M + N, R), 1, dtype)
    (a, b), (da, db) = PAIR.factors(x), PAIR.factors(u)
    white_a, white_b = PAIR.factors(PAIR.whiten(x, u))
    assert white_a.dtype == dtype
    assert torch.allclose(spectral(white_a), 2 * spectral(da.double() @ b.double().mT), rtol=ROUNDING[dtype])
    assert torch.allclose(spectral(white_b), 2 * spectral(a.double() @ db.double().mT), rtol=ROUNDING[dtype])
    assert torch.allclose(
        white_b.double().norm(dim=(-2, -1)), 2 * (a.double() @ db.double().mT).norm(dim=(-2, -1)), rtol=ROUNDING[dtype]
    )


@every_dtype
@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_unwhiten_is_the_inverse(dtype, scale):
    x, u = scale * normal((2, M + N, R), dtype=dtype), normal((2, M + N, R), 1, dtype)
    assert torch.allclose(PAIR.unwhiten(x, PAIR.whiten(x, u)), u, atol=ROUNDING[dtype])
    assert torch.allclose(PAIR.whiten(x, PAIR.unwhiten(x, u)), u, atol=ROUNDING[dtype])


@pytest.mark.parametrize("kind", ["generic", "zero", "rank one", "fewer rows than columns"])
def test_both_are_self_adjoint_and_pseudo_inverse(kind):
    x = normal((M + N, R))
    if kind == "zero":
        x[M:] = 0
    elif kind == "rank one":
        x[M:] = x[M:, :1] * x[:1, :]
    pair = LowRankFactors(M + N - 2) if kind == "fewer rows than columns" else PAIR
    u, v = normal((M + N, R), 1), normal((M + N, R), 2)
    for map_ in (pair.whiten, pair.unwhiten):
        assert inner(map_(x, u), v).item() == pytest.approx(inner(u, map_(x, v)).item(), rel=1e-11)
    white = pair.whiten(x, u)
    assert torch.allclose(pair.whiten(x, pair.unwhiten(x, white)), white, atol=1e-11)
    flat = pair.unwhiten(x, u)
    assert torch.allclose(pair.unwhiten(x, pair.whiten(x, flat)), flat, atol=1e-11)


def test_the_ball_splits_the_budget_and_the_direction_attains_its_bound():
    x, g = normal((M + N, R)), normal((M + N, R), 1)
    u = direction(x, g)
    (a, b), (da, db) = PAIR.factors(x), PAIR.factors(u)
    assert spectral(da @ b.mT).item() == pytest.approx(0.5)
    assert spectral(a @ db.mT).item() == pytest.approx(0.5)
    assert -inner(g, u).item() == pytest.approx(BALL.dual(PAIR.unwhiten(x, g)).item())
    rivals = normal((1000, M + N, R), 2)
    lengths = BALL(PAIR.whiten(x.expand_as(rivals), rivals))
    assert (-inner(g, rivals) / lengths).max() < -inner(g, u)


def test_a_step_does_not_depend_on_the_pair_that_stands_for_the_matrix():
    x = normal((M + N, R))
    gradient = normal((M, N), 1)  # with respect to A B^T
    c = normal((R, R), 2)
    other = torch.cat([x[:M] @ c, x[M:] @ torch.linalg.inv(c).mT])
    assert torch.allclose(PAIR.as_matrix(other), PAIR.as_matrix(x))
    moved = []
    for pair in (x, other):
        a, b = PAIR.factors(pair)
        g = torch.cat([gradient @ b, gradient.mT @ a])
        moved.append(PAIR.as_matrix(PAIR.retract(pair, 0.1 * direction(pair, g))))
    assert torch.allclose(*moved, atol=1e-12)
    assert not torch.allclose(moved[0], PAIR.as_matrix(x), atol=1e-3)


@every_dtype
def test_at_the_start_of_lora_the_zero_factor_alone_moves(dtype):
    x, g = normal((M + N, R), dtype=dtype), normal((M + N, R), 1, dtype)
    x[M:] = 0
    u = direction(x, g)
    assert torch.equal(u[:M], torch.zeros_like(u[:M]))
    assert spectral(x[:M].double() @ u[M:].double().mT).item() == pytest.approx(0.5, rel=1e-5)


def test_moving_along_the_other_pairs_has_no_cost_to_first_order():
    """The r^2 directions (A K, -B K^T) leave A B^T where it is."""
    x, k = normal((M + N, R)), normal((R, R), 1)
    u = torch.cat([x[:M] @ k, -x[M:] @ k.mT])
    (a, b), (da, db) = PAIR.factors(x), PAIR.factors(u)
    assert (da @ b.mT + a @ db.mT).abs().max() < 1e-12


def test_every_pair_is_a_point_and_every_vector_tangent():
    x, g = normal((2, M + N, R)), normal((2, M + N, R), 1)
    assert torch.equal(PAIR.project(x), x)
    assert torch.equal(PAIR.to_tangent(x, g), g)
    assert torch.equal(PAIR.retract(x, g), x + g)
    assert torch.equal(PAIR.violation(x), torch.zeros(2, dtype=x.dtype))
    assert PAIR.dimension(x.shape) == 2 * (M + N) * R
    assert PAIR.retraction_order == 1
    for result in (PAIR.project(x), PAIR.to_tangent(x, g)):
        result.fill_(7.0)
    assert torch.equal(x, normal((2, M + N, R)))
    assert torch.equal(g, normal((2, M + N, R), 1))


def test_metric_and_gradient():
    x, g, v = (normal((M + N, R), seed) for seed in range(3))
    (a, b), (du, dv) = PAIR.factors(x), (PAIR.factors(g), PAIR.factors(v))
    metric = 4 * (inner(du[0] @ b.mT, dv[0] @ b.mT) + inner(a @ du[1].mT, a @ dv[1].mT))
    assert PAIR.inner(x, g, v).item() == pytest.approx(metric.item())
    assert PAIR.inner(x, PAIR.gradient(x, g), v).item() == pytest.approx(inner(g, v).item())


def test_nan_is_passed_on_in_its_matrix_alone():
    x, u = normal((3, M + N, R)), normal((3, M + N, R), 1)
    x[1, M + 1, 0] = torch.nan
    for map_ in (PAIR.whiten, PAIR.unwhiten):
        assert map_(x, u).isnan().flatten(1).any(1).tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(0, M + N, R), (M + N, 0), (M, R), (2, M, 0)], ids=str)
def test_empty_factors(shape):
    x = normal(shape)
    for map_ in (PAIR.whiten, PAIR.unwhiten, PAIR.retract, PAIR.to_tangent):
        assert map_(x, x).shape == shape
    assert PAIR.violation(x).shape == shape[:-2]


@pytest.mark.parametrize("rows", [0, -2, 1.0, None])
def test_rows_must_be_a_positive_int(rows):
    with pytest.raises(ValueError, match="rows must be a positive int, got"):
        LowRankFactors(rows)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: PAIR.project(x),
        lambda x: PAIR.to_tangent(x, x),
        lambda x: PAIR.retract(x, x),
        lambda x: PAIR.whiten(x, x),
        lambda x: PAIR.unwhiten(x, x),
        lambda x: PAIR.as_matrix(x),
        lambda x: PAIR.violation(x),
        lambda x: PAIR.random(x.shape),
        lambda x: PAIR.dimension(x.shape),
    ],
)
def test_tensors_with_too_few_rows_are_refused(call):
    with pytest.raises(ValueError, match=r"shape \(6, 3\) has no 7 rows"):
        call(torch.ones(6, 3))


def test_there_is_no_closed_form_for_geodesics():
    x = normal((M + N, R))
    with pytest.raises(NoClosedFormError, match=r"LowRankFactors\(rows=7\) has no closed form"):
        PAIR.exp(x, x)
