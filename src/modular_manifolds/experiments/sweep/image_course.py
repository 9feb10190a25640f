"""What all image trials of a sweep have in common, and how one of them is trained: as `compare` does it."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.methods import METHODS, Method
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.sweep.descent import Schedule, descend
from modular_manifolds.experiments.sweep.diagnostics import violation
from modular_manifolds.experiments.sweep.formats import Stored
from modular_manifolds.experiments.sweep.trial import Outcome, Trial, curve, curve_every, final_loss
from modular_manifolds.experiments.training import evaluate, shuffled


@dataclass(frozen=True)
class ImageCourse:
    """The blog's network, its training, and the momentum of methods on a manifold."""

    widths: tuple[int, ...]
    epochs: int
    batch_size: int
    momentum: float
    warmup: int
    power: float = 1.0

    def recipe(self, method: str) -> str:
        """What the method's name stands for."""
        row = METHODS[method]
        return f"{row.summary}; momentum {row.momentum(self.momentum):g}"

    def steps_of(self, data: Dataset) -> int:
        """Of a trial."""
        return self.epochs * -(-len(data.train) // self.batch_size)

    def train(self, trial: Trial, data: Dataset, on_step: Callable[[float], None] = lambda loss: None) -> Outcome:
        """Train and evaluate. All trials of one seed start from the same weights and see the same batches."""
        method = _method(trial)
        model = MLP(data.features, self.widths, data.classes, seed=trial.seed)
        method.place(model)
        optimizers = [method.build(model, trial.lr, self.momentum)]
        network = Stored(model, trial.weights)
        steps = self.steps_of(data)
        schedule = Schedule(steps, self.warmup, self.power)
        descent = descend(network, optimizers, self._batches(trial.seed, data), schedule, on_step=on_step)
        held_out_loss, accuracy = evaluate(network, data.test)
        finite = descent.finite and math.isfinite(held_out_loss)
        train_loss, every = final_loss(descent.losses), curve_every(steps)
        return Outcome(
            held_out_loss=held_out_loss if math.isfinite(held_out_loss) else math.inf,
            accuracy=accuracy if finite else 100 / data.classes,
            train_loss=train_loss,
            diverged=not finite or train_loss > math.log(data.classes),
            steps=len(descent.losses),
            seconds=descent.seconds,
            optimizer_seconds=descent.optimizer_seconds,
            violation=violation(network, optimizers),
            curve_every=every,
            train_curve=curve(descent.losses, every),
        )

    def _batches(self, seed: int, data: Dataset) -> Iterator[tuple[Tensor, Tensor]]:
        for epoch in range(self.epochs):
            for batch in torch.split(shuffled(len(data.train), seed, epoch), self.batch_size):
                yield data.train.inputs[batch], data.train.labels[batch]


def _method(trial: Trial) -> Method:
    method = METHODS[trial.method]
    if trial.weight_decay is None:
        return method
    assert method.optimizer is not None
    return replace(method, optimizer=partial(method.optimizer, weight_decay=trial.weight_decay))
