import json
import math
from dataclasses import replace
from itertools import product

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.nn import functional
from typer.testing import CliRunner

from modular_manifolds.cli.app import app
from modular_manifolds.experiments import tightness as module
from modular_manifolds.experiments.data import DataError, DataName
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.reports import read_page
from modular_manifolds.experiments.robustness_runs import RunsError
from modular_manifolds.experiments.tightness import Measured, Tightness, read_row, run_tightness, write_row
from modular_manifolds.experiments.tightness_display import TightnessDisplay
from modular_manifolds.experiments.tightness_networks import Specimen, build, families
from modular_manifolds.experiments.tightness_report import write_report
from modular_manifolds.experiments.tightness_search import STRATEGIES, Effort, Pool, largest_stretch
from modular_manifolds.experiments.tightness_stretch import (
    SmoothReLU,
    local_stretch,
    secant_stretch,
    smooth_log_stretch,
)
from modular_manifolds.experiments.tightness_table import (
    closing_lines,
    detail_table,
    exceeding,
    ratio_table,
    search_table,
    write_markdown,
)
from modular_manifolds.modular import certify

QUICK = Effort(random=50, ascents=1, steps=20, rounds=5)


class Recorder(TightnessDisplay):
    """Counts trainings and searches; can be told to fail before one of them, as a killed process would."""

    def __init__(self, searches_until_killed=None):
        super().__init__(Console(quiet=True))
        self.trained = self.searched_anew = 0
        self._left = searches_until_killed

    def run_started(self, run, epochs_done, steps_per_epoch):
        self.trained += 1

    def search_started(self, name, strategies):
        if self.searched_anew == self._left:
            raise KeyboardInterrupt
        self.searched_anew += 1

    @property
    def done(self):
        return self._done


def settings(out, **given):
    defaults = {"data_dir": None, "methods": ("manifold-muon", "adamw"), "depths": (2, 3), "width": 5}
    sizes = {"lrs": (0.03, 0.1), "seeds": 2, "epochs": 2, "batch_size": 16, "effort": 0.02, "threads": 1}
    return Tightness(data=DataName.DIGITS, **{"out": out, **defaults, **sizes, **given})


