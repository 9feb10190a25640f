"""One short training run of the transfer study."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from time import process_time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from modular_manifolds.experiments.task import Task
from modular_manifolds.experiments.transfer_methods import METHODS

_LAST = 10
"""The training loss is the mean over the last one in so many steps."""


class Sweep(StrEnum):
    """What changes from network to network."""

    WIDTH = "width"
    DEPTH = "depth"


@dataclass(frozen=True)
class Trial:
    """What to train: a network in a sweep, `size` being its width or its depth, and how."""

    sweep: Sweep
    size: int
    method: str
    lr: float
    seed: int

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Trial":
        """Of a row of results.json."""
        return cls(Sweep(row["sweep"]), row["size"], row["method"], row["lr"], row["seed"])


@dataclass(frozen=True)
class Outcome:
    """How it went: mean cross-entropies, infinite if the run diverged, and processor time.

    `train_loss` is that of the batches of the last tenth of the run, each before its step; `test_loss` that of the
    examples held out, at the end.
    """

    train_loss: float
    test_loss: float
    step_milliseconds: float

    @property
    def summary(self) -> str:
        """In a line."""
        losses = f"train {self.train_loss:.4f}, test {self.test_loss:.4f}"
        return f"{losses if math.isfinite(self.train_loss) else 'diverged'}, {self.step_milliseconds:.1f} ms a step"

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Outcome":
        """Of a row of results.json."""
        numbers: dict[str, Any] = {name: math.inf if value is None else value for name, value in row.items()}
        return cls(**numbers)


def read_row(row: Mapping[str, Any]) -> tuple[Trial, Outcome]:
    """Of results.json."""
    return Trial.from_json(row), Outcome.from_json(row["outcome"])


def row(trial: Trial, outcome: Outcome) -> dict[str, Any]:
    """The row of results.json: plain JSON values only."""
    numbers = {name: round(value, 5) if math.isfinite(value) else None for name, value in asdict(outcome).items()}
    return {**asdict(trial), "outcome": numbers}


@dataclass(frozen=True)
class Course:
    """What all runs of a study have in common: the size that is not swept, and how long they are."""

    width: int
    depth: int
    steps: int
    batch_size: int

    def network(self, trial: Trial, task: Task) -> nn.Module:
        """That of `trial`, its weights drawn from the trial's seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(trial.seed)
            networks = METHODS[trial.method].networks
            if trial.sweep is Sweep.WIDTH:
                return networks.wide(task, trial.size, self.depth)
            return networks.deep(task, self.width, trial.size)


def train(trial: Trial, task: Task, course: Course, on_step: Callable[[float], None] = lambda loss: None) -> Outcome:
    """Train with a learning rate that falls linearly to 0, and evaluate.

    All trials of one seed see the same batches. `on_step` is told the loss of every batch.
    """
    model = course.network(trial, task)
    optimizers = METHODS[trial.method].optimizers(model, trial.lr)
    generator = torch.Generator().manual_seed(trial.seed)
    losses: list[float] = []
    begin = process_time()
    for step in range(course.steps):
        batch = task.batch(course.batch_size, generator)
        losses.append(train_step(model, optimizers, trial.lr * (1 - step / course.steps), batch))
        if not math.isfinite(losses[-1]):
            return Outcome(math.inf, math.inf, 1000 * (process_time() - begin) / (step + 1))
        on_step(losses[-1])
    seconds = process_time() - begin
    last = losses[-max(course.steps // _LAST, 1) :]
    return Outcome(sum(last) / len(last), held_out_loss(model, task), 1000 * seconds / course.steps)


def train_step(model: nn.Module, optimizers: Sequence[Optimizer], lr: float, batch: tuple[Tensor, Tensor]) -> float:
    """One step of every optimizer at this learning rate; the loss before it. No step where that is not finite."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = lr
    loss = _loss(model, *batch)
    value = float(loss.detach())
    if math.isfinite(value):
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimizer in optimizers:
            optimizer.step()
    return value


def _loss(model: nn.Module, inputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    logits = model(inputs)
    return functional.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction=reduction)


@torch.no_grad()
def held_out_loss(model: nn.Module, task: Task) -> float:
    """Mean cross-entropy over what is held out; infinite where it is not finite."""
    total, count = 0.0, 0
    for inputs, targets in task.held_out():
        total += float(_loss(model, inputs, targets, "sum"))
        count += targets.numel()
    return total / count if math.isfinite(total) else math.inf
