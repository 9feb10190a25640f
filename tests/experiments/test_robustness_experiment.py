"""The robustness of trained networks: which runs are measured, in which units, and that a wrong certificate shows."""

import json
import math
import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from statistics import fmean

import pytest
import torch
from rich.console import Console
from torch.nn import functional
from typer.testing import CliRunner

from modular_manifolds.cli.app import app
from modular_manifolds.experiments import robustness as module
from modular_manifolds.experiments import robustness_pixels
from modular_manifolds.experiments.cifar10 import MEAN, STD
from modular_manifolds.experiments.comparison import train_all
from modular_manifolds.experiments.data import DataName
from modular_manifolds.experiments.display import PlainDisplay
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.reports import read_page
from modular_manifolds.experiments.robustness import Robustness, measure_all
from modular_manifolds.experiments.robustness_pixels import pixel_network, pixel_units
from modular_manifolds.experiments.robustness_report import write_report
from modular_manifolds.experiments.robustness_runs import RunsError, best_runs
from modular_manifolds.experiments.robustness_table import closing_lines, robustness_table
from modular_manifolds.modular import certify

SILENT = PlainDisplay(Console(quiet=True))


@pytest.fixture(scope="module")
def folder(data, make_comparison_in, tmp_path_factory):
    """A finished comparison; tests that change it copy it first."""
    out = tmp_path_factory.mktemp("compare")
    train_all(make_comparison_in(out), data, SILENT)
    return out


@pytest.fixture
def copy(folder, tmp_path):
    return Path(shutil.copytree(folder, tmp_path / "copy"))


@pytest.fixture
def make_robustness(tmp_path):
    def make(*folders, **settings):
        defaults = {"data_dir": None, "radii": (0.05, 0.2), "images": 15, "steps": 5, "restarts": 2, "threads": 1}
        return Robustness(folders=folders, **{"out": tmp_path / "out", **defaults, **settings})

    return make


@pytest.fixture(autouse=True)
def _clusters_as_pixels(monkeypatch):
    """The data set of three clusters has 8 features."""
    monkeypatch.setattr(module, "pixel_units", lambda name: torch.full((8,), 1 / 16, dtype=torch.float64))


def test_every_method_is_measured_at_its_best_learning_rate(folder):
    rows = json.loads((folder / "results.json").read_text())
    chosen = best_runs([folder])
    assert [(trained.run.method, trained.run.seed) for trained in chosen] == [
        ("manifold-muon", 0),
        ("manifold-muon", 1),
        ("muon", 0),
        ("muon", 1),
    ]
    for trained in chosen:
        means = {
            lr: sum(row["test_accuracy"] for row in rows if (row["method"], row["lr"]) == (trained.run.method, lr))
            for lr in (0.03, 0.1)
        }
        assert means[trained.run.lr] == max(means.values())
        assert trained.result.to_json() in rows
        assert {name: tuple(weight.shape) for name, weight in trained.weights.items()} == {
            "layers.0.weight": (6, 8),
            "layers.1.weight": (4, 6),
            "layers.2.weight": (3, 4),
        }


def test_several_folders_are_one_comparison(folder, data, make_comparison_in, tmp_path):
    train_all(make_comparison_in(tmp_path, methods=("adamw",), lrs=(0.01,)), data, SILENT)
    chosen = best_runs([tmp_path, folder, folder])
    assert [trained.run.method for trained in chosen] == ["adamw"] * 2 + ["manifold-muon"] * 2 + ["muon"] * 2


def test_runs_that_results_do_not_list_are_left_out(copy):
    rows = json.loads((copy / "results.json").read_text())
    (copy / "results.json").write_text(json.dumps([row for row in rows if row["seed"] == 0]))
    assert {trained.run.seed for trained in best_runs([copy])} == {0}


