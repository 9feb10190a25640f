import io

import pytest
import torch

from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.training import Training


def finish(training):
    while not training.finished:
        training.run_epoch()
    return training


def outcome(training):
    return training.curve, {name: weight.tolist() for name, weight in training.weights().items()}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_repeatable(method, data, make_run):
    run = make_run(method=method)
    assert outcome(finish(Training(run, data))) == outcome(finish(Training(run, data)))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_bit_for_bit_as_an_undisturbed_one(method, momentum, data, make_run):
    run = make_run(method=method, momentum=momentum)
    stopped = Training(run, data)
    stopped.run_epoch()
    buffer = io.BytesIO()
    torch.save(stopped.state_dict(), buffer)
    resumed = Training(run, data)
    resumed.load_state_dict(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True))
    assert resumed.epochs_done == 1
    assert outcome(finish(resumed)) == outcome(finish(Training(run, data)))


def test_seeds_differ(data, make_run):
    assert outcome(finish(Training(make_run(seed=0), data))) != outcome(finish(Training(make_run(seed=1), data)))


def test_methods_of_one_seed_start_from_the_same_weights(data, make_run):
    muon, adamw = (Training(make_run(method=method), data).weights() for method in ("muon", "adamw"))
    assert all(torch.equal(muon[name], adamw[name]) for name in muon)


def test_it_learns_and_reports(data, make_run):
    steps = []
    training = Training(make_run(epochs=5, widths=(16, 16)), data)
    while not training.finished:
        training.run_epoch(lambda: steps.append(1))
    result = training.result()
    assert result.steps == len(steps) == 5 * 4
    assert result.test_accuracy > 90
    assert result.train_loss < training.curve[0].train_loss
    assert [epoch.epoch for epoch in result.curve] == [0, 1, 2, 3, 4, 5]
    assert 0 < result.optimizer_seconds < result.seconds
    assert result.violation == max(layer.violation for layer in result.layers) < 1e-5


def test_the_learning_rate_falls_linearly_to_zero(data, make_run, monkeypatch):
    training = Training(make_run(method="adamw", lr=0.8, epochs=2), data)
    rates = []
    step = training._optimizer.step
    monkeypatch.setattr(
        training._optimizer, "step", lambda: (rates.append(training._optimizer.param_groups[0]["lr"]), step())
    )
    finish(training)
    assert rates == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_a_run_that_diverges_still_has_a_result(data, make_run):
    result = finish(Training(make_run(method="adamw", lr=1e30), data)).result()
    assert result.to_json()["train_loss"] is None
