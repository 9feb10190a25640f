"""The Birkhoff polytope."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment, minimize
from torch import Tensor

from modular_manifolds.manifolds import DoublyStochastic
from modular_manifolds.manifolds.doubly_stochastic import LARGEST_SCALE

SIZES = [1, 2, 3, 5, 8, 20]
SCALES = [1e-30, 1e-3, 1.0, 10.0, 1e3, 1e6, 1e12, 1e30]
KINDS = [
    "generic",
    "zero",
    "rank one",
    "identity",
    "integers",
    "few integers",
    "heavy tails",
    "graded",
    "periodic",
    "blocks",
]
BIRKHOFF = DoublyStochastic()


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return BIRKHOFF.random(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def awkward(kind: str, n: int) -> Tensor:
    """Matrices with generic, and with many equal entries: faces of the polytope are then nearest, not only vertices."""
    generator = torch.Generator().manual_seed(n)
    x = torch.randn(n, n, generator=generator, dtype=torch.float64)
    match kind:
        case "zero":
            return torch.zeros_like(x)
        case "rank one":
            return x[:, :1] * x[:1]
        case "identity":
            return -torch.eye(n, dtype=x.dtype)
        case "integers":
            return torch.randint(-3, 4, (n, n), generator=generator).double()
        case "few integers":
            return torch.randint(-1, 2, (n, n), generator=generator).double() * (x > 1)
        case "heavy tails":
            return x.pow(5)
        case "graded":
            return x * torch.logspace(0, -17, n, dtype=x.dtype)
        case "blocks":
            x = torch.zeros_like(x)
            x[: n // 3, : n // 3 + 1] = x[n // 3 :, n // 3 + 1 :] = 1
        case "periodic":
            return torch.arange(n * n).reshape(n, n).double().fmod(7)
    return x


def suboptimality(x: Tensor, y: Tensor) -> float:
    """max <x - y, z - y> over the polytope: zero iff y is nearest to x. The maximum is attained at a permutation."""
    off = (x - y).numpy()
    rows, columns = linear_sum_assignment(off, maximize=True)
    return float(off[rows, columns].sum() - (off * y.numpy()).sum())


def allowance(x: Tensor) -> float:
    """Rounding; and beyond LARGEST_SCALE what scaling down may cost, which is less than the distance is rounded."""
    top = x.abs().max().item()
    return len(x) * (1e-14 * max(1.0, top) + (top / LARGEST_SCALE if top > LARGEST_SCALE / 4 else 0))


def dykstra(x: Tensor, sweeps: int = 3000) -> Tensor:
    """Alternating projections, with Dykstra's corrections, onto the affine hull and the nonnegative matrices."""
    n = x.shape[-1]
    y, correction = x, torch.zeros_like(x)
    for _ in range(sweeps):
        flat = y - y.mean(0) - y.mean(1, keepdim=True) + y.mean() + 1 / n
        y = (flat + correction).clamp(min=0)
        correction = flat + correction - y
    return y


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("n", SIZES)
def test_project_is_feasible_and_nearest(kind, scale, n):
    x = scale * awkward(kind, n)
    y = BIRKHOFF.project(x)
    assert BIRKHOFF.violation(y) < 1e-14
    assert y.min() >= 0
    assert suboptimality(x, y) <= allowance(x)
    assert torch.allclose(BIRKHOFF.project(y), y, atol=1e-14)


@pytest.mark.parametrize(
    ("kind", "n", "scale"), [("generic", 100, 1e4), ("graded", 100, 1e8), ("periodic", 200, 1e8), ("blocks", 60, 1.0)]
)
def test_project_of_larger_matrices(kind, n, scale):
    x = scale * awkward(kind, n)
    y = BIRKHOFF.project(x)
    assert BIRKHOFF.violation(y) < 1e-14
    assert suboptimality(x, y) <= allowance(x)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_project_against_dykstra(n):
    for seed in range(3):
        x = normal(n, n, seed=seed)
        assert torch.allclose(BIRKHOFF.project(x), dykstra(x), atol=1e-9)