def test_runs_of_before_several_processes_are_read(copy):
    expected = [trained.run for trained in best_runs([copy])]
    rows = json.loads((copy / "results.json").read_text())
    for row in rows:
        del row["nproc"]
    (copy / "results.json").write_text(json.dumps(rows))
    for path in copy.glob("runs/*/metrics.json"):
        record = json.loads(path.read_text())
        del record["settings"]["nproc"], record["result"]["nproc"]
        digest = sha256(json.dumps(record["result"], sort_keys=True).encode()).hexdigest()
        path.write_text(json.dumps({**record, "result_sha256": digest}))
    assert [trained.run for trained in best_runs([copy])] == expected


def damage_weights(folder):
    for path in folder.glob("runs/muon*/weights.safetensors"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")


def change_results(folder):
    rows = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps([{**row, "train_loss": 0.5} for row in rows]))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "results.json").unlink(), "is no list of finished runs"),
        (lambda folder: (folder / "results.json").write_text("{"), "is no list of finished runs"),
        (lambda folder: (folder / "results.json").write_text('{"trials": []}'), "is no list of finished runs"),
        (lambda folder: (folder / "results.json").write_text("[]"), "lists no finished runs"),
        (lambda folder: shutil.rmtree(folder / "runs"), "manifold-muon lr 0.03 seed 0.*are missing or damaged"),
        (damage_weights, "muon lr 0.03 seed 0.*are missing or damaged"),
        (change_results, "are missing or damaged"),
    ],
)
def test_folders_that_are_refused(copy, spoil, message):
    spoil(copy)
    with pytest.raises(RunsError, match=message):
        best_runs([copy])


def test_runs_that_cannot_be_compared_are_refused(folder, data, make_comparison_in, tmp_path):
    train_all(make_comparison_in(tmp_path / "a", widths=(5, 4), lrs=(0.1,), seeds=1), data, SILENT)
    with pytest.raises(RunsError, match=r"settings differ: .*widths 5,4.*widths 6,4"):
        best_runs([folder, tmp_path / "a"])
    train_all(make_comparison_in(tmp_path / "b", methods=("manifold-muon",), momentum=0.5), data, SILENT)
    with pytest.raises(RunsError, match=r"manifold-muon lr 0\.03 seed 0.*in several versions"):
        best_runs([folder, tmp_path / "b"])


def test_a_network_of_pixels_computes_what_the_trained_one_does(make_run):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(4, 3, 32, 32, dtype=torch.float64, generator=generator)
    mean, std = (torch.tensor(values, dtype=torch.float64).reshape(3, 1, 1) for values in (MEAN, STD))
    trained = MLP(3072, (6, 4), 10, seed=0)
    units = pixel_units(DataName.CIFAR10)
    network = pixel_network(trained.state_dict(), make_run(data=DataName.CIFAR10), units, 10)
    standardised = ((pixels - mean) / std).flatten(1)
    torch.testing.assert_close(network((pixels - mean).flatten(1)), trained.double()(standardised))
    torch.testing.assert_close(standardised * units, (pixels - mean).flatten(1))
    assert not any(weight.requires_grad for weight in network.parameters())


def test_digits_count_pixels_from_0_to_16():
    units = robustness_pixels.pixel_units(DataName.DIGITS)
    assert units.shape == (64,)
    assert units.unique().tolist() == [1 / 16]


