import json
import math
from dataclasses import replace

import pytest
import torch
from rich.console import Console

import modular_manifolds as mm
from modular_manifolds.experiments import study as study_module
from modular_manifolds.experiments.candidates import CANDIDATES, REFERENCE
from modular_manifolds.experiments.data import DataError, DataName
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.reports import read_page
from modular_manifolds.experiments.study import Study, hold_out, run_study
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.study_findings import ALL, Cell, Findings
from modular_manifolds.experiments.study_report import write_report
from modular_manifolds.experiments.study_table import TOGETHER, accuracy_table, closing_lines, cost_table
from modular_manifolds.experiments.trial import Choice, Outcome, Trial, train

PAIR = (REFERENCE, "Sphere x Frobenius")


class Recorder(StudyDisplay):
    """Counts steps and trials that are trained; can be told to fail before one of them, as a killed process would."""

    def __init__(self, trials_until_killed=None):
        super().__init__(Console(quiet=True))
        self.steps = self.trained = 0
        self._left = trials_until_killed

    def started(self, what, steps):
        if self.trained == self._left:
            raise KeyboardInterrupt
        self.trained += 1

    def stepped(self, loss):
        self.steps += 1
        assert math.isfinite(loss)


@pytest.fixture
def make_study(tmp_path):
    def make(**settings):
        defaults = {"data_dir": None, "candidates": PAIR, "seeds": 2, "epochs": 2, "search_epochs": 1}
        sizes = {"batch_size": 16, "widths": (6, 4), "threads": 1, "out": tmp_path}
        return Study(data=DataName.DIGITS, **{**defaults, **sizes, **settings})

    return make


def outcome(test, held_out=50.0, milliseconds=1.0):
    return Outcome(held_out, 1.0, test, 1.0, 60.0, 1.0, 10, milliseconds, 0.0, 0.1)


def cell(*test, held_out=50.0, name=REFERENCE):
    return Cell((Choice(name, 0.1),), tuple(outcome(accuracy, held_out) for accuracy in test))


def trials(study):
    rows = json.loads(study.results_path.read_text())["trials"]
    for row in rows:
        del row["outcome"]["step_milliseconds"]
    return rows


@pytest.mark.parametrize("name", CANDIDATES)
def test_candidates_start_as_long_as_a_stiefel_point_and_their_scale_is_the_longest_step(name):
    for m, n in ((4, 9), (9, 4), (5, 5)):
        candidate = CANDIDATES[name]
        geometry = candidate.geometry(m, n)
        point = geometry.manifold.project(mm.Stiefel().random((m, n), dtype=torch.float64))
        assert float(point.norm()) == pytest.approx(min(m, n) ** 0.5, rel=1e-6)
        steps = candidate.norm.lmo(torch.randn(50, m, n, dtype=torch.float64)) * candidate.scale(m, n)
        assert float(steps.norm(dim=(-2, -1)).max()) <= min(m, n) ** 0.5 * (1 + 1e-9)
        flat = mm.Stiefel().random((m, n), dtype=torch.float64)
        if not isinstance(candidate.norm, mm.MaxRow | mm.MaxColumn):  # a Stiefel point is of norm `scale`
            assert float(candidate.norm(flat)) == pytest.approx(candidate.scale(m, n))


@pytest.mark.parametrize("name", CANDIDATES)
def test_every_candidate_trains_and_stays_on_its_manifold(data, name):
    kept, held_out = hold_out(data)
    trial = Trial((Choice(name, 0.1),) * 3, seed=1, epochs=2)
    done = train(trial, kept, held_out, (6, 4), 16)
    assert done.violation < 1e-5
    assert done.steps == 2 * 3
    assert done.step_milliseconds > 0
    before = MLP(8, (6, 4), 3, seed=1)
    groups = [{"params": [w], "geometry": CANDIDATES[name].geometry(*w.shape)} for w in before.parameters()]
    assert done.removed == mm.degrees_of_freedom(groups).removed
    assert done.train_loss < 1.0


def test_a_trial_is_the_same_every_time(data):
    kept, held_out = hold_out(data)
    trial = Trial((Choice(REFERENCE, 0.1),) * 3, seed=1, epochs=1)
    first, second = (train(trial, kept, held_out, (6, 4), 16) for _ in range(2))
    assert first.test_loss == second.test_loss
    other = Trial((Choice(REFERENCE, 0.2), *trial.layers[1:]), seed=1, epochs=1)
    assert train(other, kept, held_out, (6, 4), 16).test_loss != first.test_loss


def test_a_tenth_of_the_training_images_is_held_out(data):
    kept, held_out = hold_out(data)
    assert (len(kept.train), len(held_out)) == (45, 5)
    rows = torch.cat([kept.train.inputs, held_out.inputs])
    assert len(rows.unique(dim=0)) == 50
    assert kept.test is data.test


