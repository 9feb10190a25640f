import re

import pytest
from typer.testing import CliRunner

from modular_manifolds.cli.app import app
from modular_manifolds.experiments.reports import find_runs, write_page
from tests.experiments.reports.test_page import References


def invoke(*arguments):
    return CliRunner().invoke(app, ["report", *map(str, arguments)], env={"COLUMNS": "200"})


@pytest.fixture
def runs(make_page, tmp_path):
    """Two runs of one recipe with figures of one name, and one of another recipe inside the second."""
    folder = tmp_path / "runs"
    write_page(make_page(headline="First."), folder / "a")
    write_page(make_page(headline="Second."), folder / "b")
    write_page(make_page(recipe="robustness", headline="Third."), folder / "b" / "robustness")
    return folder


def test_runs_are_found_once_each_in_the_order_given(runs):
    assert find_runs([runs]) == [runs / "a", runs / "b", runs / "b" / "robustness"]
    assert find_runs([runs / "b", runs]) == [runs / "b", runs / "b" / "robustness", runs / "a"]


def test_several_runs_become_one_file(runs, tmp_path):
    out = tmp_path / "deep" / "all.html"
    ran = invoke(runs, "--out", out)
    assert ran.exit_code == 0, ran.output
    assert ran.output.splitlines()[-1] == f"report:  {out}"
    text = out.read_text()
    headlines = re.findall(r"(First|Second|Third)\.</h2>", text)
    assert headlines == ["First", "Second", "Third"]
    found = References(text)
    assert len(set(found.ids)) == len(found.ids)
    assert set(found.used) <= set(found.ids)
    assert {"compare", "compare-2", "robustness", "compare-curve", "compare-2-curve"} <= set(found.ids)
    assert {"compare", "compare-2", "robustness"} <= set(found.used)
    assert found.fetched == []


def test_one_run_is_a_page_of_its_own(runs, tmp_path):
    assert invoke(runs / "a", "--out", tmp_path / "one.html").exit_code == 0
    assert (tmp_path / "one.html").read_text() == (runs / "a" / "report.html").read_text()


def test_the_default_is_beside_the_runs(runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = invoke("runs")
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "runs" / "report.html").is_file()


def test_what_cannot_be_joined_is_one_clear_line(runs, tmp_path):
    (tmp_path / "empty").mkdir()
    none = invoke(runs, tmp_path / "empty")
    assert none.exit_code == 1
    assert "a folder below it holds a report" in none.output
    assert f"modular-manifolds compare --out {tmp_path / 'empty'}" in none.output
    own = invoke(runs, "--out", runs / "a" / "report.html")
    assert own.exit_code == 1
    assert "would be lost" in own.output
    (runs / "a" / "page.json").write_text("{")
    damaged = invoke(runs)
    assert damaged.exit_code == 1
    assert "is damaged" in damaged.output
    assert invoke(tmp_path / "nowhere").exit_code == 2
