"""A training whose directions are graded now and then."""

from dataclasses import dataclass
from time import process_time

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds import Geometry
from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.methods import Method
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.training import Training

LOOKS = 10
"""Steps at which directions are graded, the first and the last among them."""


@dataclass(frozen=True)
class Grade:
    """Of the directions of one step, a number a layer.

    `gaps`: the share of the steepest decrease that is missed to first order; `tangencies`: the share of the direction
    that sticks out of the tangent space. `milliseconds`: processor time to step all layers, which other work on the
    machine does not lengthen.
    """

    gaps: tuple[float, ...]
    tangencies: tuple[float, ...]
    milliseconds: float


class GradedTraining(Training):
    """A run that grades the directions of `LOOKS` of its steps, spread evenly, at the weights and gradients there."""

    def __init__(self, run: Run, data: Dataset, method: Method) -> None:
        super().__init__(run, data, method)
        assert method.geometry is not None
        self._geometries = [method.geometry(*weight.shape) for weight in self._model.parameters()]
        last = run.epochs * self.steps_per_epoch - 1
        self._due = {round(last * look / (LOOKS - 1)) for look in range(LOOKS)}
        self._taken = 0
        self.grades: list[Grade] = []

    def _step(self, inputs: Tensor, labels: Tensor, lr: float, batch_size: int) -> None:
        before = [w.detach().clone() for w in self._model.parameters()] if self._taken in self._due else []
        super()._step(inputs, labels, lr, batch_size)
        if before:
            gradients = [w.grad for w in self._model.parameters() if w.grad is not None]
            self.grades.append(grade(self._geometries, before, gradients, lr))
        self._taken += 1


@torch.no_grad()
def grade(geometries: list[Geometry], weights: list[Tensor], gradients: list[Tensor], lr: float) -> Grade:
    """Of the step from these weights against these gradients."""
    begin = process_time()
    for geometry, w, g in zip(geometries, weights, gradients, strict=True):
        geometry.step(w, g, lr)
    seconds = process_time() - begin
    gaps, tangencies = [], []
    for geometry, w, g in zip(geometries, weights, gradients, strict=True):
        a = geometry.lmo(w, g)
        tangencies.append(float(geometry.certificate(w, g, a).tangency))
        gaps.append(float(geometry.certificate(w, g, tangent_part(geometry, w, a)).gap))
    return Grade(tuple(gaps), tuple(tangencies), 1000 * seconds)


def tangent_part(geometry: Geometry, w: Float[Tensor, "m n"], a: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Where a step along `a` goes to first order once it is back on the manifold, shortened to unit norm if longer.

    A direction that is not tangent can promise more than any tangent one, and does not keep it.
    """
    tangent = geometry.manifold.to_tangent(w.double(), a.double())
    return tangent / geometry.norm(tangent).clamp(min=1.0)
