"""One training of a network with a picture in its middle matrix, and what came of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from modular_manifolds import Stiefel
from modular_manifolds.experiments.erasure.picture import Survival, thumbnail
from modular_manifolds.experiments.erasure.setting import Images, Setting
from modular_manifolds.experiments.erasure.updates import METHODS, Updates, radius
from modular_manifolds.experiments.network import MLP
from modular_manifolds.experiments.results import plain
from modular_manifolds.experiments.training import evaluate
from modular_manifolds.linalg import spectral_norm

MIDDLE = 1
"""The layer with the picture, of three."""

_LOOKS = 10
"""Steps at which stable ranks are measured, the first and the last among them."""


@dataclass(frozen=True)
class Trial:
    """What to train: `lr` is the length of a step of the network, of which every layer gets a third."""

    setting: Setting
    method: str
    lr: float
    seed: int

    def __str__(self) -> str:
        return f"{self.setting}, {self.method}, lr {self.lr:g}, seed {self.seed}"


@dataclass(frozen=True)
class Outcome:
    """How it went: accuracies in percent, of all test images and of the training images that batches were drawn from.

    Of the middle matrix: what survives of its start; the stable ranks of gradients and updates, means over the steps
    looked at that had any, and of the whole change; and a thumbnail.
    """

    test_accuracy: float
    train_accuracy: float
    correlation: float
    contrast: float
    start_contrast: float
    gradient_rank: float
    update_rank: float
    change_rank: float
    steps: int
    picture: str

    @property
    def summary(self) -> str:
        """In a line."""
        return f"test {self.test_accuracy:.2f} %, contrast {self.contrast:.2f} of {self.start_contrast:.2f}"


def read_row(row: Mapping[str, Any]) -> tuple[Trial, Outcome]:
    """Of results.json."""
    numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in row["outcome"].items()}
    return Trial(Setting(row["setting"]), row["method"], row["lr"], row["seed"]), Outcome(**numbers)


def write_row(trial: Trial, outcome: Outcome) -> dict[str, Any]:
    """The row of results.json: plain JSON values only."""
    row: dict[str, Any] = plain({**asdict(trial), "outcome": asdict(outcome)})
    return row


def stable_rank(x: Float[Tensor, "m n"]) -> float:
    """||x||_F^2 / ||x||_2^2, in float64: how many directions a matrix has, by their weight; nan of 0."""
    x = x.double()
    return float(x.square().sum() / spectral_norm(x).square())


def build(features: int, width: int, classes: int, seed: int, where: Bool[Tensor, "width width"] | None = None) -> MLP:
    """A network of three weights without biases, semi-orthogonal and of RMS operator norm 1; `where` is left blank."""
    model = MLP(features, (width, width), classes, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(Stiefel(radius(*weight.shape)).random(weight.shape, generator=generator))
        if where is not None:
            list(model.parameters())[MIDDLE][where] = 0
    return model


def starting_picture(method: str, model: MLP) -> Float[Tensor, "width width"]:
    """The middle matrix as `method` begins with it."""
    return METHODS[method]().start(list(model.parameters())[MIDDLE].detach())


def train(
    trial: Trial,
    images: Images,
    model: MLP,
    where: Bool[Tensor, "width width"],
    steps: int,
    batch_size: int,
    on_step: Callable[[float], None] = lambda loss: None,
) -> Outcome:
    """Train `model` to the one-hot labels in mean square, at a constant learning rate, as published.

    A step that leads to numbers that are not finite is not taken, and ends the training.
    """
    weights = list(model.parameters())
    updates = [METHODS[trial.method]() for _ in weights]
    with torch.no_grad():
        for weight, update in zip(weights, updates, strict=True):
            weight.copy_(update.start(weight))
    start = weights[MIDDLE].detach().clone()
    generator = torch.Generator().manual_seed(trial.seed)
    looks = {round((steps - 1) * look / (_LOOKS - 1)) for look in range(_LOOKS)}
    ranks: list[tuple[float, float]] = []
    taken = 0
    for step in range(steps):
        inputs, labels = images.batch(batch_size, generator)
        logits = model(inputs)
        loss = functional.mse_loss(logits, functional.one_hot(labels, logits.shape[1]).to(logits))
        gradients = torch.autograd.grad(loss, weights)
        before = weights[MIDDLE].detach().clone()
        if not _step(weights, updates, gradients, trial.lr / len(weights)):
            break
        taken += 1
        if step in looks:
            ranks.append((stable_rank(gradients[MIDDLE]), stable_rank(weights[MIDDLE].detach() - before)))
        on_step(float(loss.detach()))
    middle = weights[MIDDLE].detach()
    survival = Survival.of(middle, start, where)
    gradient_ranks, update_ranks = zip(*ranks, strict=True) if ranks else ((), ())
    return Outcome(
        test_accuracy=evaluate(model, images.test)[1],
        train_accuracy=evaluate(model, images.seen)[1],
        correlation=survival.correlation,
        contrast=survival.contrast,
        start_contrast=Survival.of(start, start, where).contrast,
        gradient_rank=_mean(gradient_ranks),
        update_rank=_mean(update_ranks),
        change_rank=stable_rank(middle - start),
        steps=taken,
        picture=thumbnail(middle),
    )


def _mean(ranks: Sequence[float]) -> float:
    known = [rank for rank in ranks if not math.isnan(rank)]
    return fmean(known) if known else math.nan


@torch.no_grad()
def _step(weights: list[torch.nn.Parameter], updates: list[Updates], gradients: tuple[Tensor, ...], lr: float) -> bool:
    """Move the weights, unless that would leave the finite numbers."""
    if not all(bool(g.isfinite().all()) for g in gradients):
        return False
    moved = [update.step(w, g, lr) for w, update, g in zip(weights, updates, gradients, strict=True)]
    if not all(bool(w.isfinite().all()) for w in moved):
        return False
    for weight, new in zip(weights, moved, strict=True):
        weight.copy_(new)
    return True
