"""Soft constraints: where weights are drawn, and that gradients find their way back, exactly."""

import copy
import io
import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import modular_manifolds as mm
from modular_manifolds.manifolds import DoublyStochastic, SpectralBall, SpectralBand, SpectralSphere

TALL_WIDE_SQUARE = [(5, 3), (3, 5), (3, 3), (2, 2, 3, 4)]
SQUARE = [(4, 4), (2, 3, 3)]
CASES = [
    *[
        (manifold, shape)
        for manifold in (
            mm.Euclidean(),
            mm.Sphere(2.0),
            mm.Oblique(),
            mm.Oblique("columns", 0.5),
            mm.Stiefel(2.0),
            mm.Grassmann(0.7),
            SpectralBall(1.3),
            SpectralBand(0.8, 1.5),
            SpectralSphere(1.2),
            SpectralSphere(9.0),
            mm.FixedRank(2),
            mm.LowRankFactors(2),
        )
        for shape in TALL_WIDE_SQUARE
    ],
    *[
        (manifold, shape)
        for manifold in (mm.SymmetricPositiveDefinite(floor=0.1), DoublyStochastic())
        for shape in SQUARE
    ],
    (mm.Product((mm.Stiefel(), mm.Sphere(2.0)), (2, 3)), (2, 5, 4)),
    (mm.Product(mm.Stiefel(), 2, "columns"), (4, 6)),
]
HALF = mm.Stiefel()


def gradients_agree(manifold, kappa, w):
    w = w.double().requires_grad_()
    return torch.autograd.gradcheck(mm.SoftConstraint(manifold, kappa), (w,), eps=1e-6, atol=1e-7, rtol=1e-6)


def point_at(distance, shape=(6, 4), manifold=HALF):
    """A weight off a Stiefel point along a normal direction, and that direction."""
    generator = torch.Generator().manual_seed(1)
    p = manifold.random(shape, generator=generator, dtype=torch.float64)
    symmetric = torch.randn(shape[1], shape[1], generator=generator, dtype=torch.float64)
    normal = p @ (symmetric + symmetric.mT)
    normal = normal / normal.norm()
    return p, p + distance * normal, normal


