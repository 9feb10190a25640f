"""The study behind `modular-manifolds flatness`: second derivatives of the loss at the end of every run."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import modular_manifolds as mm
from modular_manifolds.experiments.comparison import torch_threads
from modular_manifolds.experiments.data import Dataset, Split
from modular_manifolds.experiments.flatness.curvature import Curvature
from modular_manifolds.experiments.flatness.lanczos import largest_eigenvalue
from modular_manifolds.experiments.flatness.modular_sharpness import modular_sharpness
from modular_manifolds.experiments.methods import method_of
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.robustness_runs import RunsError, Trained
from modular_manifolds.experiments.study_display import StudyDisplay
from modular_manifolds.experiments.trial_store import TrialStore

_RANDOM_STARTS = 1


@dataclass(frozen=True)
class Flatness:
    """What to measure, and where to write it: on the first `images` of the shuffled training images."""

    folders: tuple[Path, ...]
    data_dir: Path | None
    images: int
    steps: int
    threads: int
    out: Path

    @property
    def results_path(self) -> Path:
        """Everything that was measured."""
        return self.out / "results.json"

    def settings(self, data: Dataset) -> dict[str, Any]:
        """Everything but the run itself that an outcome depends on."""
        return {
            "data": str(data.name),
            "data_fingerprint": data.fingerprint,
            "images": min(self.images, len(data.train)),
            "steps": self.steps,
            "threads": self.threads,
            "versions": f"modular-manifolds {version('modular-manifolds')}, torch {torch.__version__}",
        }

    def command(self) -> str:
        """The command line that repeats this."""
        options = {
            "data-dir": self.data_dir,
            "images": self.images,
            "steps": self.steps,
            "threads": self.threads,
            "out": self.out,
        }
        given = [f"--{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
        return " ".join(["modular-manifolds flatness", *(shlex.quote(str(path)) for path in self.folders), *given])


@dataclass(frozen=True)
class Trial:
    """One trained network; `key` names its run, and so every setting of it."""

    method: str
    lr: float
    seed: int
    key: str


@dataclass(frozen=True)
class Outcome:
    """What was measured of one network, at its weights.

    Args:
        plain: largest eigenvalue of the Hessian of the training loss.
        plain_residual: an eigenvalue lies within so much of it.
        tangent, tangent_residual: the same of the Riemannian Hessian, along the manifolds of the method.
        modular: modular sharpness along these, a lower bound.
        loss: on the images that were used.
        gradient: length of the gradient there.
        test_accuracy: in percent, of all test images.
    """

    plain: float
    plain_residual: float
    tangent: float
    tangent_residual: float
    modular: float
    loss: float
    gradient: float
    test_accuracy: float

    @property
    def summary(self) -> str:
        """In one line."""
        return (
            f"top eigenvalue {self.plain:.4g}, tangent {self.tangent:.4g}, modular sharpness {self.modular:.4g}, "
            f"loss {self.loss:.4g}"
        )


def read_row(row: Mapping[str, Any]) -> tuple[Trial, Outcome]:
    """Of results.json."""
    numbers = {name: math.nan if value is None else value for name, value in row["outcome"].items()}
    return Trial(row["method"], row["lr"], row["seed"], row["key"]), Outcome(**numbers)


def write_row(trial: Trial, outcome: Outcome) -> dict[str, Any]:
    """The row of results.json."""
    row: dict[str, Any] = plain({**asdict(trial), "outcome": asdict(outcome)})
    return row


Measured = dict[Trial, Outcome]


def measure_all(flatness: Flatness, data: Dataset, runs: Sequence[Trained], display: StudyDisplay) -> Measured:
    """Measure every run that is not yet in results.json, which is kept up to date.

    Raises:
        RunsError: the runs were trained on other data.
        DataError: results.json is damaged, or of another study.
    """
    store = TrialStore(flatness.results_path, flatness.settings(data), read_row, write_row)
    display.begin(len(runs))
    measured = {}
    with torch_threads(flatness.threads):
        images = _images(data, flatness.images)
        for trained in runs:
            run = trained.run
            if run.data_fingerprint != data.fingerprint:
                raise RunsError(
                    f"{run.key} was trained on other {run.data} data ({run.data_fingerprint}) than was read "
                    f"({data.fingerprint}). Name with --data-dir what it was trained on."
                )
            trial = Trial(run.method, run.lr, run.seed, run.key)
            if trial not in store:
                store[trial] = _measure(flatness, data, images, trained, display)
            display.finished(f"{trial.method} lr {trial.lr:g} seed {trial.seed}", store[trial].summary)
            measured[trial] = store[trial]
    return measured


def _images(data: Dataset, count: int) -> Split:
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:count]
    return Split(data.train.inputs[order].double(), data.train.labels[order])


def _measure(flatness: Flatness, data: Dataset, images: Split, trained: Trained, display: StudyDisplay) -> Outcome:
    run, steps = trained.run, flatness.steps
    name = f"{run.method} lr {run.lr:g} seed {run.seed}"
    network = MLP(data.features, run.widths, data.classes, seed=0)
    network.load_state_dict(trained.weights)
    network.double()
    method = method_of(run.method)
    build = method.geometry
    geometries = {} if build is None else {key: build(*w.shape) for key, w in network.named_parameters()}
    method.place(network)  # to the last digit of float64
    curvature = Curvature(network, images.inputs, images.labels, geometries)
    display.started(name, (2 + _RANDOM_STARTS + 1) * steps)
    start = curvature.random(torch.Generator().manual_seed(0))
    top = largest_eigenvalue(curvature.hessian, start, steps, on_step=display.stepped)
    along = largest_eigenvalue(curvature.along_manifolds, curvature.to_tangent(start), steps, on_step=display.stepped)
    starts = [along.vector, *(curvature.random(torch.Generator().manual_seed(1 + i)) for i in range(_RANDOM_STARTS))]
    plan = mm.modularize(MLP(data.features, run.widths, data.classes, seed=0), (torch.zeros(1, data.features),))
    sharpest = modular_sharpness(curvature, plan, starts, steps, display.stepped)
    return Outcome(
        plain=top.value,
        plain_residual=top.residual,
        tangent=along.value,
        tangent_residual=along.residual,
        modular=sharpest.value,
        loss=curvature.loss,
        gradient=float(curvature.gradient.norm()),
        test_accuracy=trained.result.test_accuracy,
    )
