import pytest
import torch

from modular_manifolds.experiments.methods import METHODS, method_of
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.results import singular_values


def test_every_grid_has_the_same_size():
    assert {len(method.lrs) for method in METHODS.values()} == {3}


@pytest.mark.parametrize("name", METHODS)
def test_weights_stay_where_the_method_keeps_them(name):
    method, model = METHODS[name], MLP(8, (6, 4), 3, seed=0)
    method.place(model)
    optimizer = method.build(model, lr=0.1, momentum=0.0)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.ones(2, 8)).square().sum().backward()
        optimizer.step()
    for weight in model.parameters():
        if method.geometry is not None:
            manifold = method.geometry(*weight.shape).manifold
            assert manifold.violation(weight.detach()) < 1e-5


def test_hypersphere_goes_through_the_stiefel_manifold():
    model, sphere = MLP(8, (6, 4), 3, seed=0), MLP(8, (6, 4), 3, seed=0)
    METHODS["manifold-muon"].place(model)
    METHODS["hypersphere"].place(sphere)
    for stiefel, spherical in zip(model.parameters(), sphere.parameters(), strict=True):
        assert torch.allclose(singular_values(stiefel.detach()), torch.ones(()).double(), atol=1e-6)
        assert torch.allclose(stiefel.norm(), spherical.norm())


@pytest.mark.parametrize(("name", "momentum"), [("manifold-muon", 0.3), ("muon", 0.95), ("adamw", 0.9)])
def test_momentum_is_a_setting_of_the_manifold_methods_alone(name, momentum):
    assert METHODS[name].momentum(0.3) == momentum


def test_settings_name_what_decides_the_outcome():
    shapes = [(6, 8), (4, 6)]
    assert "DualAscent" in METHODS["dual-ascent"].settings(shapes, 0.0)
    assert "momentum=0.5" in METHODS["spel"].settings(shapes, 0.5)
    assert "weight_decay=0.1" in METHODS["muon"].settings(shapes, 0.5)


def test_a_number_scales_radii_and_learning_rates():
    doubled, model = method_of("manifold-muon@2"), MLP(8, (6, 4), 3, seed=0)
    assert doubled.lrs == tuple(2 * lr for lr in METHODS["manifold-muon"].lrs)
    doubled.place(model)
    for weight in model.parameters():
        assert torch.allclose(singular_values(weight.detach()), torch.full((), 2.0).double(), atol=1e-5)
    assert doubled.settings([(4, 6)], 0.0) != METHODS["manifold-muon"].settings([(4, 6)], 0.0)
    sphere = method_of("sphere-muon@0.5").geometry(4, 6).manifold
    assert sphere.radius == pytest.approx(0.5 * 4**0.5)


@pytest.mark.parametrize("name", ["manifold-muon@0", "manifold-muon@x", "manifold-muon@-1", "adamw@2"])
def test_what_cannot_be_scaled_is_refused(name):
    with pytest.raises(ValueError, match=r"positive number|no radius"):
        method_of(name)
