import json
import math
from dataclasses import replace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from modular_manifolds.cli.app import app
from modular_manifolds.experiments.data import DataError, DataName
from modular_manifolds.experiments.reports import Page, write_page
from modular_manifolds.experiments.solvers.findings import Findings, headline
from modular_manifolds.experiments.solvers.report import page
from modular_manifolds.experiments.solvers.study import SolverStudy, run_solvers
from modular_manifolds.experiments.solvers.trial import Outcome, Trial, read_row, write_row
from modular_manifolds.experiments.study_display import StudyDisplay

THREE = ("one-step", "ascent-30", "exact")


class Recorder(StudyDisplay):
    """Counts trials that begin; can be told to fail before one of them, as a killed process would."""

    def __init__(self, until_killed=None):
        super().__init__(Console(quiet=True))
        self.begun = 0
        self._left = until_killed

    def started(self, what, steps):
        if self.begun == self._left:
            raise KeyboardInterrupt
        self.begun += 1

    def stepped(self, loss):
        assert math.isfinite(loss)


@pytest.fixture
def make_study(tmp_path):
    def make(**settings):
        defaults = {"solvers": THREE, "lrs": (0.03, 0.1), "seeds": 2, "slow_seeds": 1, "epochs": 1, "batch_size": 16}
        sizes = {"widths": (6, 4), "threads": 1, "out": tmp_path}
        return SolverStudy(data=DataName.DIGITS, data_dir=None, **{**defaults, **sizes, **settings})

    return make


def outcome(test, gap=0.0, loss=1.0):
    return Outcome(gap, gap, (gap,), 0.0, 1.0, loss, 1.0, 60.0, test, 0.0)


def without_times(outcomes):
    return {trial: replace(each, step_milliseconds=0) for trial, each in outcomes.items()}


def findings(**accuracies):
    """At one learning rate, an accuracy a seed."""
    return Findings.of(
        {
            Trial(solver.replace("_", "-"), 0.1, seed): outcome(value, gap=0.0 if solver == "exact" else 0.2)
            for solver, values in accuracies.items()
            for seed, value in enumerate(values)
        }
    )


def test_slow_solvers_have_fewer_seeds(make_study):
    seeds = {solver: {t.seed for t in make_study().trials() if t.solver == solver} for solver in THREE}
    assert seeds == {"one-step": {0, 1}, "ascent-30": {0}, "exact": {0, 1}}


def test_a_killed_study_carries_on_and_loses_nothing(data, make_study, tmp_path):
    undisturbed, killed = make_study(out=tmp_path / "a"), make_study(out=tmp_path / "b")
    recorder, rest, again = Recorder(), Recorder(), Recorder()
    whole = run_solvers(undisturbed, data, recorder)
    assert recorder.begun == 10
    with pytest.raises(KeyboardInterrupt):
        run_solvers(killed, data, Recorder(until_killed=4))
    found = run_solvers(killed, data, rest)
    assert rest.begun == 6
    assert without_times(found) == without_times(whole)
    run_solvers(killed, data, again)
    assert again.begun == 0
    with pytest.raises(DataError, match="other layers"):
        run_solvers(make_study(out=tmp_path / "a", widths=(5, 4)), data, Recorder())


def test_outcomes_survive_json():
    for each in (outcome(50.0), outcome(50.0, loss=math.nan)):
        trial, read = read_row(json.loads(json.dumps(write_row(Trial("exact", 0.1, 0), each))))
        assert trial == Trial("exact", 0.1, 0)
        assert str(read) == str(each)  # nan is not equal to itself


def test_differences_are_taken_seed_by_seed():
    found = findings(exact=[50, 60, 70], one_step=[49, 59, 69], ascent_30=[53])
    assert found.difference("one-step", 0.1, "test_accuracy").mean == -1
    assert found.difference("one-step", 0.1, "test_accuracy").std == 0
    slow = found.difference("ascent-30", 0.1, "test_accuracy")
    assert (slow.mean, slow.count) == (3, 1)


def test_noise_is_two_standard_errors_of_a_difference():
    found = findings(exact=[50, 50, 50], one_step=[49, 50, 51], admm=[48, 50, 52], fast=[50, 50, 50], ascent_30=[51])
    # variances 1 and 4, median 2.5; of runs that never part from the exact ones nothing is learnt
    assert found.noise("exact", 0.1, "test_accuracy") == pytest.approx(2 * math.sqrt(2.5 / 3))
    assert found.noise("admm", 0.1, "test_accuracy") == pytest.approx(2 * math.sqrt(4 / 3))
    assert found.noise("ascent-30", 0.1, "test_accuracy") == pytest.approx(2 * math.sqrt(2.5))
    assert math.isnan(findings(exact=[50, 51], one_step=[49, 52]).noise("exact", 0.1, "test_accuracy"))


def test_the_headline_says_which_way_it_falls():
    none = headline(findings(exact=[50, 51, 52], one_step=[51, 50, 52]))
    assert "does not matter" in none
    assert "20%" in none
    one = headline(findings(exact=[50, 51, 52], one_step=[40, 42, 43], admm=[50, 51, 53]))
    assert "one-step (-9.33 points at a gap of 20%) ends apart" in one
    assert "the other 1" in one
    assert "Fewer than 3 seeds do not say" in headline(findings(exact=[50, 51], one_step=[40, 42]))


def test_report(data, make_study):
    study = make_study()
    found = Findings.of(run_solvers(study, data, Recorder()))
    report = page(study, data, found)
    figures = [figure for section in report.sections for figure in section.figures]
    assert len({figure.name for figure in figures}) == len(figures) == 5
    assert all(len(row) == len(figure.data.columns) for figure in figures for row in figure.data.rows)
    assert [row[2] for row in figures[0].data.rows] == [2, 1, 2]
    assert Page.from_json(report.to_json()) == report
    write_page(report, study.out)
    assert (study.out / "plots" / "time.svg").read_text().startswith("<svg")


def invoke(*arguments):
    return CliRunner().invoke(app, ["solvers", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_command(tmp_path):
    options = ("--solvers", "one-step,exact", "--lrs", "0.1", "--seeds", 1, "--epochs", 1, "--out", tmp_path)
    ran = invoke(*options)
    assert ran.exit_code == 0, ran.output
    assert f"report:  {tmp_path / 'report.html'}" in ran.output
    rows = json.loads((tmp_path / "results.json").read_text())["trials"]
    assert [row["solver"] for row in rows] == ["one-step", "exact"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--solvers", "one-step"], "exact must be among them"),
        (["--solvers", "exact,newton"], "newton is unknown"),
        (["--seeds", "2", "--slow-seeds", "3"], "is more than --seeds 2"),
        (["--lrs", "0"], "no list of positive numbers"),
        (["--data-dir", "."], "is for cifar10 only"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    ran = invoke(*arguments)
    assert ran.exit_code == 2
    assert message in ran.output
