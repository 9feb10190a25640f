"""Steepest descent on a manifold: momentum, then one geometry step for each batch of same-shaped weights."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from modular_manifolds.optim.projection import as_matrix


def descend_(group: dict[str, Any], weights: list[Tensor], grads: list[Tensor], states: list[dict[str, Any]]) -> None:
    """One step of the group's geometry on `weights`, in place."""
    if group["maximize"]:
        grads = list(torch._foreach_neg(grads))
    if group["momentum"] > 0:
        grads = _momentum(group, grads, states)
    batches = defaultdict(list)
    for w, g in zip(weights, grads, strict=True):
        if w.numel():
            batches[w.shape, w.dtype, w.device].append((as_matrix(w), as_matrix(g)))
    for batch in batches.values():
        old = [w for w, _ in batch]
        w, g = _stack(old), _stack([g for _, g in batch])
        if group["weight_decay"]:
            w = w * (1 - group["lr"] * group["weight_decay"])
        torch._foreach_copy_(old, list(group["geometry"].step(w, g, group["lr"]).unbind()))


def _momentum(group: dict[str, Any], grads: list[Tensor], states: list[dict[str, Any]]) -> list[Tensor]:
    """The exponential average of the gradients, looking one step ahead if `nesterov`, as in torch.optim.Muon."""
    for g, state in zip(grads, states, strict=True):
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(g)
    averages = [s["momentum"] for s in states]
    torch._foreach_lerp_(averages, grads, 1 - group["momentum"])
    return list(torch._foreach_lerp(grads, averages, group["momentum"])) if group["nesterov"] else averages


def _stack(matrices: list[Tensor]) -> Tensor:
    return torch.stack(matrices) if len(matrices) > 1 else matrices[0].unsqueeze(0)
