"""ManifoldMuon stands where torch.optim.Muon stands."""

import copy
import inspect
import pickle

import pytest
import torch
from torch import nn

import modular_manifolds as mm


def matrices() -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12, bias=False), nn.ReLU(), nn.Linear(12, 4, bias=False))
    mm.project_(model)
    return model


def test_takes_what_torch_muon_takes():
    theirs = inspect.signature(torch.optim.Muon).parameters
    ours = inspect.signature(mm.ManifoldMuon).parameters
    # how Muon orthogonalises, and how it guesses a scale, has no counterpart in an exact step
    assert set(theirs) - set(ours) == {"ns_coefficients", "eps", "ns_steps", "adjust_lr_fn"}


@pytest.mark.parametrize("precision", ["exact", "fast"])
@pytest.mark.parametrize("radius", [1.0, 2.0])
def test_trains_and_stays(precision, radius):
    model = matrices()
    mm.project_(model, mm.Stiefel(radius))
    optimizer = mm.ManifoldMuon(model.named_parameters(), lr=0.05, radius=radius, precision=precision)
    x, y = torch.randn(64, 6), torch.randint(0, 4, (64,))
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1
    for p in model.parameters():
        assert mm.Stiefel(radius).violation(p.detach()) < 1e-5


@pytest.mark.parametrize("steps", [1, 10])
def test_the_lr_is_an_angle(steps):
    torch.manual_seed(0)
    p = nn.Parameter(mm.Stiefel().random((8, 8), dtype=torch.float64))
    before, g = p.detach().clone(), torch.randn(8, 8, dtype=torch.float64)
    optimizer = mm.ManifoldMuon([p], lr=0.05, momentum=0)
    for _ in range(steps):
        p.grad = g
        optimizer.step()
    # the eigenvalues of the rotation from the first weight to the last
    angles = torch.linalg.eigvals(p.detach() @ before.mT).angle().abs()
    assert angles.max() <= 0.05 * steps + 1e-12
    if steps == 1:
        assert angles.min().item() == pytest.approx(0.05)


def test_momentum_on_the_tangent_is_passed_on():
    optimizer = mm.ManifoldMuon([nn.Parameter(torch.eye(3))], momentum_on="tangent")
    assert optimizer.param_groups[0]["momentum_on"] == "tangent"


def test_vectors_are_refused_with_the_cure():
    with pytest.raises(ValueError, match=r"bias has shape \(3,\).*geometry=None"):
        mm.ManifoldMuon([("weight", nn.Parameter(torch.eye(3))), ("bias", nn.Parameter(torch.zeros(3)))])


def test_biases_may_come_in_a_group_of_their_own():
    model = nn.Linear(4, 3)
    mm.project_(model.weight)
    optimizer = mm.ManifoldMuon([{"params": [model.weight]}, {"params": [model.bias], "geometry": None, "lr": 1e-3}])
    model(torch.randn(2, 4)).sum().backward()
    before = model.bias.detach().clone()
    optimizer.step()
    assert not torch.equal(model.bias, before)
    assert "betas" not in optimizer.param_groups[0]


def test_cycled_momentum_is_used():
    optimizer = mm.ManifoldMuon([nn.Parameter(torch.eye(3))], lr=0.1)
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10, base_momentum=0.5, max_momentum=0.7)
    assert optimizer.param_groups[0]["momentum"] == 0.7


def test_weight_decay_says_why():
    with pytest.raises(ValueError, match="already fixes the size"):
        mm.ManifoldMuon(matrices().parameters(), weight_decay=0.1)


def test_groups_added_later_and_after_copying_have_the_same_geometry():
    for copied in (copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o)), lambda o: o):
        optimizer = copied(mm.ManifoldMuon([nn.Parameter(2 * torch.eye(3))], radius=2.0, precision="fast"))
        optimizer.add_param_group({"params": nn.Parameter(2 * torch.eye(4)), "lr": 0.5})
        assert [g["geometry"] for g in optimizer.param_groups] == [
            mm.Geometry(mm.Stiefel(2.0), mm.Spectral(), precision="fast")
        ] * 2


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("precision", ["exact", "balanced"])
def test_gradients_and_momentum_are_not_worked_in(momentum, nesterov, precision):
    """A step may work in the memory of what it makes itself, alone or in a batch, and of nothing else."""
    torch.manual_seed(0)
    for count in (1, 2):
        for shape in [(8, 8), (160, 160), (300, 100), (100, 300)]:
            params = [torch.nn.Parameter(mm.Stiefel().random(torch.Size(shape))) for _ in range(count)]
            optimizer = mm.ManifoldMuon(params, 0.1, momentum, nesterov, precision=precision)
            expected = [torch.zeros(shape) for _ in params]
            for _ in range(2):
                grads = [torch.randn(shape) for _ in params]
                for p, g in zip(params, grads, strict=True):
                    p.grad = g.clone()
                optimizer.step()
                expected = [momentum * e + (1 - momentum) * g for e, g in zip(expected, grads, strict=True)]
                for p, g, e in zip(params, grads, expected, strict=True):
                    assert torch.equal(p.grad, g)
                    if momentum:
                        assert torch.allclose(optimizer.state[p]["momentum"], e, atol=1e-6)
