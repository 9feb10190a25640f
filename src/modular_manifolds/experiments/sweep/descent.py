"""The steps of a trial: one loop for images and text, for every optimizer and format of the weights."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import process_time

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Optimizer

from modular_manifolds.experiments.sweep.formats import Stored


@dataclass(frozen=True)
class Schedule:
    """Rises linearly over `warmup` steps, then falls to 0 like a power of what is left.

    Without warm-up, and linearly, as `compare`'s.
    """

    steps: int
    warmup: int
    power: float = 1.0

    def __call__(self, step: int) -> float:
        """The share of the peak learning rate that a step, counted from 0, is made with."""
        if step < self.warmup:
            return (step + 1) / (self.warmup + 1)
        return float((1 - (step - self.warmup) / (self.steps - self.warmup)) ** self.power)


@dataclass(frozen=True)
class Descent:
    """What was seen on the way: the loss of every batch before its step, and processor time.

    `finite` is False where a loss or a gradient was not; the descent ended there.
    """

    losses: tuple[float, ...]
    finite: bool
    seconds: float
    optimizer_seconds: float


def descend(
    network: Stored,
    optimizers: Sequence[Optimizer],
    batches: Iterable[tuple[Tensor, Tensor]],
    schedule: Schedule,
    watch: Callable[[int], None] = lambda step: None,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Descent:
    """Train on every batch in turn.

    Args:
        network: maps inputs to logits, classes last.
        optimizers: their groups have the peak learning rates.
        batches: inputs and classes, `schedule.steps` of them.
        schedule: of the learning rate.
        watch: called before every step with its number, from 0; its time is not counted.
        on_step: told the loss of every batch.
    """
    groups = [(group, float(group["lr"])) for optimizer in optimizers for group in optimizer.param_groups]
    losses: list[float] = []
    seconds = optimizer_seconds = 0.0
    finite = True
    for step, (inputs, classes) in enumerate(batches):
        watch(step)
        begin = process_time()
        loss = loss_of(network(inputs), classes)
        losses.append(float(loss.detach()))
        finite = math.isfinite(losses[-1])
        if finite:
            network.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            finite = _finite_gradients(network)
        if not finite:
            break
        for group, peak in groups:
            group["lr"] = peak * schedule(step)
        begin_step = process_time()
        for optimizer in optimizers:
            optimizer.step()
        end_step = process_time()
        network.stepped()
        seconds += process_time() - begin
        optimizer_seconds += end_step - begin_step
        on_step(losses[-1])
    return Descent(tuple(losses), finite, seconds, optimizer_seconds)


def loss_of(logits: Tensor, classes: Tensor, reduction: str = "mean") -> Tensor:
    """Cross-entropy over all positions."""
    return functional.cross_entropy(logits.flatten(0, -2), classes.flatten(), reduction=reduction)


def _finite_gradients(network: Stored) -> bool:
    largest = [p.grad.abs().max() for p in network.parameters() if p.grad is not None]
    return bool(torch.stack(largest).isfinite().all())
