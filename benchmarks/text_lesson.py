"""A small GPT that learns a text character by character, trained by the code of `modular-manifolds transfer`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import get_args

import torch
from torch import nn
from torch.optim import Optimizer

import modular_manifolds as mm
from benchmarks.race import Part
from modular_manifolds.experiments.text import Text
from modular_manifolds.experiments.transfer_methods import METHODS
from modular_manifolds.experiments.transfer_trial import Course, Sweep, Trial, held_out_loss, train_step
from modular_manifolds.linalg import Precision

_REST = 0.1
"""AdamW's learning rate beside manifold Muon, over the latter."""


@dataclass(frozen=True)
class TextMethod:
    """Optimizers of the standard GPT, the same network for all, and a learning rate that suits them."""

    optimizers: Callable[[nn.Module, float], list[Optimizer]]
    lr: float


def _manifold_muon(precision: Precision) -> TextMethod:
    def optimizers(model: nn.Module, lr: float) -> list[Optimizer]:
        """Linear layers inside the blocks by manifold Muon, from where they are projected to; the rest by AdamW."""
        assert isinstance(model.blocks, nn.Module)
        matrices = [layer.weight for layer in model.blocks.modules() if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for weight in matrices:
                weight.copy_(mm.Stiefel().project(weight))
        taken = set(matrices)
        rest = [p for p in model.parameters() if p not in taken]
        groups = [{"params": matrices}, {"params": rest, "geometry": None, "budget": _REST}]
        return [mm.ManifoldMuon(groups, lr=lr, precision=precision)]

    return TextMethod(optimizers, lr=0.06)


TEXT_METHODS: Mapping[str, TextMethod] = {
    "adamw": TextMethod(METHODS["adamw"].optimizers, lr=2.0**-8),
    "muon": TextMethod(METHODS["muon"].optimizers, lr=2.0**-4),
    **{
        "manifold-muon" if precision == "exact" else f"manifold-muon-{precision}": _manifold_muon(precision)
        for precision in get_args(Precision)
    },
}


class TextLesson:
    """A part is a tenth of the run, which has a multiple of ten steps; the score, the loss on text held out."""

    parts = 10

    def __init__(self, text: Text, method: str, lr: float, course: Course, seed: int) -> None:
        self.lr = lr
        self._text, self._course = text, course
        # "adamw" names the standard network here, whatever steps it
        self._model = course.network(Trial(Sweep.DEPTH, course.depth, "adamw", lr, seed), text)
        self._optimizers = TEXT_METHODS[method].optimizers(self._model, lr)
        self._generator = torch.Generator().manual_seed(seed)
        self._step = 0

    @property
    def steps_per_part(self) -> int:
        return self._course.steps // self.parts

    def run_part(self, on_step: Callable[[float], None]) -> Part:
        begin = perf_counter()
        for _ in range(self.steps_per_part):
            lr = self.lr * (1 - self._step / self._course.steps)
            batch = self._text.batch(self._course.batch_size, self._generator)
            on_step(train_step(self._model, self._optimizers, lr, batch))
            self._step += 1
        seconds = perf_counter() - begin
        return Part(seconds, held_out_loss(self._model, self._text))
