"""What counts as oscillation, on motions that are known."""

import math

import pytest
import torch

from modular_manifolds.experiments.constraints import Start, constraints
from modular_manifolds.experiments.trace import Movement, TracedTraining

STEPS = 400
RATES = 1 - torch.arange(STEPS, dtype=torch.float64) / STEPS


def movement(distance, kappa=None, swing=0.0, turn=0.0):
    trace = {
        "loss": torch.zeros(STEPS),
        "distance": distance.unsqueeze(1),
        "swing": torch.full((STEPS, 1), swing),
        "turn": torch.full((STEPS, 1), turn),
    }
    return Movement.of(trace, kappa)


def test_a_drift_never_turns_round():
    moved = movement(torch.linspace(1, 3, STEPS).double(), kappa=0.5, swing=0.9, turn=0.8)
    assert moved.reversals == 0
    assert moved.distance == pytest.approx(3)
    assert moved.pull == pytest.approx(1 / 5.5)
    assert moved.effective_distance == pytest.approx(3 * 4.5 / 5.5)
    assert (moved.swing, moved.turn) == (pytest.approx(0.9), pytest.approx(0.8))


def test_an_oscillation_of_period_two_always_does():
    steps = RATES * (-1.0) ** torch.arange(STEPS)
    moved = movement(2 + steps.cumsum(0))
    assert moved.reversals == 1
    assert moved.autocorrelation == pytest.approx(-1, abs=0.02)


def test_a_random_walk_does_half_of_the_time():
    steps = RATES * torch.randn(STEPS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moved = movement(100 + steps.cumsum(0))
    assert moved.reversals == pytest.approx(0.5, abs=0.1)
    assert moved.autocorrelation == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("distance", [torch.rand(STEPS) * 1e-6, torch.full((STEPS,), 2.0)])
def test_weights_that_are_held_or_dead_do_not_oscillate(distance):
    moved = movement(distance)
    assert math.isnan(moved.reversals)
    assert math.isnan(moved.autocorrelation)
    assert math.isnan(moved.swing)


@pytest.mark.parametrize("name", ["free", "kappa-2", "projected"])
def test_a_trace_is_what_it_says(name, data, make_run):
    method = constraints("sgd", (2.0,), Start.INIT)[name]
    training = TracedTraining(make_run(method=name, lr=0.1, epochs=2, momentum=0.0), data, method)
    raw, used = [], []
    while not training.finished:
        raw.append([w.detach().clone() for w in training._model.parameters()])
        used.append(list(training.weights().values()))
        training.run_epoch(
            lambda: (
                raw.append([w.detach().clone() for w in training._model.parameters()]),
                used.append(list(training.weights().values())),
            )
        )
        raw.pop(), used.pop()  # the end of one epoch is the beginning of the next
    trace = training.trace()
    assert trace["loss"].shape == (8,)
    assert trace["loss"].isfinite().all()
    for layer in range(3):
        spectra = [torch.linalg.svdvals(weights[layer].double()) for weights in raw]
        distances = torch.stack([(sigma - 1).norm() for sigma in spectra])
        assert torch.allclose(trace["distance"][:, layer], distances.float(), atol=1e-5)
        assert torch.allclose(trace["turn"][2:, layer], cosines([w[layer].flatten() for w in used]), atol=1e-4)
        if name != "projected":
            assert torch.allclose(trace["swing"][2:, layer], cosines(spectra), atol=1e-3)
    assert trace["turn"][:2].isnan().all()


def cosines(values):
    changes = torch.stack(values).float().diff(dim=0)
    return torch.cosine_similarity(changes[1:], changes[:-1], dim=1)
