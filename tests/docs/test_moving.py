"""What docs/moving.md says of torch and geoopt, and of the differences to them."""

from copy import deepcopy
from math import sin, sqrt

import geoopt
import pytest
import torch
from torch import Tensor, nn

import modular_manifolds as mm


def stepped(optimizer: torch.optim.Optimizer, p: nn.Parameter, grads: list[Tensor]) -> Tensor:
    for g in grads:
        p.grad = g.clone().to(p.dtype)
        optimizer.step()
    return p.detach()


@pytest.fixture
def grads() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(24, 8, generator=generator) for _ in range(3)]


@pytest.fixture
def w() -> Tensor:
    return mm.Stiefel().random((24, 8), generator=torch.Generator().manual_seed(1))


def test_length_of_a_step(w: Tensor, grads: list[Tensor]) -> None:
    def moved(optimizer: type, **settings: float) -> Tensor:
        p = nn.Parameter(w.clone())
        return torch.linalg.svdvals(stepped(optimizer([p], lr=0.1, **settings), p, grads[:1]) - w)

    torch.testing.assert_close(moved(mm.ManifoldMuon), torch.full((8,), 2 * sin(0.05)))
    muons = moved(torch.optim.Muon, weight_decay=0.0) / (0.1 * sqrt(24 / 8))
    assert 0.6 < muons.min() < muons.max() < 1.3


def test_neither_the_size_of_gradients_nor_the_first_average_changes_a_step(w: Tensor, grads: list[Tensor]) -> None:
    p, q = nn.Parameter(w.clone()), nn.Parameter(w.clone())
    one = stepped(mm.ManifoldMuon([p], lr=0.1), p, grads[:1])
    other = stepped(mm.ManifoldMuon([q], lr=0.1, momentum=0.0), q, [1e-6 * grads[0]])
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_is_muons(w: Tensor, grads: list[Tensor], nesterov: bool) -> None:
    p, q = nn.Parameter(w.clone()), nn.Parameter(w.clone())
    ours, theirs = mm.ManifoldMuon([p], nesterov=nesterov), torch.optim.Muon([q], nesterov=nesterov)
    stepped(ours, p, grads)
    stepped(theirs, q, grads)
    assert list(ours.state[p]) == ["momentum"]
    assert torch.equal(ours.state[p]["momentum"], theirs.state[q]["momentum_buffer"])


def test_free_weights_under_the_spectral_norm_are_muon(w: Tensor, grads: list[Tensor]) -> None:
    """But for its rough matrix sign: one step of it is along the same line."""
    p, q = nn.Parameter(w.clone()), nn.Parameter(w.clone())
    geometry = mm.Geometry(mm.Euclidean(), mm.Spectral())
    group = {"params": [p], "geometry": geometry, "budget": sqrt(24 / 8)}
    ours = stepped(mm.ModularOptimizer([group], lr=0.1, weight_decay=0.1), p, grads)
    theirs = stepped(torch.optim.Muon([q], lr=0.1, weight_decay=0.1), q, grads)
    assert torch.cosine_similarity((ours - w).flatten(), (theirs - w).flatten(), dim=0) > 0.98
    assert (ours - theirs).norm() < 0.3 * (ours - w).norm()


def test_adamw_is_torchs(grads: list[Tensor]) -> None:
    start = torch.randn(24, 8, generator=torch.Generator().manual_seed(2))
    settings = {"lr": 1e-2, "betas": (0.9, 0.95), "weight_decay": 0.1}
    p, q = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = stepped(mm.ModularOptimizer([{"params": [p], "geometry": None, **settings}]), p, grads)
    assert torch.equal(ours, stepped(torch.optim.AdamW([q], **settings), q, grads))
    assert mm.ModularOptimizer([{"params": [p], "geometry": None}]).param_groups[0]["weight_decay"] == 0


def test_what_is_refused(w: Tensor, grads: list[Tensor]) -> None:
    p = nn.Parameter(w.clone())
    with pytest.raises(ValueError, match="weight decay"):
        mm.ManifoldMuon([p], weight_decay=0.1)
    with pytest.raises(ValueError, match="off its manifold"):
        mm.ManifoldMuon([nn.Parameter(torch.randn(24, 8))])
    with pytest.raises(ValueError, match="not that of a matrix"):
        mm.ManifoldMuon([nn.Parameter(torch.ones(8))])
    with pytest.raises(ValueError, match="geometry"):
        mm.ModularOptimizer([{"params": [p]}])

    optimizer = mm.ManifoldMuon([p])
    muon = torch.optim.Muon([q := nn.Parameter(w.clone())])
    stepped(muon, q, grads)
    with pytest.raises((ValueError, KeyError)):
        optimizer.load_state_dict(muon.state_dict())
    with torch.no_grad():
        p.add_(1.0)  # something else has written to it
    p.grad = grads[0]
    with pytest.raises(ValueError, match="off its manifold"):
        optimizer.step()


