"""Riemannian Adam is torch.optim.Adam where there is no constraint, and its rule elsewhere."""

import inspect
import itertools

import pytest
import torch
from torch import nn

import modular_manifolds as mm
from modular_manifolds.manifolds import Product

SETTINGS = [
    {"betas": betas, "weight_decay": decay, "amsgrad": amsgrad, "maximize": maximize, "eps": eps}
    for betas, decay, amsgrad, maximize, eps in itertools.product(
        ((0.9, 0.999), (0.0, 0.5)), (0.0, 0.2), (False, True), (False, True), (1e-8, 0.1)
    )
]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_without_a_constraint_it_is_torch_adam(settings):
    ours = [nn.Parameter(normal(*shape, seed=9)) for shape in [(5, 3), (4,), (2, 3, 4), (5, 3)]]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = (
        mm.RiemannianAdam(ours, lr=0.1, manifold=mm.Euclidean(), **settings),
        torch.optim.Adam(theirs, lr=0.1, **settings),
    )
    for step in range(4):
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            for p in pair:
                # the largest gradient comes first, so that amsgrad differs
                p.grad = normal(*p.shape, seed=10 * step + i) / (1 + step)
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(ours, theirs, strict=True):
        assert torch.allclose(p, q, rtol=1e-12, atol=1e-12)


def test_it_takes_what_torch_adam_takes():
    theirs, ours = (inspect.signature(kind).parameters for kind in (torch.optim.Adam, mm.RiemannianAdam))
    # how torch computes the same step has no counterpart, nor has AdamW's decay on a manifold
    assert set(theirs) - set(ours) == {"foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay"}
    assert {name: ours[name].default for name in ours if name in theirs} == {
        name: theirs[name].default for name in ours if name in theirs
    }


@pytest.mark.parametrize("amsgrad", [False, True])
@pytest.mark.parametrize("manifold", [mm.Stiefel(2.0), mm.Sphere(), mm.SymmetricPositiveDefinite()], ids=str)
def test_its_moments_on_a_manifold(manifold, amsgrad):
    """The first moves along with the weight; the second is one number, the squared length in the metric."""
    w = manifold.random((5, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = nn.Parameter(w.clone())
    optimizer = mm.RiemannianAdam([p], lr=0.05, betas=(0.8, 0.6), eps=1e-3, amsgrad=amsgrad, manifold=manifold)
    m, s, largest = torch.zeros_like(w), 0.0, 0.0
    for i in range(1, 6):
        p.grad = normal(5, 5, seed=i) / i
        optimizer.step()
        gradient = manifold.gradient(w, p.grad)
        m = 0.8 * m + 0.2 * gradient
        s = 0.6 * s + 0.4 * manifold.inner(w, gradient, gradient)
        largest = max(largest, s) if amsgrad else s
        direction = m / (1 - 0.8**i) / ((largest / (1 - 0.6**i)) ** 0.5 + 1e-3)
        w = manifold.retract(w, -0.05 * direction)
        m = manifold.to_tangent(w, m)
        assert torch.allclose(p, w, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_first_step_is_as_long_as_lr(scale):
    w = mm.Stiefel().random((8, 5), dtype=torch.float64)
    p = nn.Parameter(w.clone())
    p.grad = scale * normal(8, 5)
    mm.RiemannianAdam([p], lr=1e-4, eps=0.0).step()
    assert (p - w).norm().item() == pytest.approx(1e-4, rel=1e-3)


def test_the_second_moment_is_one_number_for_each_part_of_a_product():
    halves = Product((mm.Stiefel(), mm.Oblique("rows")), 2)
    cases = {
        mm.Euclidean(): (3, 4, 6),
        mm.Stiefel(): (3, 1, 1),
        mm.Sphere(): (3, 1, 1),
        mm.Oblique("rows"): (3, 4, 1),
        mm.Oblique("columns"): (3, 1, 6),
        halves: (3, 4, 6),
    }
    for manifold, shape in cases.items():
        p = nn.Parameter(manifold.random((3, 4, 6), dtype=torch.float64))
        optimizer = mm.RiemannianAdam([p], manifold=manifold)
        p.grad = normal(3, 4, 6)
        w = p.detach().clone()
        optimizer.step()
        square = optimizer.state[p]["exp_avg_sq"]
        assert square.shape == shape
        gradient = manifold.to_tangent(w, p.grad)
        if manifold == halves:
            assert (square[:, :2] == square[:, :1, :1]).all()
            assert (square[:, 2:] == square[:, 2:, :1]).all()
            assert not (square[:, 2] == square[:, 3]).any()
            square = torch.cat([square[:, :1, :1], square[:, 2:, :1]], -2)
        assert torch.allclose(square.sum((-2, -1)), 1e-3 * gradient.square().sum((-2, -1)))


@pytest.mark.parametrize(
    "settings", [{"betas": (0.9, 1.0)}, {"betas": (0.9,)}, {"betas": (-0.1, 0.9)}, {"eps": -1.0}], ids=str
)
def test_settings_out_of_range_are_refused(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=name):
        mm.RiemannianAdam([nn.Parameter(torch.eye(3))], **settings)
