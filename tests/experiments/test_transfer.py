import json
import math

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from modular_manifolds.cli.app import app
from modular_manifolds.experiments.data import DataError
from modular_manifolds.experiments.reports import read_page
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.task import TaskName
from modular_manifolds.experiments.text import CONTEXT, LARGEST, Text, load_text
from modular_manifolds.experiments.transfer import Transfer, run_transfer
from modular_manifolds.experiments.transfer_findings import Curve, Family, Findings
from modular_manifolds.experiments.transfer_images import Images
from modular_manifolds.experiments.transfer_methods import METHODS
from modular_manifolds.experiments.transfer_report import write_report
from modular_manifolds.experiments.transfer_search import FURTHEST, wanted
from modular_manifolds.experiments.transfer_table import tables, write_markdown
from modular_manifolds.experiments.transfer_trial import Course, Outcome, Sweep, Trial, read_row, row, train

COURSE = Course(width=6, depth=2, steps=12, batch_size=16)


class Recorder(StudyDisplay):
    """Counts the trials that are trained here; can be told to fail before one, as a killed process would."""

    def __init__(self, trials_until_killed=None):
        super().__init__(Console(quiet=True))
        self.trained = 0
        self._left = trials_until_killed

    def started(self, what, steps):
        if self.trained == self._left:
            raise KeyboardInterrupt
        self.trained += 1


@pytest.fixture(scope="module")
def images(data):
    return Images.of(data)


@pytest.fixture(scope="module")
def text():
    return Text.of("to be, or not to be: that is the question. " * 60, "a speech")


@pytest.fixture
def make_study(tmp_path):
    def make(**settings):
        course = Course(width=6, depth=2, steps=5, batch_size=16)
        sizes = {"methods": ("adamw", "muon"), "widths": (4, 8), "depths": (3,), "course": course}
        extent = {"reach": 1, "seeds": 2, "threads": 1, "workers": 1, "out": tmp_path}
        files = {"data": TaskName.DIGITS, "data_dir": None, "file": None}
        return Transfer(**{**files, **sizes, **extent, **settings})

    return make


def trials(study):
    """Without what depends on the machine."""
    rows = json.loads(study.results_path.read_text())["trials"]
    for one in rows:
        del one["outcome"]["step_milliseconds"]
    return sorted(rows, key=str)


def searched(losses, sizes, start, reach):
    """The learning rates that a search ends up trying, by size."""
    known = {}
    while todo := wanted(sizes, start, reach, lambda *key: known.get(key)):
        for size, lr in todo:
            assert (size, lr) not in known
            known[size, lr] = losses(size, lr)
    return {size: sorted(lr for s, lr in known if s == size) for size in sizes}


def valley(bottoms):
    return lambda size, lr: (math.log2(lr) - bottoms[size]) ** 2


def powers(low, high):
    return [2.0**k for k in range(low, high + 1)]


def test_a_search_ends_with_the_best_rate_inside():
    assert searched(valley({1: 0}), [1], 1.0, 2) == {1: powers(-2, 2)}
    assert searched(valley({1: 4}), [1], 1.0, 2) == {1: powers(-2, 5)}
    assert searched(valley({1: -3}), [1], 2.0, 1) == {1: powers(-4, 2)}


def test_a_search_starts_from_the_size_before_and_keeps_trying_the_first_rate():
    found = searched(valley({1: 0, 2: 1, 3: 5}), [1, 2, 3], 1.0, 1)
    assert found == {1: powers(-1, 1), 2: powers(-1, 2), 3: powers(0, 6)}
    assert searched(valley({1: 0, 2: 3, 3: 3}), [1, 2, 3], 1.0, 1)[3] == [1.0, *powers(2, 4)]


def test_a_search_flees_from_divergence_and_gives_up_where_there_is_no_end():
    assert searched(lambda size, lr: math.inf if lr > 2**-3 else lr, [1], 1.0, 1)[1][0] == 2.0**-FURTHEST
    assert searched(lambda size, lr: math.inf if lr > 2**-3 else 1 / lr, [1], 1.0, 1) == {1: powers(-4, 1)}
    assert searched(lambda size, lr: 1 / lr, [1], 1.0, 1) == {1: powers(-1, FURTHEST)}


def outcome(train, test=1.0):
    return Outcome(train, test, 1.0)


