"""Closed forms of the symmetric positive definite matrices, in both metrics."""

import math

import pytest
import torch
from scipy.linalg import expm, logm
from torch import Tensor

from modular_manifolds.manifolds import SymmetricPositiveDefinite

SPD = SymmetricPositiveDefinite()
FLAT = SymmetricPositiveDefinite("euclidean")
both = pytest.mark.parametrize("manifold", [SPD, FLAT], ids=["affine-invariant", "euclidean"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def symmetric(*shape: int, seed: int = 0) -> Tensor:
    x = normal(*shape, seed=seed)
    return (x + x.mT) / 2


def point(*shape: int, seed: int = 0) -> Tensor:
    return SPD.random(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def steep(n: int, condition: float, seed: int = 0) -> Tensor:
    """A point with eigenvalues from 1 down to 1 / condition."""
    q, _ = torch.linalg.qr(normal(n, n, seed=seed))
    x = (q * torch.logspace(0, -math.log10(condition), n, dtype=torch.float64)) @ q.mT
    return (x + x.mT) / 2


def test_diagonal_matrices_are_a_space_of_logarithms():
    x, y, u, v = (torch.diag(torch.tensor(d, dtype=torch.float64)) for d in ([1, 4], [math.e, 1], [2, -4], [3, 5]))
    assert torch.allclose(SPD.exp(x, u), torch.diag(torch.tensor([math.exp(2), 4 * math.exp(-1)]).double()))
    assert torch.allclose(SPD.log(x, y), torch.diag(torch.tensor([1, -4 * math.log(4)]).double()))
    assert SPD.distance(x, y).item() == pytest.approx(math.hypot(1, math.log(4)))
    assert torch.allclose(
        SPD.transport(x, u, v), torch.diag(torch.tensor([3 * math.exp(2), 5 * math.exp(-1)]).double())
    )
    assert torch.allclose(SPD.whiten(x, u), torch.diag(torch.tensor([2.0, -1.0]).double()))
    assert torch.allclose(SPD.retract(x, u), torch.diag(torch.tensor([5.0, 2.0]).double()))


def test_formulas_with_the_matrix_functions_of_scipy():
    x, u, v, y = point(5, 5), symmetric(5, 5, seed=1), symmetric(5, 5, seed=2), point(5, 5, seed=3)
    quotient, ratio = torch.linalg.solve(x, u), torch.linalg.solve(x, y)
    assert torch.allclose(SPD.exp(x, u), x @ torch.from_numpy(expm(quotient.numpy())), atol=1e-12)
    assert torch.allclose(SPD.log(x, y), x @ torch.from_numpy(logm(ratio.numpy())), atol=1e-12)
    way = torch.from_numpy(expm(quotient.mT.numpy() / 2))
    assert torch.allclose(SPD.transport(x, u, v), way @ v @ way.mT, atol=1e-11)


def test_geodesic_and_transport_solve_their_differential_equations():
    """X'' = X' X^-1 X' and V' = (X' X^-1 V + V X^-1 X') / 2, by central differences along the way."""
    x, u, v, h = point(4, 4), symmetric(4, 4, seed=1), symmetric(4, 4, seed=2), 1e-4
    for t in (0.0, 0.7):
        before, here, after = (SPD.exp(x, (t + s) * u) for s in (-h, 0, h))
        velocity, acceleration = (after - before) / (2 * h), (after - 2 * here + before) / h**2
        turn = velocity @ torch.linalg.inv(here)
        assert torch.allclose(acceleration, turn @ velocity, rtol=1e-5, atol=1e-5)
        moved = SPD.transport(x, t * u, v)
        change = (SPD.transport(x, (t + h) * u, v) - SPD.transport(x, (t - h) * u, v)) / (2 * h)
        assert torch.allclose(change, (turn @ moved + moved @ turn.mT) / 2, rtol=1e-6, atol=1e-6)


def test_congruences_and_inversion_change_no_distance():
    x, y, a = point(2, 5, 5), point(2, 5, 5, seed=1), normal(5, 5, seed=2)
    d = SPD.distance(x, y)
    for image in (lambda p: a @ p @ a.mT, torch.linalg.inv, lambda p: 1e-20 * p):
        assert torch.allclose(SPD.distance(image(x), image(y)), d, rtol=1e-10)
    assert torch.allclose(FLAT.distance(x, y), (x - y).flatten(1).norm(dim=1))


@both
def test_metric(manifold):
    x, u, v, g = point(2, 4, 4), symmetric(2, 4, 4, seed=1), symmetric(2, 4, 4, seed=2), normal(2, 4, 4, seed=3)
    inverse = torch.linalg.inv(x)
    expected = (inverse @ u @ inverse @ v if manifold == SPD else u @ v).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert torch.allclose(manifold.inner(x, u, v), expected, atol=1e-13)
    assert torch.allclose(manifold.unwhiten(x, manifold.whiten(x, u)), u, atol=1e-14)
    gradient = manifold.gradient(x, g)
    assert torch.allclose(gradient, x @ (g + g.mT) @ x / 2 if manifold == SPD else (g + g.mT) / 2, atol=1e-13)
    assert torch.allclose(manifold.inner(x, gradient, v), (g * v).sum((-2, -1)), atol=1e-13)


@both
@pytest.mark.parametrize("condition", [1.0, 1e4, 1e9])
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_retract_stays_positive_definite(manifold, condition, size):
    x = steep(6, condition)
    u = manifold.unwhiten(x, size * symmetric(6, 6, seed=1))
    y = manifold.retract(x, u)
    assert torch.equal(y, y.mT)
    values = torch.linalg.eigvalsh(y)
    assert values[0] > (0 if size * condition < 1e9 else -4e-15 * values[-1])
    if manifold == SPD and size * condition <= 1e6:
        assert torch.linalg.eigvalsh(y - x / 2)[0] > -1e-12 * values[-1]


def test_retract_of_the_euclidean_metric_comes_at_most_half_way_to_the_edge():
    x, u = point(5, 5), symmetric(5, 5, seed=1)
    least = torch.linalg.eigvalsh(x)[0].item()
    for step in (0.01, 0.1, 1.0, 100.0):
        straight, y = x + step * u, FLAT.retract(x, step * u)
        values, vectors = torch.linalg.eigh(straight)
        if values[0] >= least / 2:
            assert torch.equal(y, straight)
        else:
            assert torch.allclose(y, vectors * values.clamp(min=least / 2) @ vectors.mT, atol=1e-12)
            assert torch.linalg.eigvalsh(y)[0].item() == pytest.approx(least / 2, rel=1e-9)
    assert torch.equal(FLAT.retract(x, 0.01 * u), x + 0.01 * u)


def test_project_is_nearest_above_the_floor():
    manifold = SymmetricPositiveDefinite(floor=0.25)
    assert torch.allclose(
        manifold.project(torch.diag(torch.tensor([2.0, -1.0, 0.1]))), torch.diag(torch.tensor([2, 0.25, 0.25]))
    )
    g = normal(5, 5)
    y = manifold.project(g)
    assert torch.linalg.eigvalsh(y)[0].item() == pytest.approx(0.25)
    residual = g - y
    for seed in range(50):  # y is nearest in a convex set: what is left points away from every other point of it
        other = point(5, 5, seed=seed) * 10 ** (seed / 25 - 1)
        other = manifold.project(other)
        assert (residual * (other - y)).sum() <= 1e-12
    assert torch.equal(manifold.project(y + 1.0 * torch.eye(5)), y + 1.0 * torch.eye(5))
    assert torch.allclose(manifold.project(torch.zeros(3, 3)), 0.25 * torch.eye(3))


@pytest.mark.parametrize(
    ("dtype", "least"),
    [(torch.float64, 8 * 2.0**-52), (torch.float32, 8 * 2.0**-23), (torch.bfloat16, 2.0**-4)],
    ids=str,
)
@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_project_leaves_room_for_rounding(dtype, least, scale):
    """A matrix that is singular, or all but: what comes back is positive definite as stored."""
    manifold = SymmetricPositiveDefinite(floor=1e-300)
    factor = normal(20, 3)
    for x in (factor @ factor.mT, steep(20, 1e18)):
        y = manifold.project((scale * x).to(dtype))
        assert y.dtype == dtype
        values = torch.linalg.eigvalsh(y.double() / scale)
        assert values[0] > 0
        assert values[0] <= 1.5 * least * values[-1]
        assert manifold.violation(y) == 0


@both
def test_nearly_singular_points_give_finite_answers(manifold):
    singular = normal(5, 2) @ normal(5, 2).mT
    assert torch.linalg.eigvalsh(singular)[0] < 0
    for x in (steep(5, 1e8).float(), steep(5, 1e17), singular):
        y, u = torch.eye(5, dtype=x.dtype), symmetric(5, 5).to(x.dtype)
        small = manifold.unwhiten(x, 0.1 * u)
        for result in (
            manifold.whiten(x, u),
            manifold.gradient(x, u),
            manifold.exp(x, small),
            manifold.log(x, y),
            manifold.distance(x, y),
            manifold.transport(x, small, u),
            manifold.retract(x, u),
        ):
            assert result.isfinite().all()


def test_violation():
    x = torch.stack(
        [torch.diag(torch.tensor(d)) for d in ([1.0, 2, 3], [1.0, 2, -0.5], [-1.0, -2, -4], [0.0, 0, 0], [0.0, 1, 1])]
    )
    assert torch.allclose(SPD.violation(x), torch.tensor([0, 0.25, 1, 0, 0]))
    x[0, 0, 1] = 0.3
    assert SPD.violation(1e20 * x)[0].item() == pytest.approx(0.1)
    assert SPD.violation(1e-20 * x)[1].item() == pytest.approx(0.25)
    x[1, 0, 0] = torch.nan
    assert SPD.violation(x)[1].isnan()
    assert SPD.violation(torch.zeros(2, 0, 0)).tolist() == [0, 0]


def test_random_points_are_well_conditioned():
    for n in (1, 3, 50):
        values = torch.linalg.eigvalsh(point(100, n, n))
        assert values.min() >= 0.5 - 1e-14
        assert values.max() < 8
        assert values.std() > 0.1


def test_dimension():
    assert SPD.dimension((2, 4, 4)) == 20
    assert SPD.dimension((1, 1)) == 1


@both
def test_what_is_not_square_is_refused(manifold):
    x = torch.ones(3, 2)
    for question in (
        lambda: manifold.project(x),
        lambda: manifold.to_tangent(x, x),
        lambda: manifold.retract(x, x),
        lambda: manifold.whiten(x, x),
        lambda: manifold.unwhiten(x, x),
        lambda: manifold.inner(x, x, x),
        lambda: manifold.gradient(x, x),
        lambda: manifold.exp(x, x),
        lambda: manifold.log(x, x),
        lambda: manifold.distance(x, x),
        lambda: manifold.transport(x, x, x),
        lambda: manifold.violation(x),
        lambda: manifold.random((3, 2)),
        lambda: manifold.dimension((3, 2)),
    ):
        with pytest.raises(ValueError, match=r"made of square matrices, got shape \(3, 2\)"):
            question()


def test_arguments():
    with pytest.raises(ValueError, match="'affine-invariant' or 'euclidean', got 'log'"):
        SymmetricPositiveDefinite("log")
    for floor in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match=f"floor must be positive and finite, got {floor}"):
            SymmetricPositiveDefinite(floor=floor)
