"""The methods of the text sweep: a way to write the transformer, and the optimizers that train it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from math import sqrt

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

import modular_manifolds as mm
from modular_manifolds import (
    Geometry,
    MaxColumn,
    MaxRow,
    Oblique,
    ProjectedStep,
    Spectral,
    SpectralBall,
    Sphere,
    Stiefel,
)
from modular_manifolds.experiments.sweep.gpt import GPT, GPTShape, Positions
from modular_manifolds.projection import as_matrix

BETAS = (0.9, 0.99)
"""Of AdamW wherever it steps anything, as in nanoGPT's small setting."""

DECAY = 0.1
"""Of AdamW on matrices, nanoGPT's, and of torch.optim.Muon, as it ships."""

CAPS: Mapping[str, tuple[float, float]] = {
    ".query.": (2.0, 0.5),
    ".key.": (2.0, 0.5),
    ".value.": (0.7, 0.5),
    ".output.": (1.5, 0.5),
    ".up.": (4.0, 1.5),
    ".down.": (1.4, 1.0),
}
"""Bounds on the singular values of nanoGPT's matrices, and their root mean square to begin with."""

LOGIT_SCALE = 2.0
"""Where the unembedding is held at a size at which logits of width 128 could not exceed 8."""

Parameters = list[tuple[str, nn.Parameter]]


@dataclass(frozen=True)
class TextMethod:
    """One row of the table below.

    `network` makes the model for so many characters, its weights drawn from torch's global generator; `optimizers`, for
    a model, a learning rate and AdamW's weight decay (0 for methods that are swept without), puts the weights where the
    method keeps them, and returns what steps them. Learning rates fall together, from those of the groups as returned.
    `positions` are its network's own, None where those of the shape are taken.
    """

    summary: str
    network: Callable[[int, GPTShape], nn.Module]
    optimizers: Callable[[nn.Module, float, float], list[Optimizer]]
    lrs: tuple[float, ...]
    positions: Positions | None = None


def block_matrices(model: nn.Module) -> Parameters:
    """The matrices in the blocks, by name: those of attention and MLP."""
    return [(name, p) for name, p in model.named_parameters() if name.startswith("blocks.") and p.ndim == 2]


def others(model: nn.Module, taken: Iterable[tuple[str, Tensor]]) -> Parameters:
    """All parameters but those."""
    names = {name for name, _ in taken}
    return [(name, p) for name, p in model.named_parameters() if name not in names]


