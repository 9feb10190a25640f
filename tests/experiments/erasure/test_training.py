import pytest
import torch

from modular_manifolds import RMSOperator
from modular_manifolds.experiments.data import DataName, load
from modular_manifolds.experiments.erasure.picture import ink
from modular_manifolds.experiments.erasure.ranks import Start, measure
from modular_manifolds.experiments.erasure.setting import Setting, images
from modular_manifolds.experiments.erasure.trial import (
    MIDDLE,
    Trial,
    build,
    read_row,
    stable_rank,
    starting_picture,
    train,
    write_row,
)
from modular_manifolds.experiments.erasure.updates import METHODS

NORM = RMSOperator()


@pytest.fixture(scope="module")
def digits():
    return load(DataName.DIGITS)


@pytest.mark.parametrize("shape", [(12, 30), (12, 12), (30, 12)])
@pytest.mark.parametrize("name", METHODS)
def test_all_updates_have_one_length(name, shape):
    generator = torch.Generator().manual_seed(0)
    updates = METHODS[name]()
    w = updates.start(torch.randn(shape, generator=generator))
    for scale in (1.0, 1e-9):
        g = scale * torch.randn(shape, generator=generator)
        moved = updates.step(w, g, 0.01)
        assert float(NORM(moved - w)) == pytest.approx(0.01, rel=2e-3)
        assert float(((moved - w) * g).sum()) < 0
        w = moved
    updates = METHODS[name]()
    torch.testing.assert_close(updates.step(w, torch.zeros(shape), 0.01), w, atol=1e-6, rtol=0)


def test_only_the_shape_of_updates_differs():
    """Of a gradient of rank one, plain updates are of rank one, and dualised ones of a noisy gradient of full rank."""
    generator = torch.Generator().manual_seed(0)
    u, v, noise = (torch.randn(16, n, generator=generator) for n in (1, 1, 16))
    g = u @ v.T + 1e-3 * noise
    w = METHODS["manifold"]().start(torch.randn(16, 16, generator=generator))
    ranks = {name: stable_rank(updates().step(w, g, 0.01) - w) for name, updates in METHODS.items()}
    assert ranks["plain"] == pytest.approx(1, abs=0.01)
    assert ranks["dualised"] == pytest.approx(16, abs=0.1)
    assert ranks["manifold"] > 10


def test_the_published_setting_draws_too_few_images(digits):
    published, corrected = (images(digits, setting) for setting in (Setting.PUBLISHED, Setting.CORRECTED))
    assert (published.drawn, corrected.drawn) == (64, 1437)
    assert float(published.train.inputs.min()) == 0
    assert float(published.train.inputs.max()) == 1
    assert float(corrected.train.inputs.mean(0).abs().max()) < 1e-4
    assert float(corrected.train.inputs.square().mean()) == pytest.approx(1, rel=1e-4)
    for each, many in ((published, False), (corrected, True)):
        inputs, labels = each.batch(500, torch.Generator().manual_seed(0))
        rows = (inputs[:, None] == each.train.inputs[:64]).all(2).any(1)
        assert bool(rows.all()) is not many
        assert labels.shape == (500,)
        assert len(each.seen) == each.drawn


def test_networks_begin_orthogonal_with_a_blank_picture(digits):
    where = ink("MM", 32)
    model = build(64, 32, 10, seed=0, where=where)
    first, middle, last = model.parameters()
    assert float(NORM(first.detach())) == pytest.approx(1, rel=1e-5)
    assert float(NORM(last.detach())) == pytest.approx(1, rel=1e-5)
    assert bool((middle[where] == 0).all())
    assert bool((middle[~where] != 0).all())
    projected = starting_picture("manifold", model)
    torch.testing.assert_close(projected.T @ projected, torch.eye(32), atol=1e-5, rtol=0)
    assert torch.equal(starting_picture("plain", model), middle)


def test_gradient_descent_leaves_the_picture_and_msign_erases_it(digits):
    where, seen = ink("MM", 48), images(digits, Setting.CORRECTED)
    found = {
        name: train(Trial(Setting.CORRECTED, name, 0.25, 0), seen, build(64, 48, 10, 0, where), where, 60, 128)
        for name in METHODS
    }
    assert all(outcome.test_accuracy > 90 and outcome.steps == 60 for outcome in found.values())
    assert found["plain"].contrast > 0.6 > 0.4 > found["dualised"].contrast
    assert found["plain"].correlation > 0.9 > 0.7 > found["dualised"].correlation
    assert found["plain"].start_contrast == 1
    assert 0.1 < found["manifold"].start_contrast < 0.6
    assert found["manifold"].contrast < 0.5 * found["manifold"].start_contrast
    assert found["plain"].update_rank == pytest.approx(found["plain"].gradient_rank, rel=1e-2)
    assert found["dualised"].update_rank > 20 > 5 > found["dualised"].gradient_rank


def test_a_trial_is_the_same_every_time_and_survives_json(data):
    where, seen = ink("MM", 12), images(data, Setting.PUBLISHED)
    trial = Trial(Setting.PUBLISHED, "adam", 0.1, 3)
    first, second = (train(trial, seen, build(8, 12, 3, 3, where), where, 5, 16) for _ in range(2))
    assert first == second
    assert read_row(write_row(trial, first)) == (trial, first)


@pytest.mark.parametrize("lr", [1e30, 1e40])
def test_a_step_out_of_the_finite_numbers_is_not_taken(data, lr):
    where, seen = ink("MM", 12), images(data, Setting.CORRECTED)
    model = build(8, 12, 3, 0, where)
    outcome = train(Trial(Setting.CORRECTED, "plain", lr, 0), seen, model, where, 5, 16)
    assert outcome.steps < 5
    assert bool(list(model.parameters())[MIDDLE].isfinite().all())


def test_ranks_of_gradients_stay_low_as_width_grows(digits):
    seen = images(digits, Setting.PUBLISHED)
    found = [measure(Start(Setting.PUBLISHED, width, 0), seen, 64, 10, 64) for width in (16, 64)]
    assert found[1]["plain"] < 2
    assert found[1]["dualised"] > 2 * found[0]["dualised"]