def test_what_is_measured(folder, data, make_robustness):
    settings, steps = make_robustness(folder), []
    runs = best_runs([folder])
    measured = measure_all(settings, data, runs, on_step=lambda: steps.append(1))
    assert len(steps) == settings.attack_steps(len(runs)) == 4 * 3 * 5 * 2
    for trained, each in zip(runs, measured, strict=True):
        x, weights = data.test.inputs.double(), [weight.double() for weight in trained.weights.values()]
        *hidden, last = weights
        for weight in hidden:
            x = functional.relu(x @ weight.T)
        logits = x @ last.T
        others = logits.masked_fill(functional.one_hot(data.test.labels, 3).bool(), -math.inf)
        margins = logits.gather(1, data.test.labels[:, None])[:, 0] - others.amax(1)
        lipschitz = 16 * math.prod(float(torch.linalg.svdvals(weight)[0]) for weight in weights)
        radii = margins / (math.sqrt(2) * lipschitz)
        assert each.lipschitz == pytest.approx(lipschitz, rel=1e-9)
        assert math.prod(each.layer_norms) == pytest.approx(lipschitz, rel=1e-9)
        assert each.accuracy_of_all == pytest.approx(100 * float((margins > 0).double().mean()))
        assert each.accuracy_of_all == pytest.approx(trained.result.test_accuracy)
        assert each.accuracy == pytest.approx(100 * float((margins[:15] > 0).double().mean()))
        for at, radius in zip(each.at, (0.05, 0.2), strict=True):
            assert at.radius == radius
            assert at.certified == pytest.approx(100 * float((radii[:15] > radius).double().mean()))
            assert at.certified_of_all == pytest.approx(100 * float((radii > radius).double().mean()))
            assert at.certified <= at.attacked <= each.accuracy
        assert each.curve[0] == each.accuracy
        assert list(each.curve) == sorted(each.curve, reverse=True)
        at_step = round(0.2 / each.curve_step)
        assert each.curve_step * at_step == pytest.approx(0.2)
        assert each.curve[at_step] == pytest.approx(each.at[1].certified, abs=100 / 15)
        assert each.flips == 0
    assert any(at.attacked < each.accuracy for each in measured for at in each.at)
    assert any(at.certified > 0 for each in measured for at in each.at)


def test_measuring_again_gives_the_same(folder, data, make_robustness):
    runs = best_runs([folder])[:1]
    first, second = (measure_all(make_robustness(folder), data, runs) for _ in range(2))
    assert first == second


def too_small(factor):
    """A `certify` whose constant is wrong by so much."""

    def wrong(model, example_inputs):
        right = certify(model, example_inputs)
        return replace(right, lipschitz=right.lipschitz / factor)

    return wrong


def test_a_certificate_that_is_wrong_is_found_out(folder, data, make_robustness, monkeypatch):
    monkeypatch.setattr(module, "certify", too_small(64))
    settings = make_robustness(folder)
    measured = measure_all(settings, data, best_runs([folder]))
    assert any(each.flips_at_own_radius for each in measured)
    assert any(at.flips for each in measured for at in each.at)
    assert closing_lines(measured, 15, 20)[-1].endswith("the certificate is WRONG")


def test_everything_is_in_the_file_the_table_and_the_figure(folder, data, make_robustness):
    settings = make_robustness(folder)
    measured = measure_all(settings, data, best_runs([folder]))
    content = json.loads(settings.results_path.read_text())
    assert content["command"] == settings.command()
    assert (content["test_images"], content["attacked_images"]) == (20, 15)
    assert len(content["runs"]) == 4
    assert content["runs"][0]["at"][0]["certified"] == measured[0].at[0].certified
    table = robustness_table(measured)
    assert table.columns == ("method", "", "0", "12.75/255", "51/255")
    assert [row[:2] for row in table.rows[:2]] == [("manifold-muon", "certified"), ("manifold-muon", "attacked")]
    assert "±" in table.rows[0][2]
    lines = closing_lines(measured, 15, 20)
    assert lines[0].startswith("of the first 15 of 20 test images")
    assert any(line.strip().startswith("certified of all, muon: ") for line in lines)
    assert any("2 seeds: " in line and "= " in line for line in lines)
    assert lines[-1].endswith("none")
    assert not any("certified of all" in line for line in closing_lines(measured, 20, 20))
    paths = write_report(settings, data, measured)
    assert "muon, certified" in paths["figure"].read_text()
    assert paths["as PNG"].read_bytes().startswith(b"\x89PNG")
    page = read_page(settings.out)
    assert page.findings[-1].value == "0"
    figure, trade_off = page.figures
    by_method = {row[0]: row[1:] for row in trade_off.data.rows}
    assert list(by_method) == ["manifold-muon", "muon"]
    smallest = [run.at[0] for run in measured[:2]]
    clean = fmean(run.accuracy for run in measured[:2])
    proved, left = fmean(at.certified for at in smallest), fmean(at.attacked for at in smallest)
    assert by_method["manifold-muon"] == (clean, proved, left)
    drawn = {row[0]: row[1:] for row in figure.data.rows}
    assert drawn[0][0] == drawn[0][1] == fmean(run.accuracy for run in measured[:2])
    assert drawn[51.0][1] == fmean(run.at[1].attacked for run in measured[:2])
    assert list(drawn) == sorted(drawn)
    assert sum(attacked is not None for _, attacked, *_ in drawn.values()) == 3