@pytest.fixture
def make_study(tmp_path):
    """A smaller one, in a folder of its own."""
    small = {"out": tmp_path, "methods": ("manifold-muon",), "depths": (2,), "lrs": (0.1,)}
    return lambda **given: settings(**{**small, **given})


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A study with both depths, and what came out; not to be changed."""
    study, recorder = settings(tmp_path_factory.mktemp("tightness")), Recorder()
    return study, recorder, run_tightness(study, data, recorder)


@pytest.fixture
def network():
    return MLP(7, (9, 6), 4, seed=3).double().requires_grad_(False)


def normal(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def generator():
    return torch.Generator().manual_seed(0)


def test_the_local_stretch_is_that_of_the_linear_piece(network):
    x = normal(20, 7)
    found = local_stretch(network, x)
    first, second, last = (layer.weight for layer in network.layers)
    alive = found.factor.nonzero()[:, 0].tolist()
    assert len(alive) > 10
    for i in alive:
        on = (first @ x[i] > 0).double()
        after = (second @ (on * (first @ x[i])) > 0).double()
        jacobian = last @ (after[:, None] * second) @ (on[:, None] * first)
        factor, v, u = found.factor[i], found.right[i], found.left[i]
        torch.testing.assert_close(factor, torch.linalg.svdvals(jacobian)[0])
        torch.testing.assert_close(jacobian @ v, factor * u)
        torch.testing.assert_close(v.norm(), torch.ones((), dtype=torch.float64))


def test_a_secant_within_a_linear_piece_is_its_stretch(network):
    x = normal(20, 7)
    found = local_stretch(network, x)
    ends = x + 2e-3 * x.norm(dim=1, keepdim=True) * found.right
    same = torch.isclose(local_stretch(network, ends).factor, found.factor, rtol=1e-12)
    assert int((same & (found.factor > 0)).sum()) > 10
    secants = secant_stretch(network, x, ends)
    torch.testing.assert_close(secants[same], found.factor[same], rtol=1e-9, atol=0)


def test_points_too_near_to_measure_do_not_count(network):
    x = normal(20, 7)
    assert secant_stretch(network, x, x).tolist() == [0.0] * 20
    assert secant_stretch(network, x, x * (1 + 1e-15)).tolist() == [0.0] * 20


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_stretches_of_any_size(network, scale):
    x = normal(5, 7)
    before = local_stretch(network, x).factor
    for weight in network.parameters():
        weight.mul_(scale)
    torch.testing.assert_close(local_stretch(network, x).factor / scale**3, before, rtol=1e-9, atol=0)


def test_relu_is_smooth_only_inside(network):
    z = torch.tensor([[-1.0, 0.0, 2.0]], dtype=torch.float64)
    with SmoothReLU(0.5):
        smooth = [functional.relu(z), torch.relu(z), z.relu(), nn.ReLU()(z)]
        assert torch.equal(torch.tanh(z), z.tanh())
    scale = 0.5 * math.sqrt(5 / 3)
    for each in smooth:
        torch.testing.assert_close(each, scale * torch.log1p(torch.exp(z / scale)))
    assert torch.equal(functional.relu(z), z.clamp(min=0))


def test_a_narrow_kink_gives_the_true_stretch(network):
    x = normal(6, 7).requires_grad_()
    found = local_stretch(network, x)
    u = found.left.clone().requires_grad_()
    torch.testing.assert_close(smooth_log_stretch(network, x, 3 * u, 1e-9), found.factor.log())
    wide = smooth_log_stretch(network, x, u, 1.0)
    slopes = torch.autograd.grad(wide.sum(), (x, u))
    assert all(float(slope.abs().max()) > 0 for slope in slopes)


@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_the_maximum_where_it_is_known(seed):
    """One hidden layer of no more units than inputs: every pattern occurs, so that all can be tried."""
    shallow = MLP(8, (6,), 3, seed=seed).double().requires_grad_(False)
    first, last = (layer.weight for layer in shallow.layers)
    patterns = torch.tensor(list(product((0.0, 1.0), repeat=6)), dtype=torch.float64)
    most = float(torch.linalg.matrix_norm((last * patterns[:, None]) @ first, 2).max())
    found = largest_stretch(shallow, normal(3, 8), generator(), QUICK, limit=most * (1 + 1e-12))
    assert 0.99 * most < found.stretch <= most * (1 + 1e-12)
    assert found.exceeding == 0
    assert largest_stretch(shallow, normal(3, 8), generator(), QUICK, limit=0.9 * most).exceeding > 0


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name not in ("data", "random", "secants")])
def test_every_local_search_improves_a_bad_start(name):
    deep = MLP(8, (10, 10, 10), 4, seed=0).double().requires_grad_(False)
    pool = Pool(deep, normal(3, 8), generator())
    pool.add(pool.samples)
    before = pool.best
    STRATEGIES[name](pool, QUICK)
    assert pool.best > before
    torch.testing.assert_close(local_stretch(deep, pool.points).factor, pool.factor)
    assert pool.best == float(pool.factor[0])


def test_strategies_only_add(network):
    found = largest_stretch(network, normal(4, 7), generator(), QUICK)
    assert tuple(found.after) == tuple(STRATEGIES)
    assert list(found.after.values()) == sorted(found.after.values())
    assert found.stretch == found.after["secants"]
    again = largest_stretch(network, normal(4, 7), generator(), QUICK)
    assert again == found


def test_a_secant_can_be_the_largest(network):
    pool = Pool(network, normal(4, 7), generator())
    pool.add(pool.samples)
    x = pool.points[:1]
    step = 2e-3 * x.norm() * pool.right[:1]
    pool.best = 0.0
    pool.add_secants(x, x + step)
    assert pool.best == pytest.approx(float(pool.factor[0]), rel=1e-6)


def test_a_dead_network_stretches_nothing():
    dead = MLP(7, (5, 5), 3, seed=0).double().requires_grad_(False)
    dead.layers[1].weight.zero_()
    found = largest_stretch(dead, normal(4, 7), generator(), QUICK)
    assert found.stretch == 0
    measured = Measured(0.5, 0.0, found.after, 1, 0, 10.0, 10.0)
    assert measured.ratio == math.inf


def test_a_linear_network_attains_its_bound(data):
    linear = build(Specimen("adamw, start", 1, 0, None), data, width=5)
    found = largest_stretch(linear, data.train.inputs.double(), generator(), QUICK)
    bound = certify(linear, (data.train.inputs[:1].double(),)).lipschitz
    assert found.stretch == pytest.approx(bound, rel=1e-9)
    assert found.stretch <= bound


@pytest.mark.parametrize("family", families(("manifold-muon", "adamw"), 4))
def test_networks(data, family):
    if family.endswith("trained"):
        return
    network = build(Specimen(family, 4, 1, None), data, width=6)
    weights = list(network.parameters())
    assert len(weights) == 4
    assert sorted(tuple(weight.shape) for weight in weights) == sorted([(6, 8), (6, 6), (6, 6), (3, 6)])
    assert all(weight.dtype is torch.float64 and not weight.requires_grad for weight in weights)
    again, other = (build(Specimen(family, 4, seed, None), data, width=6) for seed in (1, 2))
    x = data.train.inputs.double()
    assert torch.equal(network(x), again(x))
    assert not torch.equal(network(x), other(x))
    bound = certify(network, (x[:1],)).lipschitz
    if family.startswith("manifold-muon"):
        assert bound == pytest.approx(1, abs=1e-5)
    elif family.startswith("nn."):  # the first layer has 6 of 8 features, the last one 3 of 6
        assert bound <= math.sqrt(6 / 8) * math.sqrt(3 / 6) * (1 + 1e-6)


def test_building_leaves_the_random_numbers_alone(data):
    before = torch.random.get_rng_state()
    build(Specimen("nn.tower, start", 3, 0, None), data, width=5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_tower_needs_three_layers():
    assert "nn.tower, start" in families((), 3)
    assert "nn.tower, start" not in families((), 2)


def test_what_is_measured(finished):
    study, recorder, findings = finished
    assert recorder.trained == 2 * 2 * 2 * 2
    assert len(findings) == recorder.searched_anew == 2 * (5 + 6)
    for specimen, measured in findings.items():
        assert (specimen.lr in study.lrs) == specimen.family.endswith("trained")
        assert 0 < measured.stretch <= measured.bound
        assert measured.ratio == measured.bound / measured.stretch
        assert measured.exceeding == 0
        if specimen.family.endswith("trained"):
            results = json.loads((study.out / f"depth-{specimen.depth}" / "results.json").read_text())
            method = specimen.family.removesuffix(", trained")
            means = {
                lr: sum(row["test_accuracy"] for row in results if (row["method"], row["lr"]) == (method, lr))
                for lr in study.lrs
            }
            assert means[specimen.lr] == max(means.values())
            (row,) = (
                row
                for row in results
                if (row["method"], row["lr"], row["seed"]) == (method, specimen.lr, specimen.seed)
            )
            assert measured.test_accuracy == pytest.approx(row["test_accuracy"])
            if method == "manifold-muon":
                assert measured.bound == pytest.approx(1, abs=1e-5)


def test_a_killed_study_carries_on_and_loses_nothing(data, make_study, tmp_path):
    undisturbed, killed = make_study(out=tmp_path / "a"), make_study(out=tmp_path / "b")
    findings = run_tightness(undisturbed, data, Recorder())
    with pytest.raises(KeyboardInterrupt):
        run_tightness(killed, data, Recorder(searches_until_killed=4))
    rest = Recorder()
    assert run_tightness(killed, data, rest) == findings
    assert rest.searched_anew == len(findings) - 4
    assert rest.trained == 0
    again = Recorder()
    assert run_tightness(killed, data, again) == findings
    assert again.trained == again.searched_anew == 0
    assert again.done == killed.items
    assert json.loads(killed.results_path.read_text()) == json.loads(undisturbed.results_path.read_text())


def test_more_depths_join_a_finished_study(data, make_study):
    run_tightness(make_study(seeds=1), data, Recorder())
    more = Recorder()
    run_tightness(make_study(depths=(2, 3), seeds=1), data, more)
    assert (more.trained, more.searched_anew) == (1, 4)
    with pytest.raises(DataError, match="other width"):
        run_tightness(make_study(width=6), data, Recorder())


def test_rows_that_are_not_finite_survive():
    specimen = Specimen("adamw, trained", 3, 0, 0.1)
    for measured in (
        Measured(math.inf, 1.0, {"data": 1.0}, 5, 0, 10.0, 10.0),
        Measured(1.0, 0.0, {"data": 0.0}, 5, 0, 10.0, 10.0),
    ):
        assert read_row(json.loads(json.dumps(write_row(specimen, measured)))) == (specimen, measured)


def test_networks_that_diverged_are_refused(data, make_study):
    with pytest.raises(RunsError, match="diverged"):
        run_tightness(make_study(methods=("muon",), lrs=(1e38,)), data, Recorder())


def too_small(model, example_inputs):
    """A `certify` whose constant is wrong by a half."""
    right = certify(model, example_inputs)
    return replace(right, lipschitz=right.lipschitz / 2)


def test_a_bound_that_is_wrong_is_found_out(data, make_study, monkeypatch):
    monkeypatch.setattr(module, "certify", too_small)
    findings = run_tightness(make_study(seeds=1), data, Recorder())
    assert exceeding(findings) > 0
    assert "the bound is WRONG" in closing_lines(findings)[0]


def test_tables_and_figure(finished, data, tmp_path):
    study, _, findings = finished
    ratios, details, search = ratio_table(findings), detail_table(findings), search_table(findings)
    assert ratios.columns == ("network", "depth 2", "depth 3")
    assert [row[0] for row in ratios.rows] == list(families(study.methods, 3))
    assert [row[1] == "" for row in ratios.rows] == [False] * 5 + [True]
    assert len(details.rows) == len(search.rows) == 5 + 6
    assert all(float(row[-1]) == 100 for row in search.rows)
    assert "none" in closing_lines(findings)[0]
    assert ratios.title in write_markdown(findings, tmp_path).read_text()
    some = next(iter(findings))
    endless = {**findings, some: replace(findings[some], stretch=0.0)}
    assert "no stretch found" in str(ratio_table(endless).rows)
    for each in (findings, endless):
        paths = write_report(replace(study, out=tmp_path), data, each)
        assert "manifold-muon, trained" in paths["figure"].read_text()
        assert paths["as PNG"].read_bytes().startswith(b"\x89PNG")
        page = read_page(tmp_path)
        shown, *_ = (table for section in page.sections for table in section.tables)
        assert len(shown.rows) == len(details.rows)
        (figure,) = page.figures
        assert len(figure.data.rows) == len(findings)
        assert page.findings[-1].value == "0"
    assert figure.data.rows[0][5] == "no stretch found"


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_the_command(tmp_path, monkeypatch):
    options = (
        "--depths",
        2,
        "--width",
        4,
        "--seeds",
        1,
        "--epochs",
        1,
        "--effort",
        0.02,
        "--lrs",
        0.01,
        "--methods",
        "adamw",
    )
    ran = invoke("tightness", *options, "--out", tmp_path / "a")
    assert ran.exit_code == 0, ran.output
    for name in ("results.json", "tables.md", "tightness.svg", "tightness.png", "report.html"):
        assert str(tmp_path / "a" / name) in ran.output
        assert (tmp_path / "a" / name).is_file()
    assert "[4/4] measured nn.MLP, start, depth 2, seed 0: bound" in ran.output

    monkeypatch.setattr(module, "certify", too_small)
    contradicted = invoke("tightness", *options, "--out", tmp_path / "b")
    assert contradicted.exit_code == 3
    assert "WRONG" in contradicted.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "sgd"], "sgd is unknown"),
        (["--depths", "3,0"], "no list of positive numbers"),
        (["--lrs", "fast"], "no list of positive numbers"),
        (["--effort", "0"], "--effort"),
        (["--data-dir", "."], "is for cifar10 only"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    ran = invoke("tightness", *arguments)
    assert ran.exit_code == 2
    assert message in ran.output


def test_help_shows_an_example():
    assert "modular-manifolds tightness --data cifar10" in invoke("tightness", "--help").output