def test_what_is_trained(data, make_study):
    study, recorder = make_study(), Recorder()
    findings = run_study(study, data, recorder)
    rows = trials(study)
    search = [row for row in rows if row["seed"] == 0]
    assert {row["epochs"] for row in search} == {1}
    # each layer: 3 rates of the reference, one of which all layers share, and 4 of the other
    assert len(search) == 1 + 3 * (2 + 4)
    assert all(sum(layer != {"geometry": REFERENCE, "multiple": 0.1} for layer in row["layers"]) <= 1 for row in search)
    for (layer, name), found in findings.cells.items():
        assert len(found.outcomes) == 2
        for i, choice in enumerate(found.choices):
            if layer in (i, ALL):
                assert choice == findings.cells[i, name].choices[i]
            else:
                assert choice == Choice(REFERENCE, 0.1)


def test_rates_and_candidates_are_chosen_by_held_out_images(data, make_study, monkeypatch):
    """Test accuracy speaks for one choice, held-out accuracy for another."""

    def fake(trial, data, held_out, widths, batch_size, on_step):
        best = sum(choice == Choice("Sphere x Frobenius", 0.03) for choice in trial.layers)
        return outcome(test=50 - best, held_out=50 + best)

    monkeypatch.setattr(study_module, "train", fake)
    findings = run_study(make_study(), data, Recorder())
    assert findings.together.choices == (Choice("Sphere x Frobenius", 0.03),) * 3
    assert findings.cells[ALL, "Sphere x Frobenius"].choices == findings.together.choices
    assert findings.together.test_accuracy.mean == 47


def test_a_killed_study_carries_on_and_loses_nothing(data, make_study, tmp_path):
    undisturbed, killed = make_study(out=tmp_path / "a"), make_study(out=tmp_path / "b")
    recorder = Recorder()
    run_study(undisturbed, data, recorder)
    with pytest.raises(KeyboardInterrupt):
        run_study(killed, data, Recorder(trials_until_killed=7))
    rest = Recorder()
    run_study(killed, data, rest)
    assert rest.trained == recorder.trained - 7
    assert trials(killed) == trials(undisturbed)
    again = Recorder()
    run_study(killed, data, again)
    assert again.trained == again.steps == 0


def test_results_of_other_settings_or_damaged_ones_are_refused(data, make_study):
    run_study(make_study(seeds=1), data, Recorder())
    with pytest.raises(DataError, match="other layers"):
        run_study(make_study(widths=(5, 4)), data, Recorder())
    path = make_study().results_path
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match="damaged"):
        run_study(make_study(), data, Recorder())


def test_noise_forgets_what_a_seed_does_to_all():
    def noise(*cells):
        found = {(0, str(i)): one for i, one in enumerate(cells)}
        return Findings(tuple(map(str, range(len(cells)))), ((2, 2),), found, cells[0], cells[0]).noise(0)

    assert noise(cell(50.0, 51.0), cell(40.0, 41.0), cell(math.nan, 10.0)) == pytest.approx(0, abs=1e-6)
    # residuals of +-0.5: variance 4 * 0.25 / ((2 - 1) (2 - 1)) = 1, and 2 sqrt(2 / 2) of it
    assert noise(cell(50.0, 52.0), cell(40.0, 40.0)) == pytest.approx(2)
    assert math.isnan(noise(cell(50.0), cell(40.0)))
    assert math.isnan(noise(cell(50.0, 52.0)))
    assert math.isnan(noise(cell(math.nan, 52.0)))


def test_tables_and_figure(data, make_study):
    study = make_study()
    findings = run_study(study, data, Recorder())
    accuracy, cost = accuracy_table(findings), cost_table(findings)
    assert accuracy.columns[1:] == ("layer 1 (6 x 8)", "layer 2 (4 x 6)", "layer 3 (3 x 4)", ALL)
    assert [row[0] for row in accuracy.rows][:3] == [*PAIR, TOGETHER]
    assert {j for _, j in accuracy.strong} == {1, 2, 3, 4}
    assert all(len(row) == len(cost.columns) for row in cost.rows)
    lines = accuracy.markdown().splitlines()
    assert len(lines) == 2 + len(accuracy.rows)
    assert {line.count("|") for line in lines} == {6}
    assert "noise" in closing_lines(findings)[-1]
    paths = write_report(study, data, findings)
    drawing = paths["figure"].read_text()
    assert drawing.startswith("<svg")
    assert "layer 2 (4 x 6)" in drawing
    assert paths["as PNG"].read_bytes().startswith(b"\x89PNG")
    page = read_page(study.out)
    shown, costs = (table for section in page.sections for table in section.tables)
    assert [row[0] for row in shown.rows] == [row[0] for row in accuracy.rows]
    assert [row[0] for row in costs.rows] == list(PAIR)
    (figure,) = page.figures
    assert len(figure.data.rows) == study.seeds * (len(PAIR) * 4 + 2)


def test_a_page_of_what_diverged(data, make_study):
    study = make_study(seeds=1)
    gone = cell(math.nan)
    findings = run_study(study, data, Recorder())
    findings = replace(findings, cells={**findings.cells, (ALL, PAIR[0]): replace(gone, choices=())}, together=gone)
    write_report(study, data, findings)
    page = read_page(study.out)
    assert page.headline.startswith(f"On all layers at once, {PAIR[1]} is the most accurate of 2 geometries")
    assert page.headline.endswith("makes it diverge.")
