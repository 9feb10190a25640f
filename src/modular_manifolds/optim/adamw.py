"""AdamW for the parameters that live on no manifold: torch's own update, on states kept like the other groups'."""

from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from modular_manifolds.linalg import working_dtype
from modular_manifolds.optim.batches import State


def adamw_(group: dict[str, Any], weights: list[Tensor], grads: list[Tensor], states: list[State]) -> None:
    """One AdamW step on `weights`, in place (Loshchilov & Hutter, arXiv 1711.05101)."""
    for w, state in zip(weights, states, strict=True):
        start_adamw(w, state)
    adamw(
        weights,
        grads,
        [s["exp_avg"] for s in states],
        [s["exp_avg_sq"] for s in states],
        [],
        [s["step"] for s in states],
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"] * group["budget"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,  # the gradients have been turned round already
    )


def start_adamw(w: Tensor, state: State) -> None:
    """The state before the first step, where there is none yet."""
    if "exp_avg" not in state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        state["exp_avg"] = torch.zeros_like(w, dtype=working_dtype(w.dtype))
        state["exp_avg_sq"] = torch.zeros_like(w, dtype=working_dtype(w.dtype))
