import json
from xml.etree import ElementTree

import pytest
from rich.console import Console

from modular_manifolds.experiments.comparison import train_all
from modular_manifolds.experiments.comparison_report import write_report
from modular_manifolds.experiments.display import PlainDisplay
from modular_manifolds.experiments.methods import METHODS
from modular_manifolds.experiments.reports import read_page

FIGURES = ["accuracy", "step-time", "train-loss", "test-loss"] + [
    f"singular-values-layers.{layer}.weight" for layer in range(3)
]


@pytest.fixture(scope="module", params=[1, 2], ids=["one seed", "two seeds"])
def out(request, data, make_comparison_in, tmp_path_factory):
    settings = {"methods": tuple(METHODS), "lrs": None, "seeds": request.param, "epochs": 2, "batch_size": 25}
    comparison = make_comparison_in(tmp_path_factory.mktemp("out"), **settings)
    write_report(train_all(comparison, data, PlainDisplay(Console(quiet=True))))
    return comparison.out


def test_every_figure_has_its_numbers(out):
    page = read_page(out)
    assert [figure.name for figure in page.figures] == FIGURES
    assert all(figure.data is not None and figure.data.rows for figure in page.figures)
    assert page.recipe == "compare"


def test_a_row_a_run_and_a_row_a_method(out):
    page = read_page(out)
    best, methods, runs = (table for section in page.sections for table in section.tables)
    assert [row[0] for row in best.rows] == [row[0] for row in methods.rows] == list(METHODS)
    assert len(runs.rows) == len(json.loads((out / "results.json").read_text()))
    assert best.highlight == (0,)


def test_the_page_says_what_was_compared_and_how_to_repeat_it(out):
    text = (out / "report.html").read_text()
    for method in METHODS:
        assert f'<th scope="row">{method}</th>' in text
    assert f"--out {out}" in text
    assert "chosen on the test set" in text
    assert "nan" not in text


def test_figures_are_files_too(out):
    assert {path.stem for path in (out / "plots").iterdir()} == set(FIGURES)
    for path in (out / "plots").iterdir():
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_diverged_run_is_reported_as_such(data, make_comparison):
    comparison = make_comparison(methods=("adamw", "muon"), lrs=(1e30,), seeds=1, epochs=1)
    text = write_report(train_all(comparison, data, PlainDisplay(Console(quiet=True)))).read_text()
    assert "diverged" in text
