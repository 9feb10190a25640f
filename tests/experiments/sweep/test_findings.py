import math

import pytest

from modular_manifolds.experiments.sweep.findings import ACCURACY, LOSS, Curve, Findings
from modular_manifolds.experiments.sweep.formats import WeightFormat

FLOAT32 = WeightFormat.FLOAT32


@pytest.fixture
def curve_of(make_outcome):
    def make(losses, method="muon", measure=LOSS, decay=None):
        outcomes = {
            lr: tuple(make_outcome(loss, accuracy=loss, diverged=math.isinf(loss)) for loss in seeds)
            for lr, seeds in losses.items()
        }
        return Curve(method, FLOAT32, decay, measure, outcomes)

    return make


def test_the_good_range_is_interpolated_in_the_logarithm(curve_of):
    # 1 % above 2.0 is 2.02: half-way from 2.0 to 2.04, and a quarter of the way to 2.08
    found = curve_of({0.01: [2.04], 0.1: [2.0], 1.0: [2.08]}).good
    assert (found.low, found.high) == (pytest.approx(10**-1.5), pytest.approx(10**-0.75))
    assert found.width == pytest.approx(10**0.75)
    assert not found.open
    assert found.text == "5.6×"


def test_a_range_ends_where_anything_tried_is_bad_and_says_where_it_is_open(curve_of):
    found = curve_of({1.0: [2.01], 2.0: [3.0], 4.0: [2.0], 8.0: [2.01]}).good
    assert 2.0 < found.low < 4.0
    assert (found.high, found.low_open, found.high_open, found.open) == (8.0, False, True, True)
    assert found.text.startswith("≥ ")


def test_a_range_does_not_reach_into_what_is_not_finite(curve_of):
    curve = curve_of({1.0: [math.inf], 2.0: [2.0, 2.0], 4.0: [2.0, math.inf]})
    assert (curve.good.low, curve.good.high, curve.good.open) == (2.0, 2.0, False)
    assert (curve.best, curve.diverged, curve.trials) == (2.0, 2, 5)
    hopeless = curve_of({1.0: [math.inf], 2.0: [math.inf]})
    assert hopeless.good is None
    assert hopeless.below(5.0) is None


def test_seeds_are_averaged(curve_of):
    curve = curve_of({1.0: [1.0, 3.0], 2.0: [1.9, 1.9]})
    assert curve.best == 2.0
    assert (curve.spread(1.0).mean, curve.spread(1.0).std) == (2.0, pytest.approx(math.sqrt(2)))


def test_accuracy_is_good_within_a_point(curve_of):
    found = curve_of({1.0: [88.0], 10.0: [90.0], 100.0: [89.5]}, measure=ACCURACY).good
    assert found.low == pytest.approx(10**0.5)
    assert (found.high, found.high_open) == (100.0, True)
    assert ACCURACY.shown(ACCURACY.cost(curve_of({1.0: [88.0]}).outcomes[1.0][0])) == 88.0


def test_where_a_method_beats_adamws_best(curve_of):
    adamw = curve_of({1.0: [2.5], 2.0: [2.2]}, "adamw", decay=0.1)
    better_decay = curve_of({1.0: [2.4], 2.0: [2.0]}, "adamw", decay=0.0)
    muon, worse = curve_of({1.0: [2.2], 4.0: [1.8]}), curve_of({1.0: [2.2], 4.0: [2.1]}, "other")
    found = Findings(LOSS, 4.0, (adamw, better_decay, muon, worse))
    assert found.methods == ("adamw", "muon", "other")
    assert found.best("adamw", FLOAT32) is better_decay
    where = found.beats_reference(muon)
    assert (where.low, where.high) == (pytest.approx(2.0), 4.0)
    assert found.beats_reference(worse) is None
    assert found.beats_reference(better_decay) is None
    assert Findings(LOSS, 4.0, (muon,)).beats_reference(muon) is None
