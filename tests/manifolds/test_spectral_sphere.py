"""The sphere of the spectral norm."""

import math

import pytest
import torch
from torch import Tensor

from modular_manifolds.manifolds import NoClosedFormError, SpectralSphere

SHAPES = [(1, 1), (6, 1), (1, 6), (5, 5), (9, 4), (4, 9), (2, 3, 6, 4)]
EMPTY = [(0, 3), (3, 0), (0, 0), (0, 4, 3), (2, 0, 3), (2, 3, 0)]
SPHERE = SpectralSphere(2.0)

every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> Tensor:
    return SPHERE.random(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthonormal(m: int, n: int) -> Tensor:
    return torch.linalg.qr(normal(m, n)).Q


def inner(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum((-2, -1))


@every_shape
@pytest.mark.parametrize("size", [0.1, 2.0])
def test_project_is_nearest(shape, size):
    """The singular values go to the nearest point of max(s) = radius; no other matrix is nearer."""
    x = size * normal(*shape)
    y = SPHERE.project(x)
    assert SPHERE.violation(y).max() < 1e-14
    s = torch.linalg.svdvals(x)
    raised = (2 - s) * torch.eye(s.shape[-1], dtype=s.dtype)[0]
    expected = torch.where(s[..., :1] > 2, s - s.clamp(max=2), raised)
    distance = (x - y).flatten(-2).norm(dim=-1)
    assert torch.allclose(distance, expected.norm(dim=-1), atol=1e-13)
    for seed in range(30):
        for z in (random(*shape, seed=seed), SPHERE.retract(y, 0.05 * normal(*shape, seed=seed))):
            assert ((x - z).flatten(-2).norm(dim=-1) >= distance - 1e-12).all()
    assert torch.allclose(SPHERE.project(y), y, atol=1e-14)


def test_project_against_brute_force():
    """Over a fine grid of 2 x 2 matrices R(a) diag(2, t) R(b)."""
    angles = torch.linspace(0, 2 * torch.pi, 181, dtype=torch.float64)[:-1]
    turn = torch.stack([angles.cos(), -angles.sin(), angles.sin(), angles.cos()], -1).unflatten(-1, (2, 2))
    t = torch.linspace(-2, 2, 41, dtype=torch.float64)
    left = turn[:, None] @ torch.diag_embed(torch.stack([torch.full_like(t, 2.0), t], -1))
    for seed, size in ((0, 0.3), (1, 1.0), (2, 3.0)):
        x = size * normal(2, 2, seed=seed)
        distance = (x - SPHERE.project(x)).norm()
        best = min((left @ r - x).square().sum((-2, -1)).min().sqrt() for r in turn)
        assert best - 0.1 <= distance <= best + 1e-12


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", ["generic", "zero", "rank one", "all equal"])
def test_project_and_leading_at_any_scale(scale, dtype, kind):
    x = {
        "generic": normal(6, 4),
        "zero": torch.zeros(6, 4),
        "rank one": normal(6, 1) @ normal(1, 4),
        "all equal": orthonormal(6, 4),
    }[kind]
    x = (x * scale).to(dtype)
    slack = {torch.float64: 1e-14, torch.float32: 2e-6, torch.bfloat16: 1e-2}[dtype]
    y, theta = SPHERE.project(x), SPHERE.leading(x)
    assert y.dtype == theta.dtype == dtype
    assert SPHERE.violation(y) <= slack
    assert torch.linalg.svdvals(theta.double()).sub(torch.eye(4)[0]).abs().max() <= slack
    assert inner(theta.double(), x.double() / scale) == pytest.approx(
        torch.linalg.svdvals(x.double() / scale)[0].item(), abs=20 * slack
    )


def test_zero_goes_to_the_first_entry():
    first = torch.zeros(3, 4)
    first[0, 0] = 1
    assert torch.equal(SPHERE.leading(torch.zeros(3, 4)), first)
    assert torch.equal(SPHERE.project(torch.zeros(3, 4)), 2 * first)


@every_shape
def test_leading_is_the_gradient_of_the_spectral_norm(shape):
    x = normal(*shape).requires_grad_()
    (gradient,) = torch.autograd.grad(torch.linalg.matrix_norm(x, 2).sum(), x)
    assert torch.allclose(SPHERE.leading(x.detach()), gradient, atol=1e-13)


def test_leading_is_accurate_where_values_are_close_and_belongs_together_where_they_are_equal():
    u, v = orthonormal(9, 5), torch.linalg.qr(normal(5, 5, seed=3)).Q
    for gap in (1e-3, 1e-6):
        x = u @ torch.diag(torch.tensor([1, 1 - gap, 0.5, 0.1, 0], dtype=torch.float64)) @ v.mT
        assert (SPHERE.leading(x) - torch.outer(u[:, 0], v[:, 0])).norm() < 1e-14 / gap
    x = u @ v.mT
    theta = SPHERE.leading(x)
    assert torch.allclose(torch.linalg.svdvals(theta), torch.eye(5, dtype=x.dtype)[0], atol=1e-14)
    assert inner(theta, x) == pytest.approx(1, abs=1e-14)
    assert torch.equal(theta, SPHERE.leading(x))


@every_shape
def test_to_tangent_is_the_orthogonal_projector_on_the_kernel_of_the_gradient(shape):
    x, g, h = random(*shape), normal(*shape, seed=1), normal(*shape, seed=2)
    p, q = SPHERE.to_tangent(x, g), SPHERE.to_tangent(x, h)
    assert torch.allclose(SPHERE.to_tangent(x, p), p, atol=1e-13)
    assert torch.allclose(inner(p, h), inner(g, q), atol=1e-13)
    _, slope = torch.autograd.functional.jvp(lambda y: torch.linalg.matrix_norm(y, 2), x, p)
    assert slope.abs().max() < 1e-13
    m, n = shape[-2:]
    x = random(m, n)
    basis = torch.eye(m * n, dtype=x.dtype).reshape(m * n, m, n)
    values = torch.linalg.eigvalsh(SPHERE.to_tangent(x.expand(m * n, m, n), basis).reshape(m * n, m * n))
    assert SPHERE.dimension((2, m, n)) == 2 * int((values > 0.5).sum()) == 2 * (m * n - 1)


@every_shape
def test_retract_is_of_first_order_and_the_projection_of_second(shape):
    """Geodesics bend along Theta: the tangential part of the retraction's second derivative tells."""
    x = random(*shape)
    u = SPHERE.to_tangent(x, normal(*shape, seed=1))
    u = u / u.norm().clamp(min=1e-300)
    first = [(SPHERE.retract(x, t * u) - x - t * u).norm() for t in (1e-2, 1e-3)]
    assert first[0] < 1e-14 or math.log10(first[0] / first[1]) > 1.9
    if min(shape[-2:]) > 1:
        bent = [SPHERE.to_tangent(x, SPHERE.retract(x, t * u) - x - t * u).norm() for t in (1e-2, 1e-3)]
        metric = [SPHERE.to_tangent(x, SPHERE.project(x + t * u) - x - t * u).norm() for t in (1e-2, 1e-3)]
        assert SPHERE.retraction_order == 1
        assert math.log10(bent[0] / bent[1]) < 2.2
        assert metric[0] < 1e-14 or math.log10(metric[0] / metric[1]) > 2.8


@every_shape
@pytest.mark.parametrize(("dtype", "slack"), [(torch.float64, 1e-14), (torch.float32, 2e-6), (torch.bfloat16, 1e-2)])
def test_every_operation_lands_in_every_dtype(shape, dtype, slack):
    x = SPHERE.random(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    g = 3 * normal(*shape, seed=1).to(dtype)
    u = SPHERE.to_tangent(x, g)
    for y in (x, SPHERE.project(g), SPHERE.retract(x, u)):
        assert y.dtype == dtype
        assert SPHERE.violation(y).max() <= slack


@every_shape
def test_wide_is_the_transpose_of_tall_and_batches_are_loops(shape):
    x, g = random(*shape), normal(*shape, seed=1)
    for f in (SPHERE.project, SPHERE.leading):
        assert torch.allclose(f(g.mT).mT, f(g), atol=1e-13)
    assert torch.allclose(SPHERE.to_tangent(x.mT, g.mT).mT, SPHERE.to_tangent(x, g), atol=1e-13)
    both = torch.stack([x, g])
    for f in (SPHERE.project, SPHERE.leading):
        assert torch.allclose(f(both), torch.stack([f(x), f(g)]), atol=1e-14)


def test_random_is_invariant_under_rotations():
    x = SPHERE.random((20000, 3, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    covariance = torch.einsum("kij,klm->ijlm", x, x).reshape(6, 6) / len(x)
    assert x.mean(0).abs().max() < 0.02
    assert (covariance - covariance.diagonal().mean() * torch.eye(6)).abs().max() < 0.02


@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty(shape):
    x = torch.zeros(shape)
    for y in (SPHERE.project(x), SPHERE.leading(x), SPHERE.to_tangent(x, x), SPHERE.retract(x, x)):
        assert y.shape == shape
    assert SPHERE.random(shape).shape == shape
    assert SPHERE.violation(x).shape == shape[:-2]
    assert SPHERE.dimension(shape) == 0


def test_nan_is_passed_on_for_its_matrix_alone():
    x = random(2, 4, 3)
    x[0, 1, 1] = torch.nan
    for y in (SPHERE.project(x), SPHERE.leading(x), SPHERE.to_tangent(x, x), SPHERE.retract(x, 0 * x)):
        assert y[0].isnan().all()
        assert y[1].isfinite().all()
    assert SPHERE.violation(x).isnan().tolist() == [True, False]


def test_there_is_no_exponential():
    x = random(4, 3)
    for missing in (lambda: SPHERE.exp(x, x), lambda: SPHERE.log(x, x), lambda: SPHERE.distance(x, x)):
        with pytest.raises(NoClosedFormError, match=r"SpectralSphere\(radius=2.0\)"):
            missing()


@pytest.mark.parametrize(("factor", "violation"), [(1.0, 0.0), (1.5, 0.5), (0.25, 0.75), (0.0, 1.0)])
def test_violation_is_the_relative_error_of_the_norm(factor, violation):
    assert SPHERE.violation(2 * factor * torch.eye(3, 2)).item() == pytest.approx(violation, abs=1e-6)
