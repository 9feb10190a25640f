"""What one run leaves behind: the rows of results.json."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Epoch:
    """The network after `epoch` epochs (0: as initialised); accuracies in percent."""

    epoch: int
    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float


@dataclass(frozen=True)
class Layer:
    """A trained weight; `violation` is its distance from the Stiefel manifold, max |singular value - 1|."""

    name: str
    shape: tuple[int, ...]
    min_singular_value: float
    max_singular_value: float
    violation: float


@dataclass(frozen=True)
class Result:
    """One finished run. Losses and accuracies are those of the last epoch of `curve`.

    `seconds` is time spent training, without evaluation; `optimizer_seconds`, the part of it inside
    `optimizer.step()`; `momentum`, the one in force; `violation`, the largest of the layers'; `nproc`, the
    processes that shared every batch. A number that is not finite (the run diverged) is nan here and null in JSON.
    """

    method: str
    lr: float
    seed: int
    train_loss: float
    test_loss: float
    train_accuracy: float
    test_accuracy: float
    seconds: float
    optimizer_seconds: float
    violation: float
    layers: tuple[Layer, ...]
    data: str
    epochs: int
    batch_size: int
    momentum: float
    steps: int
    curve: tuple[Epoch, ...]
    nproc: int = 1

    def to_json(self) -> dict[str, Any]:
        """The row of results.json: plain JSON values only."""
        row: dict[str, Any] = plain(asdict(self))
        return row

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Result":
        """The inverse of `to_json`."""
        layers = tuple(Layer(**{**_with_nan(layer), "shape": tuple(layer["shape"])}) for layer in row["layers"])
        curve = tuple(Epoch(**_with_nan(epoch)) for epoch in row["curve"])
        return cls(**{**_with_nan(row), "layers": layers, "curve": curve})


def measure_layers(weights: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    """The singular values of every trained weight."""
    return tuple(_measure(name, weight) for name, weight in weights.items())


def singular_values(weight: Float[Tensor, "m n"]) -> Float[Tensor, " k"]:
    """All min(m, n) singular values, ascending, in float64; nan where the weight is not finite."""
    tall = weight.double() if weight.shape[0] >= weight.shape[1] else weight.double().mT
    if not tall.isfinite().all():
        return tall.new_full((tall.shape[1],), math.nan)
    # torch's singular value decomposition may not converge where many singular values are equal, as here.
    squares = torch.linalg.eigvalsh(tall.mT @ tall)
    sigma: Tensor = squares.clamp(min=0).sqrt()
    return sigma


def _measure(name: str, weight: Tensor) -> Layer:
    sigma = singular_values(weight)
    return Layer(
        name=name,
        shape=tuple(weight.shape),
        min_singular_value=float(sigma[0]),
        max_singular_value=float(sigma[-1]),
        violation=float((sigma - 1).abs().max()),
    )


def _with_nan(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in row.items()}


def plain(value: Any) -> Any:
    """Dicts, lists, strings and numbers, as JSON has them: None for a number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value
