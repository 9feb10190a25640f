import json
import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

from modular_manifolds.cli.app import app
from modular_manifolds.experiments.data import DataError, DataName
from modular_manifolds.experiments.erasure.findings import best, headline
from modular_manifolds.experiments.erasure.report import page
from modular_manifolds.experiments.erasure.setting import Setting
from modular_manifolds.experiments.erasure.study import Erasure, run_erasure
from modular_manifolds.experiments.erasure.updates import METHODS
from modular_manifolds.experiments.reports import Page, write_page
from modular_manifolds.experiments.study_display import StudyDisplay


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


@pytest.fixture
def make_erasure(tmp_path):
    def make(**settings):
        defaults = {"methods": tuple(METHODS), "settings": tuple(Setting), "lrs": (0.1, 1.0), "seeds": 1, "width": 12}
        sizes = {"steps": 3, "batch_size": 16, "rank_widths": (8, 16), "letters": "MM", "threads": 1, "out": tmp_path}
        return Erasure(data=DataName.DIGITS, data_dir=None, **{**defaults, **sizes, **settings})

    return make


def test_a_killed_study_carries_on_and_loses_nothing(data, make_erasure, tmp_path):
    undisturbed, killed = make_erasure(out=tmp_path / "a"), make_erasure(out=tmp_path / "b")
    recorder, rest, again = Recorder(), Recorder(), Recorder()
    whole = run_erasure(undisturbed, data, recorder)
    assert recorder.begun == 2 * 2 + 2 * 4 * 2
    with pytest.raises(KeyboardInterrupt):
        run_erasure(killed, data, Recorder(until_killed=7))
    found = run_erasure(killed, data, rest)
    assert rest.begun == recorder.begun - 7
    assert (found.outcomes, found.ranks) == (whole.outcomes, whole.ranks)
    run_erasure(killed, data, again)
    assert again.begun == 0


def test_a_study_grows_but_does_not_mix(data, make_erasure):
    run_erasure(make_erasure(settings=(Setting.CORRECTED,)), data, Recorder())
    more = Recorder()
    run_erasure(make_erasure(), data, more)
    assert more.begun == 2 + 4 * 2
    with pytest.raises(DataError, match="other width"):
        run_erasure(make_erasure(width=13), data, Recorder())
    with pytest.raises(DataError, match="other letters"):
        run_erasure(make_erasure(letters="a"), data, Recorder())


def test_the_report_holds_its_pictures(data, make_erasure):
    erasure = make_erasure()
    finished = run_erasure(erasure, data, Recorder())
    report = page(finished)
    figures = {figure.name: figure for section in report.sections for figure in section.figures}
    assert len(figures) == sum(len(section.figures) for section in report.sections) == 8
    sheet = figures["erasure-corrected"]
    assert len(re.findall(r'xlink:href="data:image/png;base64', sheet.drawing)) == 4 * 3
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", sheet.drawing)
    assert len(sheet.data.rows) == 4 * 2
    accuracies = {row[0]: row[2] for row in sheet.data.rows if row[1] == 0.1}
    assert f"{accuracies['adam']:.1f} %" in sheet.drawing
    assert all(len(row) == len(figure.data.columns) for figure in figures.values() for row in figure.data.rows)
    assert Page.from_json(report.to_json()) == report
    paths = write_page(report, erasure.out)
    assert "What one sees" in paths["report"].read_text()


def test_the_headline_is_of_each_method_where_it_trains_best(data, make_erasure):
    finished = run_erasure(make_erasure(), data, Recorder())
    for method, cell in best(finished, Setting.CORRECTED).items():
        assert f"{cell.left:.0%} with {method} updates" in headline(finished)
        accuracies = {
            trial.lr: outcome.test_accuracy
            for trial, outcome in finished.outcomes.items()
            if (trial.setting, trial.method) == (Setting.CORRECTED, method)
        }
        assert accuracies[cell.lr] == max(accuracies.values())


def invoke(*arguments):
    return CliRunner().invoke(app, ["erasure", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_command(tmp_path):
    options = ("--lrs", "1/8", "--steps", 2, "--width", 16, "--rank-widths", 8, "--methods", "plain,manifold")
    ran = invoke(*options, "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    assert f"report:  {tmp_path / 'report.html'}" in ran.output
    rows = json.loads((tmp_path / "results.json").read_text())["trials"]
    assert [(row["setting"], row["method"], row["lr"]) for row in rows] == [
        ("corrected", "plain", 0.125),
        ("corrected", "manifold", 0.125),
    ]
    ran = invoke(*options, "--out", tmp_path, "--as-published")
    assert ran.exit_code == 0, ran.output
    assert len(json.loads((tmp_path / "results.json").read_text())["trials"]) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "plain,muon"], "muon is unknown; there are plain"),
        (["--lrs", "1/0"], "no list of positive numbers"),
        (["--letters", " "], "leaves no ink"),
        (["--width", "4"], "8"),
        (["--data", "digits", "--data-dir", "."], "is for cifar10 only"),
        (["--data-dir", "tests"], "is in none of"),  # without --data, a folder means CIFAR-10
    ],
)
def test_bad_options_are_refused(arguments, message):
    ran = invoke(*arguments)
    assert ran.exit_code in (1, 2)
    assert message in ran.output
