"""What all text trials of a sweep have in common, and how one of them is trained."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Int
from torch import Tensor

from modular_manifolds.experiments.sweep.descent import Schedule, descend, loss_of
from modular_manifolds.experiments.sweep.diagnostics import (
    activation_rms,
    attention_logits,
    sample,
    spectra,
    violation,
)
from modular_manifolds.experiments.sweep.formats import Stored
from modular_manifolds.experiments.sweep.gpt import GPTShape
from modular_manifolds.experiments.sweep.text_methods import TEXT_METHODS
from modular_manifolds.experiments.sweep.trial import (
    Inside,
    Outcome,
    Spectrum,
    Trial,
    brief,
    curve,
    curve_every,
    final_loss,
)
from modular_manifolds.experiments.text import Text

_HELD_OUT_POINTS = 10
_SPECTRA = 4
"""Singular values are looked at so many times before the end."""


@dataclass(frozen=True)
class TextCourse:
    """Sizes of the transformer, and how long it is trained."""

    shape: GPTShape
    steps: int
    batch_size: int
    warmup: int
    power: float = 1.0

    def recipe(self, method: str) -> str:
        """What the method's name stands for."""
        return TEXT_METHODS[method].summary

    def steps_of(self, data: Text) -> int:
        """Of a trial."""
        return self.steps

    def train(self, trial: Trial, data: Text, on_step: Callable[[float], None] = lambda loss: None) -> Outcome:
        """Train, and look inside on the way and at the end.

        All trials of one seed see the same batches. `on_step` is told the loss of every batch.
        """
        method = TEXT_METHODS[trial.method]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(trial.seed)
            model = method.network(data.classes, self.shape)
        optimizers = method.optimizers(model, trial.lr, trial.weight_decay or 0.0)
        network = Stored(model, trial.weights)
        held_out: list[tuple[int, float]] = []
        seen: dict[int, dict[str, tuple[float, float, float]]] = {}

        def watch(step: int) -> None:
            if step % max(self.steps // _HELD_OUT_POINTS, 1) == 0 and len(held_out) < _HELD_OUT_POINTS:
                held_out.append((step, brief(held_out_loss(network, data, batches=1))))
            if step % max(self.steps // _SPECTRA, 1) == 0 and len(seen) < _SPECTRA:
                seen[step] = spectra(network)

        generator = torch.Generator().manual_seed(trial.seed)
        batches = (data.batch(self.batch_size, generator) for _ in range(self.steps))
        descent = descend(network, optimizers, batches, Schedule(self.steps, self.warmup, self.power), watch, on_step)
        steps = len(descent.losses)
        last = held_out_loss(network, data)
        held_out.append((steps, brief(held_out_loss(network, data, batches=1))))
        seen[steps] = spectra(network)
        train_loss, every = final_loss(descent.losses), curve_every(self.steps)
        return Outcome(
            held_out_loss=last,
            accuracy=None,
            train_loss=train_loss,
            diverged=not descent.finite or not math.isfinite(last) or train_loss > math.log(data.classes),
            steps=steps,
            seconds=descent.seconds,
            optimizer_seconds=descent.optimizer_seconds,
            violation=violation(network, optimizers),
            curve_every=every,
            train_curve=curve(descent.losses, every),
            held_out_curve=tuple(held_out),
            inside=_inside(network, data, seen),
        )


@torch.no_grad()
def held_out_loss(network: Stored, text: Text, batches: int | None = None) -> float:
    """Mean cross-entropy over what is held out, or so many batches of it; infinite where it is not finite."""
    total, count = 0.0, 0
    for inputs, classes in islice(text.held_out(), batches):
        total += float(loss_of(network(inputs), classes, "sum"))
        count += classes.numel()
    return total / count if math.isfinite(total) else math.inf


def _inside(network: Stored, text: Text, seen: dict[int, dict[str, tuple[float, float, float]]]) -> Inside:
    tokens: Int[Tensor, "batch positions"] = next(text.held_out())[0]
    names = next(iter(seen.values()))
    return Inside(
        activation_rms=activation_rms(network, tokens),
        attention_logits=attention_logits(network, tokens),
        steps=tuple(seen),
        spectra=tuple(Spectrum(name, tuple(at[name] for at in seen.values())) for name in names),
        sample=sample(network, text),
    )
