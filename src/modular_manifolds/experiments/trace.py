"""What happens to weights from step to step: how far they are from the manifold, and whether they oscillate there."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import parametrize

from modular_manifolds.experiments.data import Dataset
from modular_manifolds.experiments.methods import Method
from modular_manifolds.experiments.results import singular_values
from modular_manifolds.experiments.run import Run
from modular_manifolds.experiments.training import Training

BURN_IN = 0.2
"""The share of a run's steps that are not looked at for oscillation: momentum and distance settle first."""

_HELD = 1e-4
"""A distance that is never larger is the rounding of a weight that is held on the manifold."""


class TracedTraining(Training):
    """A run that records, at the weights before each step and for every layer,

    - loss (steps,): of the batch.
    - distance (steps, layers): Frobenius distance of the raw weight to the Stiefel manifold.
    - turn (steps, layers): cosine between the last change of the effective weight and the one before it.
    - swing (steps, layers): the same of the raw weight's singular values, which are 1 on the manifold. A weight that
      swings from one side of it to the other and back has -1, even if its distance stays the same.
    """

    def __init__(self, run: Run, data: Dataset, method: Method) -> None:
        super().__init__(run, data, method)
        self._rows: list[Tensor] = []
        self._past: dict[str, list[list[Tensor]]] = {"turn": [], "swing": []}

    def weights(self) -> dict[str, Tensor]:
        """A copy of every weight as the network uses it, which a soft constraint makes of the raw one."""
        return {f"layers.{i}.weight": w.detach().clone() for i, w in enumerate(self._used())}

    def tensors(self) -> dict[str, Tensor]:
        """The weights, and the trace."""
        return {**self.weights(), **self.trace()}

    def trace(self) -> dict[str, Tensor]:
        """The record so far, by name."""
        loss, *rest = torch.stack(self._rows).T
        distance, turn, swing = torch.stack(rest).reshape(3, -1, len(self._rows)).mT
        parts = {"loss": loss, "distance": distance, "turn": turn, "swing": swing}
        return {name: part.contiguous() for name, part in parts.items()}

    def state_dict(self) -> dict[str, Any]:
        """As of any training, with the record and what its next row depends on."""
        return {**super().state_dict(), "rows": self._rows, "past": self._past}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to the end of the epoch at which `state` was taken."""
        super().load_state_dict(state)
        self._rows, self._past = state["rows"], state["past"]

    def _used(self) -> list[Tensor]:
        return [layer.weight for layer in self._model.layers]  # type: ignore[misc]

    def _step(self, inputs: Tensor, labels: Tensor, lr: float, batch_size: int) -> None:
        spectra = [singular_values(w.detach()) for w in self._model.parameters()]
        with parametrize.cached():  # the network then uses the very weights that are looked at
            turn = self._cosines("turn", [w.detach().clone() for w in self._used()])
            super()._step(inputs, labels, lr, batch_size)
        distance = torch.stack([torch.linalg.vector_norm(sigma - 1) for sigma in spectra])
        row = [self.loss.reshape(1), distance, turn, self._cosines("swing", spectra)]
        self._rows.append(torch.cat([part.float() for part in row]))

    def _cosines(self, name: str, now: list[Tensor]) -> Tensor:
        """Between the last two changes of every tensor: those to what it is `now`, and before."""
        self._past[name] = [*self._past[name], now][-3:]
        if len(self._past[name]) < 3:
            return torch.full((len(now),), math.nan)
        cosines = [
            torch.cosine_similarity((c - b).flatten(), (b - a).flatten(), dim=0)
            for a, b, c in zip(*self._past[name], strict=True)
        ]
        return torch.stack(cosines)


@dataclass(frozen=True)
class Movement:
    """How a run's weights end, and how they move after the burn-in; means over the layers.

    - distance, effective_distance: of the raw and of the effective weight to the manifold, before the last step.
    - pull: a there, 0 for a weight that nothing holds.
    - reversals: the share of steps at which the distance turns round, from growing to shrinking or back: 0 for a drift,
      1/2 for a random walk, 1 for an oscillation of period two. As W_eff's distance, (1 - a) d, grows with d, it turns
      round at the same steps. nan for weights that are held on the manifold.
    - autocorrelation: of successive increments of the distance, each over its learning rate: near 1 for a drift, 0 for
      a random walk, -1 for such an oscillation. nan likewise.
    - swing: mean cosine between successive changes of the raw singular values: likewise. nan likewise.
    - turn: mean cosine between successive changes of the effective weight, negative where steps undo one another.
    """

    distance: float
    effective_distance: float
    pull: float
    reversals: float
    autocorrelation: float
    swing: float
    turn: float

    @classmethod
    def of(cls, trace: Mapping[str, Float[Tensor, "steps ..."]], kappa: float | None) -> "Movement":
        """Of the trace of a run whose learning rate falls linearly to 0."""
        steps = len(trace["loss"])
        first = max(int(BURN_IN * steps), 2)
        d, swing, turn = (trace[name][first:].double() for name in ("distance", "swing", "turn"))
        increments = d.diff(dim=0)
        rates = 1 - torch.arange(first, steps - 1, dtype=torch.float64) / steps
        deviation = increments / rates.unsqueeze(1)
        deviation = deviation - deviation.mean(0)
        moves = (d.amax(0) > _HELD) & (increments != 0).any(0)

        def mean(values: Tensor) -> float:
            return float(values[moves].mean()) if bool(moves.any()) else math.nan

        pull = torch.zeros_like(d[-1]) if kappa is None else 1 / (1 + kappa * d[-1].square())
        return cls(
            distance=float(d[-1].mean()),
            effective_distance=float(((1 - pull) * d[-1]).mean()),
            pull=float(pull.mean()),
            reversals=mean((increments[1:] * increments[:-1] < 0).double().mean(0)),
            autocorrelation=mean((deviation[1:] * deviation[:-1]).mean(0) / deviation.square().mean(0)),
            swing=mean(swing.mean(0)),
            turn=float(turn[turn != 0].mean()),  # torch's cosine to no change at all is 0
        )
