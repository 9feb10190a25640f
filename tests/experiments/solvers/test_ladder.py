import pytest
import torch

from modular_manifolds import Stiefel
from modular_manifolds.baselines import DualAscent
from modular_manifolds.experiments.solvers import graded
from modular_manifolds.experiments.solvers.graded import LOOKS, GradedTraining, grade, tangent_part
from modular_manifolds.experiments.solvers.ladder import LADDER, ScaledDualAscent
from modular_manifolds.experiments.training import Training

SHAPES = [(40, 12), (12, 40), (16, 16)]


def problem(shape, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    return Stiefel().random(shape, generator=generator), scale * torch.randn(shape, generator=generator)


def gap(name, shape, scale=1.0):
    w, g = problem(shape, scale)
    return grade([LADDER[name].geometry(*shape)], [w], [g], 0.1).gaps[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LADDER)
def test_every_solver_is_graded_between_0_and_1(name, shape):
    measured = gap(name, shape)
    assert -1e-6 < measured < 1
    assert LADDER[name].method.geometry(*shape) == LADDER[name].geometry(*shape)


def test_grades_rank_the_solvers():
    shape = (40, 12)
    assert gap("exact", shape) < 1e-5
    assert gap("exact", shape) < gap("scaled-ascent-100", shape) < gap("scaled-ascent-10", shape)
    assert gap("one-step", shape) < gap("tangent-gradient", shape)
    assert gap("one-step", (16, 16)) < 1e-5  # exact where W is square
    assert gap("fast", shape) <= 0.05


def test_a_direction_that_sticks_out_does_not_count_for_what_it_promises():
    """One step is not tangent for a tall W: it promises more than any tangent direction can give."""
    w, g = problem((40, 12))
    geometry = LADDER["one-step"].geometry(40, 12)
    a = geometry.lmo(w, g)
    promised = geometry.certificate(w, g, a)
    kept = geometry.certificate(w, g, tangent_part(geometry, w, a))
    assert float(promised.tangency) > 0.1
    assert float(kept.tangency) < 1e-6
    assert float(kept.norm) <= 1 + 1e-9
    assert float(promised.gap) < 0 < float(kept.gap)
    moved = geometry.step(w, g, 1e-3)
    decrease = -float(((moved - w).double() * g.double()).sum()) / 1e-3
    length = float(geometry.norm(geometry.manifold.to_tangent(w, a)))
    assert length > 1
    assert decrease == pytest.approx(float(kept.value) * length, rel=0.01)


def test_one_step_is_dual_ascent_without_an_ascent():
    w, g = problem((40, 12))
    one, none = LADDER["one-step"].geometry(40, 12), DualAscent(steps=1)
    torch.testing.assert_close(one.lmo(w, g), none(one.manifold, one.norm, w, g))
    assert LADDER["ascent-3"].solver == DualAscent(steps=4)
    assert LADDER["scaled-ascent-10"].solver == ScaledDualAscent(steps=11)


def test_scaled_ascent_does_not_see_the_size_of_the_gradient():
    assert gap("scaled-ascent-10", (40, 12), 1e-6) == pytest.approx(gap("scaled-ascent-10", (40, 12)), rel=1e-3)
    assert gap("ascent-10", (40, 12), 1e-3) != pytest.approx(gap("ascent-10", (40, 12)), rel=0.1)


@pytest.mark.parametrize("name", LADDER)
def test_zero_gradients_are_no_trouble(name):
    w, g = problem((20, 6), 0.0)
    assert grade([LADDER[name].geometry(20, 6)], [w], [g], 0.1).gaps == (0.0,)


def test_grading_does_not_disturb_the_training(data, make_run):
    method = LADDER["one-step"].method
    plain, watched = (kind(make_run(epochs=3), data, method) for kind in (Training, GradedTraining))
    for training in (plain, watched):
        while not training.finished:
            training.run_epoch()
    assert plain.curve == watched.curve
    assert len(watched.grades) == LOOKS
    assert all(len(each.gaps) == 3 for each in watched.grades)


def test_grades_are_of_the_weights_before_the_step(data, make_run, monkeypatch):
    seen = []
    monkeypatch.setattr(graded, "grade", lambda geometries, weights, gradients, lr: seen.append((weights, lr)))
    training = GradedTraining(make_run(epochs=1), data, LADDER["exact"].method)
    before = list(training.weights().values())
    training.run_epoch()
    weights, lr = seen[0]
    assert all(map(torch.equal, weights, before))
    assert lr == 0.1
    assert not torch.equal(seen[1][0][0], before[0])
