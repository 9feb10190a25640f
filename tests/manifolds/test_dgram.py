"""Matrices with orthogonal columns."""

import math

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import DGram, NoClosedFormError

SHAPES = [(1, 1), (6, 1), (1, 6), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4)]
EMPTY = [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0)]
AWKWARD = ["generic", "zero", "rank one", "zero column", "equal columns", "graded"]
DIMENSIONS = [((5, 5), 15), ((9, 4), 30), ((4, 9), 30), ((6, 1), 6), ((3, 2, 2), 9)]
DGRAM = DGram()

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return DGRAM.random(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def awkward(kind: str, *shape: int) -> Tensor:
    x = normal(*shape, seed=7)
    match kind:
        case "zero":
            return torch.zeros_like(x)
        case "rank one":
            return x[..., :1] * x[..., :1, :]
        case "zero column":
            x[..., -1] = 0
        case "equal columns":
            x[..., -1] = x[..., 0]
        case "graded":
            return x * torch.logspace(0, -17, shape[-1], dtype=x.dtype)
    return x


def tall(x: Tensor) -> Tensor:
    return x if x.shape[-2] >= x.shape[-1] else x.mT


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1))


def distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).flatten(-2).norm(dim=-1)


@every_shape
def test_to_tangent_solves_the_normal_equations(shape):
    """Normal vectors are x S with S symmetric and hollow; the best S by least squares over a basis of those."""
    x, g = random(*shape)[(0,) * (len(shape) - 2)], normal(*shape, seed=1)[(0,) * (len(shape) - 2)]
    p = DGRAM.to_tangent(x, g)
    x, g = tall(x), g if x.shape[-2] >= x.shape[-1] else g.mT
    n = x.shape[-1]
    basis = []
    for i in range(n):
        for j in range(i):
            s = torch.zeros(n, n, dtype=x.dtype)
            s[i, j] = s[j, i] = 1
            basis.append((x @ s).flatten())
    taken = torch.zeros_like(g)
    if basis:
        matrix = torch.stack(basis, -1)
        taken = (matrix @ torch.linalg.lstsq(matrix, g.flatten().unsqueeze(-1)).solution).reshape(g.shape)
    assert torch.allclose(tall(p), g - taken, atol=1e-13)


@every_shape
def test_to_tangent_is_an_orthogonal_projector_of_the_right_rank(shape):
    x, g, h = random(*shape), normal(*shape, seed=1), normal(*shape, seed=2)
    p, q = DGRAM.to_tangent(x, g), DGRAM.to_tangent(x, h)
    assert torch.allclose(DGRAM.to_tangent(x, p), p, atol=1e-13)
    assert torch.allclose(inner(p, h), inner(g, q), atol=1e-13)
    change = tall(x).mT @ tall(p) + tall(p).mT @ tall(x)
    assert (change - torch.diag_embed(change.diagonal(dim1=-2, dim2=-1))).abs().max() < 1e-13
    m, n = shape[-2:]
    basis = torch.eye(m * n, dtype=x.dtype).reshape(m * n, m, n)
    projector = DGRAM.to_tangent(random(m, n).expand(m * n, m, n), basis).reshape(m * n, m * n)
    assert DGRAM.dimension((2, m, n)) == 2 * int((torch.linalg.eigvalsh(projector) > 0.5).sum())


def test_to_tangent_at_a_zero_column_keeps_it_orthogonal_to_the_others():
    x = random(6, 3)
    x[:, 1] = 0
    p = DGRAM.to_tangent(x, normal(6, 3, seed=1))
    assert (x.mT @ p)[[0, 2], 1].abs().max() < 1e-14
    x[:, 2] = 0
    g = normal(6, 3, seed=1)
    assert torch.allclose((g - DGRAM.to_tangent(x, g)).norm(dim=0)[0], torch.zeros((), dtype=x.dtype), atol=1e-14)
    assert torch.equal(DGRAM.to_tangent(0 * x, g), g)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_everything_scales_with_x(dtype, scale):
    x, g = random(6, 4).to(dtype), normal(6, 4, seed=1).to(dtype)
    slack = 1e-13 if dtype == torch.float64 else 2e-6
    assert torch.allclose(DGRAM.to_tangent(scale * x, g), DGRAM.to_tangent(x, g), atol=slack)
    assert torch.allclose(DGRAM.project(scale * g) / scale, DGRAM.project(g), atol=slack)
    u = DGRAM.to_tangent(x, g)
    assert torch.allclose(DGRAM.retract(scale * x, scale * u) / scale, DGRAM.retract(x, u), atol=slack)
    assert DGRAM.violation(scale * g) == pytest.approx(DGRAM.violation(g).item(), rel=1e-6)
    apart = x * torch.tensor([1.0, scale, scale, 1.0], dtype=dtype)
    p = DGRAM.to_tangent(apart, g)
    assert torch.allclose(DGRAM.to_tangent(apart, p), p, atol=slack)