def test_what_a_family_says():
    first = Curve({0.5: (outcome(2.0),), 1.0: (outcome(1.0),), 2.0: (outcome(3.0),)})
    last = Curve({1.0: (outcome(1.5),), 2.0: (outcome(1.2),), 4.0: (outcome(0.5),), 8.0: (outcome(math.inf),)})
    assert (first.best, first.inside) == (1.0, True)
    family = Family({32: first, 64: last})
    assert family.shift == 2
    assert family.kept_lr == 1.0
    assert family.price == pytest.approx(1.0)
    assert Family({32: last, 64: first}).shift == 2
    assert Family({32: last, 64: Curve({2.0: (outcome(1.0, 0.1),), 4.0: (outcome(0.5, 0.2),)})}).shift_by_test == 1
    assert math.isnan(Family({32: last, 64: first}).price)
    assert Family({32: first}).shift == 0
    assert Family({32: first}).price == 0


def test_seeds_are_averaged_and_one_that_diverges_spoils_its_rate():
    both = Curve({1.0: (outcome(1.0, 5.0), outcome(3.0, 5.0)), 2.0: (outcome(0.0), outcome(math.inf))})
    assert (both.train_loss(1.0), both.test_loss(1.0)) == (2.0, 5.0)
    assert both.best == 1.0
    assert not both.inside


def test_rows_of_results_come_back():
    for loss in (0.25, math.inf):
        trial, done = Trial(Sweep.DEPTH, 4, "muon", 2.0**-7, 1), Outcome(loss, 2 * loss, 3.0)
        assert read_row(json.loads(json.dumps(row(trial, done)))) == (trial, done)
    assert "diverged" in Outcome(math.inf, math.inf, 1.0).summary


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sweep", Sweep)
@pytest.mark.parametrize("kind", ["images", "text"])
def test_every_method_learns_and_repeats(request, method, sweep, kind):
    task = request.getfixturevalue(kind)
    trial = Trial(sweep, 8 if sweep is Sweep.WIDTH else 2, method, METHODS[method].lr, seed=1)
    losses = []
    done = train(trial, task, COURSE, losses.append)
    assert len(losses) == COURSE.steps
    assert done.train_loss == losses[-1] < losses[0]
    assert done.test_loss < losses[0]
    assert train(trial, task, COURSE).train_loss == done.train_loss
    other = Trial(trial.sweep, trial.size, method, trial.lr, seed=2)
    assert train(other, task, COURSE).train_loss != done.train_loss


