"""The methods of the transfer study: a way to write a network, and the optimizer that goes with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import torch
from torch import nn
from torch.optim import Optimizer

import modular_manifolds as mm
from modular_manifolds.experiments import transfer_modular, transfer_standard
from modular_manifolds.experiments.task import Task

_LARGE = 16_384


class Networks(Protocol):
    """A module with the two families of networks."""

    def wide(self, task: Task, width: int, depth: int) -> nn.Module: ...

    def deep(self, task: Task, width: int, depth: int) -> nn.Module: ...


@dataclass(frozen=True)
class Method:
    """One row of the table below; `lr` is where the search for learning rates begins."""

    summary: str
    networks: Networks
    optimizers: Callable[[nn.Module, float], list[Optimizer]]
    lr: float


def _modular(model: nn.Module, lr: float) -> list[Optimizer]:
    groups = cast(Any, model).param_groups()
    for group in groups:
        _, weight = group["params"][0]
        if weight.numel() > _LARGE:  # bfloat16 products only pay in large matrices
            group["geometry"] = replace(group["geometry"], precision="balanced")
    return [mm.ModularOptimizer(groups, lr=lr, nonfinite="skip")]


def _adamw(model: nn.Module, lr: float) -> list[Optimizer]:
    return [torch.optim.AdamW(model.parameters(), lr=lr)]


def _muon(model: nn.Module, lr: float) -> list[Optimizer]:
    matrices = [module.weight for module in model.modules() if isinstance(module, nn.Linear)]
    taken = set(matrices)
    others = [p for p in model.parameters() if p not in taken]
    muon: Optimizer = torch.optim.Muon(matrices, lr=lr)
    return [muon, torch.optim.AdamW(others, lr=lr)] if others else [muon]


METHODS: Mapping[str, Method] = {
    "modular": Method(
        "modules of mm.nn, every weight on its manifold, stepped by ModularOptimizer with each leaf's budget",
        transfer_modular,
        _modular,
        lr=2.0,
    ),
    "adamw": Method(
        "standard network, torch.optim.AdamW as shipped on every weight", transfer_standard, _adamw, lr=2.0**-8
    ),
    "muon": Method(
        "standard network, torch.optim.Muon as shipped on every linear layer; AdamW, at the same rate, on the rest",
        transfer_standard,
        _muon,
        lr=2.0**-5,
    ),
}
