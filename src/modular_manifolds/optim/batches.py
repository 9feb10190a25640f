"""Weights of one shape stepped as one: stacks of them, of their gradients and of what is kept for each."""

from collections import defaultdict
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from modular_manifolds.projection import as_matrix, as_parameter

LARGEST = 2**21
"""Entries of a batch on a CPU: more do not make it faster, and copying them into a stack costs time and memory."""

State = MutableMapping[str, Any]
"""What an optimizer keeps for one parameter."""


class Batch:
    """Weights of one shape, dtype and device with the same entries in their state, and their gradients, as stacks."""

    def __init__(self, weights: list[Tensor], grads: list[Tensor], states: list[State], kernel_axes: int = 0) -> None:
        self._weights, self._states, self._kernel_axes = weights, states, kernel_axes
        self.w: Float[Tensor, "k *b m n"] = self._stack(weights)
        self.g: Float[Tensor, "k *b m n"] = self._stack(grads)

    def __len__(self) -> int:
        return len(self._weights)

    def load(self, name: str) -> Tensor | None:
        """A stack of what was stored by this name; None where nothing was."""
        return self._stack([s[name] for s in self._states]) if name in self._states[0] else None

    def store(self, name: str, values: Float[Tensor, "k *b _ _"]) -> None:
        """Keep one item of the stack for each weight, in the weight's own shape where the sizes agree."""
        for w, state, value in zip(self._weights, self._states, values, strict=True):
            if name in state:
                as_matrix(state[name], self._kernel_axes).copy_(value)
            else:
                kept = as_parameter(value, self._kernel_axes)
                state[name] = (kept.reshape(w.shape) if kept.numel() == w.numel() else kept).clone()

    def count(self) -> int:
        """Add 1 to the number of steps, which all weights of a batch have in common, and return it."""
        for state in self._states:
            state.setdefault("step", torch.zeros((), dtype=torch.float32))
            state["step"] += 1
        return int(self._states[0]["step"])

    def move(self, new: Float[Tensor, "k *b m n"]) -> None:
        """Overwrite the weights."""
        torch._foreach_copy_([as_matrix(w, self._kernel_axes) for w in self._weights], list(new.unbind()))

    def _stack(self, tensors: list[Tensor]) -> Tensor:
        matrices = [as_matrix(t, self._kernel_axes) for t in tensors]
        return torch.stack(matrices) if len(matrices) > 1 else matrices[0].unsqueeze(0)


def batches(
    weights: list[Tensor],
    grads: list[Tensor],
    states: list[State],
    kernel_axes: int = 0,
    prepare: Callable[[list[Tensor], list[State]], list[Tensor]] = lambda grads, states: grads,
) -> Iterator[Batch]:
    """All weights but the empty ones, in batches; with kernel axes, as the taps of convolutions.

    `prepare` makes of the gradients of a batch what is stacked in their place: not of all at once, to save memory.
    """
    places = defaultdict(list)
    for i, (w, state) in enumerate(zip(weights, states, strict=True)):
        if w.numel():
            places[w.shape, w.dtype, w.device, frozenset(state), int(state.get("step", 0))].append(i)
    for (_, _, device, _, _), group in places.items():
        most = max(1, LARGEST // weights[group[0]].numel()) if device.type == "cpu" else len(group)
        for start in range(0, len(group), most):
            piece = group[start : start + most]
            of_piece = [states[i] for i in piece]
            # what is prepared is not kept here, once it is stacked
            yield Batch(
                [weights[i] for i in piece], prepare([grads[i] for i in piece], of_piece), of_piece, kernel_axes
            )
