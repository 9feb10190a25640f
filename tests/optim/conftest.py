"""A small network, its groups, and its training."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import modular_manifolds as mm


def build(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    sizes = [8, 16, 16, 16, 4]
    layers = [layer for m, n in zip(sizes[1:], sizes[:-1], strict=True) for layer in (nn.Linear(n, m), nn.ReLU())]
    return nn.Sequential(*layers[:-1]).to(dtype)


def group(model: nn.Module, **settings: Any) -> list[dict[str, Any]]:
    """Matrices on the Stiefel manifold, biases to AdamW; the matrices are put on the manifold."""
    named = list(model.named_parameters())
    groups = [
        {"params": [item for item in named if item[1].ndim == 2], "geometry": mm.Geometry(mm.Stiefel(), mm.Spectral())},
        {"params": [item for item in named if item[1].ndim == 1], "geometry": None, "lr": 1e-2, "weight_decay": 0.1},
    ]
    mm.project_(groups)
    return [{**g, **settings} for g in groups]


def run(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int, scheduler: Any = None) -> float:
    generator = torch.Generator().manual_seed(1)
    dtype = next(model.parameters()).dtype
    x, y = torch.randn(32, 8, generator=generator).to(dtype), torch.randint(0, 4, (32,), generator=generator)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x).float(), y)
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return loss.item()


@pytest.fixture
def network() -> Callable[..., nn.Sequential]:
    return build


@pytest.fixture
def grouped() -> Callable[..., list[dict[str, Any]]]:
    return group


@pytest.fixture
def train() -> Callable[..., float]:
    return run
