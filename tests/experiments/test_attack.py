"""The attack: inside its ball, as strong as possible where that is known, and of use on a network."""

import math

import pytest
import torch
from torch import nn

from modular_manifolds.experiments.attack import pgd_attack
from modular_manifolds.robustness import margin


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def network(generator):
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4)).double()
    for weight in model.parameters():
        nn.init.normal_(weight, generator=generator)
    return model


def problem(model, generator, count=50):
    inputs = torch.randn(count, 6, dtype=torch.float64, generator=generator)
    return inputs, model(inputs).argmax(1)


def test_two_classes_of_a_linear_model_are_attacked_as_well_as_can_be(generator):
    model = nn.Linear(6, 2, dtype=torch.float64)
    inputs, labels = problem(model, generator)
    attacked = pgd_attack(model, inputs, labels, 0.3, generator=generator)
    length = (model.weight[0] - model.weight[1]).norm()
    torch.testing.assert_close(margin(model(attacked), labels), margin(model(inputs), labels) - 0.3 * length)


@pytest.mark.parametrize("restarts", [1, 3])
def test_stays_in_the_ball_of_each_input(network, generator, restarts):
    inputs, labels = problem(network, generator)
    radii = torch.linspace(0, 2, len(inputs), dtype=torch.float64)
    attacked = pgd_attack(network, inputs, labels, radii, steps=10, restarts=restarts, generator=generator)
    lengths = (attacked - inputs).norm(dim=1)
    assert (lengths <= radii * (1 + 1e-12)).all()
    assert (lengths[1:] > 0).all()


def test_more_effort_finds_smaller_margins(network, generator):
    inputs, labels = problem(network, generator)

    def found(**effort):
        attacked = pgd_attack(network, inputs, labels, 0.3, generator=torch.Generator().manual_seed(1), **effort)
        return margin(network(attacked), labels)

    clean = margin(network(inputs), labels)
    assert (found(steps=1, restarts=1) <= clean).all()
    assert found(steps=50, restarts=1).mean() < found(steps=1, restarts=1).mean() < clean.mean()
    assert (found(steps=50, restarts=4) <= found(steps=50, restarts=1)).all()


def test_images_keep_their_shape_and_weights_collect_no_gradient(network, generator):
    model = nn.Sequential(nn.Flatten(), network)
    inputs, labels = problem(network, generator)
    attacked = pgd_attack(model, inputs.reshape(-1, 1, 2, 3), labels, 0.3, steps=5, generator=generator)
    flat = pgd_attack(network, inputs, labels, 0.3, steps=5, restarts=1)
    assert attacked.shape == (50, 1, 2, 3)
    assert not attacked.requires_grad
    assert (margin(model(attacked), labels) <= margin(network(flat), labels) + 1e-12).all()
    assert all(weight.grad is None for weight in model.parameters())


def test_works_under_no_grad_and_calls_after_every_step(network, generator):
    inputs, labels = problem(network, generator)
    steps = []
    with torch.no_grad():
        pgd_attack(network, inputs, labels, 0.1, 7, restarts=2, generator=generator, on_step=lambda: steps.append(1))
    assert len(steps) == 14


def test_a_radius_of_zero_and_a_flat_model_leave_inputs_alone(network, generator):
    inputs, labels = problem(network, generator)
    assert torch.equal(pgd_attack(network, inputs, labels, 0.0, 5, generator=generator), inputs)
    for weight in network.parameters():
        weight.data.zero_()
    assert torch.equal(pgd_attack(network, inputs, labels, 1.0, 5, generator=generator), inputs)
    assert pgd_attack(network, inputs[:0], labels[:0], 1.0, 5, generator=generator).shape == (0, 6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"radius": -1.0}, "radius"), ({"radius": math.nan}, "radius"), ({"steps": 0}, "steps"), ({"restarts": 0}, "0")],
)
def test_what_is_refused(network, generator, changes, message):
    inputs, labels = problem(network, generator)
    with pytest.raises(ValueError, match=message):
        pgd_attack(network, inputs, labels, **{"radius": 1.0, **changes})