def decayed_adamw(named: Parameters, lr: float, weight_decay: float) -> Optimizer:
    """AdamW with weight decay on what has two axes, none on gains."""
    groups = [
        {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, betas=BETAS)


def on_manifolds(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    *,
    geometry: Callable[[str, int, int], Geometry | None],
    rest: float,
    momentum: float = 0.95,
) -> list[Optimizer]:
    """Every matrix projected and stepped by its geometry, by name and shape; AdamW at `rest` times `lr` for None."""
    groups: dict[Geometry | None, Parameters] = {}
    for name, p in model.named_parameters():
        chosen = geometry(name, *p.shape) if p.ndim == 2 else None
        if chosen is not None:
            with torch.no_grad():
                p.copy_(chosen.manifold.project(as_matrix(p)))
        groups.setdefault(chosen, []).append((name, p))
    free = {"geometry": None, "budget": rest, "betas": BETAS, "weight_decay": weight_decay}
    claimed = [
        {"params": named, **({"geometry": chosen} if chosen is not None else free)} for chosen, named in groups.items()
    ]
    return [mm.ModularOptimizer(claimed, lr=lr, momentum=momentum)]


def stiefel(m: int, n: int) -> Geometry:
    """All singular values 1."""
    return Geometry(Stiefel(), Spectral(), precision="balanced")


def sphere(m: int, n: int) -> Geometry:
    """Singular values of root mean square 1, otherwise free."""
    return Geometry(Sphere(radius=sqrt(min(m, n))), Spectral(), precision="balanced")


def _in_blocks(of: Callable[[int, int], Geometry]) -> Callable[[str, int, int], Geometry | None]:
    return lambda name, m, n: of(m, n) if name.startswith("blocks.") else None


def _mixed(name: str, m: int, n: int) -> Geometry | None:
    return _in_blocks(stiefel if ".attention." in name else sphere)(name, m, n)


def _normalised(name: str, m: int, n: int) -> Geometry | None:
    """Vectors of `width` numbers have length 1: columns of what writes to the stream, rows of everything else."""
    if name.endswith(("attention.output.weight", "down.weight")):
        return Geometry(Oblique("columns"), MaxColumn())
    return Geometry(Oblique("rows"), MaxRow())


def _capped(model: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    """Drawn well inside the ball: what a matrix begins with at the boundary, it could only forget by turning."""
    matrices = block_matrices(model)
    groups = []
    for name, p in matrices:
        radius, start = next(cap for part, cap in CAPS.items() if part in name)
        geometry = Geometry(SpectralBall(radius), Spectral(), solver=ProjectedStep(), precision="balanced")
        m, n = p.shape
        with torch.no_grad():
            p.copy_(geometry.manifold.project(p * (start * min(m, n) ** 0.5 / p.norm())))
        groups.append({"params": [(name, p)], "geometry": geometry, "budget": max(1.0, m / n) ** 0.5})
    free = {"geometry": None, "budget": 0.3, "betas": BETAS, "weight_decay": weight_decay}
    rest = {"params": others(model, matrices), **free}
    return [mm.ModularOptimizer([*groups, rest], lr=lr, momentum=0.9)]


def _adamw(model: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    return [decayed_adamw(list(model.named_parameters()), lr, weight_decay)]


def _muon(model: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    matrices = block_matrices(model)
    muon = torch.optim.Muon([p for _, p in matrices], lr=lr, weight_decay=DECAY)
    return [muon, decayed_adamw(others(model, matrices), 0.15 * lr, DECAY)]


def _modular(model: nn.Module, lr: float, weight_decay: float) -> list[Optimizer]:
    plan = mm.modularize(model, (torch.zeros(1, 2, dtype=torch.long),))
    plan.project_()
    return [mm.ModularOptimizer(plan, lr=lr)]


_nanogpt = partial(GPT, norm="layernorm")
_well_normed = partial(
    GPT,
    norm="rmsnorm",
    positions=Positions.ROTARY,
    qk_norm=True,
    gains=False,
    stream="average",
    logit_scale=LOGIT_SCALE,
)
_ngpt = partial(GPT, norm="rmsnorm", positions=Positions.ROTARY, qk_norm=True, stream="sphere")

TEXT_METHODS: Mapping[str, TextMethod] = {
    "adamw": TextMethod(
        "nanoGPT's network, torch.optim.AdamW on everything, betas 0.9 and 0.99",
        _nanogpt,
        _adamw,
        lrs=(3e-4, 1e-3, 2e-3, 3e-3, 6e-3, 1e-2, 2e-2),
    ),
    "muon": TextMethod(
        "nanoGPT's network, torch.optim.Muon as shipped on the blocks' matrices, AdamW at 0.15 of its rate on the rest",
        _nanogpt,
        _muon,
        lrs=(3e-3, 6e-3, 1e-2, 2e-2, 4e-2, 8e-2, 0.16),
    ),
    "manifold-muon": TextMethod(
        "RMS-normalised network of averaging residuals, planned by modularize: Stiefel by head, budgets for all",
        _well_normed,
        _modular,
        lrs=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
        positions=Positions.ROTARY,
    ),
    "stiefel": TextMethod(
        "nanoGPT's network, Stiefel x spectral on the blocks' matrices, AdamW at a quarter of the rate on the rest",
        _nanogpt,
        partial(on_manifolds, geometry=_in_blocks(stiefel), rest=0.25, momentum=0.9),
        lrs=(2e-3, 4e-3, 8e-3, 1.5e-2, 3e-2, 6e-2, 0.12),
    ),
    "capped": TextMethod(
        "nanoGPT's network, spectral ball x spectral on the blocks' matrices, of radius 2, 2, 0.7 and 1.5 in "
        "attention, 4 and 1.4 in the MLP, steps projected, budget sqrt(max(1, m / n)), momentum 0.9; AdamW at 0.3 of "
        "the rate on the rest",
        _nanogpt,
        _capped,
        lrs=(5e-3, 1e-2, 1.5e-2, 2e-2, 3e-2, 4e-2, 8e-2),
    ),
    "mixed": TextMethod(
        "nanoGPT's network, Stiefel x spectral in attention, Frobenius sphere x spectral in the MLP, AdamW at 0.3 of "
        "the rate on the rest",
        _nanogpt,
        partial(on_manifolds, geometry=_mixed, rest=0.3, momentum=0.9),
        lrs=(2e-3, 4e-3, 8e-3, 1.5e-2, 3e-2, 6e-2, 0.12),
    ),
    "sphere": TextMethod(
        "nanoGPT's network, Frobenius sphere x spectral on the blocks' matrices, AdamW at 0.3 of the rate on the rest",
        _nanogpt,
        partial(on_manifolds, geometry=_in_blocks(sphere), rest=0.3, momentum=0.9),
        lrs=(2e-3, 4e-3, 8e-3, 1.5e-2, 3e-2, 6e-2, 0.12),
    ),
    "normalised": TextMethod(
        "as nGPT: stream, queries and keys normalised, every vector of a weight along the width of length 1 and turned "
        "by at most the rate, AdamW at 0.1 of it on gains and shares",
        _ngpt,
        partial(on_manifolds, geometry=_normalised, rest=0.1, momentum=0.9),
        lrs=(4e-3, 8e-3, 1.5e-2, 3e-2, 6e-2, 0.12, 0.25),
        positions=Positions.ROTARY,
    ),
}