def test_the_rate_falls_to_nothing(images, monkeypatch):
    """A step at the rate of every step in turn: AdamW moves each entry by about that."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(self, closure=None):
        seen.append(self.param_groups[0]["lr"])
        return step(self, closure)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    train(Trial(Sweep.WIDTH, 4, "adamw", 0.5, 0), images, Course(4, 2, 4, 8))
    assert seen == pytest.approx([0.5, 0.375, 0.25, 0.125])


def test_a_run_that_diverges_is_infinitely_bad(images):
    done = train(Trial(Sweep.WIDTH, 4, "adamw", 1e25, 0), images, COURSE)
    assert done.train_loss == done.test_loss == math.inf


@pytest.mark.parametrize("kind", ["images", "text"])
def test_methods_have_the_same_weights_to_train(request, kind):
    """Up to the norms and the table of positions, which the modular GPT does without."""
    task = request.getfixturevalue(kind)
    for trial in (Trial(Sweep.WIDTH, 64, "", 1.0, 0), Trial(Sweep.DEPTH, 3, "", 1.0, 0)):
        shapes = {
            method: sorted(
                tuple(p.shape)
                for p in COURSE.network(Trial(trial.sweep, trial.size, method, 1.0, 0), task).parameters()
                if p.ndim == 2
                and tuple(p.shape) != (CONTEXT, trial.size if trial.sweep is Sweep.WIDTH else COURSE.width)
            )
            for method in METHODS
        }
        assert shapes["modular"] == shapes["muon"] == shapes["adamw"]


@pytest.mark.parametrize("kind", ["images", "text"])
def test_modular_weights_stay_on_their_manifolds_and_budgets_hardly_know_the_depth(request, kind):
    task = request.getfixturevalue(kind)
    budgets = []
    for depth in (2, 6):
        model = COURSE.network(Trial(Sweep.DEPTH, depth, "modular", 1.0, 0), task)
        (optimizer,) = METHODS["modular"].optimizers(model, 0.5)
        for _ in range(3):
            inputs, targets = task.batch(4, torch.Generator().manual_seed(0))
            loss = torch.nn.functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for group in model.param_groups():
            for name, p in group["params"]:
                assert float(group["geometry"].manifold.violation(p.detach()).max()) < 1e-5, name
        budgets.append([round(group["budget"], 9) for group in model.param_groups()])
    if kind == "images":
        assert set(budgets[0]) == set(budgets[1])
    assert budgets[0][-1] == budgets[1][-1]
    assert 1 <= max(budgets[0]) / max(budgets[1]) <= math.exp(7 / 3)


def test_muon_has_the_linear_layers_and_adamw_the_rest(text):
    model = COURSE.network(Trial(Sweep.DEPTH, 2, "muon", 1.0, 0), text)
    muon, adamw = METHODS["muon"].optimizers(model, 0.1)
    assert len(muon.param_groups[0]["params"]) == 2 * 6 + 1
    assert len(adamw.param_groups[0]["params"]) == 2 + 2 * 2 + 1
    assert muon.param_groups[0]["lr"] == adamw.param_groups[0]["lr"] == 0.1


def test_images_are_scaled_and_drawn_from_the_training_set(images):
    assert float(images.train.inputs.square().mean()) == pytest.approx(1)
    inputs, labels = images.batch(7, torch.Generator().manual_seed(0))
    again, _ = images.batch(7, torch.Generator().manual_seed(0))
    assert torch.equal(inputs, again)
    known = {(tuple(x.tolist()), int(y)) for x, y in zip(images.train.inputs, images.train.labels, strict=True)}
    assert {(tuple(x.tolist()), int(y)) for x, y in zip(inputs, labels, strict=True)} <= known
    assert sum(len(labels) for _, labels in images.held_out()) == len(images.test)


def test_targets_of_a_text_are_one_character_on_and_its_end_is_held_out():
    text = Text.of("".join(chr(33 + i % 90) for i in range(9000)) + "~" * 1000, "a range")
    for inputs, targets in (text.batch(5, torch.Generator().manual_seed(0)), *text.held_out()):
        assert inputs.shape == targets.shape
        assert inputs.shape[1] == CONTEXT
        assert torch.equal(inputs[:, 1:], targets[:, :-1])
    assert text.classes == 91
    assert (text.train.max(), text.validation.min()) == (89, 90)
    assert len(text.validation) == 1000


def test_texts_come_from_a_file_or_from_python_itself(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("é" * 700 + "a" * 700)
    assert load_text(path).classes == 2
    path.write_text("short")
    with pytest.raises(DataError, match="5 characters, expected 650 or more"):
        load_text(path)
    with pytest.raises(DataError, match="cannot be read"):
        load_text(tmp_path)
    own = load_text(None)
    assert len(own.train) + len(own.validation) == LARGEST
    assert own.classes < 128


def test_a_study_finds_the_best_rate_of_every_network(images, make_study):
    study, recorder = make_study(), Recorder()
    found = run_transfer(study, images, recorder)
    assert len(trials(study)) == recorder.trained
    assert found.sweeps == (Sweep.WIDTH, Sweep.DEPTH)
    assert found.methods == ("adamw", "muon")
    for family in found.families.values():
        assert all(family.kept_lr in one.outcomes and len(one.outcomes) >= 3 for one in family.curves.values())
        assert all(one.inside for one in family.curves.values())
        assert all(len(seeds) == 2 for one in family.curves.values() for seeds in one.outcomes.values())
    again = Recorder()
    run_transfer(study, images, again)
    assert again.trained == 0
    more = Recorder()
    run_transfer(make_study(seeds=3), images, more)
    assert 0 < more.trained < recorder.trained


def test_a_killed_study_carries_on_and_loses_nothing(images, make_study, tmp_path):
    undisturbed, killed = make_study(out=tmp_path / "a"), make_study(out=tmp_path / "b")
    recorder, rest = Recorder(), Recorder()
    run_transfer(undisturbed, images, recorder)
    with pytest.raises(KeyboardInterrupt):
        run_transfer(killed, images, Recorder(trials_until_killed=9))
    run_transfer(killed, images, rest)
    assert rest.trained == recorder.trained - 9
    assert trials(killed) == trials(undisturbed)


def test_workers_find_the_same(images, make_study, tmp_path):
    alone, together = make_study(out=tmp_path / "a", depths=()), make_study(out=tmp_path / "b", depths=(), workers=2)
    run_transfer(alone, images, Recorder())
    run_transfer(together, images, Recorder(trials_until_killed=0))
    assert trials(together) == trials(alone)


def test_results_of_other_settings_are_refused(images, make_study):
    run_transfer(make_study(seeds=1, depths=()), images, Recorder())
    with pytest.raises(DataError, match="other steps"):
        run_transfer(make_study(course=Course(6, 2, 4, 16)), images, Recorder())


def test_tables_and_figure(images, make_study, tmp_path):
    steady = Family({4: Curve({1.0: (outcome(1.1),), 2.0: (outcome(0.9),), 4.0: (outcome(1.0),)})})
    moving = Family({4: Curve({1.0: (outcome(0.2),), 2.0: (outcome(math.inf),)})})
    found = Findings("toy", 1.5, {(Sweep.WIDTH, "modular"): steady, (Sweep.WIDTH, "adamw"): moving})
    (table,) = tables(found)
    assert table.rows[0] == ("modular", "2^1: 0.9000", "1x", "1x", "+0.0000")
    assert table.rows[1] == ("adamw", "2^0: 0.2000 (at the end of those tried)", "1x", "1x", "+0.0000")
    assert "| adamw |" in write_markdown(found, tmp_path).read_text()
    study = make_study()
    paths = write_report(study, images, found)
    drawing = paths["figure"].read_text()
    assert drawing.startswith("<svg")
    assert "modular by width: stays" in drawing
    assert paths["as PNG"].read_bytes().startswith(b"\x89PNG")
    page = read_page(study.out)
    assert page.headline == "How far the best learning rate moves from width 4 to 4: modular 1×, adamw 1×."
    moves, best = (table for section in page.sections[:2] for table in section.tables)
    assert [row[1] for row in moves.rows] == ["modular", "adamw"]
    assert [row[-1] for row in best.rows] == ["yes", "no: the outermost tried"]
    (figure,) = page.figures
    assert [row[3] for row in figure.data.rows] == [1.0, 2.0, 4.0, 1.0, 2.0]
    assert [row[5] for row in figure.data.rows] == [1.1, 0.9, 1.0, 0.2, "diverged"]


def invoke(*arguments):
    return CliRunner().invoke(app, ["transfer", *map(str, arguments)], env={"COLUMNS": "200"})


def test_the_command(tmp_path):
    short = ("--steps", 3, "--seeds", 1, "--reach", 1, "--methods", "adamw", "--out", tmp_path)
    ran = invoke("--widths", "4,8", "--depths", "none", *short)
    assert ran.exit_code == 0, ran.output
    for name in ("results.json", "tables.md", "transfer.svg", "transfer.png", "report.html"):
        assert str(tmp_path / name) in ran.output
        assert (tmp_path / name).is_file()
    again = invoke("--widths", "4", "--depth", 5, *short)
    assert again.exit_code == 1
    assert "error: " in again.output.splitlines()[-1]
    assert "transfer --data cifar10 --data-dir" in invoke("--help").output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "sgd"], "sgd is unknown; there are modular, adamw, muon"),
        (["--widths", "8,-1"], "no list of positive numbers"),
        (["--widths", "none", "--depths", "none"], "neither widths nor depths"),
        (["--data-dir", "."], "is for cifar10 only"),
        (["--file", __file__], "is for text only"),
    ],
)
def test_bad_options_are_refused(arguments, message):
    ran = invoke(*arguments)
    assert ran.exit_code == 2
    assert message in ran.output


def test_an_interrupted_command_says_how_to_carry_on(make_study):
    command = make_study(depths=()).command()
    assert command.startswith(
        "modular-manifolds transfer --data digits --methods adamw,muon --widths 4,8 --depths none"
    )
    assert "--width 6 --depth 2 --steps 5 --batch-size 16 --reach 1 --seeds 2" in command
    assert "--data-dir" not in command
