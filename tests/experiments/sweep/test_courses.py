import json
import math
from dataclasses import replace

import pytest
import torch

from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.sweep.descent import Schedule
from modular_manifolds.experiments.sweep.formats import WeightFormat
from modular_manifolds.experiments.sweep.text_methods import TEXT_METHODS
from modular_manifolds.experiments.sweep.trial import Trial, curve, final_loss, read_row, row
from modular_manifolds.experiments.training import Training


def trial(method, lr, **settings):
    decay = 0.01 if method == "adamw" else None
    return replace(Trial(method, "", lr, decay, WeightFormat.FLOAT32, 1), **settings)


def untimed(outcome):
    return replace(outcome, seconds=0.0, optimizer_seconds=0.0)


@pytest.mark.parametrize("method", ["manifold-muon", "hypersphere", "muon", "adamw"])
def test_images_are_trained_as_compare_trains_them(method, data, image_course, make_run):
    lr = METHODS[method].lrs[1]
    run = make_run(method=method, lr=lr, seed=1, epochs=image_course.epochs)
    training = Training(run, data)
    while not training.finished:
        training.run_epoch()
    found = image_course.train(trial(method, lr), data)
    assert found.held_out_loss == training.curve[-1].test_loss
    assert found.accuracy == training.curve[-1].test_accuracy
    assert found.steps == image_course.steps_of(data)


def test_weight_decay_reaches_adamw(data, image_course):
    losses = {
        decay: image_course.train(trial("adamw", 0.1, weight_decay=decay), data).held_out_loss for decay in (0.01, 0.5)
    }
    assert losses[0.01] != losses[0.5]


@pytest.mark.parametrize("method", TEXT_METHODS)
def test_every_text_method_learns_looks_inside_and_repeats(method, text, text_course):
    lr = TEXT_METHODS[method].lrs[-2]
    losses = []
    found = text_course.train(trial(method, lr), text, losses.append)
    assert len(losses) == found.steps == text_course.steps
    assert found.held_out_loss < found.held_out_curve[0][1]
    assert [step for step, _ in found.held_out_curve] == list(range(11))
    assert untimed(text_course.train(trial(method, lr), text)) == untimed(found)
    inside = found.inside
    assert len(inside.activation_rms) == len(inside.attention_logits) == 2
    assert all(map(math.isfinite, (*inside.activation_rms, *inside.attention_logits)))
    assert len(inside.spectra) == 2 * 6
    assert len(inside.steps) == 5
    assert all(low <= middle <= high for one in inside.spectra for low, middle, high in one.values)
    assert len(inside.sample) == 30
    assert set(inside.sample) <= set(text.alphabet)
    assert (found.violation is None) is (method in ("adamw", "muon"))
    assert found.violation is None or found.violation < 1e-5
    assert read_row(json.loads(json.dumps(row(trial(method, lr), found)))) == (trial(method, lr), found)


@pytest.mark.parametrize("format", WeightFormat)
def test_every_format_trains_every_kind_of_optimizer(format, text, text_course):
    short = replace(text_course, steps=4, warmup=0)
    for method in ("muon", "stiefel"):
        found = short.train(trial(method, 0.02, weights=format), text)
        assert found.held_out_loss < found.held_out_curve[0][1]
        if method == "stiefel":
            coarse = format is not WeightFormat.FLOAT32
            assert (found.violation > 1e-4) is coarse


def test_a_loss_that_is_not_finite_is_a_divergence(data, text, image_course, text_course):
    on_images = image_course.train(trial("adamw", 1e30), data)
    assert on_images.diverged
    assert on_images.steps < image_course.steps_of(data)
    assert (on_images.held_out_loss, on_images.accuracy) == (math.inf, 100 / 3)
    on_text = text_course.train(trial("adamw", 1e30), text)
    assert on_text.diverged
    assert on_text.held_out_loss == math.inf
    assert read_row(json.loads(json.dumps(row(trial("adamw", 1e30), on_text))))[1].held_out_loss == math.inf


def test_manifold_methods_that_blow_up_are_counted_not_raised(data, image_course):
    broken = replace(data, train=replace(data.train, inputs=data.train.inputs * 1e38))
    found = image_course.train(trial("manifold-muon", 0.1), broken)
    assert found.diverged


def test_a_final_loss_above_that_of_a_guess_is_a_divergence(data, image_course):
    found = image_course.train(trial("adamw", 30.0), data)
    assert math.isfinite(found.held_out_loss)
    assert found.train_loss > math.log(3)
    assert found.diverged
    assert not image_course.train(trial("adamw", 0.01), data).diverged


def test_the_rate_rises_and_falls_linearly():
    assert [Schedule(4, 0)(step) for step in range(4)] == [1, 0.75, 0.5, 0.25]
    assert [Schedule(4, 0, 2.0)(step) for step in range(4)] == [1, 0.5625, 0.25, 0.0625]
    assert [Schedule(6, 2)(step) for step in range(6)] == pytest.approx([1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25])


def test_peaks_of_all_groups_fall_together(text, text_course, monkeypatch):
    seen = []
    step = torch.optim.AdamW.step

    def watched(self, closure=None):
        seen.append({group["lr"] for group in self.param_groups})
        return step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    replace(text_course, steps=4, warmup=0).train(trial("muon", 0.2), text)
    assert [rates.pop() for rates in seen] == pytest.approx([0.03, 0.0225, 0.015, 0.0075])
    assert not any(seen)


def test_curves_are_means_and_the_final_loss_is_that_of_the_last_tenth():
    assert curve([1.0, 3.0, 5.0, 7.0, 9.0], 2) == (2.0, 6.0, 9.0)
    assert final_loss([9.0] * 18 + [1.0, 2.0]) == 1.5
    assert final_loss([2.0, math.nan]) == math.inf
