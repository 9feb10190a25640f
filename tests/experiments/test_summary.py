import math

import pytest

from modular_manifolds.experiments.results import Layer
from modular_manifolds.experiments.summary import Spread, best_by_method, group_by_lr


def test_spread():
    assert Spread.of([1.0, 3.0]) == Spread(2.0, pytest.approx(math.sqrt(2)), 2)
    assert Spread.of([1.0, 3.0]).text(1) == "2.0 ± 1.4"
    assert Spread.of([1.0]).text(1) == "1.0"
    assert Spread.of([1.0, math.nan]).text(1) == "diverged"


def test_groups_gather_seeds_and_sort_learning_rates(make_result):
    settings = [(0.3, 0, 50.0), (0.1, 0, 60.0), (0.3, 1, 54.0)]
    results = [make_result(lr=lr, seed=seed, test_accuracy=accuracy) for lr, seed, accuracy in settings]
    groups = group_by_lr(results)["muon"]
    assert [group.lr for group in groups] == [0.1, 0.3]
    assert groups[1].test_accuracy.mean == 52.0
    assert groups[1].step_milliseconds == 5.0
    assert groups[1].step_time == "5"


def test_best_is_by_mean_test_accuracy(make_result):
    settings = [(0.1, 0, 60.0), (0.1, 1, 40.0), (0.3, 0, 55.0)]
    results = [make_result(lr=lr, seed=seed, test_accuracy=accuracy) for lr, seed, accuracy in settings]
    assert best_by_method(results)["muon"].lr == 0.3


@pytest.mark.parametrize("order", [1, -1])
def test_extremes_are_over_layers_and_seeds(make_result, order):
    layers = [Layer("a", (2, 2), 0.9, 1.0, 0.1), Layer("b", (2, 2), 0.5, 1.2, 0.5)]
    results = [make_result(violation=layer.violation, layers=(layer,)) for layer in layers[::order]]
    group = group_by_lr(results)["muon"][0]
    assert group.violation == 0.5
    assert group.singular_value_range == (0.5, 1.2)


@pytest.mark.parametrize("order", [1, -1])
def test_a_diverged_seed_makes_extremes_unknown(make_result, order):
    results = [make_result(violation=0.1), make_result(violation=math.nan)][::order]
    assert math.isnan(group_by_lr(results)["muon"][0].violation)
