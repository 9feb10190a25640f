import json
import shlex
import subprocess
import sys
import time

import pytest
from rich.console import Console
from safetensors.torch import load_file

from modular_manifolds.experiments.comparison import train_all
from modular_manifolds.experiments.data import load_digits
from modular_manifolds.experiments.display import PlainDisplay

KEYS = {
    "method",
    "lr",
    "seed",
    "train_loss",
    "test_loss",
    "train_accuracy",
    "test_accuracy",
    "seconds",
    "optimizer_seconds",
    "violation",
    "layers",
    "data",
    "epochs",
    "batch_size",
    "momentum",
    "steps",
    "curve",
    "nproc",
}


class Recorder(PlainDisplay):
    """Counts trained epochs and runs; can be told to fail after some of them, as a killed process would."""

    def __init__(self, epochs_until_killed=None):
        super().__init__(Console(quiet=True))
        self.epochs = self.runs = 0
        self._left = epochs_until_killed

    def epoch_finished(self, epoch):
        self.epochs += 1
        if self.epochs == self._left:
            raise KeyboardInterrupt

    def run_finished(self, result):
        self.runs += 1


def rows(out):
    """results.json without the timings, which no two runs share."""
    timings = ("seconds", "optimizer_seconds")
    loaded = json.loads((out / "results.json").read_text())
    return [{key: value for key, value in row.items() if key not in timings} for row in loaded]


def weights(out):
    return {
        path.parent.name: {name: weight.tolist() for name, weight in load_file(path).items()}
        for path in (out / "runs").glob("*/weights.safetensors")
    }


def test_results_have_a_row_a_run(data, make_comparison):
    comparison = make_comparison()
    train_all(comparison, data, Recorder())
    loaded = json.loads(comparison.results_path.read_text())
    grid = [(row["seed"], row["method"], row["lr"]) for row in loaded]
    assert grid == [(s, m, lr) for s in (0, 1) for m in ("manifold-muon", "muon") for lr in (0.03, 0.1)]
    for row in loaded:
        assert set(row) == KEYS
        assert row["momentum"] == (0.0 if row["method"] == "manifold-muon" else 0.95)
        assert [set(layer) for layer in row["layers"]] == [
            {"name", "shape", "min_singular_value", "max_singular_value", "violation"}
        ] * 3


def test_every_run_leaves_weights_and_tensorboard_logs(data, make_comparison):
    comparison = make_comparison(seeds=1)
    finished = train_all(comparison, data, Recorder())
    for run in finished.results:
        assert finished.store.weights_path(run).is_file()
        assert list((comparison.out / "tensorboard" / run.key).glob("events.*"))
    assert not list(comparison.out.glob("runs/*/checkpoint*"))


@pytest.mark.parametrize("epochs_until_killed", [1, 3, 5])
def test_a_killed_comparison_carries_on_and_loses_nothing(data, make_comparison, tmp_path, epochs_until_killed):
    undisturbed, killed = make_comparison(out=tmp_path / "a"), make_comparison(out=tmp_path / "b")
    train_all(undisturbed, data, Recorder())
    with pytest.raises(KeyboardInterrupt):
        train_all(killed, data, Recorder(epochs_until_killed))
    recorder = Recorder()
    train_all(killed, data, recorder)
    assert recorder.epochs == 8 * 3 - epochs_until_killed
    assert rows(killed.out) == rows(undisturbed.out)
    assert weights(killed.out) == weights(undisturbed.out)


def test_finished_runs_are_not_trained_again(data, make_comparison):
    comparison = make_comparison()
    train_all(comparison, data, Recorder())
    recorder = Recorder()
    train_all(comparison, data, recorder)
    assert recorder.epochs == 0
    train_all(make_comparison(seeds=3), data, recorder)
    assert recorder.runs == 4


def test_a_damaged_run_is_trained_again(data, make_comparison):
    comparison = make_comparison()
    finished = train_all(comparison, data, Recorder())
    before = rows(comparison.out)
    path = finished.store.weights_path(next(iter(finished.results)))
    path.write_bytes(path.read_bytes()[:-1])
    recorder = Recorder()
    train_all(comparison, data, recorder)
    assert recorder.runs == 1
    assert rows(comparison.out) == before


def test_own_grids_are_used_unless_told_otherwise(data, make_comparison):
    assert {run.lr for run in make_comparison(lrs=None, methods=("adamw",)).runs(data)} == {0.001, 0.003, 0.01}


def test_a_killed_process_loses_at_most_its_current_epoch(make_comparison, tmp_path):
    settings = {"methods": ("manifold-muon",), "lrs": (0.1,), "seeds": 1, "epochs": 60, "batch_size": 256}
    undisturbed, killed = (make_comparison(out=tmp_path / name, **settings) for name in "ab")
    options = shlex.split(killed.command())[1:]
    process = subprocess.Popen([sys.executable, "-m", "modular_manifolds.cli", *options], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(killed.out.glob("runs/*/checkpoint.sealed")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()
    assert not list(killed.out.glob("runs/*/metrics.json"))

    digits, recorder = load_digits(), Recorder()
    train_all(killed, digits, recorder)
    train_all(undisturbed, digits, Recorder())
    assert 0 < recorder.epochs < 60
    assert rows(killed.out) == rows(undisturbed.out)
    assert weights(killed.out) == weights(undisturbed.out)
