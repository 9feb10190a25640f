"""One training with one solver, and what came of it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.solvers.graded import GradedTraining
from modular_manifolds.experiments.solvers.ladder import LADDER


@dataclass(frozen=True, order=True)
class Trial:
    """A solver of the ladder, the learning rate it begins with, and a seed."""

    solver: str
    lr: float
    seed: int

    def __str__(self) -> str:
        return f"{self.solver}, lr {self.lr:g}, seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How it went. Accuracies in percent; nan where the run diverged.

    `gap` and `tangency` are means over the graded steps and the layers, `largest_gap` the largest, `layer_gaps` means
    over the steps; `step_milliseconds` is the median of the graded steps.
    """

    gap: float
    largest_gap: float
    layer_gaps: tuple[float, ...]
    tangency: float
    step_milliseconds: float
    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float
    violation: float

    @property
    def summary(self) -> str:
        """In a line."""
        return f"gap {self.gap:.2g}, test {self.test_accuracy:.2f} %, {self.step_milliseconds:.3g} ms a step"


def read_row(row: Mapping[str, Any]) -> tuple[Trial, Outcome]:
    """Of results.json."""
    numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in row["outcome"].items()}
    layer_gaps = tuple(math.nan if gap is None else gap for gap in numbers["layer_gaps"])
    return Trial(row["solver"], row["lr"], row["seed"]), Outcome(**{**numbers, "layer_gaps": layer_gaps})


def write_row(trial: Trial, outcome: Outcome) -> dict[str, Any]:
    """The row of results.json: plain JSON values only."""
    row: dict[str, Any] = plain({**asdict(trial), "outcome": asdict(outcome)})
    return row


def train(trial: Trial, run: Run, data: Dataset, on_step: Callable[[float], None] = lambda loss: None) -> Outcome:
    """Train `run`, which is the trial's, telling `on_step` the loss of every batch."""
    training = GradedTraining(run, data, LADDER[trial.solver].method)
    while not training.finished:
        training.run_epoch(lambda: on_step(float(training.loss)))
    result, grades = training.result(), training.grades
    layer_gaps = tuple(fmean(gaps) for gaps in zip(*(grade.gaps for grade in grades), strict=True))
    return Outcome(
        gap=fmean(layer_gaps),
        largest_gap=max(max(grade.gaps) for grade in grades),
        layer_gaps=layer_gaps,
        tangency=fmean(fmean(grade.tangencies) for grade in grades),
        step_milliseconds=median(grade.milliseconds for grade in grades),
        train_loss=result.train_loss,
        test_loss=result.test_loss,
        train_accuracy=result.train_accuracy,
        test_accuracy=result.test_accuracy,
        violation=result.violation,
    )
