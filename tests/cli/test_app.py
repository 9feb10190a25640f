import json
import sys

import pytest
from typer.testing import CliRunner

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
    ],
)
def test_bad_options_are_refused(arguments, message):
    ran = invoke("compare", *arguments)
    assert ran.exit_code == 2
    assert message in ran.output


def test_missing_data_is_one_clear_line(tmp_path):
    ran = invoke("compare", "--data", "cifar10", "--data-dir", tmp_path, "--out", tmp_path)
    assert ran.exit_code == 1
    assert ran.output.startswith("error: train-00000-of-00001.parquet is in none of")


def test_help_shows_an_example():
    assert "modular-manifolds compare --data cifar10" in invoke("compare", "--help").output
    assert "compare" in invoke("--help").output


def test_version():
    assert invoke("--version").output.startswith("modular-manifolds ")


def test_a_missing_extra_is_said_to_be_missing(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["modular-manifolds", "compare", "--epochs", "1"])
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for name in [name for name in sys.modules if name.startswith("modular_manifolds.experiments")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit, match=r"safetensors is missing(.|\n)*'modular-manifolds\[experiments\]'"):
        cli.main()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "runs").write_text("in the way")
    ran = invoke("compare", "--methods", "adamw", "--seeds", 1, "--epochs", 1, "--out", tmp_path)
    assert ran.exit_code == 1
    assert "error: " in ran.output.splitlines()[-1]