@pytest.mark.parametrize("kind", AWKWARD)
@every_shape
def test_project_is_nearest_nearby_and_among_random_points(kind, shape):
    x = awkward(kind, *shape)
    y = DGRAM.project(x)
    assert DGRAM.violation(y).max() < 1e-14
    assert torch.allclose(DGRAM.project(y), y, atol=1e-14)
    reach = distance(x, y) * (1 - 1e-12) - 1e-14
    for seed in range(15):
        u = DGRAM.to_tangent(y, normal(*shape, seed=seed))
        for z in (random(*shape, seed=seed), DGRAM.retract(y, 1e-3 * u), DGRAM.retract(y, 0.1 * u)):
            assert (distance(x, z) >= reach).all()


@every_shape
def test_project_is_a_stationary_point(shape):
    x = normal(*shape)
    y = DGRAM.project(x)
    assert DGRAM.to_tangent(y, x - y).abs().max() < 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_project_of_two_columns_against_brute_force(seed):
    """Over all pairs of orthogonal directions in the plane, each column then being as long as is best."""
    x = normal(2, 2, seed=seed)
    angle = torch.linspace(0, torch.pi, 20001, dtype=x.dtype)
    first = torch.stack([angle.cos(), angle.sin()], -1)
    second = torch.stack([-angle.sin(), angle.cos()], -1)
    explained = (first @ x[:, 0]).square() + (second @ x[:, 1]).square()
    best = (x.square().sum() - explained.max()).sqrt().item()
    assert distance(x, DGRAM.project(x)).item() == pytest.approx(best, rel=1e-6)


def test_project_of_rank_one_keeps_the_longest_column():
    a, b = normal(5, 1), torch.tensor([[0.3, -2.0, 1.0]], dtype=torch.float64)
    expected = a @ b * torch.tensor([0.0, 1.0, 0.0])
    assert torch.allclose(DGRAM.project(a @ b), expected, atol=1e-4)
    assert distance(a @ b, DGRAM.project(a @ b)) == pytest.approx(distance(a @ b, expected).item(), rel=1e-9)


def test_points_of_the_manifold_stay_however_different_the_lengths():
    x = random(9, 5) * torch.tensor([1.0, 1e-3, 1e-6, 1e-9, 1e-12], dtype=torch.float64)
    assert ((DGRAM.project(x) - x).norm(dim=0) / x.norm(dim=0)).max() < 1e-14


def test_no_column_is_lost_however_different_the_lengths():
    lengths = torch.tensor([1e-7, 1.0, 1e-13, 1e-2, 1e-9, 1e-5], dtype=torch.float64)
    for seed in range(10):
        x = normal(9, 6, seed=seed) * lengths
        y = DGRAM.project(x)
        assert DGRAM.violation(y) < 1e-14
        assert (y.norm(dim=0) > 0.2 * x.norm(dim=0)).all()


def test_zero_columns_stay_zero():
    x = normal(6, 4)
    x[:, 2] = 0
    for y in (DGRAM.project(x), DGRAM.retract(DGRAM.project(x), torch.zeros_like(x))):
        assert torch.equal(y[:, 2], torch.zeros(6, dtype=y.dtype))
        assert DGRAM.violation(y) < 1e-14


@every_shape
def test_retract_is_of_first_order_and_the_projection_of_second(shape):
    x = random(*shape)
    u = DGRAM.to_tangent(x, normal(*shape, seed=1))
    assert torch.allclose(DGRAM.retract(x, 0 * u), x, atol=1e-14)
    first = [distance(DGRAM.retract(x, t * u), x + t * u).max() for t in (1e-2, 1e-3)]
    assert first[0] < 1e-13 or math.log10(first[0] / first[1]) > 1.9
    if min(shape[-2:]) > 1:
        for f, order in ((DGRAM.retract, 1), (lambda x, u: DGRAM.project(x + u), 2)):
            bent = [DGRAM.to_tangent(x, f(x, t * u) - x - t * u).norm() for t in (1e-2, 1e-3)]
            assert round(math.log10(bent[0] / bent[1])) == order + 1
        assert DGRAM.retraction_order == 1


