"""A comparison whose runs are trained by several processes together."""

import json
import multiprocessing
import shlex
import subprocess
import sys
import time

import pytest
import torch
from rich.console import Console

from modular_manifolds.experiments.comparison import train_all
from modular_manifolds.experiments.crew import CrewError
from modular_manifolds.experiments.data import load_digits
from modular_manifolds.experiments.display import PlainDisplay
from modular_manifolds.experiments.methods import METHODS

ODD = 359
"""A batch size of digits' 1437 images: two processes get 180 and 179, and of the last batch 1 and none."""


class Witness(PlainDisplay):
    """Counts epochs, and does something after the last of them."""

    def __init__(self, epochs=None, act=lambda: None):
        super().__init__(Console(quiet=True))
        self.epochs = 0
        self._last, self._act = epochs, act

    def epoch_finished(self, epoch):
        self.epochs += 1
        if self.epochs == self._last:
            self._act()


def interrupt():
    raise KeyboardInterrupt


def mates():
    """The processes of a crew, beside those that other tests share."""
    return [process for process in multiprocessing.active_children() if process not in SHARED]


SHARED: list = []


@pytest.fixture(autouse=True)
def shared_processes():
    SHARED[:] = multiprocessing.active_children()


def kill_mates():
    for process in mates():
        process.kill()


def differences(finished, other):
    """By method, the largest of any weight, relative to the largest entry of its matrix."""
    found = dict.fromkeys(finished.comparison.methods, 0.0)
    for run, twin in zip(finished.results, other.results, strict=True):
        weights, twins = finished.store.weights(run), other.store.weights(twin)
        far = [float((weights[name] - w).abs().max() / w.abs().max()) for name, w in twins.items()]
        found[run.method] = max(found[run.method], *far)
    return found


@pytest.fixture
def make_tiny(make_comparison_in, tmp_path):
    """Builds a comparison of two methods on digits for two epochs, in a folder of that name."""

    def make(name, **settings):
        few = {"methods": ("manifold-muon", "adamw"), "lrs": (0.003,), "seeds": 1, "epochs": 2, "batch_size": ODD}
        return make_comparison_in(tmp_path / name, **{**few, **settings})

    return make


def test_two_processes_train_as_one_does_and_carry_on(make_tiny):
    digits = load_digits()
    alone = train_all(make_tiny("alone"), digits, Witness())
    together = make_tiny("together", nproc=2)
    with pytest.raises(KeyboardInterrupt):
        train_all(together, digits, Witness(1, interrupt))
    assert not mates()
    witness = Witness()
    finished = train_all(together, digits, witness)
    assert witness.epochs == 3
    assert max(differences(finished, alone).values()) <= 1e-4
    for run, twin in zip(finished.results, alone.results, strict=True):
        assert run.key != twin.key
        assert finished.results[run].test_accuracy == pytest.approx(alone.results[twin].test_accuracy, abs=0.3)
    assert [row["nproc"] for row in json.loads(together.results_path.read_text())] == [2, 2]
    witness = Witness()
    train_all(together, digits, witness)
    assert witness.epochs == 0


def test_a_process_that_dies_ends_the_comparison(make_tiny):
    begin = time.monotonic()
    with pytest.raises(CrewError, match=r"process 1 of 2 .* was killed by SIGKILL\nFinished epochs are kept"):
        train_all(make_tiny("out", nproc=2, epochs=1000), load_digits(), Witness(1, kill_mates))
    assert time.monotonic() - begin < 60
    assert not mates()


@pytest.mark.slow
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_method_on_three_processes(make_tiny, momentum):
    digits = load_digits()
    settings = {"methods": tuple(METHODS), "momentum": momentum, "epochs": 3}
    alone = train_all(make_tiny("alone", **settings), digits, Witness())
    undisturbed = train_all(make_tiny("undisturbed", nproc=3, **settings), digits, Witness())
    found = differences(undisturbed, alone)
    # muon's products are in bfloat16, and a hundred steps of dual ascent enlarge rounding some hundred times
    assert max(found.pop("muon"), found.pop("dual-ascent")) <= 1e-3
    assert max(found.values()) <= 1e-4
    killed = make_tiny("killed", nproc=3, **settings)
    for epochs in (1, 4, 3):
        with pytest.raises(KeyboardInterrupt):
            train_all(killed, digits, Witness(epochs, interrupt))
    assert not any(differences(train_all(killed, digits, Witness()), undisturbed).values())


@pytest.mark.slow
def test_a_killed_command_leaves_no_process_and_carries_on(make_tiny):
    settings = {"methods": ("manifold-muon",), "epochs": 200, "nproc": 2}
    killed = make_tiny("killed", **settings)
    command = [sys.executable, "-m", "modular_manifolds.cli", *shlex.split(killed.command())[1:]]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    until = time.monotonic() + 60
    while not list(killed.out.glob("runs/*/checkpoint.sealed")):
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate(timeout=30)  # the other process has this pipe, too, until it ends
    witness, digits = Witness(), load_digits()
    finished = train_all(killed, digits, witness)
    assert 0 < witness.epochs < 200
    undisturbed = train_all(make_tiny("undisturbed", **settings), digits, Witness())
    assert not any(differences(finished, undisturbed).values())
    assert all(torch.isfinite(w).all() for run in finished.results for w in finished.store.weights(run).values())
