"""One training run with a geometry and a learning rate for every layer."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from time import process_time
from typing import Any

import torch
from torch.nn import functional

import modular_manifolds as mm
from modular_manifolds import Stiefel
from modular_manifolds.experiments.candidates import CANDIDATES
from modular_manifolds.experiments.data import Dataset, Split
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.training import evaluate, shuffled


@dataclass(frozen=True)
class Choice:
    """What a layer gets: a candidate by name, and a learning rate as a multiple of its natural scale."""

    geometry: str
    multiple: float


@dataclass(frozen=True)
class Trial:
    """What to train: a choice for every layer, first layer first."""

    layers: tuple[Choice, ...]
    seed: int
    epochs: int

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Trial":
        """Of a row of results.json."""
        return cls(tuple(Choice(**layer) for layer in row["layers"]), row["seed"], row["epochs"])


@dataclass(frozen=True)
class Outcome:
    """How it went. Accuracies in percent.

    `step_milliseconds`: processor time of one optimizer step, all layers together, which other work on the machine does
    not lengthen; `violation`: the largest of any weight from its own manifold; `removed`: the share of the network's
    degrees of freedom that its constraints take away. A number that is not finite is nan here and null in JSON.
    """

    held_out_accuracy: float
    held_out_loss: float
    test_accuracy: float
    test_loss: float
    train_accuracy: float
    train_loss: float
    steps: int
    step_milliseconds: float
    violation: float
    removed: float

    @property
    def summary(self) -> str:
        """In a line."""
        accuracies = f"held out {self.held_out_accuracy:.2f} %, test {self.test_accuracy:.2f} %"
        return f"{accuracies}, {self.step_milliseconds:.1f} ms a step"

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Outcome":
        """Of a row of results.json."""
        numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in row.items()}
        return cls(**numbers)


def read_row(row: Mapping[str, Any]) -> tuple[Trial, Outcome]:
    """Of results.json."""
    return Trial.from_json(row), Outcome.from_json(row["outcome"])


def row(trial: Trial, outcome: Outcome) -> dict[str, Any]:
    """The row of results.json: plain JSON values only."""
    numbers = {name: value if math.isfinite(value) else None for name, value in asdict(outcome).items()}
    return {**asdict(trial), "outcome": numbers}


def train(
    trial: Trial,
    data: Dataset,
    held_out: Split,
    widths: tuple[int, ...],
    batch_size: int,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Outcome:
    """Train without momentum, every learning rate falling linearly to 0, and evaluate.

    All trials of one seed start from the same Stiefel points, moved to the nearest points of their own manifolds, and
    see the same batches. `on_step` is told the loss of every batch.
    """
    model = MLP(data.features, widths, data.classes, seed=trial.seed)
    groups, peaks = _groups(trial, model)
    optimizer = mm.ModularOptimizer(groups, momentum=0.0, nesterov=False, nonfinite="skip")
    batches = -(-len(data.train) // batch_size)
    steps = trial.epochs * batches
    seconds = 0.0
    for step in range(steps):
        epoch, index = divmod(step, batches)
        if index == 0:
            order = shuffled(len(data.train), trial.seed, epoch)
        batch = order[index * batch_size : (index + 1) * batch_size]
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * (1 - step / steps)
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(data.train.inputs[batch]), data.train.labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        begin = process_time()
        optimizer.step()
        seconds += process_time() - begin
        on_step(float(loss.detach()))
    held_out_loss, held_out_accuracy = evaluate(model, held_out)
    test_loss, test_accuracy = evaluate(model, data.test)
    train_loss, train_accuracy = evaluate(model, data.train)
    return Outcome(
        held_out_accuracy=held_out_accuracy,
        held_out_loss=held_out_loss,
        test_accuracy=test_accuracy,
        test_loss=test_loss,
        train_accuracy=train_accuracy,
        train_loss=train_loss,
        steps=steps,
        step_milliseconds=1000 * seconds / steps,
        violation=_violation(groups),
        removed=mm.degrees_of_freedom(groups).removed,
    )


def _groups(trial: Trial, model: MLP) -> tuple[list[dict[str, Any]], list[float]]:
    """A parameter group for every layer, its weight on its manifold, and the learning rates to begin with."""
    groups, peaks = [], []
    for choice, (name, weight) in zip(trial.layers, model.named_parameters(), strict=True):
        candidate = CANDIDATES[choice.geometry]
        m, n = weight.shape
        mm.project_([weight], Stiefel())
        group = {"params": [(name, weight)], "geometry": candidate.geometry(m, n)}
        mm.project_([group])
        groups.append(group)
        peaks.append(choice.multiple * candidate.scale(m, n))
    return groups, peaks


@torch.no_grad()
def _violation(groups: list[dict[str, Any]]) -> float:
    off = [group["geometry"].manifold.violation(weight) for group in groups for _, weight in group["params"]]
    return float(torch.stack([o.double() for o in off]).max())
