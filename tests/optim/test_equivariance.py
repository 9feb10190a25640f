"""A random gauge move, then training, is training, then the move: for optimizers that go by a geometry it keeps."""

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

import modular_manifolds as mm

STEPS = 4
STIEFEL = mm.Geometry(mm.Stiefel(), mm.Spectral())
SPHERE = mm.Geometry(mm.Sphere(2.0), mm.Frobenius())
FREE = mm.Geometry(mm.Euclidean(), mm.Spectral())


def network(between):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8, bias=False), between, nn.Linear(8, 3, bias=False))


def planned(model, geometry):
    """In float64, on its manifolds."""
    rules = {"0.weight": mm.Rule(geometry=geometry), "2.weight": mm.Rule(geometry=geometry)}
    plan = mm.modularize(model, (torch.zeros(2, 6),), rules)
    plan = plan.bind(model.double())
    plan.project_()
    return plan


def trained(model, make):
    model = deepcopy(model)
    optimizer = make(model)
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        x = torch.randn(32, 6, dtype=torch.float64, generator=generator)
        labels = torch.randint(3, (32,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x), labels).backward()
        optimizer.step()
    return model


def apart(model, geometry, make):
    """How far the two orders end up from each other, over how far training moves: in weights, and in logits."""
    plan = planned(model, geometry)

    def gauged(net):
        other = deepcopy(net)
        generator = torch.Generator().manual_seed(2)
        for gauge in plan.gauges():
            gauge.act_(other, generator)
        return other

    after, before = gauged(trained(model, make)), trained(gauged(model), make)
    still = gauged(model)
    x = torch.randn(50, 6, dtype=torch.float64)

    def flat(net):
        return torch.cat([p.detach().flatten() for p in net.parameters()])

    assert (flat(still) - flat(model)).norm() > 0.1 * flat(model).norm()
    weights = (flat(after) - flat(before)).norm() / (flat(after) - flat(still)).norm()
    logits = (after(x) - before(x)).norm() / (after(x) - still(x)).norm()
    return float(weights.detach()), float(logits.detach())


def modular(geometry, **options):
    return lambda model: mm.ModularOptimizer(
        [{"params": list(model.named_parameters()), "geometry": geometry}], lr=0.1, **options
    )


EQUIVARIANT = {
    "ManifoldMuon": (STIEFEL, lambda model: mm.ManifoldMuon(model.parameters(), lr=0.1)),
    "Stiefel x Spectral": (STIEFEL, modular(STIEFEL, momentum=0.0, nesterov=False)),
    "Stiefel x Spectral, momentum": (STIEFEL, modular(STIEFEL, momentum=0.9)),
    "Stiefel x Spectral, velocity": (STIEFEL, modular(STIEFEL, momentum=0.9, momentum_on="tangent")),
    "Sphere x Frobenius": (SPHERE, modular(SPHERE, momentum=0.9)),
    "Euclidean x Spectral": (FREE, modular(FREE, momentum=0.9)),
    "SGD": (FREE, lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)),
}


@pytest.mark.parametrize("name", EQUIVARIANT)
@pytest.mark.parametrize("between", [nn.Identity(), nn.ReLU(), nn.Tanh()], ids=lambda m: type(m).__name__)
def test_training_commutes_with_gauge_moves(name, between):
    geometry, make = EQUIVARIANT[name]
    weights, logits = apart(network(between), geometry, make)
    assert weights < 1e-9
    assert logits < 1e-9


def adamw(model):
    return torch.optim.AdamW(model.parameters(), lr=0.03)


def test_adamw_does_not_commute_with_rotations():
    weights, logits = apart(network(nn.Identity()), FREE, adamw)
    assert weights > 0.3
    assert logits > 0.03


@pytest.mark.parametrize("between", [nn.ReLU(), nn.Tanh()], ids=lambda m: type(m).__name__)
def test_adamw_commutes_with_signed_permutations(between):
    weights, logits = apart(network(between), FREE, adamw)
    assert weights < 1e-9
    assert logits < 1e-9


def muon(model):
    return torch.optim.Muon(model.parameters(), lr=0.1)


def test_torch_muon_commutes_but_for_its_bfloat16(monkeypatch):
    """Gradients here have rank 2: in their null space, five steps of Newton-Schulz magnify rounding 485 times."""
    shipped, _ = apart(network(nn.Identity()), FREE, muon)
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: self)
    weights, logits = apart(network(nn.Identity()), FREE, muon)
    assert max(weights, logits) < 1e-9
    assert 1e-3 < shipped < 0.5


def test_no_optimizer_of_fixed_step_length_commutes_with_scalings():
    """ReLU lets a unit's inputs grow and its outputs shrink; the metric of the weights is not that of the function."""
    model = network(nn.ReLU())
    plan = planned(model, FREE)
    (gauge,) = plan.gauges()
    moved = deepcopy(model)
    gauge.act_(moved, torch.Generator().manual_seed(2), function=True)
    x = torch.randn(50, 6, dtype=torch.float64)
    torch.testing.assert_close(moved(x), model(x))
    make = modular(FREE, momentum=0.0, nesterov=False)
    a, b = trained(model, make)(x), trained(moved, make)(x)
    assert float(((a - b).norm() / (a - model(x)).norm()).detach()) > 0.05
