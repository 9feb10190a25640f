"""FixedRank: against the singular value decomposition and the formulas of Vandereycken (2013)."""

import pytest
import torch

from modular_manifolds.manifolds import FixedRank, NoClosedFormError

SHAPES = [(9, 5), (5, 9), (6, 6), (2, 3, 7, 4)]
DTYPES = {torch.float64: 1e-14, torch.float32: 2e-6, torch.bfloat16: 1.5e-2}

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def normal(shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def point(shape: tuple[int, ...], rank: int = 3, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return FixedRank(rank).random(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


@every_shape
def test_project_is_the_truncated_decomposition(shape):
    x = normal(shape)
    u, s, vh = torch.linalg.svd(x, full_matrices=False)
    truncated = u[..., :2] @ (s[..., :2, None] * vh[..., :2, :])
    assert torch.allclose(FixedRank(2).project(x), truncated, atol=1e-13)


@every_shape
@every_dtype
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_points_have_the_rank(shape, dtype, scale):
    y = FixedRank(3).project(normal(shape, dtype=dtype) * scale)
    assert y.dtype == dtype
    assert FixedRank(3).violation(y).max() <= DTYPES[dtype]
    s = torch.linalg.svdvals(y.double() / scale)
    assert (s[..., 2] > 0.1).all()
    assert torch.allclose(FixedRank(3).project(y).double() / scale, y.double() / scale, atol=10 * DTYPES[dtype])


@every_shape
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_lower_ranks_are_completed_by_as_little_as_can_be_told_from_rounding(shape, dtype, scale):
    manifold = FixedRank(3)
    *batch, m, n = shape
    for rank in (0, 1, 2):
        x = (normal((*batch, m, rank)) @ normal((*batch, rank, n), 1) * scale).to(dtype)
        assert torch.equal(manifold.violation(x), torch.ones(batch, dtype=dtype))
        y = manifold.project(x)
        assert manifold.violation(y).max() <= DTYPES[dtype]
        assert (y - x).abs().max() <= 10 * torch.finfo(dtype).eps * (x.abs().max() * max(m, n) or 1)
        assert torch.equal(manifold.project(x), y)
        again = manifold.project(y)
        assert manifold.violation(again).max() <= DTYPES[dtype]


def test_small_singular_values_within_the_rank_are_kept():
    x = torch.diag(torch.tensor([1.0, 1e-6, 1e-12, 1e-13], dtype=torch.float64))
    assert torch.allclose(FixedRank(3).project(x).diagonal(), torch.tensor([1.0, 1e-6, 1e-12, 0.0]).double(), rtol=1e-3)
    assert FixedRank(3).violation(x).item() == pytest.approx(1e-13)
    assert FixedRank(2).violation(x).item() == pytest.approx(1e-12)
    assert FixedRank(1).violation(x).item() == pytest.approx(1e-6)
    assert FixedRank(4).violation(x).item() == 0


@every_shape
def test_full_rank_is_all_that_is_generic(shape):
    manifold = FixedRank(min(shape[-2:]))
    x, g = normal(shape), normal(shape, 1)
    assert torch.allclose(manifold.project(x), x, atol=1e-13)
    assert torch.allclose(manifold.to_tangent(x, g), g, atol=1e-13)
    assert torch.equal(manifold.violation(x), torch.zeros(shape[:-2], dtype=x.dtype))
    assert manifold.dimension(shape) == x.numel()


@every_shape
def test_to_tangent_is_the_projector_onto_the_velocities_of_curves(shape):
    """Independently: X = L R^T moves by dL R^T + L dR^T, onto the span of which least squares projects."""
    *batch, m, n = shape
    left, right = normal((*batch, m, 3)), normal((*batch, n, 3), 1)
    x, g = left @ right.mT, normal(shape, 2)
    along = torch.eye(m * 3, dtype=x.dtype).reshape(m * 3, m, 3)
    across = torch.eye(n * 3, dtype=x.dtype).reshape(n * 3, n, 3)
    velocities = torch.cat([along @ right.unsqueeze(-3).mT, left.unsqueeze(-3) @ across.mT], -3).flatten(-2).mT
    coefficients = torch.linalg.pinv(velocities, rtol=1e-10) @ g.flatten(-2).unsqueeze(-1)
    expected = (velocities @ coefficients).reshape(shape)
    assert torch.allclose(FixedRank(3).to_tangent(x, g), expected, atol=1e-12)
    rank = torch.linalg.matrix_rank(velocities, rtol=1e-10)
    assert (rank == FixedRank(3).dimension((m, n))).all()


@every_shape
@every_dtype
def test_factors_span_the_columns_and_rows(shape, dtype):
    x = point(shape, dtype=dtype)
    u, v = FixedRank(3).factors(x)
    wide = x.to(u.dtype)
    eye = torch.eye(3, dtype=u.dtype)
    for factor in (u, v):
        assert torch.allclose(factor.mT @ factor, eye.expand(*shape[:-2], 3, 3), atol=1e-6)
    assert torch.allclose(u @ (u.mT @ wide @ v) @ v.mT, wide, atol=20 * DTYPES[dtype])


@every_shape
def test_retraction_is_of_second_order(shape):
    """What is tangent in R(x, t u) - x - t u is of third order in t."""
    manifold, x = FixedRank(3), point(shape)
    u = manifold.to_tangent(x, normal(shape, 1))
    errors = [manifold.to_tangent(x, manifold.retract(x, t * u) - x - t * u).norm() for t in (1e-2, 1e-3)]
    if min(shape[-2:]) > 3:
        assert 2.9 < torch.log10(errors[0] / errors[1]) < 3.1
    assert manifold.retraction_order == 2


def test_random_row_and_column_spaces_are_uniform():
    x = FixedRank(2).random((4000, 5, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, v = FixedRank(2).factors(x)
    for factor in (u, v):
        k = factor.shape[-2]
        mean = (factor @ factor.mT).mean(0)
        assert torch.allclose(mean, 2 / k * torch.eye(k, dtype=x.dtype), atol=0.03)


def test_nan_is_passed_on_in_its_matrix_alone():
    manifold, x, g = FixedRank(2), point((3, 5, 4), 2), normal((3, 5, 4))
    x[1, 2, 2] = torch.nan
    for result in (manifold.project(x), manifold.to_tangent(x, g), manifold.retract(x, g), manifold.violation(x)):
        broken = result.isnan().flatten(1).any(1) if result.ndim > 1 else result.isnan()
        assert broken.tolist() == [False, True, False]


def test_empty_batch():
    x = torch.zeros(0, 5, 4)
    assert FixedRank(2).project(x).shape == (0, 5, 4)
    assert FixedRank(2).to_tangent(x, x).shape == (0, 5, 4)
    assert FixedRank(2).violation(x).shape == (0,)
    assert FixedRank(2).dimension((0, 5, 4)) == 0


def test_arguments_are_left_alone():
    x, g = point((5, 4)), normal((5, 4))
    kept = x.clone(), g.clone()
    manifold = FixedRank(3)
    for result in (manifold.project(x), manifold.to_tangent(x, g), manifold.retract(x, g), *manifold.factors(x)):
        result.fill_(7.0)
        assert torch.equal(x, kept[0])
        assert torch.equal(g, kept[1])


@pytest.mark.parametrize(("shape", "dimension"), [((5, 4), 14), ((4, 5), 14), ((2, 2), 4), ((3, 5, 4), 42)])
def test_dimension(shape, dimension):
    assert FixedRank(2).dimension(shape) == dimension


@pytest.mark.parametrize("rank", [0, -1, 1.0, None])
def test_rank_must_be_a_positive_int(rank):
    with pytest.raises(ValueError, match="rank must be a positive int, got"):
        FixedRank(rank)


@pytest.mark.parametrize(
    "call",
    [
        lambda manifold, x: manifold.project(x),
        lambda manifold, x: manifold.to_tangent(x, x),
        lambda manifold, x: manifold.retract(x, x),
        lambda manifold, x: manifold.factors(x),
        lambda manifold, x: manifold.violation(x),
        lambda manifold, x: manifold.random(x.shape),
        lambda manifold, x: manifold.dimension(x.shape),
    ],
)
def test_matrices_too_small_for_the_rank_are_refused(call):
    for shape in ((6, 2), (2, 6)):
        with pytest.raises(ValueError, match=rf"shape \({shape[0]}, {shape[1]}\) has no matrices of rank 3"):
            call(FixedRank(3), torch.ones(shape))


def test_there_is_no_closed_form_for_geodesics():
    x = point((5, 4))
    for call in (FixedRank(3).exp, FixedRank(3).log, FixedRank(3).distance):
        with pytest.raises(NoClosedFormError, match=r"FixedRank\(rank=3\) has no closed form"):
            call(x, x)
