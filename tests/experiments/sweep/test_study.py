import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from modular_manifolds.cli.app import app
from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.reports import read_page, write_page
from modular_manifolds.experiments.sweep.formats import WeightFormat
from modular_manifolds.experiments.sweep.report import best_table, page_of
from modular_manifolds.experiments.sweep.study import run_sweep
from modular_manifolds.experiments.sweep.text_methods import TEXT_METHODS
from modular_manifolds.experiments.task import TaskName


def trials(sweep):
    """Without what depends on the machine."""
    rows = json.loads(sweep.results_path.read_text())["trials"]
    for one in rows:
        del one["outcome"]["seconds"], one["outcome"]["optimizer_seconds"]
    return sorted(rows, key=str)


def test_a_sweep_trains_the_grid_once(data, make_sweep, recorder):
    sweep, first = make_sweep(weight_decays=(0.0, 0.1), weights=(WeightFormat.FLOAT32, WeightFormat.FP8)), recorder()
    found = run_sweep(sweep, data, first)
    assert first.trained == len(trials(sweep)) == 2 * 2 * (2 + 2 * 2)
    assert [(c.method, str(c.weights), c.weight_decay) for c in found.curves] == [
        (method, weights, decay)
        for weights in ("float32", "fp8")
        for method, decay in (("manifold-muon", None), ("adamw", 0.0), ("adamw", 0.1))
    ]
    assert all(len(outcomes) == 2 for c in found.curves for outcomes in c.outcomes.values())
    again, more = recorder(), recorder()
    assert run_sweep(sweep, data, again) == found
    assert again.trained == 0
    run_sweep(replace(sweep, seeds=3), data, more)
    assert more.trained == 2 * (2 + 2 * 2)


def test_a_killed_sweep_carries_on_and_loses_nothing(data, make_sweep, recorder, tmp_path):
    undisturbed, killed = make_sweep(out=tmp_path / "a"), make_sweep(out=tmp_path / "b")
    run_sweep(undisturbed, data, recorder())
    with pytest.raises(KeyboardInterrupt):
        run_sweep(killed, data, recorder(3))
    rest = recorder()
    run_sweep(killed, data, rest)
    assert rest.trained == 8 - 3
    assert trials(killed) == trials(undisturbed)


def test_workers_find_the_same(data, make_sweep, recorder, tmp_path):
    alone, together = make_sweep(out=tmp_path / "a"), make_sweep(out=tmp_path / "b", workers=2)
    first = run_sweep(alone, data, recorder())
    second = run_sweep(together, data, recorder(0))
    assert trials(together) == trials(alone)
    assert [curve.best_cost for curve in first.curves] == [curve.best_cost for curve in second.curves]


def test_results_of_other_settings_are_refused(data, make_sweep, image_course, recorder):
    run_sweep(make_sweep(seeds=1), data, recorder())
    with pytest.raises(DataError, match="other epochs"):
        run_sweep(make_sweep(course=replace(image_course, epochs=1)), data, recorder())


def test_the_report_of_a_text_sweep(text, text_course, make_sweep, recorder, tmp_path):
    lrs = {"adamw": (0.003, 1e30), "muon": (0.02,), "stiefel": (0.02,)}
    formats = (WeightFormat.FLOAT32, WeightFormat.BFLOAT16)
    sweep = make_sweep(data=TaskName.TEXT, course=text_course, lrs=lrs, seeds=1, weights=formats)
    found = run_sweep(sweep, text, recorder())
    page = page_of(sweep, text, found)
    paths = write_page(page, tmp_path)
    assert read_page(tmp_path) == page
    assert paths["report"].is_file()
    titles = [section.title for section in page.sections]
    assert titles == [
        "Held-out loss against learning rate, float32",
        "Held-out loss against learning rate, bfloat16",
        "Weights with few bits",
        "Training at the best learning rate, float32",
        "Inside the networks, float32",
        "What they write",
        "All trials",
    ]
    figures = [figure for section in page.sections for figure in section.figures]
    assert len({figure.name for figure in figures}) == len(figures) == 2 * 2 + 2 + 2 + 6
    assert all(figure.data is not None and figure.data.rows for figure in figures)
    assert all(len(row) == len(f.data.columns) for f in figures for row in f.data.rows)
    assert all(len(row) == len(t.columns) for s in page.sections for t in s.tables for row in t.rows)
    best = page.sections[0].tables[0].rows
    assert [row[0] for row in best] == ["adamw", "muon", "stiefel"]
    assert [row[-1] for row in best] == ["1 of 2", "0 of 1", "0 of 1"]
    assert len(page.sections[-1].tables[0].rows) == 2 * 4
    assert [name for name, _ in page.sections[5].preformatted] == ["adamw", "muon", "stiefel"]
    assert best_table(found).row_count == 6