def test_project_against_a_quadratic_programme():
    n, x = 3, normal(3, 3)
    sums = np.concatenate([np.kron(np.eye(n), np.ones(n)), np.kron(np.ones(n), np.eye(n))])[:-1]
    solution = minimize(
        lambda y: 0.5 * ((y - x.flatten().numpy()) ** 2).sum(),
        np.full(n * n, 1 / n),
        jac=lambda y: y - x.flatten().numpy(),
        bounds=[(0, None)] * (n * n),
        constraints={"type": "eq", "fun": lambda y: sums @ y - 1, "jac": lambda y: sums},
        method="SLSQP",
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert np.allclose(BIRKHOFF.project(x).flatten().numpy(), solution.x, atol=1e-7)


def test_project_of_two_by_two():
    """The nearest [[t, 1-t], [1-t, t]]: a segment."""
    for seed in range(20):
        x = normal(2, 2, seed=seed)
        t = (0.5 + (x[0, 0] + x[1, 1] - x[0, 1] - x[1, 0]) / 4).clamp(0, 1)
        assert torch.allclose(BIRKHOFF.project(x), torch.tensor([[t, 1 - t], [1 - t, t]], dtype=x.dtype), atol=1e-15)


def test_project_beats_random_points():
    x = normal(5, 5)
    y = BIRKHOFF.project(x)
    assert all((x - random(5, 5, seed=seed)).norm() > (x - y).norm() for seed in range(50))


def test_project_takes_no_notice_of_what_is_added_to_rows_and_columns():
    x = normal(6, 6)
    moved = x + 5 * normal(6, 1, seed=1) + 7 * normal(1, 6, seed=2)
    assert torch.allclose(BIRKHOFF.project(moved), BIRKHOFF.project(x), atol=1e-13)
    huge = 1e30 * (normal(6, 1, seed=1) + normal(1, 6, seed=2))
    assert torch.allclose(BIRKHOFF.project(huge), torch.full((6, 6), 1 / 6, dtype=x.dtype), atol=1e-15)


def test_project_of_huge_entries_is_the_best_assignment():
    for scale in (LARGEST_SCALE, 1e30):
        x = scale * normal(20, 20)
        rows, columns = linear_sum_assignment(x.numpy(), maximize=True)
        expected = torch.zeros_like(x)
        expected[rows, columns] = 1
        assert torch.allclose(BIRKHOFF.project(x), expected, atol=1e-14)


@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("n", SIZES)
def test_every_operation_lands_in_every_dtype(dtype, slack, n):
    x = BIRKHOFF.random((3, n, n), generator=torch.Generator().manual_seed(0), dtype=dtype)
    g = normal(3, n, n, seed=1).to(dtype)
    u = BIRKHOFF.to_tangent(x, g)
    for y in (x, BIRKHOFF.project(g), BIRKHOFF.retract(x, u), BIRKHOFF.retract(x, 30 * u)):
        assert y.dtype == dtype
        assert BIRKHOFF.violation(y).max() <= slack


def test_batches_are_loops_and_transposes_are_projections():
    x = torch.stack([scale * awkward(kind, 6) for kind in KINDS for scale in (1e-3, 1.0, 1e6)]).reshape(3, -1, 6, 6)
    y = BIRKHOFF.project(x)
    looped = torch.stack([torch.stack([BIRKHOFF.project(each) for each in row]) for row in x])
    assert torch.allclose(looped, y, atol=1e-9)
    assert torch.allclose(BIRKHOFF.project(x.mT).mT, y, atol=1e-9)


def test_a_batch_may_be_done_in_part():
    x = torch.stack([torch.eye(4, dtype=torch.float64), 5 * normal(4, 4)])
    assert torch.equal(BIRKHOFF.project(x)[0], x[0])
    assert BIRKHOFF.violation(BIRKHOFF.project(x))[1] < 1e-14


def test_to_tangent_is_the_orthogonal_projector_on_zero_sums():
    n = 4
    x, g, h = random(n, n), normal(n, n, seed=1), normal(n, n, seed=2)
    centring = torch.eye(n, dtype=x.dtype) - 1 / n
    assert torch.allclose(BIRKHOFF.to_tangent(x, g), centring @ g @ centring, atol=1e-15)
    assert torch.allclose((BIRKHOFF.to_tangent(x, g) * h).sum(), (g * BIRKHOFF.to_tangent(x, h)).sum())
    basis = torch.eye(n * n, dtype=x.dtype).reshape(n * n, n, n)
    values = torch.linalg.eigvalsh(BIRKHOFF.to_tangent(x, basis).reshape(n * n, n * n))
    assert BIRKHOFF.dimension((n, n)) == int((values > 0.5).sum()) == 9
    assert BIRKHOFF.dimension((2, 3, n, n)) == 54
    assert BIRKHOFF.dimension((1, 1)) == 0


def test_is_flat_inside():
    x, y, v = random(2, 5, 5), random(2, 5, 5, seed=1), normal(2, 5, 5)
    u = BIRKHOFF.log(x, y)
    assert torch.allclose(BIRKHOFF.to_tangent(x, u), u, atol=1e-15)
    assert torch.allclose(BIRKHOFF.exp(x, u), y, atol=1e-15)
    assert torch.allclose(BIRKHOFF.retract(x, u), y, atol=1e-15)
    assert torch.allclose(BIRKHOFF.distance(x, y), (y - x).flatten(-2).norm(dim=-1))
    assert torch.equal(BIRKHOFF.transport(x, u, v), v)
    assert BIRKHOFF.transport(x, u, v).data_ptr() != v.data_ptr()
    assert BIRKHOFF.retraction_order == 2


@pytest.mark.parametrize("n", SIZES)
def test_random_points_are_scaled_gaussians(n):
    """D exp(G) E: what is not a product of a row's and a column's factor is kept, the cross ratios."""
    g = normal(200, n, n)
    x = BIRKHOFF.from_gaussian(g)
    assert BIRKHOFF.violation(x).max() < 1e-14
    assert x.min() > 0
    off = x.log() - g
    assert torch.allclose(BIRKHOFF.to_tangent(x, off), torch.zeros_like(g), atol=1e-12)


def test_violation_is_the_worst_of_sums_and_signs():
    assert BIRKHOFF.violation(torch.eye(3)) == 0
    assert BIRKHOFF.violation(1.5 * torch.eye(3)).item() == pytest.approx(0.5)
    assert BIRKHOFF.violation(torch.tensor([[1.25, -0.25], [-0.25, 1.25]])).item() == pytest.approx(0.25)
    assert BIRKHOFF.violation(torch.tensor([[1.0, 0.0], [1.0, 0.0]])).item() == pytest.approx(1)
    assert BIRKHOFF.violation(torch.tensor([[1.0, 1.0], [0.0, 0.0]])).item() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(0, 0), (2, 0, 0), (0, 3, 3)], ids=str)