@every_shape
def test_retract_keeps_the_lengths_of_the_sum(shape):
    x = random(*shape)
    u = DGRAM.to_tangent(x, normal(*shape, seed=1))
    for size in (1e-3, 1.0, 30.0):
        y = DGRAM.retract(x, size * u)
        assert DGRAM.violation(y).max() < 1e-13
        assert torch.allclose(tall(y).norm(dim=-2), tall(x + size * u).norm(dim=-2))


@every_shape
@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 1e-14), (torch.float32, 2e-6), (torch.bfloat16, 1e-2)])
def test_every_operation_lands_in_every_dtype(shape, dtype, slack):
    x = DGRAM.random(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    g = normal(*shape, seed=1).to(dtype)
    for y in (x, DGRAM.project(g), DGRAM.retract(x, DGRAM.to_tangent(x, g))):
        assert y.dtype == dtype
        assert DGRAM.violation(y).max() <= slack


def test_batches_are_loops_and_wide_is_the_transpose_of_tall():
    x = torch.stack([awkward(kind, 6, 4) for kind in AWKWARD])
    y, g = DGRAM.project(x), normal(len(x), 6, 4)
    u = DGRAM.to_tangent(y, g)
    looped = torch.stack([DGRAM.project(each) for each in x])
    assert torch.allclose(distance(x, looped), distance(x, y), atol=1e-10)
    unique = [i for i, kind in enumerate(AWKWARD) if kind not in ("rank one", "equal columns")]
    assert torch.allclose(looped[unique], y[unique], atol=1e-10)
    assert torch.allclose(u, torch.stack([DGRAM.to_tangent(a, b) for a, b in zip(y, g, strict=True)]), atol=1e-14)
    assert torch.equal(DGRAM.project(x.mT).mT, y)
    assert torch.equal(DGRAM.to_tangent(y.mT, g.mT).mT, u)
    assert torch.equal(DGRAM.retract(y.mT, u.mT).mT, DGRAM.retract(y, u))
    assert torch.equal(DGRAM.violation(x.mT), DGRAM.violation(x))


def test_random_has_uniform_directions_and_gaussian_lengths():
    x = DGRAM.random((20000, 4, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert x.mean(0).abs().max() < 0.03
    assert (x.square().mean(0) - 1).abs().max() < 0.03
    assert (x.square().sum(-2).var(0) - 8).abs().max() < 0.6
    assert ((x[:, 0] / x.norm(dim=-2)).pow(4).mean(0) - 3 / 24).abs().max() < 0.01


def test_violation_is_the_largest_cosine():
    x = torch.tensor([[3.0, 3.0, 0.0, 0.0], [4.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert DGRAM.violation(x).item() == pytest.approx(0.6)
    assert DGRAM.violation(x[:, 1:]).item() == 0


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty(shape):
    x = torch.zeros(shape)
    for y in (DGRAM.project(x), DGRAM.to_tangent(x, x), DGRAM.retract(x, x), DGRAM.random(shape)):
        assert y.shape == shape
    assert torch.equal(DGRAM.violation(x), torch.zeros(shape[:-2]))
    assert DGRAM.dimension(shape) == 0


def test_nan_is_passed_on_for_its_matrix_alone():
    x = random(2, 4, 3)
    x[0, 1, 1] = torch.nan
    for y in (DGRAM.project(x), DGRAM.to_tangent(x, x), DGRAM.retract(x, 0 * x)):
        assert y[0].isnan().any()
        assert y[1].isfinite().all()
    assert DGRAM.violation(x).isnan().tolist() == [True, False]


def test_there_is_no_exponential():
    with pytest.raises(NoClosedFormError, match=r"DGram\(\)"):
        DGRAM.exp(random(4, 3), random(4, 3))


@pytest.mark.parametrize(
    ("shape", "dimension"), [((5, 5), 15), ((9, 4), 30), ((4, 9), 30), ((6, 1), 6), ((3, 2, 2), 9)]
)
def test_dimension(shape, dimension):
    assert DGRAM.dimension(shape) == dimension