def test_a_sweep_in_which_everything_diverges_is_reported(data, make_sweep, recorder, tmp_path):
    sweep = make_sweep(lrs={"adamw": (1e30,)}, seeds=1)
    page = page_of(sweep, data, run_sweep(sweep, data, recorder()))
    assert page.findings[-1].value == "1 of 1"
    write_page(page, tmp_path)


def invoke(*arguments):
    return CliRunner().invoke(app, ["sweep", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_command(tmp_path):
    options = ("--methods", "adamw,manifold-muon", "--lrs", "0.1", "--lrs", "adamw=0.003,0.01", "--epochs", 1)
    ran = invoke(*options, "--seeds", 1, "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    for name in ("results.json", "report.html"):
        assert str(tmp_path / name) in ran.output
        assert (tmp_path / name).is_file()
    rows = json.loads((tmp_path / "results.json").read_text())["trials"]
    assert [(row["method"], row["lr"], row["weight_decay"]) for row in rows] == [
        ("adamw", 0.003, 0.01),
        ("adamw", 0.01, 0.01),
        ("manifold-muon", 0.1, None),
    ]
    again = invoke(*options, "--widths", "4", "--out", tmp_path)
    assert again.exit_code == 1
    assert "error: " in again.output.splitlines()[-1]
    assert "sweep --data cifar10 --data-dir" in invoke("--help").output


def test_the_command_on_text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("to be, or not to be: that is the question. " * 40)
    small = ("--layers", 1, "--heads", 2, "--width", 8, "--steps", 3, "--warmup", 1, "--seeds", 1)
    ran = invoke("--data", "text", "--file", path, "--methods", "adamw", "--lrs", "0.01", *small, "--out", tmp_path)
    assert ran.exit_code == 0, ran.output
    (row,) = json.loads((tmp_path / "results.json").read_text())["trials"]
    assert (row["recipe"], row["weight_decay"]) == (TEXT_METHODS["adamw"].summary, 0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "sgd"], "sgd is unknown; there are manifold-muon"),
        (["--data", "text", "--methods", "spel"], "spel is unknown; there are adamw"),
        (["--lrs", "fast"], "no list of positive numbers"),
        (["--methods", "adamw", "--lrs", "muon=0.1"], "'muon' is not among the methods adamw"),
        (["--lrs", "0.1", "--lrs", "0.2"], "for all methods are given twice"),
        (["--weights", "fp4"], "fp4 is unknown; there are float32, bfloat16, bfloat16-pure, fp8"),
        (["--methods", "muon", "--weight-decays", "0.1"], "not among the methods"),
        (["--weight-decays", "-1"], "no list of positive numbers or 0"),
        (["--data-dir", "."], "is for cifar10 only"),
        (["--file", __file__], "is for text only"),
        (["--steps", "3"], "is for text only"),
        (["--width", "3"], "is for text only"),
        (["--positions", "rotary"], "is for text only"),
        (["--data", "text", "--positions", "learned"], "manifold-muon, normalised: has others of its own"),
        (["--data", "text", "--epochs", "3"], "is for images only"),
        (["--data", "text", "--momentum", "0"], "is for images only"),
        (["--data", "text", "--width", "12", "--heads", "4"], "12 features do not make 4 heads of an even size"),
        (["--data", "text", "--steps", "100"], "100 steps leave none of 100"),
        (["--epochs", "1", "--batch-size", "500", "--warmup", "3"], "3 steps leave none of 3"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    ran = invoke(*arguments)
    assert ran.exit_code == 2
    assert message in ran.output


def test_an_interrupted_command_says_how_to_carry_on(make_sweep, text_course):
    command = make_sweep().command()
    assert command.startswith("modular-manifolds sweep --data digits --methods manifold-muon,adamw")
    assert "--lrs manifold-muon=0.1,0.3 --lrs adamw=0.01,0.1" in command
    assert "--weight-decays 0.01 --weights float32 --seeds 2 --widths 6,4 --epochs 2 --momentum 0.0" in command
    on_text = make_sweep(data=TaskName.TEXT, course=text_course, lrs={"muon": (0.02,)}).command()
    assert "--layers 2 --heads 2 --width 16 --positions learned --steps 10 --batch-size 4 --warmup 2" in on_text
    assert "--weight-decays" not in on_text
    assert "--epochs" not in on_text