def test_empty(shape):
    x = torch.zeros(shape)
    for y in (BIRKHOFF.project(x), BIRKHOFF.to_tangent(x, x), BIRKHOFF.retract(x, x), BIRKHOFF.random(shape)):
        assert y.shape == shape
    assert torch.equal(BIRKHOFF.violation(x), torch.zeros(shape[:-2]))
    assert BIRKHOFF.dimension(shape) == 0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_gives_nan_for_that_matrix_alone(bad):
    x = random(2, 3, 3)
    x[0, 1, 1] = bad
    for y in (BIRKHOFF.project(x), BIRKHOFF.retract(x, 0 * x), BIRKHOFF.to_tangent(x, x)):
        assert y[0].isnan().any()
        assert y[1].isfinite().all()
    assert not BIRKHOFF.violation(x)[0].isfinite()


def test_one_by_one_is_one():
    for x in (normal(1, 1), torch.full((1, 1), 1e30, dtype=torch.float64)):
        assert torch.equal(BIRKHOFF.project(x), torch.ones(1, 1, dtype=torch.float64))
    assert torch.equal(random(1, 1), torch.ones(1, 1, dtype=torch.float64))


def test_matrices_must_be_square():
    x = torch.ones(3, 2)
    for refused in (
        lambda: BIRKHOFF.project(x),
        lambda: BIRKHOFF.to_tangent(x, x),
        lambda: BIRKHOFF.retract(x, x),
        lambda: BIRKHOFF.exp(x, x),
        lambda: BIRKHOFF.log(x, x),
        lambda: BIRKHOFF.distance(x, x),
        lambda: BIRKHOFF.transport(x, x, x),
        lambda: BIRKHOFF.random((3, 2)),
        lambda: BIRKHOFF.dimension((3, 2)),
        lambda: BIRKHOFF.violation(x),
    ):
        with pytest.raises(ValueError, match=r"square matrices, got shape \(3, 2\)"):
            refused()