def test_networks_trained_on_other_data_are_refused(folder, data, make_robustness):
    with pytest.raises(RunsError, match="was trained on other digits data"):
        measure_all(make_robustness(folder), replace(data, fingerprint="four clusters"), best_runs([folder]))


def test_weights_of_another_network_are_refused(folder, data, make_robustness):
    (first, *_) = best_runs([folder])
    with pytest.raises(RunsError, match="do not fit its network"):
        measure_all(make_robustness(folder), data, [replace(first, weights={})])


def test_weights_that_diverged_are_refused(copy, data, make_comparison_in):
    shutil.rmtree(copy)
    train_all(make_comparison_in(copy, methods=("muon",), lrs=(1e38,), seeds=1), data, SILENT)
    with pytest.raises(RunsError, match="diverged"):
        best_runs([copy])


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.undo()  # digits are digits here
    options = ("--methods", "manifold-muon,adamw", "--lrs", "0.03", "--seeds", 1, "--epochs", 1, "--widths", "6")
    assert invoke("compare", *options, "--out", tmp_path).exit_code == 0
    quick = ("--images", 20, "--steps", 3, "--restarts", 1, "--radii", "36/255,0.5")
    ran = invoke("robustness", tmp_path, *quick)
    assert ran.exit_code == 0, ran.output
    assert "36/255" in ran.output
    assert "127.5/255" in ran.output
    assert "that an attack changed: none" in ran.output
    for name in ("robustness.json", "robustness.svg", "robustness.png", "report.html"):
        assert (tmp_path / "robustness" / name).is_file()
        assert str(tmp_path / "robustness" / name) in ran.output

    monkeypatch.setattr(module, "certify", too_small(400))
    contradicted = invoke("robustness", tmp_path, *quick)
    assert contradicted.exit_code == 3
    assert "WRONG" in contradicted.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Missing argument"),
        (["nowhere"], "does not exist"),
        ([".", "--radii", "a"], "no list of positive numbers"),
        ([".", "--radii", "1/0"], "no list of positive numbers"),
        ([".", "--radii", "-1/255"], "no list of positive numbers"),
        ([".", "--images", "0"], "greater than or equal to 1"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    ran = invoke("robustness", *arguments)
    assert ran.exit_code == 2
    assert message in ran.output


def test_a_folder_without_runs_is_one_clear_line(tmp_path):
    ran = invoke("robustness", tmp_path)
    assert ran.exit_code == 1
    assert ran.output.startswith(f"error: {tmp_path}")
    assert "Name a folder that compare wrote" in ran.output


def test_an_interruption_says_how_to_go_on(folder, data, tmp_path, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("modular_manifolds.cli.robustness.load", lambda name, folder: data)
    monkeypatch.setattr("modular_manifolds.cli.robustness.measure_all", interrupted)
    ran = invoke("robustness", folder, "--radii", "1/4", "--out", tmp_path)
    assert ran.exit_code == 130
    assert f"modular-manifolds robustness {folder} --radii 63.75/255" in ran.output


def test_help_shows_an_example():
    assert "modular-manifolds robustness runs/compare-digits" in invoke("robustness", "--help").output
