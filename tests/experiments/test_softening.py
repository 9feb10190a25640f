"""The comparison of constraints: what each does to the weights, and what is left of a run."""

import json
import math

import pytest
import torch
from rich.console import Console
from torch import nn

import modular_manifolds as mm
from modular_manifolds.experiments.comparison import train_all
from modular_manifolds.experiments.constraints import OPTIMIZERS, STIEFEL, Start, constraints
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.display import PlainDisplay
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.reports import read_page
from modular_manifolds.experiments.softening import Softening, movements, write_movements
from modular_manifolds.experiments.softening_report import best_table, scan_table, write_report

KAPPAS = (0.0, 100.0)
NAMES = ["free", "kappa-100", "kappa-0", "projected", "manifold-step"]


class Quiet(PlainDisplay):
    """Counts epochs; can be told to fail after some of them, as a killed process would."""

    def __init__(self, epochs_until_killed=None):
        super().__init__(Console(quiet=True))
        self._left = epochs_until_killed

    def epoch_finished(self, epoch):
        self._left = self._left and self._left - 1
        if self._left == 0:
            raise KeyboardInterrupt


@pytest.fixture
def make_softening(tmp_path):
    def make(name="out", **settings):
        defaults = {
            "data": DataName.DIGITS,
            "data_dir": None,
            "lrs": (0.03, 0.1),
            "seeds": 2,
            "epochs": 3,
            "batch_size": 16,
            "momentum": 0.0,
            "widths": (6, 4),
            "threads": 1,
            "optimizer": "sgd",
            "kappas": KAPPAS,
            "start": Start.MANIFOLD,
        }
        chosen = {**defaults, **settings}
        methods = tuple(constraints(chosen["optimizer"], chosen["kappas"], chosen["start"]))
        return Softening(out=tmp_path / name, methods=methods, **chosen)

    return make


def steps(method, count=4):
    """A network after some steps under a method."""
    model = MLP(8, (6, 4), 3, seed=0)
    method.place(model)
    optimizer = method.build(model, lr=0.1, momentum=0.0)
    for _ in range(count):
        optimizer.zero_grad()
        model(torch.linspace(-1, 1, 16).reshape(2, 8)).square().sum().backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_constraint_does_what_its_name_says(optimizer):
    table = constraints(optimizer, KAPPAS, Start.MANIFOLD)
    assert list(table) == NAMES
    for name, method in table.items():
        model = steps(method)
        raw = max(float(STIEFEL.violation(w.detach())) for w in model.parameters())
        used = max(float(STIEFEL.violation(layer.weight.detach())) for layer in model.layers)
        assert (raw < 1e-5) == (name in ("projected", "manifold-step"))
        assert (used < 1e-5) == (name in ("projected", "manifold-step", "kappa-0"))


def test_raw_weights_start_where_they_are_told():
    for start, method in ((start, constraints("sgd", (1.0,), start)["kappa-1"]) for start in Start):
        model, initial = MLP(8, (6, 4), 3, seed=0), MLP(8, (6, 4), 3, seed=0)
        method.place(model)
        for raw, w in zip(model.parameters(), initial.parameters(), strict=True):
            assert torch.allclose(raw, w if start is Start.INIT else STIEFEL.project(w.detach()), atol=1e-6)


def test_a_diverged_run_under_projection_goes_on():
    method = constraints("sgd", (), Start.MANIFOLD)["projected"]
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    method.place(model)
    optimizer = method.build(model, lr=0.1, momentum=0.0)
    model[0].weight.grad = torch.full((2, 2), math.nan)
    optimizer.step()
    assert model[0].weight.isnan().all()


def test_results_have_the_movement_of_every_run(data, make_softening):
    softening = make_softening()
    finished = train_all(softening, data, Quiet())
    moved = movements(finished)
    write_movements(finished, moved)
    rows = json.loads(softening.results_path.read_text())
    assert [(row["seed"], row["method"], row["lr"]) for row in rows] == [
        (seed, name, lr) for seed in (0, 1) for name in NAMES for lr in (0.03, 0.1)
    ]
    for row in rows:
        held = row["method"] in ("projected", "manifold-step")
        assert (row["movement"]["reversals"] is None) == held
        assert (row["movement"]["distance"] < 1e-5) == held
        assert (row["movement"]["effective_distance"] == 0) == (row["method"] == "kappa-0")
        if row["method"] == "kappa-100":  # much nearer than what it is made of
            assert row["movement"]["effective_distance"] < row["movement"]["distance"] / 3
        assert -1 <= row["movement"]["turn"] <= 1
    tables = best_table(finished, moved), scan_table(finished, moved)
    assert [table.row_count for table in tables] == [5, 5]
    page = read_page(write_report(finished, moved).parent)
    best, every = (table for section in page.sections for table in section.tables)
    assert [row[0] for row in best.rows] == NAMES
    assert len(every.rows) == 2 * len(NAMES)
    curves = {figure.name: figure.data for figure in page.figures}
    assert set(curves) == {"accuracy", "reversals", "swing", "turn", "distance-W", "distance-W_eff"}
    steps = len(finished.store.weights(next(iter(moved)))["distance"])
    assert curves["distance-W"].columns == ("step", "free", "kappa-100", "kappa-0")
    assert [row[0] for row in curves["distance-W"].rows] == list(range(1, steps))
    assert {row[0] for row in curves["accuracy"].rows} == set(NAMES)


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
def test_a_killed_comparison_carries_on_bit_for_bit(data, make_softening, optimizer):
    settings = {"optimizer": optimizer, "seeds": 1, "lrs": (0.1,)}
    undisturbed, killed = (make_softening(name, **settings) for name in "ab")
    expected = train_all(undisturbed, data, Quiet())
    with pytest.raises(KeyboardInterrupt):
        train_all(killed, data, Quiet(epochs_until_killed=5))
    finished = train_all(killed, data, Quiet())
    for run in expected.results:
        kept, wanted = finished.store.weights(run), expected.store.weights(run)
        assert {"loss", "distance", "turn", "swing"} < set(wanted)
        for name, tensor in wanted.items():
            assert torch.equal(kept[name].nan_to_num(7), tensor.nan_to_num(7))


def test_the_command_repeats_it(make_softening, tmp_path):
    command = make_softening().command()
    assert command.startswith("modular-manifolds soften --data digits --optimizer sgd --kappas 0,100 --lrs 0.03,0.1")
    assert command.endswith(f"--out {tmp_path / 'out'}")


def test_settings_tell_constraints_apart():
    shapes = [(6, 8), (4, 6)]
    lines = [
        method.settings(shapes, 0.0)
        for start in Start
        for method in list(constraints("sgd", KAPPAS, start).values())[:3]
    ]
    assert len(set(lines)) == 6
    assert mm.Stiefel() == STIEFEL