def test_schedules_that_cycle_momentum(w: Tensor) -> None:
    optimizer = mm.ManifoldMuon([nn.Parameter(w)])
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    assert optimizer.param_groups[0]["momentum"] == 0.95  # the top of its cycle
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 / 25)


def test_geoopts_sphere_is_our_oblique(grads: list[Tensor]) -> None:
    x = grads[0]
    torch.testing.assert_close(geoopt.Sphere().projx(x), mm.Oblique("rows").project(x))


def test_geoopts_stiefel_is_tall(w: Tensor) -> None:
    assert geoopt.EuclideanStiefel().check_point(w)
    assert not geoopt.EuclideanStiefel().check_point(w.mT)
    assert mm.Stiefel().violation(w.mT) < 1e-5


def test_names(w: Tensor) -> None:
    for theirs, ours in [
        ("projx", "project"),
        ("proju", "to_tangent"),
        ("egrad2rgrad", "gradient"),
        ("retr", "retract"),
        ("expmap", "exp"),
        ("logmap", "log"),
        ("dist", "distance"),
        ("transp", "transport"),
    ]:
        assert hasattr(geoopt.Sphere, theirs)
        assert hasattr(mm.Stiefel, ours)


def test_geoopts_other_manifolds_are_there() -> None:
    for name in ("ManifoldTensor", "Euclidean", "BirkhoffPolytope", "PoincareBall", "Lorentz"):
        assert hasattr(geoopt, name)


def test_both_positive_definite_metrics_are_affine_invariant(grads: list[Tensor]) -> None:
    x = torch.eye(8) + grads[0].mT @ grads[0]
    g = grads[1][:8]
    theirs = geoopt.SymmetricPositiveDefinite().egrad2rgrad(x, g)
    torch.testing.assert_close(mm.SymmetricPositiveDefinite().gradient(x, g), theirs, rtol=1e-4, atol=1e-3)


def test_geoopts_default_stiefel_doubles_rotations(w: Tensor, grads: list[Tensor]) -> None:
    x = mm.Stiefel().project(w.double())
    u = 1e-5 * mm.Stiefel().to_tangent(x, grads[0].double())
    for manifold, factor in [(geoopt.Stiefel(), 2), (geoopt.EuclideanStiefel(), 1)]:
        change = manifold.retr(x, u) - x
        torch.testing.assert_close(x.mT @ change, factor * x.mT @ u, rtol=0, atol=1e-8)


def test_small_steps_agree_with_geoopts(w: Tensor, grads: list[Tensor]) -> None:
    def apart(lr: float) -> float:
        ours = nn.Parameter(w.double())
        theirs = geoopt.ManifoldParameter(w.double(), manifold=geoopt.EuclideanStiefel())
        with torch.no_grad():
            ours.copy_(mm.Stiefel().project(ours))
            theirs.copy_(ours)
        a = stepped(mm.RiemannianSGD([ours], lr=lr), ours, grads[:1])
        b = stepped(geoopt.optim.RiemannianSGD([theirs], lr=lr), theirs, grads[:1])
        return float((a - b).norm())

    assert apart(1e-3) < 4.5e-2 * apart(5e-3)  # (1/5)^2, so of second order


def test_geoopts_weight_decay_has_no_effect(w: Tensor, grads: list[Tensor]) -> None:
    def end(decay: float) -> Tensor:
        p = geoopt.ManifoldParameter(w.double(), manifold=geoopt.EuclideanStiefel())
        return stepped(geoopt.optim.RiemannianSGD([p], lr=0.1, weight_decay=decay), p, grads)

    torch.testing.assert_close(end(0.5), end(0.0), rtol=0, atol=1e-5)


def test_parameters_survive_what_a_subclass_does_not(w: Tensor) -> None:
    layer = nn.Linear(8, 24, bias=False)
    theirs, ours = deepcopy(layer), deepcopy(layer)
    theirs.weight = geoopt.ManifoldParameter(w.clone(), manifold=geoopt.EuclideanStiefel())
    ours.weight = nn.Parameter(w.clone())
    for module in (theirs, ours):
        module.load_state_dict({"weight": w.clone()}, assign=True)
    assert not isinstance(theirs.weight, geoopt.ManifoldParameter)
    mm.ManifoldMuon(ours.parameters())
