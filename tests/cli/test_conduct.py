import io

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from modular_manifolds.cli.app import app
from modular_manifolds.cli.conduct import conduct
from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.robustness_runs import RunsError


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=40)


@pytest.mark.parametrize("error", [DataError, RunsError, OSError])
def test_what_the_user_can_mend_is_one_line(console, error):
    message = f"no file [a] in {'b' * 60}"
    with pytest.raises(typer.Exit) as stopped, conduct(console, "again"):
        raise error(message)
    assert stopped.value.exit_code == 1
    assert console.file.getvalue() == f"error: {message}\n"


def test_other_errors_are_not_hidden(console):
    with pytest.raises(ValueError, match="ours"), conduct(console, "again"):
        raise ValueError("ours")
    assert console.file.getvalue() == ""


@pytest.mark.parametrize(
    ("command", "work"),
    [
        ("compare", "compare.train_all"),
        ("soften", "compare.train_all"),
        ("geometries", "geometries.run_study"),
        ("tightness", "tightness.run_tightness"),
        ("transfer", "transfer.run_transfer"),
    ],
)
def test_a_stopped_command_says_how_to_carry_on(tmp_path, monkeypatch, command, work):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"modular_manifolds.cli.{work}", interrupted)
    ran = CliRunner().invoke(app, [command, "--seeds", "1", "--out", str(tmp_path / "[a] b")])
    assert ran.exit_code == 130
    said, line = ran.output.splitlines()[-2:]
    assert said == "Stopped; nothing is lost. To carry on:"
    assert line.startswith(f"    modular-manifolds {command} --data digits ")
    assert line.endswith(f"--out '{tmp_path}/[a] b'")