@pytest.mark.parametrize("kappa", [0.0, 0.3])
@pytest.mark.parametrize(("manifold", "shape"), CASES, ids=str)
def test_gradients_are_exact(manifold, shape, kappa):
    generator = torch.Generator().manual_seed(0)
    assert gradients_agree(manifold, kappa, torch.randn(shape, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("manifold", [mm.Sphere(2.0), mm.Oblique(), mm.Stiefel(), mm.Grassmann(), mm.FixedRank(2)])
@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_gradients_are_exact_on_the_manifold(manifold, shape):
    x = manifold.random(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert gradients_agree(manifold, 3.0, x)


def test_the_formula():
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(w, full_matrices=False)
    a = 1 / (1 + 0.7 * (s - 1).square().sum(-1))[..., None, None]
    soft = mm.SoftConstraint(mm.Stiefel(), 0.7)(w)
    assert torch.allclose(soft, (1 - a) * w + a * (u @ vh), atol=1e-12)
    assert a[0] != a[1]


def test_near_the_manifold_the_normal_gain_is_three_kappa_distance_squared():
    kappa, d = 2.0, 1e-3
    p, w, normal = point_at(d)
    constraint = mm.SoftConstraint(HALF, kappa)
    assert float((constraint(w) - p).norm()) == pytest.approx(kappa * d**3, rel=1e-4)
    w.requires_grad_()
    (gradient,) = torch.autograd.grad((constraint(w) * normal).sum(), w)
    assert torch.allclose(gradient, 3 * kappa * d**2 * normal, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("distance", [1e-2, 0.1, 0.7])
def test_the_normal_gain_is_at_most_nine_eighths(distance):
    gains = []
    for kappa in torch.logspace(-3, 5, 33).tolist():
        _, w, normal = point_at(distance)
        (gradient,) = torch.autograd.grad((mm.SoftConstraint(HALF, kappa)(w.requires_grad_()) * normal).sum(), w)
        gains.append(float((gradient * normal).sum()))
    assert 1.1 < max(gains) <= 9 / 8 + 1e-12


def test_kappa_runs_from_hard_to_free():
    w = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(mm.SoftConstraint(HALF, 0.0)(w), HALF.project(w), atol=1e-6)
    free = mm.SoftConstraint(HALF, math.inf)(w)
    assert torch.equal(free, w)
    assert free.data_ptr() != w.data_ptr()
    assert torch.allclose(mm.SoftConstraint(HALF, 1e30)(w), w, atol=1e-6)
    w.requires_grad_()
    assert torch.equal(torch.autograd.grad(mm.SoftConstraint(HALF, math.inf)(w).sum(), w)[0], torch.ones(6, 4))


@pytest.mark.parametrize("kappa", [-1.0, math.nan, -math.inf])
def test_kappa_must_not_be_negative(kappa):
    with pytest.raises(ValueError, match="kappa"):
        mm.soften(nn.Linear(3, 2), "weight", HALF, kappa)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e30])
@pytest.mark.parametrize("manifold", [mm.Sphere(), mm.Oblique(), mm.Stiefel(), SpectralBall()], ids=str)
def test_everything_is_finite(manifold, scale, dtype):
    for shape in [(4, 3), (3, 4), (7,), (), (0, 3), (2, 0)]:
        base = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        w = (scale * base).to(dtype).requires_grad_()
        soft = mm.SoftConstraint(manifold, 1.0)(w)
        (gradient,) = torch.autograd.grad(soft.sum(), w)
        assert soft.dtype == gradient.dtype == dtype
        assert soft.shape == gradient.shape == w.shape
        assert soft.isfinite().all()
        assert gradient.isfinite().all()


def test_rank_deficient_weights_have_a_gradient():
    column = torch.randn(5, 1, generator=torch.Generator().manual_seed(0))
    w = (column @ torch.ones(1, 3)).requires_grad_()
    (gradient,) = torch.autograd.grad(mm.SoftConstraint(HALF, 1.0)(w).square().sum(), w)
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 100


def test_nan_is_passed_on():
    w = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    w[0, 1, 1] = math.nan
    w.requires_grad_()
    soft = mm.SoftConstraint(HALF, 1.0)(w)
    (gradient,) = torch.autograd.grad(soft.sum(), w)
    for result in (soft, gradient):
        assert result[0].isnan().all()
        assert result[1].isfinite().all()


@dataclass(frozen=True)
class Elsewhere(mm.Sphere):
    """A subclass that projects in its own way."""

    def project(self, x):
        return self.radius * torch.ones_like(x) / math.sqrt(x.shape[-1] * x.shape[-2])


def test_a_manifold_without_a_derivative_says_so_when_asked_for_a_gradient():
    layer = mm.soften(nn.Linear(3, 4), "weight", Elsewhere(), 1.0)
    loss = layer(torch.ones(2, 3)).sum()
    with pytest.raises(mm.NoClosedFormError, match=r"Elsewhere.*no known derivative.*register\(Elsewhere\)"):
        loss.backward()


def test_second_derivatives_are_refused():
    w = torch.randn(4, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(mm.SoftConstraint(HALF, 1.0)(w).square().sum(), w, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_the_present_value_becomes_the_raw_weight_that_optimizers_step():
    layer = nn.Conv2d(3, 4, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    raw = layer.weight.detach().clone()
    assert mm.soften(layer, "weight", HALF, 0.5) is layer
    assert torch.equal(layer.parametrizations.weight.original, raw)
    before = layer.weight.detach().clone()
    assert not torch.allclose(before, raw)
    layer(torch.ones(1, 3, 5, 5)).square().sum().backward()
    optimizer.step()
    assert not torch.equal(layer.weight, before)


def test_softened_layers_are_saved_copied_and_undone():
    layer = mm.soften(nn.Linear(5, 3), "weight", HALF, 0.5)
    other = mm.soften(nn.Linear(5, 3), "weight", HALF, 0.5)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    assert torch.equal(other.weight, layer.weight)
    assert torch.equal(copy.deepcopy(layer).weight, layer.weight)
    assert "kappa=0.5" in repr(layer)
    effective = layer.weight.detach().clone()
    parametrize.remove_parametrizations(layer, "weight")
    assert torch.equal(layer.weight, effective)
    raw = other.parametrizations.weight.original.detach().clone()
    parametrize.remove_parametrizations(other, "weight", leave_parametrized=False)
    assert torch.equal(other.weight, raw)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("distance", [1e-4, 0.1, 0.5])
def test_assignment_sets_the_effective_weight(distance, dtype):
    layer = mm.soften(nn.Linear(4, 6, dtype=dtype), "weight", HALF, 100.0)
    wanted = point_at(distance)[1].to(dtype)
    kept = wanted.clone()
    layer.weight = wanted
    assert torch.allclose(layer.weight, wanted, atol=100 * torch.finfo(dtype).eps)
    raw = layer.parametrizations.weight.original.detach()
    assert torch.linalg.matrix_norm(raw - HALF.project(raw)) > distance
    with torch.no_grad():
        layer.parametrizations.weight.original.zero_()
    assert torch.equal(wanted, kept)


def test_a_point_of_the_manifold_is_its_own_raw_weight():
    layer = mm.soften(nn.Linear(4, 6), "weight", HALF, 0.0)
    point = HALF.random((6, 4))
    layer.weight = point
    assert torch.equal(layer.parametrizations.weight.original, point)


@pytest.mark.parametrize(
    ("manifold", "kappa", "value"),
    [
        (HALF, 0.0, point_at(0.1)[1].float()),
        (mm.Sphere(), 0.5, torch.full((6, 4), 0.01)),  # W_eff is at least 1 / (1 + kappa) away from 0
    ],
)
def test_a_value_out_of_reach_is_refused(manifold, kappa, value):
    layer = mm.soften(nn.Linear(4, 6), "weight", manifold, kappa)
    before = layer.weight.detach().clone()
    with pytest.raises(ValueError, match="no raw weight of shape"):
        layer.weight = value
    assert torch.equal(layer.weight, before)


def test_a_shape_without_points_and_an_integer_weight_are_refused():
    with pytest.raises(ValueError, match="square"):
        mm.soften(nn.Linear(3, 2), "weight", mm.SymmetricPositiveDefinite(), 1.0)
    module = nn.Module()
    module.register_buffer("weight", torch.ones(2, 2, dtype=torch.int64))
    with pytest.raises(TypeError, match="int64"):
        mm.soften(module, "weight", HALF, 1.0)


def test_inside_a_ball_nothing_is_drawn():
    w = torch.zeros(2, 3, 3)
    w[1, 0, 1] = 0.5  # of rank one, and zero: singular values that vanish are free there, too
    w.requires_grad_()
    soft = mm.SoftConstraint(SpectralBall(), 1.0)(w)
    assert torch.allclose(soft, w)
    assert torch.allclose(torch.autograd.grad(soft.sum(), w)[0], torch.ones(2, 3, 3))
