import dataclasses
import math

import pytest

from modular_manifolds.experiments.results import Epoch, Layer, Result
from modular_manifolds.experiments.summary import Spread, best_by_method, group_by_lr


def result(method, lr, seed, accuracy, violation=0.0):
    return Result(
        method=method,
        lr=lr,
        seed=seed,
        train_loss=1.0,
        test_loss=1.0,
        train_accuracy=accuracy,
        test_accuracy=accuracy,
        seconds=2.0,
        optimizer_seconds=0.5,
        violation=violation,
        layers=(Layer("w", (2, 2), 1 - violation, 1.0, violation),),
        data="digits",
        epochs=1,
        batch_size=1,
        momentum=0.0,
        steps=100,
        curve=(Epoch(0, 2.0, 2.0, 10.0, 10.0), Epoch(1, 1.0, 1.0, accuracy, accuracy)),
    )


def test_spread():
    assert Spread.of([1.0, 3.0]) == Spread(2.0, pytest.approx(math.sqrt(2)), 2)
    assert Spread.of([1.0, 3.0]).text(1) == "2.0 ± 1.4"
    assert Spread.of([1.0]).text(1) == "1.0"
    assert Spread.of([1.0, math.nan]).text(1) == "diverged"


def test_groups_gather_seeds_and_sort_learning_rates():
    results = [result("muon", 0.3, 0, 50.0), result("muon", 0.1, 0, 60.0), result("muon", 0.3, 1, 54.0)]
    groups = group_by_lr(results)["muon"]
    assert [group.lr for group in groups] == [0.1, 0.3]
    assert groups[1].test_accuracy.mean == 52.0
    assert groups[1].step_milliseconds == 5.0


def test_best_is_by_mean_test_accuracy():
    results = [result("muon", 0.1, 0, 60.0), result("muon", 0.1, 1, 40.0), result("muon", 0.3, 0, 55.0)]
    assert best_by_method(results)["muon"].lr == 0.3


def test_extremes_are_over_layers_and_seeds():
    group = group_by_lr([result("muon", 0.1, 0, 60.0, 0.25), result("muon", 0.1, 1, 60.0, 0.5)])["muon"][0]
    assert group.violation == 0.5
    assert group.singular_value_range == (0.5, 1.0)


def test_a_diverged_seed_makes_extremes_unknown():
    diverged = dataclasses.replace(result("muon", 0.1, 1, 10.0), violation=math.nan)
    assert math.isnan(group_by_lr([result("muon", 0.1, 0, 60.0), diverged])["muon"][0].violation)
