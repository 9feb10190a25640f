"""Steepest descent on a manifold: momentum, then one geometry step for each batch of same-shaped weights."""

from typing import Any

import torch
from torch import Tensor

from modular_manifolds.optim.batches import Batch, State, batches


def descend_(group: dict[str, Any], weights: list[Tensor], grads: list[Tensor], states: list[State]) -> None:
    """One step of the group's geometry on `weights`, in place."""
    tangent = group["momentum_on"] == "tangent"
    geometry = group["geometry"]
    lr = group["lr"] * group["budget"]

    def prepare(grads: list[Tensor], states: list[State]) -> list[Tensor]:
        return average(group, grads, states) if group["momentum"] > 0 and not tangent else grads

    for batch in batches(weights, grads, states, geometry.kernel_axes, prepare):
        w, g, own = batch.w, batch.g, len(batch) > 1
        if group["momentum"] > 0:
            g = _carried_average(group, batch) if tangent else g
            own |= tangent or group["nesterov"]
        if group["weight_decay"]:
            w = w * (1 - lr * group["weight_decay"])
        memory = None
        if geometry.remembers:
            memory = batch.load("memory")
            memory = torch.zeros_like(w) if memory is None else memory.clone()
        batch.move(geometry.step(w, g, lr, memory, scratch=own))
        if memory is not None:
            batch.store("memory", memory)
        del batch, w, g  # before the next are made


def kept(group: dict[str, Any]) -> tuple[str, ...]:
    """What a step keeps for each weight, of the weight's shape."""
    names = (("momentum", group["momentum"] > 0), ("memory", group["geometry"].remembers))
    return tuple(name for name, needed in names if needed)


def average(group: dict[str, Any], grads: list[Tensor], states: list[State]) -> list[Tensor]:
    """The exponential average of the gradients, looking one step ahead if `nesterov`, as in torch.optim.Muon."""
    for g, state in zip(grads, states, strict=True):
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(g)
    averages = [s["momentum"] for s in states]
    torch._foreach_lerp_(averages, grads, 1 - group["momentum"])
    return list(torch._foreach_lerp(grads, averages, group["momentum"])) if group["nesterov"] else averages


def _carried_average(group: dict[str, Any], batch: Batch) -> Tensor:
    """The same, of the gradients' tangent parts: the average so far is carried along by projection to where w is now.

    Carrying waits for the step that needs it: as projections are linear, one then does for average and gradient.
    """
    beta = group["momentum"]
    past = batch.load("momentum")
    mixed = batch.g * (1 - beta) if past is None else past.lerp(batch.g, 1 - beta)
    average = group["geometry"].manifold.to_tangent(batch.w, mixed)
    batch.store("momentum", average)
    # the normal part of the gradient that is left in here moves nothing: no direction depends on it
    return batch.g.lerp(average, beta) if group["nesterov"] else average
