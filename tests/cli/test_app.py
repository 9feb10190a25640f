import json
import sys

import pytest
from typer.testing import CliRunner

import modular_manifolds
import modular_manifolds.experiments
from modular_manifolds import cli
from modular_manifolds.cli.app import app


def invoke(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_compare_on_digits(tmp_path):
    options = ("--methods", "manifold-muon,adamw", "--lrs", "0.01", "--seeds", 1, "--epochs", 1, "--out", tmp_path)
    ran = invoke("compare", "--data", "digits", *options)
    assert ran.exit_code == 0, ran.output
    assert f"results: {tmp_path / 'results.json'}" in ran.output
    assert f"report:  {tmp_path / 'report.html'}" in ran.output
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["method"] for row in rows] == ["manifold-muon", "adamw"]
    assert (tmp_path / "report.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "muon,sgd"], "sgd is unknown; there are manifold-muon"),
        (["--methods", ","], "an empty list is unknown"),
        (["--lrs", "0.1,fast"], "no list of positive numbers"),
        (["--lrs", "-1"], "no list of positive numbers"),
        (["--lrs", "nan"], "no list of positive numbers"),
        (["--widths", "64,0"], "no list of positive numbers"),
        (["--widths", "6.5"], "no list of positive numbers"),
        (["--seeds", "0"], "greater than or equal to 1"),
        (["--data", "mnist"], "mnist"),
        (["--data-dir", "."], "is for cifar10 only"),
        (["--data", "cifar10", "--data-dir", "nowhere"], "does not exist"),
        (["--methods", "muon,adamw", "--momentum", "0.5"], "none of muon, adamw takes it"),
        (["--nproc", "0"], "greater than or equal to 1"),
        (["--nproc", "9", "--batch-size", "8"], "9 processes cannot share batches of 8"),
        (["--nproc", "257"], "257 processes cannot share batches of 256"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    ran = invoke("compare", *arguments)
    assert ran.exit_code == 2
    assert message in ran.output


def test_soften_on_digits(tmp_path):
    options = ("--kappas", "0,1", "--lrs", "0.01", "--seeds", 1, "--epochs", 1, "--out", tmp_path)
    ran = invoke("soften", "--optimizer", "adamw", *options)
    assert ran.exit_code == 0, ran.output
    assert f"results: {tmp_path / 'results.json'}" in ran.output
    assert f"plots:   {tmp_path / 'plots'}" in ran.output
    assert f"report:  {tmp_path / 'report.html'}" in ran.output
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["method"] for row in rows] == ["free", "kappa-1", "kappa-0", "projected", "manifold-step"]
    assert {path.stem for path in (tmp_path / "plots").iterdir()} > {"accuracy", "reversals"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--optimizer", "adam"], "adam is unknown; there are muon, adamw, sgd"),
        (["--kappas", "-1"], "no list of positive numbers or 0"),
        (["--kappas", "inf"], "no list of positive numbers or 0"),
        (["--lrs", "0"], "no list of positive numbers"),
        (["--start", "zero"], "zero"),
        (["--data-dir", "."], "is for cifar10 only"),
    ],
)
def test_bad_options_of_soften_are_refused(arguments, message):
    ran = invoke("soften", *arguments)
    assert ran.exit_code == 2
    assert message in ran.output


def test_geometries_on_digits(tmp_path):
    options = ("--candidates", "Stiefel x Spectral,Euclidean x Frobenius", "--seeds", 1, "--epochs", 1)
    ran = invoke("geometries", *options, "--widths", "4", "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    for name in ("results.json", "tables.md", "accuracy.svg", "accuracy.png", "report.html"):
        assert str(tmp_path / name) in ran.output
        assert (tmp_path / name).is_file()
    assert "best of each layer" in ran.output
    again = invoke("geometries", *options, "--widths", "5", "--out", tmp_path)
    assert again.exit_code == 1
    assert "error: " in again.output.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--candidates", "Stiefel x Nothing"], "Stiefel x Nothing is unknown; there are Stiefel x Spectral"),
        (["--search-epochs", "0"], "greater than or equal to 1"),
        (["--data-dir", "."], "is for cifar10 only"),
    ],
)
def test_bad_options_of_geometries_are_refused(arguments, message):
    ran = invoke("geometries", *arguments)
    assert ran.exit_code == 2
    assert message in ran.output


def test_missing_data_is_one_clear_line(tmp_path):
    ran = invoke("compare", "--data", "cifar10", "--data-dir", tmp_path, "--out", tmp_path)
    assert ran.exit_code == 1
    assert ran.output.startswith("error: train-00000-of-00001.parquet is in none of")


def test_help_shows_an_example():
    assert "modular-manifolds compare --data cifar10" in invoke("compare", "--help").output
    assert "modular-manifolds report runs" in invoke("report", "--help").output
    assert "modular-manifolds soften --data cifar10" in invoke("soften", "--help").output
    assert "modular-manifolds geometries --data cifar10" in invoke("geometries", "--help").output
    assert "compare" in invoke("--help").output


def test_version():
    assert invoke("--version").output.startswith("modular-manifolds ")


def test_a_missing_extra_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["modular-manifolds", "compare", "--epochs", "1"])
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    # the package's attribute comes back with the modules: import sets it anew
    monkeypatch.setattr(modular_manifolds, "experiments", modular_manifolds.experiments)
    for name in [name for name in sys.modules if name.startswith("modular_manifolds.experiments")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit, match=r"safetensors is missing(.|\n)*'modular-manifolds\[experiments\]'"):
        cli.main()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    ran = invoke("compare", "--methods", "adamw", "--seeds", 1, "--epochs", 1, "--out", tmp_path)
    assert ran.exit_code == 1
    assert "error: " in ran.output.splitlines()[-1]
