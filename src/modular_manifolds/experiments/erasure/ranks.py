"""Stable rank of the first gradient and of the first updates, against the width of the network."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.nn import functional

from modular_manifolds.experiments.erasure.setting import Images, Setting
from modular_manifolds.experiments.erasure.trial import MIDDLE, build, stable_rank
from modular_manifolds.experiments.erasure.updates import METHODS
from modular_manifolds.experiments.results import plain


@dataclass(frozen=True)
class Start:
    """An untrained network without a picture."""

    setting: Setting
    width: int
    seed: int

    def __str__(self) -> str:
        return f"{self.setting}, width {self.width}, seed {self.seed}"


Ranks = Mapping[str, float]
"""By method, whose update it is of; "plain" is the gradient itself."""


def read_row(row: Mapping[str, Any]) -> tuple[Start, Ranks]:
    """Of ranks.json."""
    ranks = {name: math.nan if rank is None else rank for name, rank in row["ranks"].items()}
    return Start(Setting(row["setting"]), row["width"], row["seed"]), ranks


def write_row(start: Start, ranks: Ranks) -> dict[str, Any]:
    """The row of ranks.json: plain JSON values only."""
    row: dict[str, Any] = plain({**asdict(start), "ranks": ranks})
    return row


def measure(start: Start, images: Images, features: int, classes: int, batch_size: int) -> Ranks:
    """Of the middle matrix, for one batch; every method begins there, as all its singular values are 1."""
    model = build(features, start.width, classes, start.seed)
    inputs, labels = images.batch(batch_size, torch.Generator().manual_seed(start.seed))
    logits = model(inputs)
    loss = functional.mse_loss(logits, functional.one_hot(labels, classes).to(logits))
    middle = list(model.parameters())[MIDDLE]
    (gradient,) = torch.autograd.grad(loss, [middle])
    w = middle.detach()
    # a step this long is exact to rounding, and short enough for the manifold to look flat
    return {
        name: stable_rank(updates().step(w.double(), gradient.double(), 1e-3) - w.double())
        for name, updates in METHODS.items()
    }
