"""Training of one run, epoch by epoch, so that it can stop after any of them and carry on bit for bit."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from modular_manifolds.experiments.data import Dataset, Split
from modular_manifolds.experiments.methods import Method, method_of
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.results import Epoch, Result, measure_layers
from modular_manifolds.experiments.run import Run

_EVALUATION_BATCH = 8192
_EPOCHS_PER_SEED = 1_000_000
"""Shuffles of one seed before they would repeat those of the next."""


class Training:
    """A run under way: cross-entropy, the learning rate falling linearly to 0 step by step, as in the blog.

    All methods of one seed start from the same weights (up to their projection) and see the same batches. The run's
    method is that of its name unless given.

    The ranks of a `group` train it together: each takes its part of every batch, and gradients are averaged by
    DistributedDataParallel, which suits a network that every process holds easily. The first rank evaluates; the
    curves of the others are nan.
    """

    def __init__(
        self, run: Run, data: Dataset, method: Method | None = None, group: ProcessGroup | None = None
    ) -> None:
        method = method or method_of(run.method)
        self._run = run
        self._data = data
        self._model = MLP(data.features, run.widths, data.classes, seed=run.seed)
        method.place(self._model)
        self._parts, self._part = (1, 0) if group is None else (group.size(), group.rank())
        self._network = self._model if group is None else self._replica(group)
        self._optimizer = method.build(self._model, run.lr, run.momentum, group)
        self._seconds = 0.0
        self._optimizer_seconds = 0.0
        self.loss = torch.zeros(())
        """Of the last batch, before its step; of several ranks, this one's share of it times their number."""
        self.curve = [self._evaluate(0)]

    @property
    def epochs_done(self) -> int:
        """Finished epochs."""
        return len(self.curve) - 1

    @property
    def finished(self) -> bool:
        """Whether every epoch is done."""
        return self.epochs_done == self._run.epochs

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch; the last may be smaller than the others."""
        return -(-len(self._data.train) // self._run.batch_size)

    def run_epoch(self, on_step: Callable[[], None] = lambda: None) -> Epoch:
        """Train one epoch, calling `on_step` after every step, and evaluate; the outcome joins `curve`."""
        begin = perf_counter()
        train = self._data.train
        steps = self._run.epochs * self.steps_per_epoch
        order = shuffled(len(train), self._run.seed, self.epochs_done)
        for index, batch in enumerate(torch.split(order, self._run.batch_size)):
            step = self.epochs_done * self.steps_per_epoch + index
            part = batch.tensor_split(self._parts)[self._part] if self._parts > 1 else batch
            lr = self._run.lr * (1 - step / steps)
            self._step(train.inputs[part], train.labels[part], lr, len(batch))
            on_step()
        self._seconds += perf_counter() - begin
        self.curve.append(self._evaluate(self.epochs_done + 1))
        return self.curve[-1]

    def weights(self) -> dict[str, Tensor]:
        """A copy of every weight, by name."""
        return {name: weight.detach().clone() for name, weight in self._model.named_parameters()}

    def tensors(self) -> dict[str, Tensor]:
        """What to keep of a finished run."""
        return self.weights()

    def result(self) -> Result:
        """The row of the finished run."""
        layers = measure_layers(self.weights())
        last = asdict(self.curve[-1])
        del last["epoch"]
        return Result(
            method=self._run.method,
            lr=self._run.lr,
            seed=self._run.seed,
            **last,
            seconds=self._seconds,
            optimizer_seconds=self._optimizer_seconds,
            violation=float(torch.tensor([layer.violation for layer in layers], dtype=torch.float64).max()),
            layers=layers,
            data=self._run.data,
            epochs=self._run.epochs,
            batch_size=self._run.batch_size,
            momentum=self._run.momentum,
            steps=self._run.epochs * self.steps_per_epoch,
            curve=tuple(self.curve),
            nproc=self._run.nproc,
        )

    def state_dict(self) -> dict[str, Any]:
        """All that the remaining epochs depend on, as plain containers and tensors."""
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "seconds": self._seconds,
            "optimizer_seconds": self._optimizer_seconds,
            "curve": [asdict(epoch) for epoch in self.curve],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the end of the epoch at which `state` was taken."""
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._seconds = state["seconds"]
        self._optimizer_seconds = state["optimizer_seconds"]
        self.curve = [Epoch(**epoch) for epoch in state["curve"]]

    def _replica(self, group: ProcessGroup) -> DistributedDataParallel:
        network = DistributedDataParallel(self._model, process_group=group)
        # It orders the gradients anew after its first pass, and so the sums of three ranks or more: before the first
        # step, then, that a run which carries on adds up as one that was never stopped.
        network(self._data.train.inputs[:1]).sum().backward()
        self._model.zero_grad()
        return network

    def _step(self, inputs: Tensor, labels: Tensor, lr: float, batch_size: int) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = lr
        self._optimizer.zero_grad()
        loss = self._loss(self._network(inputs), labels, batch_size)
        loss.backward()  # type: ignore[no-untyped-call]
        self.loss = loss.detach()
        begin = perf_counter()
        self._optimizer.step()
        self._optimizer_seconds += perf_counter() - begin

    def _loss(self, logits: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        if self._parts == 1:
            return functional.cross_entropy(logits, labels)
        # the mean over the ranks must be that over the batch, of which parts may differ in size, or be empty
        return functional.cross_entropy(logits, labels, reduction="sum") * (self._parts / batch_size)

    def _evaluate(self, epoch: int) -> Epoch:
        if self._part > 0:
            return Epoch(epoch, math.nan, math.nan, math.nan, math.nan)
        train_loss, train_accuracy = evaluate(self._model, self._data.train)
        test_loss, test_accuracy = evaluate(self._model, self._data.test)
        return Epoch(epoch, train_loss, test_loss, train_accuracy, test_accuracy)


def shuffled(images: int, seed: int, epoch: int) -> Int[Tensor, " images"]:
    """The order in which an epoch, counted from 0, sees the training images."""
    # A fresh generator an epoch: the order needs no state to be saved.
    return torch.randperm(images, generator=torch.Generator().manual_seed(seed * _EPOCHS_PER_SEED + epoch))


@torch.no_grad()
def evaluate(model: Callable[[Float[Tensor, "batch inputs"]], Tensor], split: Split) -> tuple[float, float]:
    """Mean cross-entropy and accuracy in percent over all of `split`."""
    loss, correct = 0.0, 0
    batches = (torch.split(tensor, _EVALUATION_BATCH) for tensor in (split.inputs, split.labels))
    for inputs, labels in zip(*batches, strict=True):
        logits = model(inputs)
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
        correct += int((logits.argmax(dim=1) == labels).sum())
    return loss / len(split), 100 * correct / len(split)
