"""Riemannian SGD is torch.optim.SGD where there is no constraint, and its rule elsewhere."""

import inspect
import itertools

import pytest
import torch
from torch import nn

import modular_manifolds as mm
from modular_manifolds.manifolds import Product

SETTINGS = [
    {"momentum": momentum, "dampening": dampening, "weight_decay": decay, "nesterov": nesterov, "maximize": maximize}
    for momentum, dampening, decay, nesterov, maximize in itertools.product(
        (0.0, 0.7), (0.0, 0.4), (0.0, 0.2), (False, True), (False, True)
    )
    if not nesterov or (momentum and not dampening)
]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_without_a_constraint_it_is_torch_sgd(settings):
    ours = [nn.Parameter(normal(*shape, seed=9)) for shape in [(5, 3), (4,), (2, 3, 4), (5, 3)]]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    optimizers = (
        mm.RiemannianSGD(ours, lr=torch.tensor(0.1), manifold=mm.Euclidean(), **settings),
        torch.optim.SGD(theirs, lr=0.1, **settings),
    )
    for step in range(4):
        for i, pair in enumerate(zip(ours, theirs, strict=True)):
            for p in pair:
                p.grad = normal(*p.shape, seed=10 * step + i)
        for optimizer in optimizers:
            optimizer.step()
    for p, q in zip(ours, theirs, strict=True):
        assert torch.allclose(p, q, rtol=1e-7, atol=1e-7)  # a tensor lr of 0.1 is one in float32


def test_it_takes_what_torch_sgd_takes():
    theirs, ours = (inspect.signature(kind).parameters for kind in (torch.optim.SGD, mm.RiemannianSGD))
    # how torch computes the same step has no counterpart
    assert set(theirs) - set(ours) == {"foreach", "differentiable", "fused"}
    assert {name: ours[name].default for name in ours if name in theirs} == {
        name: theirs[name].default for name in ours if name in theirs
    }


@pytest.mark.parametrize(("nesterov", "dampening"), [(False, 0.0), (False, 0.3), (True, 0.0)])
@pytest.mark.parametrize(
    "manifold",
    [
        mm.Stiefel(2.0),
        mm.Sphere(),
        mm.Oblique(),
        mm.SymmetricPositiveDefinite(),
        Product((mm.Stiefel(), mm.Sphere()), 2),
    ],
    ids=str,
)
def test_its_velocity_moves_along_with_the_weight(manifold, nesterov, dampening):
    w = manifold.random((6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = nn.Parameter(w.clone())
    optimizer = mm.RiemannianSGD([p], lr=0.05, momentum=0.8, dampening=dampening, nesterov=nesterov, manifold=manifold)
    v = None
    for i in range(5):
        p.grad = normal(6, 6, seed=10 + i)
        optimizer.step()
        gradient = manifold.gradient(w, p.grad)
        v = gradient if v is None else 0.8 * v + (1 - dampening) * gradient
        w = manifold.retract(w, -0.05 * (gradient + 0.8 * v if nesterov else v))
        v = manifold.to_tangent(w, v)
        assert torch.allclose(p, w, atol=1e-12)


def test_the_first_step_is_as_long_as_the_riemannian_gradient():
    """Not as the Euclidean one, whose normal part moves nothing."""
    w = mm.Stiefel().random((6, 4), dtype=torch.float64)
    p = nn.Parameter(w.clone())
    p.grad = normal(6, 4) + 100 * w
    mm.RiemannianSGD([p], lr=1e-6, momentum=0.9).step()
    assert torch.allclose((p - w) / -1e-6, mm.Stiefel().to_tangent(w, p.grad), atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"momentum": 1.0}, "momentum must lie in"),
        ({"momentum": -0.1}, "momentum must lie in"),
        ({"momentum": 0.5, "dampening": float("inf")}, "dampening must be finite"),
        ({"nesterov": True}, "nesterov needs a momentum"),
        ({"nesterov": True, "momentum": 0.5, "dampening": 0.1}, "no dampening"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings, match):
    with pytest.raises(ValueError, match=match):
        mm.RiemannianSGD([nn.Parameter(torch.eye(3))], **settings)
